"""The process that makes DNS processes: it has loaded what they need and does nothing but fork.

A daemon cannot fork itself: it has threads, files and secrets. This one is forked from it before it has any, or, when
it was lost, started anew. A DNS process is then there within milliseconds, shares its code in memory with the
others, and knows nothing but what its channel tells. See decision 0029.
"""

import contextlib
import errno
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from beonss.errors import ConfigurationError, MalformedError
from beonss.net.dns.worker_channel import Channel, Message
from beonss.net.dns.worker_process import become_process

#: Seconds that DNS processes have to end by themselves after the daemon is gone.
PATIENCE: Final = 3.0
#: Seconds between two signs of life.
INTERVAL: Final = 1.0


class ForkServer:
    """Forks until the daemon is gone, then sees that no child stays.

    Args:
        channel: to the daemon.
        work: what a child does with its channel and number; returns its exit code.
    """

    def __init__(self, channel: Channel, work: Callable[[Channel, int], int]) -> None:
        self._channel = channel
        self._work = work
        self._children: set[int] = set()
        # Signals arrive here as bytes, so that none is lost between two system calls.
        self._signals, self._waker = socket.socketpair()
        for end in (self._signals, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        """Fork as told; returns when the daemon is gone and all children have ended."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._signals, selectors.EVENT_READ)
            while True:
                selector.select(INTERVAL)
                self._clear_signals()
                self._reap()
                if not self._obey():
                    break
                self._tell("alive")
            self._channel.close()
            selector.unregister(self._signals)
            self._end(selector)

    def _obey(self) -> bool:
        """Do what the daemon says; return False when it is gone."""
        while True:
            try:
                message = self._channel.receive()
            except BlockingIOError:
                return True
            except (MalformedError, OSError):
                message = None
            if message is None:
                return False
            try:
                self._do(message)
            finally:
                message.close()

    def _do(self, message: Message) -> None:
        if message.kind == "start":
            self._start(message)
        elif message.kind == "kill" and message.number("pid") in self._children:
            # A child that has ended keeps its number until it is waited for, so this hits nobody else.
            os.kill(message.number("pid"), signal.SIGKILL)

    def _start(self, message: Message) -> None:
        number = message.number("number")
        if not message.descriptors:
            self._tell("failed", number=number, error=os.strerror(errno.EMFILE))
            return
        descriptor = message.descriptors[0]
        try:
            pid = os.fork()
        except OSError as error:
            # The channel is closed with the message, so the daemon learns that there is no process, and tries again.
            self._tell("failed", number=number, error=error.strerror)
            return
        if pid == 0:
            _be_child(lambda: self._become(descriptor, number))
        self._children.add(pid)
        self._tell("started", number=number, pid=pid)

    def _become(self, descriptor: int, number: int) -> int:
        self._channel.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._signals.close()
        self._waker.close()
        return self._work(Channel(socket.socket(fileno=descriptor)), number)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._tell("ended", pid=pid, status=os.waitstatus_to_exitcode(status))

    def _tell(self, kind: str, **fields: Any) -> None:
        # The daemon learns from the channel of a child that it ended; this says only how.
        with contextlib.suppress(OSError):
            self._channel.send(kind, **fields)

    def _clear_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._signals.recv(4096):
                pass

    def _end(self, selector: selectors.BaseSelector) -> None:
        """Wait for the children, who have noticed as well, and end those that are stuck."""
        selector.close()
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._signals, selectors.EVENT_READ)
            self._reap()
            while self._children and waiting.select(PATIENCE):
                self._clear_signals()
                self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)


def serve_forks(channel: Channel) -> int:
    """Load what DNS processes need and fork until the daemon is gone; return the exit code."""
    become_process("beonss-dns")
    from beonss.net.dns.worker import work  # noqa: PLC0415 - half of the time that a start takes

    # What is loaded now stays; left alone by the collector its pages stay shared with all children.
    gc.collect()
    gc.freeze()
    ForkServer(channel, work).run()
    return 0


def fork_off(child: Callable[[], int]) -> int:
    """Fork; in the child do ``child`` and end with its exit code. Return the child's process id.

    To be called while there is one thread only.

    Raises:
        ConfigurationError: the system allows no more processes (fork(2)).
    """
    # What waits to be written must not be written twice.
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError as error:
        raise ConfigurationError(
            f"no process can be made for DNS: {error.strerror}; allow more, or pass --dns-workers 0"
        ) from None
    if pid == 0:
        _be_child(child)
    return pid


def _be_child(child: Callable[[], int]) -> None:
    """Never returns, whatever happens: what stands above on the stack belongs to the parent."""
    code = 70
    try:
        code = child()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - see above
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(serve_forks(Channel(socket.socket(fileno=int(sys.argv[1])))))
