"""From the rules as written to rules that compute: ranges, counts, running numbers, derived hosts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from beonss.core.names.description import Place, RangesEntry, RuleEntry
from beonss.core.names.nameindex import count_pieces
from beonss.core.names.numbering import Interface, Rule
from beonss.core.names.patterns import NODE, AddressPattern
from beonss.core.names.ranges import LIMIT, Block, RangeSet

#: Bounds that keep any description cheap to check; far above what a cluster needs.
MAX_BLOCKS = 20_000
MAX_COORDINATES = 8
MAX_PIECES = 100_000

Report = Callable[[Place, str], None]


def build_rules(entries: Sequence[RuleEntry], report: Report) -> tuple[Rule, ...]:
    """Return the rules that could be built, nodes first; every mistake is reported, its rule left out."""
    rules: list[Rule] = []
    start = blocks = pieces = 0
    for entry in sorted(entries, key=lambda entry: entry.kind != "node"):
        rule = _rule(entry, rules, start if entry.kind == "node" else 0, report)
        if rule is None:
            continue
        blocks += len(rule.blocks)
        pieces += sum(count_pieces(rule, p) for i in rule.interfaces for p in (i.name, *i.aliases))
        if blocks > MAX_BLOCKS or pieces > MAX_PIECES:
            report(
                entry.place,
                f"too many products of ranges (at most {MAX_BLOCKS}); describe the nodes by fewer, larger ones",
            )
            break
        rules.append(rule)
        start += rule.size if rule.kind == "node" else 0
    return tuple(rules)


def _rule(entry: RuleEntry, before: Sequence[Rule], start: int, report: Report) -> Rule | None:
    widths = _widths(entry, report)
    interfaces = tuple(_padded(interface, widths) for interface in entry.interfaces)
    used = {name for interface in interfaces for name in _coordinates(interface)}
    blocks: tuple[Block, ...] | None
    if entry.ranges:
        blocks = _given(entry, interfaces, used, report)
    elif entry.kind == "derived":
        blocks = _derived(entry, used, before, report)
    else:
        blocks = _counted(entry, interfaces, used, start, report)
    if blocks is None:
        return None
    rule = Rule(entry.kind, interfaces, blocks, start, entry.place.line, entry.place.option)
    if rule.size >= LIMIT:
        report(entry.place, f"it describes {rule.size} nodes; at most {LIMIT - 1} can be numbered")
        return None
    if not _sizes_agree(rule, report):
        return None
    anchored = tuple(
        replace(interface, addresses=tuple(pattern.anchored(start) for pattern in interface.addresses))
        for interface in interfaces
    )
    return replace(rule, interfaces=anchored)


def _coordinates(interface: Interface) -> set[str]:
    names = {name for pattern in (interface.name, *interface.aliases) for name in pattern.coordinates}
    return names | {name for pattern in interface.addresses for name in pattern.terms}


def _padded(interface: Interface, widths: dict[str, int]) -> Interface:
    return replace(
        interface,
        name=interface.name.padded(widths),
        aliases=tuple(alias.padded(widths) for alias in interface.aliases),
    )


def _widths(entry: RuleEntry, report: Report) -> dict[str, int]:
    """Return the padding of each coordinate's lists; lists of one coordinate must agree."""
    widths: dict[str, int] = {}
    for ranges in entry.ranges:
        for name, _, width in ranges.lists:
            if width and widths.setdefault(name, width) != width:
                text = f"{name} is padded to {width} digits here and to {widths[name]} above; pad it alike"
                report(Place(ranges.place.line, f"{ranges.place.option}.{name}"), text)
    return widths


def _given(
    entry: RuleEntry, interfaces: Sequence[Interface], used: set[str], report: Report
) -> tuple[Block, ...] | None:
    if entry.count is not None:
        text = "both count and ranges say how many nodes there are; leave one out"
        line = interfaces[0].lines.get("count", entry.place.line)
        report(Place(line, f"{entry.place.option}.count"), text)
        return None
    order = [name for name in interfaces[0].name.coordinates if name != NODE]
    blocks: list[Block] = []
    first = 0
    good = True
    for ranges in entry.ranges:
        sets = {name: values for name, values, _ in ranges.lists}
        good &= _known(entry, ranges, sets, used, report)
        # Most significant first as in the name; what the name lacks can have one value only (see the proof).
        names = [name for name in order if name in sets] + [name for name in sets if name not in order]
        blocks.append(Block(tuple(names), tuple(sets[name] for name in names), first, ranges.place.line))
        first += prod(each.size for each in blocks[-1].sets)
    return tuple(blocks) if good else None


