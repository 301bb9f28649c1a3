"""What a change of the numbering rules touches, as ranges of names, without enumerating any node.

The names of a rule are cut into pieces of one shape (:mod:`beonss.core.names.nameindex`); within a piece a name is a
tuple of shown numbers, its address a linear function of them. So names are compared as products of ranges, whatever the
patterns look like: a pattern that is only written in another way changes nothing. What is reported is never
less than what changes; where two linear functions meet in a few points of a product, these are reported too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from beonss.core.names.boxes import Box, intersection, merged, size, subtract
from beonss.core.names.nameindex import NamePiece, Shape, pieces_of
from beonss.core.names.numbering import Interface, Rule
from beonss.core.names.patterns import Field
from beonss.core.names.ranges import Block, RangeSet, SpanIndex

Mark = Literal["+", "-", "~"]


@dataclass(frozen=True, slots=True)
class Touched:
    """One line of a difference.

    Attributes:
        mark: ``+`` new, ``-`` gone, ``~`` changed.
        kind: ``node``, ``derived``, ``host``, ``option``, ``record`` or ``number`` (the running number of nodes).
        names: as a list such as Slurm writes it, or the option.
        text: what it is, or was and becomes.
        count: how many names these are; 0 for options.
    """

    mark: Mark
    kind: str
    names: str
    text: str
    count: int

    def __str__(self) -> str:
        """Write it as one line."""
        many = f" ({self.count:,})" if self.count > 1 else ""
        return f"{self.mark} {self.kind:<7} {self.names}{many}  {self.text}"


@dataclass(frozen=True, slots=True)
class _Linear:
    """``base + sum(weights[i] * x[i])`` over the shown numbers of a name."""

    base: int
    weights: tuple[int, ...]

    def equals(self, other: "_Linear", box: Box) -> bool:
        """Say whether both are the same everywhere in a box."""
        rest = self.base - other.base
        for mine, theirs, values in zip(self.weights, other.weights, box, strict=True):
            if values.size == 1:
                rest += (mine - theirs) * values.low
            elif mine != theirs:
                return False
        return rest == 0

    def bounds(self, box: Box) -> tuple[int, int]:
        """Return the least and the greatest value in a box."""
        ends = [(w * v.low, w * v.high) for w, v in zip(self.weights, box, strict=True)]
        return self.base + sum(map(min, ends)), self.base + sum(map(max, ends))


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the names of a piece stand for.

    Attributes:
        fixed: what has to be equal as it is: kind, network, whether it is an alias, the literal parts of the canonical
            name, IP versions; and everything where the numbers do not follow from the name alone.
        values: numbers in the canonical name, then addresses.
        versions: of the addresses, which are the last of ``values``.
        texts: the patterns of the addresses, for people.
    """

    fixed: tuple[object, ...]
    values: tuple[_Linear, ...]
    versions: tuple[int, ...]
    texts: tuple[str, ...]

    def equals(self, other: "_Meaning", box: Box) -> bool:
        """Say whether each name of the box stands for the same."""
        return self.fixed == other.fixed and all(
            mine.equals(theirs, box) for mine, theirs in zip(self.values, other.values, strict=True)
        )

    def shown(self, box: Box) -> str:
        """Return the addresses of a box, for people."""
        if len(self.versions) > len(self.values):
            return ", ".join(self.texts)
        linear = self.values[len(self.values) - len(self.versions) :]
        return ", ".join(_range(each, version, box) for each, version in zip(linear, self.versions, strict=True))


def _range(linear: _Linear, version: int, box: Box) -> str:
    make = IPv4Address if version == 4 else IPv6Address
    low, high = linear.bounds(box)
    return str(make(low)) if low == high else f"{make(low)} - {make(high)}"


