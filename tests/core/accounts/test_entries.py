"""Values of registers as bytes, and which of them may leave the masters or reach a passwd file."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    GONE,
    LOCK,
    PASSWORD,
    PRESENT,
    Aging,
    Gone,
    GroupEntry,
    Lock,
    Member,
    Password,
    Presence,
    UserEntry,
    decode,
    encode,
    entry_problems,
    is_public,
    member_field,
    object_id,
    password_problems,
)
from beonss.errors import MalformedError

text = st.text(st.characters(exclude_categories=[]), max_size=8)
number = st.integers(-5, 1 << 33)
day = st.none() | st.integers(-1, 99999)
values = st.one_of(
    st.builds(Presence, st.sampled_from(["user", "group"]), text, number, number, number, st.booleans()),
    st.builds(UserEntry, text, number, number, text, text, text),
    st.builds(GroupEntry, text, number),
    st.builds(Password, text, day),
    st.builds(Aging, day, day, day, day, day),
    st.builds(Lock, st.booleans()),
    st.builds(Member, st.booleans()),
    st.builds(Gone),
)
KINDS = (Presence, UserEntry, GroupEntry, Password, Aging, Lock, Member, Gone)


@given(values)
def test_a_value_survives_its_bytes(value: object) -> None:
    """Surrogate escapes of old GECOS fields included; the bytes are ASCII, so sqlite3 shows them."""
    data = encode(value)  # type: ignore[arg-type]
    assert data.isascii()
    assert decode(type(value), data) == value  # type: ignore[type-var]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(KINDS), st.binary(max_size=40))
def test_arbitrary_bytes_decode_or_raise_malformed(kind: type, data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        decode(kind, data)


@given(
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["name", "uid", "gid", "gecos", "home", "shell", "kind", "number", "hash", "locked", "member", "gone"],
            json_like,
        ),
    ),
)
def test_arbitrary_json_decodes_or_raises_malformed(kind: type, raw: dict) -> None:
    try:
        value = decode(kind, json.dumps(raw).encode())
    except MalformedError:
        return
    assert decode(kind, encode(value)) == value


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"uid":1e999}', b"9" * 4000])
def test_hostile_json_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(UserEntry, data)


def test_a_number_too_large_to_print_is_malformed() -> None:
    with pytest.raises(MalformedError):
        decode(GroupEntry, b'{"name":"g","gid":' + b"9" * 4299 + b"}")


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert decode(Lock, b'{"locked":true,"reason":"left"}') == Lock(locked=True)


def test_object_ids_never_change() -> None:
    """Ids are on disks: this vector must hold for ever."""
    assert object_id("user", "alice", 1001) == "7f22044373ed01556662e74140b3739b"
    assert object_id("user", "alice", 1001, 1) != object_id("user", "alice", 1001)
    assert object_id("group", "alice", 1001) != object_id("user", "alice", 1001)


def test_only_known_public_fields_leave_the_masters() -> None:
    for field in (ENTRY, LOCK, PRESENT, GONE, member_field("x"), "document:description"):
        assert is_public(field)
    for field in (PASSWORD, AGING, "totp", "password2", "", "xmember:"):
        assert not is_public(field)


def test_a_hash_is_in_no_repr() -> None:
    assert "$6$" not in repr(Password("$6$secret", 1))


@pytest.mark.parametrize("name", ["alice", "Alice.B", "_svc", "a$", "müller", "a" * 255, "0x", "a-b", "a+b"])
def test_names_that_clusters_have_are_served(name: str) -> None:
    assert entry_problems(GroupEntry(name, 5)) == []


@pytest.mark.parametrize(
    "name",
    ["", "a:b", "a b", "a\nb", "-x", "+x", "+", ".", "..", "a/b", "a,b", "12", "\udc80", "a\x00", "a" * 256, 'a"'],
)
def test_names_that_would_break_a_file_are_not(name: str) -> None:
    assert entry_problems(GroupEntry(name, 5))


@pytest.mark.parametrize("uid", [0, -1, 65535, 0xFFFFFFFF, 1 << 40])
def test_no_cluster_account_has_an_id_of_the_machine_or_none(uid: int) -> None:
    assert entry_problems(UserEntry("alice", uid, 5, "", "/", "/bin/sh"))
    assert entry_problems(GroupEntry("alice", uid))


def test_a_primary_group_must_be_a_number_that_fits() -> None:
    assert entry_problems(UserEntry("alice", 5, 0, "", "/", "/bin/sh")) == []
    for gid in (-1, 0xFFFFFFFF):
        assert entry_problems(UserEntry("alice", 5, gid, "", "/", "/bin/sh"))


@pytest.mark.parametrize("bad", ["a:b", "a\nroot::0:0", "a\x00"])
def test_a_gecos_home_or_shell_cannot_add_a_line_or_field(bad: str) -> None:
    for entry in (
        UserEntry("alice", 5, 5, bad, "/", "/"),
        UserEntry("alice", 5, 5, "", bad, "/"),
        UserEntry("alice", 5, 5, "", "/", bad),
    ):
        assert entry_problems(entry)


def test_a_hash_cannot_add_a_line_or_field() -> None:
    assert password_problems(Password("$6$ab/.$x")) == []
    for bad in ("a:b", "a\n", "a b", "\u00e9"):
        assert password_problems(Password(bad))
