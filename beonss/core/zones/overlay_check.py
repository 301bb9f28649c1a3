"""Which static records cannot be served: what no zone may hold, and what clashes with the computed names.

What is computed keeps mapping one way and back: a static record may add a type to a node or host (SSHFP, TXT) and
names below it, but never its address, its pointer or anything that would hide it.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from beonss.core.names.description import Problem
from beonss.core.zones.overlay import WILDCARD, Overlay, StaticNode, StaticRecord, target_of
from beonss.core.zones.overlay_zone import MOST_LINKS, OverlaidZones
from beonss.core.zones.records import (
    DomainName,
    OpaqueData,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    TextData,
    folded,
    shown,
)
from beonss.core.zones.zone import Names, Zones

#: Bytes of a record set: it must fit into one TCP message, whatever else stands there.
MAX_SET = 60_000

_ADDRESSES: Final = frozenset({RecordType.A, RecordType.AAAA})
_SINGLE: Final = frozenset({RecordType.CNAME, RecordType.DNAME, RecordType.SOA})
_HIDING: Final = frozenset({RecordType.NS, RecordType.DNAME, RecordType.SOA})
_LEADING: Final = frozenset({RecordType.CNAME, RecordType.NS, RecordType.MX, RecordType.SRV})
_PERSONAL: Final = frozenset({b"self", b"master"})
_ANYBODY: Final = IPv4Address(0)


def check_overlay(names: Names, overlay: Overlay, *, complete: bool = True) -> list[Problem]:
    """Return everything that is wrong with static records beside the computed names; empty when all can be served.

    Args:
        names: the compiled description.
        overlay: the static records.
        complete: these are all records; False where zone files exist that are not read here, so that a name
            that is missing may stand in one of them.
    """
    return sorted(set(_Check(names, overlay).problems(complete=complete)))


class _Check:
    def __init__(self, names: Names, overlay: Overlay) -> None:
        self.names = names
        self.overlay = overlay
        self.zones = OverlaidZones(names, overlay)
        self.plain = Zones(names)
        self.forward = self.zones.apexes[0]

    def problems(self, *, complete: bool) -> Iterator[Problem]:
        for each in self.overlay.records:
            for text in self._record(each.record):
                yield _problem(each, text)
            if complete:
                for text in self._target(each.record):
                    yield _problem(each, text)

    def _record(self, record: Record) -> Iterator[str]:
        key = folded(record.name)
        apex = self.zones.enclosing(key)
        if apex is None:
            name = shown(record.name)
            yield f"{name} lies in no zone of this cluster; correct the name, or write a SOA record for its zone"
            return
        node = self.overlay.nodes[key]
        yield from self._alone(record, node)
        yield from self._place(record, key, apex, node)
        if key == apex:
            yield from self._at_apex(record, key, node)
        if key not in self.zones.computed:
            yield from self._beside_computed(record, key)
        if record.type == RecordType.NS and key != self.forward:
            yield from self._glue(record, key)

    def _alone(self, record: Record, node: StaticNode) -> Iterator[str]:
        """Show what RFC 1034 section 3.6.2 and RFC 6672 section 2.4 say may not stand at one name."""
        kind, name = record.type, shown(record.name)
        if kind in _SINGLE and len(node.sets[kind]) > 1:
            yield f"{name} has {len(node.sets[kind])} {_type(kind)} records; there can be only one"
        if kind == RecordType.CNAME and len(node.sets) > 1:
            others = ", ".join(_type(each) for each in node.sets if each != kind)
            yield f"{name} is an alias (CNAME) and has {others} as well; an alias has nothing else (RFC 1034)"
        if sum(_size(each) for each in node.sets[kind]) > MAX_SET:
            yield f"the {_type(kind)} records of {name} have more than {MAX_SET} bytes; no message could hold them"

    def _place(self, record: Record, key: DomainName, apex: DomainName, node: StaticNode) -> Iterator[str]:
        """Show what may not stand below a delegation, below a DNAME or at a wildcard."""
        kind, name = record.type, shown(record.name)
        if key[0:1] == (WILDCARD,) and kind in _HIDING:
            yield f"{_type(kind)} at the wildcard {name} has no meaning (RFC 4592); write it for each name"
        for depth in range(len(apex), len(key)):
            above = self.overlay.nodes.get(key[len(key) - depth :])
            if above is None:
                continue
            at = shown(key[len(key) - depth :])
            if RecordType.DNAME in above.sets:
                yield f"{name} lies below {at}, whose DNAME sends everything elsewhere; remove one of them (RFC 6672)"
            elif depth > len(apex) and RecordType.NS in above.sets and kind not in _ADDRESSES:
                yield f"{name} lies in {at}, which its NS records delegate; only addresses as glue may stand here"
        if RecordType.NS in node.sets and key != apex and kind not in {*_ADDRESSES, RecordType.NS, RecordType.DS}:
            yield f"{name} is delegated by its NS records, so its {_type(kind)} belongs elsewhere; remove one of them"

    def _at_apex(self, record: Record, key: DomainName, node: StaticNode) -> Iterator[str]:
        kind, name = record.type, shown(record.name)
        if key in self.zones.computed:
            if kind == RecordType.SOA:
                yield f"the SOA of {name} is computed: [cluster] version is its serial; remove this record"
            elif kind in (RecordType.CNAME, RecordType.DNAME):
                yield f"{_type(kind)} at {name} would hide every name of the cluster; remove it"
        elif kind == RecordType.SOA and RecordType.NS not in node.sets:
            yield f"the zone {name} has no NS record; add one for each of its servers, such as the masters"

    def _beside_computed(self, record: Record, key: DomainName) -> Iterator[str]:
        """Show what clashes with a computed name: its own data, or what would hide it."""
        pointer = self.plain.answer(key, RecordType.PTR, RecordClass.IN, _ANYBODY)
        if pointer.code is not ReplyCode.NOERROR:
            return
        kind, name = record.type, shown(record.name)
        if len(key) == len(self.forward) + 1 and key[1:] == self.forward:
            if key[0] in _PERSONAL:
                yield f"{name} is computed for each who asks and cannot have static records; choose another name"
                return
            found = self.names.find(key[0].decode("ascii"))
            what = "" if found is None else found.name
            if what != key[0].decode("ascii"):
                yield f"{name} is an alias of {what} by the description and can have no records; write them for {what}"
            elif kind in _ADDRESSES:
                yield f"{name} has its addresses by the description; change them there, so that they lead back to it"
            elif kind == RecordType.CNAME or kind in _HIDING:
                yield f"{_type(kind)} would hide {name}, which the description makes; choose another name"
            return
        if pointer.answer:
            to = target_of(pointer.answer[0]) or ()
            if kind in (RecordType.PTR, RecordType.CNAME) or kind in _HIDING:
                yield f"{name} leads to {shown(to)} by the description; remove this {_type(kind)} record"
        elif kind in _HIDING:
            yield f"{_type(kind)} at {name} would hide addresses of the description that lie in it; remove it"

    def _glue(self, record: Record, key: DomainName) -> Iterator[str]:
        target = target_of(record) or ()
        within = folded(target)[-len(key) :] == key
        if within and key not in self.zones.computed and not self.zones.glue((record,)):
            server = shown(target)
            yield f"{server} lies in the zone it is to serve, and has no address here; add an A or AAAA record as glue"

    # What needs all records

    def _target(self, record: Record) -> Iterator[str]:
        """Show names of the cluster that are misspelt, aliases where RFC 2181 section 10.3 allows none, and circles."""
        target = target_of(record)
        if target is None or record.type not in _LEADING:
            return
        key = folded(target)
        if record.type == RecordType.CNAME:
            yield from self._circle(record)
        if self.zones.enclosing(key) != self.forward:
            return
        answer = self.zones.answer(target, RecordType.A, RecordClass.IN, _ANYBODY)
        if not answer.authoritative:
            return
        if answer.code is ReplyCode.NXDOMAIN and not answer.answer:
            name = shown(record.name)
            yield f"{name} leads to {shown(target)}, which does not exist; correct it, or describe that name"
        elif record.type != RecordType.CNAME and answer.answer and answer.answer[0].type == RecordType.CNAME:
            canonical = target_of(answer.answer[0]) or ()
            yield f"{shown(target)} is an alias, which {_type(record.type)} may not lead to; write {shown(canonical)}"

    def _circle(self, record: Record) -> Iterator[str]:
        seen = {folded(record.name)}
        following = target_of(record)
        while following is not None and len(seen) <= MOST_LINKS:
            key = folded(following)
            if key in seen:
                yield f"{shown(record.name)} leads back to {shown(following)} in a circle of aliases; break it"
                return
            seen.add(key)
            node = self.overlay.nodes.get(key)
            alias = node.sets.get(RecordType.CNAME) if node is not None else None
            following = target_of(alias[0]) if alias else None
        if following is not None:
            yield f"{shown(record.name)} begins a chain of more than {MOST_LINKS} aliases; shorten it"


def _problem(each: StaticRecord, text: str) -> Problem:
    return Problem(each.file, each.line, each.option, text)


def _type(number: int) -> str:
    return RecordType(number).name if number in RecordType.__members__.values() else f"TYPE{number}"


def _size(record: Record) -> int:
    match record.data:
        case OpaqueData() as data:
            return len(data.data) + 12
        case TextData() as data:
            return sum(len(each) + 1 for each in data.strings) + 12
        case _:
            return 270
