"""The daemon's end of the control socket: requests of local programs, answered as things become known.

Who asks is taken from the socket (SO_PEERCRED, unix(7)), never from a message. Each operation is an entry of a
table the composition root fills; this module knows none of them. The protocol is told in
:mod:`beonss.wire.control`.
"""

import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.errors import BeonssError, ConfigurationError, MalformedError, Refused, Unavailable
from beonss.net.prompt import write_now
from beonss.net.unixsocket import GivenPort, clear_path, peer_of
from beonss.wire.control import OK, End, Event, LineBuffer, decode_request, encode_reply

#: Tells the asker one thing: the name of an event and its data.
Report = Callable[..., None]
#: The credentials (process id, uid, gid) of a connection's other end.
Credentials = tuple[int, int, int]


#: Requests go one at a time; this many lines, and bytes of an unfinished one, may be sent ahead.
MAX_AHEAD = 16
MAX_LINE_AHEAD = 65536
#: The longest line of anybody but root: what they ask is short, and all of them together must not fill the memory.
MAX_STRANGER_LINE = 65536


class Peer:
    """The local process that asks.

    Attributes:
        uid: its user id when it connected.
        gid: its group id then.
        pid: its process id then; for logs only, it may be another process by now.
        connected: whether it is still there.
    """

    def __init__(self, connection: "ControlConnection", credentials: Credentials) -> None:
        self._connection = connection
        self.pid, self.uid, self.gid = credentials

    def __repr__(self) -> str:
        return f"<Peer uid={self.uid} pid={self.pid}>"

    @property
    def connected(self) -> bool:
        """Whether it is still there to hear the answer."""
        return bool(self._connection.connected)

    def drained(self) -> Deferred[None]:
        """Return when it has taken most of what was reported: wait for it in a long answer.

        Fires at once when there is no backlog, and when the peer has gone.
        """
        return self._connection.drained()


