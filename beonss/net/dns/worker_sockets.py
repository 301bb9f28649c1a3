"""The sockets on which several processes answer DNS: bound once by the daemon, and kept by it.

Each process has a *place*: one UDP and one TCP socket for each address, all of the same port (SO_REUSEPORT, socket(7):
the kernel spreads clients over them). The daemon never closes them while it runs, so what waits in the socket of a
process that died waits for its successor. Where the system does not spread, all places share one socket.
"""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.activation import NOTHING, Activation
from beonss.net.dns.bind import BindError, bound_tcp_socket, bound_udp_socket, tune_udp

# With port 0 the system chooses for UDP, and the same number must still be free for TCP.
_ATTEMPTS: Final = 16
# Elsewhere the option exists and gives everything to the last one that was bound.
_SPREADS: Final = sys.platform.startswith("linux")

Kind = Literal["udp", "tcp"]


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """One socket of one place.

    Attributes:
        kind: ``udp``, or ``tcp`` for one that listens.
        socket: non-blocking.
    """

    kind: Kind
    socket: socket.socket


Place = Sequence[BoundSocket]


def bind_places(endpoints: Iterable[Endpoint], count: int, given: Activation = NOTHING) -> list[Place]:
    """Bind the sockets of some processes.

    Args:
        endpoints: addresses of this machine, no wildcards, and ports; port 0 lets the system choose one for all.
        count: how many processes, at least 1.
        given: sockets that were handed over; all processes share those of the endpoints.

    Returns:
        The sockets of each process; the caller closes them.

    Raises:
        BindError: an address cannot be had, also because another program has it; nothing stays open.
    """
    places: list[list[BoundSocket]] = [[] for _ in range(count)]
    try:
        for endpoint in endpoints:
            if endpoint in given.dns_udp:
                for each in places:
                    each.extend(_copies(given.dns_udp[endpoint], given.dns_tcp[endpoint]))
                continue
            for kind, first in _first(endpoint):
                places[0].append(BoundSocket(kind, first))
                for each in places[1:]:
                    each.append(BoundSocket(kind, _another(kind, first, endpoint)))
    except BaseException:
        close_places(places)
        raise
    return list(places)


def close_places(places: Iterable[Place]) -> None:
    """Close all sockets."""
    for place in places:
        for bound in place:
            bound.socket.close()


def _copies(udp: socket.socket, tcp: socket.socket) -> list[BoundSocket]:
    tune_udp(udp)
    copies = [BoundSocket("udp", udp.dup()), BoundSocket("tcp", tcp.dup())]
    for copy in copies:
        copy.socket.setblocking(False)
    return copies


def _first(endpoint: Endpoint) -> list[tuple[Kind, socket.socket]]:
    """Bind without sharing, so that a port in use is found although its owner, a daemon like us, would share it."""
    attempt = 1
    while True:
        udp = bound_udp_socket(endpoint.host, endpoint.port)
        try:
            tcp = bound_tcp_socket(endpoint.host, udp.getsockname()[1])
        except BindError as error:
            udp.close()
            taken = getattr(error.__cause__, "errno", None) == errno.EADDRINUSE and endpoint.port == 0
            if not taken or attempt >= _ATTEMPTS:
                raise
            attempt += 1
            continue
        return [("udp", udp), ("tcp", tcp)]


def _another(kind: Kind, first: socket.socket, endpoint: Endpoint) -> socket.socket:
    if _SPREADS:
        # A kernel that knows no SO_REUSEPORT (before 3.9) shares.
        with contextlib.suppress(OSError):
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            port = first.getsockname()[1]
            bind = bound_udp_socket if kind == "udp" else bound_tcp_socket
            return bind(endpoint.host, port, shared=True)
    return first.dup()
