"""DNS over TCP (RFC 7766, RFC 9210): many queries on a connection, in any pace, at bounded memory.

What a connection may hold is bounded everywhere: a message announced longer than any query closes it; replies
that the client does not take stop the reading of further queries and, after a while, end the connection; one
that sends no complete query in time is closed, however many single bytes it sends; there are limits
per client and in all.
"""

import socket
from collections import Counter, OrderedDict
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.net.dns.bind import bound_tcp_socket
from beonss.net.dns.parts import Elsewhere
from beonss.net.dns.server import DNSServer
from beonss.net.dns.transfer import ZoneStream

log = Logger()

_LENGTH: Final = Struct("!H")
# A header without a question: the shortest message that can get any reply.
_SHORTEST = 12
#: Bytes Twisted reads at once and holds unsent before it asks a producer to pause.
_BUFFER = 16384
#: Seconds between two looks whether a client that changes hands has its replies.
_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much TCP clients may take.

    Attributes:
        idle: seconds a connection may go without a complete query (RFC 7766 section 6.2.3: a few seconds).
        stall: seconds a client has to take what was sent to it.
        total: connections in all; beyond it the one that was idle longest gives way.
        per_client: connections of one address; beyond it the new one is closed.
        message: bytes of a query.
        pipeline: queries of one connection that wait for the fallback.
    """

    idle: float = 10.0
    stall: float = 10.0
    total: int = 512
    per_client: int = 32
    message: int = 4096
    pipeline: int = 32


@implementer(IHalfCloseableProtocol, IPushProducer)
class DNSStream(Protocol):
    """One connection of a client."""

    factory: "DNSStreams"

    def __init__(self, host: str) -> None:
        self.host = host
        self.gone: Deferred[None] = Deferred()
        self._buffer = bytearray()
        self._waiting = 0
        self._choked = False  # the client does not take its replies
        self._closing = False  # nothing more is read; what is due is still sent
        self._leaving = False  # the transport was told to close
        self._over = False  # the connection is no more
        self._timer: IDelayedCall | None = None
        self._zone: ZoneStream | None = None  # the transfer that the client is getting
        self._turn: IDelayedCall | None = None  # when its next message is made, or the connection is given away
        self._elsewhere: Elsewhere | None = None  # the process that the connection is given to

    @property
    def busy(self) -> bool:
        """Whether something is still due to the client."""
        return self._waiting > 0 or self._choked or self._elsewhere is not None

    def connectionMade(self) -> None:
        """Start the clock."""
        transport: Any = self.transport
        transport.bufferSize = _BUFFER
        transport.registerProducer(self, True)
        self._timer = self.factory.clock.callLater(self.factory.limits.idle, self._timed_out)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - why does not matter
        """Forget everything."""
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._buffer.clear()
        self._end_transfer()
        self.factory.forget(self)
        self.gone.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Answer the queries that are complete."""
        if not self._closing:
            self._buffer += data
            self._work()

    def readConnectionLost(self) -> None:
        """Answer what is left to answer: the client has said all it wanted to say."""
        self._closing = True
        self._work()

    def writeConnectionLost(self) -> None:
        """Give up: we never close our half alone."""
        self.abort()

    def pauseProducing(self) -> None:
        """Stop reading: the client does not take its replies (called by the transport)."""
        self._choked = True
        self._restart_timer(self.factory.limits.stall)
        self._set_reading()

    def resumeProducing(self) -> None:
        """Go on: the client has taken all its replies (called by the transport)."""
        self._choked = False
        self._restart_timer(self.factory.limits.idle)
        self._schedule()
        self._work()

    def stopProducing(self) -> None:
        """Nothing to do: the transport closes (called by the transport)."""

    def close(self, grace: float) -> None:
        """Close once what was written has been taken; after ``grace`` seconds close anyway."""
        if self._over:
            return
        self._closing = self._leaving = True
        self._buffer.clear()
        transport: Any = self.transport
        # With a producer the transport would wait for more to be written.
        transport.unregisterProducer()
        self._choked = False
        self._waiting = 0
        self._end_transfer()
        self._restart_timer(grace)
        transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if not self._over:
            self._closing = True
            transport: Any = self.transport
            transport.abortConnection()

    def _work(self) -> None:
        """Answer complete queries as long as the client takes replies."""
        buffer, limits = self._buffer, self.factory.limits
        # Replies in one piece leave no query for the log.
        core = self.factory.server.core if self.factory.server.tap is None else None
        recursive = self.factory.server.is_recursive(self.host)
        start = 0
        while not self._over and not self._full and len(buffer) - start >= 2:
            if core is not None:
                # All that it can answer in a row travels in one piece.
                taken, replies = core.answer_stream(buffer, start, recursive)
                if taken:
                    start += taken
                    self._restart_timer(limits.idle)
                    self.factory.touch(self)
                    self._write_all(replies)
                    continue
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not _SHORTEST <= length <= limits.message:
                # No query is that short or long, and what follows cannot be trusted to be one.
                self.factory.server.counts.malformed += 1
                self.factory.server.counts.dropped += 1
                self._closing = True
                start = len(buffer)
                break
            end = start + 2 + length
            if end > len(buffer):
                break
            packet = bytes(buffer[start + 2 : end])
            self._restart_timer(limits.idle)
            self.factory.touch(self)
            if not self._answer(packet):
                # It stays in the buffer, for the process that answers it.
                break
            start = end
        del buffer[:start]
        if self._over:
            return
        if self._closing and not self.busy and not self._leaving:
            self.close(limits.stall)
        else:
            self._set_reading()

    def _answer(self, packet: bytes) -> bool:
        """Answer a query; return False for one that another process answers, with all that follow."""
        reply = self.factory.server.respond(packet, self.host, tcp=True)
        if isinstance(reply, bytes):
            self._write(reply)
        elif isinstance(reply, Deferred):
            self._waiting += 1
            reply.addCallback(self._arrived)
        elif isinstance(reply, ZoneStream):
            # What the client asks meanwhile waits until it has the zone.
            self._waiting += 1
            self._zone = reply
            self._schedule()
        elif reply is not None:
            self._elsewhere = reply
            self._turn = self.factory.clock.callLater(0, self._hand_over)
            return False
        return True

    def _hand_over(self) -> None:
        """Give the connection to another process, once the client was sent what is due to it."""
        assert self._elsewhere is not None
        self._turn = None
        if self._waiting or self._choked or self.factory.sends(self):
            self._turn = self.factory.clock.callLater(_LOOK, self._hand_over)
            return
        transport: Any = self.transport
        handle: socket.socket = transport.getHandle()
        if not self._elsewhere.connection(handle, bytes(self._buffer)):
            self.factory.server.counts.refused_connections += 1
            self.abort()
            return
        # The other process has a descriptor of its own; ours is closed without a word to the client.
        transport.unregisterProducer()
        transport.stopReading()
        transport.stopWriting()
        handle.close()
        self.connectionLost()

    @property
    def _full(self) -> bool:
        """Whether no further query is taken up for now."""
        if self._choked or self._zone is not None or self._elsewhere is not None:
            return True
        return self._waiting >= self.factory.limits.pipeline

    def _schedule(self) -> None:
        """Go on with the transfer in the next turn of the reactor, so that others have theirs."""
        if self._zone is not None and self._turn is None:
            self._turn = self.factory.clock.callLater(0, self._transfer)

    def _transfer(self) -> None:
        self._turn = None
        if self._zone is None or self._choked:
            return
        try:
            message = self._zone.next_message()
        except Exception:  # noqa: BLE001 - the client must not take half of a zone for the whole
            log.failure("DNS: a zone transfer to {host} was broken off by an error of ours", host=self.host)
            self.abort()
            return
        self._restart_timer(self.factory.limits.idle)
        if message is not None:
            self._write(message)
            self._schedule()
            return
        self._zone = None
        self._waiting -= 1
        self._work()

    def _end_transfer(self) -> None:
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None
        if self._zone is not None:
            self._zone.close()
            self._zone = None

    def _arrived(self, reply: bytes | None) -> None:
        if self._over or self._leaving:
            return
        self._waiting -= 1
        if reply is not None:
            self._write(reply)
        self._work()

    def _write(self, reply: bytes) -> None:
        # In one piece, so that it travels in one segment (RFC 7766 section 8).
        self._write_all(_LENGTH.pack(len(reply)) + reply)

    def _write_all(self, replies: bytes) -> None:
        transport: Any = self.transport
        transport.write(replies)

    def _set_reading(self) -> None:
        transport: Any = self.transport
        if self._full or self._closing:
            transport.pauseProducing()
        else:
            transport.resumeProducing()

    def _restart_timer(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(seconds)

    def _timed_out(self) -> None:
        limits = self.factory.limits
        self._timer = self.factory.clock.callLater(limits.stall, self._timed_out)
        if self._leaving or self._choked:
            self.factory.server.counts.refused_connections += 1
            self.abort()
        elif not self._waiting:
            self.close(limits.stall)


class DNSStreams(Factory):
    """The connections of one listening address, and their limits.

    Args:
        server: answers the packets.
        clock: the reactor, or a fake one.
        limits: what clients may take.
    """

    noisy = False

    def __init__(self, server: DNSServer, clock: IReactorTime, limits: StreamLimits) -> None:
        self.server = server
        self.clock = clock
        self.limits = limits
        # The one that was idle longest stands first.
        self._open: OrderedDict[DNSStream, None] = OrderedDict()
        self._per_client: Counter[str] = Counter()

    def logPrefix(self) -> str:
        """Return what Twisted's log calls this."""
        return "DNS"

    def buildProtocol(self, addr: IAddress | None) -> DNSStream | None:  # type: ignore[override]
        """Take a connection, or turn it away."""
        host: str = getattr(addr, "host", "")
        if self._per_client[host] >= self.limits.per_client:
            self._refused(f"{host} has {self.limits.per_client} DNS connections open")
            return None
        if len(self._open) >= self.limits.total:
            oldest = next((stream for stream in self._open if not stream.busy), next(iter(self._open)))
            self._refused(f"{self.limits.total} DNS connections are open")
            oldest.abort()
            self.forget(oldest)
        stream = DNSStream(host)
        stream.factory = self
        self._open[stream] = None
        self._per_client[host] += 1
        self.server.counts.connections += 1
        return stream

    def touch(self, stream: DNSStream) -> None:
        """Note that a connection is in use."""
        if stream in self._open:
            self._open.move_to_end(stream)

    def forget(self, stream: DNSStream) -> None:
        """Note that a connection is no more; more than once does no harm."""
        if stream not in self._open:
            return
        del self._open[stream]
        self._per_client[stream.host] -= 1
        if not self._per_client[stream.host]:
            del self._per_client[stream.host]
        self.server.counts.connections -= 1

    def sends(self, stream: DNSStream) -> bool:
        """Say whether something that was written to a client waits to be sent."""
        writers = getattr(self.clock, "getWriters", None)
        return writers is not None and stream.transport in writers()

    def close(self, grace: float) -> Deferred[Any]:
        """Close all connections; fires when the last one is gone, after ``grace`` seconds at the latest."""
        streams = list(self._open)
        for stream in streams:
            stream.close(grace)
        return DeferredList([stream.gone for stream in streams])

    def _refused(self, why: str) -> None:
        self.server.counts.refused_connections += 1
        if self.server.sparing.admits("connections"):
            log.warn(
                "DNS: a TCP connection was turned away: {why}; {held} more since the last message",
                why=why,
                held=self.server.sparing.held("connections"),
            )


class TCPListener:
    """One listening TCP address. Made by :func:`listen_tcp`."""

    #: Seconds that clients have to take their last replies when the server stops.
    GRACE = 1.0

    def __init__(self, port: IListeningPort, streams: DNSStreams) -> None:
        self._port = port
        self._streams = streams

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address and port it listens on."""
        host = self._port.getHost()
        assert isinstance(host, IPv4Address | IPv6Address)
        return host

    def stopListening(self) -> Deferred[Any]:
        """Take no more connections and close those that are open; fires when all is closed."""
        stopped = maybeDeferred(self._port.stopListening)
        return stopped.addCallback(lambda _: self._streams.close(self.GRACE))


def listen_tcp(
    reactor: Any, server: DNSServer, host: str, port: int, limits: StreamLimits | None = None
) -> TCPListener:
    """Answer DNS over TCP on one address.

    Args:
        reactor: the reactor, which also is the clock.
        server: answers the packets.
        host: an IP address of this machine, not a wildcard.
        port: 0 lets the system choose.
        limits: what clients may take.

    Raises:
        BindError: the address cannot be bound.
    """
    with bound_tcp_socket(host, port) as bound:
        return adopt_tcp(reactor, server, bound, limits)


def adopt_tcp(reactor: Any, server: DNSServer, bound: socket.socket, limits: StreamLimits | None = None) -> TCPListener:
    """Answer DNS over TCP on a socket that listens already; it is copied, and the caller's may be closed."""
    streams = DNSStreams(server, IReactorTime(reactor), limits or StreamLimits())
    return TCPListener(reactor.adoptStreamPort(bound.fileno(), bound.family, streams), streams)
