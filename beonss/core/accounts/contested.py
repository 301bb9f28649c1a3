"""The ways out of a conflict: another name, another number, another owner, or deletion; for objects by their ids.

A conflict is two live objects that claim one name or number; the view serves the one created first. Nothing here is
automatic: which of two accounts was meant, only people know. Each function returns changes, or refuses, as those in
:mod:`beonss.core.accounts.intents` do; objects that are not in conflict are left to those.
"""

from dataclasses import replace

from beonss.core.accounts.admission import admission_problems
from beonss.core.accounts.entries import (
    ENTRY,
    PRESENT,
    GroupEntry,
    Kind,
    UserEntry,
    Value,
    decode,
    encode,
)
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change, Key
from beonss.errors import MalformedError, Refused


def find_contested(view: AccountView, prefix: str) -> str:
    """Return the id, of an object in a conflict, that begins so.

    Raises:
        Refused: ``unknown-conflict``, or ``ambiguous`` when several begin so.
    """
    conflicts = view.conflicts()
    ids = {loser for one in conflicts for loser in one.losers} | {one.owner for one in conflicts if one.owner}
    found = sorted(each for each in ids if each.startswith(prefix.lower())) if prefix else []
    if not found:
        raise Refused("unknown-conflict", f"no account in a conflict has an id that begins with {prefix!r}")
    if len(found) > 1:
        raise Refused("ambiguous", f"several ids begin with {prefix!r}: {', '.join(found)}")
    return found[0]


def entry_of(view: AccountView, identifier: str) -> UserEntry | GroupEntry:
    """Return the entry of an object, served or not.

    Raises:
        Refused: ``unreadable``: it has none that this version can read; deleting it is the only way out.
    """
    register = view.register(Key(identifier, ENTRY))
    presence = view.presence(identifier)
    try:
        if register is not None and presence is not None:
            if presence.kind == "user":
                return decode(UserEntry, register.value)
            return decode(GroupEntry, register.value)
    except MalformedError:
        pass
    raise Refused("unreadable", f"{view.describe(identifier)} has no entry that this version can read; delete it")


def rename_object(view: AccountView, identifier: str, name: str) -> list[Change]:
    """Give an object another name; a name that anybody claims is refused.

    Raises:
        Refused: ``unreadable``, ``exists`` or ``bad-entry``.
    """
    entry = entry_of(view, identifier)
    changed = _checked(replace(entry, name=name), entry)
    kind: Kind = "user" if isinstance(entry, UserEntry) else "group"
    if any(other != identifier for other in view.claimants(kind, "name", name)):
        raise Refused("exists", f"{view.describe(view.claimants(kind, 'name', name)[0])} has that name already")
    return _write(view, identifier, ENTRY, changed)


def renumber_object(view: AccountView, identifier: str, number: int) -> list[Change]:
    """Give an object that is not served another uid or gid; nobody can have files under the old one by its right.

    Raises:
        Refused: ``unreadable``, ``served``, ``exists``, ``used-before`` or ``bad-entry``.
    """
    entry = entry_of(view, identifier)
    if view.user_by_id(identifier) is not None or view.group_by_id(identifier) is not None:
        raise Refused(
            "served",
            f"{view.describe(identifier)} is served under its number, and files belong to it; renumber the other",
        )
    if isinstance(entry, UserEntry):
        kind: Kind = "user"
        own, changed = entry.uid, _checked(replace(entry, uid=number), entry)
    else:
        kind = "group"
        own, changed = entry.gid, _checked(replace(entry, gid=number), entry)
    if number != own and view.was_used(kind, number):
        raise Refused("used-before", f"the number {number} belongs, or belonged, to another {kind}; choose another one")
    return _write(view, identifier, ENTRY, changed)


def prefer_object(view: AccountView, identifier: str) -> list[Change]:
    """Make an object the owner of all it claims; those that own it now are not served until they are settled too.

    It is said by a creation stamp just below theirs, so that all masters come to the same answer by the usual rule.

    Raises:
        Refused: ``served`` (it owns everything it claims), or ``unreadable``.
    """
    presence = view.presence(identifier)
    entry_of(view, identifier)
    rivals = [
        rival
        for conflict in view.conflicts()
        if identifier in conflict.losers and conflict.owner is not None
        for rival in (conflict.owner, *conflict.losers)
        if rival != identifier
    ]
    created = [found.created for found in map(view.presence, rivals) if found is not None]
    if presence is None or not created:
        raise Refused("served", f"{view.describe(identifier)} owns its name and its number already")
    return _write(view, identifier, PRESENT, replace(presence, created=min(created) - 1))


def _checked(entry: UserEntry | GroupEntry, old: UserEntry | GroupEntry) -> UserEntry | GroupEntry:
    problems = admission_problems(entry, old)
    if problems:
        raise Refused("bad-entry", f"{entry.name!r} cannot be an account of the cluster: {'; '.join(problems)}")
    return entry


def _write(view: AccountView, identifier: str, field: str, value: Value) -> list[Change]:
    old = view.register(Key(identifier, field))
    assert old is not None
    data = encode(value)
    return [] if old.value == data else [Change(old.key, data, old.stamp)]
