"""The daemon's side of the process that answers until all others do (:mod:`beonss.net.dns.worker_early`)."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from beonss.daemon.dns.worker_forks import buried
from beonss.net.dns.worker_channel import Channel, Message
from beonss.net.dns.worker_link import Link

log = Logger()

#: Seconds that it has to hand over what it could not answer, and to end. It has sockets of ours until then.
PATIENCE: Final = 10.0


class FirstProcess:
    """That process.

    Args:
        reactor: the reactor.
        channel: to it.
        pid: its process id; 0 for none that could be waited for.
        received: called with each message.
        ended: called once, when it is gone.
    """

    def __init__(
        self, reactor: Any, channel: Channel, pid: int, received: Callable[[Message], None], ended: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._pid = pid
        self._ended = ended
        self._late: Any = None
        self._link = Link(reactor, channel, received, self._lost, "the first DNS process")

    def release(self) -> None:
        """Say that others answer now; a second time does no harm."""
        if self._late is None:
            self._late = self._reactor.callLater(PATIENCE, self._too_late)
            self._link.send("stop")

    def close(self) -> Deferred[None]:
        """Let it end, and see that it does; fires when it has."""
        self._forget()
        self._link.close()
        return buried(self._reactor, self._pid).addCallback(lambda ended: None if ended else self._kill())

    def _lost(self) -> None:
        self._forget()
        self._ended()
        buried(self._reactor, self._pid)

    def _too_late(self) -> None:
        log.error("DNS: the first process does not end and is killed")
        # Its channel is open, so the number is its own.
        self._kill()
        self._link.close()
        self._lost()

    def _kill(self) -> None:
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

    def _forget(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
