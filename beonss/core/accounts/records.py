"""Accounts as they are found elsewhere or go there: what imports, exports, hand edits and sources have in common.

A record has no id, and where the place it came from does not say something, neither does the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.errors import MalformedError


@dataclass(frozen=True, slots=True, repr=False)
class UserRecord:
    """A user as found in files.

    Attributes:
        password: None where the files hold none, which leaves the password held here as it is.
        locked: None where the files do not say.
        aging: None where the files do not say.
    """

    entry: UserEntry
    password: Password | None = None
    locked: bool | None = None
    aging: Aging | None = None

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"UserRecord(name={self.entry.name!r}, uid={self.entry.uid})"


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group as found in a file, with the names of its members."""

    entry: GroupEntry
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something left out.

    Attributes:
        source: the file's name as given by the caller, or the kind of account.
        line: its line, from 1; 0 if it does not come from one line.
    """

    source: str
    line: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What was found in the files, in their order.

    Attributes:
        below_floor: how many accounts of the system itself, nobody included, were left out.
    """

    users: tuple[UserRecord, ...]
    groups: tuple[GroupRecord, ...]
    skipped: tuple[Skipped, ...]
    below_floor: int = 0


def to_json(record: UserRecord | GroupRecord) -> dict[str, Any]:
    """Return a record as the JSON object that crosses the control socket."""
    if isinstance(record, GroupRecord):
        return {**asdict(record.entry), "members": list(record.members)}
    return {
        **asdict(record.entry),
        "hash": None if record.password is None else record.password.hash,
        "changed": None if record.password is None else record.password.changed,
        "locked": record.locked,
        "aging": None if record.aging is None else asdict(record.aging),
    }


def batch_from_json(users: object, groups: object) -> Batch:
    """Read the records of a request.

    Raises:
        MalformedError: they are no such records. The text never holds a value.
    """
    return Batch(
        tuple(_user_from_json(raw) for raw in _objects(users, "users")),
        tuple(_group_from_json(raw) for raw in _objects(groups, "groups")),
        (),
    )


def _objects(raw: object, what: str) -> Sequence[Mapping[str, Any]]:
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise MalformedError(f"{what} is not a list of objects")
    return raw


def _user_from_json(raw: Mapping[str, Any]) -> UserRecord:
    entry = UserEntry(
        _text(raw, "name"),
        _count(raw, "uid"),
        _count(raw, "gid"),
        _text(raw, "gecos"),
        _text(raw, "home"),
        _text(raw, "shell"),
    )
    aging = raw.get("aging")
    if aging is not None and not isinstance(aging, dict):
        raise MalformedError("aging is not an object")
    locked = raw.get("locked")
    if locked is not None and not isinstance(locked, bool):
        raise MalformedError("locked is neither true nor false")
    return UserRecord(
        entry,
        None if raw.get("hash") is None else Password(_text(raw, "hash"), _optional(raw, "changed")),
        locked,
        None if aging is None else Aging(**{word: _optional(aging, word) for word in Aging.__annotations__}),
    )


def _group_from_json(raw: Mapping[str, Any]) -> GroupRecord:
    members = raw.get("members", [])
    if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
        raise MalformedError("members is not a list of names")
    return GroupRecord(GroupEntry(_text(raw, "name"), _count(raw, "gid")), tuple(dict.fromkeys(members)))


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"{name} is missing or no text")
    return value


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = _optional(raw, name)
    if value is None:
        raise MalformedError(f"{name} is missing")
    return value


def _optional(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise MalformedError(f"{name} is no whole number")
    return value
