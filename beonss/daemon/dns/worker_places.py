"""The place of a DNS process: its sockets, which outlive it, and the daemon's own ears there."""

import contextlib
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
        self._ports: dict[int, IListeningPort] = {}

    def stand_in(self, needed: bool) -> None:
        """Answer here in the daemon, or leave it to the process; to be called again and again while it is needed."""
        if self.standing_in != needed:
            self.standing_in = needed
            for ear in self._ears:
                if ear is not None and needed:
                    ear.startReading()
                elif ear is not None:
                    ear.stopReading()
        if needed:
            self._take_connections()
            return
        # The connections stay until their clients have no more to ask.
        for port in self._ports.values():
            port.stopListening()
        self._ports.clear()

    def _take_connections(self) -> None:
        """Listen; a socket for which the system has no descriptor now is tried again with the next call."""
        for number, (bound, ear) in enumerate(zip(self.sockets, self._ears, strict=True)):
            if ear is None and number not in self._ports:
                with contextlib.suppress(OSError):
                    adopt = self._reactor.adoptStreamPort
                    self._ports[number] = adopt(bound.socket.fileno(), bound.socket.family, self._streams)

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
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self._ports.values()]
        return DeferredList([*closing, *(ear.stopListening() for ear in self._ears if ear is not None)])
