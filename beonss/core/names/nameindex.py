"""Finding the rule that made a name, whatever the number of nodes.

A name is cut into its runs of digits and the rest. A pattern, once each of its fields has a fixed number of
digits, gives names of one *shape*: the same rest, the same lengths of runs, each field at fixed places
in the digits. So a name leads by one dictionary lookup to the few shapes it can have, and each shape reads the
field values by slicing; nothing is ambiguous within a shape.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from beonss.core.names.numbering import Interface, Rule
from beonss.core.names.patterns import Field, NamePattern
from beonss.core.names.ranges import Block, RangeSet, SpanIndex

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_FIELD_MARK = "#"
_RUNS = re.compile(r"[0-9#]+", re.ASCII)

#: (text with one mark for each run of digits, length of each run).
Shape = tuple[str, tuple[int, ...]]
#: (from, to, whether a field stands there rather than literal digits) over all digits of the name put together.
Cut = tuple[int, int, bool]
#: The literal digits of a name, in turn.
Literals = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamePiece:
    """The names one pattern gives one block, as far as they have one shape.

    Attributes:
        sets: the shown values of each field, from left to right.
        cuts: where the fields and the literal digits stand.
        literals: what the literal digits are.
    """

    rule: Rule
    block: Block
    interface: Interface
    pattern: NamePattern
    shape: Shape
    cuts: tuple[Cut, ...]
    literals: Literals
    sets: tuple[RangeSet, ...]

    def index(self, shown: Sequence[int]) -> int | None:
        """Return the index in the rule of the member whose fields show these numbers, or None."""
        for value, allowed in zip(shown, self.sets, strict=True):
            if value not in allowed:
                return None
        values = {f.coordinate: value - f.offset for f, value in zip(self.pattern.fields, shown, strict=True)}
        return self.block.index(values)

    def example(self, shown: Sequence[int]) -> str:
        """Return the name whose fields show these numbers."""
        values = {f.coordinate: value - f.offset for f, value in zip(self.pattern.fields, shown, strict=True)}
        return self.pattern.format(values)


def lengths_of(field: Field, values: RangeSet) -> list[tuple[int, RangeSet]]:
    """Split the shown values of a field by their number of digits: (digits, values) with none empty."""
    result = []
    least = max(field.width, 1)
    for digits in range(least, max(least, len(str(values.high))) + 1):
        part = values.clipped(0 if digits == least else 10 ** (digits - 1), 10**digits - 1)
        if part:
            result.append((digits, part))
    return result


def pieces_of(rule: Rule, interface: Interface, pattern: NamePattern) -> Iterator[NamePiece]:
    """Yield the pieces of one pattern."""
    for block in rule.spread(pattern):
        shown = [block.sets[block.coordinates.index(f.coordinate)].shifted(f.offset) for f in pattern.fields]
        for choice in product(*(lengths_of(f, values) for f, values in zip(pattern.fields, shown, strict=True))):
            shape, cuts, literals = _shape(pattern, [digits for digits, _ in choice])
            sets = tuple(values for _, values in choice)
            yield NamePiece(rule, block, interface, pattern, shape, cuts, literals, sets)


def count_pieces(rule: Rule, pattern: NamePattern) -> int:
    """Return how many pieces a pattern has, without making them."""
    total = 0
    for block in rule.spread(pattern):
        shown = (block.sets[block.coordinates.index(f.coordinate)].shifted(f.offset) for f in pattern.fields)
        total += prod(len(lengths_of(f, values)) for f, values in zip(pattern.fields, shown, strict=True))
    return total


def _shape(pattern: NamePattern, digits: Sequence[int]) -> tuple[Shape, tuple[Cut, ...], Literals]:
    text = ""
    cuts: list[Cut] = []
    literals: list[str] = []
    at = 0
    rest = iter(digits)
    for part in pattern.parts:
        if isinstance(part, Field):
            length = next(rest)
            cuts.append((at, at + length, True))
            at += length
            text += _FIELD_MARK * length
            continue
        for run in _DIGITS.findall(part):
            cuts.append((at, at + len(run), False))
            literals.append(run)
            at += len(run)
        text += part
    shape = (_RUNS.sub(_FIELD_MARK, text), tuple(len(run) for run in _RUNS.findall(text)))
    return shape, tuple(cuts), tuple(literals)


@dataclass(frozen=True, slots=True)
class Layout:
    """The pieces of one shape whose fields stand at the same places, by their literal digits."""

    cuts: tuple[Cut, ...]
    pieces: Mapping[Literals, SpanIndex[NamePiece]]

    def find(self, digits: str) -> tuple[NamePiece, int] | None:
        """Return the piece that makes a name with these digits, and the member's index."""
        pieces = self.pieces.get(tuple([digits[start:end] for start, end, field in self.cuts if not field]))
        if pieces is None:
            return None
        shown = [int(digits[start:end]) for start, end, field in self.cuts if field]
        first = shown[0] if shown else 0
        for piece in pieces.overlapping(first, first):
            index = piece.index(shown)
            if index is not None:
                return piece, index
        return None


class NameIndex:
    """All name patterns of all rules.

    Attributes:
        shapes: for each shape its layouts, nearly always one.
    """

    __slots__ = ("shapes",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        grouped: dict[Shape, dict[tuple[Cut, ...], dict[Literals, list[NamePiece]]]] = {}
        for rule in rules:
            for interface in rule.interfaces:
                for pattern in (interface.name, *interface.aliases):
                    for piece in pieces_of(rule, interface, pattern):
                        layouts = grouped.setdefault(piece.shape, {})
                        layouts.setdefault(piece.cuts, {}).setdefault(piece.literals, []).append(piece)
        self.shapes: dict[Shape, list[Layout]] = {
            shape: [
                Layout(cuts, {literals: SpanIndex(_spanned(pieces)) for literals, pieces in by_literals.items()})
                for cuts, by_literals in layouts.items()
            ]
            for shape, layouts in grouped.items()
        }

    def find(self, label: str) -> tuple[Rule, Interface, int] | None:
        """Return which rule, which of its networks and which of its members has this lower-case name."""
        runs = _DIGITS.findall(label)
        layouts = self.shapes.get((_DIGITS.sub(_FIELD_MARK, label), tuple(map(len, runs))))
        if layouts is None:
            return None
        digits = "".join(runs)
        for layout in layouts:
            hit = layout.find(digits)
            if hit is not None:
                return hit[0].rule, hit[0].interface, hit[1]
        return None


def _spanned(pieces: Sequence[NamePiece]) -> Iterator[tuple[int, int, NamePiece]]:
    for piece in pieces:
        yield (piece.sets[0].low, piece.sets[0].high, piece) if piece.sets else (0, 0, piece)
