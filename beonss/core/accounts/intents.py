"""From what an administrator or user wants to the changes of registers that say it.

Each function looks at the view as it is and returns the changes for
:meth:`beonss.daemon.accounts.state.Accounts.write`, or raises :class:`~beonss.errors.Refused` and nothing is changed.
A change expects the register to be still as the view shows it, so a decision made on an old value is refused rather
than applied. What is already so is not written again.
"""

from beonss.core.accounts.admission import admission_problems
from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    GONE,
    LOCK,
    PASSWORD,
    PRESENT,
    RENEWAL,
    Aging,
    Gone,
    GroupEntry,
    Kind,
    Lock,
    Member,
    Password,
    Presence,
    Renewal,
    UserEntry,
    Value,
    decode,
    encode,
    member_field,
    object_id,
    password_problems,
)
from beonss.core.accounts.served import NO_AGING
from beonss.core.accounts.view import AccountView, Group, User
from beonss.core.replication.registers import ABSENT, Change, Key
from beonss.errors import Refused


def find_user(view: AccountView, name: str) -> User:
    """Return a served user.

    Raises:
        Refused: ``unknown-user``.
    """
    user = view.user(name)
    if user is None:
        raise _no_user(name)
    return user


def find_user_id(view: AccountView, name: str) -> str:
    """Return the object's id of a served user; the rest of it is not read.

    Raises:
        Refused: ``unknown-user``.
    """
    found = view.user_id(name)
    if found is None:
        raise _no_user(name)
    return found


def _no_user(name: str) -> Refused:
    return Refused("unknown-user", f"there is no user {name!r}")


def find_group(view: AccountView, name: str) -> Group:
    """Return a served group.

    Raises:
        Refused: ``unknown-group``.
    """
    group = view.group(name)
    if group is None:
        raise Refused("unknown-group", f"there is no group {name!r}")
    return group


def creation(view: AccountView, kind: Kind, name: str, number: int, wall: int) -> Presence:
    """Return as what a new object is created: its generation and its creation stamp.

    Args:
        view: what is known here.
        kind: ``user`` or ``group``.
        name: its name.
        number: its uid or gid.
        wall: the clock, in ms. A slow one cannot evict an established account: the stamp is at least one above
            the highest creation stamp known.
    """
    generation = view.next_generation(kind, name)
    return Presence(kind, name, number, generation, max(wall, 1 + view.highest_created), present=True)


def create_user(
    view: AccountView,
    entry: UserEntry,
    wall: int,
    *,
    password: Password | None = None,
    aging: Aging | None = None,
    locked: bool = False,
) -> list[Change]:
    """Make a user. Only what is not the default is written, so it cannot undo a lock that another master knows of.

    Raises:
        Refused: ``exists`` (the name or uid has an owner) or ``bad-entry``.
    """
    _check_entry(entry)
    _check_password(password)
    if (other := view.user(entry.name)) is not None:
        raise Refused("exists", f"user {entry.name} exists (uid {other.entry.uid})")
    if (other := view.user_by_uid(entry.uid)) is not None:
        raise Refused("exists", f"uid {entry.uid} belongs to user {other.entry.name}")
    presence = creation(view, "user", entry.name, entry.uid, wall)
    # The lock comes first and the presence last: a peer that got half of them serves nothing too early.
    changes = [_new(presence.object, LOCK, Lock(locked=True))] if locked else []
    if password is not None:
        changes.append(_new(presence.object, PASSWORD, password))
    if aging is not None and aging != NO_AGING:
        changes.append(_new(presence.object, AGING, aging))
    return [*changes, _new(presence.object, ENTRY, entry), _new(presence.object, PRESENT, presence)]


def modify_user(view: AccountView, name: str, entry: UserEntry) -> list[Change]:
    """Give a user another entry; its name may change, its uid may not: files belong to uids.

    Raises:
        Refused: ``unknown-user``, ``exists``, ``bad-entry`` or ``fixed-number``.
    """
    user = find_user(view, name)
    _check_entry(entry, user.entry)
    if entry.uid != user.entry.uid:
        raise Refused("fixed-number", f"the uid of {name!r} stays {user.entry.uid}; delete and create to change it")
    if entry.name != name and view.user(entry.name) is not None:
        raise Refused("exists", f"user {entry.name!r} exists already")
    return _set(view, Key(user.id, ENTRY), entry)


def set_password(view: AccountView, name: str, password: Password) -> list[Change]:
    """Give a user another password hash.

    Raises:
        Refused: ``unknown-user`` or ``bad-hash``.
    """
    _check_password(password)
    key = Key(find_user_id(view, name), PASSWORD)
    changes = _set(view, key, password)
    if not changes:
        user, old = view.user_by_id(key.object), view.register(key)
        if user is not None and old is not None and user.password != password:
            # It is so in the register, and a renewal is demanded of it: written again it is another, which needs none.
            return [Change(key, old.value, old.stamp)]
    return changes


def demand_renewal(view: AccountView, name: str) -> list[Change]:
    """Have a user change the password at the next login; the password itself is not written (``passwd -e``).

    Raises:
        Refused: ``unknown-user``, or ``no-password`` where there is none to change.
    """
    user = find_user(view, name)
    password = view.register(Key(user.id, PASSWORD))
    if user.password is None or password is None:
        raise Refused("no-password", f"user {name!r} has no password that could be changed at the next login")
    return [] if user.password.changed == 0 else _set(view, Key(user.id, RENEWAL), Renewal(*password.stamp))


