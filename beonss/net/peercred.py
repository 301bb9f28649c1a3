"""Who is at the other end of a UNIX socket, told by the kernel and not by the other end."""

import socket
import struct
from dataclasses import dataclass
from typing import Any

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
