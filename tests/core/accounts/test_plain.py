"""What is read at a glance is what is read the long way; whatever is not plain is left to that."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beonss.core.accounts.entries import ENTRY, PRESENT, GroupEntry, Presence, UserEntry, decode, encode
from beonss.core.accounts.objects import AccountObject
from beonss.core.accounts.plain import PlainAccount, plain_group, read_plain
from beonss.core.replication.registers import Key, Register, Stamp

ALICE = Presence("user", "alice", 1001, 0, 7, present=True)
ENTRY_OF_ALICE = UserEntry("alice", 1001, 100, "Alice L., room 7", "/home/alice", "/bin/bash")

texts = st.one_of(
    st.sampled_from(["", "x", "A User", "a:b", 'q"', "\\", "ü", "\udc80", "\n", "\x7f"]), st.text(max_size=4)
)
names = st.one_of(
    st.sampled_from(["alice", "a.b-c_1", "7", "1a", "-a", "..", "", "a" * 64, "a" * 65, "a$", "a,b"]), texts
)
numbers = st.one_of(
    st.integers(-2, 3),
    st.sampled_from([65534, 65535, 65536, 655350, 10**9 - 1, 10**9, 2**32 - 1, 2**32]),
    st.booleans(),
)
presences = st.builds(
    Presence,
    st.sampled_from(["user", "group"]),
    names,
    numbers,
    numbers,
    st.one_of(numbers, st.just(10**18)),
    st.booleans(),
)
entries = st.one_of(
    st.builds(UserEntry, names, numbers, numbers, texts, texts, texts), st.builds(GroupEntry, names, numbers)
)


def the_long_way(identifier: str, entry: bytes, presence: bytes) -> PlainAccount | None:
    found = AccountObject(identifier)
    found.take(Register(Key(identifier, ENTRY), entry, Stamp(1, "a" * 32, 1)))
    found.take(Register(Key(identifier, PRESENT), presence, Stamp(1, "a" * 32, 2)))
    wanted, made = found.wanted_claims(), found.presence
    return None if wanted is None or made is None else PlainAccount(*wanted, made.number, made.created)


def test_an_ordinary_user_and_group_are_plain() -> None:
    """Else all the rest shows nothing."""
    found = read_plain(ALICE.object, encode(ENTRY_OF_ALICE), encode(ALICE))
    assert found == PlainAccount("user", "alice", 1001, 1001, 7)
    assert plain_group(encode(ENTRY_OF_ALICE)) == 100
    assert found == the_long_way(ALICE.object, encode(ENTRY_OF_ALICE), encode(ALICE))
    staff = Presence("group", "staff", 50, 2, 1_700_000_000_000, present=True)
    renamed = GroupEntry("crew", 50)
    assert read_plain(staff.object, encode(renamed), encode(staff)) == PlainAccount(
        "group", "crew", 50, 50, 1_700_000_000_000
    )


@settings(max_examples=1000)
@given(entries, presences, st.booleans())
@example(UserEntry("nobody", 65535, 65535, "", "", ""), ALICE, True)
@example(UserEntry("alice", 1001, 65535, "", "", ""), ALICE, True)
@example(GroupEntry("alice", 65535), Presence("group", "alice", 65535, 0, 0, present=True), True)
@example(GroupEntry("staff", 7), ALICE, True)
def test_both_ways_agree(entry: UserEntry | GroupEntry, presence: Presence, own: bool) -> None:
    identifier = presence.object if own else ALICE.object
    found = read_plain(identifier, encode(entry), encode(presence))
    assert found is None or found == the_long_way(identifier, encode(entry), encode(presence))
    if isinstance(entry, UserEntry):
        assert plain_group(encode(entry)) in {None, entry.gid}
    else:
        assert plain_group(encode(entry)) is None


@settings(max_examples=1000)
@given(st.data())
def test_both_ways_agree_on_damaged_bytes(data: st.DataObject) -> None:
    """One byte of ordinary registers replaced, removed or put in."""
    values = [encode(ENTRY_OF_ALICE), encode(ALICE)]
    which = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(values[which])))
    middle = data.draw(
        st.one_of(st.binary(max_size=2), st.sampled_from([b"0", b"9", b'"', b" ", b":", b",", b"}", b"\n"]))
    )
    values[which] = values[which][:at] + middle + values[which][at + data.draw(st.integers(0, 2)) :]
    found = read_plain(ALICE.object, *values)
    assert found is None or found == the_long_way(ALICE.object, *values)
    group = plain_group(values[0])
    assert group is None or group == decode(UserEntry, values[0]).gid


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "alice", "uid": 1001},
        {**json.loads(encode(ENTRY_OF_ALICE)), "keys": []},
        {**json.loads(encode(ENTRY_OF_ALICE)), "uid": 0},
    ],
)
def test_values_of_other_versions_are_left_to_the_long_way(entry: object) -> None:
    value = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    assert read_plain(ALICE.object, value, encode(ALICE)) is None
    assert read_plain(ALICE.object, encode(ENTRY_OF_ALICE), encode(ALICE) + b" ") is None


def test_an_account_under_the_id_of_another_is_not_plain() -> None:
    assert read_plain("0" * 32, encode(ENTRY_OF_ALICE), encode(ALICE)) is None
