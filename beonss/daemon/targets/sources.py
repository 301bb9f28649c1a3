"""Sources: accounts that are made elsewhere, in a directory, and followed here.

Each source is read in a thread, now and then; what changed there since it was last taken over becomes changes of the
cluster (:mod:`beonss.core.targets.following`). A reading that is empty or sharply shrunken changes nothing at all.
What was taken over is remembered after it was committed, so a crash repeats and never skips.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.accounts.entries import Kind
from beonss.core.accounts.importing import Plan, group_changes, plan, user_changes
from beonss.core.accounts.records import Batch, GroupRecord, UserRecord
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import Source as Asker
from beonss.core.replication.registers import Change
from beonss.core.targets import following
from beonss.daemon.accounts.parts import Floors, Store
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.targets.edits import CHUNK, Taken, Told
from beonss.daemon.threads import InThread, Threads
from beonss.errors import BeonssError, Refused
from beonss.targets.journal import Entry, Journal, Mark

if TYPE_CHECKING:
    from beonss.targets.directory import DirectorySettings, DirectorySource, Reading


class Source(Protocol):
    """What is read; :class:`beonss.targets.directory.DirectorySource` is one."""

    settings: "DirectorySettings"
    name: str

    def read(self, *, full: bool) -> "Reading":
        """Read what changed since the last time, or everything."""


class Sources:
    """Follows all sources of this machine.

    Args:
        reactor: for time, and for coming back from threads.
        accounts: where the changes go.
        settings: of the sources.
        floors: returns the cluster's floors.
        machine: the name of this master, for the changes' author.
        ready: returns a Deferred that fires when the boot reconciliation is over.
        clock: the wall clock in ms.
        in_thread: runs a blocking function elsewhere; None makes a pool of threads.
        trail: the audit log; None keeps none.

    Raises:
        StoreError: a journal cannot be opened.
    """

    def __init__(
        self,
        reactor: Any,
        accounts: Store,
        settings: "Sequence[DirectorySettings]",
        *,
        floors: Callable[[], Floors],
        machine: str,
        ready: "Callable[[], Deferred[Any]]",
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        in_thread: InThread | None = None,
        trail: AuditTrail | None = None,
    ) -> None:
        self._ready = ready
        self._stopped = False
        self._threads = Threads(reactor, max(1, len(settings)), "beonss-sources", in_thread)
        self._followed = {
            one.name: Followed(
                reactor,
                accounts,
                _source(one),
                floors=floors,
                author=f"source {one.name}@{machine}",
                clock=clock,
                in_thread=self._threads,
                trail=trail,
            )
            for one in settings
        }

    async def start(self) -> None:
        """Begin to read, once the boot reconciliation is over."""
        if self._followed:
            await self._ready()
            if not self._stopped:
                for one in self._followed.values():
                    one.start()

    async def stop(self) -> None:
        """Wait for what is under way and end."""
        self._stopped = True
        for one in self._followed.values():
            await one.stop()
        self._threads.stop()

    def names(self) -> tuple[str, ...]:
        """Return the sources' names."""
        return tuple(self._followed)

    def problems(self, limit: int = 20) -> list[str]:
        """Return what an administrator should look at, a sentence each."""
        return [text for one in self._followed.values() for text in one.problems()[:limit]]

    async def adopt(self, name: str, source: Asker | None = None) -> Taken:
        """Read a source as a whole now and take over what it says, also if it is much smaller than it was.

        Args:
            name: of the source.
            source: who asks.

        Raises:
            KeyError: there is no such source.
            BeonssError: it cannot be read, or nothing can be written.
        """
        return await self._followed[name].look(full=True, shrink=True, asker=source)


