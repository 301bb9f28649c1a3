"""Taking over accounts that exist elsewhere: passwd, group and shadow files to a plan of what to change.

Two steps, because the files are read by an administrator's command and the accounts are held by the daemon:
:func:`gather` turns documents into records (and says what it left out and why), :func:`plan` compares
records with the accounts held here. An import creates and changes; it never deletes, never gives an
account another number, and does not replace a password by an older one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Literal

from beonss.core.accounts import intents
from beonss.core.accounts.admission import NOBODY, admission_problems
from beonss.core.accounts.entries import Aging, GroupEntry, Kind, Password, UserEntry, password_problems
from beonss.core.accounts.passwdfile import Document, GroupLine, PasswdLine, ShadowLine
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.hashes import scheme_of
from beonss.core.replication.registers import Change
from beonss.errors import ConfigurationError, MalformedError

#: The lowest uid and gid taken by default; below are the accounts of the system itself.
DEFAULT_FLOOR = 1000
#: Lines told, of those that were left out, where there are no others.
_TOLD = 10
#: Password fields that say "no password can match" (shadow(5), Solaris and FreeBSD words included).
NO_PASSWORD = frozenset({"", "*", "!", "!!", "x", "*LK*", "*NP*", "!*", "**", "*LOCKED*"})


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


def split_hash(text: str) -> tuple[str | None, bool]:
    """Tell the password field of shadow(5) into (crypt(5) string or None, locked).

    ``!hash`` is a locked account that keeps its password. ``*`` and ``!`` alone are accounts that never had
    one: they are not locked, so that a password set later works. ``!*`` is a locked one without any.
    """
    if text == "!*":
        return None, True
    if text in NO_PASSWORD:
        return None, False
    bare = text.lstrip("!").removeprefix("*LK*")
    locked = bare != text
    return (None if bare in NO_PASSWORD else bare), locked


def gather(
    passwd: Document[PasswdLine] | None,
    shadow: Document[ShadowLine] | None,
    group: Document[GroupLine] | None,
    *,
    uid_floor: int = DEFAULT_FLOOR,
    gid_floor: int = DEFAULT_FLOOR,
    sources: Mapping[str, str] | None = None,
) -> Batch:
    """Collect users and groups from documents.

    Args:
        passwd: users; None imports groups alone.
        shadow: their passwords; without it, hashes in ``passwd`` are taken.
        group: groups.
        uid_floor: users with a lower uid are left out.
        gid_floor: groups with a lower gid are left out.
        sources: format name (``passwd``) to the name a person knows the file by.

    Raises:
        ConfigurationError: nothing was found to import: an empty or wrong file, most likely.
    """
    named = dict(sources or {})
    skipped: list[Skipped] = []
    users: list[UserRecord] = []
    groups: list[GroupRecord] = []
    below = 0
    for document in (passwd, shadow, group):
        if document is not None:
            source = named.get(document.format.name, document.format.name)
            skipped += [Skipped(source, problem.line, "", problem.text) for problem in document.problems()]
    if passwd is not None:
        users, low, left = _gather_users(passwd, shadow, uid_floor, named.get("passwd", "passwd"))
        below += low
        skipped += left
    if group is not None:
        groups, low, left = _gather_groups(group, gid_floor, named.get("group", "group"))
        below += low
        skipped += left
    if not users and not groups:
        told = [
            f"\n  {one.source}:{one.line}: {repr(one.name) + ' ' if one.name else ''}{one.reason}" for one in skipped
        ]
        more = f"\n  and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        raise ConfigurationError(
            f"nothing to import: no user with a uid of {uid_floor} or more and no group with a gid of {gid_floor} "
            f"or more in what was given ({below} below, {len(skipped)} skipped); check the files and the floor"
            f"{''.join(told[:_TOLD])}{more}"
        )
    return Batch(tuple(users), tuple(groups), tuple(skipped), below)


def _gather_users(
    passwd: Document[PasswdLine], shadow: Document[ShadowLine] | None, floor: int, source: str
) -> tuple[list[UserRecord], int, list[Skipped]]:
    users: list[UserRecord] = []
    skipped: list[Skipped] = []
    below = 0
    names: dict[str, int] = {}
    numbers: dict[int, int] = {}
    for line, entry in passwd.entries():
        if entry.uid < floor or entry.uid in NOBODY:
            below += 1
            continue
        reason = _twice(names.get(entry.name), numbers.get(entry.uid), "uid", entry.uid)
        if entry.gid == 0:
            reason = "its primary group is 0, the group of root"
        user = _user(entry, shadow.find(entry.name) if shadow is not None else None)
        reason = reason or _unusable(user)
        if reason is not None:
            skipped.append(Skipped(source, line, entry.name, reason))
            continue
        names[entry.name] = numbers[entry.uid] = line
        users.append(user)
    return users, below, skipped


def _gather_groups(group: Document[GroupLine], floor: int, source: str) -> tuple[list[GroupRecord], int, list[Skipped]]:
    groups: list[GroupRecord] = []
    skipped: list[Skipped] = []
    below = 0
    names: dict[str, int] = {}
    numbers: dict[int, int] = {}
    for line, entry in group.entries():
        if entry.gid < floor or entry.gid in NOBODY:
            below += 1
            continue
        reason = _twice(names.get(entry.name), numbers.get(entry.gid), "gid", entry.gid)
        if reason is not None:
            skipped.append(Skipped(source, line, entry.name, reason))
            continue
        names[entry.name] = numbers[entry.gid] = line
        groups.append(GroupRecord(GroupEntry(entry.name, entry.gid), tuple(dict.fromkeys(entry.members))))
    return groups, below, skipped


def _twice(name_line: int | None, number_line: int | None, word: str, number: int) -> str | None:
    if name_line is not None:
        return f"its name was used in line {name_line} already"
    if number_line is not None:
        return f"its {word} {number} was used in line {number_line} already"
    return None


def _user(line: PasswdLine, shadow: ShadowLine | None) -> UserRecord:
    entry = UserEntry(line.name, line.uid, line.gid, line.gecos, line.home, line.shell)
    text = line.password if shadow is None else shadow.hash
    bare, locked = split_hash(text)
    known = shadow is not None or text not in {"x", ""}
    return UserRecord(
        entry,
        password=None if bare is None else Password(bare, shadow.changed if shadow is not None else None),
        locked=locked if known else None,
        aging=None
        if shadow is None
        else Aging(shadow.minimum, shadow.maximum, shadow.warning, shadow.inactive, shadow.expires),
    )


def _unusable(user: UserRecord) -> str | None:
    """Return why a user's password or its ageing cannot be taken; the text never holds a part of it."""
    # "$id$..." may be a scheme that this machine does not know; a plain word is no hash at all.
    if user.password is not None and not user.password.hash.startswith("$") and scheme_of(user.password.hash) is None:
        return "its password field is no hash of crypt(5): set a password there, or put * into it"
    days = [] if user.aging is None else list(astuple(user.aging))
    days += [] if user.password is None else [user.password.changed]
    if any(day is not None and not 0 <= day < 2**32 for day in days):
        return "a number of days in its shadow line is out of bounds"
    return None


