"""Telling the service manager how the daemon is: sd_notify(3), a datagram to the socket that ``NOTIFY_SOCKET`` names.

Of its own and not a library's because it is this little. Nothing here may fail the daemon: a manager that
does not listen is none of its business.
"""

import contextlib
import socket
from collections.abc import MutableMapping
from typing import Any

from twisted.internet.task import LoopingCall

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """Whoever started the daemon and wants to know how it is.

    Args:
        path: its socket; a leading ``@`` stands for the abstract namespace (unix(7)). None: nobody asked.
        watchdog: seconds without a sign of life after which it ends the daemon; None if it does not.
    """

    def __init__(self, path: str | None = None, watchdog: float | None = None) -> None:
        self._path = path
        self.watchdog = watchdog
        self._beating: Any = None

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str], pid: int) -> "ServiceManager":
        """Return the one that a process's environment names, and take it out: no child speaks for the daemon.

        Args:
            environment: of the process.
            pid: of the process.
        """
        path, microseconds, owner = (environment.pop(name, None) for name in _VARIABLES)
        watchdog = None
        if microseconds is not None and microseconds.isascii() and microseconds.isdigit() and owner in {None, str(pid)}:
            # int() of as many digits as somebody cares to write would take its time.
            watchdog = int(microseconds[:18]) / 1e6 or None
        return cls(path, watchdog if path else None)

    def ready(self, status: str) -> None:
        """Say that the daemon serves, after the start or a reload.

        Args:
            status: one line for ``systemctl status``.
        """
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self, seconds: float) -> None:
        """Say that a reload has begun; ``seconds`` is CLOCK_MONOTONIC now."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(seconds * 1e6)}", "STATUS=reloads")

    def stopping(self, status: str = "stops") -> None:
        """Say that the daemon has begun to end, and why."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def begin_watchdog(self, reactor: Any) -> None:
        """Give signs of life from the reactor, twice as often as asked for, if they were asked for."""
        if self.watchdog is not None and self._beating is None:
            self._beating = LoopingCall(self._tell, "WATCHDOG=1")
            self._beating.clock = reactor
            self._beating.start(self.watchdog / 2)

    def end_watchdog(self) -> None:
        """Give no more signs of life."""
        if self._beating is not None and self._beating.running:
            self._beating.stop()

    def _tell(self, *lines: str) -> None:
        if not self._path:
            return
        # A line break in a status would begin an assignment of its own.
        text = "\n".join(line.replace("\n", " ") for line in lines)
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.setblocking(False)
            door.sendto(text.encode("utf-8", "replace"), address)
