"""From what people want to changes of registers, and what is refused."""

import pytest
from support.registers import group_rows, row, user_rows

from beonss.core.accounts import intents
from beonss.core.accounts.entries import (
    ENTRY,
    GONE,
    LOCK,
    PRESENT,
    RENEWAL,
    Aging,
    Gone,
    GroupEntry,
    Lock,
    Password,
    Presence,
    UserEntry,
    decode,
    object_id,
)
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import ABSENT, Change, Key, Register, Stamp
from beonss.errors import Refused

ALICE = UserEntry("alice", 1001, 100, "Alice", "/home/alice", "/bin/sh")
ALICE_ID = object_id("user", "alice", 1001)


class Master:
    """Writes changes as a store does, in memory."""

    def __init__(self, *rows: Register) -> None:
        self.view = AccountView(rows)
        self.sequence = 0

    def write(self, changes: list[Change]) -> None:
        for change in changes:
            old = self.view.register(change.key)
            assert change.expect is None or change.expect == (ABSENT if old is None else old.stamp)
            self.sequence += 1
            time = 1 if old is None else old.stamp.time + 1
            self.view.apply([Register(change.key, change.value, Stamp(time, "d" * 32, self.sequence))])


@pytest.fixture
def master() -> Master:
    master = Master()
    master.write(intents.create_user(master.view, ALICE, 1000))
    master.write(intents.create_group(master.view, GroupEntry("staff", 50), 1000))
    return master


def refusal(code: str) -> "pytest.RaisesExc[Refused]":
    return pytest.raises(Refused, check=lambda error: error.code == code)


def test_a_new_user_is_served_as_it_was_meant() -> None:
    master = Master()
    password, aging = Password("$6$x", 20000), Aging(maximum=90)
    master.write(intents.create_user(master.view, ALICE, 1000, password=password, aging=aging, locked=True))
    user = master.view.user("alice")
    assert user is not None
    assert (user.entry, user.password, user.aging, user.locked) == (ALICE, password, aging, True)
    assert user.id == ALICE_ID


def test_a_creation_writes_no_defaults() -> None:
    """Else an import on a master that knows nothing yet would undo a lock or a password that the others know."""
    changes = intents.create_user(AccountView(), ALICE, 1000)
    assert {change.key.field for change in changes} == {ENTRY, PRESENT}
    locked = AccountView([*user_rows("alice", 1001), row(ALICE_ID, LOCK, Lock(locked=True))])
    assert [c for c in changes if c.key.field == LOCK] == []
    assert locked.user("alice").locked  # type: ignore[union-attr]


def test_the_presence_comes_last_and_the_lock_first() -> None:
    changes = intents.create_user(AccountView(), ALICE, 1000, password=Password("$6$x"), locked=True)
    assert [changes[0].key.field, changes[-1].key.field] == [LOCK, PRESENT]


def test_a_slow_clock_cannot_make_an_older_account() -> None:
    view = AccountView(user_rows("bob", 1002, created=5000))
    presence = decode(Presence, intents.create_user(view, ALICE, 7)[-1].value)
    assert presence.created == 5001


def test_the_same_file_imported_twice_gives_the_same_objects() -> None:
    one, other = (intents.create_user(AccountView(), ALICE, wall) for wall in (1, 99))
    assert {change.key for change in one} == {change.key for change in other}
    assert intents.new_id(AccountView(), "user", "alice", 1001) == ALICE_ID


def test_a_name_or_uid_in_use_is_refused(master: Master) -> None:
    with refusal("exists"):
        intents.create_user(master.view, UserEntry("alice", 7, 1, "", "/", "/"), 1)
    with refusal("exists"):
        intents.create_user(master.view, UserEntry("other", 1001, 1, "", "/", "/"), 1)
    with refusal("exists"):
        intents.create_group(master.view, GroupEntry("staff", 7), 1)
    with refusal("exists"):
        intents.create_group(master.view, GroupEntry("other", 50), 1)


def test_an_entry_or_hash_that_would_break_the_files_is_refused(master: Master) -> None:
    with refusal("bad-entry"):
        intents.create_user(master.view, UserEntry("x:y", 7, 1, "", "/", "/"), 1)
    with refusal("bad-entry"):
        intents.create_group(master.view, GroupEntry("g", 0), 1)
    with refusal("bad-hash"):
        intents.set_password(master.view, "alice", Password("a:b"))
    with refusal("bad-hash"):
        intents.create_user(master.view, UserEntry("x", 7, 1, "", "/", "/"), 1, password=Password("a\n"))


