"""Following a source: only what it changed is a change; a reading that shrinks is no removal."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.fake_accounts import FakeAccounts

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.targets.following import group_base, member_changes, missing, narrowed, removal, user_base

words = st.sampled_from(["a", "b", "c"])
records = st.builds(
    lambda gid, gecos, home, shell, secret, locked, days: UserRecord(
        UserEntry("sam", 2001, gid, gecos, home, shell),
        None if secret is None else Password(f"$6${secret}", 20000),
        locked,
        None if days is None else Aging(maximum=days),
    ),
    st.integers(100, 102),
    words,
    words,
    words,
    st.none() | words,
    st.sampled_from([None, True, False]),
    st.none() | st.integers(1, 3),
)


@given(records, records, records)
def test_each_part_is_the_sources_if_it_changed_there_and_the_clusters_if_not(base, now, held):
    accounts = FakeAccounts()
    accounts.put_changes(intents.create_user(accounts.view, held.entry, 1, password=held.password))
    user = accounts.view.user("sam")
    made = narrowed(now, user_base(base), user)
    for part in ("gid", "gecos", "home", "shell"):
        changed = getattr(base.entry, part) != getattr(now.entry, part)
        assert getattr(made.entry, part) == getattr(now.entry if changed else held.entry, part)
    assert made.password == (now.password if now.password != base.password else None)
    assert made.locked == (now.locked if now.locked != base.locked else None)
    assert made.aging == (now.aging if now.aging != base.aging else None)
    assert narrowed(now, None, user) == now
    assert "$6$" not in user_base(now)


names = st.sets(st.sampled_from(["ann", "bob", "cat"]))


@given(names, names, names)
def test_members_follow_where_the_source_moved_them(base, now, held):
    accounts = FakeAccounts()
    for name in ("ann", "bob"):
        accounts.user(name)
    accounts.put_changes(intents.create_group(accounts.view, GroupEntry("g", 3000), 1))
    for name in held - {"cat"}:
        accounts.put_changes(intents.add_member(accounts.view, "g", name))
    record, before = (GroupRecord(GroupEntry("g", 3000), tuple(sorted(found))) for found in (now, base))
    accounts.put_changes(member_changes(accounts.view, record, group_base(before), accounts.view.group("g")))
    assert set(accounts.view.group("g").members) == ((held | (now - base)) - (base - now)) - {"cat"}


def test_a_shrunken_reading_is_an_alarm_and_a_few_are_missing():
    users = [f"u{number}" for number in range(300)]
    assert missing(users, [], users[6:], []).users == tuple(sorted(users[:6]))
    assert missing(users, [], users[6:], []).alarm == ""
    assert "7 of 300 users" in missing(users, [], users[7:], []).alarm
    assert "no users at all" in missing(["a"], [], [], []).alarm
    assert "no groups at all" in missing(["a"], ["g"], ["a"], []).alarm
    assert missing([], [], [], []).alarm == ""


def test_a_damaged_note_counts_as_none():
    accounts = FakeAccounts()
    accounts.user("sam", 2001)
    record = UserRecord(UserEntry("sam", 2001, 100, "x", "/", "/bin/sh"))
    for note in ("{", "[]", "3"):
        assert narrowed(record, note, accounts.view.user("sam")) == replace(record)


def test_who_is_gone_is_locked_or_deleted_once():
    accounts = FakeAccounts()
    accounts.user("sam")
    accounts.put_changes(removal(accounts.view, "user", "sam", "lock"))
    assert accounts.view.user("sam").locked
    assert removal(accounts.view, "user", "sam", "lock") == []
    accounts.put_changes(removal(accounts.view, "user", "sam", "delete"))
    assert accounts.view.user("sam") is None
    assert removal(accounts.view, "user", "sam", "delete") == []
    assert removal(accounts.view, "group", "g", "lock") == []
    assert removal(accounts.view, "group", "g", "delete") == []
