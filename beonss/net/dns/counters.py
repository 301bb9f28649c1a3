"""What a DNS server tells of itself: what it has done, in numbers, and as few log events as somebody can read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beonss.core.zones.records import ReplyCode

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core

#: Seconds between two log events of one kind.
LOG_INTERVAL = 10.0

_CODE_NAMES = {code.value: code.name for code in ReplyCode}


@dataclass(frozen=True, slots=True)
class DNSCounters:
    """What the server has done since it started.

    Attributes:
        udp, tcp: queries by transport, unreadable ones included.
        ready: queries answered from the table of ready answers.
        codes: replies sent by RCODE name.
        truncated: replies with TC, whose clients had to come back over TCP.
        malformed: packets that were no query we can answer.
        dropped: packets that got no reply: too short, or replies themselves.
        unsent: replies that the socket did not take.
        forwarded: queries handed to the fallback.
        failures: queries that got SERVFAIL because answering failed; each is a bug or a broken fallback.
        connections: TCP connections open now.
        refused_connections: TCP connections turned away or cut short by a limit.
        table: ready answers held now.
        compiled: queries answered by the compiled core.
        fallback: what the fallback counts; empty without one.
    """

    udp: int
    tcp: int
    ready: int
    codes: Mapping[str, int]
    truncated: int
    malformed: int
    dropped: int
    unsent: int
    forwarded: int
    failures: int
    connections: int
    refused_connections: int
    table: int
    compiled: int = 0
    fallback: Mapping[str, int] = field(default_factory=dict)

    @property
    def queries(self) -> int:
        """All queries, over UDP and TCP."""
        return self.udp + self.tcp


class Counts:
    """The running counters; the sockets add to them."""

    __slots__ = (
        "codes", "compiled", "connections", "dropped", "failures", "forwarded", "malformed", "ready",
        "refused_connections", "tcp", "truncated", "udp", "unsent",
    )  # fmt: skip

    def __init__(self) -> None:
        self.udp = self.tcp = self.ready = self.truncated = self.malformed = self.dropped = self.unsent = 0
        self.forwarded = self.failures = self.connections = self.refused_connections = self.compiled = 0
        # By the four bits of the header; BADVERS counts as none of them but in its own place.
        self.codes = [0] * (ReplyCode.BADVERS + 1)

    def copy(self) -> "Counts":
        """Return the counters as they are now."""
        made = Counts()
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(made, name, list(value) if isinstance(value, list) else value)
        return made

    def add_compiled(self, core: "Core") -> None:
        """Add what a compiled core has done."""
        udp, tcp, unsent, codes = core.counts()
        self.udp += udp
        self.tcp += tcp
        self.compiled += udp + tcp
        self.unsent += unsent
        for code, number in enumerate(codes):
            self.codes[code] += number


def code_name(code: int) -> str:
    """Return the name of an RCODE."""
    # A fallback relays codes that we never give.
    return _CODE_NAMES.get(code, f"RCODE{code}")


class SparingLog:
    """Lets an event of each kind through once per interval, and counts the others.

    Args:
        seconds: a monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        """Say whether an event of this kind may be logged now; ``kind`` is one of a few fixed words."""
        now = self._seconds()
        last = self._last.get(kind)
        if last is not None and now - last < LOG_INTERVAL:
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        self._last[kind] = now
        return True

    def held(self, kind: str) -> int:
        """Return, and forget, how many events of this kind were kept back since the last one."""
        return self._held.pop(kind, 0)
