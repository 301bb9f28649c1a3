"""The sync protocol's messages and frames: what is written is read, and anything else is MalformedError."""

import contextlib
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.cluster.members import Acceptance
from beonss.core.replication.registers import Key, Register, Stamp
from beonss.errors import MalformedError
from beonss.wire.feed import Batch, BatchContent, DescriptionContent, DescriptionDocument
from beonss.wire.frames import LENGTH_BYTES, MAXIMUM_FRAME, FrameReader, frame
from beonss.wire.registers import parcels, register_from_plain, register_to_plain
from beonss.wire.sync import (
    Acknowledge,
    Compare,
    End,
    Event,
    Heartbeat,
    Hello,
    Message,
    Page,
    Question,
    Refusal,
    Request,
    RosterUpdate,
    Unknown,
    decode,
    encode,
)

numbers = st.integers(0, 2**62)
words = st.text(max_size=60)
digits = st.text("0123456789abcdef", min_size=32, max_size=32)
vectors = st.dictionaries(digits, numbers, max_size=4)
keys = st.binary(min_size=32, max_size=32)
acceptances = st.builds(
    Acceptance,
    cluster=digits,
    name=st.text("abc-", min_size=1, max_size=60),
    invited=numbers,
    key=keys,
    signature=st.binary(min_size=64, max_size=64),
)
registers = st.builds(
    Register,
    key=st.builds(Key, words, words),
    value=st.binary(max_size=200),
    stamp=st.builds(Stamp, numbers, digits, numbers),
    author=words,
    context=vectors,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
maps = st.dictionaries(st.text(), plain, max_size=4)
several = st.lists(acceptances, max_size=3).map(tuple)
hellos = st.builds(
    Hello,
    role=words,
    cluster=words,
    name=words,
    incarnation=words,
    boot=words,
    wall=numbers,
    description=words,
    software=words,
    members=st.binary(max_size=300),
    acceptances=several,
    protocol=numbers,
    schemes=st.none() | st.lists(words, max_size=3).map(tuple),
)
several_rows = st.lists(registers, max_size=3).map(tuple)
messages: st.SearchStrategy[Message] = st.one_of(
    hellos,
    st.builds(Refusal, words, words, numbers, st.binary(max_size=9)),
    st.builds(Question, vectors, st.booleans()),
    st.builds(Acknowledge, vectors),
    st.builds(Page, numbers, st.lists(registers, max_size=4).map(tuple), st.none() | vectors),
    st.builds(Heartbeat, numbers, words, words),
    st.builds(Compare, vectors, st.binary(max_size=32)),
    st.builds(RosterUpdate, st.binary(max_size=100), several),
    st.builds(Batch, st.binary(max_size=100), keys, st.binary(min_size=64, max_size=64)),
    st.builds(DescriptionDocument, st.binary(max_size=100), keys, st.binary(min_size=64, max_size=64)),
    st.builds(Request, numbers, words, maps),
    st.builds(Event, numbers, maps),
    st.builds(End, numbers, maps, words),
)


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    assert decode(encode(message)[LENGTH_BYTES:]) == message
    assert type(decode(encode(message)[LENGTH_BYTES:])) is type(message)


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_parse_or_are_malformed(data: bytes) -> None:
    """Any other exception would be a bug that a stranger can cause."""
    with contextlib.suppress(MalformedError):
        decode(data)


@settings(max_examples=200)
@given(messages, st.data())
def test_mutated_messages_parse_or_are_malformed(message: Message, data: st.DataObject) -> None:
    body = bytearray(encode(message)[LENGTH_BYTES:])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedError):
        decode(bytes(body[: data.draw(st.integers(0, len(body)))]))


@settings(max_examples=200)
@given(st.sampled_from(["hello", "page", "batch", "question", "request", "end", "event", "roster"]), plain)
def test_wrong_shapes_are_malformed(kind: str, fields: Any) -> None:
    """Right MessagePack with wrong types in it."""
    with contextlib.suppress(MalformedError):
        decode(msgpack.packb([kind, fields], unicode_errors="surrogateescape"))


def test_deep_nesting_and_bombs_are_malformed_at_once() -> None:
    """A few bytes that announce a lot, and nesting that would exhaust the stack."""
    for data in (
        b"\x91" * 100_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x92\xa5hello\xd4\x05\x00",
        b"",
        b"\xc1",
    ):
        with pytest.raises(MalformedError):
            decode(data)


def test_a_timestamp_where_a_value_is_wanted_is_malformed() -> None:
    with pytest.raises(MalformedError):
        decode(msgpack.packb(["heartbeat", {"wall": msgpack.Timestamp(1, 0), "roster": "", "description": ""}]))


