"""Sending at once what somebody waits for, instead of in the reactor's next turn."""

from typing import Any

from twisted.internet.abstract import FileDescriptor


def write_now(transport: Any, data: bytes) -> None:
    """Write to a transport and hand to the kernel what it takes, behind what was written before.

    Where nothing waits, epoll(7) need not be told that something does, nor a moment later that nothing does any more.
    """
    if isinstance(transport, FileDescriptor) and transport.connected and not transport.disconnecting:
        # Twisted has no public word for "nothing waits"; a version without this one writes as ever.
        if getattr(transport, "_tempDataLen", 1) == 0 and not transport.dataBuffer:
            sent = transport.writeSomeData(data)
            # An exception is found again, and acted upon, where it is written as ever.
            data = data[sent:] if isinstance(sent, int) and sent > 0 else data
        if not data:
            return
    transport.write(data)
    push(transport)


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