class Followed:
    """One source, and what was taken over from it; made by :class:`Sources`."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        accounts: Store,
        source: Source,
        *,
        floors: Callable[[], Floors],
        author: str,
        clock: Callable[[], int],
        in_thread: InThread,
        trail: AuditTrail | None = None,
    ) -> None:
        self._reactor = reactor
        self._accounts = accounts
        self._source = source
        self._floors = floors
        self._author = author
        self._clock = clock
        self._in_thread = in_thread
        self._trail = trail
        self._asker: Asker | None = None
        self._journal = Journal(source.settings.journal)
        self._lock = DeferredLock()
        self._full_at: float | None = None
        self._error = ""
        self._seen: tuple[str, ...] = ()
        self._gone: tuple[str, ...] = ()
        #: What the cluster did not take, by (kind, name).
        self._refused: dict[tuple[str, str], str] = {}
        self._loop = LoopingCall(self._poll)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin to read."""
        self._loop.start(self._source.settings.interval)

    async def stop(self) -> None:
        """Wait for the reading on its way and end."""
        if self._loop.running:
            self._loop.stop()
        await self._lock.acquire()
        self._journal.close()

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each."""
        first = [self._error] if self._error else []
        told = [f"{self._source.name}: {kind} {name}: {why}" for (kind, name), why in sorted(self._refused.items())]
        return [*first, *self._seen, *self._gone, *told]

    async def _poll(self) -> None:
        if self._lock.locked:
            return
        now = self._reactor.seconds()
        full = self._full_at is None or now - self._full_at >= self._source.settings.full
        try:
            await self.look(full=full)
        except BeonssError as error:
            self._fail(f"{self._source.name}: {error}")
        except Exception:  # noqa: BLE001 - a loop logs and lives on
            self._fail(f"{self._source.name}: an error of our own; the log has the details")
            self.log.failure("following {source} failed", source=self._source.name)

    def _fail(self, text: str) -> None:
        if text != self._error:
            self.log.warn("{text}", text=text)
        self._error = text

    async def look(self, *, full: bool, shrink: bool = False, asker: Asker | None = None) -> Taken:
        """Read, and take over what changed.

        Args:
            full: read everything, not only what changed.
            shrink: believe a reading that is much smaller than the last.
            asker: who wants it; None where nobody does.
        """
        await self._lock.acquire()
        self._asker = asker
        try:
            reading = await self._in_thread(self._source.read, full=full)
            gone = self._missing(reading) if reading.full else following.Missing()
            if gone.alarm and not shrink:
                self._fail(
                    f"{self._source.name}: {gone.alarm}; nothing is taken over from it. If that is right: "
                    f"beonss accounts adopt --target {self._source.name} --all"
                )
                return Taken()
            changed: list[Told] = []
            if reading.full:
                self._refused.clear()
                self._seen = reading.problems
            for records in (reading.users, reading.groups):
                news = [record for record in records if self._news(record)]
                for start in range(0, len(news), CHUNK):
                    await self._take(news[start : start + CHUNK], changed)
            await self._remove(gone, changed)
            self._error = ""
            if reading.full:
                self._full_at = self._reactor.seconds()
        finally:
            self._lock.release()
        texts = tuple(f"{kind} {name}: {what}" for kind, name, what in changed)
        if texts:
            self.log.info(
                "{source}: {count} accounts follow it: {first}",
                source=self._source.name,
                count=len(texts),
                first="; ".join(texts[:5]),
            )
        return Taken(texts, tuple((kind, name, why) for (kind, name), why in self._refused.items()))

    def _missing(self, reading: "Reading") -> following.Missing:
        users = {record.entry.name for record in reading.users} | reading.refused
        groups = {record.entry.name for record in reading.groups} | reading.refused
        known = [[name for name, _ in self._journal.names(kind)] for kind in ("user", "group")]
        return following.missing(known[0], known[1], users, groups)

    def _news(self, record: UserRecord | GroupRecord) -> bool:
        return self._known(_kind(record), record.entry.name) != _base(record)

    def _known(self, kind: Kind, name: str) -> str | None:
        kept = self._journal.get(kind, name)
        return None if kept is None else kept.base

    async def _take(self, records: Sequence[UserRecord | GroupRecord], changed: list[Told]) -> None:
        """Take over some accounts in one commit, and note in ``changed`` what that changed."""
        view = self._accounts.view
        changes: list[Change] = []
        notes: list[Entry] = []
        told: list[Told] = []
        for record in records:
            kind, name = _kind(record), record.entry.name
            base = self._known(kind, name)
            try:
                if isinstance(record, UserRecord):
                    taken = self._user(view, record, base)
                else:
                    taken = self._group(view, record, base)
            except Refused as error:
                self._refused[kind, name] = str(error)
                continue
            changes += taken.changes
            notes.append((kind, name, Mark("", taken.base)))
            if taken.what:
                told.append((kind, name, taken.what))
        await self._commit(changes, notes, told, changed)

    def _user(self, view: AccountView, record: UserRecord, base: str | None) -> "_Share":
        held = view.user(record.entry.name)
        if held is None and base is not None:
            raise _deleted()
        wanted = following.narrowed(record, base, held)
        made = plan(view, Batch((wanted,), (), ()), overwrite=base is not None, uid_floor=self._floors().uid_floor)
        changes = [change for step in made.users for change in user_changes(view, step, self._clock())]
        return _Share(changes, _base(record), _planned(made))

    def _group(self, view: AccountView, record: GroupRecord, base: str | None) -> "_Share":
        held = view.group(record.entry.name)
        if held is not None and held.entry.gid == record.entry.gid:
            changes = following.member_changes(view, record, base, held)
            what = "members" if changes else ""
        elif held is None and base is not None:
            raise _deleted()
        else:
            made = plan(view, Batch((), (record,), ()), gid_floor=self._floors().gid_floor)
            changes = [change for step in made.groups for change in group_changes(view, step, self._clock())]
            what = _planned(made)
        # Members that are no users yet: looked at again when they are.
        known = tuple(member for member in record.members if view.user(member) is not None)
        return _Share(changes, _base(GroupRecord(record.entry, known)), what)

    async def _commit(
        self, changes: Sequence[Change], notes: Sequence[Entry], told: Sequence[Told], changed: list[Told]
    ) -> None:
        if changes:
            await self._accounts.write(changes, self._author)
        if notes:
            await self._in_thread(self._journal.record, notes)
        if changes:
            self._audit(told)
        changed += told

    def _audit(self, told: Sequence[Told]) -> None:
        """Write what follows the source, with whoever asked for it now."""
        if self._trail is None:
            return
        lines = [{"user": name, "object": kind, "detail": what} for kind, name, what in told]
        who = self._author if self._asker is None else self._asker
        self._trail.record_all("follow", who, lines, author=self._author, outcome="changed")

    async def _remove(self, gone: following.Missing, changed: list[Told]) -> None:
        way = self._source.settings.missing
        told: list[str] = []
        for kind, names in (("user", gone.users), ("group", gone.groups)):
            for name in names:
                view = self._accounts.view
                served = view.user(name) if kind == "user" else view.group(name)
                if served is not None and (way == "report" or (way == "lock" and kind == "group")):
                    told.append(f"{self._source.name}: {kind} {name} came from there and is not there any more")
                    continue
                changes = following.removal(view, kind, name, way) if served is not None else []
                what = f"{'locked' if way == 'lock' else 'deleted'}, not there any more"
                done: list[Told] = [(kind, name, what)] if changes else []
                await self._commit(changes, [(kind, name, Mark("", None))], done, changed)
        if gone.users or gone.groups or self._gone:
            self._gone = tuple(told)


@dataclass(frozen=True, slots=True)
class _Share:
    """What becomes of one account: its changes, what to remember of the source's, and what to tell, if anything."""

    changes: list[Change]
    base: str
    what: str


def _planned(made: Plan) -> str:
    """Return in words what is planned for one account; empty for nothing.

    Raises:
        Refused: it cannot be taken over.
    """
    (item,) = made.items
    if item.action == "skip":
        raise Refused("skipped", ", ".join(item.details))
    if item.action == "unchanged":
        return ""
    return "new" if item.action == "create" else ", ".join(item.details)


def _deleted() -> Refused:
    # That stands, until an administrator makes it again.
    return Refused("deleted", "it was deleted in the cluster")


def _kind(record: UserRecord | GroupRecord) -> Kind:
    return "user" if isinstance(record, UserRecord) else "group"


def _base(record: UserRecord | GroupRecord) -> str:
    return following.user_base(record) if isinstance(record, UserRecord) else following.group_base(record)


def _source(settings: "DirectorySettings") -> "DirectorySource":
    # What speaks LDAP takes memory and time to load that a master without directories is spared.
    from beonss.targets.directory import DirectorySource  # noqa: PLC0415

    return DirectorySource(settings)
