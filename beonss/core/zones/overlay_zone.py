"""What zones answer that have static records beside, or in place of, the computed ones.

The rules are those of RFC 1034 section 4.3.2 with wildcards (RFC 4592), DNAME (RFC 6672) and the RCODE of the last
name of a chain (RFC 6604). A zone that is static altogether begins at its SOA record; one that lies inside of another
zone of ours is delegated from there by its own NS records.

Where both have something at one name, static record sets come first and the computed ones are added:
:mod:`beonss.core.zones.overlay_check` sees to it that they are of different types. Names that no static record
touches are answered by :class:`beonss.core.zones.zone.Zones` alone (:meth:`OverlaidZones.is_plain`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from beonss.core.zones.overlay import WILDCARD, Overlay, StaticNode, target_of
from beonss.core.zones.records import (
    Address,
    DomainName,
    NameData,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    SOAData,
    folded,
)
from beonss.core.zones.zone import FAILED, Answer, Apex, Names, Zones

if TYPE_CHECKING:
    from beonss.core.names.naming import Naming

#: Links of a chain of CNAME and DNAME records that are followed.
MOST_LINKS: Final = 16
_LONGEST_NAME = 255
_NOWHERE: Final = IPv4Address(0)
# Types that are questions about a message or a zone and never data.
_QUESTIONS: Final = frozenset({RecordType.OPT, *range(RecordType.TKEY, RecordType.ANY)})
# A master knows; where there is a way to one, it is asked.
_UNCERTAIN: Final = replace(FAILED, ours=False)
_LEADING: Final = frozenset({RecordType.NS, RecordType.MX, RecordType.SRV})


def described_zones(naming: "Naming") -> "OverlaidZones":
    """Return the zones of a description alone, without the zone files of a master: what a node knows."""
    settings = naming.description.dns
    return (PartialZones if settings.zone_files else OverlaidZones)(naming, Overlay(settings.records))


@dataclass(frozen=True, slots=True)
class _Found:
    """What one name of a chain gives: an answer without additional records, and the name to go on with, if any."""

    answer: Answer
    following: DomainName | None = None


class OverlaidZones(Zones):
    """The computed zones with static records in them, and the static zones beside them.

    Immutable after construction.

    Args:
        names: the compiled description.
        overlay: the static records, which :mod:`beonss.core.zones.overlay_check` has passed.
        serials: apex in lower case -> the serial of its zone, where it is not the description's version or what
            the SOA record of a static zone says.
    """

    def __init__(self, names: Names, overlay: Overlay, serials: Mapping[DomainName, int] | None = None) -> None:
        super().__init__(names)
        self.overlay = overlay
        #: The apexes of zones with computed names.
        self.computed: frozenset[DomainName] = frozenset(self._apexes)
        for name, node in overlay.nodes.items():
            if name in self.computed:
                servers = (*self._apexes[name].servers, *node.sets.get(RecordType.NS, ()))
                self._apexes[name] = replace(self._apexes[name], servers=_distinct(servers))
            elif RecordType.SOA in node.sets:
                self._apexes[name] = _static_apex(name, node)
        for name, serial in (serials or {}).items():
            if (apex := self._apexes.get(name)) is not None:
                self._apexes[name] = _with_serial(apex, serial)
        self._depths = sorted({len(name) for name in self._apexes}, reverse=True)

    @property
    def all_plain(self) -> bool:
        """Whether everything here is computed: there is no static record at all."""
        return not self.overlay

    def is_plain(self, key: DomainName) -> bool:
        """Say whether no static record has any influence on what a name answers."""
        apex = self._enclosing(key)
        if apex is None:
            return True
        if apex.name not in self.computed:
            return False
        if not self.overlay:
            return True
        nodes = self.overlay.nodes
        top, size = len(apex.name), len(key)
        if size == top:
            return not (key in nodes and nodes[key].sets)
        if (WILDCARD, *apex.name) in nodes:
            return False
        return not any(key[size - depth :] in nodes for depth in range(top + 1, size + 1))

    def answer(self, qname: DomainName, qtype: int, qclass: int, asker: Address) -> Answer:
        """Answer one question; see :meth:`beonss.core.zones.zone.Zones.answer`."""
        if not self.overlay:
            return super().answer(qname, qtype, qclass, asker)
        key = folded(qname)
        if qtype in _QUESTIONS or qclass not in (RecordClass.IN, RecordClass.ANY) or self.is_plain(key):
            return super().answer(qname, qtype, qclass, asker)
        answer = self._resolved(qname, qtype, asker)
        if qclass == RecordClass.ANY:
            answer = replace(answer, authoritative=False)
        return answer

    def soa(self, name: DomainName) -> Record | None:
        """Return the SOA record of the zone with this apex, in lower case, or None if it is not ours."""
        apex = self._apexes.get(name)
        return None if apex is None else apex.soa

    def enclosing(self, key: DomainName) -> DomainName | None:
        """Return the apex of the closest zone of ours around a name in lower case, or None."""
        apex = self._enclosing(key)
        return None if apex is None else apex.name

    def servers(self, name: DomainName) -> tuple[Record, ...]:
        """Return the NS records of the zone with this apex."""
        return self._apexes[name].servers

    def addresses(self, target: DomainName) -> tuple[Record, ...]:
        """Return the address records of a name that lies in a zone of ours and not in a delegated one."""
        key = folded(target)
        apex = self._enclosing(key)
        if apex is None:
            return ()
        records: list[Record] = []
        for qtype in (RecordType.A, RecordType.AAAA):
            found = self._look(apex, target, key, qtype, _NOWHERE)
            if found.following is None and found.answer.authoritative and not found.answer.personal:
                records += [each for each in found.answer.answer if each.type == qtype and folded(each.name) == key]
        return tuple(records)

    def glue(self, servers: Iterable[Record]) -> tuple[Record, ...]:
        """Return the addresses of name servers, also those that lie in the zone which is delegated to them."""
        records: list[Record] = []
        for target in _targets(servers):
            node = self.overlay.nodes.get(folded(target))
            held = () if node is None else _addresses_in(node)
            records += held or self.addresses(target)
        return tuple(records)

    # --- one chain -----------------------------------------------------------------------------------------------

    def _resolved(self, qname: DomainName, qtype: int, asker: Address) -> Answer:
        chain: tuple[Record, ...] = ()
        personal = False
        seen: set[DomainName] = set()
        owner: DomainName = qname
        while len(seen) < MOST_LINKS:
            key = folded(owner)
            apex = self._enclosing(key)
            if apex is None or key in seen:
                break
            seen.add(key)
            if key == apex.name and qtype == RecordType.DS:
                # Of a delegation the parent knows (RFC 4035 section 3.1.4.1).
                apex = self._enclosing(key[1:]) or apex
            found = self._look(apex, owner, key, qtype, asker)
            answer = found.answer
            personal = personal or answer.personal
            if found.following is None:
                additional = answer.additional or self._additional(answer)
                if not chain:
                    return replace(answer, additional=additional)
                chain += answer.answer
                return replace(answer, answer=chain, additional=additional, authoritative=True, personal=personal)
            chain += answer.answer
            owner = found.following
        return Answer(answer=chain, personal=personal)

    def _look(self, apex: Apex, owner: DomainName, key: DomainName, qtype: int, asker: Address) -> _Found:
        nodes = self.overlay.nodes
        top, size = len(apex.name), len(key)
        closest = top
        for depth in range(top, size + 1):
            node = nodes.get(key[size - depth :])
            if node is None:
                if depth > top:
                    break
                continue
            closest = depth
            if depth > top and RecordType.NS in node.sets and not (depth == size and qtype == RecordType.DS):
                servers = _owned(node.sets[RecordType.NS], owner[size - depth :])
                return _Found(Answer(authoritative=False, authority=servers))
            if depth < size and RecordType.DNAME in node.sets:
                made = _redirected(owner, size - depth, node.sets[RecordType.DNAME][0])
                # The alias that was made is what a question for aliases wants.
                return replace(made, following=None) if qtype in (RecordType.CNAME, RecordType.ANY) else made
        if size == top:
            return _Found(self._at_the_apex(apex, owner, nodes.get(key), qtype))
        node = nodes.get(key)
        if node is not None and node.sets and (found := self._at_node(owner, node, qtype)) is not None:
            return found
        computed = self._computed(apex, owner, key, qtype, asker)
        if computed is not None:
            return _Found(computed)
        if node is not None:
            return _Found(Answer(authority=(apex.denial,)))
        while closest < size - 1 and self._computed(apex, owner, key[size - closest - 1 :], qtype, asker) is not None:
            closest += 1
        star = nodes.get((WILDCARD, *key[size - closest :]))
        if star is None:
            return _Found(Answer(ReplyCode.NXDOMAIN, authority=(apex.denial,)))
        return self._at_node(owner, star, qtype) or _Found(Answer(authority=(apex.denial,)))

    def _computed(self, apex: Apex, owner: DomainName, key: DomainName, qtype: int, asker: Address) -> Answer | None:
        """Return what is computed for a name below an apex, None if it does not exist."""
        if apex.name not in self.computed:
            return None
        if apex.network is None:
            answer = self._forward(apex, owner, key, qtype, asker)
        else:
            answer = self._reverse(apex, owner, key, qtype)
        return None if answer.code is ReplyCode.NXDOMAIN else answer

    def _at_the_apex(self, apex: Apex, owner: DomainName, node: StaticNode | None, qtype: int) -> Answer:
        if qtype == RecordType.NS:
            return Answer(answer=_owned(apex.servers, owner))
        if qtype not in (RecordType.SOA, RecordType.ANY) and node is not None and qtype in node.sets:
            return Answer(answer=_owned(node.sets[qtype], owner))
        return self._at_apex(apex, owner, qtype)

    def _at_node(self, owner: DomainName, node: StaticNode, qtype: int) -> _Found | None:
        """Return what the static records of a name say to a question, None if they say nothing."""
        sets = node.sets
        alias = sets.get(RecordType.CNAME)
        if alias is not None and qtype not in (RecordType.CNAME, RecordType.ANY):
            return _Found(Answer(answer=_owned(alias, owner)), target_of(alias[0]))
        if qtype == RecordType.ANY and sets:
            # One of the sets will do (RFC 8482 section 4.1).
            qtype = next(iter(sets))
        if qtype not in sets:
            return None
        return _Found(Answer(answer=_owned(sets[qtype], owner)))

    def _additional(self, answer: Answer) -> tuple[Record, ...]:
        """Return the addresses a client will ask for next (RFC 1035 section 3.3, RFC 2782)."""
        if not answer.authoritative:
            return self.glue(answer.authority)
        leading = [record for record in answer.answer if record.type in _LEADING]
        return tuple([address for target in _targets(leading) for address in self.addresses(target)])


class PartialZones(OverlaidZones):
    """The zones of a node whose masters have zone files besides: what may stand in those is not denied.

    "No such name" would be a lie that a cache keeps. SERVFAIL says that another server should be asked, which
    resolvers do by themselves; and where a master can be asked in their place, it is (``ours`` is not set). What is
    computed is known for certain, and so is that it has no other addresses.
    """

    @property
    def all_plain(self) -> bool:
        """Whether everything is computed, which nobody knows here."""
        return False

    def answer(self, qname: DomainName, qtype: int, qclass: int, asker: Address) -> Answer:
        """Answer one question; a denial that is not certain becomes SERVFAIL."""
        answer = super().answer(qname, qtype, qclass, asker)
        if answer.personal or not any(record.type == RecordType.SOA for record in answer.authority):
            return answer
        key = folded(qname)
        if answer.code is ReplyCode.NOERROR and qtype in (RecordType.A, RecordType.AAAA):
            computed = key not in self._apexes and self.is_plain(key) and not self._is_reverse(key)
            return answer if computed else _UNCERTAIN
        return _UNCERTAIN

    def _is_reverse(self, key: DomainName) -> bool:
        apex = self._enclosing(key)
        return apex is not None and apex.network is not None


def _redirected(owner: DomainName, below: int, record: Record) -> _Found:
    """Return what a DNAME record makes of a name ``below`` labels under its owner (RFC 6672 section 3.2)."""
    target = target_of(record)
    assert target is not None
    shown = replace(record, name=owner[below:])
    following = owner[:below] + target
    if sum(len(label) + 1 for label in following) + 1 > _LONGEST_NAME:
        return _Found(Answer(ReplyCode.YXDOMAIN, answer=(shown,)))
    alias = Record(owner, RecordType.CNAME, record.ttl, NameData(following))
    return _Found(Answer(answer=(shown, alias)), following)


def _static_apex(name: DomainName, node: StaticNode) -> Apex:
    soa = node.sets[RecordType.SOA][0]
    assert isinstance(soa.data, SOAData)
    denial = replace(soa, ttl=min(soa.ttl, soa.data.minimum))
    return Apex(name, None, soa, denial, node.sets.get(RecordType.NS, ()))


def _with_serial(apex: Apex, serial: int) -> Apex:
    def changed(record: Record) -> Record:
        assert isinstance(record.data, SOAData)
        return replace(record, data=replace(record.data, serial=serial % 2**32))

    return replace(apex, soa=changed(apex.soa), denial=changed(apex.denial))


def _owned(records: tuple[Record, ...], owner: DomainName) -> tuple[Record, ...]:
    return tuple([replace(record, name=owner) for record in records])


def _addresses_in(node: StaticNode) -> tuple[Record, ...]:
    return (*node.sets.get(RecordType.A, ()), *node.sets.get(RecordType.AAAA, ()))


def _targets(records: Iterable[Record]) -> list[DomainName]:
    return list({folded(target): target for record in records if (target := target_of(record)) is not None}.values())


def _distinct(servers: tuple[Record, ...]) -> tuple[Record, ...]:
    kept: dict[DomainName, Record] = {}
    for record in servers:
        kept.setdefault(folded(target_of(record) or ()), record)
    return tuple(kept.values())
