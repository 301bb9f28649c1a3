"""Everything a daemon listens on for DNS: UDP and TCP on each of its addresses, all or nothing."""

import errno
from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.activation import NOTHING, Activation
from beonss.net.dns.bind import BindError
from beonss.net.dns.native import why_pure
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tcp import StreamLimits, TCPListener, adopt_tcp, listen_tcp
from beonss.net.dns.udp import UDPListener, adopt_udp, listen_udp

log = Logger()

# With port 0 the system chooses for UDP, and the same number must still be free for TCP.
_ATTEMPTS = 16


class DNSListeners:
    """The open sockets of one DNS server. Made by :func:`listen_dns`."""

    def __init__(self, ports: list[UDPListener | TCPListener]) -> None:
        self._ports = ports

    @property
    def addresses(self) -> list[IPv4Address | IPv6Address]:
        """Where it listens, UDP and TCP, as Twisted's addresses."""
        return [port.getHost() for port in self._ports]

    def stopListening(self) -> Deferred[Any]:
        """Close everything; fires when all is closed."""
        return DeferredList([port.stopListening() for port in self._ports])


def listen_dns(
    reactor: Any,
    server: DNSServer,
    endpoints: Iterable[Endpoint],
    limits: StreamLimits | None = None,
    given: Activation = NOTHING,
) -> DNSListeners:
    """Answer DNS over UDP and TCP on each endpoint, with the same port number for both.

    Args:
        reactor: the reactor.
        server: answers the packets.
        endpoints: IP addresses of this machine, no wildcards, and ports; port 0 lets the system choose.
        limits: what TCP clients may take, per endpoint.
        given: sockets that were handed over; those of the endpoints are copied and served.

    Raises:
        BindError: one of them cannot be bound; none stays open beyond the next turn of the reactor.
    """
    ports: list[UDPListener | TCPListener] = []
    try:
        for endpoint in endpoints:
            if endpoint in given.dns_udp:
                ports.append(adopt_udp(reactor, server, given.dns_udp[endpoint]))
                ports.append(adopt_tcp(reactor, server, given.dns_tcp[endpoint], limits))
            else:
                ports.extend(_pair(reactor, server, endpoint, limits))
    except BindError:
        for port in ports:
            port.stopListening()
        raise
    log_start((where.host, where.port) for where in (port.getHost() for port in ports[::2]))
    return DNSListeners(ports)


def log_start(places: Iterable[tuple[str, int]]) -> None:
    """Tell the log where DNS is answered, by address and port, and by what."""
    for host, number in places:
        log.info("DNS: answering on {host} port {port}, UDP and TCP", host=host, port=number)
    reason = why_pure()
    if reason is None:
        log.info("DNS: plain questions are answered by the compiled core")
    else:
        log.info("DNS: Python answers everything: {reason}", reason=reason)


def _pair(
    reactor: Any, server: DNSServer, endpoint: Endpoint, limits: StreamLimits | None
) -> tuple[UDPListener, TCPListener]:
    attempt = 1
    while True:
        udp = listen_udp(reactor, server, endpoint.host, endpoint.port)
        try:
            return udp, listen_tcp(reactor, server, endpoint.host, udp.getHost().port, limits)
        except BindError as error:
            udp.stopListening()
            taken = getattr(error.__cause__, "errno", None) == errno.EADDRINUSE and endpoint.port == 0
            if not taken or attempt >= _ATTEMPTS:
                raise
            attempt += 1
