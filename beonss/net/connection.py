"""One connection of the sync protocol, either side: frames, liveness, and bounds on what a peer may cost."""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.errors import MalformedError, PeerError, StoreError
from beonss.net.prompt import push
from beonss.net.tls import peer_key
from beonss.wire.frames import MAXIMUM_FRAME, FrameReader
from beonss.wire.sync import Heartbeat, Message, Refusal, Unknown, decode, encode

#: Messages taken in before the socket is no longer read.
INBOX = 16
#: Seconds that a refused peer has to read why.
PARTING = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """All times of the protocol, in seconds.

    Attributes:
        connect: for a TCP connection to be made.
        handshake: from the TCP connection until the other side is known.
        heartbeat: between two signs of life of masters.
        dead: silence after which another master is given up.
        node_heartbeat: between two signs of life of a node and its master; there are thousands of nodes.
        node_dead: silence after which either gives the other up. A node that waits for an answer notices in ``dead``.
        stalled: for the other side to read what we wrote.
        backoff: first and longest wait before connecting again; jittered.
        steady: a connection that stood so long was good: the next wait is the first again.
        node_gap: between two answers to one node, so that a thousand changes do not make a thousand answers each.
        gap: between two answers to one master, shortest and longest: under a stream of changes it gets several with one
            flush of its disk (:func:`beonss.core.replication.pulling.paced`).
        relay: how long to hold back what the asker will most likely get from its author.
        compare: between two looks for silent drift; jittered.
        reconsider: between two looks of a node for a better master than its own; jittered.
    """

    connect: float = 5.0
    handshake: float = 10.0
    heartbeat: float = 2.0
    dead: float = 6.0
    node_heartbeat: float = 10.0
    node_dead: float = 30.0
    stalled: float = 60.0
    backoff: tuple[float, float] = (0.2, 15.0)
    steady: float = 5.0
    node_gap: float = 0.25
    gap: tuple[float, float] = (0.004, 0.016)
    relay: float = 0.2
    compare: float = 300.0
    reconsider: float = 300.0


@implementer(IPushProducer)
class _Outflow:
    """Told by the transport when what we wrote waits for the peer to read."""

    def __init__(self) -> None:
        self.paused_at: float | None = None
        self.waiting: list[Deferred[None]] = []
        self.now: Callable[[], float] = float

    def pauseProducing(self) -> None:
        """Note that the transport is full."""
        if self.paused_at is None:
            self.paused_at = self.now()

    def resumeProducing(self) -> None:
        """Let those go on who wait to write."""
        self.paused_at = None
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def stopProducing(self) -> None:
        """Nothing to do: the connection is about to be lost."""


