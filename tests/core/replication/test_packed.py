"""Registers in little memory are the registers that went in."""

from hypothesis import given
from hypothesis import strategies as st
from support.registers import contexts, row, stamps

from beonss.core.replication.packed import MANY, SHORT, PackedRegisters, remembered, shared, unpacked
from beonss.core.replication.registers import Key, Register, merged

fields = st.sampled_from(["entry", "lock", *(f"member:{n}" for n in range(MANY + 3))])
rows = st.builds(
    lambda field, value, stamp, author, context: Register(Key("o", field), value, stamp, author, context),
    fields, st.binary(max_size=3), stamps, st.sampled_from(["root@a", "sam@b"]), contexts,
)  # fmt: skip


@given(st.lists(rows, max_size=60))
def test_taking_registers_is_merging_them(taken: list[Register]) -> None:
    """One after the other, few or many: what stands is what a dict of the winners holds."""
    packed, oracle, source = PackedRegisters("o"), dict[str, Register](), None
    for register in taken:
        before = packed.cells() if isinstance(packed.fields, tuple) else None
        kept = packed.fields
        known = oracle.get(register.key.field)
        oracle[register.key.field] = merged(known, register)
        source = packed.take(register, source) or source
        assert before is None or kept == before, "cells that somebody holds never change"
    assert {found.key.field: found for found in packed.registers()} == oracle
    assert set(packed.names()) == set(oracle)
    for field in [*oracle, "none"]:
        assert packed.register(field) == oracle.get(field)
        assert packed.value(field) == (oracle[field].value if field in oracle else None)


@given(st.lists(rows, max_size=30), st.lists(rows, max_size=30))
def test_adding_cells_is_taking_their_registers(one: list[Register], other: list[Register]) -> None:
    both, first, second = PackedRegisters("o"), PackedRegisters("o"), PackedRegisters("o")
    for register in one:
        first.take(register)
        both.take(register)
    for register in other:
        second.take(register)
        both.take(register)
    added = PackedRegisters("o", first.cells())
    added.add(second.cells())
    assert set(map(str, added.registers())) == set(map(str, both.registers()))
    assert {r.key: r.value for r in added.registers()} == {r.key: r.value for r in both.registers()}


def test_what_one_commit_wrote_shares_time_origin_author_and_context() -> None:
    packed = PackedRegisters("o")
    source = packed.take(row("o", "entry", b"1", context={"b" * 32: 2}))
    assert packed.take(row("o", "lock", b"2", sequence=2, context={"b" * 32: 2}), source) is source
    assert packed.cells()[3] is packed.cells()[7]
    assert packed.take(row("o", "present", b"3", time=2, sequence=3, context={"b" * 32: 2}), source) is not source
    assert [found.stamp.sequence for found in unpacked("o", packed.cells())] == [1, 2, 3]


def test_long_values_are_not_remembered() -> None:
    """The bounds of the memory are those of short values."""
    calls: list[int] = []

    @remembered(2)
    def length(value: bytes) -> int:
        calls.append(len(value))
        return len(value)

    assert [length(b"x"), length(b"x"), length(bytes(SHORT + 1)), length(bytes(SHORT + 1))] == [
        1,
        1,
        SHORT + 1,
        SHORT + 1,
    ]
    assert calls == [1, SHORT + 1, SHORT + 1]
    assert shared(bytes([1, 2])) is shared(bytes([1, 2]))
