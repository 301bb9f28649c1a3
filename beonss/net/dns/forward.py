"""Names that are not ours, looked up elsewhere: the :class:`~beonss.net.dns.parts.Fallback` of masters and nodes.

Everything is bounded: questions on their way in all, for one zone and for one client; the cache in bytes; each lookup
in time. Clients that ask the same at the same time share one lookup. When an upstream has nothing to say, what it said
last is served for a while (RFC 8767), and a failure is remembered for moments (RFC 9520).

A forwarder needs nothing but a reactor and a :class:`~beonss.core.zones.forwarding_plan.Plan`: each process that
answers has its own, with its own cache.
"""

import resource
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from beonss.core.names.naming import Naming
from beonss.core.zones.caching import STALE_TTL, Entry, ReplyCache, lifetime
from beonss.core.zones.forwarding import Network, Route
from beonss.core.zones.forwarding_plan import Plan, master_plan
from beonss.core.zones.records import MAXIMUM_TTL, Address, DomainName, Reason, ReplyCode, folded
from beonss.core.zones.zone import Answer
from beonss.net.dns.forward_health import Upstreams
from beonss.net.dns.forward_lookup import Failed, Lookup, Outcome
from beonss.net.dns.forward_ways import RealWays, Ways
from beonss.wire.dns import Query, write_reply
from beonss.wire.dns_relay import question_key, relay
from beonss.wire.dns_reply import Reply

log = Logger()

#: Bytes of the cache.
CACHE_BYTES: Final = 16 << 20
#: Lookups on their way at once; fewer where the system gives this process few files.
MOST_LOOKUPS: Final = 256
#: The part of them that one zone may take, and one client that is another machine.
ZONE_PART, CLIENT_PART = 4, 4
#: Labels of a name that tell zones apart for that.
ZONE_LABELS: Final = 2
#: Seconds after which a client gets what has expired while it is asked for again (RFC 8767 section 5).
STALE_AFTER: Final = 1.8

#: Which of its counters say how things stand, not what was done.
GAUGES: Final = frozenset({"bytes", "down", "entries", "pending", "upstreams"})
# What else an upstream may have against a question is between it and us.
_PASSED_ON: Final = frozenset({ReplyCode.SERVFAIL, ReplyCode.REFUSED})
_COUNTED: Final = (
    "again", "asked", "cached", "declined", "failed", "kept_here", "malformed", "mismatched", "remembered", "renewed",
    "shared", "stale", "tcp", "turned_away", "unsent",
)  # fmt: skip


def _servfail(reason: Reason) -> Answer:
    return Answer(ReplyCode.SERVFAIL, authoritative=False, personal=True, reason=reason)


_UNREACHABLE: Final = _servfail(Reason.NO_REACHABLE_AUTHORITY)
_REMEMBERED: Final = _servfail(Reason.CACHED_FAILURE)
_TOO_MANY: Final = Answer(ReplyCode.SERVFAIL, authoritative=False, personal=True)


