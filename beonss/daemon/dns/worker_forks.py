"""The daemon's side of the process that forks DNS processes (:mod:`beonss.net.dns.worker_forks`)."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from beonss.net.dns.worker_channel import Channel, Message, channel_pair
from beonss.net.dns.worker_link import Link

log = Logger()

#: Seconds until a lost one is replaced that had not run for so long; another one is at once.
AGAIN: Final = 1.0
STEADY: Final = 10.0
#: Looks (:data:`beonss.daemon.dns.workers.WATCH`) without a sign of life until it is killed and replaced, and until its
#: first one: as a new program it loads for a while.
DEAD: Final = 40
NEVER: Final = 240
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


def buried(reactor: Any, pid: int, looks: int = LOOKS) -> Deferred[bool]:
    """Let the system forget a child that has ended or is about to.

    Args:
        reactor: the reactor.
        pid: the child; 0 for none.
        looks: how many looks to take.

    Returns:
        Fires with True when it has ended or is no child of ours, with False when that took too long.
    """
    ended: Deferred[bool] = Deferred()

    def look(left: int) -> None:
        # Where twistd went into the background it is no child of ours: another process forked it.
        with contextlib.suppress(ChildProcessError):
            if pid and os.waitpid(pid, os.WNOHANG)[0] == 0:
                if left:
                    reactor.callLater(LOOK, look, left - 1)
                else:
                    ended.callback(False)
                return
        ended.callback(True)

    look(looks)
    return ended


class Forks:
    """Has processes made; starts another fork server where one is lost, or gives no sign of life.

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
        self._begun = False
        self._silent = 0
        self._since: float = reactor.seconds()
        # What is to be made as soon as there is one that makes it: numbers, and ends of channels.
        self._waiting: list[tuple[int, Channel]] = []
        # Made by one that was lost; the next one does not know them.
        self._orphans: set[int] = set()
        #: The process id of each number's latest process.
        self.pids: dict[int, int] = {}
        #: How many fork servers were lost.
        self.lost = 0
        self._link: Link | None = None if channel is None else self._connect(channel)
        if channel is None:
            self._start()

    def start(self, number: int) -> Channel:
        """Have a process made, now or as soon as there is a fork server; return our end of its channel.

        It is closed at the other end when the fork server is lost before it has obeyed.

        Raises:
            OSError: the system has no descriptors for a channel.
        """
        ours, its = channel_pair()
        if self._link is None and not self._stopped:
            self._waiting.append((number, its))
        else:
            self._order(number, its)
        return ours

    def kill(self, pid: int, *, known: bool = True) -> None:
        """Have a process killed, if it still runs.

        Args:
            pid: its process id.
            known: its channel is still open, so the number is surely its own.
        """
        if pid in self._orphans:
            self._orphans.discard(pid)
            if known:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        elif self._link is not None:
            self._link.send("kill", pid=pid)

    def look(self) -> None:
        """Look for a sign of life of the fork server; to be called at equal intervals."""
        if self._link is None:
            return
        self._silent += 1
        if self._silent >= (DEAD if self._begun else NEVER):
            log.error("DNS: the process that makes DNS processes gives no sign of life and is killed")
            self._kill_server()
            self._link.close()
            self._gone()

    def stop(self) -> Deferred[None]:
        """Let the fork server end, with all processes that are left; fires when it has."""
        self._stopped = True
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None
        for _, its in self._waiting:
            its.close()
        self._waiting.clear()
        if self._silent >= DEAD // 2:
            self._kill_server()
        return buried(self._reactor, self._pid).addCallback(lambda ended: None if ended else self._kill_server())

    def _order(self, number: int, its: Channel) -> None:
        if self._link is not None:
            self._link.send("start", descriptors=[its.fileno()], number=number)
        its.close()

    def _kill_server(self) -> None:
        # It has our channel open, or is a child that nobody has waited for: the number is its own.
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

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
        self._begun = False
        self._silent = 0
        self._since = self._reactor.seconds()
        self._link = self._connect(ours)
        waiting, self._waiting = self._waiting, []
        for number, its in waiting:
            self._order(number, its)

    def _received(self, message: Message) -> None:
        self._begun = True
        self._silent = 0
        if message.kind == "started":
            self.pids[message.number("number")] = message.number("pid")
        elif message.kind == "failed":
            log.error(
                "DNS: the system allows no process {number}: {error}; allow more processes or open files",
                number=message.number("number"),
                error=str(message.fields.get("error")),
            )
        elif message.kind == "ended":
            status = message.fields.get("status")
            self._ended(message.number("pid"), status if isinstance(status, int) else 0)

    def _gone(self) -> None:
        self._link = None
        self.lost += 1
        self._orphans = set(self.pids.values())
        buried(self._reactor, self._pid)
        self._pid = 0
        log.error("DNS: the process that makes DNS processes has ended; another one is started")
        if not self._stopped:
            steady = self._reactor.seconds() - self._since >= STEADY
            self._again = self._reactor.callLater(0.0 if steady else AGAIN, self._start)
