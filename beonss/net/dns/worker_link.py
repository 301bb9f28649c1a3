"""A channel (:mod:`beonss.net.dns.worker_channel`) on a Twisted reactor, with a bounded queue for what must wait."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.errors import MalformedError
from beonss.net.dns.worker_channel import Channel, Message, encode

log = Logger()

#: Messages read in one turn of the reactor.
_TURN: Final = 32
#: Messages that wait for the other end; who takes none of so many is as good as dead.
MOST_WAITING: Final = 256


@implementer(IReadWriteDescriptor)
class Link:
    """One end of a channel.

    Args:
        reactor: the reactor.
        channel: the end; it is closed with the link.
        received: called with each message; descriptors that it does not take are closed.
        lost: called once, when the other end is gone, sends nonsense or takes nothing any more. Not after
            :meth:`close`.
        name: of the other end, for the log.
    """

    def __init__(
        self,
        reactor: Any,
        channel: Channel,
        received: Callable[[Message], None],
        lost: Callable[[], None],
        name: str = "DNS",
    ) -> None:
        self._reactor = reactor
        self._channel = channel
        self._received = received
        self._lost = lost
        self._name = name
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._open = True
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor, -1 after it was closed."""
        return self._channel.fileno()

    def logPrefix(self) -> str:
        """Return what Twisted's log calls this."""
        return self._name

    def send(self, kind: str, payload: bytes = b"", descriptors: Sequence[int] = (), **fields: Any) -> None:
        """Send a message, as soon as the other end takes it; descriptors may be closed at once."""
        if not self._open:
            return
        message = encode(kind, payload, fields)
        if not self._queue and self._attempt(message, descriptors):
            return
        if self._open and len(self._queue) >= MOST_WAITING:
            log.error("{name} takes no messages any more", name=self._name)
            self._give_up()
        if self._open and (copies := self._copies(descriptors)) is not None:
            self._queue.append((message, copies))
            self._reactor.addWriter(self)

    def offer(self, kind: str, payload: bytes = b"", descriptors: Sequence[int] = (), **fields: Any) -> bool:
        """Send a message if that can be done at once, and say whether it was."""
        return self._open and not self._queue and self._attempt(encode(kind, payload, fields), descriptors)

    def close(self) -> None:
        """Close this end; what waits is sent if that can be done at once."""
        if self._open:
            self.doWrite()
        if self._open:
            self._end()

    def doRead(self) -> None:
        """Take messages (called by the reactor)."""
        for _ in range(_TURN):
            if not self._open:
                return
            try:
                message = self._channel.receive()
            except BlockingIOError:
                return
            except (MalformedError, OSError) as error:
                log.error("{name} said something else than a message: {error}", name=self._name, error=str(error))
                message = None
            if message is None:
                self._give_up()
                return
            try:
                self._received(message)
            except MalformedError as error:
                log.error("{name} said something else than a message: {error}", name=self._name, error=str(error))
                self._give_up()
            except Exception:  # noqa: BLE001 - the loop lives on
                log.failure("a message of {name} was lost to an error of ours", name=self._name)
            finally:
                message.close()

    def doWrite(self) -> None:
        """Send what waits (called by the reactor)."""
        while self._queue and self._open:
            message, descriptors = self._queue[0]
            if not self._attempt(message, descriptors):
                return
            self._queue.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        if self._open:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - why does not matter
        """Close: the reactor has given this up, or stops."""
        if self._open:
            self._give_up()

    def _copies(self, descriptors: Sequence[int]) -> list[int] | None:
        """Return copies of descriptors; None where the system has none left, and then the other end is given up."""
        copies: list[int] = []
        try:
            for descriptor in descriptors:
                copies.append(os.dup(descriptor))  # noqa: PERF401 - those made before one fails are closed
        except OSError as error:
            for copy in copies:
                os.close(copy)
            log.error("{name} cannot be given what it needs: {error}", name=self._name, error=str(error))
            self._give_up()
            return None
        return copies

    def _attempt(self, message: bytes, descriptors: Sequence[int]) -> bool:
        try:
            self._channel.send_bytes(message, descriptors)
        except BlockingIOError:
            return False
        except OSError:
            # Who is gone is found out by reading, with all that it said before.
            return True
        return True

    def _give_up(self) -> None:
        self._end()
        self._lost()

    def _end(self) -> None:
        self._open = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._channel.close()
        for _, descriptors in self._queue:
            for descriptor in descriptors:
                os.close(descriptor)
        self._queue.clear()
