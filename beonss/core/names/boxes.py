"""Products of number ranges (rack 1-8 x slot 1-40), cut and subtracted without enumerating what is in them."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

from beonss.core.names.ranges import RangeSet

#: One set for each dimension; every box of one comparison has the same number of them.
Box = tuple[RangeSet, ...]


def common(one: RangeSet, other: RangeSet) -> RangeSet:
    """Return the numbers in both sets."""
    return RangeSet(span for low, high in one.spans for span in other.clipped(low, high).spans)


def without(one: RangeSet, other: RangeSet) -> RangeSet:
    """Return the numbers of ``one`` that are not in ``other``."""
    return RangeSet(_gaps(one, other))


def _gaps(one: RangeSet, other: RangeSet) -> Iterator[tuple[int, int]]:
    for low, high in one.spans:
        at = low
        for first, last in other.clipped(low, high).spans:
            if first > at:
                yield at, first - 1
            at = last + 1
        if at <= high:
            yield at, high


def size(box: Box) -> int:
    """Return how many points a box has; a box without dimensions has one."""
    return prod(each.size for each in box)


def intersection(one: Box, other: Box) -> Box | None:
    """Return the points in both boxes; None if there are none."""
    result = []
    for mine, theirs in zip(one, other, strict=True):
        both = common(mine, theirs)
        if not both:
            return None
        result.append(both)
    return tuple(result)


def subtract(box: Box, other: Box) -> list[Box]:
    """Return the points of ``box`` that are not in ``other``, as boxes that share no point."""
    inner = intersection(box, other)
    if inner is None:
        return [box]
    result: list[Box] = []
    for at, (mine, both) in enumerate(zip(box, inner, strict=True)):
        rest = without(mine, both)
        if rest:
            result.append((*inner[:at], rest, *box[at + 1 :]))
    return result


def merged(boxes: Iterable[Box]) -> list[Box]:
    """Return disjoint boxes put together where two differ in one dimension only; the points stay the same."""
    result = list(dict.fromkeys(boxes))
    dimensions = len(result[0]) if result else 0
    for at in reversed(range(dimensions)):
        grouped: dict[Sequence[RangeSet], list[RangeSet]] = {}
        for box in result:
            grouped.setdefault((*box[:at], *box[at + 1 :]), []).append(box[at])
        result = [
            (*rest[:at], sets[0].union(*sets[1:]), *rest[at:])
            for rest, sets in ((tuple(r), s) for r, s in grouped.items())
        ]
    return result
