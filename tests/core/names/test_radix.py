"""Mixed-radix sets against their enumeration."""

from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beonss.core.names.radix import Budget, MixedRadix, UndecidedError
from beonss.core.names.ranges import RangeSet

DIGITS = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda values: RangeSet((v, v) for v in values))
TERMS = st.lists(st.tuples(st.sampled_from([1, 2, 7, 10, 16, 20, 100, 256]), DIGITS), max_size=3)
SETS = st.builds(
    lambda base, terms: MixedRadix(base, [w for w, _ in terms], [d for _, d in terms]), st.integers(0, 300), TERMS
)


def enumerated(numbers: MixedRadix) -> list[int]:
    return sorted(numbers.encode(values) for values in product(*numbers.digits))


@settings(max_examples=300)
@given(SETS)
def test_positional_means_one_to_one(numbers: MixedRadix) -> None:
    """A positional set has no number twice, and each decodes to the digits it came from."""
    everything = enumerated(numbers)
    assert (numbers.low, numbers.high) == (everything[0], everything[-1])
    assume(numbers.positional)
    assert len(set(everything)) == len(everything)
    for values in product(*numbers.digits):
        assert numbers.decode(numbers.encode(values)) == list(values)


@settings(max_examples=300)
@given(SETS.filter(lambda numbers: numbers.positional), st.integers(-10, 4000))
def test_decode_and_successor_agree_with_enumeration(numbers: MixedRadix, number: int) -> None:
    everything = enumerated(numbers)
    assert (numbers.decode(number) is not None) == (number in everything)
    assert numbers.successor(number) == min((each for each in everything if each >= number), default=None)


POSITIONAL = SETS.filter(lambda numbers: numbers.positional)


@settings(max_examples=500)
@given(POSITIONAL, POSITIONAL)
def test_first_common_agrees_with_enumeration(one: MixedRadix, two: MixedRadix) -> None:
    """A number is found exactly when there is one, and it is in both sets."""
    common = set(enumerated(one)) & set(enumerated(two))
    found = one.first_common(two)
    assert (found in common) if common else found is None
    assert (two.first_common(one) is None) == (found is None)


def octets(a: RangeSet, b: RangeSet, c: RangeSet) -> MixedRadix:
    return MixedRadix(10 << 24, [1 << 16, 1 << 8, 1], [a, b, c])


def test_millions_of_addresses_are_compared_in_a_few_steps() -> None:
    """Sets that line up are cut into octets: 16 million against 16 million takes fewer than ten steps."""
    every, odd = RangeSet.between(0, 255), RangeSet.between(1, 254)
    budget = Budget(10)
    assert octets(every, every, odd).first_common(octets(every, every, RangeSet(((0, 0), (255, 255)))), budget) is None
    assert octets(every, every, odd).first_common(octets(every, every, RangeSet.between(254, 255)), budget) is not None


def test_a_span_against_octets_takes_a_few_steps() -> None:
    """A linear rule is compared with a template by leaps, not by members."""
    template = octets(RangeSet.between(0, 99), RangeSet.between(0, 255), RangeSet.between(1, 254))
    span = MixedRadix((10 << 24) + (100 << 16), [1], [RangeSet.between(0, 5_000_000)])
    assert span.first_common(template, Budget(10)) is None
    touching = MixedRadix((10 << 24) + (99 << 16) + 0xFFFE, [1], [RangeSet.between(0, 5_000_000)])
    assert touching.first_common(template, Budget(10)) == (10 << 24) + (99 << 16) + 0xFFFE


def test_what_takes_too_long_is_undecided() -> None:
    """Strides that never line up are given up on, after a bounded number of steps, never guessed."""
    many, two = RangeSet.between(0, 10**7), RangeSet.between(0, 1)
    # 20a + b + 2 and 15c + d differ modulo 5, which no cut shows.
    one, other = MixedRadix(2, [20, 1], [many, two]), MixedRadix(0, [15, 1], [many, two])
    with pytest.raises(UndecidedError):
        one.first_common(other)
    with pytest.raises(UndecidedError):
        one.first_common(other, Budget(3))


def test_two_progressions_are_compared_by_arithmetic() -> None:
    """Millions of members with strides that do not line up: no steps at all."""
    many = RangeSet.between(0, 10**7)
    assert MixedRadix(0, [2], [many]).first_common(MixedRadix(1, [2], [many]), Budget(0)) is None
    assert MixedRadix(2, [20], [many]).first_common(MixedRadix(3, [15], [many]), Budget(0)) is None
    assert MixedRadix(2, [20], [many]).first_common(MixedRadix(7, [15], [many]), Budget(0)) == 22
    odd = RangeSet((n, n) for n in range(1, 10_000, 2))
    assert MixedRadix(0, [1], [odd]).first_common(MixedRadix(1, [1], [odd]), Budget(0)) is None


@given(
    st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(0, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(0, 9), st.integers(1, 9)),
)
def test_progressions_agree_with_enumeration(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> None:
    a, b = (MixedRadix(base, [w], [RangeSet.between(low, low + size)]) for base, w, low, size in (one, two))
    assert a.first_common(b, Budget(0)) == min(set(enumerated(a)) & set(enumerated(b)), default=None)