#: Shape of a name, and where its numbers begin and end in its digits.
_Kind = tuple[Shape, tuple[tuple[int, int], ...]]
#: ((mark, kind, text), kind of names, which of them).
_Found = tuple[tuple[Mark, str, str], _Kind, Box]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some names of one shape, and what they stand for.

    Attributes:
        box: the numbers shown, those that are literal digits of the pattern included.
        fields: for each of them the field that shows it, or None for literal digits.
    """

    kind: _Kind
    box: Box
    meaning: _Meaning
    rule: Rule
    block: Block
    fields: tuple[Field | None, ...]
    pattern: str
    canonical: bool

    @property
    def first(self) -> tuple[int, int]:
        """Where the first number lies."""
        return (self.box[0].low, self.box[0].high) if self.box else (0, 0)


def compare_rules(old: Sequence[Rule], new: Sequence[Rule]) -> list[Touched]:
    """Return what of the names that rules make differs."""
    before, after = list(_pieces(old)), list(_pieces(new))
    # Most of a description stays as it is, so most of the work is done here.
    unchanged = {_same(piece) for piece in before} & {_same(piece) for piece in after}
    before = [piece for piece in before if _same(piece) not in unchanged]
    after = [piece for piece in after if _same(piece) not in unchanged]
    pairs = list(_pairs(before, after))
    found: list[_Found] = []
    gone = {id(piece): [piece.box] for piece in before}
    come = {id(piece): [piece.box] for piece in after}
    for mine, theirs, box in pairs:
        gone[id(mine)] = [rest for part in gone[id(mine)] for rest in subtract(part, box)]
        come[id(theirs)] = [rest for part in come[id(theirs)] for rest in subtract(part, box)]
        if not mine.meaning.equals(theirs.meaning, box):
            text = f"{_what(mine, box)} -> {_what(theirs, box)}"
            found.append((("~", theirs.rule.kind, text), mine.kind, box))
        elif mine.canonical and mine.rule.kind == "node" and (text := _renumbered(mine, theirs, box)):
            found.append((("~", "number", text), mine.kind, box))
    found += _left("-", before, gone)
    found += _left("+", after, come)
    return list(_together(found))


def _left(mark: Mark, pieces: Iterable[_Piece], left: Mapping[int, Sequence[Box]]) -> Iterator[_Found]:
    for piece in pieces:
        for box in merged(left[id(piece)]):
            yield (mark, piece.rule.kind, _what(piece, box)), piece.kind, box


def _same(piece: _Piece) -> tuple[object, ...]:
    where = (piece.rule.start, piece.block.first, piece.block.coordinates, piece.block.sets)
    return (piece.kind, piece.box, replace(piece.meaning, texts=()), where if piece.rule.kind == "node" else ())


def _pairs(before: Sequence[_Piece], after: Sequence[_Piece]) -> Iterator[tuple[_Piece, _Piece, Box]]:
    """Yield the pieces that share names, and which."""
    grouped: dict[_Kind, list[_Piece]] = {}
    for piece in after:
        grouped.setdefault(piece.kind, []).append(piece)
    index = {kind: SpanIndex((*piece.first, piece) for piece in pieces) for kind, pieces in grouped.items()}
    for mine in before:
        if mine.kind in index:
            for theirs in index[mine.kind].overlapping(*mine.first):
                box = intersection(mine.box, theirs.box)
                if box is not None:
                    yield mine, theirs, box


def _pieces(rules: Iterable[Rule]) -> Iterator[_Piece]:
    for rule in rules:
        for interface in rule.interfaces:
            for pattern in (interface.name, *interface.aliases):
                for piece in pieces_of(rule, interface, pattern):
                    yield _piece(piece, interface, canonical=pattern is interface.name)


def _piece(piece: NamePiece, interface: Interface, *, canonical: bool) -> _Piece:
    literals, sets = iter(piece.literals), iter(piece.sets)
    rest = iter(piece.pattern.fields)
    box: list[RangeSet] = []
    fields: list[Field | None] = []
    shown_at: dict[str, tuple[int, int]] = {}
    for at, (_, _, is_field) in enumerate(piece.cuts):
        if is_field:
            box.append(next(sets))
            field = next(rest)
            fields.append(field)
            shown_at[field.coordinate] = (at, field.offset)
        else:
            value = int(next(literals))
            box.append(RangeSet.between(value, value))
            fields.append(None)
    meaning = _meaning(piece, interface, shown_at, len(box), canonical=canonical)
    kind = (piece.shape, tuple((start, end) for start, end, _ in piece.cuts))
    return _Piece(kind, tuple(box), meaning, piece.rule, piece.block, tuple(fields), piece.pattern.text, canonical)


def _meaning(
    piece: NamePiece,
    interface: Interface,
    shown_at: Mapping[str, tuple[int, int]],
    dimensions: int,
    *,
    canonical: bool,
) -> _Meaning:
    name, addresses = interface.name, interface.addresses
    wanted = [{field.coordinate: 1} for field in name.fields] if not canonical else []
    bases = [field.offset for field in name.fields] if not canonical else []
    wanted += [dict(address.terms) for address in addresses]
    bases += [address.base for address in addresses]
    linear = [
        _linear(base, terms, shown_at, piece.block, dimensions) for base, terms in zip(bases, wanted, strict=True)
    ]
    versions = tuple(address.version for address in addresses)
    texts = tuple(address.text for address in addresses)
    fixed: tuple[object, ...] = (piece.rule.kind, interface.label, canonical, versions)
    if not canonical:
        fixed += (tuple((part if isinstance(part, str) else ("", part.width)) for part in name.parts),)
    if any(each is None for each in linear):
        # A running number in the name and coordinates in the address, or the other way round: all follows from the
        # whole order of the rule's members, so any change of it counts.
        order = tuple((block.coordinates, block.sets) for block in piece.rule.blocks)
        return _Meaning((*fixed, name, piece.pattern, texts, piece.rule.start, order), (), versions, texts)
    return _Meaning(fixed, tuple(each for each in linear if each is not None), versions, texts)


def _linear(
    base: int, terms: Mapping[str, int], shown_at: Mapping[str, tuple[int, int]], block: Block, dimensions: int
) -> _Linear | None:
    weights = [0] * dimensions
    for coordinate, weight in terms.items():
        if coordinate in shown_at:
            at, offset = shown_at[coordinate]
            weights[at] += weight
            base -= weight * offset
        elif coordinate in block.coordinates and block.sets[block.coordinates.index(coordinate)].size == 1:
            base += weight * block.sets[block.coordinates.index(coordinate)].low
        else:
            return None
    return _Linear(base, tuple(weights))


def _what(piece: _Piece, box: Box) -> str:
    text = piece.meaning.shown(box) or "no address"
    if piece.canonical:
        return text
    return f"{text}, alias by {piece.pattern}"


def _renumbered(mine: _Piece, theirs: _Piece, box: Box) -> str:
    """Return in words how the running numbers of nodes change that keep name and address; empty if they do not."""
    before, after = _ranks(mine), _ranks(theirs)
    if before is None or after is None:
        return "" if _order(mine.rule) == _order(theirs.rule) else "running numbers change"
    shift = 0
    for (rank, weight), (new_rank, new_weight), values in zip(before, after, box, strict=True):
        steps = {new_rank(low) * new_weight - rank(low) * weight for low, _ in values.spans}
        if len(steps) > 1 or (weight != new_weight and any(low < high for low, high in values.spans)):
            return "running numbers change"
        shift += steps.pop()
    shift += theirs.rule.start + theirs.block.first - mine.rule.start - mine.block.first
    return f"running numbers move by {shift:+d}" if shift else ""


def _order(rule: Rule) -> tuple[object, ...]:
    return (rule.start, tuple((block.coordinates, block.sets) for block in rule.blocks))


def _ranks(piece: _Piece) -> list[tuple[Callable[[int], int], int]] | None:
    """Return, for each shown number, its rank in the block and what one step of it adds to the running number."""
    block = piece.block
    weights: dict[str, tuple[RangeSet, int]] = {}
    weight = 1
    for coordinate, values in zip(reversed(block.coordinates), reversed(block.sets), strict=True):
        weights[coordinate] = (values, weight)
        weight *= values.size
    seen = {field.coordinate for field in piece.fields if field is not None}
    if any(values.size > 1 and name not in seen for name, (values, _) in weights.items()):
        return None
    return [_rank(field, weights) for field in piece.fields]


def _rank(field: Field | None, weights: Mapping[str, tuple[RangeSet, int]]) -> tuple[Callable[[int], int], int]:
    if field is None:
        return (lambda _: 0), 0
    values, step = weights[field.coordinate]

    def rank(number: int) -> int:
        return values.rank(number - field.offset) or 0

    return rank, step


def _together(found: Iterable[_Found]) -> Iterator[Touched]:
    """Yield one line for all names of which the same is to be said."""
    grouped: dict[tuple[Mark, str, str], list[tuple[_Kind, Box]]] = {}
    for key, kind, box in found:
        grouped.setdefault(key, []).append((kind, box))
    for (mark, what, text), boxes in grouped.items():
        names = ",".join(_folded(kind, box) for kind, box in boxes)
        yield Touched(mark, what, names, text, sum(size(box) for _, box in boxes))


def _folded(kind: _Kind, box: Box) -> str:
    """Return the names of a box as one list of host names."""
    (text, lengths), cuts = kind
    runs: list[str] = []
    at, end = 0, 0
    for length in lengths:
        end += length
        run = ""
        while at < len(cuts) and cuts[at][1] <= end:
            run += _numbers(box[at], cuts[at][1] - cuts[at][0])
            at += 1
        runs.append(run)
    pieces = text.split("#")
    return pieces[0] + "".join(run + piece for run, piece in zip(runs, pieces[1:], strict=True))


def _numbers(values: RangeSet, width: int) -> str:
    spans = [
        str(low).zfill(width) if low == high else f"{str(low).zfill(width)}-{str(high).zfill(width)}"
        for low, high in values.spans
    ]
    return spans[0] if values.size == 1 else f"[{','.join(spans)}]"
