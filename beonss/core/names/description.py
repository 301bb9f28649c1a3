"""What a cluster description says, as values; how they were spelled in the file is no longer seen here.

:mod:`beonss.wire.description` makes these from TOML, :mod:`beonss.core.names.naming` compiles them, and
:mod:`beonss.core.names.proof` refuses what does not map one way and back.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from beonss.core.names.numbering import Interface
from beonss.core.names.patterns import Address
from beonss.core.names.ranges import RangeSet
from beonss.core.zones.transfer_access import ZoneSettings
from beonss.errors import ConfigurationError

Network = IPv4Network | IPv6Network

#: TCP port of a master's sync listener where the description names none.
SYNC_PORT = 7653
#: More problems than this are not read by anybody.
MAX_PROBLEMS = 100
#: Names whose meaning depends on who asks (the last two are Scyld's spelling of the first two), or that every
#: machine has for itself.
RESERVED_NAMES = frozenset({"master", "self", "localhost", "n-1", "n-2"})


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a description.

    Attributes:
        file: its name as given by the caller.
        line: from 1; 0 where the mistake is that something is not there at all.
        option: which one (``nodes[0].ranges``); empty for a mistake of syntax.
        text: what is wrong and what to do.
    """

    file: str
    line: int
    option: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.option}: {self.text}" if self.option else f"{place}: {self.text}"


class DescriptionError(ConfigurationError):
    """A description that cannot be used.

    Attributes:
        problems: every mistake found, in the order of the file; never empty. Of very many, the first
            ``MAX_PROBLEMS`` and one that says so.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = sorted(set(problems))
        if len(found) > MAX_PROBLEMS:
            text = f"and {len(found) - MAX_PROBLEMS} more problems; correct these first"
            found = [*found[:MAX_PROBLEMS], Problem(found[0].file, found[MAX_PROBLEMS].line, "", text)]
        self.problems: tuple[Problem, ...] = tuple(found)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file something is said."""

    line: int
    option: str


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A machine that is no node."""

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[Address, ...]
    mac: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class RangesEntry:
    """One product of ranges: coordinate -> (its values, the width its list was padded to)."""

    lists: tuple[tuple[str, RangeSet, int], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A numbering rule as written."""

    kind: Literal["node", "derived"]
    interfaces: tuple[Interface, ...]
    ranges: tuple[RangesEntry, ...]
    count: int | None
    place: Place


@dataclass(frozen=True, slots=True)
class ReservedEntry:
    """Addresses that nothing described may have."""

    name: str
    low: Address
    high: Address
    place: Place


@dataclass(frozen=True, slots=True)
class MasterEntry:
    """A master by its name, which is that of a host or a node."""

    name: str
    port: int
    place: Place


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for the whole cluster beside its names.

    Attributes:
        node_networks: where anonymous nodes may connect from (loopback always may).
        uid_floor: users with lower numbers are never served, delivered or imported.
        gid_floor: likewise for groups.
        hash_scheme: what new passwords are hashed with.
        hash_cost: rounds for sha512crypt, log2 of the work for yescrypt.
        min_password_length: in characters.
    """

    node_networks: tuple[Network, ...]
    uid_floor: int = 1000
    gid_floor: int = 1000
    hash_scheme: Literal["sha512crypt", "yescrypt"] = "sha512crypt"
    hash_cost: int = 100_000
    min_password_length: int = 8


@dataclass(frozen=True, slots=True)
class Description:
    """A whole cluster description.

    Attributes:
        source: name of the file.
        cluster: its title.
        zone: lower case, no final dot.
        version: the SOA serial.
        ttl: seconds.
        networks: all the address space of the cluster.
        reverse: the reverse zones it answers for, each on an octet (IPv4) or nibble (IPv6) boundary.
        places: where ``networks`` is said, and ``reverse`` unless it only follows from the networks.
        dns: static records, and who may have whole zones.
    """

    source: str
    cluster: str
    zone: str
    version: int
    ttl: int
    networks: tuple[Network, ...]
    reverse: tuple[Network, ...]
    masters: tuple[MasterEntry, ...]
    reserved: tuple[ReservedEntry, ...]
    hosts: tuple[HostEntry, ...]
    rules: tuple[RuleEntry, ...]
    settings: Settings
    places: Mapping[str, Place]
    dns: ZoneSettings


def digest(description: Description) -> str:
    """Return the SHA-256, in hex, of what a description means: comments, spacing and file name do not count."""
    document = {
        "cluster": [description.cluster, description.zone, description.version, description.ttl],
        "networks": [str(network) for network in description.networks],
        "reverse": [str(network) for network in description.reverse],
        "masters": [[master.name, master.port] for master in description.masters],
        "reserved": sorted([entry.name, str(entry.low), str(entry.high)] for entry in description.reserved),
        "hosts": sorted(
            [host.name, list(host.aliases), [str(address) for address in host.addresses], host.mac or ""]
            for host in description.hosts
        ),
        "rules": [_rule_document(rule) for rule in description.rules],
        "settings": [
            [str(network) for network in description.settings.node_networks],
            description.settings.uid_floor,
            description.settings.gid_floor,
            description.settings.hash_scheme,
            description.settings.hash_cost,
            description.settings.min_password_length,
        ],
    }
    if dns := description.dns.document():
        document["dns"] = dns
    text = json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _rule_document(rule: RuleEntry) -> list[object]:
    interfaces = [
        [
            interface.label,
            interface.name.text,
            [alias.text for alias in interface.aliases],
            [pattern.text for pattern in interface.addresses],
        ]
        for interface in rule.interfaces
    ]
    ranges = [sorted([name, str(values), width] for name, values, width in each.lists) for each in rule.ranges]
    return [rule.kind, interfaces, ranges, rule.count]
