"""What a daemon and its DNS processes say to each other, and the connection on which they say it.

A socketpair that keeps messages apart (``SOCK_SEQPACKET``) and carries descriptors (SCM_RIGHTS, unix(7)). A message is
a line of JSON with the word ``is`` and fields, and after it perhaps bytes as they are. The other end is gone when
:meth:`Channel.receive` says so: that is how a worker learns that its daemon died, also by ``kill -9``.

From the daemon to the process that forks (:mod:`beonss.net.dns.worker_forks`), and back::

    start {number} + channel    ->   started {number, pid}, or failed {number, error}
    kill {pid}                  ->   ended {pid, status}
                                     alive         once a second

From the daemon to a worker (:mod:`beonss.net.dns.worker`)::

    zones {number} + file       answer out of these; the file holds them (worker_zones)
    listen {kinds, last} + sockets    ``udp`` or ``tcp`` for each; answer here
    sample {every, seed}        take one of so many queries for the log; 0 takes none
    stop                        answer what has arrived, and end

From a worker to the daemon::

    serving {number}            these zones are in force
    listening                   all sockets are served
    counters {...}              what was done so far; also the sign of life
    datagram {socket, peer}     a question that only the daemon answers, to be answered from the same socket
    connection                  a TCP connection on which such a question came, and the bytes from it on
    samples {missed}            queries that were taken (beonss.wire.query_sample), and how many more had no room
    log {level, text}           an event for the log
    ended {...}                 the last counters
"""

import contextlib
import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from beonss.errors import MalformedError

#: Bytes of a message. The longest are TCP connections that change hands with what was read of them.
LONGEST: Final = 128 << 10
#: Descriptors in one message; unix(7) allows 253.
MOST_DESCRIPTORS: Final = 64
#: So that a burst of questions for the daemon waits in the kernel instead of being dropped.
_BUFFER: Final = 1 << 20
_CONTROL: Final = socket.CMSG_LEN(MOST_DESCRIPTORS * array("i").itemsize)
_FLAGS: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        kind: the word ``is``.
        fields: the other fields.
        payload: bytes that follow.
        descriptors: open descriptors, the receiver's own; :meth:`close` closes those that nobody took.
    """

    kind: str
    fields: Mapping[str, Any]
    payload: bytes = b""
    descriptors: list[int] = field(default_factory=list)

    def number(self, name: str) -> int:
        """Return a field that is a whole number, not negative.

        Raises:
            MalformedError: it is none.
        """
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise MalformedError(f"{self.kind}: {name} is no whole number")
        return value

    def take(self) -> list[int]:
        """Return the descriptors; the caller closes them."""
        taken, self.descriptors = self.descriptors, []
        return taken

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        for descriptor in self.take():
            with contextlib.suppress(OSError):
                os.close(descriptor)


class Channel:
    """One end. Never blocks.

    Args:
        end: a connected socket of the kind that :func:`channel_pair` makes.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    def fileno(self) -> int:
        """Return the descriptor, -1 after it was closed."""
        return self._socket.fileno()

    def send(self, kind: str, payload: bytes = b"", descriptors: Sequence[int] = (), **fields: Any) -> None:
        """Send a message.

        Raises:
            BlockingIOError: the other end does not take it now.
            OSError: the other end is gone.
        """
        self.send_bytes(encode(kind, payload, fields), descriptors)

    def send_bytes(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send an encoded message; errors as for :meth:`send`."""
        if descriptors:
            socket.send_fds(self._socket, [message], list(descriptors))
        else:
            self._socket.send(message)

    def receive(self) -> Message | None:
        """Return the next message, None when the other end is gone.

        It comes without its descriptors where this process cannot have so many more open.

        Raises:
            BlockingIOError: there is none yet.
            MalformedError: this is no message; its descriptors are closed.
        """
        try:
            # Not recv_fds, which leaves its flags away (Python 3.11).
            data, controls, flags, _ = self._socket.recvmsg(LONGEST, _CONTROL, _FLAGS)
        except ConnectionError:
            return None
        descriptors = _descriptors(controls)
        if not _FLAGS:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
        if not data:
            return None
        message = Message("", {}, b"", descriptors)
        try:
            if flags & socket.MSG_TRUNC:
                raise MalformedError("a message is too long")
            if flags & socket.MSG_CTRUNC:
                # All of them or none.
                message.close()
            message.kind, message.fields, message.payload = decode(data)
        except MalformedError:
            message.close()
            raise
        return message

    def wait(self, seconds: float) -> None:
        """Wait from now on, up to so long, instead of raising BlockingIOError: for the last words of a process."""
        self._socket.settimeout(seconds)

    def finish(self, seconds: float) -> None:
        """Say that nothing more comes, wait up to so long until the other end is closed too, and close this one."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(seconds)
            while self._socket.recv(1):
                pass
        self.close()

    def close(self) -> None:
        """Close this end; more than once does no harm."""
        self._socket.close()

    def detach(self) -> int:
        """Give up this end without closing it; return its descriptor."""
        return self._socket.detach()


def _descriptors(controls: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in controls:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def channel_pair() -> tuple[Channel, Channel]:
    """Return both ends of a new channel."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return Channel(ends[0]), Channel(ends[1])


def encode(kind: str, payload: bytes, fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message."""
    return json.dumps({"is": kind, **fields}, separators=(",", ":")).encode("ascii") + b"\n" + payload


def decode(data: bytes) -> tuple[str, dict[str, Any], bytes]:
    """Return the kind, the fields and the payload of a message.

    Raises:
        MalformedError: this is none.
    """
    line, end, payload = data.partition(b"\n")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedError("a message does not begin with a line of JSON") from None
    if not end or not isinstance(fields, dict) or not isinstance(kind := fields.pop("is", None), str):
        raise MalformedError("a message does not say what it is")
    return kind, fields, payload
