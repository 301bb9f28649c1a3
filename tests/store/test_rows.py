"""Rows of the table as the view takes them: nothing is lost on the way, and what is odd is said."""

import hashlib
import itertools
import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.registers import account_rows, contexts, row

from beonss.core.accounts.entries import is_public
from beonss.core.replication.packed import unpacked
from beonss.core.replication.registers import Key, Register, Stamp
from beonss.errors import MalformedError
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError
from beonss.store.local import dumped
from beonss.store.rows import Packing, fingerprint, to_row

rows = st.builds(
    lambda row, author, context: Register(row.key, row.value, row.stamp, author, context),
    account_rows(), st.sampled_from(["root@a", "", "Käse"]), contexts,
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(rows, max_size=20), st.integers(1, 7))
def test_what_is_packed_is_what_the_rows_hold(registers: list[Register], size: int) -> None:
    """In their order, whatever the batches; and how far what nodes may have reaches."""
    table = [to_row(register) for register in registers]
    packing = Packing()
    runs = list(packing.pack([table[start : start + size] for start in range(0, len(table), size)]))
    assert [register for identifier, cells in runs for register in unpacked(identifier, cells)] == registers
    assert all(one[0] != other[0] for one, other in itertools.pairwise(runs)), "a run is as long as it can be"
    assert packing.count == len(registers)
    high: dict[str, int] = {}
    for register in registers:
        if is_public(register.key.field):
            high[register.stamp.origin] = max(high.get(register.stamp.origin, 0), register.stamp.sequence)
    assert packing.high == high


odd = st.one_of(
    st.none(), st.integers(-(1 << 63), 1 << 63), st.floats(), st.text(max_size=3), st.binary(max_size=3),
    st.sampled_from(["{", "[]", "7", "null", '{"a":"b"}', '{"a":' * 2000]),
)  # fmt: skip


@settings(max_examples=500)
@given(rows, st.integers(0, 7), odd)
def test_whatever_stands_in_a_row_is_packed_or_refused(register: Register, column: int, value: object) -> None:
    """Columns of SQLite take anything; a hand that changed one must not end in a traceback."""
    table: list[object] = list(to_row(register))
    table[column] = value
    try:
        runs = list(Packing().pack([[to_row(register), tuple(table)]]))
    except MalformedError:
        return
    for identifier, cells in runs:
        for found in unpacked(identifier, cells):
            assert type(found.key.object) is type(found.key.field) is type(found.author) is str
            assert type(found.value) is bytes
            assert type(found.stamp.time) is type(found.stamp.sequence) is int
            assert all(type(number) is int for number in found.context.values())


names = st.one_of(
    st.sampled_from(["f" * 32, "member:1", 'a"b', "a\\b", "é", "\x7f", "\udc80", ""]), st.text(max_size=5)
)


@settings(max_examples=500)
@given(names, names, names, st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.binary(max_size=9))
@example("o", "entry", "a" * 32, 1, 2, b"x")
def test_a_fingerprint_is_the_digest_of_json(
    name: str, field: str, origin: str, time: int, sequence: int, value: bytes
) -> None:
    """As every version so far has made it: masters compare their sums."""
    text = json.dumps([name, field, time, origin, sequence, hashlib.sha256(value).hexdigest()])
    expected = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    assert fingerprint(Register(Key(name, field), value, Stamp(time, origin, sequence))) == expected


def test_a_row_changed_by_hand_is_a_broken_database(tmp_path: Path) -> None:
    """As an administrator would: the value is then text, which no version writes."""
    path = tmp_path / "accounts.db"
    database = Database(path, "c")
    database.merge([row("o1", "entry", b"secret"), row("o2", "lock", b"{}")])
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE register SET value = '{\"locked\":true}' WHERE object = 'o2'")
    connection.close()
    database = Database(path, "c")
    with pytest.raises(BrokenStoreError, match=r"accounts\.db: the register o2/lock .* by hand"):
        list(database.packed(Packing()))
    database.close()


@given(st.dictionaries(st.text(max_size=40), st.integers(0, 1 << 62), max_size=3))
def test_a_vector_is_the_same_json_however_it_is_made(vector: dict[str, int]) -> None:
    assert dumped(vector) == json.dumps(vector, sort_keys=True, separators=(",", ":"))
    assert dumped(dict(reversed(vector.items()))) == dumped(vector)
