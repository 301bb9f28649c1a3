"""The ways out of a conflict, and that every master comes to the same end."""

import pytest
from support.registers import B, group_rows, row, user_rows

from beonss.core.accounts.contested import entry_of, find_contested, prefer_object, rename_object, renumber_object
from beonss.core.accounts.entries import ENTRY, PRESENT, GroupEntry, Presence, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change, Register, Stamp
from beonss.errors import Refused

ALICE = Presence("user", "alice", 1001, 0, 1, present=True).object
TWIN = Presence("user", "alice", 1002, 0, 5, present=True).object
BOB = Presence("user", "bob", 1001, 0, 7, present=True).object


@pytest.fixture
def view():
    """Return a view in which alice (1001) is served, and another alice (1002) and bob (1001) are not."""
    rows = user_rows("alice", 1001) + user_rows("alice", 1002, 5, origin=B) + user_rows("bob", 1001, 7, origin=B)
    return AccountView(rows)


def carry_out(view: AccountView, changes: list[Change]) -> AccountView:
    for number, change in enumerate(changes, 100):
        old = view.register(change.key)
        assert old is not None
        assert change.expect == old.stamp
        view.apply([Register(change.key, change.value, Stamp(old.stamp.time + 1, B, number))])
    return view


def refused(code: str, function, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        function(*arguments)
    assert caught.value.code == code
    return str(caught.value)


def test_an_object_is_found_by_the_beginning_of_its_id(view):
    assert find_contested(view, BOB[:6].upper()) == BOB
    assert find_contested(view, ALICE) == ALICE
    refused("unknown-conflict", find_contested, view, "zz")
    refused("unknown-conflict", find_contested, view, "")
    refused("unknown-conflict", find_contested, AccountView(user_rows("alice", 1001)), ALICE)


def test_a_beginning_that_several_ids_have_is_refused():
    rows = [each for number in range(40) for each in user_rows(f"u{number}", 1001, number + 1)]
    view = AccountView(rows)
    ids = {each.key.object for each in rows}
    letter = next(c for c in "0123456789abcdef" if sum(one[0] == c for one in ids) > 1)
    refused("ambiguous", find_contested, view, letter)


def test_a_new_name_settles_a_fight_about_names(view):
    carry_out(view, rename_object(view, TWIN, "alicia"))
    assert view.user("alicia").entry.uid == 1002
    assert [conflict.claim for conflict in view.conflicts()] == ["number"]
    refused("exists", rename_object, view, BOB, "alice")
    refused("bad-entry", rename_object, view, BOB, "a:b")
    assert rename_object(view, BOB, "bob") == []


def test_the_name_of_one_who_is_not_served_is_taken_too(view):
    assert view.user("bob") is None
    refused("exists", rename_object, view, TWIN, "bob")


def test_a_new_number_settles_a_fight_about_numbers(view):
    carry_out(view, renumber_object(view, BOB, 1005))
    assert view.user("bob").entry.uid == 1005
    assert "files belong to it" in refused("served", renumber_object, view, ALICE, 1006)
    refused("used-before", renumber_object, view, TWIN, 1001)
    refused("bad-entry", renumber_object, view, TWIN, 0)
    assert renumber_object(view, TWIN, 1002) == []


def test_another_one_can_be_preferred(view):
    carry_out(view, prefer_object(view, BOB))
    assert view.user_by_uid(1001).entry.name == "bob"
    # The old owner lost its number, so it is not served at all; its namesake has to wait for the name it still claims.
    assert view.user("alice") is None
    refused("served", prefer_object, view, BOB)
    carry_out(view, prefer_object(view, TWIN))
    assert view.user("alice").entry.uid == 1002
    carry_out(view, prefer_object(view, ALICE))
    assert view.user("alice").entry.uid == 1001
    assert view.user("bob") is None


def test_groups_have_the_same_ways_out():
    one, other = group_rows("staff", 2000), group_rows("staff", 2001, 9, origin=B)
    view = AccountView([*one, *other])
    loser = other[0].key.object
    carry_out(view, rename_object(view, loser, "crew"))
    assert view.group("crew").entry == GroupEntry("crew", 2001)
    view = AccountView([*one, *group_rows("crew", 2000, 9, origin=B)])
    (conflict,) = view.conflicts()
    carry_out(view, renumber_object(view, conflict.losers[0], 2002))
    assert view.group("crew").entry.gid == 2002


def test_what_cannot_be_read_can_only_be_deleted():
    presence = Presence("user", "odd", 1001, 0, 1, present=True)
    view = AccountView([row(presence.object, PRESENT, presence), row(presence.object, ENTRY, b"{}")])
    assert find_contested(view, presence.object) == presence.object
    for function in (entry_of, prefer_object):
        refused("unreadable", function, view, presence.object)
    refused("unreadable", rename_object, view, presence.object, "even")
    refused("unreadable", renumber_object, view, presence.object, 1002)
    refused("unreadable", entry_of, AccountView(), "0" * 32)


def test_the_entry_of_an_unserved_object_can_be_read(view):
    assert entry_of(view, BOB) == UserEntry("bob", 1001, 100, "", "/home/bob", "/bin/sh")
