"""What is exported is what an import takes: nothing is bent on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry, entry_problems, password_problems
from beonss.core.accounts.exporting import group_lines, group_record, user_lines, user_record
from beonss.core.accounts.gathering import gather
from beonss.core.accounts.passwdfile import GROUP, PASSWD, SHADOW, UnwritableError, read
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.accounts.view import Group, User

text = st.text(st.characters(exclude_characters=":\n\r\0", codec="utf-8"), max_size=8) | st.just("Ren\udce9")
day = st.none() | st.integers(0, 30000)
printable = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":!*")
# Of schemes that nobody knows yet, too; a plain word is no hash and is not imported.
hashes = st.text(printable, min_size=2, max_size=20).map("${}".format)
passwords = st.none() | st.builds(Password, hashes, day)
names = st.from_regex(r"[a-z_][a-z0-9_-]{0,9}", fullmatch=True)
entries = st.builds(UserEntry, names, st.integers(1000, 60000), st.integers(1, 60000), text, text, text)
agings = st.builds(Aging, day, day, day, day, day)


@given(entries, passwords, agings, st.booleans())
def test_a_user_comes_back_as_it_was(entry, password, aging, locked):
    """Through passwd and shadow lines, and the import that reads them."""
    assert not entry_problems(entry)
    assert password is None or not password_problems(password)
    lines = user_lines(user_record(User("0" * 32, entry, password, aging, locked)))
    batch = gather(read(PASSWD, lines["passwd"]), read(SHADOW, lines["shadow"]), None, uid_floor=1000)
    assert batch.users == (UserRecord(entry, password, locked, aging),)


@given(names, st.integers(1000, 60000), st.lists(names, max_size=4, unique=True))
def test_a_group_comes_back_as_it_was(name, gid, members):
    record = group_record(Group("0" * 32, GroupEntry(name, gid), tuple(members)))
    lines = group_lines(record)
    assert gather(None, None, read(GROUP, lines["group"]), gid_floor=1000).groups == (record,)
    assert lines["gshadow"].startswith(name.encode() + b":!:")


@pytest.mark.parametrize("locked", [False, True])
def test_without_hashes_lock_and_ageing_stay(locked):
    user = User("0", UserEntry("sam", 1001, 100, "", "/", ""), Password("$6$secret", 19000), Aging(maximum=90), locked)
    record = user_record(user, hashes=False)
    lines = user_lines(record)
    assert lines["shadow"] == (b"sam:!*:::90::::\n" if locked else b"sam:*:::90::::\n")
    assert b"secret" not in b"".join(lines.values())
    assert "secret" not in repr(record)


def test_a_password_that_is_none_does_not_open_the_account():
    """An empty field of shadow(5) lets everybody in; nobody meant that."""
    user = User("0", UserEntry("sam", 1001, 100, "", "/", ""), Password("", 1), Aging(), False)
    assert user_lines(user_record(user))["shadow"] == b"sam:*:::::::\n"


def test_limits_below_zero_are_no_limits():
    user = User("0", UserEntry("sam", 1001, 100, "", "/", ""), Password("$6$s", -5), Aging(maximum=-1), False)
    assert user_lines(user_record(user))["shadow"] == b"sam:$6$s:::::::\n"


def test_what_such_a_file_cannot_hold_is_refused():
    entry = UserEntry("#sam", 1001, 100, "", "/", "")
    assert not entry_problems(entry)
    with pytest.raises(UnwritableError):
        user_lines(user_record(User("0", entry, None, Aging(), False)))
    with pytest.raises(UnwritableError):
        group_lines(GroupRecord(GroupEntry("~g", 1001)))