class Forwarder:
    """Looks names up elsewhere.

    Args:
        reactor: clock and sockets.
        plan: for whom, and where.
        ways: how packets travel; by default over the network.
        new_id: gives random numbers of 16 bits that nobody can guess.
        cache: bytes of the cache.
        most: lookups on their way at once.
    """

    def __init__(
        self,
        reactor: Any,
        plan: Plan,
        *,
        ways: Ways | None = None,
        new_id: Callable[[], int] = lambda: secrets.randbits(16),
        cache: int = CACHE_BYTES,
        most: int = MOST_LOOKUPS,
    ) -> None:
        self.plan = plan
        self.cache: ReplyCache[Reply] = ReplyCache(cache)
        self._reactor = reactor
        self._most = most_lookups(most)
        self._upstreams = Upstreams(reactor, ways or RealWays(reactor), plan.upstreams, new_id)
        self._lookups: dict[bytes, Lookup] = {}
        self._by_zone: Counter[DomainName] = Counter()
        self._by_client: Counter[Address] = Counter()
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))

    @property
    def networks(self) -> Sequence[Network]:
        """Whose machines names are looked up for."""
        return self.plan.networks

    def counters(self) -> Mapping[str, int]:
        """Return what was done so far, and what is held now.

        ``again`` questions sent a second time, ``asked`` questions over UDP and ``tcp`` over TCP, ``cached`` replies
        from the cache, ``declined`` replies that were no answer, ``failed`` lookups without an answer, ``kept_here``
        names that are never sent anywhere, ``malformed`` and ``mismatched`` packets, ``remembered`` failures served
        again, ``renewed`` before they expired, ``shared`` lookups of others, ``stale`` replies served, ``turned_away``
        because there were too many, ``unsent`` for want of sockets; ``pending`` lookups, ``entries`` and ``bytes`` of
        the cache, ``upstreams`` and how many of them are ``down``, ``probes`` sent.
        """
        return {
            **self._counts,
            "pending": len(self._lookups),
            "entries": len(self.cache),
            "bytes": self.cache.size,
            "probes": self._upstreams.probed,
            "upstreams": len(self._upstreams.healths),
            "down": sum(health.down for health in self._upstreams.healths.values()),
        }

    def add(self, what: str) -> None:
        """Count one more of something."""
        self._counts[what] += 1

    def retire(self) -> None:
        """Go on only for those who wait: another forwarder has taken over."""
        self._upstreams.stop()

    def stop(self) -> None:
        """Answer those who wait, and ask nobody any more."""
        self.retire()
        for lookup in list(self._lookups.values()):
            lookup.stop()

    def forward(self, query: Query, packet: bytes, asker: Address, *, tcp: bool) -> bytes | Deferred[bytes | None]:  # noqa: ARG002 - the query says it all
        """Look a name up; see :class:`~beonss.net.dns.parts.Fallback`."""
        way = self.plan.way(folded(query.name), query.type, query.class_)
        if isinstance(way, Answer):
            self.add("kept_here")
            return write_reply(query, way, tcp=tcp, recursion=True)
        key = question_key(query)
        now = self._reactor.seconds()
        entry = self.cache.find(key, now)
        if entry is not None:
            if entry.is_fresh(now):
                self.add("cached")
                if key not in self._lookups and entry.should_be_renewed(now) and self._begin(key, query, way):
                    self.add("renewed")
                return self._relayed(query, entry, now, tcp=tcp)
            if now < entry.failing:
                self.add("remembered")
                return self._last_resort(query, entry, _REMEMBERED, tcp=tcp)
        lookup = self._lookups.get(key)
        if lookup is not None:
            self.add("shared")
        if self._is_full(asker) or (lookup is None and (lookup := self._begin(key, query, way)) is None):
            self.add("turned_away")
            return self._last_resort(query, entry, _TOO_MANY, tcp=tcp)
        return self._join(lookup, query, asker, entry, tcp=tcp)

    # --- lookups ----------------------------------------------------------------------------------------------------

    def _is_full(self, asker: Address) -> bool:
        """Say whether a client has as many lookups on their way as one may; all of this machine count as many."""
        return not asker.is_loopback and self._by_client[asker] >= max(1, self._most // CLIENT_PART)

    def _begin(self, key: bytes, query: Query, route: Route) -> Lookup | None:
        """Begin a lookup; None where too many are on their way, in all or for the zone."""
        zone = folded(query.name)[-ZONE_LABELS:]
        if len(self._lookups) >= self._most or self._by_zone[zone] >= max(1, self._most // ZONE_PART):
            return None

        def finished(lookup: Lookup, outcome: Outcome) -> None:
            del self._lookups[key]
            self._by_zone[zone] -= 1
            if not self._by_zone[zone]:
                del self._by_zone[zone]
            now = self._reactor.seconds()
            if isinstance(outcome, Failed):
                self.add("failed")
                self.cache.fail(key, now, silent=outcome.reply is None)
            else:
                self.cache.keep(key, outcome, now)
            waiting, lookup.waiting = lookup.waiting, []
            for deferred in waiting:
                deferred.callback(outcome)

        lookup = Lookup(self._upstreams, self, route, query, finished)
        self._lookups[key] = lookup
        self._by_zone[zone] += 1
        # In the next turn, when whoever began it has joined it.
        self._reactor.callLater(0, lookup.start)
        return lookup

    def _join(
        self, lookup: Lookup, query: Query, asker: Address, entry: Entry[Reply] | None, *, tcp: bool
    ) -> Deferred[bytes | None]:
        """Wait for a lookup, or for as long as one may who can have an expired reply."""
        coming: Deferred[Outcome] = Deferred()
        answered: Deferred[bytes | None] = Deferred()
        lookup.waiting.append(coming)
        self._by_client[asker] += 1
        timer: Any = None

        def reply(outcome: Outcome) -> None:
            self._by_client[asker] -= 1
            if not self._by_client[asker]:
                del self._by_client[asker]
            if timer is not None and timer.active():
                timer.cancel()
            if not answered.called:
                answered.callback(self._finished(query, outcome, entry, tcp=tcp))

        def too_late() -> None:
            answered.callback(self._last_resort(query, entry, _UNREACHABLE, tcp=tcp))

        coming.addCallback(reply)
        if entry is not None and entry.reply is not None:
            timer = self._reactor.callLater(STALE_AFTER, too_late)
        return answered

    # --- replies ----------------------------------------------------------------------------------------------------

    def _finished(self, query: Query, outcome: Outcome, entry: Entry[Reply] | None, *, tcp: bool) -> bytes:
        if not isinstance(outcome, Failed):
            return relay(query, outcome, tcp=tcp, ceiling=_ceiling(outcome))
        told = outcome.reply is not None and outcome.reply.code in _PASSED_ON
        if told and outcome.reply is not None and (entry is None or entry.reply is None):
            return relay(query, outcome.reply, tcp=tcp)
        return self._last_resort(query, entry, _UNREACHABLE, tcp=tcp)

    def _relayed(self, query: Query, entry: Entry[Reply], now: float, *, tcp: bool) -> bytes:
        assert entry.reply is not None
        return relay(query, entry.reply, tcp=tcp, age=entry.age(now), ceiling=_ceiling(entry.reply, entry.age(now)))

    def _last_resort(self, query: Query, entry: Entry[Reply] | None, otherwise: Answer, *, tcp: bool) -> bytes:
        """Answer with what has expired, or with a failure."""
        if entry is None or entry.reply is None:
            return write_reply(query, otherwise, tcp=tcp, recursion=True)
        self.add("stale")
        reason = Reason.STALE_DENIAL if entry.reply.code == ReplyCode.NXDOMAIN else Reason.STALE
        return relay(query, entry.reply, tcp=tcp, ceiling=STALE_TTL, reason=reason)


def most_lookups(wanted: int) -> int:
    """Return how many lookups may be on their way: fewer than wanted where this process may open few files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else min(wanted, max(16, files // 4))


@dataclass(frozen=True, slots=True)
class ForwarderMaker:
    """Makes forwarders of one plan, in whichever process they are needed; equal to others of the same plan."""

    plan: Plan

    def __call__(self, reactor: Any) -> Forwarder:
        """Return a new forwarder."""
        return Forwarder(reactor, self.plan)


def forwarder_of_master(naming: Naming) -> ForwarderMaker | None:
    """Return what makes the forwarders of a master, None where its description has no upstreams."""
    plan = master_plan(naming)
    return None if plan is None else ForwarderMaker(plan)


def silent_upstreams(counters: Mapping[str, int]) -> list[str]:
    """Return what an administrator should look at.

    Args:
        counters: of a forwarder, or the sum of several, which need not find the same upstreams silent.
    """
    if not counters.get("down"):
        return []
    text = "a DNS server under [dns.forward] of the description does not answer (the log says which)"
    return [f"{text}; others are asked in its place, if there are any"]


def _ceiling(reply: Reply, age: int = 0) -> int:
    """Return the highest TTL in a reply: no denial is kept for longer than its SOA record says (RFC 2308 section 5)."""
    return max(0, lifetime(reply) - age) if reply.denies and reply.lifetime is not None else MAXIMUM_TTL