def withdraw_renewal(view: AccountView, name: str, day: int) -> list[Change]:
    """Have a user change the password at the next login no longer.

    Args:
        view: what is known here.
        name: of the user.
        day: today. A password that was imported with day 0 has no other day to go back to.

    Raises:
        Refused: ``unknown-user``.
    """
    user = find_user(view, name)
    if user.password is None or user.password.changed != 0:
        return []
    if password_day(view, user) == 0:
        return set_password(view, name, Password(user.password.hash, day))
    return _set(view, Key(user.id, RENEWAL), Renewal(None, "", 0))


def password_day(view: AccountView, user: User) -> int | None:
    """Return the day of the last password change, also where the password is served with day 0 for a renewal."""
    register = view.register(Key(user.id, PASSWORD))
    return None if register is None or user.password is None else decode(Password, register.value).changed


def set_aging(view: AccountView, name: str, aging: Aging) -> list[Change]:
    """Give a user other ageing fields.

    Raises:
        Refused: ``unknown-user``.
    """
    return _set(view, Key(find_user_id(view, name), AGING), aging, default=NO_AGING)


def set_lock(view: AccountView, name: str, *, locked: bool) -> list[Change]:
    """Lock or unlock a user.

    Raises:
        Refused: ``unknown-user``.
    """
    return _set(view, Key(find_user_id(view, name), LOCK), Lock(locked=locked), default=Lock(locked=False))


def delete_user(view: AccountView, name: str) -> list[Change]:
    """Delete a user for good: one made again under that name is another object.

    Raises:
        Refused: ``unknown-user``.
    """
    return delete_object(view, find_user_id(view, name))


def create_group(view: AccountView, entry: GroupEntry, wall: int) -> list[Change]:
    """Make a group without members.

    Raises:
        Refused: ``exists`` (the name or gid has an owner) or ``bad-entry``.
    """
    _check_entry(entry)
    if (other := view.group(entry.name)) is not None:
        raise Refused("exists", f"group {entry.name} exists (gid {other.entry.gid})")
    if (other := view.group_by_gid(entry.gid)) is not None:
        raise Refused("exists", f"gid {entry.gid} belongs to group {other.entry.name}")
    presence = creation(view, "group", entry.name, entry.gid, wall)
    return [_new(presence.object, ENTRY, entry), _new(presence.object, PRESENT, presence)]


def modify_group(view: AccountView, name: str, entry: GroupEntry) -> list[Change]:
    """Give a group another name; its gid stays.

    Raises:
        Refused: ``unknown-group``, ``exists``, ``bad-entry`` or ``fixed-number``.
    """
    group = find_group(view, name)
    _check_entry(entry, group.entry)
    if entry.gid != group.entry.gid:
        raise Refused("fixed-number", f"the gid of {name!r} stays {group.entry.gid}; delete and create to change it")
    if entry.name != name and view.group(entry.name) is not None:
        raise Refused("exists", f"group {entry.name!r} exists already")
    return _set(view, Key(group.id, ENTRY), entry)


def delete_group(view: AccountView, name: str) -> list[Change]:
    """Delete a group for good.

    Raises:
        Refused: ``unknown-group``.
    """
    return delete_object(view, find_group(view, name).id)


def delete_object(view: AccountView, identifier: str) -> list[Change]:
    """Delete a live object by its id, served or not: the way out of a conflict.

    Raises:
        Refused: ``unknown-object``.
    """
    if not view.alive(identifier):
        raise Refused("unknown-object", f"there is no living account or group with the id {identifier!r}")
    return _set(view, Key(identifier, GONE), Gone())


def set_member(view: AccountView, group_id: str, user_id: str, *, member: bool) -> list[Change]:
    """Say whether a user object belongs to a group object, by ids; neither needs to be served yet (for imports)."""
    return _set(view, Key(group_id, member_field(user_id)), Member(member=member), default=Member(member=False))


def add_member(view: AccountView, group: str, user: str) -> list[Change]:
    """Make a user a member of a group.

    Raises:
        Refused: ``unknown-user`` or ``unknown-group``.
    """
    return set_member(view, find_group(view, group).id, find_user_id(view, user), member=True)


def remove_member(view: AccountView, group: str, user: str) -> list[Change]:
    """Take a user out of a group.

    Raises:
        Refused: ``unknown-user`` or ``unknown-group``.
    """
    return set_member(view, find_group(view, group).id, find_user_id(view, user), member=False)


def new_id(view: AccountView, kind: Kind, name: str, number: int) -> str:
    """Return the id that :func:`create_user` or :func:`create_group` would give now."""
    return object_id(kind, name, number, view.next_generation(kind, name))


def _new(identifier: str, field: str, value: Value) -> Change:
    # Fields of an object that was never created here are written over: only its presence must not exist.
    return Change(Key(identifier, field), encode(value), ABSENT if field == PRESENT else None)


def _set(view: AccountView, key: Key, value: Value, default: Value | None = None) -> list[Change]:
    old = view.register(key)
    data = encode(value)
    if (old is None and value == default) or (old is not None and old.value == data):
        return []
    return [Change(key, data, ABSENT if old is None else old.stamp)]


def _check_entry(entry: UserEntry | GroupEntry, old: UserEntry | GroupEntry | None = None) -> None:
    problems = admission_problems(entry, old)
    if problems:
        raise Refused("bad-entry", f"{entry.name!r} cannot be an account of the cluster: {'; '.join(problems)}")


def _check_password(password: Password | None) -> None:
    problems = [] if password is None else password_problems(password)
    if problems:
        raise Refused("bad-hash", f"the password hash cannot be used: {'; '.join(problems)}")
