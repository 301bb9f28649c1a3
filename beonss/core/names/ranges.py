"""Sets of whole numbers as a few spans, products of them, and Slurm's list syntax; nothing is ever enumerated.

``1-8,10`` and ``0-16777215`` cost the same: one pair of numbers per span. The zero padding of a list
(``01-12``) is kept beside the numbers, as Slurm does (scontrol(1), "hostlist").
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import Generic, TypeVar

#: Coordinates and counts stay below this; ten digits are room for every address of IPv4.
LIMIT = 10**10

T = TypeVar("T")

_ITEM = re.compile(r"([0-9]+)(?:\s*-\s*([0-9]+))?", re.ASCII)


class RangeError(ValueError):
    """A list of ranges that cannot be read; the text says why and what to write."""


class RangeSet:
    """An immutable set of whole numbers, kept as sorted, disjoint, non-adjacent inclusive spans.

    Attributes:
        spans: ``((low, high), ...)``, ascending.
        size: how many numbers are in the set.
    """

    __slots__ = ("_before", "_lows", "size", "spans")

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        merged: list[tuple[int, int]] = []
        for low, high in sorted(spans):
            if high < low:
                continue
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self.spans: tuple[tuple[int, int], ...] = tuple(merged)
        self._lows = [low for low, _ in merged]
        self._before = [0, *accumulate(high - low + 1 for low, high in merged)]
        self.size: int = self._before[-1]

    @classmethod
    def between(cls, low: int, high: int) -> "RangeSet":
        """Return all numbers from ``low`` to ``high``, both included."""
        return cls(((low, high),))

    @property
    def low(self) -> int:
        """The least number; IndexError when empty."""
        return self.spans[0][0]

    @property
    def high(self) -> int:
        """The greatest number; IndexError when empty."""
        return self.spans[-1][1]

    def __bool__(self) -> bool:
        return self.size > 0

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self._lows, value) - 1
        return at >= 0 and value <= self.spans[at][1]

    def __iter__(self) -> Iterator[int]:
        for low, high in self.spans:
            yield from range(low, high + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.spans == other.spans

    def __hash__(self) -> int:
        return hash(self.spans)

    def __repr__(self) -> str:
        return f"RangeSet({str(self)!r})"

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.spans)

    def rank(self, value: int) -> int | None:
        """Return how many numbers of the set are below ``value``, or None if ``value`` is not in it."""
        at = bisect_right(self._lows, value) - 1
        if at < 0 or value > self.spans[at][1]:
            return None
        return self._before[at] + value - self._lows[at]

    def at(self, rank: int) -> int:
        """Return the number of that rank, counted from 0; IndexError outside the set."""
        if not 0 <= rank < self.size:
            raise IndexError(rank)
        at = bisect_right(self._before, rank) - 1
        return self._lows[at] + rank - self._before[at]

    def successor(self, value: int) -> int | None:
        """Return the least number that is ``value`` or more, or None."""
        at = bisect_right(self._lows, value) - 1
        if at >= 0 and value <= self.spans[at][1]:
            return value
        return self._lows[at + 1] if at + 1 < len(self._lows) else None

    def floor(self, value: int) -> int | None:
        """Return the greatest number that is ``value`` or less, or None."""
        at = bisect_right(self._lows, value) - 1
        return None if at < 0 else min(value, self.spans[at][1])

    def clipped(self, low: int, high: int) -> "RangeSet":
        """Return the numbers from ``low`` to ``high``."""
        first = max(bisect_right(self._lows, low) - 1, 0)
        last = bisect_right(self._lows, high)
        return RangeSet((max(a, low), min(b, high)) for a, b in self.spans[first:last])

    def shifted(self, distance: int) -> "RangeSet":
        """Return every number plus ``distance``."""
        return RangeSet((low + distance, high + distance) for low, high in self.spans) if distance else self

    def first_common(self, other: "RangeSet") -> int | None:
        """Return the least number in both sets, or None."""
        few, many = (self, other) if len(self.spans) <= len(other.spans) else (other, self)
        for low, high in few.spans:
            at = bisect_left(many._lows, low)  # noqa: SLF001 - the same class
            for a, b in many.spans[max(at - 1, 0) : at + 1]:
                if b >= low and a <= high:
                    return max(a, low)
        return None

    def union(self, *others: "RangeSet") -> "RangeSet":
        """Return the numbers of all the sets."""
        return RangeSet(span for each in (self, *others) for span in each.spans)


def parse_list(text: str) -> tuple[RangeSet, int]:
    """Read a list as Slurm writes it: ``7``, ``1-8``, ``[01-04,07]``.

    Returns:
        The numbers, and the width of zero-padded numbers (0 when none is padded).

    Raises:
        RangeError: the text is no such list, repeats a number, or mixes paddings.
    """
    body = text.strip()
    if body.startswith("[") and body.endswith("]"):
        body = body[1:-1]
    spans: list[tuple[int, int]] = []
    widths: set[int] = set()
    shortest = LIMIT
    for item in body.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise RangeError(f"{_shown(item)} is not a number or a range; write a list such as 1-8,10")
        first, last = match[1], match[2] or match[1]
        if max(len(first), len(last)) > len(str(LIMIT)) - 1:
            raise RangeError(f"{_shown(item)} has more than {len(str(LIMIT)) - 1} digits")
        low, high = int(first), int(last)
        if high < low:
            raise RangeError(f"{item.strip()} runs backwards; write {last}-{first}")
        if len(first) > 1 and first[0] == "0":
            widths.add(len(first))
        elif len(last) > 1 and last[0] == "0":
            raise RangeError(
                f"{item.strip()} pads its end but not its beginning; write {first.zfill(len(last))}-{last}"
            )
        shortest = min(shortest, len(first))
        spans.append((low, high))
    if len(widths) > 1 or (widths and shortest < max(widths)):
        raise RangeError(f"{_shown(body)} mixes numbers of different zero padding; pad them all alike")
    spans.sort()
    for (_, high), (low, _) in pairwise(spans):
        if low <= high:
            raise RangeError(f"{low} is listed twice; list each number once")
    return RangeSet(spans), (widths.pop() if widths else 0)


def _shown(text: str) -> str:
    """Return ``text`` quoted and short enough for a message."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


