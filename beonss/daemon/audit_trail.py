"""Audit lines from a daemon that must go on whatever happens to them, and that cannot be made to write without end."""

from collections.abc import Callable

from twisted.logger import Logger

from beonss.core.passwords.attempts import Source
from beonss.errors import StoreError
from beonss.store.audit import AuditLog

#: Refusals that cost a guesser nothing: told once in QUIET seconds for each event, user and source.
CHEAP = frozenset({"rate-limited", "busy", "unknown-user", "below-floor"})
QUIET = 10.0
_ENTRIES = 4096


class AuditTrail:
    """Writes audit lines; a line that cannot be written is an error in the daemon's log.

    Args:
        log: the audit log.
        now: the clock, in seconds.
    """

    log = Logger()

    def __init__(self, log: AuditLog, now: Callable[[], float]) -> None:
        self._audit = log
        self._now = now
        self._told: dict[tuple[str, str, str], float] = {}

    def record(self, event: str, user: str, source: Source, **fields: str | int | bool | None) -> None:
        """Write a line, unless it is a cheap refusal like one told just now."""
        if fields.get("code") in CHEAP and not self._is_news((event, user, source.key)):
            return
        try:
            self._audit.record(event, user=user, source=str(source), **fields)
        except StoreError:
            self.log.failure("an audit line is lost: {event} of {user}", event=event, user=user)

    def _is_news(self, what: tuple[str, str, str]) -> bool:
        now = self._now()
        if now - self._told.get(what, now - QUIET) < QUIET:
            return False
        if len(self._told) >= _ENTRIES:
            self._told.clear()
        self._told[what] = now
        return True
