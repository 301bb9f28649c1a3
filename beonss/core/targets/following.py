"""Following a source of accounts: what changed there since it was last taken over, part by part.

*Base* is what was taken over last, *now* what the source says, and the cluster may hold something else meanwhile. Only
what differs between base and now is a change of the source's; the rest stays as the cluster has it. Pure.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Password
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.accounts.view import AccountView, Group, User
from beonss.core.replication.registers import Change
from beonss.core.targets.delivery import is_many
from beonss.errors import Refused

#: Parts of an entry that a source may change; numbers are never changed.
_WORDS = ("gid", "gecos", "home", "shell")


def user_base(record: UserRecord) -> str:
    """Return what is remembered of a user that was taken over; no hash, only its digest."""
    data: dict[str, Any] = asdict(record.entry)
    data["password"] = None if record.password is None else _digest(record.password)
    data["locked"] = record.locked
    data["aging"] = None if record.aging is None else asdict(record.aging)
    return json.dumps(data, sort_keys=True)


def group_base(record: GroupRecord) -> str:
    """Return what is remembered of a group that was taken over."""
    return json.dumps({**asdict(record.entry), "members": sorted(record.members)}, sort_keys=True)


def _digest(password: Password) -> str:
    return hashlib.sha256(f"{password.hash}\0{password.changed}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(base: str | None) -> Mapping[str, Any]:
    try:
        data = json.loads(base or "{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def narrowed(record: UserRecord, base: str | None, held: User | None) -> UserRecord:
    """Return a record of which only what the source changed differs from what the cluster holds."""
    if held is None or base is None:
        return record
    old, now = _read(base), _read(user_base(record))
    words = {word: getattr(held.entry, word) for word in _WORDS if old.get(word) == now[word]}
    # The name is how it was found; another one is another account.
    return replace(
        record,
        entry=replace(record.entry, **words),
        password=None if old.get("password") == now["password"] else record.password,
        locked=None if old.get("locked") == now["locked"] else record.locked,
        aging=None if old.get("aging") == now["aging"] else record.aging,
    )


def member_changes(view: AccountView, record: GroupRecord, base: str | None, held: Group) -> list[Change]:
    """Return the changes that bring a group's members where the source put them in or took them out.

    Members that are no users here are passed over.
    """
    before = set(_read(base).get("members", ())) if base is not None else set()
    now, here = set(record.members), set(held.members)
    changes: list[Change] = []
    for name in sorted(now - before - here):
        if view.user(name) is not None:
            changes += intents.add_member(view, held.entry.name, name)
    for name in sorted((before - now) & here):
        changes += intents.remove_member(view, held.entry.name, name)
    return changes


@dataclass(frozen=True, slots=True)
class Missing:
    """Accounts that came from a source and are not there any more.

    Attributes:
        alarm: why that is no removal but an accident: nothing is to be taken over then; empty if it is not.
    """

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    alarm: str = ""


def missing(
    known_users: Iterable[str], known_groups: Iterable[str], users: Collection[str], groups: Collection[str]
) -> Missing:
    """Compare who came from a source with who is there now; each of all that was read, whether taken over or not."""
    before_users, before_groups = set(known_users), set(known_groups)
    gone_users, gone_groups = sorted(before_users - set(users)), sorted(before_groups - set(groups))
    alarm = ""
    for gone, before, now, word in (
        (gone_users, before_users, users, "users"),
        (gone_groups, before_groups, groups, "groups"),
    ):
        if before and not now:
            alarm = f"it shows no {word} at all, and had {len(before)}"
        elif is_many(len(gone), len(before)):
            alarm = alarm or f"{len(gone)} of {len(before)} {word} are not there any more"
    return Missing(tuple(gone_users), tuple(gone_groups), alarm)


def removal(view: AccountView, kind: str, name: str, way: str) -> list[Change]:
    """Return the changes for an account that its source has no more; ``way`` is ``lock`` or ``delete``."""
    try:
        if kind == "user":
            return intents.set_lock(view, name, locked=True) if way == "lock" else intents.delete_user(view, name)
        return [] if way == "lock" else intents.delete_group(view, name)
    except Refused:
        return []