def test_what_is_so_already_is_not_written(master: Master) -> None:
    view = master.view
    assert intents.modify_user(view, "alice", ALICE) == []
    assert intents.set_lock(view, "alice", locked=False) == []
    assert intents.set_aging(view, "alice", Aging()) == []
    assert intents.remove_member(view, "staff", "alice") == []
    master.write(intents.set_password(view, "alice", Password("$6$x")))
    assert intents.set_password(view, "alice", Password("$6$x")) == []


def test_a_change_expects_what_the_view_shows(master: Master) -> None:
    (first,) = intents.set_password(master.view, "alice", Password("$6$x"))
    assert first.expect == ABSENT
    master.write([first])
    (second,) = intents.set_password(master.view, "alice", Password("$6$y"))
    assert second.expect == master.view.register(second.key).stamp  # type: ignore[union-attr]


def test_a_user_can_be_renamed_but_not_renumbered(master: Master) -> None:
    master.write(intents.modify_user(master.view, "alice", UserEntry("alicia", 1001, 100, "", "/", "/bin/sh")))
    assert master.view.user("alicia").id == ALICE_ID  # type: ignore[union-attr]
    with refusal("fixed-number"):
        intents.modify_user(master.view, "alicia", UserEntry("alicia", 5, 100, "", "/", "/bin/sh"))
    master.write(intents.create_user(master.view, UserEntry("bob", 1002, 1, "", "/", "/"), 1))
    with refusal("exists"):
        intents.modify_user(master.view, "bob", UserEntry("alicia", 1002, 1, "", "/", "/"))


def test_a_group_can_be_renamed_but_not_renumbered(master: Master) -> None:
    master.write(intents.modify_group(master.view, "staff", GroupEntry("crew", 50)))
    assert master.view.group("crew") is not None
    with refusal("fixed-number"):
        intents.modify_group(master.view, "crew", GroupEntry("crew", 51))
    master.write(intents.create_group(master.view, GroupEntry("other", 52), 1))
    with refusal("exists"):
        intents.modify_group(master.view, "other", GroupEntry("crew", 52))


def test_members_come_and_go(master: Master) -> None:
    master.write(intents.add_member(master.view, "staff", "alice"))
    assert master.view.group("staff").members == ("alice",)  # type: ignore[union-attr]
    master.write(intents.remove_member(master.view, "staff", "alice"))
    assert master.view.group("staff").members == ()  # type: ignore[union-attr]


def test_deleted_and_made_again_is_a_new_life(master: Master) -> None:
    """No old password, no old groups, another id; the number may be asked for again but is not handed out."""
    master.write(intents.set_password(master.view, "alice", Password("$6$x")))
    master.write(intents.add_member(master.view, "staff", "alice"))
    master.write(intents.delete_user(master.view, "alice"))
    assert master.view.user("alice") is None
    assert master.view.next_uid(1001) == 1002
    master.write(intents.create_user(master.view, ALICE, 1))
    user = master.view.user("alice")
    assert user is not None
    assert user.id != ALICE_ID
    assert user.password is None
    assert master.view.groups_of("alice") == ()
    master.write(intents.delete_user(master.view, "alice"))
    master.write(intents.create_user(master.view, ALICE, 1))
    assert master.view.user("alice").id not in {ALICE_ID, user.id}  # type: ignore[union-attr]


def test_a_group_can_be_deleted(master: Master) -> None:
    master.write(intents.delete_group(master.view, "staff"))
    assert master.view.group("staff") is None


def test_a_loser_of_a_conflict_can_be_deleted_by_its_id() -> None:
    loser = object_id("user", "bob", 1001)
    master = Master(*user_rows("alice", 1001, created=1), *user_rows("bob", 1001, created=2))
    (change,) = intents.delete_object(master.view, loser)
    assert (change.key.field, decode(Gone, change.value)) == (GONE, Gone())
    master.write([change])
    assert master.view.conflicts() == []
    with refusal("unknown-object"):
        intents.delete_object(master.view, loser)


def served(master: Master) -> Password:
    user = master.view.user("alice")
    assert user is not None
    assert user.password is not None
    return user.password


def test_a_demanded_renewal_is_served_as_day_0_and_leaves_the_password_alone(master: Master) -> None:
    master.write(intents.set_password(master.view, "alice", Password("$6$x", 20000)))
    (change,) = intents.demand_renewal(master.view, "alice")
    assert change.key.field == RENEWAL
    master.write([change])
    assert served(master) == Password("$6$x", 0)
    assert intents.password_day(master.view, master.view.user("alice")) == 20000  # type: ignore[arg-type]
    assert intents.demand_renewal(master.view, "alice") == []


