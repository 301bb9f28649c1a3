"""What a description says of names that are not ours: ``[dns.forward]``."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from beonss.core.zones.records import Address, DomainName, shown

Network = IPv4Network | IPv6Network

#: UDP and TCP port of a DNS server.
PORT = 53


@dataclass(frozen=True, slots=True)
class Upstream:
    """A DNS server that is asked.

    Attributes:
        address: of the server.
        port: UDP and TCP.
    """

    address: Address
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """Who is asked for the names of one zone.

    Attributes:
        zone: in lower case; the root, which is empty, for all that no other route is for.
        upstreams: in order of preference, at least one.
    """

    zone: DomainName
    upstreams: tuple[Upstream, ...]

    def __str__(self) -> str:
        return f"{shown(self.zone)} by {', '.join(map(str, self.upstreams))}"


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Everything under ``[dns.forward]``.

    Attributes:
        routes: of zones that differ; empty where nothing is looked up elsewhere.
        networks: whose machines may ask, besides those of the cluster and loopback.
    """

    routes: tuple[Route, ...] = ()
    networks: tuple[Network, ...] = ()

    def document(self) -> list[object]:
        """Return what it means, for the digest of a description."""
        return [
            sorted([shown(route.zone), *(str(each) for each in route.upstreams)] for route in self.routes),
            sorted(str(network) for network in self.networks),
        ]


#: Nothing is looked up elsewhere.
NO_FORWARDING = Forwarding()
