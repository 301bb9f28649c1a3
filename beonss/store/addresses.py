"""Which addresses this machine uses, found without sending anything."""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

#: The port is of no meaning: connect(2) on a datagram socket only chooses a route.
_DISCARD = 9


def source_addresses(destinations: Iterable[Address]) -> Iterator[Address]:
    """Yield the address from which this machine would send to each destination, each once; loopback is left out.

    The kernel's routes are asked (connect(2) of a UDP socket); no packet leaves.
    """
    seen: set[Address] = set()
    for destination in destinations:
        family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((str(destination), _DISCARD))
                found = ip_address(probe.getsockname()[0].partition("%")[0])
        except OSError:
            continue
        if not found.is_loopback and found not in seen:
            seen.add(found)
            yield found