def _known(entry: RuleEntry, ranges: RangesEntry, sets: dict[str, RangeSet], used: set[str], report: Report) -> bool:
    """Say whether the ranges have exactly the coordinates that the patterns use."""
    before = len(sets)
    missing = sorted(used - sets.keys() - {NODE})
    for name in missing:
        report(ranges.place, f"the patterns use {{{name}}} but there is no range for it; add {name} = ...")
    extra = sorted(sets.keys() - used)
    for name in extra:
        text = f"no pattern uses {{{name}}}; put it into the name and the address, or remove the range"
        if name == NODE:
            text = (
                f"{{{NODE}}} is the running number and has no range; write count = N, or call the coordinate otherwise"
            )
        report(Place(ranges.place.line, f"{ranges.place.option}.{name}"), text)
    if NODE in sets and NODE in used:
        text = f"{{{NODE}}} is the running number and has no range; write count = N, or call the coordinate otherwise"
        report(Place(ranges.place.line, f"{ranges.place.option}.{NODE}"), text)
        return False
    if NODE in used and entry.kind == "derived":
        report(entry.place, f"hosts have no running number; use another coordinate than {{{NODE}}}")
        return False
    if before > MAX_COORDINATES:
        report(ranges.place, f"{before} coordinates; at most {MAX_COORDINATES} can be used")
        return False
    return not missing and not extra


def _derived(entry: RuleEntry, used: set[str], before: Sequence[Rule], report: Report) -> tuple[Block, ...] | None:
    """Return one block: the coordinate's values over all nodes."""
    if len(used) != 1 or NODE in used:
        what = "no coordinate" if not used else f"the coordinates {', '.join(sorted(used))}"
        report(
            entry.place, f"without ranges a derived host follows one coordinate of the nodes, not {what}; add ranges"
        )
        return None
    name = next(iter(used))
    sets = [
        block.sets[block.coordinates.index(name)]
        for rule in before
        if rule.kind == "node"
        for block in rule.blocks
        if name in block.coordinates
    ]
    if not sets:
        report(entry.place, f"no node has a coordinate {{{name}}}; use one that they have, or add ranges")
        return None
    return (Block((name,), (sets[0].union(*sets[1:]),), 0, entry.place.line),)


def _counted(
    entry: RuleEntry, interfaces: Sequence[Interface], used: set[str], start: int, report: Report
) -> tuple[Block, ...] | None:
    """Return one block of the running number, as long as count or the first address range says."""
    unknown = sorted(used - {NODE})
    if unknown:
        names = ", ".join(f"{name} = ..." for name in unknown)
        report(entry.place, f"the patterns use coordinates that have no range; add ranges = {{ {names} }}")
        return None
    counts = [pattern.count for each in interfaces for pattern in each.addresses if pattern.count is not None]
    size = entry.count if entry.count is not None else counts[0] if counts else None
    if size is None and not used:
        size = 1
    if size is None:
        text = "nothing says how many nodes there are; add count = N, or write the address as first - last"
        report(entry.place, text)
        return None
    return (Block((NODE,), (RangeSet.between(start, start + size - 1),), 0, entry.place.line),)


def _sizes_agree(rule: Rule, report: Report) -> bool:
    good = True
    for interface in rule.interfaces:
        for pattern in interface.addresses:
            if pattern.count is not None and pattern.count != rule.size:
                good = False
                where = Place(interface.lines.get("address", interface.line), f"{interface.option}.address")
                report(where, _size_text(pattern, rule.size))
    return good


def _size_text(pattern: AddressPattern, size: int) -> str:
    last = pattern.anchored(0).format({NODE: size - 1})
    return f"{pattern.text} has {pattern.count} addresses for {size} nodes; write a range of {size}, up to {last}"