def test_unknown_fields_are_ignored_and_unknown_types_are_told_apart() -> None:
    """A newer version may add fields, and messages that an older one passes over."""
    body = msgpack.packb(["question", {"vector": {}, "wait": True, "later": [1]}])
    assert decode(body) == Question({}, True)
    assert decode(msgpack.packb(["sing", {"song": "x"}])) == Unknown("sing")
    for item in (["sing", []], ["", {}], ["s" * 65, {}]):
        with pytest.raises(MalformedError):
            decode(msgpack.packb(item))


def test_secrets_are_not_shown() -> None:
    """A request may carry a password, a register a hash: neither stands in a log by accident."""
    request = Request(1, "authenticate", {"password": b"hunter2"})
    register = Register(Key("a", "password"), b"$6$hash", Stamp(1, "0" * 32, 1))
    assert "hunter2" not in repr(request)
    assert "$6$" not in repr(Page(0, (register,), None))


@given(st.lists(st.binary(max_size=50), max_size=6), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(body) for body in bodies)
    reader, out = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        out += list(reader.feed(stream[:size]))
        stream = stream[size:]
    assert out == bodies


def test_a_frame_longer_than_allowed_is_refused_when_it_is_announced() -> None:
    reader = FrameReader(limit=100)
    assert list(reader.feed(frame(b"x" * 100))) == [b"x" * 100]
    with pytest.raises(MalformedError):
        list(reader.feed((101).to_bytes(4, "big")))
    with pytest.raises(ValueError, match="do not fit"):
        frame(b"x" * (MAXIMUM_FRAME + 1))


@given(st.lists(registers, max_size=8), st.integers(1, 2000))
def test_parcels_keep_all_rows_in_order(rows: list[Register], target: int) -> None:
    runs = list(parcels(rows, target))
    assert [row for run in runs for row in run] == rows
    assert runs


def test_parcels_of_the_largest_registers_fit_into_frames() -> None:
    rows = [Register(Key("a" * 64, "f" * 128), b"v" * (1 << 20), Stamp(1, "0" * 32, 1)) for _ in range(5)]
    for number, run in enumerate(parcels(rows)):
        assert len(encode(Page(number, run, None))) <= MAXIMUM_FRAME


@given(registers)
def test_a_newer_version_may_append_to_a_register(register: Register) -> None:
    assert register_from_plain([*register_to_plain(register), "more"]) == register


@given(
    st.builds(
        BatchContent, digits, vectors, numbers, numbers, st.lists(registers, max_size=3).map(tuple), st.none() | vectors
    )
)
def test_batches_are_read_as_written(content: BatchContent) -> None:
    assert BatchContent.decode(content.encode()) == content


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_arbitrary_payloads_are_malformed(data: bytes) -> None:
    for kind in (BatchContent, DescriptionContent):
        with contextlib.suppress(MalformedError):
            kind.decode(data)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("question", {"vector": {5: 5}, "wait": True}),
        ("question", {"vector": {"a": -1}, "wait": True}),
        ("question", {"vector": {"a" * 65: 1}, "wait": True}),
        ("question", {"vector": [], "wait": True}),
        ("question", {"vector": {}, "wait": 1}),
        ("question", 5),
        ("request", {"number": 1, "kind": "a", "params": {b"k": 1}}),
        ("request", {"number": 1, "kind": "a" * 65, "params": {}}),
        ("page", {"number": 0, "rows": [5], "vector": None}),
        ("page", {"number": 0, "rows": [["o", "f", b"", 1, "i", 1, "a"]], "vector": None}),
        ("page", {"number": 0, "rows": [["o", "f", "text", 1, "i", 1, "a", {}]], "vector": None}),
        ("page", {"number": 0, "rows": 5, "vector": None}),
        ("compare", {"vector": {}, "digest": b"x" * 65}),
    ],
)
def test_each_field_is_checked(kind: str, fields: Any) -> None:
    with pytest.raises(MalformedError):
        decode(msgpack.packb([kind, fields]))


def test_what_an_older_version_does_not_say_is_not_missed() -> None:
    """Fields that came later are left out where there is nothing to say, and may be absent."""
    hello = Hello("member", "c", "frodo", "i", "b", 1, "d", "1")
    assert "schemes" not in hello.plain()
    assert "members" not in Refusal("removed").plain()
    assert decode(encode(hello)[4:]) == hello
    newer = replace(hello, schemes=("yescrypt", "later"))
    assert decode(encode(newer)[4:]) == newer
    for wrong in (["x" * 65], [1], "yescrypt", ["a"] * 65):
        with pytest.raises(MalformedError):
            decode(msgpack.packb(["hello", {**hello.plain(), "schemes": wrong}]))
