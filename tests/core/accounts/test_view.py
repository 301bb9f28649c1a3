"""What a set of registers means: who is served, who is not, and that only the set counts."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.registers import B, account_rows, group_rows, row, user_rows

from beonss.core.accounts import intents
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
    encode,
    member_field,
    object_id,
)
from beonss.core.accounts.view import AccountView
from beonss.core.replication.packed import Cells, PackedRegisters
from beonss.core.replication.registers import Change, Key, Register, Stamp

ALICE = object_id("user", "alice", 1001)
BOB = object_id("user", "bob", 1002)
STAFF = object_id("group", "staff", 50)


def snapshot(view: AccountView) -> dict[str, object]:
    return {found.id: found for found in [*view.users(), *view.groups()]}


def changed(view: AccountView, rows: list[Register]) -> set[str]:
    """Apply rows; return the ids of those that are served differently then."""
    before = snapshot(view)
    view.apply(rows)
    after = snapshot(view)
    return {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}


@settings(max_examples=300)
@given(st.lists(st.lists(account_rows(), max_size=5), max_size=8), st.randoms(use_true_random=False))
def test_the_view_is_a_function_of_the_set_of_rows(batches: list[list[Register]], shuffle: random.Random) -> None:
    """In steps or at once, in any order, with repeats: the same accounts, conflicts and free numbers."""
    view = AccountView()
    for batch in batches:
        view.apply(batch)
    everything = [each for batch in batches for each in batch] * 2
    shuffle.shuffle(everything)
    rebuilt = AccountView(everything)
    assert snapshot(rebuilt) == snapshot(view)
    assert rebuilt.conflicts() == view.conflicts()
    held = {each.key: rebuilt.register(each.key) for each in everything}
    assert all(view.register(key) == found for key, found in held.items())
    for kind, name in (("user", "u"), ("group", "g")):
        assert rebuilt.next_generation(kind, name) == view.next_generation(kind, name)


@settings(max_examples=300)
@given(st.lists(account_rows(), max_size=30), st.integers(1, 4), st.lists(account_rows(), max_size=5))
def test_loading_a_database_is_applying_its_rows(rows: list[Register], parts: int, later: list[Register]) -> None:
    """However the rows are cut into runs: the same view, which then takes changes in the same way."""
    applied, loaded = AccountView(rows), AccountView()
    loaded.load(runs([row for n in range(parts) for row in rows[n::parts]]))
    for changes in ([], later):
        applied.apply(changes)
        loaded.apply(changes)
        assert snapshot(loaded) == snapshot(applied)
        assert loaded.conflicts() == applied.conflicts()
        assert loaded.contested() == applied.contested()
        assert loaded.highest_created == applied.highest_created
        for view in (loaded, applied):
            assert view.count("user") == len(list(view.users()))
            assert view.count("group") == len(list(view.groups()))
            users = list(view.users())
            assert users == sorted(users, key=lambda user: user.entry.uid)
            assert set(view.user_names()) == {(user.entry.name, user.entry.uid) for user in users}
            assert view.served_ids() == {found.id for found in [*users, *view.groups()]}
            for gid in (0, 1, 2):
                assert view.users_of_group(gid) == sorted(u.entry.name for u in users if u.entry.gid == gid)
        for each in [*rows, *changes]:
            assert loaded.register(each.key) == applied.register(each.key)
            assert sorted(loaded.groups_listing(each.key.object)) == sorted(applied.groups_listing(each.key.object))
            assert loaded.describe(each.key.object) == applied.describe(each.key.object)
        for kind, name in (("user", "u"), ("group", "g")):
            assert loaded.next_generation(kind, name) == applied.next_generation(kind, name)
            assert [loaded.was_used(kind, n) for n in range(4)] == [applied.was_used(kind, n) for n in range(4)]
            for value in ("u", "g", 1, 2):
                what = "name" if isinstance(value, str) else "number"
                assert loaded.claimants(kind, what, value) == applied.claimants(kind, what, value)


def runs(rows: list[Register]) -> list[tuple[str, Cells]]:
    """Return registers as they come from a database: what stands together of one object is one run."""
    result = []
    for identifier, group in itertools.groupby(rows, key=lambda row: row.key.object):
        packed = PackedRegisters(identifier)
        for each in group:
            packed.take(each)
        result.append((identifier, packed.cells()))
    return result


def test_a_user_with_more_registers_than_any_has_today() -> None:
    """A newer version's fields are kept and do not get in the way."""
    more = [row(ALICE, f"future-{n}", b"{}") for n in range(40)]
    view = AccountView([*user_rows("alice", 1001), *more])
    before = list(view.users())
    users = view.users()
    view.apply([row(ALICE, PASSWORD, Password("$6$x", 1))])
    assert list(users) == before, "what was there when the iteration began"
    assert view.user("alice").password == Password("$6$x", 1)  # type: ignore[union-attr]
    view.apply([row(ALICE, "future-1", b"[]", time=2)])
    assert view.register(Key(ALICE, "future-1")) == row(ALICE, "future-1", b"[]", time=2)
    renamed = UserEntry("alicia", 1001, 100, "", "/home/alice", "/bin/sh")
    view.apply([row(ALICE, ENTRY, renamed, time=2)])
    assert view.user("alice") is None
    assert view.count("user") == 1


