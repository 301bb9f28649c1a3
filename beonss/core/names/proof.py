"""The proof that a description maps every name and every address one way and back.

What is shown, for all nodes at once and without enumerating one of them:

- each pattern is one to one: it uses every coordinate that varies, and its weights leave room for the
  digits below them;
- no name and no address is made twice, by two patterns, two rules, two blocks or a host (patterns of names
  are compared shape by shape, sets of addresses as mixed-radix numbers, both exactly);
- nothing lies in a reserved range, outside the cluster's networks or outside its reverse zones, and every
  name is a legal one.

Each refusal names a counterexample. Where two sets interleave so that comparing them would take too long, the
description is refused as well: what is not proven does not load.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import product

from beonss.core.names.counterexamples import address_of, common_name, crowded, lost_coordinate, said, two_members
from beonss.core.names.description import MAX_PROBLEMS, RESERVED_NAMES, Network, Place, Problem
from beonss.core.names.nameindex import Layout, NamePiece
from beonss.core.names.naming import AddressSpan, Named, Naming
from beonss.core.names.numbering import Interface, Rule
from beonss.core.names.patterns import LABEL_LENGTH, NODE, Address, AddressPattern, NamePattern
from beonss.core.names.radix import Budget, MixedRadix, UndecidedError
from beonss.core.names.ranges import Block, RangeSet, SpanIndex
from beonss.core.names.territory import TOP, forbidden, overlap

#: Steps all comparisons of one proof may take together, a few seconds.
STEPS = 300_000


def prove(naming: Naming, *, without: Collection[str] = (), budget: Budget | None = None) -> list[Problem]:
    """Return everything that is wrong with a description; empty when it is proven.

    Args:
        naming: the compiled description.
        without: parts to leave out because what they are about could not be read: ``masters``, ``territory``.
        budget: for tests: how many steps the comparisons may take.
    """
    proof = _Proof(naming, budget or Budget(STEPS))
    with suppress(_Enough):
        proof.ranges()
        proof.patterns()
        proof.names()
        proof.addresses()
        proof.hosts()
        if "territory" not in without:
            proof.territory()
        if "masters" not in without:
            proof.masters()
    return proof.problems


#: Two patterns, each by its place in the file and its text.
_Pair = tuple[str, str, str, str]


class _Enough(Exception):  # noqa: N818 - no error, but the end of a search
    """So many problems that looking for more helps nobody."""


class _Proof:
    """The collected refusals of one description."""

    def __init__(self, naming: Naming, budget: Budget) -> None:
        self.naming = naming
        self.budget = budget
        self.problems: list[Problem] = []
        # Patterns already refused: a pattern that is not one to one has no meaningful overlaps.
        self.refused: set[tuple[str, str]] = set()
        # Pairs already refused: one counterexample each is enough.
        self.pairs: set[_Pair] = set()
        # Blocks that describe the same members: reported as that, not again as names and addresses.
        self.blocks: set[tuple[int, int]] = set()

    def report(self, place: Place, text: str) -> None:
        self.problems.append(Problem(self.naming.source, place.line, place.option, text))
        if len(self.problems) > MAX_PROBLEMS:
            raise _Enough

    # Products of ranges

    def ranges(self) -> None:
        """Show that no coordinates are described twice within a rule."""
        for rule in self.naming.rules:
            spans = SpanIndex((b.sets[0].low, b.sets[0].high, b) if b.sets else (0, 0, b) for b in rule.blocks)
            try:
                for one, two in spans.pairs():
                    self._compare_blocks(rule, one, two)
            except UndecidedError:
                text = "too many ranges interleave to be told apart in time; use fewer, larger ranges"
                self.report(Place(rule.line, f"{rule.option}.ranges"), text)
                raise _Enough from None

    def _compare_blocks(self, rule: Rule, one: Block, two: Block) -> None:
        theirs = dict(zip(two.coordinates, two.sets, strict=True))
        common: dict[str, int] = {}
        for name, mine in zip(one.coordinates, one.sets, strict=True):
            self.budget.spend(min(len(mine.spans), len(theirs[name].spans)))
            value = mine.first_common(theirs[name])
            if value is None:
                return
            common[name] = value
        self.blocks.add((id(one), id(two)))
        self.blocks.add((id(two), id(one)))
        first, second = sorted((one, two), key=lambda block: block.first)
        text = f"{said(common)} is described in line {first.line} already; describe each node once"
        self.report(Place(second.line, f"{rule.option}.ranges"), text)

    # One pattern by itself

    def patterns(self) -> None:
        """Show that each pattern is one to one and gives legal names and addresses."""
        for rule in self.naming.rules:
            for interface in rule.interfaces:
                for option, name in _named_patterns(interface):
                    for block in rule.spread(name):
                        if self._refuse_pattern(interface, option, name.text, self._name_mistake(rule, name, block)):
                            break
                for option, address in _addressed_patterns(interface):
                    for block in rule.spread(address):
                        text = self._address_mistake(rule, address, block)
                        if self._refuse_pattern(interface, option, address.text, text):
                            break

    def _refuse_pattern(self, interface: Interface, option: str, pattern: str, text: str | None) -> bool:
        if text is None:
            return False
        self.refused.add((interface.option, pattern))
        self.report(_place(interface, option), text)
        return True

    def _name_mistake(self, rule: Rule, pattern: NamePattern, block: Block) -> str | None:
        lost = lost_coordinate(pattern.coordinates, block)
        if lost is not None:
            one, two = two_members(block, lost)
            same = pattern.format(_all(rule, block, one))
            return f"{same} would be both {said(one)} and {said(two)}; put {{{lost}}} into {pattern.text}"
        for field in pattern.fields:
            low = block.sets[block.coordinates.index(field.coordinate)].low
            if low + field.offset < 0:
                number = low + field.offset
                return f"{field.coordinate} {low} would make the number {number}; numbers in names are not negative"
        longest = pattern.format({name: each.high for name, each in zip(block.coordinates, block.sets, strict=True)})
        if len(longest) > LABEL_LENGTH:
            return f"{longest} has {len(longest)} characters; a label has at most {LABEL_LENGTH} (RFC 1035)"
        return None

    def _address_mistake(self, rule: Rule, pattern: AddressPattern, block: Block) -> str | None:
        for coordinate, offset, top, kind in pattern.limits:
            values = block.sets[block.coordinates.index(coordinate)]
            for value in (values.low, values.high):
                if not 0 <= value + offset <= top:
                    return (
                        f"{coordinate} {value} makes {value + offset}, which is no {kind} (0 to {top}); "
                        f"shorten the range of {coordinate}, or write the address as base + weight*{{{coordinate}}}"
                    )
        lost = lost_coordinate(tuple(pattern.terms), block)
        if lost is not None:
            one, two = two_members(block, lost)
            same = address_of(pattern.version, pattern.number(_all(rule, block, one)))
            return f"{same} would be both {said(one)} and {said(two)}; put {{{lost}}} into {pattern.text}"
        numbers = pattern.over(block)
        for number, which in ((numbers.low, "lowest"), (numbers.high, "highest")):
            if not 0 <= number <= TOP[pattern.version]:
                return f"the {which} address is outside IPv{pattern.version}; choose another base or fewer nodes"
        return None if numbers.positional else crowded(pattern, block, numbers)

    # Names against names

    def names(self) -> None:
        """Show that no name is made twice."""
        for layouts in self.naming.shapes.values():
            try:
                for at, layout in enumerate(layouts):
                    # Names of one layout with other literal digits differ; only the rest is compared.
                    for pieces in layout.pieces.values():
                        for one, two in pieces.pairs():
                            self._compare_names(one, two)
                    for other in layouts[:at]:
                        for one, two in product(_pieces(other), _pieces(layout)):
                            self._compare_names(one, two)
            except UndecidedError:
                piece = next(_pieces(layouts[-1]))
                text = (
                    "its names interleave so with others that they cannot be told apart in time; use clearer patterns"
                )
                self.report(_place(piece.interface, "name"), text)
                raise _Enough from None
        for label in sorted(RESERVED_NAMES):
            hit = self.naming.find_by_rule(label)
            origin = None if hit is None else self.naming.origin(hit)
            if origin is not None:
                text = f"makes the name {label}, which has a meaning of its own on every machine; use another pattern"
                self.report(_place(origin[1], "name"), text)

    def _open_pair(self, one: NamePiece | AddressSpan, two: NamePiece | AddressSpan) -> _Pair | None:
        """Return what the pair of patterns is remembered by; None where nothing new can be found between them."""
        pair = (one.interface.option, one.pattern.text, two.interface.option, two.pattern.text)
        if pair in self.pairs or not self.refused.isdisjoint([pair[:2], pair[2:]]):
            return None
        return None if (id(one.block), id(two.block)) in self.blocks else pair

    def _compare_names(self, one: NamePiece, two: NamePiece) -> None:
        self.budget.spend()
        pair = self._open_pair(one, two)
        if pair is None:
            return
        name = common_name(one, two, self.budget)
        if name is None:
            return
        self.pairs.add(pair)
        first, second = (self._member_of_piece(piece, name) for piece in (one, two))
        piece = two if two.interface.line >= one.interface.line else one
        where = _place(piece.interface, "name" if piece.pattern is piece.interface.name else "aliases")
        if one.rule is two.rule and one.pattern is two.pattern and one.block is two.block:
            text = f"{name} could be read as {first} and as {second}; put a letter or a hyphen between the numbers"
            self.report(where, text)
        else:
            self.report(where, f"{name} would be both {first} and {second}; make their names differ")

    @staticmethod
    def _member_of_piece(piece: NamePiece, name: str) -> str:
        digits = "".join(character for character in name if character.isdigit())
        index = piece.index([int(digits[start:end]) for start, end, field in piece.cuts if field])
        assert index is not None
        return _member_text(piece.rule, piece.interface, index)

    # Addresses against addresses

    def addresses(self) -> None:
        """Show that no address is given twice."""
        for version in (4, 6):
            try:
                for one, two in self.naming.spans[version].pairs():
                    self._compare_addresses(one, two)
            except UndecidedError:
                text = f"too many IPv{version} ranges interleave to be told apart in time; use fewer, larger ranges"
                self.report(Place(self.naming.rules[-1].line, self.naming.rules[-1].option), text)
                raise _Enough from None

    def _compare_addresses(self, one: AddressSpan, two: AddressSpan) -> None:
        self.budget.spend()
        pair = self._open_pair(one, two)
        if pair is None:
            return
        later = two.interface if two.interface.line >= one.interface.line else one.interface
        where = _place(later, "address")
        try:
            number = one.numbers.first_common(two.numbers, self.budget)
        except UndecidedError:
            self.pairs.add(pair)
            text = (
                f"{one.pattern.text} (line {one.interface.line}) and {two.pattern.text} interleave so that it "
                "cannot be shown that no address is given twice; use weights and ranges that line up"
            )
            self.report(where, text)
            if self.budget.left <= 0:
                raise
            return
        if number is None:
            return
        self.pairs.add(pair)
        first, second = (_member_text(span.rule, span.interface, _known(span.index(number))) for span in (one, two))
        address = address_of(one.pattern.version, number)
        self.report(where, f"{address} would be both {first} and {second}; make their addresses differ")

    # Hosts

    def hosts(self) -> None:
        """Show that hosts differ from each other and from all that rules make."""
        names: dict[str, Place] = {}
        addresses: dict[Address, Place] = {}
        macs: dict[str, Place] = {}
        for host in self.naming.description.hosts:
            for name in (host.name, *host.aliases):
                if name in names:
                    self.report(
                        host.place, f"{name} is a name of {names[name].option} (line {names[name].line}) already"
                    )
                names.setdefault(name, host.place)
                made = self.naming.find_by_rule(name)
                if made is not None:
                    text = f"{name} would hide the {made.kind} {_where(made)}; rename the host or shorten the ranges"
                    self.report(host.place, text)
            for address in host.addresses:
                if address in addresses:
                    other = addresses[address]
                    self.report(host.place, f"{address} is an address of {other.option} (line {other.line}) already")
                addresses.setdefault(address, host.place)
                made = self.naming.find_address_by_rule(address)
                if made is not None:
                    text = f"{address} is the address of the {made.kind} {_where(made)}; give the host another"
                    self.report(host.place, text)
            if host.mac is not None:
                if host.mac in macs:
                    other = macs[host.mac]
                    self.report(host.place, f"{host.mac} is the mac of {other.option} (line {other.line}) already")
                macs.setdefault(host.mac, host.place)

    # Networks

    def territory(self) -> None:
        """Show that everything lies in the networks and reverse zones, and nothing where it must not."""
        description = self.naming.description
        if self._disjoint("networks", description.networks) and "reverse" in description.places:
            self._disjoint("reverse", description.reverse)
            for zone in description.reverse:
                if not any(overlap(zone, network) for network in description.networks):
                    text = f"{zone} has no address of this cluster's networks; remove it or add its network"
                    self.report(description.places["reverse"], text)
        for entry in description.reserved:
            if not any(
                n.version == entry.low.version and entry.low in n and entry.high in n for n in description.networks
            ):
                self.report(entry.place, f"{entry.low} - {entry.high} is outside networks; correct it or remove it")
        for version in (4, 6):
            barred = SpanIndex((low, high, (low, high, why)) for low, high, why in forbidden(description, version))
            if not len(barred):
                continue
            for host in description.hosts:
                for address in host.addresses:
                    if address.version == version:
                        for _, _, why in barred.overlapping(int(address), int(address)):
                            self.report(host.place, f"{address} {why}")
            numbers = RangeSet((low, high) for low, high, _ in barred)
            for _, _, span in self.naming.spans[version]:
                self._inside(span, barred, MixedRadix(0, [1], [numbers]))

    def _inside(self, span: AddressSpan, barred: SpanIndex[tuple[int, int, str]], numbers: MixedRadix) -> None:
        key = (span.interface.option, span.pattern.text)
        if key in self.refused:
            return
        try:
            number = numbers.first_common(span.numbers, self.budget)
        except UndecidedError:
            text = "so many addresses between its own are forbidden that it cannot be checked in time"
            self.report(_place(span.interface, "address"), text)
            self.refused.add(key)
            return
        if number is None:
            return
        for _, _, why in barred.overlapping(number, number):
            member = _member_text(span.rule, span.interface, _known(span.index(number)))
            address = address_of(span.pattern.version, number)
            self.report(_place(span.interface, "address"), f"{member} would be {address}, which {why}")
            self.refused.add(key)
            return

    def _disjoint(self, option: str, networks: Sequence[Network]) -> bool:
        disjoint = True
        for at, one in enumerate(networks):
            for two in networks[:at]:
                if overlap(one, two):
                    disjoint = False
                    text = f"{one} and {two} overlap; name the larger one alone"
                    self.report(self.naming.description.places[option], text)
        return disjoint

    # Masters

    def masters(self) -> None:
        """Show that every master is a machine of the description, once."""
        seen: dict[str, Place] = {}
        for master in self.naming.description.masters:
            named = self.naming.find(master.name)
            if named is None:
                self.report(master.place, f"no host or node is called {master.name!r}; add it to [hosts]")
            elif named.name in seen:
                self.report(master.place, f"{named.name} is a master already; name each machine once")
            else:
                seen[named.name] = master.place


def _pieces(layout: Layout) -> Iterator[NamePiece]:
    return (piece for pieces in layout.pieces.values() for _, _, piece in pieces)


def _place(interface: Interface, option: str) -> Place:
    """Return where an option of a rule or of one of its networks stands."""
    return Place(interface.lines.get(option, interface.line), f"{interface.option}.{option}")


def _named_patterns(interface: Interface) -> Iterator[tuple[str, NamePattern]]:
    yield "name", interface.name
    for alias in interface.aliases:
        yield "aliases", alias


def _addressed_patterns(interface: Interface) -> Iterator[tuple[str, AddressPattern]]:
    for pattern in interface.addresses:
        yield "address", pattern


def _all(rule: Rule, block: Block, values: dict[str, int]) -> dict[str, int]:
    """Return the coordinates with the running number."""
    return values | {NODE: rule.start + _known(block.index(values))}


def _known(index: int | None) -> int:
    assert index is not None
    return index


def _member_text(rule: Rule, interface: Interface, index: int) -> str:
    values = rule.values(index)
    name = interface.name.format(values)
    number = values.pop(NODE)
    words = said(values) or (f"node {number}" if rule.kind == "node" else "")
    line = interface.line if interface.label else rule.block(index).line
    return f"{name} ({words + ', ' if words else ''}line {line})"


def _where(named: Named) -> str:
    words = said(named.coordinates)
    return f"{named.name} ({words + ', ' if words else ''}{named.rule}, line {named.line})"
