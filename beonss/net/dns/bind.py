"""Binding DNS sockets, and telling an operator why one cannot be bound."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address

from beonss.core.zones.records import Address
from beonss.errors import ConfigurationError
from beonss.net.sockets import bound_socket, listening_socket

# socket(7): needs CAP_NET_ADMIN and goes beyond net.core.rmem_max; Python has no name for it.
_SO_RCVBUFFORCE = 33
# ip(7), include/uapi/linux/in.h: no path MTU discovery, and no belief in forged ICMP (RFC 9715 section 3.1).
_IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT = 10, 5
# Ten thousand nodes ask in the same instant after a power cut.
_RECEIVE_BUFFER = 4 << 20
#: TCP connections that wait to be taken.
BACKLOG = 128


class BindError(ConfigurationError):
    """An address cannot be listened on; fatal for a daemon that starts."""


def listening_address(host: str) -> Address:
    """Return the address to listen on.

    Raises:
        BindError: it is no address, or stands for all addresses: replies must leave from the address that was
            asked, which only a socket bound to that address ensures.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        raise BindError(f"cannot answer DNS on {host!r}: it is not an IP address; pass --dns-listen ADDRESS") from None
    if address.is_unspecified:
        raise BindError(
            f"cannot answer DNS on {host}, which means every address: replies would leave from another one than was "
            "asked; pass --dns-listen once for each address of this machine that should answer"
        )
    return address


def bind_failure(error: OSError, host: str, port: int, transport: str) -> BindError:
    """Return what an operator should read when binding failed.

    Args:
        error: what the system said.
        host: the address that was to be bound.
        port: and its port.
        transport: ``UDP`` or ``TCP``.
    """
    where = f"port {port} ({transport}) on {host}"
    match error.errno:
        case errno.EADDRINUSE:
            return BindError(
                f"{where} is in use by another program; stop it or pass --dns-listen "
                f"(ss -lnp 'sport = :{port}' shows which)"
            )
        case errno.EACCES | errno.EPERM:
            return BindError(
                f"{where} may not be opened by this user; start as root, give the service CAP_NET_BIND_SERVICE, "
                "or pass --dns-listen with a port above 1023"
            )
        case errno.EADDRNOTAVAIL:
            return BindError(
                f"{where} cannot be opened: {host} is not an address of this machine, and this system cannot wait for "
                "it; bring its interface up or pass --dns-listen"
            )
        case number:
            return BindError(f"{where} cannot be opened: {os.strerror(number) if number else error}")


def bound_udp_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a non-blocking UDP socket bound to one address, which need not be there yet.

    Args:
        host: the address.
        port: 0 lets the system choose.
        shared: sockets of other processes of ours take part of the packets (SO_REUSEPORT).

    Raises:
        BindError: it cannot be.
    """
    with _telling(host, port, "UDP"):
        udp = bound_socket(host, port, socket.SOCK_DGRAM, shared=shared)
    tune_udp(udp)
    return udp


def bound_tcp_socket(host: str, port: int, backlog: int = BACKLOG, *, shared: bool = False) -> socket.socket:
    """Return a non-blocking TCP socket that listens; arguments and errors as for :func:`bound_udp_socket`."""
    with _telling(host, port, "TCP"):
        return listening_socket(host, port, backlog, shared=shared)


@contextlib.contextmanager
def _telling(host: str, port: int, transport: str) -> Iterator[None]:
    """Tell of errors in words; a socket of its own for each address is made only for what is one."""
    listening_address(host)
    try:
        yield
    except (socket.gaierror, ValueError):
        raise BindError(
            f"cannot answer DNS on {host!r}: there is no such interface; pass --dns-listen ADDRESS"
        ) from None
    except OSError as error:
        raise bind_failure(error, host, port, transport) from error


def tune_udp(udp: socket.socket) -> None:
    """Ask for what helps but may be denied."""
    wishes = [(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)]
    if os.uname().sysname == "Linux":
        wishes.append((socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER))
        if udp.family == socket.AF_INET:
            wishes.append((socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT))
    for level, option, value in wishes:
        try:
            udp.setsockopt(level, option, value)
        except OSError:
            continue
