"""Audit lines from a daemon that must go on whatever happens to them, and that cannot be made to write without end."""

from collections.abc import Callable, Hashable, Iterable, Mapping

from twisted.logger import Logger

from beonss.core.passwords.attempts import Source
from beonss.errors import StoreError
from beonss.store.audit import AuditLog

Field = str | int | bool | None

#: Refusals that cost a guesser nothing: told once in QUIET seconds for each event, user and source.
CHEAP = frozenset({"rate-limited", "busy", "unknown-user", "below-floor"})
QUIET = 10.0
_ENTRIES = 4096
#: Stands for the name of a user that there is not: people type passwords where a name is asked for (login.defs(5),
#: LOG_UNKFAIL_ENAB).
UNKNOWN_USER = "(unknown)"


class AuditTrail:
    """Writes audit lines; a line that cannot be written is an error in the daemon's log.

    Args:
        log: the audit log.
        now: the clock, in seconds.
    """

    log = Logger()

    def __init__(self, log: AuditLog, now: Callable[[], float]) -> None:
        self._audit = log
        self._news = News(now)

    def record(self, event: str, user: str, source: Source | str, **fields: Field) -> None:
        """Write a line, unless it is a cheap refusal like one told just now.

        Args:
            event: what was tried.
            user: whose account.
            source: from where; words where no program asked.
            fields: more of :data:`beonss.store.audit.FIELDS`.
        """
        if fields.get("code") in CHEAP:
            key = source.key if isinstance(source, Source) else source
            if not self._news.told_now((event, user, key)):
                return
        try:
            self._audit.record(event, user=user, source=str(source), **fields)
        except StoreError as error:
            self.log.error(
                "an audit line is lost: {event} of {user}: {error}", event=event, user=user, error=str(error)
            )

    def record_all(
        self, event: str, source: Source | str, lines: Iterable[Mapping[str, Field]], **fields: Field
    ) -> None:
        """Write a line for each of many accounts, with one turn of the disk; ``fields`` stand in each."""
        every = {"source": str(source), **fields}
        try:
            self._audit.record_all(event, [{**line, **every} for line in lines])
        except StoreError as error:
            self.log.error("audit lines are lost: {event}: {error}", event=event, error=str(error))


class News:
    """Tells what was not told in the last :data:`QUIET` seconds; of bounded size.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: dict[Hashable, float] = {}

    def told_now(self, what: Hashable) -> bool:
        """Say whether this is to be told now, and count it as told if it is."""
        now = self._now()
        if now - self._told.get(what, now - QUIET) < QUIET:
            return False
        if len(self._told) >= _ENTRIES:
            self._told.clear()
        self._told[what] = now
        return True
