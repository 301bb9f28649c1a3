"""The section ``[dns]`` of a description: static records, files, who may have whole zones, who is asked for others."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol, TypeVar

from beonss.core.names.description import Place, Problem
from beonss.core.names.naming import Naming
from beonss.core.zones.forwarding import PORT, Forwarding, Route, Upstream
from beonss.core.zones.overlay import StaticRecord
from beonss.core.zones.records import DomainName, domain, folded, shown
from beonss.core.zones.transfer_access import Grant, NotifyTarget, Written, ZoneSettings
from beonss.wire import description_shape as shape
from beonss.wire.description_values import read_address, read_network

T = TypeVar("T")

#: 127.0.0.1 and ::1, where masters answer unless told otherwise.
_OURSELVES = frozenset({int(ip_address("127.0.0.1")), int(ip_address("::1"))})


class Placing(Protocol):
    """Says where an option stands."""

    def __call__(self, *path: str | int) -> Place: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Source:
    """Where the section comes from.

    Attributes:
        file: name of the description.
        place: says where an option stands.
        data: the whole description, to find the lines of records in a text of several lines.
    """

    file: str
    place: Placing
    data: bytes


def read_dns(section: shape.Dns, zone: str, ttl: int, source: Source) -> tuple[ZoneSettings, list[Problem]]:
    """Read the section.

    Args:
        section: in its right shape.
        zone: the cluster's zone, which names are relative to.
        ttl: seconds, for records that give none.
        source: where it comes from.

    Returns:
        What it means, and every mistake in it.
    """
    reading = _Reading(source.file, source.place)
    records = reading.records(section.records, domain(zone), ttl, source.data.split(b"\n"))
    grants = tuple(reading.grant(each, at) for at, each in enumerate(section.transfer.allow))
    targets = tuple(reading.target(each, at) for at, each in enumerate(section.transfer.notify))
    settings = ZoneSettings(
        records,
        reading.written(section.zone_files, "dns", "zone_files"),
        reading.written(section.transfer.key_files, "dns", "transfer", "key_files"),
        tuple(grant for grant in grants if grant is not None),
        tuple(target for target in targets if target is not None),
        reading.catalog(section.transfer.catalog, domain(zone)),
        tuple(reading.keys),
        reading.forwarding(section.forward, domain(zone)),
    )
    return settings, reading.problems


class _Reading:
    def __init__(self, file: str, place: Placing) -> None:
        self.file = file
        self.place = place
        self.problems: list[Problem] = []
        self.keys: list[Written] = []

    def at(self, place: Place, text: str) -> None:
        self.problems.append(Problem(self.file, place.line, place.option, text))

    def written(self, texts: list[str], *path: str) -> tuple[Written, ...]:
        places = [self.place(*path, at) for at in range(len(texts))]
        return tuple(Written(text, at.line, at.option) for text, at in zip(texts, places, strict=True))

    def records(self, texts: list[str], origin: DomainName, ttl: int, lines: list[bytes]) -> tuple[StaticRecord, ...]:
        found: list[StaticRecord] = []
        for at, text in enumerate(texts):
            place = self.place("dns", "records", at)
            # TOML drops the line break that follows three opening quotation marks.
            begun = lines[place.line - 1].rstrip() if 0 < place.line <= len(lines) else b""
            first = place.line + (1 if begun.endswith((b"'''", b'"""')) else 0)
            # Only now: dnspython takes a tenth of a second to load, which most descriptions need not wait for.
            from beonss.wire.zonefile import read_zone  # noqa: PLC0415

            records, problems = read_zone(text, self.file, origin=origin, ttl=ttl, first=first, option=place.option)
            found += records
            self.problems += problems
        return tuple(found)

    def grant(self, grant: shape.Grant, at: int) -> Grant | None:
        place = self.place("dns", "transfer", "allow", at)
        if grant.network is None and grant.key is None:
            self.at(place, 'needs a network, a key or both: { network = "192.0.2.0/24", key = "ns1" }')
            return None
        network = None
        if grant.network is not None:
            text = grant.network
            # A single address is the usual case.
            whole = text if "/" in text else f"{text}/{128 if ':' in text else 32}"
            if (network := self.attempt(read_network, whole, place)) is None:
                return None
        return Grant(network, self.key(grant.key, place))

    def target(self, target: shape.Secondary, at: int) -> NotifyTarget | None:
        place = self.place("dns", "transfer", "notify", at)
        address = self.attempt(read_address, target.address, place)
        return None if address is None else NotifyTarget(address, target.port, self.key(target.key, place))

    def key(self, name: str | None, place: Place) -> DomainName | None:
        if name is None:
            return None
        self.keys.append(Written(name, place.line, place.option))
        return self.attempt(read_domain, name, place)

    def catalog(self, name: str | None, zone: DomainName) -> DomainName | None:
        if name is None:
            return None
        place = self.place("dns", "transfer", "catalog")
        apex = self.attempt(read_domain, name, place)
        if apex is not None and (apex[-len(zone) :] == zone or apex[-1:] == (b"arpa",)):
            self.at(place, "must lie outside of the zones it lists; choose a name such as catalog.invalid")
            return None
        return apex

    def forwarding(self, forward: shape.Forward, zone: DomainName) -> Forwarding:
        routes = []
        if forward.upstreams is not None:
            routes.append(Route((), self.upstreams(forward.upstreams, "upstreams")))
        for name, upstreams in forward.zones.items():
            place = self.place("dns", "forward", "zones", name)
            apex = self.attempt(read_domain, name.removesuffix("."), place)
            if apex is None:
                continue
            if apex[-len(zone) :] == zone:
                self.at(place, "lies in the cluster's own zone, which is answered here; delegate it in records instead")
            elif any(route.zone == apex for route in routes):
                self.at(place, f"{shown(apex)} stands there twice, in upper and in lower case; leave one out")
            else:
                routes.append(Route(apex, self.upstreams(upstreams, "zones", name)))
        networks = []
        for at, text in enumerate(forward.networks):
            network = self.attempt(read_network, text, self.place("dns", "forward", "networks", at))
            if network is not None:
                networks.append(network)
        if networks and not routes:
            self.at(self.place("dns", "forward", "networks"), "nobody is asked for anything; add upstreams or zones")
        return Forwarding(tuple(route for route in routes if route.upstreams), tuple(networks))

    def upstreams(self, upstreams: list[shape.Upstream], *path: str) -> tuple[Upstream, ...]:
        found = []
        for at, each in enumerate(upstreams):
            place = self.place("dns", "forward", *path, at)
            address = self.attempt(read_address, each.address, place)
            if address is None:
                continue
            if address.is_loopback and each.port == PORT and int(address) in _OURSELVES:
                self.at(place, f"{address} port {PORT} is where masters answer; name the server that is to be asked")
            elif Upstream(address, each.port) in found:
                self.at(place, f"{Upstream(address, each.port)} stands there twice; leave one out")
            else:
                found.append(Upstream(address, each.port))
        return tuple(found)

    def attempt(self, make: Callable[[str], T], text: str, place: Place) -> T | None:
        try:
            return make(text)
        except ValueError as error:
            self.at(place, str(error))
            return None


def check_forwarding(naming: Naming, source: Source) -> list[Problem]:
    """Return what is wrong with the upstreams of a description as a whole: a master must not ask a master."""
    masters = {address: spec.name for spec in naming.masters for address in spec.addresses}
    problems = []
    for route in naming.description.dns.forwarding.routes:
        path = ("zones", shown(route.zone)) if route.zone else ("upstreams",)
        for at, upstream in enumerate(route.upstreams):
            if upstream.port == PORT and (name := masters.get(upstream.address)) is not None:
                place = source.place("dns", "forward", *path, at)
                text = f"{upstream.address} is the master {name}, which would ask itself; name the server it is to ask"
                problems.append(Problem(source.file, place.line, place.option, text))
    return problems


def read_domain(text: str) -> DomainName:
    """Return a domain name in lower case.

    Raises:
        ValueError: it is none.
    """
    try:
        name = folded(domain(text))
    except (ValueError, UnicodeEncodeError):
        name = ()
    if not name or len(text) > 189:
        raise ValueError(f"{text[:80]!r} is no domain name")
    return name
