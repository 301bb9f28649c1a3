"""The ways to an upstream: one UDP socket for each question, and TCP for what does not fit.

Each question leaves from a port of its own that the system chooses at random, from a socket that is connected: the
kernel lets nothing in that does not come from the address and port that was asked (RFC 5452 section 9.2), and tells at
once when nobody listens there. Where packets go can be replaced in tests.
"""

import os
import socket
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.core.zones.forwarding import Upstream

log = Logger()

#: Called with each packet that comes.
Received = Callable[[bytes], None]
#: Called once at most, with why nothing will come any more.
Lost = Callable[[str], None]

#: Datagrams taken in one turn of the reactor, so that a flood at one port does not hold up the others.
_BUDGET: Final = 16
#: Far more than we say that we take over UDP; what is longer is cut off, and so malformed.
_LARGEST: Final = 4096
_LENGTH: Final = Struct("!H")


class Way(Protocol):
    """A question on its way."""

    def send(self, packet: bytes) -> None:
        """Send it, or send it again."""
        ...

    def close(self) -> None:
        """Take nothing any more; more than once does no harm."""
        ...


class Ways(Protocol):
    """Opens ways to upstreams."""

    def udp(self, upstream: Upstream, received: Received, lost: Lost, /) -> Way:
        """Open a UDP socket for one question; OSError where the system has none."""
        ...

    def tcp(self, upstream: Upstream, received: Received, lost: Lost, seconds: float, /) -> Way:
        """Open a connection for one question, which is sent when it stands, within ``seconds``."""
        ...


@implementer(IReadDescriptor)
class UDPWay:
    """A connected UDP socket on the reactor."""

    def __init__(self, reactor: Any, upstream: Upstream, received: Received, lost: Lost) -> None:
        self._reactor = reactor
        self._received = received
        self._lost = lost
        family = socket.AF_INET if upstream.address.version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((str(upstream.address), upstream.port))
        except OSError:
            self._socket.close()
            raise
        self._open = True
        reactor.addReader(self)

    def send(self, packet: bytes) -> None:
        """Send the question; what the system does not take counts as lost on the way."""
        try:
            self._socket.send(packet)
        except BlockingIOError:
            pass
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the socket."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 after it was closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Return what Twisted's log calls this."""
        return "DNS upstream"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - why does not matter
        """Nothing comes any more: nobody listens there, for which the reactor gives the socket up; or it stops."""
        if self._open:
            self._give_up(OSError(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), ""))

    def doRead(self) -> None:
        """Take what is there."""
        for _ in range(_BUDGET):
            if not self._open:
                return
            try:
                packet = self._socket.recv(_LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._give_up(error)
                return
            try:
                self._received(packet)
            except Exception:  # noqa: BLE001 - raising would make the reactor close the socket without a word
                log.failure("DNS: a reply of an upstream was lost to an error of ours")

    def _give_up(self, error: OSError) -> None:
        self.close()
        # Not from within send(): who sends has not noted yet that it did.
        self._reactor.callLater(0, self._lost, os.strerror(error.errno or 0))


class _Conversation(StreamProtocol):
    """One question over TCP, and its reply."""

    def __init__(self, way: "TCPWay") -> None:
        self.way = way
        self.buffer = bytearray()

    def connectionMade(self) -> None:
        self.way.stands(self)

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) >= 2:
            end = 2 + _LENGTH.unpack_from(self.buffer)[0]
            if len(self.buffer) >= end:
                self.way.complete(bytes(self.buffer[2:end]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.way.over(reason.getErrorMessage())


class TCPWay(ClientFactory):
    """A connection for one question."""

    noisy = False

    def __init__(self, reactor: Any, upstream: Upstream, received: Received, lost: Lost, seconds: float) -> None:
        self._received = received
        self._lost = lost
        self._packet = b""
        self._stream: _Conversation | None = None
        self._open = True
        self._connector: Any = None
        self._connector = reactor.connectTCP(str(upstream.address), upstream.port, self, timeout=seconds)

    def buildProtocol(self, addr: object) -> _Conversation:  # noqa: ARG002 - only one comes
        """Make the protocol."""
        return _Conversation(self)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:  # noqa: ARG002
        """Note that there is no connection."""
        self.over(reason.getErrorMessage())

    def send(self, packet: bytes) -> None:
        """Send the question when the connection stands."""
        self._packet = _LENGTH.pack(len(packet)) + packet
        self._write()

    def stands(self, stream: _Conversation) -> None:
        """Note that the connection stands."""
        self._stream = stream
        self._write()

    def complete(self, packet: bytes) -> None:
        """Hand the reply on and close."""
        if self._open:
            self.close()
            self._received(packet)

    def over(self, why: str) -> None:
        """Note that the connection is no more."""
        if self._open:
            self._open = False
            self._lost(why)

    def close(self) -> None:
        """Close at once."""
        if not self._open:
            return
        self._open = False
        if self._stream is not None:
            transport: Any = self._stream.transport
            transport.abortConnection()
        elif self._connector is not None:
            self._connector.stopConnecting()

    def _write(self) -> None:
        if self._open and self._stream is not None and self._packet:
            transport: Any = self._stream.transport
            transport.write(self._packet)
            self._packet = b""


class RealWays:
    """Ways over the network.

    Args:
        reactor: for sockets.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def udp(self, upstream: Upstream, received: Received, lost: Lost) -> Way:
        """Open a UDP socket for one question."""
        return UDPWay(self._reactor, upstream, received, lost)

    def tcp(self, upstream: Upstream, received: Received, lost: Lost, seconds: float) -> Way:
        """Open a connection for one question."""
        return TCPWay(self._reactor, upstream, received, lost, seconds)
