"""Sets of numbers as spans, against Python's own sets; Slurm's lists, read without enumerating."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.names.ranges import RangeError, RangeSet, SpanIndex, parse_list

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=6
)


def plain(spans: list[tuple[int, int]]) -> set[int]:
    return {value for low, high in spans for value in range(low, high + 1)}


@given(SPANS, st.integers(-2, 80))
def test_agrees_with_a_set(spans: list[tuple[int, int]], value: int) -> None:
    """Membership, size, order, rank, successor and floor are those of the enumerated set."""
    ranges, numbers = RangeSet(spans), sorted(plain(spans))
    assert list(ranges) == numbers
    assert ranges.size == len(numbers)
    assert bool(ranges) == bool(numbers)
    assert (value in ranges) == (value in numbers)
    assert ranges.rank(value) == (numbers.index(value) if value in numbers else None)
    assert ranges.successor(value) == min((n for n in numbers if n >= value), default=None)
    assert ranges.floor(value) == max((n for n in numbers if n <= value), default=None)
    assert [ranges.at(rank) for rank in range(ranges.size)] == numbers
    for a, b in zip(ranges.spans, ranges.spans[1:], strict=False):
        assert b[0] > a[1] + 1


@given(SPANS, SPANS, st.integers(0, 30), st.integers(0, 40))
def test_operations_agree_with_sets(
    one: list[tuple[int, int]], two: list[tuple[int, int]], low: int, size: int
) -> None:
    a, b = RangeSet(one), RangeSet(two)
    assert set(a.union(b)) == plain(one) | plain(two)
    assert a.first_common(b) == min(plain(one) & plain(two), default=None)
    assert set(a.clipped(low, low + size)) == {n for n in plain(one) if low <= n <= low + size}
    assert set(a.shifted(low)) == {n + low for n in plain(one)}
    assert (a == b) == (plain(one) == plain(two))
    if a == b:
        assert hash(a) == hash(b)


@given(SPANS.filter(bool))
def test_a_printed_list_reads_back(spans: list[tuple[int, int]]) -> None:
    ranges = RangeSet(spans)
    assert parse_list(str(ranges)) == (ranges, 0)
    assert parse_list(f"[{ranges}]") == (ranges, 0)


def test_at_is_bounded() -> None:
    with pytest.raises(IndexError):
        RangeSet.between(1, 3).at(3)
    with pytest.raises(IndexError):
        RangeSet.between(1, 3).at(-1)


def test_sixteen_million_numbers_are_one_span() -> None:
    ranges, width = parse_list("0-16777215")
    assert (ranges.spans, ranges.size, width) == (((0, 16777215),), 16777216, 0)


@pytest.mark.parametrize(
    ("text", "spans", "width"),
    [
        ("7", ((7, 7),), 0),
        ("1-8,10", ((1, 8), (10, 10)), 0),
        ("10,1-9", ((1, 10),), 0),
        ("[01-04,07]", ((1, 4), (7, 7)), 2),
        ("08-10", ((8, 10),), 2),
        ("08-09,10,100", ((8, 10), (100, 100)), 2),
        (" 1 - 3 , 5 ", ((1, 3), (5, 5)), 0),
        ("0", ((0, 0),), 0),
        ("000-127", ((0, 127),), 3),
    ],
)
def test_slurm_lists(text: str, spans: tuple[tuple[int, int], ...], width: int) -> None:
    """Padding is kept beside the numbers; order and brackets do not matter."""
    ranges, found = parse_list(text)
    assert (ranges.spans, found) == (spans, width)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a number"),
        ("1-", "is not a number"),
        ("-1", "is not a number"),
        ("1--2", "is not a number"),
        ("a", "is not a number"),
        ("1,,2", "is not a number"),
        ("[1", "is not a number"),
        ("\u0661", "is not a number"),
        ("1-2-3", "is not a number"),
        ("5-1", "runs backwards; write 1-5"),
        ("1-4,3", "3 is listed twice"),
        ("01,2", "mixes numbers"),
        ("01,002", "mixes numbers"),
        ("1-08", "pads its end"),
        ("9" * 11, "more than 10 digits"),
        ("x" * 1000, "..."),
    ],
)
def test_what_is_no_list_says_why(text: str, why: str) -> None:
    with pytest.raises(RangeError, match=why.replace("...", r"\.\.\.")) as caught:
        parse_list(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=20))
def test_any_text_is_a_list_or_a_range_error(text: str) -> None:
    with suppress(RangeError):
        parse_list(text)


@given(SPANS, st.integers(0, 70), st.integers(0, 5))
def test_span_index_finds_what_overlaps(spans: list[tuple[int, int]], low: int, size: int) -> None:
    """Exactly the items that share a number with the question are found, and each overlapping pair once."""
    index = SpanIndex((a, b, at) for at, (a, b) in enumerate(spans))
    expected = [at for at, (a, b) in enumerate(spans) if a <= low + size and b >= low]
    assert sorted(index.overlapping(low, low + size)) == expected
    pairs = sorted(tuple(sorted(pair)) for pair in index.pairs())
    overlapping = [
        (i, j) for j in range(len(spans)) for i in range(j) if spans[i][0] <= spans[j][1] and spans[j][0] <= spans[i][1]
    ]
    assert pairs == sorted(overlapping)
    assert len(index) == len(list(index)) == len(spans)