Action = Literal["create", "change", "unchanged", "skip"]


@dataclass(frozen=True, slots=True)
class Item:
    """What an import does to one account, and which of its parts that touches or why it is skipped."""

    kind: Kind
    name: str
    action: Action
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class UserStep:
    """One user to create (``id`` is None) or change; what is None stays as it is."""

    id: str | None
    name: str
    uid: int
    entry: UserEntry | None
    password: Password | None
    locked: bool | None
    aging: Aging | None

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"UserStep(name={self.name!r}, id={self.id})"


@dataclass(frozen=True, slots=True)
class GroupStep:
    """One group to create (``id`` is None) or to give members to."""

    id: str | None
    entry: GroupEntry
    add: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an import would do.

    Attributes:
        items: one per record, for people.
        users: users to create or change.
        groups: groups to create or change; their members may be users of this plan.
        unknown_members: (group, user name) of members that are no users held here or in this plan.
    """

    items: tuple[Item, ...]
    users: tuple[UserStep, ...]
    groups: tuple[GroupStep, ...]
    unknown_members: tuple[tuple[str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def plan(
    view: AccountView,
    batch: Batch,
    *,
    overwrite: bool = False,
    revive: bool = False,
    coming: Iterable[str] = (),
    uid_floor: int = 0,
    gid_floor: int = 0,
) -> Plan:
    """Compare records with the accounts held here.

    Args:
        view: the accounts held here.
        batch: what to import.
        overwrite: take the files' passwords and locks even where those held here are newer.
        revive: create accounts again that were deleted here.
        coming: names of users that another part of the same import would create (a plan that is only shown).
        uid_floor: of the cluster; users below are skipped.
        gid_floor: of the cluster; groups below are skipped.
    """
    items: list[Item] = []
    users: list[UserStep] = []
    groups: list[GroupStep] = []
    unknown: list[tuple[str, str]] = []
    names = set(coming)
    for record in batch.users:
        if record.entry.uid < uid_floor:
            text = f"uid {record.entry.uid} is below the cluster's floor {uid_floor}"
            items.append(Item("user", record.entry.name, "skip", (text,)))
            continue
        item, step = _plan_user(view, record, overwrite, revive)
        items.append(item)
        if step is not None:
            users.append(step)
        if item.action == "create":
            names.add(record.entry.name)
    for grouped in batch.groups:
        if grouped.entry.gid < gid_floor:
            text = f"gid {grouped.entry.gid} is below the cluster's floor {gid_floor}"
            items.append(Item("group", grouped.entry.name, "skip", (text,)))
            continue
        item, group_step, missing = _plan_group(view, grouped, names, revive)
        items.append(item)
        if group_step is not None:
            groups.append(group_step)
        unknown += [(grouped.entry.name, name) for name in missing]
    counts = Counter(f"{item.kind}:{item.action}" for item in items)
    return Plan(tuple(items), tuple(users), tuple(groups), tuple(unknown), dict(counts))


def _plan_user(view: AccountView, record: UserRecord, overwrite: bool, revive: bool) -> tuple[Item, UserStep | None]:
    entry = record.entry
    known = view.user(entry.name)
    wrong = unwritable(record, None if known is None else known.entry)
    if wrong is not None:
        return Item("user", entry.name, "skip", (wrong,)), None
    if known is None:
        owner = view.user_by_uid(entry.uid)
        if owner is not None:
            return Item("user", entry.name, "skip", (f"uid {entry.uid} belongs to {owner.entry.name} here",)), None
        past = was_deleted(view, "user", entry.name, entry.uid)
        if past is not None and not revive:
            return Item("user", entry.name, "skip", (past,)), None
        step = UserStep(None, entry.name, entry.uid, entry, record.password, record.locked or None, record.aging)
        notes = () if record.password is not None else ("no password",)
        return Item("user", entry.name, "create", notes), step
    if known.entry.uid != entry.uid:
        text = f"has uid {known.entry.uid} here and {entry.uid} in the file; numbers are never changed"
        return Item("user", entry.name, "skip", (text,)), None
    details = [word for word in ("gid", "gecos", "home", "shell") if getattr(known.entry, word) != getattr(entry, word)]
    changes_entry = bool(details)
    password = record.password
    if password is not None and known.password is not None:
        if password.hash == known.password.hash:
            password = None
        elif not overwrite and (password.changed or 0) <= (intents.password_day(view, known) or 0):
            details.append("password kept: the one held here is not older")
            password = None
    if password is not None:
        details.append("password")
    locked = record.locked if record.locked is not None and record.locked != known.locked else None
    if locked is False and not overwrite:
        details.append("stays locked: --overwrite unlocks it")
        locked = None
    elif locked is not None:
        details.append("locked" if locked else "unlocked")
    aging = record.aging if record.aging not in {None, known.aging} else None
    if aging is not None:
        details.append("aging")
    if not changes_entry and password is None and locked is None and aging is None:
        return Item("user", entry.name, "unchanged", tuple(details)), None
    step = UserStep(known.id, entry.name, entry.uid, entry if changes_entry else None, password, locked, aging)
    return Item("user", entry.name, "change", tuple(details)), step


def _plan_group(
    view: AccountView, record: GroupRecord, coming: set[str], revive: bool
) -> tuple[Item, GroupStep | None, list[str]]:
    entry = record.entry
    known = view.group(entry.name)
    wrong = unwritable(record, None if known is None else known.entry)
    if wrong is not None:
        return Item("group", entry.name, "skip", (wrong,)), None, []
    present = [name for name in record.members if name in coming or view.user(name) is not None]
    missing = [name for name in record.members if name not in present]
    if known is None:
        owner = view.group_by_gid(entry.gid)
        if owner is not None:
            return Item("group", entry.name, "skip", (f"gid {entry.gid} belongs to {owner.entry.name} here",)), None, []
        past = was_deleted(view, "group", entry.name, entry.gid)
        if past is not None and not revive:
            return Item("group", entry.name, "skip", (past,)), None, []
        return Item("group", entry.name, "create"), GroupStep(None, entry, tuple(present)), missing
    if known.entry.gid != entry.gid:
        text = f"has gid {known.entry.gid} here and {entry.gid} in the file; numbers are never changed"
        return Item("group", entry.name, "skip", (text,)), None, []
    here = set(known.members)
    add = tuple(name for name in present if name not in here)
    if not add:
        return Item("group", entry.name, "unchanged"), None, missing
    details = tuple(f"+{name}" for name in add)
    return Item("group", entry.name, "change", details), GroupStep(known.id, entry, add), missing


def unwritable(record: UserRecord | GroupRecord, known: UserEntry | GroupEntry | None = None) -> str | None:
    """Say why a record can be no account of the cluster, or None; of a ``known`` one, only what changes counts."""
    problems = admission_problems(record.entry, known)
    if isinstance(record, UserRecord) and record.password is not None:
        problems += password_problems(record.password)
    return "; ".join(problems) or None


def was_deleted(view: AccountView, kind: Kind, name: str, number: int) -> str | None:
    """Say what a new account would bring back, or None: a deleted one of its name, or a number once used."""
    if view.next_generation(kind, name) > 0:
        return f"a {kind} of this name was deleted here; --revive makes a new one"
    unused = view.next_uid(number) if kind == "user" else view.next_gid(number)
    if unused != number:
        return f"{'uid' if kind == 'user' else 'gid'} {number} was used before here; --revive uses it again"
    return None


def user_changes(view: AccountView, step: UserStep, wall: int) -> list[Change]:
    """Return the changes that carry out a step; ``wall`` is the clock in ms.

    Raises:
        Refused: it no longer fits what is held here.
    """
    if step.entry is not None and step.id is None:
        return intents.create_user(
            view, step.entry, wall, password=step.password, aging=step.aging, locked=bool(step.locked)
        )
    changes: list[Change] = []
    if step.entry is not None:
        changes += intents.modify_user(view, step.name, step.entry)
    if step.password is not None:
        changes += intents.set_password(view, step.name, step.password)
    if step.aging is not None:
        changes += intents.set_aging(view, step.name, step.aging)
    if step.locked is not None:
        changes += intents.set_lock(view, step.name, locked=step.locked)
    return changes


def group_changes(view: AccountView, step: GroupStep, wall: int) -> list[Change]:
    """Return the changes that carry out a step, once its members are held here; ``wall`` is the clock in ms.

    Raises:
        Refused: it no longer fits what is held here.
    """
    changes: list[Change] = []
    identifier = step.id
    if identifier is None:
        changes += intents.create_group(view, step.entry, wall)
        identifier = intents.new_id(view, "group", step.entry.name, step.entry.gid)
    for name in step.add:
        changes += intents.set_member(view, identifier, intents.find_user(view, name).id, member=True)
    return changes


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
