"""The daemon's side of the process that forks DNS processes (:mod:`beonss.net.dns.worker_forks`)."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from beonss.net.dns.worker_channel import Channel, Message, channel_pair
from beonss.net.dns.worker_link import Link

log = Logger()

#: Seconds until a lost one is replaced.
AGAIN: Final = 1.0
#: Seconds between two looks whether it has ended, and how many.
LOOK: Final = 0.02
LOOKS: Final = 250


def spawn_fork_server(channel: Channel) -> int:
    """Start a fork server as a new program, which takes a second to be ready; return its process id.

    Args:
        channel: its end of its channel; may be closed afterwards.
    """
    descriptor = channel.fileno()
    os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", "beonss.net.dns.worker_forks", str(descriptor)]
    return os.posix_spawn(sys.executable, command, os.environ)


def buried(reactor: Any, pid: int, looks: int = LOOKS) -> Deferred[None]:
    """Let the system forget a child that has ended or is about to; fires when it has, or that took too long.

    Args:
        reactor: the reactor.
        pid: the child; 0 for none.
        looks: how many looks to take.
    """
    ended: Deferred[None] = Deferred()

    def look(left: int) -> None:
        # Where twistd went into the background it is no child of ours: another process forked it.
        with contextlib.suppress(ChildProcessError):
            if pid and left and os.waitpid(pid, os.WNOHANG)[0] == 0:
                reactor.callLater(LOOK, look, left - 1)
                return
        ended.callback(None)

    look(looks)
    return ended


class Forks:
    """Has processes made; starts another fork server where one is lost.

    Args:
        reactor: the reactor.
        channel: to one that was forked already; None to start one.
        pid: of that one.
        ended: called with the process id and exit code of a process that ended; a negative code is a signal's number.
            For the log only: some are never told of.
        spawn: starts a fork server; returns its process id.
    """

    def __init__(
        self,
        reactor: Any,
        channel: Channel | None,
        ended: Callable[[int, int], None],
        pid: int = 0,
        spawn: Callable[[Channel], int] = spawn_fork_server,
    ) -> None:
        self._pid = pid
        self._reactor = reactor
        self._ended = ended
        self._spawn = spawn
        self._again: Any = None
        self._stopped = False
        #: The process id of each number's latest process.
        self.pids: dict[int, int] = {}
        #: How many fork servers were lost.
        self.lost = 0
        self._link: Link | None = None if channel is None else self._connect(channel)
        if channel is None:
            self._start()

    def start(self, number: int) -> Channel:
        """Have a process made; return our end of its channel.

        Nothing answers there, and it is never closed, when the fork server is lost before it has obeyed.

        Raises:
            OSError: the system has no descriptors for a channel.
        """
        ours, its = channel_pair()
        if self._link is not None:
            self._link.send("start", descriptors=[its.fileno()], number=number)
        its.close()
        return ours

    def kill(self, pid: int) -> None:
        """Have a process killed, if it still runs."""
        if self._link is not None:
            self._link.send("kill", pid=pid)

    def stop(self) -> Deferred[None]:
        """Let the fork server end, with all processes that are left; fires when it has."""
        self._stopped = True
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None
        return buried(self._reactor, self._pid)

    def _connect(self, channel: Channel) -> Link:
        return Link(self._reactor, channel, self._received, self._gone, "the process that makes DNS processes")

    def _start(self) -> None:
        with contextlib.ExitStack() as failing:
            try:
                ours, its = channel_pair()
                failing.callback(ours.close)
                with contextlib.closing(its):
                    self._pid = self._spawn(its)
            except OSError as error:
                log.error("DNS: the process that makes DNS processes cannot be started: {error}", error=str(error))
                self._again = self._reactor.callLater(AGAIN, self._start)
                return
            failing.pop_all()
        self._link = self._connect(ours)

    def _received(self, message: Message) -> None:
        if message.kind == "started":
            self.pids[message.number("number")] = message.number("pid")
        elif message.kind == "ended":
            status = message.fields.get("status")
            self._ended(message.number("pid"), status if isinstance(status, int) else 0)

    def _gone(self) -> None:
        self._link = None
        self.lost += 1
        buried(self._reactor, self._pid)
        self._pid = 0
        log.error("DNS: the process that makes DNS processes has ended; another one is started")
        if not self._stopped:
            self._again = self._reactor.callLater(AGAIN, self._start)
