"""The accounts of this machine inside the daemon: the view in memory, the registers on disk, and who is told.

Memory changes after the commit, in the order of the commits; whoever awaits a write or a merge sees the view with it.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.accounts.entries import is_public
from beonss.core.accounts.view import AccountView
from beonss.core.replication.incarnation import Verdict, judge
from beonss.core.replication.memorizing import Anew
from beonss.core.replication.pulling import Acknowledged, Page, Stalled, has_news, public_reach
from beonss.core.replication.recent import RecentCommits
from beonss.core.replication.registers import Change, Context, Register, covers
from beonss.errors import StoreError, Unavailable
from beonss.store.answers import Buffered
from beonss.store.database import LOST, Database
from beonss.store.failures import DiskFullError
from beonss.store.garbage import uncollected
from beonss.store.rows import Packing
from beonss.store.writer import Jobs

T = TypeVar("T")
#: Registers from which on the garbage collector is kept from looking at them.
MANY = 20_000
Listener = Callable[[Sequence[Register]], None]


class Accounts:
    """One cluster's accounts on this machine.

    Args:
        reactor: results of the writer's thread come back through it.
        jobs: owns the database.
        clock: the wall clock, ms since the epoch.
        new_incarnation: makes 32 random hex digits.
        machine: this machine's id (machine-id(5)), so that a cloned disk is noticed.

    Attributes:
        view: users and groups; always as committed.
        vector: what this replica covers; always as committed.
        settled: whether the incarnation has been decided since the start (:meth:`settle`, or the first write).
        lost: for people: what the start found missing on the disk; empty if nothing.
        full: for people: why the latest change found no room; empty once something was stored.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        jobs: Jobs,
        *,
        clock: Callable[[], int],
        new_incarnation: Callable[[], str],
        machine: str = "",
    ) -> None:
        self._reactor = reactor
        self._jobs = jobs
        self._clock = clock
        self._new_incarnation = new_incarnation
        self._machine = machine
        self._incarnation: str | None = None
        self._recorded_machine: str | None = None
        self._sequence_at_start = 0
        self._listeners: list[Listener] = []
        # Questions that wait, of masters and of nodes: a changed password looks at no node's.
        self._waiters: dict[bool, list[_Waiter]] = {False: [], True: []}
        self._public_reach: Mapping[str, int] = {}
        self._public_high: dict[str, int] = {}
        # Results of the writer's thread, on their way to the reactor's.
        self._results: deque[_Result] = deque()
        self._expected = False
        # Writes that wait for the job before, whether there is one, and whether there were several at once.
        self._writes: list[_Write] = []
        self._writing = False
        self._busy = False
        self._recent = RecentCommits()
        self._news = False
        # Registers in the view that the collector still looks at.
        self._looked_at = 0
        self._halted = ""
        self._stalled = Stalled()
        self.settled = False
        self.lost = ""
        self.full = ""
        self.view = AccountView()
        self.vector: Mapping[str, int] = {}

    async def start(self) -> None:
        """Read everything from the disk; before this nothing else may be called.

        Raises:
            StoreError: it could not be read.
        """

        def load(database: Database) -> tuple[_Loaded, bytes | None, bytes | None, bytes | None]:
            self._recent.whole = not database.unfinished()
            return _load(database), database.meta("incarnation"), database.meta("machine"), database.meta(LOST)

        loaded, incarnation, machine, lost = await self._run(load)
        self.view, self._public_high, self.vector = loaded
        self._public_reach = public_reach(self._public_high, self.vector)
        self._incarnation = None if incarnation is None else incarnation.decode("ascii", "replace")
        self._recorded_machine = None if machine is None else machine.decode("utf-8", "replace")
        self._sequence_at_start = await self._run(lambda db: db.known(self.incarnation))
        if lost is not None:
            self.lost = lost.decode("utf-8", "replace")
            self.log.critical("{lost}", lost=self.lost)

    async def stop(self) -> None:
        """Finish what was begun and close the database."""
        for waiter in [*self._waiters[False], *self._waiters[True]]:
            waiter.deferred.cancel()
        closed: Deferred[None] = Deferred()

        def close() -> None:
            self._jobs.close()
            self._reactor.callFromThread(closed.callback, None)

        Thread(target=close, name="beonss-closing", daemon=True).start()
        await closed

    # --- the incarnation --------------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> str:
        """This master's incarnation, to be told to peers; empty if it never had one (nodes, a first start)."""
        return self._incarnation or ""

    @property
    def whole(self) -> bool:
        """Whether the vector covers everything held: no answer is half here."""
        return self._recent.whole

    async def settle(self, answers: Mapping[str, Context | None]) -> Verdict:
        """Decide whether to keep the incarnation, once what the others know is known; before that a write renews it.

        Args:
            answers: for every other current member the vector it told, None where it did not answer
                (:meth:`beonss.core.replication.reconcile.Boot.answers`).
        """
        mine = self.incarnation
        returned = await self._run(lambda db: db.known(mine))
        if self.settled:
            # Before, or by a write while the disk was read.
            return Verdict(True, "it was decided before")
        verdict = judge(
            self._incarnation,
            # Not the vector of now: what was pulled meanwhile came from those who are being asked.
            self._sequence_at_start,
            returned=returned,
            recorded_machine=self._recorded_machine,
            machine=self._machine,
            answers=answers,
            lost=bool(self.lost),
        )
        self.settled = True
        if not verdict.keep:
            self._renew(verdict.reason)
        return verdict

    def halt(self, reason: str) -> None:
        """Refuse writes from now on, saying why (two live machines with one incarnation); empty: allow them again."""
        self._halted = reason

    def _renew(self, reason: str) -> None:
        """Take a new incarnation; the jobs submitted after this call already find it stored."""
        old, self._incarnation = self._incarnation, self._new_incarnation()
        self._recorded_machine = self._machine
        self.settled = True
        new, machine = self._incarnation, self._machine
        self.log.info("new incarnation {new} after {old}: {reason}", new=new, old=old or "none", reason=reason)

        def store(database: Database) -> None:
            database.set_meta("incarnation", new.encode())
            database.set_meta("machine", machine.encode())
            # From now on its numbers are its own again.
            database.set_meta(LOST, None)

        self._run(store).addErrback(self._report, "storing the new incarnation")

    # --- changes ----------------------------------------------------------------------------------------------------

    async def write(self, changes: Sequence[Change], author: str, wall: int | None = None) -> list[Register]:
        """Make changes durable on this machine, all or none; return the registers as written.

        Args:
            changes: in the order of their sequence numbers.
            author: for people.
            wall: ms since the epoch to stamp them with instead of the clock's: for a value that any other shall beat.

        Raises:
            Refused: see :meth:`beonss.store.database.Database.write`.
            Unavailable: writing is halted.
            StoreError: the disk is full or broken; nothing was changed.
        """
        if self._halted:
            raise Unavailable(f"this master takes no changes: {self._halted}")
        if not self.settled:
            self._renew("a change was made before all other masters had answered")
        write = _Write(changes, self._clock() if wall is None else wall, author, Deferred(lambda _: None))
        self._writes.append(write)
        if not self._writing:
            self._writing = True
            if self._busy:
                # Those who are about to ask as well come along.
                self._reactor.callFromThread(self._write_all)
            else:
                self._write_all()
        return await write.written

    def _write_all(self) -> None:
        """Have all writes that wait made by one job; those that come meanwhile are the next."""
        writes, self._writes = self._writes, []
        self._busy = len(writes) > 1
        incarnation = self.incarnation

        def work(database: Database) -> _Commit:
            made = [database.write_or_refuse(*write[:3], incarnation) for write in writes]
            return _Commit(
                [row for rows in made if isinstance(rows, list) for row in rows], database.vector(), made=made
            )

        def done(result: "_Commit | Failure") -> None:
            self._writing = False
            if isinstance(result, Failure):
                answers: list[Any] = [result] * len(writes)
            else:
                answers = [made if isinstance(made, list) else Failure(made) for made in result.made]
            if self._writes:
                self._writing = True
                self._write_all()
            for write, answer in zip(writes, answers, strict=True):
                if not write.written.called:
                    write.written.callback(answer)

        try:
            self._run(work, self._committed).addBoth(done)
        except StoreError:
            # The daemon is stopping.
            done(Failure())

    async def merge(self, rows: Iterable[Register], vector: Context | None = None) -> list[Register]:
        """Merge a page of a peer's answer; return the rows that won, when they are durable.

        Args:
            rows: as received.
            vector: the sender's, with the last page of an answer only.

        Raises:
            MalformedError: nothing of it was merged.
            StoreError: it could not be written.
        """
        rows, mine, was_whole = list(rows), self.incarnation, self._recent.whole

        def work(database: Database) -> _Commit:
            known = database.vector().get(mine, 0)
            strange = (vector or {}).get(mine, 0) > known or any(
                row.stamp.origin == mine and row.stamp.sequence > known for row in rows
            )
            won, after = database.merge(rows, vector), database.vector()
            whole = all(covers(after, row.stamp) for row in won)
            if whole and not was_whole:
                # Looked up only until it is so again.
                whole = not database.unfinished()
            return _Commit(won, after, whole, strange)

        commit = await self._run(work, self._committed)
        if commit.strange and self.settled and mine and mine == self.incarnation:
            self._renew("a peer knows writes of this incarnation that were not made here")
        return commit.rows

    async def conform(self, anew: Anew, vector: Context) -> None:
        """Hold exactly what an answer to a question for everything held: for a node whose masters have lost something.

        What is known stays known until it is done; then there is another view, and listeners are told of nothing.

        Args:
            anew: all pages of the answer.
            vector: of its last page.

        Raises:
            MalformedError, StoreError: nothing was changed.
        """

        def work(database: Database) -> _Loaded:
            database.conform(anew.stamps, anew.rows, vector)
            return _load(database)

        def committed(loaded: _Loaded) -> None:
            self.view, self._public_high, self.vector = loaded
            self._recent = RecentCommits()
            self._recent.whole = True
            self._news = True

        await self._run(work, committed)

    def _committed(self, commit: "_Commit") -> None:
        """Bring the memory up to what was committed, then tell everybody. Runs once per job, in their order."""
        rows, before = commit.rows, self.vector
        moved = commit.vector != before
        if moved:
            self.vector = commit.vector
        if rows or moved:
            self._found_room()
        if rows or moved or not commit.whole:
            self._recent.add(before, rows, commit.whole)
        if rows:
            self.view.apply(rows)
            self._spare(len(rows))
            _raise_high(self._public_high, rows)
            for listener in list(self._listeners):
                try:
                    listener(rows)
                except Exception:  # noqa: BLE001 - one listener's bug is no reason to leave the others untold
                    self.log.failure("a listener for account changes failed")
        self._news = self._news or bool(rows) or moved

    def _found_room(self) -> None:
        self.full = ""

    def _spare(self, count: int) -> None:
        """Keep the garbage collector from what the view got, as at the start: a new master gets all of it this way."""
        self._looked_at += count
        if self._looked_at > MANY:
            self._looked_at = 0
            gc.collect()
            gc.freeze()

    def _tell(self) -> None:
        """Answer those who wait for news, once for all jobs of a commit."""
        if self._news:
            self._news = False
            reach = public_reach(self._public_high, self.vector)
            public_moved, self._public_reach = reach != self._public_reach, reach
            self._wake(public_only=False)
            if public_moved:
                self._wake(public_only=True)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(rows)`` in the reactor after each commit, with what changed; return how to stop."""
        self._listeners.append(listener)

        def cancel() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return cancel

    # --- answers to peers -------------------------------------------------------------------------------------------

    async def page(
        self, question: Context, more: object | None = None, *, public_only: bool = False, limit: int = 1000
    ) -> Page:
        """Return the next page of the answer to a question; see :meth:`beonss.store.database.Database.page`."""
        # Who asks for everything may have drifted: the disk answers, also for what was changed there behind our back.
        if question and more is None and not public_only:
            page = self._recent.page(question, self.vector, limit)
            if page is not None:
                return page
        return await self._run(lambda db: db.page(question, more, public_only=public_only, limit=limit))

    def changed_since(self, question: Context, *, public_only: bool = False) -> "Deferred[None]":
        """Return a Deferred that fires as soon as there is an answer to ``question``, at once if there is one now.

        It may be cancelled; stopping cancels it.
        """
        waiting: Deferred[None] = Deferred(lambda deferred: self._forget(deferred, public_only=public_only))
        if has_news(self._reach(public_only=public_only), question):
            waiting.callback(None)
        else:
            self._waiters[public_only].append(_Waiter(dict(question), waiting))
        return waiting

    def _reach(self, *, public_only: bool) -> Mapping[str, int]:
        return self._public_reach if public_only else self.vector

    def _wake(self, *, public_only: bool) -> None:
        reach = self._reach(public_only=public_only)
        ready: list[_Waiter] = []
        waiting: list[_Waiter] = []
        for waiter in self._waiters[public_only]:
            (ready if has_news(reach, waiter.question) else waiting).append(waiter)
        self._waiters[public_only] = waiting
        for waiter in ready:
            # One that is woken may cancel another.
            if not waiter.deferred.called:
                waiter.deferred.callback(None)

    def _forget(self, deferred: "Deferred[None]", *, public_only: bool) -> None:
        waiters = self._waiters[public_only]
        self._waiters[public_only] = [waiter for waiter in waiters if waiter.deferred is not deferred]

    async def buffered(self, vector: Context, *, public_only: bool = False) -> Buffered:
        """Return what is held here for a peer that acknowledged ``vector``."""
        return await self._run(lambda db: db.buffered(vector, public_only=public_only))

    async def digest(self, *, public_only: bool = False) -> tuple[dict[str, int], bytes]:
        """Return the vector and the digest of all registers, both of one moment.

        The digest is empty while an answer is only half here; :func:`beonss.core.replication.pulling.drifted` then
        waits. The first count takes a second for 100,000 users: changes are made in between.

        Args:
            public_only: over what nodes hold, to be compared with a node's.
        """

        def work(database: Database) -> tuple[dict[str, int], bytes]:
            comparable = database.counted and not database.unfinished()
            return database.vector(), database.digest(public_only=public_only) if comparable else b""

        if self.whole:
            await self._in_slices(Database.count_on)
        return await self._run(work)

    async def _in_slices(self, step: Callable[[Database], int | None]) -> None:
        """Run a job again and again until it returns None, or gets no further: on a full disk nothing stays folded."""
        before: int | None = -1
        while (reached := await self._run(step)) not in {None, before}:
            before = reached

    async def overruled(self) -> list[Register]:
        """Return the concurrent writes that lost; see :meth:`beonss.store.database.Database.overruled`."""
        return await self._run(Database.overruled)

    async def recount(self) -> bool:
        """Read the whole disk again; False if it holds something else than was written to it."""
        rights: list[bool] = []

        def step(database: Database) -> int | None:
            reached, right = database.recount_on()
            rights.append(right)
            return reached

        await self._in_slices(step)
        return rights[-1]

    async def acknowledged(self) -> dict[str, Acknowledged]:
        """Return what each peer last acknowledged, as kept on disk."""
        return await self._run(Database.acknowledged)

    async def acknowledge(self, peer: str, said: Acknowledged | None) -> None:
        """Keep what a peer acknowledged; None forgets the peer."""
        await self._run(lambda db: db.acknowledge(peer, said), lambda _: self._found_room())

    async def adopt_stalled(self, now: float) -> list[Register]:
        """Finish what an interrupted answer left here if nothing came to finish it; to be called now and then.

        Args:
            now: seconds of a clock that does not jump.

        Returns:
            The registers written again as this master's own (:meth:`beonss.store.database.Database.adopt`).
        """
        stalled = self._stalled.observe(now, await self._run(Database.unfinished))
        if not stalled or self._halted or not self.settled:
            return []
        incarnation = self.incarnation

        def work(database: Database) -> _Commit:
            return _Commit(database.adopt(stalled, incarnation), database.vector(), not database.unfinished())

        self.log.info("adopting what an interrupted answer left of {origins}", origins=sorted(stalled))
        return (await self._run(work, self._committed)).rows

    # --- notes of other parts ---------------------------------------------------------------------------------------

    async def get(self, name: str) -> bytes | None:
        """Return a note of another part."""
        return await self._run(lambda db: db.get(name))

    async def put(self, name: str, value: bytes | None) -> None:
        """Keep a note of another part, durably; None removes it."""
        await self._run(lambda db: db.put(name, value))

    async def run(self, work: Callable[[Database], T]) -> T:
        """Run anything else on the database, as one job; it must change no registers (the view would not follow)."""
        return await self._run(work)

    def _run(self, work: Callable[[Database], T], committed: Callable[[T], None] | None = None) -> "Deferred[T]":
        done: Deferred[T] = Deferred(lambda _: None)

        def resolved(future: "Future[T]") -> None:
            self._results.append(_Result(future, done, committed))
            if not self._expected:
                # One call for all that the writer resolves before the reactor looks.
                self._expected = True
                self._reactor.callFromThread(self._take_results)

        self._jobs.submit(work).add_done_callback(resolved)
        return done

    def _take_results(self) -> None:
        """Bring the memory up to all that is durable, tell those who wait for news, then those who asked for it."""
        self._expected = False
        taken: list[_Result] = []
        while self._results:
            result = self._results.popleft()
            taken.append(result)
            error = result.future.exception()
            if isinstance(error, DiskFullError):
                self.full = str(error)
            if result.committed is not None and error is None:
                # Also when nobody waits for it any more: it is on the disk.
                try:
                    result.committed(result.future.result())
                except Exception:  # noqa: BLE001 - the others are on the disk too
                    self.log.failure("bringing the memory up to a commit failed")
        self._tell()
        for future, done, _ in taken:
            if done.called:
                continue
            error = future.exception()
            if error is not None:
                done.errback(Failure(error))
            else:
                done.callback(future.result())

    def _report(self, failure: Failure, what: str) -> None:
        self.log.failure("{what} failed", failure=failure, what=what)


class _Loaded(NamedTuple):
    """What is read from the disk: the view, the highest public number of each incarnation, and the vector."""

    view: AccountView
    high: dict[str, int]
    vector: Mapping[str, int]


def _load(database: Database) -> _Loaded:
    """Read all registers; called in the writer's thread, so that the reactor is not held up."""
    view, packing = AccountView(), Packing()
    # Nothing of it is ever garbage that only the collector finds. It must neither look at it again and again while it
    # grows, nor later: each full collection would stop names and lookups for a second.
    with uncollected():
        view.load(database.packed(packing))
    if packing.count > MANY:
        gc.freeze()
    return _Loaded(view, packing.high, database.vector())


class _Commit(NamedTuple):
    """What a job committed.

    Attributes:
        vector: after it.
        whole: whether every register is covered by the vector, as far as this job can change that.
        strange: whether a peer knows writes of our incarnation that are not ours.
        made: for each write asked for, its registers, or why it was refused.
    """

    rows: list[Register]
    vector: Mapping[str, int]
    whole: bool = True
    strange: bool = False
    made: Sequence[list[Register] | Exception] = ()


class _Write(NamedTuple):
    """A write that was asked for.

    Attributes:
        wall: ms to stamp it with.
        written: fires with the registers.
    """

    changes: Sequence[Change]
    wall: int
    author: str
    written: "Deferred[list[Register]]"


class _Result(NamedTuple):
    future: "Future[Any]"
    done: "Deferred[Any]"
    committed: Callable[[Any], None] | None


class _Waiter(NamedTuple):
    question: Context
    deferred: "Deferred[None]"


def _raise_high(high: dict[str, int], rows: Iterable[Register]) -> None:
    for row in rows:
        if is_public(row.key.field) and row.stamp.sequence > high.get(row.stamp.origin, 0):
            high[row.stamp.origin] = row.stamp.sequence