@implementer(IHandshakeListener)
class Connection(Protocol):
    """What both sides share. A subclass says what the messages mean.

    Messages are given to :meth:`received` one after another, in order; while it works the socket is read no
    further than a few messages ahead. Only heartbeats overtake.

    Attributes:
        key: the other side's public key, 32 bytes, once the handshake is done; None without one.
        closed: fires with a text for the operator when the connection is gone.
        reason: why the connection ended, once that is known.
    """

    log = Logger()

    def __init__(self, reactor: Any, timing: Timing) -> None:
        self.reactor = reactor
        self.timing = timing
        self.key: bytes | None = None
        self.closed: Deferred[str] = Deferred()
        self.reason = ""
        self.connected_now = False
        self._reader = FrameReader()
        self._inbox: deque[Message] = deque()
        self._working = False
        self._reading = True
        self._known = False
        self._since = 0.0
        self._dead = timing.dead
        self._beat_at = 0.0
        self._heard = reactor.seconds()
        self._excused = False
        self._outflow = _Outflow()
        self._outflow.now = reactor.seconds
        self._deadline: Any = None
        self._expecting: Any = None
        self._requested_at = 0.0
        self._beat = LoopingCall(self._beaten)
        self._beat.clock = reactor
        self._jobs: set[Deferred[Any]] = set()

    # -- for subclasses

    def opened(self) -> None:
        """Begin: the handshake is done and ``key`` is known."""

    async def received(self, message: Message) -> None:
        """Take the next message.

        Raises:
            PeerError: the connection ends, with this reason.
        """
        raise NotImplementedError

    def heartbeat(self) -> Heartbeat:
        """Return our sign of life."""
        raise NotImplementedError

    def heard(self, beat: Heartbeat) -> None:
        """Take a sign of life of the other side."""

    def ended(self) -> None:
        """Tidy up: the connection is gone."""

    # -- what subclasses use

    def establish(self, *, node: bool = False) -> None:
        """The other side is known: longer frames are allowed, heartbeats begin, silence is watched.

        Args:
            node: one of the two is a node: it goes at a slower pace.
        """
        if self._known or not self.connected_now:
            return
        self._known = True
        self._since = self.reactor.seconds()
        self._reader.limit = MAXIMUM_FRAME
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        timing = self.timing
        every, self._dead = (timing.node_heartbeat, timing.node_dead) if node else (timing.heartbeat, timing.dead)
        self._beat_at = self.reactor.seconds()
        self._beat.start(every)

    @property
    def established(self) -> bool:
        """Whether the other side is known and the connection stands."""
        return self._known and self.connected_now

    @property
    def was_established(self) -> bool:
        """Whether the other side was known at some time."""
        return self._known

    @property
    def was_steady(self) -> bool:
        """Whether the other side was known for long enough to call the connection a good one."""
        return self._known and self.reactor.seconds() - self._since >= self.timing.steady

    @property
    def congested(self) -> bool:
        """Whether the other side still has to read what we wrote."""
        return self._outflow.paused_at is not None

    def send(self, message: Message) -> None:
        """Write a message; nothing happens when the connection is gone."""
        if self.connected_now:
            self._transport.write(encode(message))

    def send_frame(self, frame: bytes, *, prompt: bool = False) -> None:
        """Write a message that was encoded before.

        Args:
            frame: its bytes, the length before them.
            prompt: somebody waits for it: not in the reactor's next turn.
        """
        if self.connected_now:
            self._transport.write(frame)
            if prompt:
                push(self._transport)

    def expect(self) -> None:
        """Give the other side up if it says nothing at all within ``dead`` from now."""
        self._requested_at = self.reactor.seconds()
        if self._expecting is None:
            self._expecting = self.reactor.callLater(self.timing.dead, self._expected_by_now, self._requested_at)

    def _expected_by_now(self, asked: float) -> None:
        self._expecting = None
        if not self.connected_now or not self._reading:
            return
        if self._heard <= asked:
            self.abort(f"silent for {self.timing.dead:g} s after a request")
        elif self._requested_at >= self._heard:
            # It spoke, but not since the latest request.
            self._expecting = self.reactor.callLater(self.timing.dead, self._expected_by_now, self._requested_at)

    def writable(self) -> Deferred[None]:
        """Return a Deferred that fires when the other side has read most of what we wrote, or is gone."""
        if not self.congested or not self.connected_now:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._outflow.waiting.append(deferred)
        return deferred

    def refuse(self, word: str, text: str = "", retry: float = 0.0, members: bytes = b"") -> None:
        """Say why and end the connection; see :class:`beonss.wire.sync.Refusal`."""
        self.send(Refusal(word, text, int(retry * 1000), members))
        self.close(text or word)

    def close(self, reason: str) -> None:
        """End the connection; the other side gets what was written, if it reads soon."""
        if not self.connected_now:
            return
        self.reason = self.reason or reason
        self.connected_now = False
        # TLS is not shut down while a producer is registered.
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._cancel_deadline()
        self._deadline = self.reactor.callLater(PARTING, self._transport.abortConnection)

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        self.reason = self.reason or reason
        self.connected_now = False
        self._transport.abortConnection()

    def run(self, job: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the messages; it ends with the connection, its errors end the connection."""
        deferred = Deferred.fromCoroutine(job)
        self._jobs.add(deferred)

        def finished(result: Any) -> None:
            self._jobs.discard(deferred)
            if isinstance(result, Failure):
                self._failed(result)

        deferred.addBoth(finished)

    # -- the transport's side

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        """Wait for the handshake, not for ever."""
        self.connected_now = True
        no_delay = getattr(self._transport, "setTcpNoDelay", None)
        if no_delay is not None:
            # Questions and answers are small: Nagle's algorithm would hold each back for an acknowledgement.
            no_delay(True)
        self._transport.registerProducer(self._outflow, True)
        self._deadline = self.reactor.callLater(self.timing.handshake, self.abort, "no greeting in time")

    def handshakeCompleted(self) -> None:
        """Learn the other side's key."""
        self.key = peer_key(self._transport)
        if self.connected_now:
            self.opened()

    def dataReceived(self, data: bytes) -> None:
        """Cut into messages; what does not parse ends the connection."""
        if not self.connected_now:
            return
        self._heard = self.reactor.seconds()
        self._excused = False
        try:
            for frame in self._reader.feed(data):
                message = decode(frame)
                if isinstance(message, Heartbeat):
                    if self._known:
                        self.heard(message)
                else:
                    self._inbox.append(message)
        except MalformedError as error:
            self._offended(error)
            return
        if len(self._inbox) > INBOX and self._reading:
            self._reading = False
            self._transport.pauseProducing()
        if not self._working and self._inbox:
            self._working = True
            self.run(self._work())

    def _puzzled(self, message: Unknown) -> None:
        """Pass over a message of a newer version's; from somebody who is not known yet it is an offence.

        Raises:
            MalformedError: it came before the greeting.
        """
        if not self._known:
            raise MalformedError(f"a message of the unknown type {message.kind!r} came before the greeting")
        self.log.debug("a message of the unknown type {kind} is passed over", kind=message.kind)

    async def _work(self) -> None:
        try:
            while self._inbox and self.connected_now:
                message = self._inbox.popleft()
                if isinstance(message, Unknown):
                    self._puzzled(message)
                else:
                    await self.received(message)
                if not self._reading and len(self._inbox) <= INBOX // 2 and self.connected_now:
                    self._reading = True
                    self._heard = self.reactor.seconds()
                    self._transport.resumeProducing()
        finally:
            self._working = False

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(PeerError):
            self._offended(failure.value)
            return
        if failure.check(StoreError):
            # A full disk: tried again and again until there is room.
            text = failure.getErrorMessage()
            self.log.warn("what comes from another machine cannot be stored: {error}", error=text)
            self.abort(f"this machine cannot store what comes: {text}")
            return
        self.log.failure("a sync connection failed; it is made anew", failure)
        if self.connected_now:
            self.abort("internal error")

    def _offended(self, error: Any) -> None:
        if self.connected_now:
            self.refuse("protocol", str(error))

    def _beaten(self) -> None:
        now = self.reactor.seconds()
        # When we were held up ourselves (a busy or suspended machine), what came meanwhile is not read yet, but will be
        # by the next beat: a silence is excused once, or on a machine that is always late nobody would ever be missed.
        late = now - self._beat_at > 2 * (self._beat.interval or 0.0)
        self._beat_at = now
        if late and not self._excused:
            self._excused = True
            self._heard = now
        stalled = self._outflow.paused_at
        if stalled is not None and now - stalled > self.timing.stalled:
            self.abort(f"it has not read for {self.timing.stalled:g} s")
        elif self._reading and now - self._heard > self._dead:
            self.abort(f"silent for {self._dead:g} s")
        elif stalled is None:
            self.send(self.heartbeat())

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End everything that belongs to the connection, and tell ``closed`` why."""
        self.connected_now = False
        self._cancel_deadline()
        if self._beat.running:
            self._beat.stop()
        if self._expecting is not None:
            self._expecting.cancel()
            self._expecting = None
        self._inbox.clear()
        self._outflow.resumeProducing()
        for job in list(self._jobs):
            job.cancel()
        self.reason = self.reason or f"connection lost: {reason.getErrorMessage()}"
        self.ended()
        if not self.closed.called:
            self.closed.callback(self.reason)