def test_a_group_of_many_members() -> None:
    count = 500
    users = [object_id("user", f"user{n}", 2000 + n) for n in range(count)]
    rows = [each for n in range(count) for each in user_rows(f"user{n}", 2000 + n)]
    rows += group_rows("staff", 50)
    rows += [row(STAFF, member_field(user), Member(member=True)) for user in users]
    view, loaded = AccountView(rows), AccountView()
    loaded.load(runs(rows))
    for one in (view, loaded):
        assert len(one.group("staff").members) == count  # type: ignore[union-attr]
        assert changed(one, [row(STAFF, member_field(users[7]), Member(member=False), time=2)]) == {STAFF}
        assert "user7" not in one.group("staff").members  # type: ignore[union-attr]
        assert one.groups_of("user8") == (one.group("staff"),)
        assert changed(one, [row(users[8], GONE, Gone())]) == {STAFF, users[8]}


@given(st.lists(account_rows(), max_size=25))
def test_what_is_served_is_unique_and_owned_by_the_oldest(rows: list[Register]) -> None:
    view = AccountView(rows)
    users, groups = list(view.users()), list(view.groups())
    assert len({u.entry.name for u in users}) == len({u.entry.uid for u in users}) == len(users)
    assert len({g.entry.name for g in groups}) == len({g.entry.gid for g in groups}) == len(groups)
    for user in users:
        assert view.user(user.entry.name) == view.user_by_uid(user.entry.uid) == view.user_by_id(user.id) == user
        presence = view.presence(user.id)
        assert presence is not None
        for other in {each.key.object for each in rows}:
            rival = view.presence(other)
            entry = view.register(next(iter(r.key for r in rows if r.key.object == other)))
            assert entry is not None
            if other != user.id and rival is not None and rival.kind == "user" and view.user_by_id(other) is None:
                losers = [c for c in view.conflicts() if other in c.losers]
                assert losers or not view.alive(other)
    for group in groups:
        assert view.group(group.entry.name) == view.group_by_gid(group.entry.gid) == view.group_by_id(group.id) == group
        assert list(group.members) == sorted(set(group.members))
        for member in group.members:
            assert group in view.groups_of(member)


def test_a_user_is_served_with_all_that_belongs_to_it() -> None:
    view = AccountView(user_rows("alice", 1001))
    assert changed(view, [row(ALICE, PASSWORD, Password("$6$x", 20000)), row(ALICE, AGING, Aging(maximum=90))]) == {
        ALICE
    }
    user = view.user("alice")
    assert user is not None
    assert user.password == Password("$6$x", 20000)
    assert user.aging == Aging(maximum=90)
    assert not user.locked
    assert view.user_by_id(ALICE) == user
    assert view.group_by_id(STAFF) is None
    assert view.user("bob") is None
    assert view.user_by_uid(5) is None
    assert view.groups_of("bob") == ()


def test_a_row_that_loses_changes_nothing() -> None:
    view = AccountView([*user_rows("alice", 1001), row(ALICE, LOCK, Lock(locked=True), time=9)])
    assert changed(view, [row(ALICE, LOCK, Lock(locked=False), time=8, origin=B)]) == set()
    assert view.user("alice").locked  # type: ignore[union-attr]


def test_a_lock_that_cannot_be_read_locks_and_a_hash_that_cannot_is_no_password() -> None:
    """A newer version's values fail closed, and come back when they can be read."""
    view = AccountView([*user_rows("alice", 1001), row(ALICE, LOCK, b"?"), row(ALICE, PASSWORD, b"?")])
    user = view.user("alice")
    assert user is not None
    assert user.locked
    assert user.password is None
    view.apply([row(ALICE, LOCK, Lock(locked=False), time=2)])
    assert not view.user("alice").locked  # type: ignore[union-attr]


