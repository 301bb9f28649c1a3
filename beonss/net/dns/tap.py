"""Taking some of the queries that are answered, for whoever wants to look at them.

A server without a tap asks one question for each batch of packets: is there a tap? With one, the compiled core copies
every so-many-th query out after its batch was sent, and what Python answers is counted here.
"""

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from beonss.core.zones.query_log import Gaps
from beonss.net.dns.transfer import ZoneStream
from beonss.wire.query_sample import QUERY_KEPT, REPLY_KEPT, Sample

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core

log = Logger()

T = TypeVar("T")

#: QR and AA.
_BEGUN = b"\x84\0"

#: Takes samples, and how many more there were no room for.
Sink = Callable[[list[Sample], int], None]


class QueryTap:
    """Takes one of so many queries.

    Args:
        every: one of so many.
        seed: for the generator of gaps.
        sink: gets what was taken, soon after it was answered; it must not take long.
        wall: seconds since the epoch.
        seconds: a monotonic clock.
    """

    def __init__(
        self,
        every: int,
        seed: int,
        sink: Sink,
        wall: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every = every
        self._gaps = Gaps(every, seed)
        self._seed = seed
        self._sink = sink
        self._wall = wall
        self._seconds = seconds
        #: Say whether the next query that Python answers is taken.
        self.due = self._gaps.due

    def open(self, core: "Core | None") -> bool:
        """Have a compiled core take queries; return whether it answers at all while the tap is open."""
        return core is not None and core.sample(self.every, self._seed)

    @property
    def seed(self) -> int:
        """What the gaps are drawn from."""
        return self._seed

    def arrived(self, samples: list[Sample], missed: int) -> None:
        """Pass on what another process has taken."""
        self._give(samples, missed)

    def drained(self, core: "Core") -> None:
        """Pass on what a compiled core has taken."""
        taken, missed = core.samples()
        if taken or missed:
            now = self._wall()
            samples = [
                Sample(now, packed(peer[0]), False, query, reply, size, took)
                for query, peer, reply, size, took in taken
            ]
            self._give(samples, missed)

    def watched(self, respond: Callable[..., T], packet: bytes, host: str, *, tcp: bool) -> T:
        """Answer a query that is taken.

        Args:
            respond: answers it.
            packet: the query.
            host: the client's address.
            tcp: whether it came over TCP.

        Returns:
            What ``respond`` returns.
        """
        began = self._seconds()

        def note(reply: Any) -> Any:
            took: int | None = int((self._seconds() - began) * 1e6)
            if reply is None:
                head, size = b"", 0
            elif isinstance(reply, bytes):
                head, size = reply[:REPLY_KEPT], len(reply)
            elif isinstance(reply, ZoneStream):
                # Its messages come as fast as the client takes them; it has begun, which needs a header of NOERROR.
                head, size, took = packet[:2] + _BEGUN, 0, None
            else:
                # It is answered, and perhaps taken, by another process.
                return reply
            self._give([Sample(self._wall(), packed(host), tcp, packet[:QUERY_KEPT], head, size, took)], 0)
            return reply

        reply = respond(packet, host, tcp=tcp)
        if isinstance(reply, Deferred):
            reply.addCallback(note)
        else:
            note(reply)
        return reply

    def _give(self, samples: list[Sample], missed: int) -> None:
        try:
            self._sink(samples, missed)
        except Exception:  # noqa: BLE001 - the client gets its reply whatever becomes of the log
            log.failure("DNS: some queries are not in the log because of an error of ours")


def packed(host: str) -> bytes:
    """Return the bytes of an address as a socket gives it; zeros for what is none."""
    text = host.partition("%")[0]
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return bytes(4)
