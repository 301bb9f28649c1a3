"""Slurm's lists of names: expanded lazily, folded without enumerating."""

from contextlib import suppress
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.names.hostlist import expand, folded
from beonss.core.names.patterns import parse_name_pattern
from beonss.core.names.ranges import Block, RangeError, RangeSet


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("frodo", ["frodo"]),
        ("frodo, gamgee", ["frodo", "gamgee"]),
        ("n[0-3,7]", ["n0", "n1", "n2", "n3", "n7"]),
        ("r[01-02]n[09-10]", ["r01n09", "r01n10", "r02n09", "r02n10"]),
        ("n[1-2]-ib,x", ["n1-ib", "n2-ib", "x"]),
        ("", []),
        ("n[098-100]", ["n098", "n099", "n100"]),
    ],
)
def test_expansion_is_slurms(text: str, names: list[str]) -> None:
    assert list(expand(text)) == names


def test_a_huge_list_costs_what_is_taken_of_it() -> None:
    assert list(islice(expand("a[0-999999999]b[0-999999999]"), 2)) == ["a0b0", "a0b1"]


@pytest.mark.parametrize(
    "text", ["n[1-2", "n]1[", "a b", ",a", "n[[1]]", "n[2-1]", "n[x]", "n[1]" * 9, "a,,b", "x" * (1 << 21)]
)
def test_what_is_no_list_is_refused_before_the_first_name(text: str) -> None:
    with pytest.raises(RangeError):
        expand(text)


@given(st.text(alphabet="n[]-,0123456789 ", max_size=20))
def test_any_text_is_a_list_or_a_range_error(text: str) -> None:
    with suppress(RangeError):
        list(islice(expand(text), 10))


@given(
    st.sets(st.integers(0, 120), min_size=1, max_size=8),
    st.sets(st.integers(0, 120), min_size=1, max_size=8),
    st.sampled_from(["r{a}n{b}", "r{a:02}n{b:03}", "x{b+5:02}y{a}-ib", "r{a}z"]),
)
def test_folding_and_expanding_are_inverse(a: set[int], b: set[int], text: str) -> None:
    """The folded list of a block is exactly its names."""
    pattern = parse_name_pattern(text)
    block = Block(("a", "b"), (RangeSet((v, v) for v in a), RangeSet((v, v) for v in b)), 0, 1)
    names = {pattern.format(block.values(i)) for i in range(block.size)}
    assert set(expand(folded(pattern, block))) == names
