"""What is told of an account: users, groups and conflicts as values, and users made of registers when asked for."""

from dataclasses import dataclass, replace
from typing import Literal

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    LOCK,
    PASSWORD,
    RENEWAL,
    Aging,
    GroupEntry,
    Kind,
    Lock,
    Password,
    Renewal,
    UserEntry,
    decode,
    password_problems,
)
from beonss.core.replication.packed import Cells, cell_at, remembered, value_in
from beonss.errors import MalformedError

NO_AGING = Aging()


@dataclass(frozen=True, slots=True)
class User:
    """A served user.

    Attributes:
        id: the object's id, 32 hex digits.
        password: None when none is set (no login by password), and always on nodes, which never hold one; changed on
            day 0 when it must be changed at the next login.
        locked: an administrator locked it; also true when the lock register cannot be read.
    """

    id: str
    entry: UserEntry
    password: Password | None
    aging: Aging
    locked: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A served group; ``members`` are the names of served users, sorted, without those who have it as primary group."""

    id: str
    entry: GroupEntry
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Live objects that are not served, and why.

    Attributes:
        claim: ``name`` or ``number`` when several objects claim ``value``; ``entry`` when one object cannot be
            served by itself (``owner`` is then None and ``reason`` says why).
        owner: id of the object that is served under ``value``, or would be if it owned its other claim too.
        losers: ids of the others, in the order in which they would inherit.
    """

    kind: Kind
    claim: Literal["name", "number", "entry"]
    value: str | int
    owner: str | None
    losers: tuple[str, ...]
    reason: str


def user_of(identifier: str, cells: Cells) -> User:
    """Return the user that registers say; its entry can be read and served."""
    return User(
        identifier,
        decode(UserEntry, value_in(cells, ENTRY) or b""),
        password_of(cells),
        aging_of(value_in(cells, AGING)),
        locked_by(value_in(cells, LOCK)),
    )


def password_of(cells: Cells) -> Password | None:
    """Return a user's password; one that cannot be read is none.

    It is changed on day 0, as shadow(5) says it, where it must be changed first.
    """
    at = cell_at(cells, PASSWORD)
    if at < 0:
        return None
    value, sequence, (time, origin, _, _) = cells[at + 1 : at + 4]
    try:
        password = decode(Password, value)
    except MalformedError:
        return None
    if password_problems(password):
        return None
    demanded = value_in(cells, RENEWAL)
    if demanded is not None:
        try:
            renewal = decode(Renewal, demanded)
        except MalformedError:
            # One that cannot be read demands nothing: else its user would be asked again at each login.
            return password
        if (renewal.time, renewal.origin, renewal.sequence) == (time, origin, sequence):
            return replace(password, changed=0)
    return password


def aging_of(value: bytes | None) -> Aging:
    """Return ageing fields; what cannot be read sets none."""
    return NO_AGING if value is None else _read_aging(value)


@remembered(256)
def _read_aging(value: bytes) -> Aging:
    # Nearly all users have the same few, and share them.
    try:
        return decode(Aging, value)
    except MalformedError:
        return NO_AGING


def locked_by(value: bytes | None) -> bool:
    """Say whether a register ``lock`` locks; one that cannot be read does."""
    if value is None:
        return False
    try:
        return decode(Lock, value).locked
    except MalformedError:
        return True
