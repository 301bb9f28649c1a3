"""The format of backups: what is written is read, and nothing else is."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.registers import A, B

from beonss.core.replication.registers import MAX_VALUE, Key, Register, Stamp
from beonss.errors import MalformedError
from beonss.wire.backup import (
    MAX_LINE,
    End,
    Header,
    Sealing,
    StateFile,
    Unsealing,
    Vector,
    decode,
    encode,
    register_from_json,
    register_to_json,
)

HEADER = Header("c" * 32, "frodo", 1_700_000_000_000, "0.1")
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
registers = st.builds(
    Register,
    st.builds(Key, names, names),
    st.binary(max_size=40) | st.just(b'{"locked":true}'),
    st.builds(Stamp, st.integers(0, 1 << 60), st.sampled_from([A, B]), st.integers(1, 1 << 60)),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.dictionaries(st.sampled_from([A, B]), st.integers(0, 1 << 60)),
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def lines(*items) -> list[bytes]:
    sealing = Sealing()
    made = [sealing.line(item) for item in items]
    return [*made, sealing.seal()]


@given(registers)
def test_every_register_comes_back(register):
    assert register_from_json(json.loads(json.dumps(register_to_json(register)))) == register
    assert decode(encode(register)) == register


@given(st.lists(registers, max_size=5))
def test_a_whole_backup_comes_back(rows):
    items = [HEADER, StateFile("members", b"\x92list"), *rows, Vector({A: 5})]
    unsealing = Unsealing()
    found = [unsealing.read(line) for line in lines(*items)]
    assert found[:-1] == items
    assert isinstance(found[-1], End)
    assert unsealing.complete
    assert unsealing.registers == len(rows)


@given(st.binary(max_size=80) | values.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_are_a_line_or_malformed(data):
    with contextlib.suppress(MalformedError):
        decode(data)


@given(st.sampled_from(["beonss-backup", "file", "register", "vector", "end"]), values, values)
def test_arbitrary_values_are_a_line_or_malformed(word, value, other):
    with contextlib.suppress(MalformedError):
        decode(json.dumps({word: value, "content": other, "time": 5}).encode())


@given(st.lists(leaves | st.dictionaries(st.text(max_size=3), leaves, max_size=2), min_size=8, max_size=9))
def test_arbitrary_registers_are_registers_or_malformed(raw):
    with contextlib.suppress(MalformedError):
        register_from_json(raw)


@given(st.data())
def test_a_backup_in_which_anything_was_changed_is_refused(data):
    """Bytes of a line replaced, a line lost, doubled or moved: never taken for whole."""
    row = Register(Key("o", "entry"), b"{}", Stamp(1, A, 1))
    good = lines(
        HEADER, StateFile("members", b"\x92list"), row, Register(Key("p", "lock"), b"1", Stamp(2, A, 2)), Vector({A: 2})
    )
    bad = list(good)
    place = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["lose", "double", "swap", "bytes"]))
    if how == "lose":
        del bad[place]
    elif how == "double":
        bad.insert(place, bad[place])
    elif how == "swap":
        other = data.draw(st.integers(0, len(good) - 1))
        bad[place], bad[other] = bad[other], bad[place]
    else:
        at = data.draw(st.integers(0, len(bad[place]) - 1))
        bad[place] = bad[place][:at] + bytes([data.draw(st.integers(0, 255))]) + bad[place][at + 1 :]
    unsealing = Unsealing()
    try:
        for line in bad:
            unsealing.read(line)
    except MalformedError:
        return
    # A byte of the end that means the same, or what was not changed after all.
    assert not unsealing.complete or bad[:-1] == good[:-1]


def test_lines_of_a_later_version_are_passed_over_but_not_its_format():
    unsealing = Unsealing()
    found = [unsealing.read(line) for line in lines(HEADER)[:1]]
    sealing = Sealing()
    first = sealing.line(HEADER)
    assert found == [HEADER]
    assert decode(b'{"future":[1,2]}\n') is None
    assert decode(first.replace(b'"time"', b'"more":1,"time"')) == HEADER
    with pytest.raises(MalformedError, match="use a newer one"):
        decode(first.replace(b'"beonss-backup":1', b'"beonss-backup":2'))


@pytest.mark.parametrize(
    "line",
    [
        b'{"register":["o","f","v",1,"%s",1,"a",{"x":true}]}' % A.encode(),
        b'{"register":["o","f","v",1,"%s",1,"a",[]]}' % A.encode(),
        b'{"register":["o","f",{"base64":5},1,"%s",1,"a",{}]}' % A.encode(),
        b'{"register":["o","f",{"base64":"!"},1,"%s",1,"a",{}]}' % A.encode(),
        b'{"register":["o","f",null,1,"%s",1,"a",{}]}' % A.encode(),
        b'{"register":["o","f","v",true,"%s",1,"a",{}]}' % A.encode(),
        b'{"vector":{"x":1}}',
        b'{"vector":[]}',
        b'{"end":5}',
        b'{"end":{"registers":true,"sha256":""}}',
        b'{"file":5,"content":"x"}',
        b'{"beonss-backup":1,"time":"now"}',
        b"[" * 100_000,
    ],
)
def test_lines_that_are_nearly_right_are_malformed(line):
    with pytest.raises(MalformedError):
        decode(line)


def test_two_headers_or_a_register_too_late_are_malformed():
    row = Register(Key("o", "entry"), b"{}", Stamp(1, A, 1))
    for items in ((HEADER, HEADER), (HEADER, Vector({}), row), (HEADER, Vector({}), Vector({})), (Vector({}),)):
        unsealing = Unsealing()
        made = lines(*items)
        for line in made[: len(items) - 1]:
            unsealing.read(line)
        with pytest.raises(MalformedError):
            unsealing.read(made[len(items) - 1])


def test_the_largest_register_fits_a_line():
    register = Register(
        Key("o" * 64, "f" * 128),
        b"\xff" * MAX_VALUE,
        Stamp(1, A, 1),
        "é" * 255,
        {f"{n:032x}": 1 << 62 for n in range(64)},
    )
    assert len(encode(register)) < MAX_LINE
    quoted = Register(Key("o", "f"), b'"' * MAX_VALUE, Stamp(1, A, 1))
    assert len(encode(quoted)) < MAX_LINE


def test_keys_are_not_shown():
    assert "secret" not in repr(StateFile("member.key", b"secret"))
