"""Which way a name goes that lies in none of our zones: to which upstreams, or nowhere because it stays here.

A :class:`Plan` is what one daemon does about them. A master asks the upstreams of the description for clients in the
cluster's networks; a node asks the masters, for itself alone. Some names are never sent anywhere, unless the
description has a route for the very zone: private reverse zones (RFC 6303, RFC 7793), names that have a meaning of
their own (RFC 6761, 6762, 7686, 8375, 9476), and single labels, which outside would only tell what is looked for here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Final

from beonss.core.zones.forwarding import Network, Route, Upstream
from beonss.core.zones.records import (
    Address,
    AddressData,
    DomainName,
    NameData,
    Reason,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    SOAData,
    domain,
)
from beonss.core.zones.zone import Answer, reverse_name

if TYPE_CHECKING:
    from beonss.core.names.naming import Naming

_REVERSE: Final = (
    "0.in-addr.arpa", "10.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa", "168.192.in-addr.arpa",
    "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
    *(f"{octet}.172.in-addr.arpa" for octet in range(16, 32)),
    # Shared address space (RFC 7793).
    *(f"{octet}.100.in-addr.arpa" for octet in range(64, 128)),
    ".".join("0" * 32) + ".ip6.arpa", "1." + ".".join("0" * 31) + ".ip6.arpa",
    "d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
)  # fmt: skip
# RFC 6761, 6762, 7686, 8375, 9462, 9476, 9665, and what ICANN set aside for private use.
_SPECIAL: Final = (
    "localhost", "local", "invalid", "test", "onion", "home.arpa", "resolver.arpa", "service.arpa", "alt", "internal",
)  # fmt: skip
#: Zones whose names are never sent anywhere, unless a route is for the zone itself or one below it.
KEPT_HERE: Final = frozenset(domain(text) for text in (*_REVERSE, *_SPECIAL))

_LOCALHOST: Final = (b"localhost",)
_LOOPBACK: Final = {
    RecordType.A: AddressData(IPv4Address("127.0.0.1")),
    RecordType.AAAA: AddressData(IPv6Address("::1")),
}
_LOOPBACK_POINTERS: Final = frozenset({
    domain("1.0.0.127.in-addr.arpa"), domain("1." + ".".join("0" * 31) + ".ip6.arpa"),
})  # fmt: skip
# RFC 6303 section 3.
_EMPTY_TTL: Final = 10800
_NOBODY: Final = domain("nobody.invalid")
# What a validating client must ask of a top-level domain.
_OF_TOP_LEVEL: Final = frozenset({RecordType.DS, RecordType.DNSKEY})
_LOOPBACK_NETWORKS: Final[tuple[Network, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_REFUSED: Final = Answer(ReplyCode.REFUSED, authoritative=False, ours=False, reason=Reason.PROHIBITED)
_NOWHERE: Final = Answer(ReplyCode.REFUSED, authoritative=False, ours=False, reason=Reason.NOT_AUTHORITATIVE)
_NO_SUCH_LABEL: Final = Answer(ReplyCode.NXDOMAIN, authoritative=False)


@dataclass(frozen=True, slots=True)
class Probe:
    """What an upstream is asked to find out whether it answers at all."""

    name: DomainName
    type: int


class Plan:
    """What one daemon does with names that are not ours. Immutable.

    Args:
        networks: whose machines names are looked up for.
        routes: of different zones.
        probe: what upstreams are asked to find out whether they answer; by default the SOA of the route's zone, and
            the name servers of the root.
    """

    def __init__(self, networks: Iterable[Network], routes: Iterable[Route], probe: Probe | None = None) -> None:
        self.networks = tuple(dict.fromkeys(networks))
        self.routes: Mapping[DomainName, Route] = {route.zone: route for route in routes}
        self.probe = probe
        self._depths = sorted({len(zone) for zone in (*self.routes, *KEPT_HERE)}, reverse=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self.networks)

    @property
    def _value(self) -> tuple[object, ...]:
        return (self.networks, self.routes, self.probe)

    @property
    def upstreams(self) -> Mapping[Upstream, Probe]:
        """Everybody who may be asked, and how to find out whether it answers."""
        found: dict[Upstream, Probe] = {}
        for zone, route in self.routes.items():
            own = Probe(zone, RecordType.SOA if zone else RecordType.NS)
            for upstream in route.upstreams:
                found.setdefault(upstream, self.probe or own)
        return found

    def way(self, key: DomainName, qtype: int, qclass: int) -> Route | Answer:
        """Return who is to be asked, or what to answer because nobody is.

        Args:
            key: a name that lies in no zone of ours, in lower case.
            qtype: any type number.
            qclass: any class number.
        """
        if qclass != RecordClass.IN or qtype == 0 or RecordType.TKEY <= qtype < RecordType.ANY:
            return _REFUSED
        length = len(key)
        for depth in self._depths:
            if depth > length:
                continue
            zone = key[length - depth :]
            if zone in KEPT_HERE and zone not in self.routes:
                return _kept_here(key, zone, qtype)
            route = self.routes.get(zone)
            if route is None:
                continue
            if length == 1 and not zone and qtype not in _OF_TOP_LEVEL:
                # An unknown short name; to deny it for good is nobody's right but the root's, so there is no SOA.
                return _NO_SUCH_LABEL
            return route
        return _NOWHERE


def _kept_here(key: DomainName, zone: DomainName, qtype: int) -> Answer:
    """Answer from a zone that is empty (RFC 6303 section 3), or from that of this machine itself (RFC 6761)."""
    soa = Record(zone, RecordType.SOA, _EMPTY_TTL, SOAData(zone, _NOBODY, 1, 3600, 1200, 604800, _EMPTY_TTL))
    if zone == _LOCALHOST and (data := _LOOPBACK.get(qtype)) is not None:  # type: ignore[call-overload]
        return Answer(answer=(Record(key, qtype, _EMPTY_TTL, data),))
    if key in _LOOPBACK_POINTERS and qtype == RecordType.PTR:
        return Answer(answer=(Record(key, RecordType.PTR, _EMPTY_TTL, NameData(_LOCALHOST)),))
    if key == zone and qtype == RecordType.SOA:
        return Answer(answer=(soa,))
    if key == zone and qtype == RecordType.NS:
        return Answer(answer=(Record(zone, RecordType.NS, _EMPTY_TTL, NameData(zone)),))
    exists = zone in (key, _LOCALHOST) or _is_above_loopback(key)
    return Answer(ReplyCode.NOERROR if exists else ReplyCode.NXDOMAIN, authority=(soa,))


def _is_above_loopback(key: DomainName) -> bool:
    return any(pointer[-len(key) :] == key for pointer in _LOOPBACK_POINTERS)


def master_plan(naming: "Naming") -> Plan | None:
    """Return what a master does, None where the description has no upstreams."""
    forwarding = naming.description.dns.forwarding
    if not forwarding.routes:
        return None
    return Plan((*_LOOPBACK_NETWORKS, *naming.description.networks, *forwarding.networks), forwarding.routes)


def node_plan(naming: "Naming", here: Sequence[Address], masters: Sequence[Upstream] = ()) -> Plan | None:
    """Return what a node does: it asks the masters, for itself alone.

    Args:
        naming: the description.
        here: the node's own addresses.
        masters: who to ask; by default the masters of the description, the nearest to ``here`` first.

    Returns:
        The plan; None where the masters could not say more than the node: there are neither upstreams nor zone files.
    """
    settings = naming.description.dns
    asked = tuple(masters) or tuple(
        Upstream(address)
        for named in naming.master_order(here[0] if here else None)
        for address in named.addresses
        if address not in here
    )
    zones = [route.zone for route in settings.forwarding.routes]
    if settings.zone_files:
        # What stands in those only the masters know, and which zones they hold.
        zones = [(), domain(naming.zone), *(reverse_name(each) for each in naming.reverse_networks), *zones]
    if not asked or not zones:
        return None
    own = [ip_network(address) for address in here]
    routes = [Route(zone, asked) for zone in dict.fromkeys(zones)]
    return Plan((*_LOOPBACK_NETWORKS, *own), routes, Probe(domain(naming.zone), RecordType.SOA))