@dataclass(frozen=True, slots=True)
class Operation:
    """What may be asked on the control socket.

    Attributes:
        run: async function of (parameters, peer, report). It calls ``report(event_name, **data)`` any number of
            times and returns the data of the end; a ``code`` and a ``message`` among them are the end's own.
            It raises ``Refused``, ``Unavailable``, ``MalformedError`` or another ``BeonssError`` to say no.
        needs_root: whether only uid 0 and the user that the daemon runs as may ask.
        cancellable: whether it is cancelled when the asker goes away. Otherwise it runs to its end unheard;
            what it has written stays in both cases.
    """

    run: Callable[[Mapping[str, Any], Peer, Report], Awaitable[Mapping[str, Any] | None]]
    needs_root: bool = False
    cancellable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one local user may take of the daemon.

    Attributes:
        connections: open connections in all; root is not held to it.
        per_user: open connections of one uid other than root's.
        idle: seconds a connection may be without a request.
        stalled: seconds an asker may leave its answer unread once the daemon had to hold it back.
    """

    connections: int = 256
    per_user: int = 32
    idle: float = 60.0
    stalled: float = 60.0


def peer_credentials(transport: Any) -> Credentials:
    """Return (pid, uid, gid) of the process at the other end of a transport over a UNIX socket.

    Raises:
        OSError: the kernel does not tell.
    """
    peer = peer_of(transport)
    return peer.pid, peer.uid, peer.gid


class ControlConnection(Protocol):
    """One local program's connection: its requests, one after the other."""

    log = Logger()
    transport: Any

    def __init__(self, clock: IReactorTime, doors: "ControlFactory") -> None:
        self._clock = clock
        self._doors = doors
        self._lines = LineBuffer()
        self._waiting: list[bytes] = []
        self._running: Deferred[Any] | None = None
        self._cancellable = False
        self._timer: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None
        self._paused = False
        self._admitted = False
        self._closing = False
        self._starting = False
        self.peer: Peer | None = None

    def connectionMade(self) -> None:
        """Find out who it is; turn away who has too many connections."""
        try:
            self.peer = Peer(self, self._doors.credentials(self.transport))
        except OSError:
            self.log.failure("the kernel does not say who connected to the control socket; turned away")
            self._closing = True
            self.transport.abortConnection()
            return
        if self.peer.uid not in (0, self._doors.owner):
            self._lines = LineBuffer(MAX_STRANGER_LINE)
        self.transport.registerProducer(self, True)
        if not self._doors.admit(self.peer.uid):
            self._end(End("busy", "too many connections of this user to the daemon; try again"))
            self._close()
            return
        self._admitted = True
        self._doors.connections.add(self)
        self._expect(self._doors.limits.idle)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; run the request they complete."""
        try:
            self._waiting += self._lines.feed(data)
        except MalformedError as error:
            self._end(End("malformed", str(error)))
            self._close()
            return
        if len(self._waiting) > MAX_AHEAD or (self._running is not None and len(self._lines) > MAX_LINE_AHEAD):
            self._end(End("malformed", "requests came faster than their answers"))
            self._close()
            return
        self._next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's signature
        """Stop what may be stopped; let the rest finish unheard."""
        self._closing = True
        self._waiting.clear()
        self.resumeProducing()
        self._unexpect()
        if self._admitted and self.peer is not None:
            self._doors.leave(self.peer.uid)
            self._doors.connections.discard(self)
        if self._running is not None and self._cancellable:
            self._running.cancel()

    def _next(self) -> None:
        while self._waiting and self._running is None and not self._closing:
            self._start(self._waiting.pop(0))

    def _start(self, line: bytes) -> None:
        assert self.peer is not None
        try:
            request = decode_request(line)
        except MalformedError as error:
            self._end(End("malformed", str(error)))
            self._close()
            return
        operation = self._doors.operations.get(request.operation)
        if operation is None:
            self._end(End("unknown-operation", f"this daemon has no operation {request.operation!r}{self._doors.hint}"))
            return
        if operation.needs_root and self.peer.uid not in (0, self._doors.owner):
            self._end(End("not-root", f"only root may ask for {request.operation!r}"))
            return
        if not self._paused:
            self._unexpect()
        self._cancellable = operation.cancellable
        running = Deferred.fromCoroutine(self._run(operation, request.operation, request.parameters))
        self._running = running
        # Called at once when the operation never waited: the loop in _next goes on then, without recursion.
        self._starting = True
        running.addCallback(self._finished)
        self._starting = False

    async def _run(self, operation: Operation, name: str, parameters: Mapping[str, Any]) -> End:
        assert self.peer is not None
        try:
            data = dict(await operation.run(parameters, self.peer, self._report) or {})
            return End(data.pop("code", OK), data.pop("message", ""), data)
        except Refused as error:
            return End(error.code, str(error))
        except Unavailable as error:
            return End("unavailable", str(error))
        except MalformedError as error:
            return End("malformed", str(error))
        except BeonssError as error:
            return End("failed", str(error))
        except CancelledError:
            return End("cancelled", "the operation was cancelled")
        except Exception:  # noqa: BLE001 - whatever fails in one request, the daemon lives on
            self.log.failure("control operation {operation} of uid {uid} failed", operation=name, uid=self.peer.uid)
            return End("internal", f"an error of the daemon's own in {name!r}; its log has the details")

    def _finished(self, end: End) -> None:
        self._running = None
        try:
            self._end(end)
        except ValueError:
            self.log.failure("a result of uid {uid} cannot be said", uid=self.peer.uid if self.peer else None)
            self._end(End("internal", "an error of the daemon's own; its log has the details"))
        if self.connected and self._timer is None:
            self._expect(self._doors.limits.idle)
        if self._doors.closing:
            self._close()
        elif not self._starting:
            self._next()

    def close(self) -> None:
        """End the connection, after the request that runs."""
        if self._running is None and not self._closing:
            self._close()

    def _report(self, name: str, /, **data: Any) -> None:
        if self.connected and not self._closing:
            self.transport.write(encode_reply(Event(name, data)))

    def _end(self, end: End) -> None:
        if self.connected and not self._closing:
            write_now(self.transport, encode_reply(end))

    def _close(self) -> None:
        self._waiting.clear()
        self._closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        # An asker that does not take the last words does not keep the connection.
        self._expect(self._doors.limits.stalled)

    # An asker that does not read: the transport says so (IPushProducer).

    def pauseProducing(self) -> None:
        """Note that the asker does not keep up."""
        self._paused = True
        self._expect(self._doors.limits.stalled)

    def resumeProducing(self) -> None:
        """Note that the asker has caught up."""
        if self._paused and not self._closing:
            self._unexpect()
            if self._running is None and self.connected:
                self._expect(self._doors.limits.idle)
        self._paused = False
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def stopProducing(self) -> None:
        """Note that nobody will read any more."""
        self.resumeProducing()

    def drained(self) -> Deferred[None]:
        """Return when the asker has caught up."""
        if not self._paused or not self.connected:
            return succeed(None)
        if self._drained is None:
            self._drained = Deferred()
        # Each waiter has its own: one that is cancelled takes nothing from the others.
        waiter: Deferred[None] = Deferred()
        self._drained.addCallback(lambda _: None if waiter.called else waiter.callback(None))
        return waiter

    def _expect(self, seconds: float) -> None:
        self._unexpect()
        self._timer = self._clock.callLater(seconds, self._expired)

    def _unexpect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        self.transport.abortConnection()


class ControlFactory(Factory):
    """Makes the connections of one control socket.

    Args:
        clock: the reactor, or a fake clock.
        operations: what may be asked, by name.
        limits: what a local user may take.
        credentials: tells (pid, uid, gid) from a transport; tests put a fake here.
        owner: uid that the daemon runs as, whose files the state is: an administrator here as root is.
        hint: what to do about an operation that there is not here, after its name.

    Attributes:
        connections: those that are open.
        closing: whether no more requests are taken.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        operations: Mapping[str, Operation],
        limits: Limits | None = None,
        credentials: Callable[[Any], Credentials] | None = None,
        owner: int = 0,
        *,
        hint: str = "",
    ) -> None:
        self._clock = clock
        self.hint = hint
        self.owner = owner
        self.operations = operations
        self.limits = limits or Limits()
        self.credentials = credentials or peer_credentials
        self.connections: set[ControlConnection] = set()
        self.closing = False
        self._users: Counter[int] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> ControlConnection:  # noqa: ARG002 - Twisted's signature
        """Return the protocol of a new connection."""
        connection = ControlConnection(self._clock, self)
        connection.factory = self
        return connection

    def close(self) -> None:
        """Take no more requests; end each connection after the request that runs on it."""
        self.closing = True
        for connection in list(self.connections):
            connection.close()

    def admit(self, uid: int) -> bool:
        """Count a connection in and say True, or say that this user has too many. Root always gets in."""
        if self.closing:
            return False
        strangers = self._users.total() - self._users[0]
        if uid != 0 and (strangers >= self.limits.connections or self._users[uid] >= self.limits.per_user):
            return False
        self._users[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        """Count a connection out."""
        self._users[uid] -= 1
        if not self._users[uid]:
            del self._users[uid]


def listen_control(
    reactor: IReactorUNIX, path: Path, factory: ControlFactory, given: socket.socket | None = None, mode: int = 0o666
) -> IListeningPort:
    """Listen on the control socket; everybody may connect, the operations decide who may do what.

    The directory is made, mode 0755, if only it is missing. A socket left by a dead daemon is replaced.

    Args:
        reactor: the reactor.
        path: of the socket.
        factory: makes the connections.
        given: a socket that was handed over and listens already; then path and mode do not count.
        mode: of the socket.

    Raises:
        ConfigurationError: the path cannot be used, or another daemon listens there.
    """
    if given is not None:
        handed: IListeningPort = GivenPort(given, factory, reactor)
        handed.startListening()
        return handed
    clear_path(path, "control socket")
    try:
        return reactor.listenUNIX(str(path), factory, mode=mode)
    except (CannotListenError, OSError) as error:
        raise ConfigurationError(f"{path}: cannot listen here: {error}") from None
