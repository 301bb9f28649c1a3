"""Who follows the queries: people with ``beonss querylog``, and the permanent log; and what each of them gets.

All of them share one tap in each process that answers (:mod:`beonss.net.dns.tap`); where nobody follows there is none.
How much is looked at, told and kept waiting is bounded; what is left out for that is counted and said.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from beonss.core.zones.query_log import (
    LINES_AT_ONCE,
    LINES_PER_SECOND,
    MOST_EVERY,
    Allowance,
    Network,
    QueryRecord,
    Thinning,
    Wanted,
    name_pattern,
)
from beonss.errors import MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.net.dns.tap import QueryTap
from beonss.wire.query_sample import Sample, record_of, type_word

#: Followers at once, beside the permanent log.
MOST_FOLLOWERS = 8
#: Queries that are looked at in a second, for all followers together, and that may be saved up.
LOOKS_PER_SECOND = 20_000.0
LOOKS_AT_ONCE = 5_000.0
#: Seconds between two words about what was left out; of these words, how many are said though nothing has changed.
INTERVAL = 1.0
ALIVE = 20
#: Days that somebody may follow without asking again.
MOST_SECONDS = 7 * 86400.0


class Answering(Protocol):
    """What answers queries: a server, or processes of servers."""

    def watch(self, tap: QueryTap | None, /) -> None:
        """Have some queries taken, in place of what another tap took; none with None."""


class Follower:
    """Somebody who follows. Made by :meth:`QueryLog.follow`.

    Attributes:
        told: records passed on.
        missed: records, or queries that could have been, left out because there were too many.
        permanent: it is the log of the daemon itself.
    """

    def __init__(
        self, log: "QueryLog", wanted: Wanted, take: Callable[[QueryRecord], bool], *, every: int, seed: int, now: float
    ) -> None:
        self._log = log
        self._wanted = wanted
        self._take = take
        self._thinning = Thinning(every, seed)
        self._allowance = Allowance(LINES_PER_SECOND, LINES_AT_ONCE, now)
        self.every = every
        self.told = 0
        self.missed = 0
        self.permanent = False
        #: Fires when the log is closed.
        self.ended: Deferred[None] = Deferred()

    def thins(self, of: int) -> bool:
        """Say whether a query that stands for ``of`` is one of those for this follower."""
        return self._thinning.takes(of)

    def offer(self, record: QueryRecord, now: float) -> None:
        """Take a record if it is wanted and there is room."""
        if not self._wanted.matches(record):
            return
        if self._allowance.take(now) and self._take(record):
            self.told += 1
        else:
            self.missed += 1

    def end(self) -> None:
        """Fire :attr:`ended`; once more does no harm."""
        if not self.ended.called:
            self.ended.callback(None)

    def close(self) -> None:
        """Follow no more."""
        self._log.forget(self)


class QueryLog:
    """The followers of one daemon.

    Args:
        answering: what is tapped while there are followers.
        seconds: a monotonic clock.
        chance: gives a random number of 32 bits.
    """

    def __init__(self, answering: Answering, seconds: Callable[[], float], chance: Callable[[], int]) -> None:
        self._answering = answering
        self._seconds = seconds
        self._chance = chance
        self._followers: list[Follower] = []
        self._looks = Allowance(LOOKS_PER_SECOND, LOOKS_AT_ONCE, seconds())
        self._every = 0
        self._closed = False

    def follow(
        self, every: int, wanted: Wanted, take: Callable[[QueryRecord], bool], *, permanent: bool = False
    ) -> Follower:
        """Begin to follow.

        Args:
            every: one of so many queries.
            wanted: which of these.
            take: gets them, soon after they were answered; it says whether it had room, and must not raise.
            permanent: there is room for it however many follow.

        Raises:
            Refused: too many follow already, or the daemon ends.
        """
        others = sum(not follower.permanent for follower in self._followers)
        if self._closed or (others >= MOST_FOLLOWERS and not permanent):
            raise Refused("busy", f"{others} follow the queries already; try later")
        follower = Follower(self, wanted, take, every=every, seed=self._chance(), now=self._seconds())
        follower.permanent = permanent
        self._followers.append(follower)
        self._adjust()
        return follower

    def forget(self, follower: Follower) -> None:
        """Let a follower go; once more does no harm."""
        if follower in self._followers:
            self._followers.remove(follower)
            self._adjust()

    def stop(self) -> None:
        """Let all followers go, and take no more."""
        self._closed = True
        for follower in list(self._followers):
            self.forget(follower)
            follower.end()

    def _adjust(self) -> None:
        every = min((follower.every for follower in self._followers), default=0)
        if every != self._every:
            self._every = every
            self._answering.watch(QueryTap(every, self._chance(), self.deliver) if every else None)

    def deliver(self, samples: list[Sample], missed: int) -> None:
        """Pass on what was taken, and count what was not."""
        now, of = self._seconds(), max(1, self._every)
        for follower in self._followers:
            follower.missed += missed
        for sample in samples:
            takers = [follower for follower in self._followers if follower.thins(of)]
            if not takers:
                continue
            if not self._looks.take(now):
                for follower in takers:
                    follower.missed += 1
                continue
            record = record_of(sample)
            for follower in takers:
                follower.offer(record, now)


def query_log_operation(reactor: IReactorTime, log: QueryLog) -> dict[str, Operation]:
    """Return the operation ``querylog``.

    It takes ``sample`` (one of so many queries, default 1), ``seconds`` (null: until the asker goes), ``clients`` (list
    of networks), ``name`` (a pattern) and ``types`` (list of mnemonics). It reports ``query`` with the fields of
    :class:`~beonss.core.zones.query_log.QueryRecord`, and ``dropped`` with the number of ``queries`` left out so far.
    Its end has ``told`` and ``dropped``.
    """

    async def follow(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:
        every, seconds, wanted = _asked(parameters)
        choked = False

        def drained(_: object) -> None:
            nonlocal choked
            choked = False

        def take(record: QueryRecord) -> bool:
            nonlocal choked
            if not choked and not (drain := peer.drained()).called:
                choked = True
                drain.addCallback(drained)
            if not choked:
                report("query", **record.document())
            return not choked

        follower = log.follow(every, wanted, take)
        said = turns = 0

        def tell() -> None:
            nonlocal said, turns
            turns += 1
            # Now and then also that there is nothing new: an asker must be able to tell silence from death.
            if not choked and (follower.missed != said or turns % ALIVE == 0):
                said = follower.missed
                report("dropped", queries=said)

        telling = LoopingCall(tell)
        telling.clock = reactor
        telling.start(INTERVAL, now=False)
        end = None
        if seconds is not None:
            end = reactor.callLater(seconds, follower.end)
        try:
            # Cancelled when the asker goes.
            await follower.ended
        finally:
            telling.stop()
            if end is not None and end.active():
                end.cancel()
            follower.close()
        return {"told": follower.told, "dropped": follower.missed}

    return {"querylog": Operation(follow, needs_root=True, cancellable=True)}


def _asked(parameters: Mapping[str, Any]) -> tuple[int, float | None, Wanted]:
    """Read the parameters of the operation.

    Raises:
        MalformedError: one of them makes no sense.
    """
    every = parameters.get("sample", 1)
    if type(every) is not int or not 1 <= every <= MOST_EVERY:
        raise MalformedError(f"'sample' is no number from 1 to {MOST_EVERY}")
    seconds = parameters.get("seconds")
    if seconds is not None and (type(seconds) not in {int, float} or not 0 < seconds <= MOST_SECONDS):
        raise MalformedError(f"'seconds' is no number above 0 and up to {MOST_SECONDS:g}")
    name = parameters.get("name")
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 255):
        raise MalformedError("'name' is no pattern of at most 255 characters")
    clients: list[Network] = []
    for text in _texts(parameters, "clients"):
        try:
            clients.append(ip_network(text, strict=False))
        except ValueError:
            raise MalformedError(f"{text!r} is no network; write 10.5.1.0/24, or an address") from None
    types = frozenset(type_word(text) for text in _texts(parameters, "types"))
    return every, seconds, Wanted(tuple(clients), None if name is None else name_pattern(name), types)


def _texts(parameters: Mapping[str, Any], name: str) -> list[str]:
    value = parameters.get(name, [])
    if not isinstance(value, list) or len(value) > 64 or not all(isinstance(v, str) and len(v) <= 64 for v in value):
        raise MalformedError(f"{name!r} is no list of up to 64 short texts")
    return value
