"""Sending at once what somebody waits for, instead of in the reactor's next turn."""

from typing import Any

from twisted.internet.abstract import FileDescriptor


def push(transport: Any) -> None:
    """Hand to the kernel what was written to a transport, as much as it takes; the rest goes the usual way.

    Twisted's transports write when epoll(7) says that they may, a turn later: when several processes share a processor,
    a turn may be a millisecond. Only what is short and waited for is worth it.

    Args:
        transport: a socket's, or one wrapped around it (TLS); nothing happens with any other, nor while it is closing.
    """
    while not isinstance(transport, FileDescriptor):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return
    if transport.connected and not transport.disconnecting:
        # A failure is found again, and acted upon, in the reactor's turn: the transport still waits for it.
        transport.doWrite()
