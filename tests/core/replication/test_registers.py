"""The laws of the merge, and what is refused from outside."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.registers import A, B, contexts, row, stamps

from beonss.core.replication.registers import (
    MAX_AUTHOR,
    MAX_CONTEXT,
    MAX_TIME,
    MAX_VALUE,
    MAX_VECTOR,
    Key,
    Register,
    Stamp,
    check_register,
    check_vector,
    concurrent,
    covers,
    includes,
    joined,
    merged,
    missing_registers,
    next_context,
    next_time,
)
from beonss.errors import MalformedError

registers = st.builds(
    lambda stamp, value, context: Register(Key("o", "f"), value, stamp, "", context),
    stamps,
    st.sampled_from([b"1", b"2"]),
    contexts,
)


@given(registers, registers)
def test_a_merge_is_commutative(one: Register, other: Register) -> None:
    winner, same = merged(one, other), merged(other, one)
    assert (winner.stamp, winner.value) == (same.stamp, same.value)


@given(registers, registers, registers)
def test_a_merge_is_associative(one: Register, two: Register, three: Register) -> None:
    left, right = merged(merged(one, two), three), merged(one, merged(two, three))
    assert (left.stamp, left.value) == (right.stamp, right.value)


@given(registers)
def test_a_merge_is_idempotent(one: Register) -> None:
    assert merged(one, one) is one
    assert merged(None, one) is one


@given(st.lists(registers, min_size=1, max_size=4))
def test_every_order_with_repeats_ends_in_the_same_winner(rows: list[Register]) -> None:
    winners = set()
    for order in itertools.permutations(rows):
        held = None
        for each in (*order, order[0]):
            held = merged(held, each)
        assert held is not None
        winners.add((held.stamp, held.value))
    assert len(winners) == 1


@given(st.integers(0, 10), registers)
def test_a_change_after_seeing_another_beats_it_whatever_the_clock(wall: int, seen: Register) -> None:
    change = Register(seen.key, b"new", Stamp(next_time(wall, seen), "0" * 32, 1))
    assert change.beats(seen)
    assert next_time(wall, None) == wall


@given(contexts, contexts, stamps)
def test_a_join_covers_what_either_covers_and_nothing_more(one: dict, other: dict, stamp: Stamp) -> None:
    both = joined(one, other)
    assert covers(both, stamp) == (covers(one, stamp) or covers(other, stamp))
    assert includes(both, one)
    assert includes(both, other)


def test_an_overwrite_and_a_concurrent_write_are_told_apart() -> None:
    first = row("o", "f", b"1", time=1, origin=A, sequence=1)
    after = row("o", "f", b"2", time=2, origin=B, sequence=1, context={A: 1})
    aside = row("o", "f", b"3", time=3, origin=B, sequence=2)
    assert after.saw(first)
    assert not concurrent(first, after)
    assert concurrent(first, aside)
    assert not concurrent(first, first)


def test_a_context_stays_short_and_never_forgets_what_it_overwrites() -> None:
    held = row("o", "f", b"0", origin=f"{0:032x}")
    for number in range(1, 3 * MAX_CONTEXT):
        context = next_context(held)
        new = row("o", "f", b"1", time=number, origin=f"{number:032x}", sequence=7, context=context)
        assert new.saw(held)
        assert len(context) <= MAX_CONTEXT
        held = new
    assert next_context() == {}
    other = row("o", "f", b"x", origin="e" * 32, sequence=3)
    assert {held.stamp.origin, other.stamp.origin} <= next_context(held, other).keys()


def test_missing_registers_are_those_that_a_vector_does_not_cover() -> None:
    rows = [row("o", f"f{n}", b"1", sequence=n) for n in (1, 2, 3)]
    assert missing_registers(rows, {A: 2}) == rows[2:]
    assert missing_registers(rows, {B: 9}) == rows


def test_a_value_is_never_in_a_repr() -> None:
    assert "$6$secret" not in repr(row("o", "password", b'{"hash":"$6$secret"}'))


def test_a_good_register_is_taken() -> None:
    check_register(row("f" * 32, "entry", b"{}"))
    check_vector({A: 0, B: 7})


@pytest.mark.parametrize(
    "change",
    [
        {"key": Key("", "entry")},
        {"key": Key("o" * 65, "entry")},
        {"key": Key("o", "a field")},
        {"key": Key("o", "f" * 129)},
        {"stamp": Stamp(-1, A, 1)},
        {"stamp": Stamp(MAX_TIME + 1, A, 1)},
        {"stamp": Stamp(1, "A" * 32, 1)},
        {"stamp": Stamp(1, "a" * 31, 1)},
        {"stamp": Stamp(1, A + "\n", 1)},
        {"stamp": Stamp(1, A, 0)},
        {"stamp": Stamp(1, A, 1 << 63)},
        {"value": b"x" * (MAX_VALUE + 1)},
        {"author": "x" * (MAX_AUTHOR + 1)},
        {"author": "\udc80"},
        {"context": {"x": 1}},
        {"context": {A: -1}},
        {"context": {f"{n:032x}": 1 for n in range(MAX_CONTEXT + 1)}},
    ],
)
def test_a_register_out_of_bounds_is_refused(change: dict) -> None:
    with pytest.raises(MalformedError):
        check_register(dataclasses.replace(row("o", "entry", b"{}"), **change))


def test_a_vector_out_of_bounds_is_refused() -> None:
    check_vector({f"{n:032x}": 1 for n in range(5000)})
    with pytest.raises(MalformedError):
        check_vector({f"{n:032x}": 1 for n in range(MAX_VECTOR + 1)})
