"""One question to the upstreams of a route: the first, the next when it is late or no good, until one answers.

What comes must have the id and the question that were sent; anything else is counted and ignored (RFC 5452 section
9.1), and after many such packets the question is asked over TCP, where nobody can guess along. Upstreams are asked in
turn, twice at most each, and all replies that are still on their way may win.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from beonss.core.zones.forwarding import Route, Upstream
from beonss.core.zones.records import DomainName, ReplyCode, folded
from beonss.errors import MalformedError
from beonss.net.dns.forward_health import Upstreams
from beonss.net.dns.forward_ways import Way
from beonss.wire.dns_query import Query
from beonss.wire.dns_relay import upstream_query
from beonss.wire.dns_reply import Reply, read_reply, same_question

#: Seconds after which a lookup is given up; resolvers wait five for us (resolv.conf(5)).
DEADLINE: Final = 4.0
#: Seconds that an upstream has to answer over TCP.
TCP_WAIT: Final = 2.0
#: Rounds over the upstreams.
ROUNDS: Final = 2
#: Packets that are not the reply, at one port, until TCP is used in its place.
MOST_MISMATCHES: Final = 50

_ANSWERS: Final = frozenset({ReplyCode.NOERROR, ReplyCode.NXDOMAIN, ReplyCode.YXDOMAIN})


@dataclass(frozen=True, slots=True)
class Failed:
    """No upstream gave an answer.

    Attributes:
        reply: the best of what they said instead; None if nobody said anything.
    """

    reply: Reply | None


Outcome = Reply | Failed


class Tally(Protocol):
    """Counts what lookups do."""

    def add(self, what: str, /) -> None:
        """Count one more."""
        ...


@dataclass(slots=True)
class _Attempt:
    """A question to one upstream.

    Attributes:
        sent: when, the last time.
        tcp: over TCP.
        over: nothing more is expected of it.
        late: it is counted as unanswered already.
    """

    upstream: Upstream
    id: int
    edns: bool
    sent: float
    tcp: bool = False
    over: bool = False
    late: bool = False
    mismatches: int = 0
    way: Way | None = field(default=None, repr=False)


class Lookup:
    """Looks one question up.

    Args:
        upstreams: all there are.
        tally: counts.
        route: who is asked.
        query: what is asked, as the first client did.
        finished: called once with what came of it.

    Attributes:
        waiting: for each client, what fires with the outcome.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        tally: Tally,
        route: Route,
        query: Query,
        finished: Callable[["Lookup", Outcome], None],
    ) -> None:
        self.query = query
        self.waiting: list[Deferred[Outcome]] = []
        self._reactor = upstreams.reactor
        self._upstreams = upstreams
        self._tally = tally
        self._finished = finished
        self._name: DomainName = folded(query.name)
        self._began: float = upstreams.reactor.seconds()
        self._order = upstreams.in_order(route.upstreams)
        self._left = [*self._order] * ROUNDS
        self._attempts: dict[Upstream, _Attempt] = {}
        self._worst: Reply | None = None
        self._timer: IDelayedCall | None = None
        self._done = False

    def start(self) -> None:
        """Ask the first upstream; ends at once where all are down."""
        self._next()

    def stop(self) -> None:
        """Give up."""
        self._end(Failed(None))

    # --- whom to ask ------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Ask the next upstream, and note when to ask the one after it."""
        while self._left and not self._done:
            upstream = self._left.pop(0)
            attempt = self._attempts.get(upstream)
            if attempt is None:
                if not self._ask(upstream):
                    continue
            elif attempt.over:
                continue
            elif not attempt.tcp and attempt.way is not None:
                # The same packet from the same port: two different ones would double a forger's chance.
                attempt.sent = self._reactor.seconds()
                self._tally.add("again")
                attempt.way.send(self._packet(attempt))
            self._wait(self._upstreams.healths[upstream].wait * (1 if attempt is None else 2))
            return
        if self._done:
            return
        rest = self._began + DEADLINE - self._reactor.seconds()
        if rest > 0 and any(not attempt.over for attempt in self._attempts.values()):
            self._wait(rest)
        else:
            self._end(Failed(self._worst))

    def _wait(self, seconds: float) -> None:
        rest = max(0.0, self._began + DEADLINE - self._reactor.seconds())
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._reactor.callLater(min(seconds, rest), self._late)

    def _late(self) -> None:
        """Note who has not answered so far, and go on."""
        now = self._reactor.seconds()
        for attempt in self._attempts.values():
            if not attempt.over and not attempt.late:
                attempt.late = True
                self._upstreams.missed(attempt.upstream, attempt.sent)
        if now >= self._began + DEADLINE:
            self._end(Failed(self._worst))
        else:
            self._next()

    def _packet(self, attempt: _Attempt) -> bytes:
        return upstream_query(attempt.id, self.query, edns=attempt.edns)

    def _ask(self, upstream: Upstream, *, tcp: bool = False, edns: bool = True) -> bool:
        """Send the question; say whether that could be done."""
        now = self._reactor.seconds()
        edns = edns and self._upstreams.healths[upstream].speaks_edns(now)
        attempt = _Attempt(upstream, self._upstreams.new_id(), edns, now, tcp=tcp)
        self._attempts[upstream] = attempt

        def received(packet: bytes) -> None:
            self._received(attempt, packet)

        def lost(why: str) -> None:  # noqa: ARG001 - that it is lost is all that counts
            self._lost(attempt)

        try:
            if tcp:
                attempt.way = self._upstreams.ways.tcp(upstream, received, lost, TCP_WAIT)
            else:
                attempt.way = self._upstreams.ways.udp(upstream, received, lost)
        except OSError:
            # The system has no more sockets, or no route there.
            attempt.over = True
            self._tally.add("unsent")
            return False
        self._tally.add("tcp" if tcp else "asked")
        attempt.way.send(self._packet(attempt))
        return True

    # --- what comes -------------------------------------------------------------------------------------------------

    def _received(self, attempt: _Attempt, packet: bytes) -> None:
        if self._done or attempt.over:
            return
        if packet[:2] != attempt.id.to_bytes(2, "big"):
            self._mismatched(attempt)
            return
        try:
            reply = read_reply(packet)
        except MalformedError:
            self._tally.add("malformed")
            self._mismatched(attempt)
            if attempt.tcp:
                self._useless(attempt)
            return
        if not same_question(reply, self._name, self.query.type, self.query.class_):
            self._mismatched(attempt)
            return
        self._upstreams.heard(attempt.upstream, attempt.sent)
        if reply.truncated:
            self._over_tcp(attempt)
        elif reply.code == ReplyCode.FORMERR and attempt.edns and not reply.edns:
            # It knows nothing of EDNS (RFC 6891 section 7).
            self._upstreams.healths[attempt.upstream].without_edns(self._reactor.seconds())
            self._instead(attempt, tcp=attempt.tcp)
        elif reply.code in _ANSWERS and not reply.refers:
            self._answered(attempt, reply)
        else:
            self._tally.add("declined")
            if not reply.refers and (self._worst is None or self._worst.code != ReplyCode.SERVFAIL):
                self._worst = reply
            self._useless(attempt)

    def _mismatched(self, attempt: _Attempt) -> None:
        self._tally.add("mismatched")
        attempt.mismatches += 1
        if attempt.mismatches >= MOST_MISMATCHES and not attempt.tcp:
            self._over_tcp(attempt)

    def _over_tcp(self, attempt: _Attempt) -> None:
        if attempt.tcp:
            self._useless(attempt)
        else:
            self._instead(attempt, tcp=True)

    def _instead(self, attempt: _Attempt, *, tcp: bool) -> None:
        """Ask the same upstream in another way."""
        self._close(attempt)
        if self._ask(attempt.upstream, tcp=tcp):
            self._wait(TCP_WAIT if tcp else self._upstreams.healths[attempt.upstream].wait)
        else:
            self._next()

    def _lost(self, attempt: _Attempt) -> None:
        if not self._done and not attempt.over:
            self._upstreams.missed(attempt.upstream, attempt.sent)
            self._useless(attempt)

    def _useless(self, attempt: _Attempt) -> None:
        """Go on without waiting: this upstream has nothing better to say."""
        self._close(attempt)
        self._next()

    def _answered(self, attempt: _Attempt, reply: Reply) -> None:
        first = self._order[0]
        if attempt.upstream == first:
            self._upstreams.healths[first].won()
        else:
            self._upstreams.healths[first].beaten(self._reactor.seconds())
        self._end(reply)

    def _close(self, attempt: _Attempt) -> None:
        attempt.over = True
        if attempt.way is not None:
            attempt.way.close()

    def _end(self, outcome: Outcome) -> None:
        if self._done:
            return
        self._done = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for attempt in self._attempts.values():
            self._close(attempt)
        self._finished(self, outcome)
