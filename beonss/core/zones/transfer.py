"""Whole zones as streams of records: for transfers (RFC 5936) and for what changed between two versions (RFC 1995).

A zone is a sequence of parts: its servers, its hosts, what each rule makes, its static records. A part has a key that
says all that its records depend on, so two versions of a zone are compared without counting out what both have; the
records themselves are made while one iterates, in an order that never changes. Memory stays flat at any size.

``master`` is transferred as all masters in their order of preference. ``self`` cannot be: secondaries do not know it.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Final

from beonss.core.names.description import Network
from beonss.core.names.naming import AddressSpan, Naming
from beonss.core.names.numbering import Interface, Rule
from beonss.core.zones.overlay import Overlay, StaticNode, StaticRecord, identity
from beonss.core.zones.overlay_zone import OverlaidZones
from beonss.core.zones.records import (
    MAXIMUM_TTL,
    Address,
    AddressData,
    DomainName,
    NameData,
    Record,
    RecordType,
    SOAData,
    TextData,
    domain,
    folded,
    shown,
)

#: Records in the parts that differ, beyond which a whole zone is sent instead of the difference.
MOST_DIFFERENT: Final = 50_000

_MASTER: Final = b"master"
_OF_APEX: Final = frozenset({RecordType.SOA, RecordType.NS, RecordType.DS})


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a zone.

    Attributes:
        key: a digest; two parts of one key have the same records.
        size: at most how many records there are.
        records: makes them.
    """

    key: str
    size: int
    records: Callable[[], Iterator[Record]]


class Edition:
    """The zones of a master at one time: what it answers, and what it transfers.

    Args:
        naming: the compiled description.
        overlay: the static records.
        serials: apex -> serial, where it is not the zone's own.

    Attributes:
        zones: what is answered.
    """

    def __init__(self, naming: Naming, overlay: Overlay, serials: dict[DomainName, int] | None = None) -> None:
        self.naming = naming
        self.overlay = overlay
        self.zones = OverlaidZones(naming, overlay, serials)
        self._ttl = min(max(naming.ttl, 0), MAXIMUM_TTL)
        self._zone = domain(naming.zone)
        reverse = self.zones.apexes[1 : 1 + len(naming.reverse_networks)]
        self._networks: dict[DomainName, Network] = dict(zip(reverse, naming.reverse_networks, strict=False))

    def serial(self, apex: DomainName) -> int:
        """Return the serial of a zone of ours."""
        data = self.soa(apex).data
        assert isinstance(data, SOAData)
        return data.serial

    def soa(self, apex: DomainName) -> Record:
        """Return the SOA record of a zone of ours."""
        soa = self.zones.soa(apex)
        assert soa is not None
        return soa

    def with_serials(self, serials: dict[DomainName, int]) -> "Edition":
        """Return the same zones with other serials."""
        return Edition(self.naming, self.overlay, serials)

    def records(self, apex: DomainName) -> Iterator[Record]:
        """Yield all records of a zone but its SOA."""
        return chain.from_iterable(part.records() for part in self.parts(apex))

    def digest(self, apex: DomainName) -> str:
        """Return the SHA-256, in hex, of what a zone holds; the serial does not count."""
        soa = self.soa(apex)
        assert isinstance(soa.data, SOAData)
        content = [repr(replace(soa, data=replace(soa.data, serial=0)))]
        content += sorted(part.key for part in self.parts(apex))
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def parts(self, apex: DomainName) -> list[Part]:
        """Return the parts of a zone of ours, always in the same order.

        Args:
            apex: in lower case.
        """
        servers = self.zones.servers(apex)
        parts = [_listed("servers", servers)]
        if apex == self._zone:
            parts += self._forward()
        elif (network := self._networks.get(apex)) is not None:
            parts += self._reverse(network)
        parts.append(_listed("static", tuple(self._static.get(apex, ()))))
        parts.append(_listed("delegated", tuple(self._delegated(apex))))
        return parts

    # --- the forward zone -----------------------------------------------------------------------------------------

    def _forward(self) -> Iterator[Part]:
        naming = self.naming
        masters = [address for named in naming.master_order(None) for address in named.addresses]
        owner = (_MASTER, *self._zone)
        yield _listed("master", tuple(_address(owner, 0, address) for address in dict.fromkeys(masters)))
        hosts = [named for named in naming.hosts() if named.addresses]
        found = (self._named(named.name, named.aliases, named.addresses) for named in hosts)
        yield _listed("hosts", tuple(chain.from_iterable(found)))
        for rule in naming.rules:
            each = sum(len(i.addresses) + len(i.aliases) for i in rule.interfaces)
            key = _key("rule", naming.zone, self._ttl, _rule_key(rule))
            yield Part(key, rule.size * each, partial(self._members, rule))

    def _members(self, rule: Rule) -> Iterator[Record]:
        for index in range(rule.size):
            values = rule.values(index)
            for interface in rule.interfaces:
                aliases = tuple(alias.format(values) for alias in interface.aliases)
                addresses = tuple(pattern.format(values) for pattern in interface.addresses)
                yield from self._named(interface.name.format(values), aliases, addresses)

    def _named(self, name: str, aliases: tuple[str, ...], addresses: tuple[Address, ...]) -> Iterator[Record]:
        owner = self._owner(name)
        for address in addresses:
            yield _address(owner, self._ttl, address)
        for alias in aliases:
            yield Record(self._owner(alias), RecordType.CNAME, self._ttl, NameData(owner))

    def _owner(self, name: str) -> DomainName:
        return (name.encode("ascii"), *self._zone)

    # --- reverse zones --------------------------------------------------------------------------------------------

    def _reverse(self, network: Network) -> Iterator[Part]:
        naming = self.naming
        hosts = [(address, named.name) for named in naming.hosts() for address in named.addresses]
        yield _listed("hosts", tuple(self._pointer(address, name) for address, name in hosts if address in network))
        spans = naming.spans[network.version].overlapping(int(network[0]), int(network[-1]))
        for span in sorted(spans, key=_span_key):
            key = _key("span", network, naming.zone, self._ttl, _span_key(span))
            yield Part(key, span.block.size, partial(self._pointers, span, network))

    def _pointers(self, span: AddressSpan, network: Network) -> Iterator[Record]:
        kind = type(network[0])
        number, high = span.numbers.successor(int(network[0])), int(network[-1])
        while number is not None and number <= high:
            index = span.index(number)
            if index is not None:
                yield self._pointer(kind(number), span.interface.name.format(span.rule.values(index)))
            number = span.numbers.successor(number + 1)

    def _pointer(self, address: Address, name: str) -> Record:
        return Record(domain(address.reverse_pointer), RecordType.PTR, self._ttl, NameData(self._owner(name)))

    # --- static records and delegations -----------------------------------------------------------------------------

    @cached_property
    def _static(self) -> dict[DomainName, list[Record]]:
        """The static records of each zone, but those at its apex that every zone has."""
        found: dict[DomainName, list[Record]] = {}
        for name, node in self.overlay.ordered():
            apex = self.zones.enclosing(name)
            for kind, records in node.sets.items():
                if apex is not None and not (name == apex and kind in _OF_APEX):
                    found.setdefault(apex, []).extend(records)
        return found

    def _delegated(self, apex: DomainName) -> Iterator[Record]:
        """Yield the delegations to other zones of ours that lie in this one, with their glue."""
        for name in self.zones.apexes:
            if name == apex or self.zones.enclosing(name[1:]) != apex:
                continue
            servers = self.zones.servers(name)
            yield from servers
            yield from self.overlay.nodes.get(name, StaticNode()).sets.get(RecordType.DS, ())
            yield from (record for record in self.zones.glue(servers) if folded(record.name)[-len(name) :] == name)


