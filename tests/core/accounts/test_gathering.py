"""From account files to records: what is taken, what is left out and why."""

import pytest
from support.account_files import gathered

from beonss.core.accounts.entries import Aging, Password
from beonss.core.accounts.gathering import gather, split_hash
from beonss.core.accounts.passwdfile import PASSWD, SHADOW, read
from beonss.errors import ConfigurationError


def test_what_is_gathered_and_what_is_not():
    batch = gathered()
    assert [record.entry.name for record in batch.users] == ["frodo", "sam"]
    assert [record.entry.name for record in batch.groups] == ["hobbits"]
    assert batch.below_floor == 4
    assert [(skipped.source, skipped.line, skipped.name) for skipped in batch.skipped] == [
        ("passwd", 8, ""),
        ("passwd", 4, "sam"),
        ("passwd", 5, "rosie"),
        ("passwd", 6, "evil"),
        ("group", 3, "sam"),
    ]
    frodo, sam = batch.users
    assert frodo.password == Password("$6$f$1", 19000)
    assert frodo.aging == Aging(0, 99999, 7)
    assert (sam.password, sam.locked) == (Password("$6$s$1", 19000), True)


def test_without_shadow_hashes_of_passwd_count_and_x_says_nothing():
    batch = gathered(shadow=None, passwd=b"a:$1$a$1:1001:100:::\nb:x:1002:100:::\n", group=None)
    assert batch.users[0].password == Password("$1$a$1")
    assert (batch.users[1].password, batch.users[1].locked, batch.users[1].aging) == (None, None, None)


@pytest.mark.parametrize("data", [b"", b"root:x:0:0::/:/bin/sh\n", b"\0\0\0", b"+::::::\n"])
def test_an_empty_or_wrong_file_is_refused(data):
    with pytest.raises(ConfigurationError, match="nothing to import"):
        gathered(passwd=data, group=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$6$x", ("$6$x", False)),
        ("!$6$x", ("$6$x", True)),
        ("!!$6$x", ("$6$x", True)),
        ("*LK*$6$x", ("$6$x", True)),
        ("*", (None, False)),
        ("!", (None, False)),
        ("!!", (None, False)),
        ("!*", (None, True)),
        ("", (None, False)),
        ("x", (None, False)),
        ("*NP*", (None, False)),
    ],
)
def test_password_fields(text, expected):
    assert split_hash(text) == expected


@pytest.mark.parametrize(
    ("password", "days", "says"),
    [
        ("hunter2", "19000", "no hash"),
        ("$6$salt$hash", "99999999999999", "out of bounds"),
        ("$6$salt$hash", "19000", ""),
    ],
)
def test_a_plain_word_or_an_absurd_day_leaves_the_user_out_and_says_so(password, days, says):
    """Neither stops the rest of the import, and no part of the field is told."""
    passwd = read(PASSWD, b"sam:x:2001:2000::/home/sam:/bin/sh\nrosie:x:2002:2000::/home/rosie:/bin/sh\n")
    shadow = read(SHADOW, f"sam:{password}:{days}::::::\nrosie:*:::::::\n".encode())
    batch = gather(passwd, shadow, None)
    assert [user.entry.name for user in batch.users] == (["rosie"] if says else ["sam", "rosie"])
    assert all(says in one.reason and "hunter2" not in one.reason for one in batch.skipped)
