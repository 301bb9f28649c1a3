"""Writes that lost against one made elsewhere at the same time: to be written again, or to be forgotten.

Neither author had seen the other, so nobody knows which was meant. The later one stands; the other is kept, by each
master for itself, until somebody who saw both writes again: that is what both ways out do, so they reach all masters.
"""

from collections.abc import Callable, Sequence

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    LOCK,
    MEMBER_PREFIX,
    PASSWORD,
    Aging,
    GroupEntry,
    Kind,
    Lock,
    Member,
    UserEntry,
    Value,
    decode,
)
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change, Register
from beonss.errors import MalformedError, Refused


def find_overruled(view: AccountView, rows: Sequence[Register], prefix: str, field: str | None) -> list[Register]:
    """Return the writes that lost of the living account whose id begins so, perhaps of one field.

    Raises:
        Refused: ``unknown-conflict``, or ``ambiguous`` when several ids begin so.
    """
    found = [row for row in told(view, rows) if prefix and row.key.object.startswith(prefix.lower())]
    ids = sorted({row.key.object for row in found})
    if len(ids) > 1:
        raise Refused("ambiguous", f"several ids begin with {prefix!r}: {', '.join(ids)}")
    if field is not None:
        found = [row for row in found if row.key.field == field]
    if not found:
        what = "a write" if field is None else f"a write of {field!r}"
        raise Refused("unknown-conflict", f"no account whose id begins with {prefix!r} has {what} that lost")
    return found


def told(view: AccountView, rows: Sequence[Register]) -> list[Register]:
    """Return those of the writes that are about living accounts, and that another one still stands against."""
    return [row for row in rows if view.register(row.key) is not None and view.alive(row.key.object)]


def dismissal(view: AccountView, rows: Sequence[Register]) -> list[Change]:
    """Return the changes that let what stands stand, now by somebody who has seen the other."""
    standing = [found for found in (view.register(row.key) for row in rows) if found is not None]
    return [Change(one.key, one.value, one.stamp) for one in standing]


def reassertion(view: AccountView, row: Register) -> list[Change]:
    """Return the changes that bring a write that lost back.

    Raises:
        Refused: ``not-kept`` (a hash that lost is not), ``unreadable``, or ``exists``: the name that it brings back has
            another owner now.
    """
    standing = view.register(row.key)
    if row.key.field == PASSWORD:
        raise Refused(
            "not-kept",
            "a password that lost is not kept anywhere: let its owner set it again with cpasswd, or dismiss it",
        )
    value = lost_value(row)
    if standing is None or value is None:
        raise Refused("unreadable", f"this version cannot bring back the part {row.key.field!r} of an account")
    if isinstance(value, UserEntry | GroupEntry):
        kind: Kind = "user" if isinstance(value, UserEntry) else "group"
        now = lost_value(standing)
        rivals: set[str] = set()
        if not isinstance(now, UserEntry | GroupEntry) or now.name != value.name:
            rivals.update(view.claimants(kind, "name", value.name))
        if _number(now) != _number(value):
            rivals.update(view.claimants(kind, "number", _number(value) or 0))
        others = rivals - {row.key.object}
        if others:
            raise Refused("exists", f"{view.describe(min(others))} has its name or number now")
    return [Change(row.key, row.value, standing.stamp)]


def _number(value: Value | None) -> int | None:
    return value.uid if isinstance(value, UserEntry) else value.gid if isinstance(value, GroupEntry) else None


def lost_value(row: Register) -> Value | None:
    """Return what a write said, if this version can read it and it may be told; never a hash."""
    field = row.key.field
    readers: tuple[Callable[[bytes], Value], ...] = ()
    if field == ENTRY:
        readers = (lambda data: decode(UserEntry, data), lambda data: decode(GroupEntry, data))
    elif field == LOCK:
        readers = (lambda data: decode(Lock, data),)
    elif field == AGING:
        readers = (lambda data: decode(Aging, data),)
    elif field.startswith(MEMBER_PREFIX):
        readers = (lambda data: decode(Member, data),)
    for read in readers:
        try:
            return read(row.value)
        except MalformedError:
            continue
    return None
