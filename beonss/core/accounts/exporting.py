"""Accounts to take elsewhere: each user and group as plain values, and as lines of passwd(5), shadow(5) and group(5).

The opposite of :mod:`beonss.core.accounts.importing`: what is exported and imported again into an empty cluster gives
the same accounts. An account that such a file cannot hold is left out and told, never bent.
"""

from beonss.core.accounts.entries import Aging
from beonss.core.accounts.gathering import NO_PASSWORD
from beonss.core.accounts.passwdfile import (
    GROUP,
    GSHADOW,
    PASSWD,
    SHADOW,
    GroupLine,
    GshadowLine,
    PasswdLine,
    ShadowLine,
)
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.accounts.view import Group, User

#: The field of shadow(5) that no password matches, and that says nothing about a lock.
NO_HASH = "*"


def user_record(user: User, *, hashes: bool = True) -> UserRecord:
    """Return a served user as a record; without hashes its password is left out, not its lock and its ageing."""
    password = user.password
    if password is not None and (not hashes or password.hash in NO_PASSWORD):
        password = None
    return UserRecord(user.entry, password, user.locked, user.aging)


def group_record(group: Group) -> GroupRecord:
    """Return a served group as a record."""
    return GroupRecord(group.entry, group.members)


def shadow_field(record: UserRecord) -> str:
    """Return the second field of shadow(5); see :func:`beonss.core.accounts.gathering.split_hash` for the way back."""
    text = NO_HASH if record.password is None else record.password.hash
    return f"!{text}" if record.locked else text


def user_lines(record: UserRecord) -> dict[str, bytes]:
    """Return the lines of a user for ``passwd`` and ``shadow``.

    Raises:
        UnwritableError: a value cannot stand in such a file.
    """
    entry = record.entry
    aging = record.aging or Aging()
    passwd = PasswdLine(entry.name, "x", entry.uid, entry.gid, entry.gecos, entry.home, entry.shell)
    changed = None if record.password is None else record.password.changed
    shadow = ShadowLine(
        entry.name,
        shadow_field(record),
        _days(changed),
        _days(aging.minimum),
        _days(aging.maximum),
        _days(aging.warning),
        _days(aging.inactive),
        _days(aging.expires),
    )
    return {"passwd": PASSWD.line(passwd), "shadow": SHADOW.line(shadow)}


def group_lines(record: GroupRecord) -> dict[str, bytes]:
    """Return the lines of a group for ``group`` and ``gshadow``.

    Raises:
        UnwritableError: a value cannot stand in such a file.
    """
    name, gid = record.entry.name, record.entry.gid
    group, gshadow = GroupLine(name, "x", gid, record.members), GshadowLine(name, "!", (), record.members)
    return {"group": GROUP.line(group), "gshadow": GSHADOW.line(gshadow)}


def _days(value: int | None) -> int | None:
    """Return days as shadow(5) can say them: below zero is no limit, as an empty field says."""
    return None if value is None or value < 0 else value
