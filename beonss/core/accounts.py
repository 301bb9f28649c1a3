"""Users and groups as objects made of registers: identities, values, and their bytes.

An account is an object with an immutable id, a digest of (kind, name, number, generation) where generation
counts the deleted predecessors known. So a user made again after deletion starts with no password and no
memberships, and one file imported on two masters gives the same objects. Values are canonical JSON: an
administrator can read them with ``sqlite3``. Bytes that are not UTF-8 (an old GECOS) survive as
surrogate escapes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from beonss.errors import MalformedError

Kind = Literal["user", "group"]

ENTRY = "entry"
PASSWORD = "password"  # noqa: S105 - the name of a register
AGING = "aging"
LOCK = "lock"
PRESENT = "present"
MEMBER_PREFIX = "member:"

#: Fields that only masters hold; nodes and relays never see them.
PRIVATE_FIELDS = frozenset({PASSWORD, AGING})


def is_public(field: str) -> bool:
    """Say whether a register of this field may leave the masters."""
    return field not in PRIVATE_FIELDS


def member_field(user_id: str) -> str:
    """Return the field of a group under which the membership of a user object is kept."""
    return MEMBER_PREFIX + user_id


def object_id(kind: Kind, name: str, number: int, generation: int = 0) -> str:
    """Return the immutable id, 32 hex digits, of an account or group.

    Args:
        kind: ``user`` or ``group``.
        name: the name it was created with.
        number: the uid or gid it was created with.
        generation: how many objects with this kind and name were deleted before, as far as known.
    """
    text = json.dumps([kind, name, number, generation], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether an object lives, and what it was created as (field ``present``).

    Attributes:
        created: creation stamp in ms; the lowest owns a name or number that two objects claim.
    """

    kind: Kind
    name: str
    number: int
    generation: int
    created: int
    present: bool

    @property
    def object(self) -> str:
        """The id of the object this is about."""
        return object_id(self.kind, self.name, self.number, self.generation)


@dataclass(frozen=True, slots=True)
class UserEntry:
    """The public part of a user: passwd(5) without the password (field ``entry``)."""

    name: str
    uid: int
    gid: int
    gecos: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """The public part of a group: group(5) without members (field ``entry``)."""

    name: str
    gid: int


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """A password as shadow(5) holds it (field ``password``).

    Attributes:
        hash: crypt(5) string, without any leading ``!`` (locking is a register of its own).
        changed: day of the last change, in days since 1970-01-01; None if not known.
    """

    hash: str
    changed: int | None = None

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"Password(hash=<hidden>, changed={self.changed})"


@dataclass(frozen=True, slots=True)
class Aging:
    """The ageing fields of shadow(5), in days; None where empty (field ``aging``)."""

    minimum: int | None = None
    maximum: int | None = None
    warning: int | None = None
    inactive: int | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """Whether an administrator locked the account (field ``lock``)."""

    locked: bool


@dataclass(frozen=True, slots=True)
class Member:
    """Whether a user belongs to a group (field ``member:<user id>``)."""

    member: bool


Value = Presence | UserEntry | GroupEntry | Password | Aging | Lock | Member
V = TypeVar("V", Presence, UserEntry, GroupEntry, Password, Aging, Lock, Member)


def encode(value: Value) -> bytes:
    """Return the canonical bytes of a register's value."""
    return json.dumps(asdict(value), sort_keys=True, separators=(",", ":")).encode("ascii")


def decode(kind: type[V], data: bytes) -> V:
    """Read a register's value.

    Fields that a newer version added are ignored; a missing or wrongly typed one is an error.

    Raises:
        MalformedError: the bytes are no such value. The text never holds the value itself.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedError(f"a register's value is not the JSON of a {kind.__name__}") from None
    if not isinstance(raw, Mapping):
        raise MalformedError(f"a register's value is not a {kind.__name__}")
    return _build(kind, raw)


def _build(kind: type[V], raw: Mapping[str, Any]) -> V:
    arguments: dict[str, Any] = {}
    for name, wanted in kind.__annotations__.items():
        optional = kind is Aging or (kind is Password and name == "changed")
        value = raw.get(name)
        if value is None and optional:
            arguments[name] = None
            continue
        if wanted is bool:
            good = isinstance(value, bool)
        elif wanted is str:
            good = isinstance(value, str)
        elif wanted is Kind:
            good = value in {"user", "group"}
        else:
            good = isinstance(value, int) and not isinstance(value, bool)
        if not good:
            raise MalformedError(f"field {name!r} of a {kind.__name__} register is missing or has a wrong type")
        arguments[name] = value
    return kind(**arguments)