class SpanIndex(Generic[T]):
    """Items that each cover a span of numbers, found by a number or a span they may overlap.

    A lookup costs a bisection and one step for each item whose span encloses the place; where spans do
    not overlap, that is one.
    """

    __slots__ = ("_items", "_lows", "_reach")

    def __init__(self, items: Iterable[tuple[int, int, T]]) -> None:
        self._items = sorted(items, key=lambda item: item[:2])
        self._lows = [low for low, _, _ in self._items]
        self._reach = list(accumulate((high for _, high, _ in self._items), max))

    def __iter__(self) -> Iterator[tuple[int, int, T]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def overlapping(self, low: int, high: int) -> Iterator[T]:
        """Yield the items whose span shares a number with ``low`` to ``high``, the last beginning first."""
        at = bisect_right(self._lows, high) - 1
        while at >= 0 and self._reach[at] >= low:
            if self._items[at][1] >= low:
                yield self._items[at][2]
            at -= 1

    def pairs(self) -> Iterator[tuple[T, T]]:
        """Yield each two items whose spans overlap, once."""
        open_: list[tuple[int, T]] = []
        for low, high, item in self._items:
            open_ = [each for each in open_ if each[0] >= low]
            for _, other in open_:
                yield other, item
            open_.append((high, item))


@dataclass(frozen=True)
class Block:
    """A product of ranges, the first coordinate most significant.

    Attributes:
        coordinates: their names; ``("node",)`` for a block that is counted by the running number.
        sets: the values of each; none empty.
        first: index in its rule of its first member.
        line: where it is described.
    """

    coordinates: tuple[str, ...]
    sets: tuple[RangeSet, ...]
    first: int
    line: int

    @cached_property
    def size(self) -> int:
        """How many members it has."""
        return prod(each.size for each in self.sets)

    def values(self, index: int) -> dict[str, int]:
        """Return the coordinates of the member with this index in its rule."""
        rest = index - self.first
        result: list[int] = []
        for each in reversed(self.sets):
            rest, rank = divmod(rest, each.size)
            result.append(each.at(rank))
        return dict(zip(self.coordinates, reversed(result), strict=True))

    def index(self, values: Mapping[str, int]) -> int | None:
        """Return the index in its rule of the member with these coordinates, or None.

        A coordinate that is not given counts as its least value; where it has more, the proof refuses the
        pattern that lacks it.
        """
        index = 0
        for name, each in zip(self.coordinates, self.sets, strict=True):
            rank = each.rank(values[name]) if name in values else 0
            if rank is None:
                return None
            index = index * each.size + rank
        return self.first + index
