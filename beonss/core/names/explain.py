"""Why a name or an address is what it is, what each door answers, or why there is no such thing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address

from beonss.core.names.counterexamples import said
from beonss.core.names.naming import Named, Naming
from beonss.core.names.numbering import Rule
from beonss.core.names.patterns import NODE, Address, AddressPattern, Field, NamePattern
from beonss.core.names.ranges import RangeSet
from beonss.core.zones.overlay import StaticRecord
from beonss.core.zones.overlay_explain import record_text, static_records, type_text
from beonss.core.zones.overlay_zone import described_zones
from beonss.core.zones.records import Record, RecordClass, RecordType, ReplyCode, domain, shown

#: More reasons than a person reads are not given.
MAX_REASONS = 4


@dataclass(frozen=True, slots=True)
class DoorAnswer:
    """What one way of asking gives.

    Attributes:
        door: ``dns``, ``hosts``, ``ethers`` or ``netgroup`` (the last three as nsswitch.conf(5) names them).
        question: as one would ask it.
        answers: line by line; empty for "exists, but has nothing of the kind".
        status: ``found``, ``no data``, ``no such name``, or DNS's word for a refusal.
    """

    door: str
    question: str
    answers: tuple[str, ...]
    status: str = "found"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to ``beonss explain``.

    Attributes:
        asked: the question.
        named: what it is, or None.
        facts: (label, text) in the order to be shown.
        answers: what each door answers.
        reasons: for nothing found, why the nearest rules do not match.
    """

    asked: str
    named: Named | None
    facts: tuple[tuple[str, str], ...] = ()
    answers: tuple[DoorAnswer, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether there is such a name or address."""
        return bool(self.facts)


def explain(naming: Naming, text: str, asker: Address | None = None) -> Explanation:
    """Explain a name or an address.

    Args:
        naming: the compiled description.
        text: a short name, a name in the zone, an alias, ``master``, ``self`` or an address.
        asker: for ``master`` and ``self``, whose meaning depends on who asks.
    """
    try:
        address = ip_address(text) if "%" not in text else None
    except ValueError:
        address = None
    if address is not None:
        named = naming.find_address(address)
        reasons = () if named else tuple(_why_no_address(naming, address))
    elif (label := naming.short(text)) in {"master", "self"}:
        return _special(naming, text, str(label), asker)
    else:
        named = naming.find(text)
        if named is None and (static := static_records(naming, text)):
            return _static(naming, text, static)
        reasons = () if named else tuple(_why_no_name(naming, text))
    if named is None:
        return Explanation(text, None, reasons=reasons[:MAX_REASONS] or ("nothing in the description is like it",))
    return Explanation(text, named, tuple(_facts(naming, text, named)), tuple(_answers(naming, text, named)))


def _special(naming: Naming, text: str, label: str, asker: Address | None) -> Explanation:
    who = f"asked from {asker}" if asker is not None else "asked by a stranger"
    if label == "master":
        order = ", ".join(f"{named.name} ({_joined(named.addresses)})" for named in naming.master_order(asker))
        fact = f"the masters, the nearest to the asker first; {who}: {order}"
        return Explanation(text, None, (("meaning", fact),), tuple(_dns_answers(naming, "master", asker)))
    named = naming.self_name(asker) if asker is not None else None
    fact = f"whoever asks; {who}: {named.name if named else 'nothing, for that is no machine of the description'}"
    return Explanation(text, named, (("meaning", fact),), tuple(_dns_answers(naming, "self", asker)))


def _static(naming: Naming, text: str, records: Sequence[StaticRecord]) -> Explanation:
    facts = tuple(
        (f"static {type_text(each.record.type)}", f"[dns] records ({each.file}:{each.line})") for each in records
    )
    zones, client = described_zones(naming), naming.masters[0].addresses[0]
    answers = []
    for name, kind in dict.fromkeys((each.record.name, each.record.type) for each in records):
        answer = zones.answer(name, kind, RecordClass.IN, client)
        answers.append(_door(f"{shown(name)} {type_text(kind)}", (*answer.answer, *answer.authority), answer.code))
    return Explanation(text, None, facts, tuple(answers))


# What is there


def _facts(naming: Naming, text: str, named: Named) -> Iterator[tuple[str, str]]:
    label = naming.short(text)
    if label in named.aliases:
        yield "alias", f"{label} is an alias of {named.name}"
    kind = {"node": f"node {named.number}", "host": "host", "derived": "derived host"}[named.kind]
    yield "name", f"{named.name}.{naming.zone} ({kind}{f', network {named.network}' if named.network else ''})"
    if named.aliases:
        yield "aliases", ", ".join(named.aliases)
    yield "addresses", _joined(named.addresses)
    if named.mac:
        yield "mac", named.mac
    if named.number is not None:
        others = [each for each in naming.networks_of(named.number) if each.name != named.name]
        for each in others:
            yield "also", f"{each.name} {_joined(each.addresses)}"
    if named.kind == "host":
        yield "rule", f"{named.rule} ({naming.source}:{named.line})"
        return
    origin = naming.origin(named)
    assert origin is not None
    rule, interface, index = origin
    patterns = ", ".join(pattern.text for pattern in interface.addresses)
    yield "rule", f"{interface.name.text} <-> {patterns} ({naming.source}:{interface.line})"
    block = rule.block(index)
    if named.coordinates:
        ranges = ", ".join(
            f"{name} {values}" for name, values in zip(block.coordinates, block.sets, strict=True) if name != NODE
        )
        yield "coordinates", said(named.coordinates)
        yield "ranges", f"{ranges} ({naming.source}:{block.line})"


def _joined(addresses: Sequence[Address]) -> str:
    return ", ".join(map(str, addresses))


def _answers(naming: Naming, text: str, named: Named) -> Iterator[DoorAnswer]:
    label = naming.short(text)
    yield from _dns_answers(naming, label if label in named.aliases else named.name, None)
    zones = described_zones(naming)
    for address in named.addresses:
        pointer = address.reverse_pointer
        answer = zones.answer(domain(pointer), RecordType.PTR, RecordClass.IN, address)
        yield _door(f"{pointer} PTR", answer.answer, answer.code)
    names = " ".join((f"{named.name}.{naming.zone}", named.name, *named.aliases))
    lines = tuple(f"{address} {names}" for address in named.addresses)
    yield DoorAnswer("hosts", f"getent hosts {label or named.addresses[0]}", lines)
    if named.mac:
        yield DoorAnswer("ethers", f"getent ethers {named.name}", (f"{named.mac} {named.name}",))
    for group, members in naming.netgroups().items():
        if named.name in members:
            yield DoorAnswer("netgroup", f"getent netgroup {group}", (f"has {named.name}",))


def _dns_answers(naming: Naming, label: str, asker: Address | None) -> Iterator[DoorAnswer]:
    zones = described_zones(naming)
    question = f"{label}.{naming.zone}"
    client = asker or naming.masters[0].addresses[0]
    for kind in (RecordType.A, RecordType.AAAA):
        if label == "self" and asker is None:
            continue
        answer = zones.answer(domain(question), kind, RecordClass.IN, client)
        yield _door(f"{question} {kind.name}", answer.answer, answer.code)


def _door(question: str, records: Sequence[Record], code: ReplyCode) -> DoorAnswer:
    lines = tuple(record_text(record) for record in records)
    status = "found" if lines else "no data" if code is ReplyCode.NOERROR else code.name
    return DoorAnswer("dns", question, lines, "no such name" if status == "NXDOMAIN" else status)


# What is not there


def _why_no_name(naming: Naming, text: str) -> Iterator[str]:
    label = naming.short(text)
    if label is None:
        if not text.isascii():
            yield "names are ASCII: letters, digits and hyphens"
        elif "." in text.rstrip("."):
            yield f"{text} is not in the zone {naming.zone}, and names below it are single labels"
        else:
            yield "it is no name: 1 to 63 letters, digits and hyphens"
        return
    near = False
    for rule, interface, pattern in naming.patterns():
        spelled = _loosely(pattern, label)
        if spelled is not None:
            near = True
            values = {f.coordinate: int(text) - f.offset for f, text in zip(pattern.fields, spelled, strict=True)}
            canonical = pattern.format(values)
            exists = naming.find(canonical) is not None
            if canonical != label:
                either = "" if exists else ", which does not exist either"
                yield f"{label} is not how it is written: {canonical}{either}"
            if not exists:
                where = f"{pattern.text}, line {interface.line}"
                yield from _outside(naming, rule, values, pattern.by_number, where)
    known = [name for host in naming.hosts() for name in (host.name, *host.aliases)]
    close = get_close_matches(label, known[:10_000], 1, 0.7)
    if close:
        yield f"there is a host {close[0]}: did you mean it?"
    if near:
        return
    made = sorted({pattern.text for _, _, pattern in naming.patterns()})
    yield f"no rule makes such a name: {', '.join(made[:8])}{' ...' if len(made) > 8 else ''}"


def _loosely(pattern: NamePattern, label: str) -> list[str] | None:
    """Return the digits of each field, whatever their padding, or None if the name has another form."""
    form = "".join(r"([0-9]{1,63})" if isinstance(part, Field) else re.escape(part) for part in pattern.parts)
    match = re.fullmatch(form, label, re.ASCII)
    return None if match is None else list(match.groups())


def _outside(naming: Naming, rule: Rule, values: dict[str, int], by_number: bool, where: str) -> Iterator[str]:
    """Say which coordinate is outside its range, or which combination of them does not exist."""
    blocks = (rule.counted,) if by_number else rule.blocks
    unknown = False
    for name, value in values.items():
        every = RangeSet(())
        every = every.union(*(b.sets[b.coordinates.index(name)] for b in blocks if name in b.coordinates))
        if value not in every:
            unknown = True
            yield f"{name} {value} is outside {_short(every)} ({where})"
    if unknown or by_number:
        return
    # The least significant coordinate first: racks are of unequal size more often than slots are of unequal racks.
    for name, value in reversed(values.items()):
        for block in blocks:
            sets = dict(zip(block.coordinates, block.sets, strict=True))
            if all(other == name or number in sets[other] for other, number in values.items()):
                rest = said({other: number for other, number in values.items() if other != name})
                line = f"{naming.source}:{block.line}"
                yield f"{name} {value} does not exist with {rest}, which has {name} {_short(sets[name])} ({line})"
                return


def _short(values: RangeSet) -> str:
    text = str(values)
    return text if len(text) <= 60 else text[:60].rpartition(",")[0] + ",..."


def _why_no_address(naming: Naming, address: Address) -> Iterator[str]:
    description = naming.description
    if not any(address in network for network in description.networks):
        yield f"it is outside the cluster's networks: {', '.join(map(str, description.networks))}"
        return
    for entry in description.reserved:
        if entry.low.version == address.version and int(entry.low) <= int(address) <= int(entry.high):
            yield f"it is reserved for {entry.name} ({naming.source}:{entry.place.line})"
            return
    near = False
    for rule in naming.rules:
        for interface in rule.interfaces:
            for pattern in interface.addresses:
                values = _loosely_addressed(pattern, address)
                if values is not None:
                    near = True
                    where = f"{pattern.text}, line {interface.line}"
                    yield from _outside(naming, rule, values, pattern.by_number, where)
    if not near:
        yield "no rule and no host has it"


def _loosely_addressed(pattern: AddressPattern, address: Address) -> dict[str, int] | None:
    """Return what the coordinates would have to be for a pattern to give this address, or None."""
    if pattern.version != address.version:
        return None
    number = int(address)
    if len(pattern.terms) == 1 and not pattern.limits:
        name, weight = next(iter(pattern.terms.items()))
        rest = number - pattern.base
        return {name: rest // weight} if rest >= 0 and rest % weight == 0 else None
    values = {
        name: number // pattern.terms[name] % (top + 1) - offset
        for name, offset, top, _ in pattern.limits
        if name in pattern.terms
    }
    complete = values.keys() == pattern.terms.keys()
    return values if complete and pattern.number(values) == number else None
