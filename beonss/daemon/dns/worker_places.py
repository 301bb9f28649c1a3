"""The place of a DNS process: its sockets, which outlive it, and the daemon's own ears there."""

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort

from beonss.daemon.dns.worker_restarts import Restarts
from beonss.errors import MalformedError
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tcp import DNSStreams
from beonss.net.dns.udp import UDPListener
from beonss.net.dns.worker_channel import Message
from beonss.net.dns.worker_sockets import Place


class HeldPlace:
    """One place.

    Args:
        reactor: the reactor.
        server: answers here when no process does, and what processes give away.
        streams: the daemon's own TCP connections.
        sockets: of the place.

    Attributes:
        restarts: what became of its processes.
        standing_in: the daemon answers here.
    """

    def __init__(self, reactor: Any, server: DNSServer, streams: DNSStreams, sockets: Place) -> None:
        self._reactor = reactor
        self._streams = streams
        self.sockets = sockets
        self.restarts = Restarts()
        self.standing_in = False
        self._ears = [
            UDPListener(reactor, server, bound.socket.dup()) if bound.kind == "udp" else None for bound in sockets
        ]
        self._ports: list[IListeningPort] = []

    def stand_in(self, needed: bool) -> None:
        """Answer here in the daemon, or leave it to the process."""
        if self.standing_in == needed:
            return
        self.standing_in = needed
        for bound, ear in zip(self.sockets, self._ears, strict=True):
            if ear is None:
                if needed:
                    adopt = self._reactor.adoptStreamPort
                    self._ports.append(adopt(bound.socket.fileno(), bound.socket.family, self._streams))
            elif needed:
                ear.startReading()
            else:
                ear.stopReading()
        if not needed:
            # The connections stay until their clients have no more to ask.
            for port in self._ports:
                port.stopListening()
            self._ports.clear()

    def answer(self, message: Message) -> None:
        """Answer a datagram that a process gave away, from the socket where it arrived.

        Raises:
            MalformedError: it came from nowhere.
        """
        place, peer = message.number("socket"), message.fields.get("peer")
        ear = self._ears[place] if place < len(self._ears) else None
        if ear is None or not isinstance(peer, list) or not 2 <= len(peer) <= 4 or not isinstance(peer[0], str):
            raise MalformedError("a datagram came from nowhere")
        ear.answer(message.payload, tuple(peer))

    def close(self) -> Deferred[Any]:
        """Close the daemon's ears; fires when that is done. The sockets themselves are their owner's."""
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self._ports]
        return DeferredList([*closing, *(ear.stopListening() for ear in self._ears if ear is not None)])
