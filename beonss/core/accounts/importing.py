"""Taking over accounts that exist elsewhere: from records to a plan of what to change, and to the changes.

The second step of an import, done by the daemon that holds the accounts; files become records in
:mod:`beonss.core.accounts.gathering`. An import creates and changes; it never deletes, never gives an account another
number, and does not replace a password by an older one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from beonss.core.accounts import intents
from beonss.core.accounts.admission import admission_problems
from beonss.core.accounts.entries import Aging, GroupEntry, Kind, Password, UserEntry, password_problems
from beonss.core.accounts.records import Batch, GroupRecord, UserRecord
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change

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
        changes += intents.set_member(view, identifier, intents.find_user_id(view, name), member=True)
    return changes
