"""Changes that somebody made at a target by hand, and the changes of registers that take them over.

A target finds them (:mod:`beonss.targets.handedits`); here they are only values. An edit is taken over field by field:
what nobody touched is not written again, so it cannot undo what another master changed in that moment.
"""

from dataclasses import dataclass, replace

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, GroupEntry, Kind, Password, UserEntry
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.accounts.view import AccountView, User
from beonss.core.replication.registers import Change

#: Returns to a value held before that one entry may make in :data:`FLIP_SPAN` seconds before it counts as a
#: program that puts old files back.
FLIPS = 1
FLIP_SPAN = 86400


@dataclass(frozen=True, slots=True, repr=False)
class AccountEdit:
    """What somebody made of one account at a target; None and empty mean "as it is".

    Attributes:
        object: its id.
        name: its name until now.
        entry: its new entry; its name may be another, its number not.
        add: names of users that were put into a group.
        remove: names of users that were taken out of it.
        deleted: it was taken out; only ever so when an administrator asked for that.
    """

    kind: Kind
    object: str
    name: str
    entry: UserEntry | GroupEntry | None = None
    password: Password | None = None
    aging: Aging | None = None
    locked: bool | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    deleted: bool = False

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"AccountEdit({self.kind} {self.name!r}: {', '.join(self.parts)})"

    @property
    def parts(self) -> tuple[str, ...]:
        """What was changed, for people."""
        parts = []
        if self.deleted:
            parts.append("deleted")
        if self.entry is not None:
            parts.append("entry" if self.entry.name == self.name else f"renamed to {self.entry.name}")
        if self.password is not None:
            parts.append("password")
        if self.aging is not None:
            parts.append("aging")
        if self.locked is not None:
            parts.append("locked" if self.locked else "unlocked")
        return (*parts, *(f"+{name}" for name in self.add), *(f"-{name}" for name in self.remove))


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a target found.

    Attributes:
        edits: to be taken over.
        users: accounts that are new there.
        groups: groups that are new there.
        problems: (kind, name, why) of what cannot be taken over.
    """

    edits: tuple[AccountEdit, ...] = ()
    users: tuple[UserRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    problems: tuple[tuple[str, str, str], ...] = ()


def edit_changes(view: AccountView, edit: AccountEdit) -> list[Change]:
    """Return the changes that take an edit over.

    Raises:
        Refused: it cannot be one of the cluster's (the text says why), or the account is gone.
    """
    if edit.deleted:
        return intents.delete_object(view, edit.object)
    changes: list[Change] = []
    if isinstance(edit.entry, UserEntry):
        changes += intents.modify_user(view, edit.name, edit.entry)
    elif edit.entry is not None:
        changes += intents.modify_group(view, edit.name, edit.entry)
    held = view.user(edit.name)
    if edit.password is not None and held is not None and edit.password == _to_be_renewed(held):
        # "chage -d 0" means the password that stands there, not one that is set meanwhile on another master.
        changes += intents.demand_renewal(view, edit.name)
    elif edit.password is not None:
        changes += intents.set_password(view, edit.name, edit.password)
    if edit.aging is not None:
        changes += intents.set_aging(view, edit.name, edit.aging)
    if edit.locked is not None:
        changes += intents.set_lock(view, edit.name, locked=edit.locked)
    for name in edit.add:
        changes += intents.add_member(view, edit.name, name)
    for name in edit.remove:
        changes += intents.remove_member(view, edit.name, name)
    return changes


def _to_be_renewed(user: User) -> Password | None:
    return None if user.password is None else replace(user.password, changed=0)
