"""DNS over UDP: a reader on the reactor that drains its socket itself.

A Twisted DatagramProtocol costs more per packet than a ready answer does. This reader takes datagrams until the
socket is empty or a budget is spent, so that TCP, timers and other sockets have their turn too; the answers that
are ready go out without a single call into the server.
"""

import os
import socket
from itertools import repeat
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.net.dns.bind import bound_udp_socket, tune_udp
from beonss.net.dns.server import DNSServer
from beonss.net.dns.transfer import ZoneStream

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core

log = Logger()

#: Datagrams taken in one turn of the reactor: about a millisecond of ready answers.
BUDGET = 128
#: Likewise where the compiled core answers.
COMPILED_BUDGET = 512
#: Longer queries do not exist; what is cut off here is FORMERR for the reader of queries.
LONGEST_QUERY = 4096


@implementer(IReadDescriptor)
class UDPListener:
    """One UDP socket, bound to one address, from which its replies leave.

    Made by :func:`listen_udp`.
    """

    def __init__(self, reactor: IReactorFDSet, server: DNSServer, udp: socket.socket) -> None:
        self._reactor = reactor
        self._server = server
        self._socket = udp
        self._open = True

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address and port it listens on."""
        host, port = self._socket.getsockname()[:2]
        return (IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address)("UDP", host, port)

    def startReading(self) -> None:
        """Begin to answer."""
        self._reactor.addReader(self)

    def stopReading(self) -> None:
        """Leave what comes to whoever else reads from the same socket."""
        self._reactor.removeReader(self)

    def stopListening(self) -> Deferred[None]:
        """Answer what has arrived already, and close the socket."""
        if self._open:
            self._reactor.removeReader(self)
            self.doRead()
            self._open = False
            self._socket.close()
        return succeed(None)

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 after it was closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Return what Twisted's log calls this."""
        return "DNS"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - why does not matter
        """Close the socket: the reactor has given it up, or stops."""
        if self._open:
            self._open = False
            self._socket.close()

    def doRead(self) -> None:
        """Answer what is there, within the budget."""
        try:
            if self._server.core is not None:
                self._drain(self._server.core)
            else:
                self._read()
        except BlockingIOError:
            pass
        except OSError as error:
            if self._server.sparing.admits("receive"):
                log.error("DNS: cannot receive on {host}: {error}", host=self.getHost(), error=error)
        except Exception:  # noqa: BLE001 - raising would make the reactor drop this socket for good
            if self._server.sparing.admits("loop"):
                log.failure("DNS: a packet on {host} was lost to an error of ours", host=self.getHost())

    def _drain(self, core: "Core") -> None:
        """Let the compiled core answer, and answer what it left."""
        asked, error = core.drain(self._socket.fileno(), COMPILED_BUDGET)
        if error:
            self._complain(OSError(error, os.strerror(error)))
        for packet, peer in asked:
            self.answer(packet, peer)
        if self._server.tap is not None:
            self._server.tap.drained(core)

    def _read(self) -> None:
        """Answer in Python."""
        server, counts = self._server, self._server.counts
        receive, send = self._socket.recvfrom, self._socket.sendto
        codes = counts.codes
        # One table serves all clients unless names are looked up for some of them.
        table, single = server.plain, server.fallback is None
        if server.tap is not None:
            # The short cut below takes no query for the log.
            for _ in repeat(None, BUDGET):
                self.answer(*receive(LONGEST_QUERY))
            return
        hits = 0
        try:
            for _ in repeat(None, BUDGET):
                packet, peer = receive(LONGEST_QUERY)
                if not single:
                    table = server.table(peer[0])
                ready = table.young.get(packet[2:])
                if ready is None:
                    self.answer(packet, peer)
                    continue
                hits += 1
                codes[ready[1] & 15] += 1
                try:
                    send(packet[:2] + ready, peer)
                except OSError as error:
                    self._unsent(error)
        finally:
            counts.ready += hits
            counts.udp += hits

    def answer(self, packet: bytes, peer: Any) -> None:
        """Answer one packet from this socket.

        Args:
            packet: the message.
            peer: where it came from, as ``recvfrom`` gives it.
        """
        reply = self._server.respond(packet, peer[0], tcp=False)
        if isinstance(reply, bytes):
            self._send(reply, peer)
        elif isinstance(reply, Deferred):
            reply.addCallback(self._arrived, peer)
        elif isinstance(reply, ZoneStream):
            reply.close()
        elif reply is not None and not reply.datagram(packet, peer, self):
            self._server.counts.dropped += 1

    def _arrived(self, reply: bytes | None, peer: Any) -> None:
        if reply is not None and self._open:
            self._send(reply, peer)

    def _send(self, reply: bytes, peer: Any) -> None:
        try:
            self._socket.sendto(reply, peer)
        except OSError as error:
            self._unsent(error)

    def _unsent(self, error: OSError) -> None:
        """Count a reply the system did not take; a full buffer needs no word, and a client asks again."""
        self._server.counts.unsent += 1
        self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError) and self._server.sparing.admits("send"):
            log.warn("DNS: cannot send from {host}: {error}", host=self.getHost(), error=error)


def listen_udp(reactor: IReactorFDSet, server: DNSServer, host: str, port: int) -> UDPListener:
    """Answer DNS over UDP on one address.

    Args:
        reactor: the reactor.
        server: answers the packets.
        host: an IP address of this machine, not a wildcard.
        port: 0 lets the system choose.

    Raises:
        BindError: the address cannot be bound.
    """
    listener = UDPListener(reactor, server, bound_udp_socket(host, port))
    listener.startReading()
    return listener


def adopt_udp(reactor: IReactorFDSet, server: DNSServer, bound: socket.socket) -> UDPListener:
    """Answer DNS on a UDP socket that is bound already; it is copied, and the caller's may be closed."""
    copied = bound.dup()
    copied.setblocking(False)
    tune_udp(copied)
    listener = UDPListener(reactor, server, copied)
    listener.startReading()
    return listener
