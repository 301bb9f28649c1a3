"""Users and groups as objects made of registers: identities, values, and their bytes.

An account is an object with an immutable id, a digest of (kind, name, number, generation) where generation
counts the deleted predecessors known. So a user made again after deletion starts with no password and no
memberships, and one file imported on two masters gives the same objects. Values are canonical JSON: an
administrator can read them with ``sqlite3``. Bytes that are not UTF-8 (an old GECOS) survive as
surrogate escapes.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from beonss.errors import MalformedError

Kind = Literal["user", "group"]

ENTRY = "entry"
PASSWORD = "password"  # noqa: S105 - the name of a register
AGING = "aging"
LOCK = "lock"
RENEWAL = "renewal"
PRESENT = "present"
#: A deletion has a register of its own, so that a creation written elsewhere at the same time cannot undo it.
GONE = "gone"
MEMBER_PREFIX = "member:"
#: Replicated documents (the cluster's description) are registers too, of objects that are no accounts.
DOCUMENT_PREFIX = "document:"

#: Fields that only masters hold; nodes and relays never see them.
PRIVATE_FIELDS = frozenset({PASSWORD, AGING, RENEWAL})
#: Fields that may leave the masters. One that this version does not know is not among them.
PUBLIC_FIELDS = frozenset({ENTRY, LOCK, PRESENT, GONE})
PUBLIC_PREFIXES = (MEMBER_PREFIX, DOCUMENT_PREFIX)


def is_public(field: str) -> bool:
    """Say whether a register of this field may leave the masters; an unknown field may not."""
    return field in PUBLIC_FIELDS or field.startswith(PUBLIC_PREFIXES)


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
    text = _CANONICAL.encode([kind, name, number, generation])
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


#: No number in a value is larger: Python refuses to print the largest that JSON can bring.
MAX_NUMBER = 1 << 63


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
class Renewal:
    """Which password must be changed at the next login (field ``renewal``; decision 0026).

    It names one value of the register ``password`` by its stamp, so that any other password, wherever and however it
    was set, needs no renewal, and a demand never brings an older password back.

    Attributes:
        time: ms, as in the stamp; None: of none, the demand was withdrawn.
        origin: incarnation, as in the stamp.
        sequence: as in the stamp.
    """

    time: int | None
    origin: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Member:
    """Whether a user belongs to a group (field ``member:<user id>``)."""

    member: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """That an object was deleted (field ``gone``); it is never written otherwise, and its existence decides."""

    gone: bool = True


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

Value = Presence | UserEntry | GroupEntry | Password | Aging | Lock | Renewal | Member | Gone
V = TypeVar("V", Presence, UserEntry, GroupEntry, Password, Aging, Lock, Renewal, Member, Gone)


def encode(value: Value) -> bytes:
    """Return the canonical bytes of a register's value."""
    # Not dataclasses.asdict, which copies deeply: an import would spend a quarter of its time there.
    return _CANONICAL.encode({name: getattr(value, name) for name, _, _ in _SHAPES[type(value)]}).encode("ascii")


def decode(kind: type[V], data: bytes) -> V:
    """Read a register's value.

    Fields that a newer version added are ignored; a missing or wrongly typed one is an error.

    Raises:
        MalformedError: the bytes are no such value. The text never holds the value itself.
    """
    try:
        raw = _loaded(str(data, "utf-8"))
    except (ValueError, RecursionError):
        raise MalformedError(f"a register's value is not the JSON of a {kind.__name__}") from None
    if not isinstance(raw, dict):
        raise MalformedError(f"a register's value is not a {kind.__name__}")
    return _build(kind, raw)


def _loaded(text: str) -> Any:
    # What json.loads does without looking for white space, which canonical JSON has none of: a start reads 400,000.
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else json.loads(text)


def _build(kind: type[V], raw: Mapping[str, Any]) -> V:
    arguments: list[Any] = []
    for name, wanted, optional in _SHAPES[kind]:
        value: Any = raw.get(name)
        if value is None and optional:
            arguments.append(None)
            continue
        # The exact type: JSON brings no subclass, and bool would pass for int.
        good = type(value) is wanted
        if wanted is int:
            good = good and -MAX_NUMBER < value < MAX_NUMBER
        elif name == "kind":
            good = good and value in _KINDS
            value = _KINDS.get(value) if good else None
        if not good:
            raise MalformedError(f"field {name!r} of a {kind.__name__} register is missing or has a wrong type")
        arguments.append(value)
    return kind(*arguments)


def _shape(kind: type[Value]) -> tuple[tuple[str, type, bool], ...]:
    """Return (name, type, whether null is allowed) for each field of a value."""
    plain = {bool: bool, str: str, Kind: str, int: int, int | None: int}
    return tuple((name, plain[hint], hint == int | None) for name, hint in kind.__annotations__.items())


#: So that a hundred thousand values share two strings.
_KINDS: dict[object, str] = {"user": "user", "group": "group"}

_SHAPES: dict[type[Value], tuple[tuple[str, type, bool], ...]] = {
    kind: _shape(kind) for kind in (Presence, UserEntry, GroupEntry, Password, Aging, Lock, Renewal, Member, Gone)
}


#: Ids that no account has: root's, which belongs to each machine, and the two that mean "none".
FORBIDDEN_IDS = frozenset({0, 0xFFFF, 0xFFFFFFFF})
MAX_ID = 0xFFFFFFFF
MAX_NAME = 255

_BREAKS_NAME = re.compile(r'[:/,"\\\s]')
_BREAKS_FIELD = re.compile(r"[:\n\r\0]")
_BREAKS_HASH = re.compile(r"[^!-9;-~]")


def name_problems(name: str) -> list[str]:
    """Say why ``name`` cannot stand in passwd(5) or group(5); an empty list if it can.

    Wider than useradd(8): clusters carry old names. What is refused would break the files, NIS (``+``, ``-``) or paths.
    """
    problems = []
    if not name or len(name) > MAX_NAME:
        problems.append(f"a name has 1 to {MAX_NAME} characters")
    if _BREAKS_NAME.search(name) or not name.isprintable():
        problems.append("a name holds a character that would break passwd(5)")
    if name[:1] in {"-", "+"} or name in {".", ".."}:
        problems.append("a name does not begin with '-' or '+' and is not '.' or '..'")
    if name.isdigit():
        problems.append("a name of digits alone would be taken for a number")
    return problems


def id_problems(number: int) -> list[str]:
    """Say why ``number`` cannot be a uid or gid of the cluster; an empty list if it can."""
    if number in FORBIDDEN_IDS or not 0 < number < MAX_ID:
        return [f"{number} is not a uid or gid that a cluster may have"]
    return []


def entry_problems(entry: UserEntry | GroupEntry) -> list[str]:
    """Say why an entry must not be served or written to passwd(5) or group(5); an empty list if it may."""
    problems = name_problems(entry.name)
    if isinstance(entry, GroupEntry):
        return problems + id_problems(entry.gid)
    problems += id_problems(entry.uid)
    if not 0 <= entry.gid < MAX_ID:
        problems.append(f"{entry.gid} is no group id")
    for title, text in (("gecos", entry.gecos), ("home", entry.home), ("shell", entry.shell)):
        if _BREAKS_FIELD.search(text):
            problems.append(f"the {title} holds a character that would break passwd(5)")
    return problems


def password_problems(password: Password) -> list[str]:
    """Say why a password's hash must not be served or written to shadow(5); an empty list if it may."""
    if _BREAKS_HASH.search(password.hash):
        return ["the hash holds a character that would break shadow(5)"]
    return []