def test_members_are_names_of_served_users_and_follow_them() -> None:
    view = AccountView([*group_rows("staff", 50), row(STAFF, member_field(ALICE), Member(member=True))])
    assert view.group("staff").members == ()  # type: ignore[union-attr]
    assert changed(view, user_rows("alice", 1001)) == {ALICE, STAFF}
    assert view.group("staff").members == ("alice",)  # type: ignore[union-attr]
    renamed = UserEntry("alicia", 1001, 100, "", "/home/alice", "/bin/sh")
    assert changed(view, [row(ALICE, ENTRY, renamed, time=2)]) == {ALICE, STAFF}
    assert view.group("staff").members == ("alicia",)  # type: ignore[union-attr]
    assert [g.entry.name for g in view.groups_of("alicia")] == ["staff"]
    assert changed(view, [row(ALICE, PASSWORD, Password("$6$x"))]) == {ALICE}, "a password is no concern of groups"
    assert changed(view, [row(STAFF, member_field(ALICE), Member(member=False), time=2)]) == {STAFF}
    assert view.groups_of("alicia") == ()


def test_the_oldest_owns_a_number_and_the_next_inherits_it() -> None:
    """Creation stamps decide, not the order of arrival; the loser is listed and takes over from a deleted owner."""
    view = AccountView(user_rows("bob", 1001, created=20))
    bob = object_id("user", "bob", 1001)
    assert changed(view, user_rows("alice", 1001, created=10)) == {ALICE, bob}
    assert view.user("bob") is None
    (conflict,) = view.conflicts()
    assert (conflict.kind, conflict.claim, conflict.value, conflict.owner) == ("user", "number", 1001, ALICE)
    assert conflict.losers == (bob,)
    assert "alice" in conflict.reason
    assert "bob" in conflict.reason
    assert changed(view, [row(ALICE, GONE, Gone())]) == {ALICE, bob}
    assert view.user_by_uid(1001).entry.name == "bob"  # type: ignore[union-attr]
    assert view.conflicts() == []


def test_equal_creation_stamps_are_decided_by_the_id() -> None:
    ids = sorted([ALICE, object_id("user", "alice", 1009)])
    view = AccountView([*user_rows("alice", 1001, created=5), *user_rows("alice", 1009, created=5)])
    assert view.user("alice").id == ids[0]  # type: ignore[union-attr]


def test_a_loser_of_one_claim_still_holds_its_other_claim() -> None:
    """The rule looks at each name and number alone, so that no far-off account can change who is served."""
    rows = [
        *user_rows("alice", 1001, created=1),
        *user_rows("bob", 1001, created=2),
        *user_rows("bob", 1003, created=3),
    ]
    view = AccountView(rows)
    assert [user.entry.name for user in view.users()] == ["alice"]
    assert len(view.conflicts()) == 2


def test_user_and_group_may_share_a_name_and_a_number() -> None:
    view = AccountView([*user_rows("alice", 1001), *group_rows("alice", 1001)])
    assert view.user("alice") is not None
    assert view.group("alice") is not None
    assert view.conflicts() == []


def test_a_deletion_wins_over_a_creation_written_elsewhere_meanwhile() -> None:
    """Whatever the clock of the master that created: what was deleted does not come back."""
    view = AccountView([*user_rows("alice", 1001), row(ALICE, GONE, Gone(), time=5)])
    again = Presence("user", "alice", 1001, 0, 99, present=True)
    view.apply([row(ALICE, PRESENT, again, time=10**15, origin=B)])
    assert view.user("alice") is None
    assert not view.alive(ALICE)


def test_an_account_made_again_is_another_object() -> None:
    view = AccountView([*user_rows("alice", 1001), row(ALICE, PASSWORD, Password("$6$old"))])
    view.apply([row(ALICE, GONE, Gone())])
    assert view.next_generation("user", "alice") == 1
    view.apply(user_rows("alice", 1001, created=9, generation=1))
    user = view.user("alice")
    assert user is not None
    assert user.id != ALICE
    assert user.password is None


