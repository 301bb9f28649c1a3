"""UNIX sockets: who is at the other end, told by the kernel and not by the other end; and paths left by the dead."""

import errno
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.unix import Port

from beonss.errors import ConfigurationError

#: Bytes of a socket's path at the most (unix(7), sun_path without its final NUL).
MAX_PATH: Final = 107

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """A local process, as it was when it connected (SO_PEERCRED, unix(7)).

    A set-user-ID program such as passwd(1) counts as the user it runs as, root.

    Attributes:
        pid: its process id then; for logs only, it may be another process by now.
        uid: its effective user id.
        gid: its effective group id.
    """

    pid: int
    uid: int
    gid: int


def peer_of(transport: Any) -> Peer:
    """Return the peer of a connected Twisted transport over a UNIX socket.

    Raises:
        OSError: the kernel does not tell; then nobody may be let in.
    """
    raw = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    # The kernel's numbers are unsigned; 2**32 - 1 stands for "not known".
    return Peer(pid, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF)


def clear_path(path: Path, purpose: str) -> None:
    """Have a socket be able to listen at a path: make its directory, mode 0755, and remove what a dead daemon left.

    Args:
        path: of the socket.
        purpose: which socket it is, for people.

    Raises:
        ConfigurationError: the path cannot be used, or another daemon listens there.
    """
    if len(bytes(path)) > MAX_PATH:
        raise ConfigurationError(f"{path}: is too long for a UNIX socket, at most {MAX_PATH} bytes (unix(7))")
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path.parent}: cannot be made for the {purpose}: {error.strerror}") from None
    clear_stale_socket(path)


def clear_stale_socket(path: Path) -> None:
    """Remove the socket that a daemon left behind when it was killed.

    Raises:
        ConfigurationError: somebody answers there, or what is there is no socket: it is left alone.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be examined: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"{path}: is no socket; remove it, or name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        result = probe.connect_ex(str(path))
    # EAGAIN is a full queue: there is a listener, only a busy one.
    if result != errno.ECONNREFUSED:
        raise ConfigurationError(f"{path}: another daemon listens here; stop it first, or name another path")
    path.unlink(missing_ok=True)


class GivenPort(Port):
    """A port on a socket that somebody else made and keeps: its path and its mode are not ours to touch.

    Args:
        given: listens already; it is copied, and the caller's may be closed.
        factory: makes the protocols.
        reactor: the reactor.
    """

    # Others hold the very same socket: a shutdown would end it for them as well.
    _shouldShutdown = False

    def __init__(self, given: socket.socket, factory: Any, reactor: Any) -> None:
        super().__init__(given.getsockname(), factory, reactor=reactor)
        self._given = given

    def startListening(self) -> None:
        """Take connections."""
        factory: Any = self.factory
        factory.doStart()
        self.connected = True
        self.socket = self._given.dup()
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """Close our copy; the path stays (Twisted's own would remove it)."""
        tcp.Port.connectionLost(self, reason)
