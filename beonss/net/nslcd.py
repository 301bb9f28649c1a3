"""The nslcd socket: stock libnss-ldapd and libpam-ldapd are answered by us (see :mod:`beonss.wire.nslcd`).

One request per connection. Long answers are made while the client reads, a piece per turn of the reactor, so that
an enumeration of 100,000 users delays nobody. Clients that connect while all places are taken wait in the kernel's
queue, because a refusal would be "unavailable" to a job of a thousand ranks that starts; places are taken back from
those who keep them without asking or reading.

Nothing here or below may look up a user or host by name: it would ask this very socket.
"""

import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IPullProducer,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.unix import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.errors import ConfigurationError, MalformedError, Unavailable
from beonss.net.pam import PamDoor
from beonss.net.unixsocket import GivenPort, Peer, clear_path, peer_of
from beonss.wire.nslcd import Query, Request, RequestReader, action_of
from beonss.wire.nslcd_answer import Answers

#: Bytes made in one turn of the reactor: some milliseconds of work at the most.
PIECE: Final = 16 * 1024
#: Connections that may wait to be accepted; the kernel takes at most net.core.somaxconn (4096 since Linux 5.4).
BACKLOG: Final = 4096
#: Connections accepted in one turn of the reactor.
_ACCEPTS: Final = 50
#: Seconds between two lines in the log about dropped connections: any local user can cause them.
_SILENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What local programs may take.

    Attributes:
        connections: connections open at once; None: half of the descriptors this process may have, at most 4096.
        request: seconds a client may take to send its request.
        reading: seconds a client may leave its answer unread.
        grace: seconds after which a client that is waited for can lose its place to another, when all are taken.
    """

    connections: int | None = None
    request: float = 10.0
    reading: float = 60.0
    grace: float = 1.0


class _Port(Protocol):
    """A listening port that can stop accepting for a while (twisted.internet.abstract.FileDescriptor)."""

    def stopReading(self) -> None: ...
    def startReading(self) -> None: ...


@implementer(IPullProducer)
class NslcdConnection(TwistedProtocol):
    """One client: its request, then the answer, then the end."""

    log = Logger()
    transport: Any

    def __init__(self, door: "NslcdFactory") -> None:
        self._door = door
        self._reader: RequestReader | None = RequestReader()
        self._pieces: Iterator[bytes] | None = None
        self._timer: IDelayedCall | None = None
        self._lost = False
        self.peer = Peer(0, 0xFFFFFFFF, 0xFFFFFFFF)

    def connectionMade(self) -> None:
        """Learn who it is and wait for the request."""
        try:
            self.peer = self._door.peer(self.transport)
        except OSError as error:
            self.log.warn("nslcd: the kernel does not say who asks: {error}", error=error)
            self.transport.abortConnection()
            return
        self._door.enter(self)
        self.expect(self._door.limits.request)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the request; answer it once it is whole."""
        if self._reader is None:
            return
        try:
            request = self._reader.feed(data)
        except MalformedError as error:
            self._reader = None
            self._door.counts["malformed"] += 1
            # At debug level: any local user can cause it as often as they like.
            self.log.debug("nslcd: {error} (uid {uid})", error=str(error), uid=self.peer.uid)
            self.transport.abortConnection()
            return
        if request is not None:
            self._reader = None
            self._start(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's signature
        """Give the place back. A PAM request under way goes on unheard."""
        self._lost = True
        self._reader = None
        self._pieces = None
        self._stop_timer()
        self._door.leave(self)

    def _start(self, request: Request) -> None:
        self._door.counts[action_of(request).name] += 1
        if isinstance(request, Query):
            try:
                pieces = self._door.answers.to(request, self.peer.uid)
            except Unavailable:
                self._give_up()
            except Exception:  # noqa: BLE001 - whatever fails for one client, the others are answered
                self.log.failure("nslcd: {action} failed", action=action_of(request).name)
                self._give_up()
            else:
                self._answer(pieces)
            return
        if self._door.pam is None:
            self._give_up()
            return
        self._stop_timer()
        self._door.busy(self)
        answer = Deferred.fromCoroutine(self._door.pam.answer(request, self.peer))
        answer.addCallback(lambda data: self._answer(iter((data,)))).addErrback(self._failed, action_of(request).name)

    def _failed(self, failure: Failure, action: str) -> None:
        if failure.check(Unavailable) is None:
            self.log.failure("nslcd: {action} failed", failure, action=action)
        if not self._lost:
            self._give_up()

    def _give_up(self) -> None:
        """Close without an answer: the modules then say "unavailable", and so mean "ask again"."""
        self._door.counts["unavailable"] += 1
        self.transport.loseConnection()

    def _answer(self, pieces: Iterator[bytes]) -> None:
        if self._lost:
            return
        self._pieces = pieces
        self.transport.registerProducer(self, streaming=False)

    def resumeProducing(self) -> None:
        """Write the next piece of the answer: the client has taken what was written (IPullProducer)."""
        if self._pieces is None:
            return
        self.expect(self._door.limits.reading)
        batch, size = [], 0
        try:
            for piece in self._pieces:
                batch.append(piece)
                size += len(piece)
                if size >= PIECE:
                    break
            else:
                self._pieces = None
        except Exception:  # noqa: BLE001 - as above
            self.log.failure("nslcd: an answer to uid {uid} could not be finished", uid=self.peer.uid)
            self._door.counts["broken"] += 1
            self.transport.abortConnection()
            return
        self.transport.write(b"".join(batch))
        if self._pieces is None:
            self.transport.unregisterProducer()
            # The module waits half a second for the end of the connection before it goes on.
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """Note that nobody reads any more (IPullProducer)."""
        self._pieces = None

    def expect(self, seconds: float) -> None:
        """Wait for the client: to send, or to read."""
        self._stop_timer()
        self._timer = self._door.clock.callLater(seconds, self._late)
        self._door.idle(self)

    def drop(self) -> None:
        """End the connection now, whatever is unsent."""
        self._stop_timer()
        self.transport.abortConnection()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._door.counts["late"] += 1
        self.transport.abortConnection()


class NslcdFactory(Factory):
    """Makes the connections of the nslcd socket.

    Attributes:
        counts: requests by the name of their action, and ``malformed``, ``unavailable``, ``late`` (clients dropped
            because they neither asked nor read), ``evicted`` (dropped to make room) and ``broken`` answers.

    Args:
        clock: the reactor, or a fake clock.
        answers: answers lookups.
        pam: answers PAM requests; None where there is nobody to ask: then they are unavailable.
        limits: what clients may take.
        peer: tells who a client is; tests put a fake here.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        answers: Answers,
        pam: PamDoor | None = None,
        limits: Limits | None = None,
        peer: Callable[[Any], Peer] = peer_of,
    ) -> None:
        self.clock = clock
        self.answers = answers
        self.pam = pam
        self.limits = limits or Limits()
        self.peer = peer
        self.counts: Counter[str] = Counter()
        self.places = self.limits.connections or _places()
        self._open: set[NslcdConnection] = set()
        #: Those that are waited for, since when; the longest first.
        self._idle: dict[NslcdConnection, float] = {}
        self._port: _Port | None = None
        self._full: IDelayedCall | None = None
        self._silent_until = float("-inf")

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def acceptable(self) -> int:
        """How many connections may be accepted before others get their turn."""
        return max(1, min(_ACCEPTS, self.places - len(self._open)))

    def buildProtocol(self, addr: IAddress | None) -> NslcdConnection:  # noqa: ARG002 - Twisted's signature
        """Return the protocol of a new connection."""
        connection = NslcdConnection(self)
        connection.factory = self
        return connection

    def listens_on(self, port: _Port) -> None:
        """Learn the port whose accepting may be stopped."""
        self._port = port

    def stopFactory(self) -> None:
        """Forget the port; drop those who are still waited for."""
        self._port = None
        if self._full is not None:
            self._full.cancel()
            self._full = None
        for connection in list(self._idle):
            connection.drop()

    # Places ------------------------------------------------------------------------------------------------------

    def enter(self, connection: NslcdConnection) -> None:
        """Count a connection in; when it took the last place, see to it that there will be another."""
        self._open.add(connection)
        if len(self._open) >= self.places:
            self._make_room()

    def leave(self, connection: NslcdConnection) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if self._full is not None and len(self._open) < self.places:
            self._full.cancel()
            self._full = None
            if self._port is not None:
                self._port.startReading()

    def idle(self, connection: NslcdConnection) -> None:
        """Note that this client is waited for, from now on."""
        self._idle.pop(connection, None)
        self._idle[connection] = self.clock.seconds()

    def busy(self, connection: NslcdConnection) -> None:
        """Note that this client waits for us."""
        self._idle.pop(connection, None)

    def _make_room(self) -> None:
        """Drop whoever keeps a place for nothing, else stop accepting until a place is free."""
        if not self._evict() and self._full is None and self._port is not None:
            self._port.stopReading()
            self._full = self.clock.callLater(self.limits.grace, self._still_full)

    def _still_full(self) -> None:
        self._full = self.clock.callLater(self.limits.grace, self._still_full)
        self._evict()

    def _evict(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        self.counts["evicted"] += 1
        now = self.clock.seconds()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE
            self.log.warn(
                "nslcd: all {places} places are taken; dropped a connection of uid {uid} that neither asked nor read",
                places=self.places,
                uid=victim.peer.uid,
            )
        del self._idle[victim]
        victim.drop()
        return True

    def _victim(self) -> NslcdConnection | None:
        """Return the one waited for longest of the user who has most connections, root last."""
        since = self.clock.seconds() - self.limits.grace
        waited = [connection for connection, when in self._idle.items() if when <= since]
        if not waited:
            return None
        users = Counter(connection.peer.uid for connection in self._open)
        return max(waited, key=lambda connection: (connection.peer.uid != 0, users[connection.peer.uid]))


class _Bounded(Port):
    """A listening socket that accepts no more at a time than there are places.

    Twisted's own takes a hundred and more in one go; without a descriptor for them, it would have to close some.
    """

    factory: "NslcdFactory"

    def doRead(self) -> None:
        """Accept who waits."""
        self.numberAccepts = self.factory.acceptable
        super().doRead()


class _Door(_Bounded):
    """A path of our own."""

    def __init__(self, path: Path, factory: "NslcdFactory", reactor: IReactorUNIX) -> None:
        super().__init__(bytes(path), factory, BACKLOG, 0o666, reactor)


class _GivenDoor(_Bounded, GivenPort):
    """A socket that was handed over."""


def _places() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 4096 if soft == resource.RLIM_INFINITY else max(16, min(4096, soft // 2))


def listen_nslcd(
    reactor: IReactorUNIX, path: Path, factory: NslcdFactory, given: socket.socket | None = None
) -> IListeningPort:
    """Listen where the modules connect, by default ``/run/nslcd/socket``; every local user may ask.

    The directory is made, mode 0755, if only it is missing. A socket left by a dead daemon is replaced, one that
    is answered is not: another nslcd must be stopped first.

    Args:
        reactor: the reactor.
        path: of the socket.
        factory: makes the connections.
        given: a socket that was handed over and listens already; then the path does not count.

    Raises:
        ConfigurationError: the path cannot be used, or another daemon listens there.
    """
    if given is not None:
        handed = _GivenDoor(given, factory, reactor)
        handed.startListening()
        factory.listens_on(handed)
        return handed
    clear_path(path, "nslcd socket")
    try:
        port = _Door(path, factory, reactor)
        port.startListening()
    except (CannotListenError, OSError) as error:
        raise ConfigurationError(f"{path}: cannot listen here: {error}") from None
    factory.listens_on(port)
    return port
