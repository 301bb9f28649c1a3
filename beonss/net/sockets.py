"""Sockets bound to one address, whether the machine has that address yet or not.

A daemon that starts before DHCP has given the machine its address binds that address all the same (IP_FREEBIND,
ip(7), which needs no privilege): packets arrive from the moment the address is there, and go on when it leaves and
comes back. Only a port that is in use, or may not be had, is an error.
"""

import contextlib
import errno
import socket
import sys

# Python has names for none of these. linux/in.h and linux/in6.h.
_FREEBIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}


def bound_socket(
    host: str, port: int, kind: socket.SocketKind, *, shared: bool = False, both: bool = False
) -> socket.socket:
    """Return a non-blocking socket bound to an address; a stream socket does not listen yet.

    Args:
        host: an address, an IPv6 one perhaps with a scope, or a name of an address.
        port: 0 lets the system choose.
        kind: ``SOCK_DGRAM`` or ``SOCK_STREAM``.
        shared: other sockets of the same user may have the same address and port, and share what comes (SO_REUSEPORT).
        both: ``::`` takes IPv4 as well (ipv6(7)).

    Raises:
        socket.gaierror: the name is not known, or there is no interface of that scope.
        OSError: as of bind(2); but an address that the machine has not is none where the system can wait for it.
    """
    family, _, _, _, where = socket.getaddrinfo(host, port, 0, kind, 0, socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if kind == socket.SOCK_STREAM:
            # Connections of the daemon that ended a moment ago still wait (TIME_WAIT).
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        if sys.platform.startswith("linux"):
            # A kernel without it says so by its own error of bind(2).
            with contextlib.suppress(OSError):
                made.setsockopt(*_FREEBIND[socket.AddressFamily(family)], 1)
        made.bind(where)
    except BaseException:
        made.close()
        raise
    return made


def listening_socket(host: str, port: int, backlog: int, *, shared: bool = False, both: bool = False) -> socket.socket:
    """Return a non-blocking TCP socket that listens; arguments and errors as for :func:`bound_socket`."""
    made = bound_socket(host, port, socket.SOCK_STREAM, shared=shared, both=both)
    try:
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def is_here(host: str) -> bool:
    """Say whether this machine has an address now; where that cannot be told, True.

    Asked of bind(2) with a port that the system chooses, so it costs no privilege and disturbs nobody. Never waits: a
    name, for which somebody else would have to be asked, cannot be told.
    """
    try:
        flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        family, kind, _, _, where = socket.getaddrinfo(host, 0, 0, socket.SOCK_DGRAM, 0, flags)[0]
    except (socket.gaierror, ValueError):
        # A link-local address whose interface is not there is none.
        return "%" not in host
    try:
        with socket.socket(family, kind) as probe:
            probe.bind(where)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True
