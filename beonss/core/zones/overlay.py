"""Static records beside the computed ones, arranged by name for looking them up.

The records come from zone-file text (:mod:`beonss.wire.zonefile`), in the cluster description or in files of a master.
What they mean together with the computed names is in :mod:`beonss.core.zones.overlay_zone`; which of them cannot
stand beside those is in :mod:`beonss.core.zones.overlay_check`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from beonss.core.zones.records import Data, DomainName, NameData, OpaqueData, Record, RecordType, SOAData, folded

#: The label of a wildcard (RFC 4592 section 2.1.1).
WILDCARD: Final = b"*"


@dataclass(frozen=True, slots=True)
class StaticRecord:
    """One record and where it is written.

    Attributes:
        record: its owner is absolute and keeps its case.
        file: name of the file.
        line: from 1.
        option: of a description, ``dns.records``; empty in a zone file.
    """

    record: Record
    file: str = ""
    line: int = 0
    option: str = ""


@dataclass(frozen=True, slots=True)
class StaticNode:
    """What is static at one name; without record sets it exists only because names below it do.

    Attributes:
        sets: record type -> the records, all of one TTL (RFC 2181 section 5.2), in the order of the file.
    """

    sets: Mapping[int, tuple[Record, ...]] = field(default_factory=dict)


class Overlay:
    """All static records. Immutable.

    Args:
        records: their owners may lie anywhere.

    Attributes:
        records: as given, without repetitions.
        nodes: name in lower case -> what is there, empty non-terminals included.
        apexes: the names with a SOA record, in lower case: the zones that are static altogether.
    """

    def __init__(self, records: Iterable[StaticRecord] = ()) -> None:
        kept: dict[tuple[DomainName, int, object], StaticRecord] = {}
        for each in records:
            record = each.record
            kept.setdefault((folded(record.name), record.type, identity(record.data)), each)
        self.records = tuple(kept.values())
        grouped: dict[DomainName, dict[int, list[Record]]] = {}
        for (name, kind, _), each in kept.items():
            grouped.setdefault(name, {}).setdefault(kind, []).append(each.record)
        nodes: dict[DomainName, StaticNode] = {}
        for name, sets in grouped.items():
            nodes[name] = StaticNode({kind: _one_ttl(members) for kind, members in sets.items()})
            above = name[1:]
            while above and above not in nodes and above not in grouped:
                nodes[above] = StaticNode()
                above = above[1:]
        self.nodes: Mapping[DomainName, StaticNode] = nodes
        self.apexes = tuple(sorted(name for name, node in nodes.items() if RecordType.SOA in node.sets))

    def __bool__(self) -> bool:
        return bool(self.records)

    def __add__(self, other: "Overlay") -> "Overlay":
        return Overlay((*self.records, *other.records))

    def ordered(self) -> Iterator[tuple[DomainName, StaticNode]]:
        """Yield the names that have records, in canonical order (RFC 4034 section 6.1), so always the same."""
        yield from sorted(
            ((name, node) for name, node in self.nodes.items() if node.sets), key=lambda each: each[0][::-1]
        )


def identity(data: Data) -> object:
    """Return what makes two records of one type and owner the same: the case of names does not count."""
    match data:
        case NameData():
            return folded(data.target)
        case SOAData():
            return replace(data, primary=folded(data.primary), mailbox=folded(data.mailbox))
        case _:
            return data


def target_of(record: Record) -> DomainName | None:
    """Return the name a record leads to, if its type is one that leads anywhere."""
    match record.data:
        case NameData() as data:
            return data.target
        case OpaqueData() as data:
            return data.target
        case _:
            return None


def _one_ttl(records: list[Record]) -> tuple[Record, ...]:
    ttl = min(record.ttl for record in records)
    return tuple([record if record.ttl == ttl else replace(record, ttl=ttl) for record in records])