@pytest.mark.parametrize("new", [Password("$6$y", 20001), Password("$6$x", 20001), Password("$6$x", 20000)])
def test_any_password_that_is_set_ends_a_demand_even_the_same_again(master: Master, new: Password) -> None:
    master.write(intents.set_password(master.view, "alice", Password("$6$x", 20000)))
    master.write(intents.demand_renewal(master.view, "alice"))
    master.write(intents.set_password(master.view, "alice", new))
    assert served(master) == new
    # And it can be demanded of the new one.
    master.write(intents.demand_renewal(master.view, "alice"))
    assert served(master) == Password(new.hash, 0)


def test_a_demand_made_elsewhere_at_the_same_time_brings_no_older_password_back(master: Master) -> None:
    """Its stamp is later than that of the password its owner chose meanwhile; it is about the one before."""
    master.write(intents.set_password(master.view, "alice", Password("$6$leaked", 20000)))
    (late,) = intents.demand_renewal(master.view, "alice")
    master.write(intents.set_password(master.view, "alice", Password("$6$chosen", 20001)))
    master.view.apply([Register(late.key, late.value, Stamp(10**12, "e" * 32, 1))])
    assert served(master) == Password("$6$chosen", 20001)


def test_a_demand_can_be_withdrawn(master: Master) -> None:
    master.write(intents.set_password(master.view, "alice", Password("$6$x", 20000)))
    assert intents.withdraw_renewal(master.view, "alice", 20005) == []
    master.write(intents.demand_renewal(master.view, "alice"))
    master.write(intents.withdraw_renewal(master.view, "alice", 20005))
    assert served(master) == Password("$6$x", 20000)
    master.write(intents.demand_renewal(master.view, "alice"))
    assert served(master) == Password("$6$x", 0)


def test_day_0_that_was_imported_is_the_same_demand(master: Master) -> None:
    master.write(intents.set_password(master.view, "alice", Password("$6$x", 0)))
    assert intents.demand_renewal(master.view, "alice") == []
    master.write(intents.withdraw_renewal(master.view, "alice", 20005))
    assert served(master) == Password("$6$x", 20005)


def test_where_there_is_no_password_none_can_be_renewed(master: Master) -> None:
    with refusal("no-password"):
        intents.demand_renewal(master.view, "alice")
    assert intents.withdraw_renewal(master.view, "alice", 20005) == []


def test_an_unreadable_demand_demands_nothing(master: Master) -> None:
    """Else its user would be asked for a new password at each login, for good."""
    master.write(intents.set_password(master.view, "alice", Password("$6$x", 20000)))
    for value in (b"{}", b"", b'{"time":"x"}'):
        master.write([Change(Key(ALICE_ID, RENEWAL), value)])
        assert served(master) == Password("$6$x", 20000)


def test_what_is_not_there_is_refused(master: Master) -> None:
    view = master.view
    entry = UserEntry("nobody", 9, 9, "", "/", "/")
    for attempt in (
        lambda: intents.set_password(view, "nobody", Password("$6$x")),
        lambda: intents.set_lock(view, "nobody", locked=True),
        lambda: intents.demand_renewal(view, "nobody"),
        lambda: intents.withdraw_renewal(view, "nobody", 1),
        lambda: intents.set_aging(view, "nobody", Aging()),
        lambda: intents.delete_user(view, "nobody"),
        lambda: intents.modify_user(view, "nobody", entry),
        lambda: intents.add_member(view, "staff", "nobody"),
    ):
        with refusal("unknown-user"):
            attempt()
    for attempt in (
        lambda: intents.delete_group(view, "nogroup"),
        lambda: intents.modify_group(view, "nogroup", GroupEntry("nogroup", 9)),
        lambda: intents.remove_member(view, "nogroup", "alice"),
    ):
        with refusal("unknown-group"):
            attempt()


def test_a_member_may_be_set_before_either_is_served() -> None:
    """Imports write users, groups and memberships in any order."""
    master = Master()
    group = intents.new_id(master.view, "group", "staff", 50)
    master.write(intents.set_member(master.view, group, ALICE_ID, member=True))
    master.view.apply([*group_rows("staff", 50), *user_rows("alice", 1001)])
    assert master.view.group("staff").members == ("alice",)  # type: ignore[union-attr]
