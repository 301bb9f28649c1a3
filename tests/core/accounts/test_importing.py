"""Taking over accounts: what is made, what is changed, what is left out and why."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.account_files import FILES, gathered

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, Password
from beonss.core.accounts.importing import group_changes, plan, user_changes
from beonss.core.accounts.records import batch_from_json
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register, Stamp
from beonss.errors import ConfigurationError, Refused


class Master:
    """Registers and a view, with the stamps a store would give."""

    def __init__(self):
        self.view = AccountView()
        self.sequence = count(1)

    def write(self, changes):
        self.view.apply(
            Register(change.key, change.value, Stamp(number, "0" * 32, number))
            for change, number in zip(changes, self.sequence, strict=False)
        )

    def take(self, batch, **options):
        made = plan(self.view, batch, **options)
        for step in made.users:
            self.write(user_changes(self.view, step, 1))
        for step in made.groups:
            self.write(group_changes(self.view, step, 1))
        return made


def actions(made):
    return {(item.kind, item.name): item.action for item in made.items}


def test_an_import_makes_users_and_groups_with_their_members():
    master = Master()
    made = master.take(gathered())
    assert actions(made) == {("user", "frodo"): "create", ("user", "sam"): "create", ("group", "hobbits"): "create"}
    assert made.unknown_members == (("hobbits", "merry"),)
    frodo, sam = master.view.user("frodo"), master.view.user("sam")
    assert (frodo.entry.gecos, frodo.password.hash, frodo.locked) == ("Frodo B\udce9utlin", "$6$f$1", False)
    assert (sam.password.hash, sam.locked) == ("$6$s$1", True)
    assert master.view.group("hobbits").members == ("frodo", "sam")


def test_the_same_import_again_changes_nothing():
    master = Master()
    master.take(gathered())
    made = plan(master.view, gathered())
    assert set(actions(made).values()) == {"unchanged"}
    assert (made.users, made.groups) == ((), ())
    assert made.counts == {"user:unchanged": 2, "group:unchanged": 1}


def test_the_same_file_on_two_masters_gives_the_same_objects():
    one, two = Master(), Master()
    one.take(gathered())
    two.take(gathered())
    assert {user.id for user in one.view.users()} == {user.id for user in two.view.users()}
    assert one.view.group("hobbits").id == two.view.group("hobbits").id


def test_changes_are_told_part_by_part():
    master = Master()
    master.take(gathered())
    passwd = FILES["passwd"].replace(b"/bin/tcsh", b"/bin/zsh").replace(b"x:1001:1001", b"x:1001:1100")
    group = b"hobbits:x:1100:frodo\nusers:x:1100:\n"
    made = master.take(gathered(passwd=passwd, group=group))
    assert made.items[0].details == ("gid", "shell")
    assert made.items[2].action == "unchanged", "an import takes nobody out of a group"
    assert master.view.user("frodo").entry.shell == "/bin/zsh"
    assert master.view.group("hobbits").members == ("frodo", "sam")


def test_members_are_added():
    master = Master()
    master.take(gathered())
    made = master.take(gathered(passwd=b"merry:x:1003:100:::\n", shadow=b"", group=b"hobbits:x:1100:frodo,merry\n"))
    assert made.items[-1].details == ("+merry",)
    assert master.view.group("hobbits").members == ("frodo", "merry", "sam")


def test_an_older_password_does_not_replace_a_newer_one_unless_told_to():
    master = Master()
    master.take(gathered())
    master.write(intents.set_password(master.view, "frodo", Password("$6$f$new", 19500)))
    made = master.take(gathered())
    assert made.items[0].action == "unchanged"
    assert "password kept" in made.items[0].details[0]
    assert master.view.user("frodo").password.hash == "$6$f$new"
    master.take(gathered(), overwrite=True)
    assert master.view.user("frodo").password.hash == "$6$f$1"
    newer = FILES["shadow"].replace(b"$6$f$1:19000", b"$6$f$2:19600")
    master.take(gathered(shadow=newer))
    assert master.view.user("frodo").password == Password("$6$f$2", 19600)


def test_a_password_that_must_be_changed_is_not_older_for_that():
    """It is served with day 0; an old file must not bring an older password back because of it."""
    master = Master()
    master.take(gathered())
    master.write(intents.set_password(master.view, "frodo", Password("$6$f$new", 19500)))
    master.write(intents.demand_renewal(master.view, "frodo"))
    assert "password kept" in master.take(gathered()).items[0].details[0]
    assert master.view.user("frodo").password == Password("$6$f$new", 0)


def test_an_import_locks_but_unlocks_only_when_told_to():
    master = Master()
    master.take(gathered())
    master.write(intents.set_lock(master.view, "frodo", locked=True))
    assert master.take(gathered()).items[0].details == ("stays locked: --overwrite unlocks it",)
    assert master.view.user("frodo").locked
    master.take(gathered(), overwrite=True)
    assert not master.view.user("frodo").locked


def test_numbers_and_owners_are_never_changed():
    master = Master()
    master.take(gathered())
    passwd = b"frodo:x:2001:100:::\nother:x:1002:100:::\n"
    made = plan(master.view, gathered(passwd=passwd, group=b"hobbits:x:1500:\nelves:x:1100:\n"))
    assert set(actions(made).values()) == {"skip"}
    assert [item.details[0] for item in made.items] == [
        "has uid 1001 here and 2001 in the file; numbers are never changed",
        "uid 1002 belongs to sam here",
        "has gid 1100 here and 1500 in the file; numbers are never changed",
        "gid 1100 belongs to hobbits here",
    ]


def test_the_deleted_do_not_come_back_unless_told_to():
    master = Master()
    master.take(gathered())
    master.write(intents.delete_user(master.view, "frodo"))
    master.write(intents.delete_group(master.view, "hobbits"))
    made = master.take(gathered())
    assert actions(made) == {("user", "frodo"): "skip", ("user", "sam"): "unchanged", ("group", "hobbits"): "skip"}
    reused = plan(master.view, gathered(passwd=b"bilbo:x:1001:100:::\n", group=b"elves:x:1100:\n"))
    assert {item.details[0] for item in reused.items} == {
        "uid 1001 was used before here; --revive uses it again",
        "gid 1100 was used before here; --revive uses it again",
    }
    master.take(gathered(), revive=True)
    assert master.view.user("frodo") is not None
    assert master.view.group("hobbits").members == ("frodo", "sam")


def test_what_can_be_no_account_is_left_out():
    batch = batch_from_json(
        [
            {"name": "a\nb", "uid": 5000, "gid": 100, "gecos": "", "home": "/", "shell": ""},
            {"name": "a", "uid": 5000, "gid": 100, "gecos": "x\ny", "home": "/", "shell": ""},
            {"name": "b", "uid": 5001, "gid": 100, "gecos": "", "home": "/", "shell": "", "hash": "a:b"},
            {"name": "c", "uid": 0, "gid": 100, "gecos": "", "home": "/", "shell": ""},
        ],
        [{"name": "-g", "gid": 7000}],
    )
    assert set(actions(plan(AccountView(), batch)).values()) == {"skip"}


def test_aging_is_taken_over():
    master = Master()
    master.take(gathered())
    made = master.take(gathered(shadow=FILES["shadow"].replace(b":99999:", b":90:")))
    assert made.items[0].details == ("aging",)
    assert master.view.user("frodo").aging == Aging(0, 90, 7)


def test_the_clusters_floor_counts_whatever_the_files_reader_allowed():
    made = plan(AccountView(), gathered(), uid_floor=1002, gid_floor=1101)
    assert actions(made) == {("user", "frodo"): "skip", ("user", "sam"): "create", ("group", "hobbits"): "skip"}


def test_a_shown_plan_knows_the_users_of_its_other_parts():
    batch = gathered(passwd=None, shadow=None)
    assert plan(AccountView(), batch, coming=["frodo", "sam"]).unknown_members == (("hobbits", "merry"),)


def test_a_step_that_no_longer_fits_is_refused():
    master = Master()
    made = plan(master.view, gathered())
    master.take(gathered())
    with pytest.raises(Refused):
        user_changes(master.view, made.users[0], 1)


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=400))
def test_any_files_are_planned_or_refused(passwd, shadow, group):
    try:
        batch = gathered(passwd=passwd, shadow=shadow, group=group, uid_floor=0, gid_floor=0)
    except ConfigurationError:
        return
    Master().take(batch)


def test_no_repr_shows_a_hash():
    batch = gathered()
    made = plan(AccountView(), batch)
    assert "$6$" not in repr(batch) + repr(made)
