"""One target's lane: its backlog, one batch on its way at a time, and its cursor on disk.

The cursor says up to which vector everything was delivered, except for the accounts it lists; it is written after the
delivery, so a crash repeats a delivery and never skips one. It also names the accounts that were in conflict then: a
change of one concerns the others, which a restart cannot tell from what has changed alone.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from beonss.core.accounts.entries import PASSWORD, Password, decode
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Context, Key, Register
from beonss.core.targets.backlog import Backlog
from beonss.core.targets.concerned import concerned, touched_by
from beonss.core.targets.delivery import DELIVERED, Outcome, State, UserState, Verdict, backoff, states_of
from beonss.daemon.threads import InThread
from beonss.errors import BeonssError, MalformedError, TargetError

#: A cursor lists at most so many accounts; while more wait, the one on disk stays and a restart repeats some.
LISTED = 1000
#: Seconds between two writes of a cursor: each costs a commit.
CURSOR_DELAY = 1.0
#: Seconds that other masters leave to the one where a change was made, for targets they share.
ORIGIN_FIRST = 5.0
#: Accounts that are looked up in one turn of the reactor.
SLICE = 500
#: Accounts of one batch that the log names when a target does not take them.
COMPLAINTS = 5


class Target(Protocol):
    """What blocks and takes states: :mod:`beonss.targets`."""

    @property
    def name(self) -> str:
        """The target's name, unique on this machine."""

    @property
    def shared(self) -> bool:
        """Whether other masters deliver to it too."""

    @property
    def batch_limit(self) -> int | None:
        """States in one delivery at most."""

    def deliver(self, states: Sequence[State]) -> list[Outcome]:
        """Deliver; one outcome per state. Raises TargetError or StoreError if nothing could be done."""

    def conflicts(self) -> list[str]:
        """Return what stands at the target that is not ours, for people."""

    def reassert(self, names: Iterable[str] | None = None, *, shrink: bool = False) -> None:
        """Let the next delivery overwrite what is not ours, for these names or all."""

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class Remembering(Protocol):
    """A target that other masters deliver to as well: :class:`beonss.targets.ldap.LdapTarget`."""

    def remember(self, object_id: str, password: Password) -> None:
        """Note a password of the cluster's, whoever delivers it; must not block."""