def difference(older: Edition, newer: Edition, apex: DomainName) -> tuple[list[Record], list[Record]] | None:
    """Return the records of a zone that went and those that came, None if it is better sent as a whole.

    Args:
        older: has the zone.
        newer: has it too.
        apex: of the zone, in lower case.
    """
    before = {part.key: part for part in older.parts(apex)}
    after = {part.key: part for part in newer.parts(apex)}
    gone = [part for key, part in before.items() if key not in after]
    come = [part for key, part in after.items() if key not in before]
    if sum(part.size for part in (*gone, *come)) > MOST_DIFFERENT:
        return None
    old = {_record_identity(record): record for part in gone for record in part.records()}
    new = {_record_identity(record): record for part in come for record in part.records()}
    removed = [record for key, record in old.items() if key not in new]
    added = [record for key, record in new.items() if key not in old]
    return removed, added


def catalog(apex: DomainName, members: tuple[DomainName, ...], serial: int) -> Overlay:
    """Return a catalog zone (RFC 9432): it lists zones, so that secondaries configure themselves.

    Args:
        apex: of the catalog zone.
        members: the apexes of the zones to list.
        serial: of the catalog zone.
    """
    invalid = (b"invalid",)
    records = [
        Record(apex, RecordType.SOA, 0, SOAData(invalid, invalid, serial % 2**32, 60, 60, 1209600, 0)),
        Record(apex, RecordType.NS, 0, NameData(invalid)),
        Record((b"version", *apex), RecordType.TXT, 0, TextData((b"2",))),
    ]
    for member in members:
        # The label only has to be unique and to stay the same (RFC 9432 section 4.1).
        label = hashlib.sha256(shown(member).encode()).hexdigest()[:32].encode()
        records.append(Record((label, b"zones", *apex), RecordType.PTR, 0, NameData(member)))
    return Overlay(StaticRecord(record) for record in records)


def _listed(kind: str, records: tuple[Record, ...]) -> Part:
    return Part(_key(kind, records), len(records), lambda: iter(records))


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _record_identity(record: Record) -> tuple[object, ...]:
    return folded(record.name), record.type, record.ttl, identity(record.data)


def _address(owner: DomainName, ttl: int, address: Address) -> Record:
    return Record(owner, RecordType.A if address.version == 4 else RecordType.AAAA, ttl, AddressData(address))


def _rule_key(rule: Rule) -> tuple[object, ...]:
    """Return all that the members of a rule depend on; where it is written does not count."""
    interfaces = [_interface_key(interface) for interface in rule.interfaces]
    blocks = [(block.coordinates, [str(each) for each in block.sets], block.first) for block in rule.blocks]
    return rule.start, interfaces, blocks


def _interface_key(interface: Interface) -> tuple[object, ...]:
    return interface.name, interface.aliases, interface.addresses


def _span_key(span: AddressSpan) -> tuple[object, ...]:
    block = span.block
    sets = (block.coordinates, [str(each) for each in block.sets], block.first)
    return span.numbers.low, span.numbers.high, span.rule.start, repr(span.interface.name), repr(span.pattern), sets
