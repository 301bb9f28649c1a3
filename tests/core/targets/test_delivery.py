"""Telling our own work from a human's edit, and when to try again."""

from hypothesis import given
from hypothesis import strategies as st
from support.fake_accounts import FakeAccounts

from beonss.core.accounts import intents
from beonss.core.accounts.entries import GroupEntry, Password
from beonss.core.replication.registers import Change, Key
from beonss.core.targets.delivery import (
    ABSENT,
    UserState,
    backoff,
    is_many,
    judge,
    mark,
    shadow_hash,
    states_of,
)

marks = st.sampled_from(["a", "b", "c", "d", ABSENT])


def test_the_three_way_look():
    assert judge("a", None, "a", "b") == "write"
    assert judge("a", "b", "b", "c") == "write"  # a crash after the rename
    assert judge("a", "b", "a", "c") == "write"  # a crash before it
    assert judge("a", None, "x", "b") == "conflict"
    assert judge("a", None, ABSENT, "b") == "conflict"  # taken out by hand
    assert judge(None, None, ABSENT, "b") == "write"
    assert judge(None, None, "x", "b") == "conflict"
    assert judge(None, None, "b", "b") == "same"


@given(st.none() | marks, st.none() | marks, marks, marks)
def test_what_we_never_wrote_is_never_overwritten(base, intent, found, want):
    verdict = judge(base, intent, found, want)
    if verdict == "write":
        assert found in {base, intent, ABSENT}
    assert (verdict == "same") == (found == want)


def test_marks_tell_fields_apart_and_empty_from_nothing_said():
    assert mark("ab", "c") != mark("a", "bc")
    assert mark(1, None) == mark(1, "")
    assert mark("\udce9") != mark("\udcea")


def test_many_is_more_than_five_and_more_than_two_percent():
    assert not is_many(5, 5)
    assert is_many(6, 100)
    assert not is_many(20, 1000)
    assert is_many(21, 1000)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_to_a_bound(attempts, chance):
    assert 0.5 <= backoff(attempts, chance) <= 300
    assert backoff(1, 0.999) <= 1
    assert backoff(1000, 0) >= 150


def test_the_shadow_field_is_never_empty():
    assert shadow_hash(None, locked=False) == "*"
    assert shadow_hash(None, locked=True) == "!*"
    assert shadow_hash(Password("$6$x"), locked=False) == "$6$x"
    assert shadow_hash(Password("$6$x"), locked=True) == "!$6$x"
    assert shadow_hash(Password(""), locked=False) == "*"
    assert shadow_hash(Password(""), locked=True) == "!"


def test_what_a_target_is_told_of_an_account():
    accounts = FakeAccounts()
    accounts.user("alice", 5000)
    accounts.put_changes(intents.create_group(accounts.view, GroupEntry("hobbits", 6000), 1))
    accounts.put_changes(intents.add_member(accounts.view, "hobbits", "alice"))
    alice, hobbits = accounts.view.user("alice").id, accounts.view.group("hobbits").id
    assert [(state.name, state.entry.uid) for state in states_of(accounts.view, alice)] == [("alice", 5000)]
    assert [state.members for state in states_of(accounts.view, hobbits)] == [("alice",)]
    assert states_of(accounts.view, "0" * 32) == []
    accounts.put_changes(intents.modify_group(accounts.view, "hobbits", GroupEntry("halflings", 6000)))
    for name in ("halflings",):
        accounts.put_changes(intents.delete_group(accounts.view, name))
    accounts.put_changes(intents.create_group(accounts.view, GroupEntry("halflings", 6001), 1))
    gone, other = states_of(accounts.view, hobbits)
    assert (gone.name, gone.entry, other.entry) == ("halflings", None, GroupEntry("halflings", 6001))
    accounts.put_changes([Change(Key(alice, "entry"), b"what is this")])
    assert [(state.name, state.entry) for state in states_of(accounts.view, alice)] == [("alice", None)]


def test_no_repr_shows_a_hash():
    assert "secret" not in repr(UserState("1", "a", None, Password("$6$secret")))
