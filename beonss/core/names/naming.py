"""The compiled description: names and addresses computed both ways, with nothing stored per node."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Literal

from beonss.core.names.description import Description, HostEntry, Network, Settings, digest
from beonss.core.names.nameindex import Layout, NameIndex, Shape
from beonss.core.names.numbering import Interface, Rule
from beonss.core.names.patterns import NODE, Address, AddressPattern, NamePattern
from beonss.core.names.radix import MixedRadix
from beonss.core.names.ranges import Block, SpanIndex

_NOTHING: Mapping[str, int] = MappingProxyType({})
_MAC = re.compile(r"[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Named:
    """One name with its addresses.

    A node has one for each of its networks that has names of its own (``r01n07``, ``r01n07-ib``); all of
    them carry its number.

    Attributes:
        name: canonical short name, lower case, without the zone.
        aliases: further short names of the same addresses.
        addresses: in the order of the description.
        kind: a node, a host that is none, or a host derived from coordinates.
        number: the running number of a node, from 0 over all rules; else None.
        rule: the pattern or the host's entry that says so.
        line: where in the description.
        mac: lower case with colons, or None.
        coordinates: of a node or derived host.
        network: label of the network the name belongs to; empty for the node's own name.
    """

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[Address, ...]
    kind: Literal["node", "host", "derived"]
    number: int | None
    rule: str
    line: int
    mac: str | None = None
    coordinates: Mapping[str, int] = field(default_factory=lambda: _NOTHING, hash=False)
    network: str = ""


@dataclass(frozen=True, slots=True)
class MasterSpec:
    """A master: its canonical short name, its addresses and the TCP port of its sync listener."""

    name: str
    addresses: tuple[Address, ...]
    port: int


@dataclass(frozen=True, slots=True)
class AddressSpan:
    """The addresses one pattern gives one block."""

    rule: Rule
    block: Block
    interface: Interface
    which: int
    numbers: MixedRadix

    @property
    def pattern(self) -> AddressPattern:
        """The pattern."""
        return self.interface.addresses[self.which]

    def index(self, number: int) -> int | None:
        """Return the index in the rule of the member with this address, or None."""
        digits = self.numbers.decode(number)
        if digits is None:
            return None
        return self.block.index(dict(zip(self.pattern.terms, digits, strict=True)))


class NodeNames:
    """The canonical names of all nodes, in the order of their numbers, made while one iterates."""

    __slots__ = ("_naming",)

    def __init__(self, naming: "Naming") -> None:
        self._naming = naming

    def __iter__(self) -> Iterator[str]:
        return (named.name for named in self._naming.nodes())

    def __len__(self) -> int:
        return self._naming.node_count

    def __contains__(self, name: object) -> bool:
        named = self._naming.find(name) if isinstance(name, str) else None
        return named is not None and named.kind == "node" and not named.network


class Naming:
    """The names of a cluster.

    Every lookup costs a few dictionary and bisection steps that do not depend on the number of nodes.

    Attributes:
        description: what it was compiled from.
        source: name of the file it came from.
        cluster: title of the cluster.
        zone: lower case, no final dot.
        version: the SOA serial.
        ttl: seconds.
        digest: SHA-256 of the description's meaning, hex.
        settings: what holds for the whole cluster.
        rules: the numbering rules, nodes first.
        node_count: how many nodes there are.
        reverse_networks: the reverse zones, each on an octet or nibble boundary.
    """

    def __init__(self, description: Description, rules: tuple[Rule, ...]) -> None:
        self.description = description
        self.source = description.source
        self.cluster = description.cluster
        self.zone = description.zone
        self.version = description.version
        self.ttl = description.ttl
        self.digest = digest(description)
        self.settings: Settings = description.settings
        self.rules = rules
        self.reverse_networks: tuple[Network, ...] = description.reverse
        self.node_count = sum(rule.size for rule in rules if rule.kind == "node")
        self._suffix = "." + self.zone
        self._patterns = NameIndex(rules)
        self._numbers = SpanIndex(
            (rule.start, rule.start + rule.size - 1, rule) for rule in rules if rule.kind == "node"
        )
        spans = [
            AddressSpan(rule, block, interface, which, pattern.over(block))
            for rule in rules
            for interface in rule.interfaces
            for which, pattern in enumerate(interface.addresses)
            for block in rule.spread(pattern)
        ]
        self.spans = {
            version: SpanIndex((s.numbers.low, s.numbers.high, s) for s in spans if s.pattern.version == version)
            for version in (4, 6)
        }
        self._hosts: dict[str, Named] = {}
        self._host_addresses: dict[Address, Named] = {}
        self._macs: dict[str, Named] = {}
        for entry in description.hosts:
            self._add(entry)
        self._host_spans = {
            version: SpanIndex(
                (int(address), int(address), named)
                for address, named in self._host_addresses.items()
                if address.version == version
            )
            for version in (4, 6)
        }

    def _add(self, entry: HostEntry) -> None:
        rule, line = f"hosts.{entry.name}", entry.place.line
        named = Named(entry.name, entry.aliases, entry.addresses, "host", None, rule, line, entry.mac)
        for name in (entry.name, *entry.aliases):
            self._hosts.setdefault(name, named)
        for address in entry.addresses:
            self._host_addresses.setdefault(address, named)
        if entry.mac is not None:
            self._macs.setdefault(entry.mac, named)

    @cached_property
    def masters(self) -> tuple[MasterSpec, ...]:
        """The masters in order of preference."""
        found = ((self.find(entry.name), entry) for entry in self.description.masters)
        return tuple(MasterSpec(named.name, named.addresses, entry.port) for named, entry in found if named)

    @property
    def shapes(self) -> Mapping[Shape, Sequence[Layout]]:
        """All names that rules make, by their shape; see :mod:`beonss.core.names.nameindex`."""
        return self._patterns.shapes

    def short(self, name: str) -> str | None:
        """Return the lower-case single label of a name, or None if it is not in the zone.

        Takes a short name or one with the zone, with or without a final dot, in any case.
        """
        if not name.isascii() or len(name) > 255:
            return None
        label = name.lower().removesuffix(".").removesuffix(self._suffix)
        return label if label and "." not in label else None

    def find(self, name: str) -> Named | None:
        """Return what a short name, alias or name in the zone stands for, or None.

        Only the canonical spelling of a number is a name (``n5``, not ``n05``). ``master`` and ``self``
        depend on who asks: see :meth:`master_order` and :meth:`self_name`.
        """
        label = self.short(name)
        if label is None:
            return None
        host = self._hosts.get(label)
        return host if host is not None else self.find_by_rule(label)

    def find_by_rule(self, label: str) -> Named | None:
        """Return the node or derived host with this lower-case single label, or None; hosts do not count."""
        hit = self._patterns.find(label)
        return None if hit is None else self._member(*hit)

    def find_address(self, address: Address) -> Named | None:
        """Return what has this address, or None."""
        host = self._host_addresses.get(address)
        return host if host is not None else self.find_address_by_rule(address)

    def find_address_by_rule(self, address: Address) -> Named | None:
        """Return the node or derived host with this address, or None; hosts do not count."""
        number = int(address)
        for span in self.spans[address.version].overlapping(number, number):
            index = span.index(number)
            if index is not None:
                return self._member(span.rule, span.interface, index)
        return None

    def find_number(self, number: int) -> Named | None:
        """Return the node with this running number under its own name, or None."""
        for rule in self._numbers.overlapping(number, number):
            return self._member(rule, rule.interfaces[0], number - rule.start)
        return None

    def find_mac(self, mac: str) -> Named | None:
        """Return the host with this hardware address, in any usual spelling, or None."""
        if not _MAC.fullmatch(mac):
            return None
        return self._macs.get(":".join(part.lower().zfill(2) for part in re.split("[:-]", mac)))

    def networks_of(self, number: int) -> tuple[Named, ...]:
        """Return a node's names on all its networks, its own name first; empty if there is no such node."""
        for rule in self._numbers.overlapping(number, number):
            return tuple(self._member(rule, interface, number - rule.start) for interface in rule.interfaces)
        return ()

    def _member(self, rule: Rule, interface: Interface, index: int) -> Named:
        values = rule.values(index)
        number = values[NODE]
        addresses = tuple(pattern.format(values) for pattern in interface.addresses)
        name = interface.name.format(values)
        aliases = tuple(alias.format(values) for alias in interface.aliases)
        del values[NODE]
        return Named(
            name,
            aliases,
            addresses,
            rule.kind,
            number if rule.kind == "node" else None,
            interface.name.text,
            interface.line,
            None,
            values,
            interface.label,
        )

    def occupied(self, low: Address, high: Address) -> bool:
        """Say whether anything has an address from ``low`` to ``high``, both included and of one family."""
        first, last = int(low), int(high)
        for _ in self._host_spans[low.version].overlapping(first, last):
            return True
        for span in self.spans[low.version].overlapping(first, last):
            following = span.numbers.successor(first)
            if following is not None and following <= last:
                return True
        return False

    def self_name(self, asker: Address) -> Named | None:
        """Return what ``self`` means to this client."""
        return self.find_address(asker)

    def master_order(self, asker: Address | None) -> tuple[Named, ...]:
        """Return the masters as a client should try them.

        The client itself comes first, then those with an address in the closest network they share,
        otherwise the order of preference.
        """
        named = [each for each in (self.find(spec.name) for spec in self.masters) if each is not None]
        if asker is None:
            return tuple(named)
        return tuple(sorted(named, key=lambda each: -max(self._nearness(a, asker) for a in each.addresses)))

    def _nearness(self, address: Address, asker: Address) -> int:
        """Return the prefix length of the closest network of the description that holds both addresses."""
        if address == asker:
            return 129
        return max((n.prefixlen for n in self.description.networks if address in n and asker in n), default=-1)

    def names(self) -> Iterator[Named]:
        """Yield everything that has a name: hosts, derived hosts, then nodes with all their networks."""
        yield from self.hosts()
        for rule in sorted(self.rules, key=lambda rule: rule.kind):
            for index in range(rule.size):
                for interface in rule.interfaces:
                    yield self._member(rule, interface, index)

    def hosts(self) -> Iterator[Named]:
        """Yield the hosts that are no nodes and not derived, in the order of the file."""
        for entry in self.description.hosts:
            yield self._hosts[entry.name]

    def nodes(self) -> Iterator[Named]:
        """Yield every node under its own name, in the order of the running numbers."""
        for rule in self.rules:
            if rule.kind == "node":
                for index in range(rule.size):
                    yield self._member(rule, rule.interfaces[0], index)

    def netgroups(self) -> Mapping[str, NodeNames]:
        """Return the netgroups: ``cluster`` is the names of all nodes."""
        return {"cluster": NodeNames(self)}

    def origin(self, named: Named) -> tuple[Rule, Interface, int] | None:
        """Return which rule, which of its networks and which of its members a node or derived host is."""
        return self._patterns.find(named.name)

    def patterns(self) -> Iterator[tuple[Rule, Interface, NamePattern]]:
        """Yield every name pattern with its rule and network."""
        for rule in self.rules:
            for interface in rule.interfaces:
                for pattern in (interface.name, *interface.aliases):
                    yield rule, interface, pattern


__all__ = ["Address", "IPv4Address", "IPv6Address", "MasterSpec", "Named", "Naming", "NodeNames"]
