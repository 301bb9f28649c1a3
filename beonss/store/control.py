"""The client's end of the control socket: blocking, no Twisted, quick to import.

``cpasswd`` and the ``beonss`` command ask the daemon of their own machine through it. The protocol is told in
:mod:`beonss.wire.control`.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from beonss.errors import PeerError, Refused, Unavailable
from beonss.wire.control import OK, End, Event, LineBuffer, Request, decode_reply, encode_request

DEFAULT_PATH = "/run/beonss/control"
#: The environment variable that names another socket.
PATH_VARIABLE = "BEONSS_CONTROL"

OnEvent = Callable[[Event], None]


class Interrupted(PeerError):  # noqa: N818 - what happened, not whose error
    """The daemon went away, or fell silent, after it got a request: what became of it is not known."""


def default_path() -> str:
    """Return the path of the control socket: from the environment, or the usual one."""
    return os.environ.get(PATH_VARIABLE) or DEFAULT_PATH


class ControlClient:
    """One connection to the daemon on this machine; also a context manager.

    Args:
        path: the socket; None for :func:`default_path`.
        timeout: seconds to wait for the connection, and for each next word of an answer.
    """

    def __init__(self, path: str | None = None, timeout: float = 60.0) -> None:
        self.path = path or default_path()
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._lines = LineBuffer()
        self._ready: list[bytes] = []

    def __enter__(self) -> "ControlClient":
        """Connect.

        Raises:
            Unavailable: no daemon answers there.
        """
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def connect(self) -> None:
        """Connect, if that was not done yet.

        Raises:
            Unavailable: no daemon answers there. Nothing was asked.
        """
        if self._socket is not None:
            return
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self.path)
        except (OSError, ValueError) as error:
            connection.close()
            raise Unavailable(_why_unreachable(self.path, error)) from None
        self._socket = connection

    def close(self) -> None:
        """Close the connection. What the daemon has begun it finishes."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._lines = LineBuffer()
        self._ready.clear()

    def ask(self, operation: str, parameters: Mapping[str, Any] | None = None, on_event: OnEvent | None = None) -> End:
        """Send a request, pass on its events as they come, and return its end, whose code is ``ok``.

        Raises:
            Unavailable: the daemon cannot be reached, or it says that it cannot answer now.
            Refused: it says no; ``code`` tells why.
            Interrupted: it went away, or was silent for the timeout, before the end.
            MalformedError: what answers is not our daemon.
        """
        end = self.converse(operation, parameters, on_event)
        if end.code == OK:
            return end
        if end.code == "unavailable":
            raise Unavailable(end.message)
        raise Refused(end.code, end.message)

    def converse(
        self, operation: str, parameters: Mapping[str, Any] | None = None, on_event: OnEvent | None = None
    ) -> End:
        """Do as :meth:`ask`, but return the end whatever its code."""
        line = encode_request(Request(operation, parameters or {}))
        self.connect()
        try:
            self._send(line)
            while True:
                reply = decode_reply(self._next_line())
                if isinstance(reply, End):
                    return reply
                if on_event is not None:
                    on_event(reply)
        except BaseException:
            # The rest of the answer would be taken for that of the next request.
            self.close()
            raise

    def _send(self, line: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(line)
        except TimeoutError:
            raise Interrupted(f"the daemon at {self.path} took no request for {self._timeout:g} s") from None
        except OSError:
            # It may have said why before it closed; reading tells.
            return

    def _next_line(self) -> bytes:
        assert self._socket is not None
        deadline = time.monotonic() + self._timeout
        while not self._ready:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(65536)
            except TimeoutError:
                raise Interrupted(
                    f"the daemon at {self.path} said nothing for {self._timeout:g} s; what became of the request "
                    "is not known"
                ) from None
            except OSError as error:
                raise Interrupted(_gone(self.path, error.strerror)) from None
            if not data:
                raise Interrupted(_gone(self.path, None))
            self._ready = self._lines.feed(data)
        return self._ready.pop(0)


def _gone(path: str, why: str | None) -> str:
    detail = f" ({why})" if why else ""
    return f"the daemon at {path} closed the connection early{detail}; what became of the request is not known"


def _why_unreachable(path: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            f"no daemon runs here: there is no socket {path} (start it: systemctl start beonss-master, or beonss-node)"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"no daemon runs here: nobody listens on {path} (it ended without removing its socket)"
    if isinstance(error, PermissionError):
        return f"the daemon's socket {path} may not be used by this user"
    if isinstance(error, TimeoutError | BlockingIOError):
        return f"the daemon at {path} takes no connection: it is overloaded or stopped"
    return f"the daemon's socket {path} cannot be used: {error}"