def test_an_entry_that_would_break_passwd_is_listed_and_not_served() -> None:
    evil = UserEntry("alice", 1001, 100, "x:0:0:root:/root:/bin/sh\nroot", "/", "/bin/sh")
    view = AccountView([*user_rows("alice", 1001), row(ALICE, ENTRY, evil, time=2)])
    assert view.user("alice") is None
    (conflict,) = view.conflicts()
    assert conflict.claim == "entry"
    assert conflict.losers == (ALICE,)
    assert "gecos" in conflict.reason


def test_a_presence_that_is_not_of_its_object_does_not_count() -> None:
    """An id is the digest of what it was made as: nobody can put another account under it."""
    forged = Presence("user", "alice", 1001, 0, 1, present=True)
    view = AccountView([row(BOB, PRESENT, forged), row(BOB, ENTRY, UserEntry("alice", 1001, 1, "", "/", "/"))])
    assert list(view.users()) == []
    assert view.presence(BOB) is None


def test_a_group_entry_on_a_user_is_not_served() -> None:
    view = AccountView([*user_rows("alice", 1001), row(ALICE, ENTRY, GroupEntry("alice", 1001), time=2)])
    assert snapshot(view) == {}
    assert view.conflicts()[0].claim == "entry"


def test_names_may_swap_in_one_step() -> None:
    view = AccountView([*user_rows("alice", 1001), *user_rows("bob", 1002)])
    swap = [
        row(ALICE, ENTRY, UserEntry("bob", 1001, 1, "", "/", "/"), time=2),
        row(BOB, ENTRY, UserEntry("alice", 1002, 1, "", "/", "/"), time=2),
    ]
    assert changed(view, swap) == {ALICE, BOB}
    assert view.user("bob").id == ALICE  # type: ignore[union-attr]
    assert view.user("alice").id == BOB  # type: ignore[union-attr]


def test_a_used_number_is_not_handed_out_again() -> None:
    view = AccountView([*user_rows("alice", 1000), *user_rows("bob", 1001)])
    assert view.next_uid(1000) == 1002
    view.apply([row(object_id("user", "bob", 1001), GONE, Gone())])
    assert view.next_uid(1000) == 1002
    assert view.next_uid(5000) == 5000
    assert view.next_gid(1000) == 1000


def test_registers_of_unknown_objects_and_fields_are_kept() -> None:
    unknown = row("f" * 32, "document:description", b'{"text":"x"}')
    view = AccountView()
    assert changed(view, [unknown]) == set()
    assert view.register(unknown.key) == unknown
    assert view.registers("f" * 32) == (unknown,)
    assert view.registers("e" * 32) == ()
    assert view.describe("f" * 32) == "object " + "f" * 32


def test_iterating_does_not_see_changes_made_meanwhile() -> None:
    view = AccountView(user_rows("alice", 1001))
    users = view.users()
    view.apply(user_rows("bob", 1002))
    assert [user.entry.name for user in users] == ["alice"]
    assert view.highest_created == 1


def test_who_stands_in_a_conflict_and_which_groups_list_a_user() -> None:
    """The short ways say what the long ones say."""
    view, presence = AccountView(), intents.creation(AccountView(), "user", "sam", 1001, 5)
    for number, name in ((1001, "sam"), (1002, "rosie")):
        view.apply(written(intents.create_user(view, UserEntry(name, number, 100, "", "/", "/bin/sh"), 5)))
    view.apply(written(intents.create_group(view, GroupEntry("gardeners", 2000), 5)))
    assert view.contested() == frozenset()
    view.apply(written(intents.add_member(view, "gardeners", "sam"), 7))
    group = view.group("gardeners")
    assert group is not None
    assert view.groups_listing(presence.object) == (group.id,)
    twin = Presence("user", "sam", 1003, 0, 9, present=True)
    entry = UserEntry("sam", 1003, 100, "", "/", "/bin/sh")
    view.apply(
        written([Change(Key(twin.object, ENTRY), encode(entry)), Change(Key(twin.object, PRESENT), encode(twin))])
    )
    concerned = {one for conflict in view.conflicts() for one in (conflict.owner, *conflict.losers)}
    assert view.contested() == concerned == {presence.object, twin.object}
    view.apply(written(intents.remove_member(view, "gardeners", "sam"), 8))
    assert view.groups_listing(presence.object) == ()


def written(changes: list[Change], time: int = 5) -> list[Register]:
    return [Register(c.key, c.value, Stamp(time, "a" * 32, n)) for n, c in enumerate(changes, 1)]