class AccountsLike(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    @property
    def view(self) -> AccountView: ...  # noqa: D102
    @property
    def vector(self) -> Context: ...  # noqa: D102
    @property
    def incarnation(self) -> str: ...  # noqa: D102
    def listen(self, listener: Callable[[Sequence[Register]], None], /) -> Callable[[], None]: ...  # noqa: D102
    async def page(self, question: Context, more: object | None = None) -> Any: ...  # noqa: D102
    async def get(self, name: str) -> bytes | None: ...  # noqa: D102
    async def put(self, name: str, value: bytes | None) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a target stands.

    Attributes:
        backlog: accounts it has not confirmed.
        since: wall clock of the oldest change that waits, seconds since the epoch; None if none does.
        error: why nothing can be delivered at all, or else what was said of one account; None if all is well.
        stuck: accounts it does not take, at most ten, each with what was said.
    """

    name: str
    kind: str
    backlog: int
    since: float | None
    error: str | None
    stuck: tuple[tuple[str, str], ...] = ()


Progress = Callable[[str, frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """What all lanes share; see :class:`beonss.daemon.targets.deliveries.Deliveries`."""

    reactor: Any
    accounts: AccountsLike
    in_thread: InThread
    chance: Callable[[], float]
    wall: Callable[[], float]
    tell: Progress


class Lane:
    """One target's backlog and its deliveries; made by :class:`beonss.daemon.targets.deliveries.Deliveries`."""

    log = Logger()

    def __init__(self, target: Target, ground: Ground) -> None:
        self.target = target
        self.backlog = Backlog()
        self.error: str | None = None
        self._reactor = ground.reactor
        self._accounts = ground.accounts
        self._in_thread = ground.in_thread
        self._chance = ground.chance
        self._wall = ground.wall
        self._tell = ground.tell
        self._failures = 0
        self._resting = 0.0
        self._one_by_one = False
        self._stopping = False
        self._running = False
        self._idle: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._cursor_timer: IDelayedCall | None = None
        self._cursor: tuple[Mapping[str, int], frozenset[str], frozenset[str]] | None = None
        # Whether all that came after the cursor is in the backlog.
        self._resumed = False
        # Whether something waits, or is delivered, that only the next cursor tells a restart of.
        self._untold = False

    @property
    def _note(self) -> str:
        return f"delivery:{self.target.name}"

    async def start(self) -> None:
        """Read the cursor and collect what came after it."""
        vector, listed, contested = _read_cursor(await self._accounts.get(self._note))
        now, wall = self._reactor.seconds(), self._wall()
        for object_id in listed:
            self.backlog.add_object(object_id, now, wall)
            held = self._accounts.view.register(Key(object_id, PASSWORD))
            self._remember([held] if held is not None else [])
        more: object | None = None
        touched: set[str] = set()
        while True:
            page = await self._accounts.page(vector, more)
            self.backlog.add(page.rows, now, wall)
            self._remember(page.rows)
            touched |= touched_by(page.rows)
            more = page.more
            if more is None:
                break
        if touched:
            for object_id in concerned(self._accounts.view, touched).union(contested):
                self.backlog.add_object(object_id, now, wall)
        self._resumed = True
        self._schedule()
        self._note_later()

    async def stop(self) -> None:
        """Wait for the batch on its way, then keep the cursor."""
        self._stopping = True
        for timer in (self._timer, self._cursor_timer):
            if timer is not None and timer.active():
                timer.cancel()
        if self._running:
            self._idle = Deferred()
            await self._idle
        await self._keep_cursor()

    def state(self) -> LaneState:
        """Return how the target stands."""
        stuck = []
        for object_id, waiting in self.backlog.stuck():
            stuck.append((self._accounts.view.describe(object_id), waiting.text))
            if len(stuck) == 10:
                break
        error = self.error or (stuck[0][1] if stuck else None)
        kind = getattr(self.target, "kind", "")
        return LaneState(self.target.name, kind, len(self.backlog), self.backlog.oldest(), error, tuple(stuck))

    def add(self, rows: Sequence[Register], further: Iterable[str]) -> None:
        """Note what was committed, and further accounts that it concerns."""
        now, wall = self._reactor.seconds(), self._wall()
        self._remember(rows)
        if self.target.shared:
            own = [row for row in rows if row.stamp.origin == self._accounts.incarnation]
            others = [row for row in rows if row.stamp.origin != self._accounts.incarnation]
            self.backlog.add(own, now, wall)
            self.backlog.add(others, now + ORIGIN_FIRST, wall)
        else:
            self.backlog.add(rows, now, wall)
        for object_id in further:
            self.backlog.add_object(object_id, now, wall)
            self._untold = True
        self._schedule()
        self._note_later()

    def _remember(self, rows: Sequence[Register]) -> None:
        """Show each password to a target that compares what it finds with all that the cluster ever gave."""
        if not isinstance(self.target, Remembering):
            return
        for row in rows:
            if row.key.field == PASSWORD:
                with contextlib.suppress(MalformedError):
                    self.target.remember(row.key.object, decode(Password, row.value))

    def add_objects(self, objects: Iterable[str], *, hurry: bool = True) -> None:
        """Deliver accounts again, at once; with ``hurry`` also what waits for another try."""
        now, wall = self._reactor.seconds(), self._wall()
        for object_id in objects:
            self.backlog.add_object(object_id, now, wall)
        if hurry:
            self.backlog.hurry(now)
            self._resting = now
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        due = self.backlog.next_due()
        if due is None or self._running or self._stopping or not self._resumed:
            return
        delay = max(due, self._resting) - self._reactor.seconds()
        self._timer = self._reactor.callLater(max(0.0, delay), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._running = True
        Deferred.fromCoroutine(self._deliver()).addErrback(
            lambda failure: self.log.failure("delivering to {target} failed", failure, target=self.target.name)
        ).addBoth(lambda _: self._ended())

    def _ended(self) -> None:
        self._running = False
        if self._idle is not None:
            self._idle.callback(None)
            return
        self._schedule()
        self._note_later()

    async def _deliver(self) -> None:
        """Deliver one batch."""
        limit = 1 if self._one_by_one else self.target.batch_limit
        taken = self.backlog.take(self._reactor.seconds(), limit)
        # A lane that worked through its trouble one by one goes back to batches.
        self._one_by_one = self._one_by_one and self.backlog.next_due() is not None
        try:
            if self._untold:
                # What goes out of a target now because of others must come back if they go before the next cursor.
                await self._keep_cursor()
            outcomes = await self._outcomes(taken)
        except Exception as error:  # noqa: BLE001 - whatever a target does, the others and the daemon live on
            self._failed(taken, error)
        else:
            self._settle(outcomes)
            self.error, self._failures = None, 0
        self._tell(self.target.name, frozenset(taken))

    async def _outcomes(self, taken: Sequence[str]) -> dict[str, Outcome]:
        """Tell the target what accounts are now; return what came of each."""
        plans: dict[str, list[State]] = {}
        for number, object_id in enumerate(taken, 1):
            plans[object_id] = states_of(self._accounts.view, object_id)
            if number % SLICE == 0:
                # The reactor has others to serve too. What changes meanwhile is noted and delivered again.
                await deferLater(self._reactor, 0)
        states = _distinct(plans.values())
        outcomes = await self._in_thread(self.target.deliver, states) if states else []
        said: dict[tuple[bool, str, str], Outcome] = {
            _place(state): outcome for state, outcome in zip(states, outcomes, strict=True)
        }

        def outcome_of(state: State) -> Outcome:
            # What leaves is not told where somebody else has the name now; then that is what came of it.
            return said.get(_place(state)) or said[isinstance(state, UserState), state.name, ""]

        return {object_id: _worst(map(outcome_of, wanted)) for object_id, wanted in plans.items()}

    def _settle(self, outcomes: Mapping[str, Outcome]) -> None:
        now = self._reactor.seconds()
        news: list[tuple[str, str]] = []
        for object_id, outcome in outcomes.items():
            before = self.backlog.find(object_id)
            if outcome.verdict in {"conflict", "refused"} and (before is None or before.text != outcome.text):
                news.append((object_id, outcome.text))
            self.backlog.settle(object_id, outcome, now, self._chance())
        self._complain(news)

    def _complain(self, news: list[tuple[str, str]]) -> None:
        """Log what the target does not take, once for each reason; of many in one batch only the first."""
        for object_id, text in news[:COMPLAINTS]:
            self.log.warn(
                "{target} does not take {account}: {text}",
                target=self.target.name,
                account=self._accounts.view.describe(object_id),
                text=text,
            )
        if len(news) > COMPLAINTS:
            self.log.warn(
                "{target} does not take {count} more accounts; see: beonss user show NAME",
                target=self.target.name,
                count=len(news) - COMPLAINTS,
            )

    def _failed(self, taken: list[str], error: Exception) -> None:
        self._failures += 1
        delay = backoff(self._failures, self._chance())
        self._resting = self._reactor.seconds() + delay
        if isinstance(error, BeonssError):
            self.error = str(error)
            level = self.log.warn if isinstance(error, TargetError) else self.log.error
            level(
                "{target} takes nothing now, {count} accounts wait, next try in {delay:.0f} s: {error}",
                target=self.target.name,
                count=len(taken),
                delay=delay,
                error=self.error,
            )
        else:
            # A bug of ours: find the account that it is about, so that the others can go on.
            self.error = f"an error of our own ({type(error).__name__}); the log has the details"
            self.log.failure("target {target} broke", target=self.target.name)
            if len(taken) > 1:
                self._one_by_one = True
            else:
                self._resting = self._reactor.seconds()
                failed = Outcome("failed", self.error)
                for object_id in taken:
                    self.backlog.settle(object_id, failed, self._reactor.seconds(), self._chance())
                return
        self.backlog.give_back(taken, self._reactor.seconds())

    # The cursor

    def _note_later(self) -> None:
        if self._stopping or (self._cursor_timer is not None and self._cursor_timer.active()):
            return
        self._cursor_timer = self._reactor.callLater(CURSOR_DELAY, self._note_now)

    def _note_now(self) -> None:
        Deferred.fromCoroutine(self._keep_cursor()).addErrback(
            lambda failure: self.log.failure(
                "the cursor of {target} could not be kept; it is repeated from an older one",
                failure,
                target=self.target.name,
            )
        )

    async def _keep_cursor(self) -> None:
        waiting, contested = frozenset(self.backlog), self._accounts.view.contested()
        cursor = (self._accounts.vector, waiting, contested)
        if not self._resumed or len(waiting) > LISTED or cursor == self._cursor:
            return
        self._untold = False
        data = {"vector": dict(cursor[0]), "waiting": sorted(waiting), "contested": sorted(contested)}
        try:
            await self._accounts.put(self._note, json.dumps(data, sort_keys=True).encode("ascii"))
        except BaseException:
            self._untold = True
            raise
        self._cursor = cursor


def _read_cursor(data: bytes | None) -> tuple[dict[str, int], list[str], list[str]]:
    """Return the vector, what waited, what was in conflict; of none or a damaged one nothing, so all is delivered."""
    try:
        raw = json.loads(data or b"{}")
        vector = {str(origin): int(number) for origin, number in raw.get("vector", {}).items()}
        waiting, contested = ([str(object_id) for object_id in raw.get(name, [])] for name in ("waiting", "contested"))
        return vector, waiting, contested
    except (ValueError, TypeError, AttributeError):
        return {}, [], []


def _place(state: State) -> tuple[bool, str, str]:
    """Return what a state is about: who has a name, or one of those who had it and do not any more."""
    return isinstance(state, UserState), state.name, "" if state.entry is not None else state.object


def _distinct(plans: Iterable[Sequence[State]]) -> list[State]:
    """Return each user and group once: who has the name now, or else all who had it; one of them is there."""
    found = {_place(state): state for states in plans for state in states}
    return [state for (user, name, had), state in found.items() if not had or (user, name, "") not in found]


_ORDER: tuple[Verdict, ...] = ("delivered", "conflict", "refused", "failed")


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: _ORDER.index(outcome.verdict), default=DELIVERED)
