"""The two members, the common name or the common address that a refusal of the proof shows."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from beonss.core.names.nameindex import NamePiece
from beonss.core.names.patterns import Address, AddressPattern
from beonss.core.names.radix import Budget, MixedRadix, UndecidedError
from beonss.core.names.ranges import Block, RangeSet

#: Steps the search for one counterexample may take.
STEPS = 20_000


def lost_coordinate(used: Sequence[str], block: Block) -> str | None:
    """Return a coordinate that varies in the block and is not used."""
    for name, values in zip(block.coordinates, block.sets, strict=True):
        if values.size > 1 and name not in used:
            return name
    return None


def two_members(block: Block, coordinate: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return two members that differ in one coordinate only."""
    one = block.values(block.first)
    at = block.coordinates.index(coordinate)
    return one, one | {coordinate: block.sets[at].at(1)}


def crowded(pattern: AddressPattern, block: Block, numbers: MixedRadix) -> str:
    """Return why a pattern whose digits have no room is refused, with a counterexample where one is found."""
    names = list(pattern.terms)
    for at, weight in sorted(enumerate(numbers.weights), key=lambda each: each[1]):
        others = [i for i, other in enumerate(numbers.weights) if other < weight or (other == weight and i < at)]
        rest = MixedRadix(0, [numbers.weights[i] for i in others], [numbers.digits[i] for i in others])
        if numbers.digits[at].size < 2 or rest.high - rest.low < weight or not rest.positional:
            continue
        low = numbers.digits[at].at(0)
        step = numbers.digits[at].at(1) - low
        try:
            common = rest.first_common(MixedRadix(step * weight, rest.weights, rest.digits), Budget(STEPS))
        except UndecidedError:
            common = None
        spread = f"{weight} addresses for each {names[at]} leave no room for the {rest.high - rest.low + 1} below it"
        if common is None:
            return f"{pattern.text}: {spread}; use a larger weight for {{{names[at]}}}"
        values = {name: each.low for name, each in zip(block.coordinates, block.sets, strict=True)}
        one, two = _digits(rest, common), _digits(rest, common - step * weight)
        first = values | {names[i]: digit for i, digit in zip(others, one, strict=True)} | {names[at]: low}
        second = values | {names[i]: digit for i, digit in zip(others, two, strict=True)} | {names[at]: low + step}
        address = address_of(pattern.version, pattern.number(first))
        return f"{address} would be both {said(first)} and {said(second)}: {spread}"
    return f"{pattern.text}: its weights leave no room for the digits below them; use larger weights"


def _digits(numbers: MixedRadix, number: int) -> list[int]:
    digits = numbers.decode(number)
    assert digits is not None
    return digits


def common_name(one: NamePiece, two: NamePiece, budget: Budget) -> str | None:
    """Return a name both pieces make, or None; both have the same shape."""
    if one.cuts == two.cuts:
        if one.literals != two.literals:
            return None
        shown: list[int] = []
        for mine, theirs in zip(one.sets, two.sets, strict=True):
            budget.spend(min(len(mine.spans), len(theirs.spans)))
            value = mine.first_common(theirs)
            if value is None:
                return None
            shown.append(value)
        return one.example(shown)
    # Fields stand at different places: compare each run of digits as a number with decimal places.
    digits = ""
    at = 0
    for length in one.shape[1]:
        common = _run(one, at, length).first_common(_run(two, at, length), budget)
        if common is None:
            return None
        digits += str(common).zfill(length)
        at += length
    shown = [int(digits[start:end]) for start, end, field in one.cuts if field]
    return one.example(shown)


def _run(piece: NamePiece, start: int, length: int) -> MixedRadix:
    """Return what a run of digits of a piece can be, as numbers."""
    weights = []
    sets = []
    fields, literals = iter(piece.sets), iter(piece.literals)
    for first, last, field in piece.cuts:
        values = next(fields) if field else RangeSet.between(*(int(next(literals)),) * 2)
        if start <= first and last <= start + length:
            weights.append(10 ** (start + length - last))
            sets.append(values)
    return MixedRadix(0, weights, sets)


def said(values: Mapping[str, int]) -> str:
    """Return coordinates as an operator says them: ``rack 1, slot 7``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def address_of(version: int, number: int) -> Address:
    """Return the address that is this integer."""
    return IPv4Address(number) if version == 4 else IPv6Address(number)
