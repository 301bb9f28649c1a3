"""What is delivered to a target, what can come of it, and when a failed delivery is tried again.

Delivery is in state form: a target is told what an account *is* now, never what changed, so a delivery may
be repeated, and a target that was away for a year needs one delivery per account.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from typing import Literal

from beonss.core.accounts.entries import ENTRY, Aging, GroupEntry, Password, Presence, UserEntry, decode
from beonss.core.accounts.view import AccountView, Group, User
from beonss.core.replication.registers import Key
from beonss.errors import MalformedError, TargetError


class TemporaryTargetError(TargetError):
    """The target cannot take anything now (away, busy, disk full); trying again later may help."""


class PermanentTargetError(TargetError):
    """The target will not take it until somebody changes something."""


NO_AGING = Aging()


@dataclass(frozen=True, slots=True, repr=False)
class UserState:
    """What a user is now.

    Attributes:
        object: id of the account this is about.
        name: its login name.
        entry: None if there is no such user (deleted, or its name belongs to another).
        password: None if the user never had one.
        author: who made the latest change, for people.
    """

    object: str
    name: str
    entry: UserEntry | None
    password: Password | None = None
    locked: bool = False
    aging: Aging = NO_AGING
    author: str = ""

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"UserState(name={self.name!r}, present={self.entry is not None})"


@dataclass(frozen=True, slots=True)
class GroupState:
    """What a group is now; ``entry`` is None if there is no such group."""

    object: str
    name: str
    entry: GroupEntry | None
    members: tuple[str, ...] = ()
    author: str = ""


State = UserState | GroupState

#: ``delivered``: the target holds this state. ``conflict``: it holds a value that is not ours, which was left
#: alone. ``refused``: it will not take this one until somebody acts. ``failed``: not now; tried again.
Verdict = Literal["delivered", "conflict", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one state's delivery.

    Attributes:
        verdict: see :data:`Verdict`.
        text: for an operator; holds no hash.
        joint: another account of ours is in the way, so it is tried again together with whatever is tried next.
    """

    verdict: Verdict
    text: str = ""
    joint: bool = False


DELIVERED = Outcome("delivered")

#: The mark of an entry that is not there.
ABSENT = "-"


def mark(*fields: object) -> str:
    """Return a digest, 32 hex digits, of the fields of an entry that we are responsible for."""
    text = "\0".join("" if field is None else str(field) for field in fields)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def judge(base: str | None, intent: str | None, found: str, want: str) -> Literal["same", "write", "conflict"]:
    """Tell our own work from a human's edit, by marks of one entry.

    Args:
        base: what we last delivered; None if we never did.
        intent: what we were about to write when we last tried; it counts as ours, because a crash may have
            come after the rename and before the success was noted.
        found: what is there.
        want: what is to be there.
    """
    if found == want:
        return "same"
    if found in {base, intent}:
        return "write"
    if base is None and found == ABSENT:
        return "write"
    return "conflict"


def is_many(count: int, total: int) -> bool:
    """Say whether so many unasked-for differences among ``total`` entries mean an accident, not an edit."""
    return count > max(5, total // 50)


def backoff(attempts: int, chance: float, *, first: float = 1.0, longest: float = 300.0) -> float:
    """Return the seconds to wait after a number of failed attempts in a row, from 1.

    Args:
        attempts: failures so far.
        chance: random, 0 <= chance < 1; it spreads the retries of many machines over half the delay.
        first: seconds before the first retry, at most.
        longest: seconds before any retry, at most.
    """
    delay = min(longest, first * 2.0 ** min(attempts - 1, 30))
    return delay * (0.5 + chance / 2)


def shadow_hash(password: Password | None, locked: bool) -> str:
    """Return the password field of shadow(5); never empty, which would let anybody in."""
    bare = password.hash if password is not None else "*"
    return ("!" + bare) if locked else (bare or "*")


def states_of(view: AccountView, object_id: str) -> list[State]:
    """Return what a target has to be told about an account: itself, or who has its name now.

    The list is empty for an object of which nothing is known.
    """
    user = view.user_by_id(object_id)
    if user is not None:
        return [_user_state(view, user)]
    group = view.group_by_id(object_id)
    if group is not None:
        return [_group_state(view, group)]
    presence = view.presence(object_id)
    if presence is None:
        return []
    author = _author(view, object_id)
    names = _names(view, presence)
    if presence.kind == "user":
        others = {user.id: user for name in names if (user := view.user(name)) is not None}
        return [
            UserState(object_id, names[0], None, author=author),
            *(_user_state(view, other) for other in others.values()),
        ]
    owners = {group.id: group for name in names if (group := view.group(name)) is not None}
    return [
        GroupState(object_id, names[0], None, author=author),
        *(_group_state(view, other) for other in owners.values()),
    ]


def _names(view: AccountView, presence: Presence) -> list[str]:
    """Return the names that an account had, as far as its registers tell, the latest first."""
    names = [presence.name]
    register = view.register(Key(presence.object, ENTRY))
    if register is not None:
        with contextlib.suppress(MalformedError):
            if presence.kind == "user":
                names.insert(0, decode(UserEntry, register.value).name)
            else:
                names.insert(0, decode(GroupEntry, register.value).name)
    return names


def _user_state(view: AccountView, user: User) -> UserState:
    author = _author(view, user.id)
    return UserState(user.id, user.entry.name, user.entry, user.password, user.locked, user.aging, author)


def _group_state(view: AccountView, group: Group) -> GroupState:
    return GroupState(group.id, group.entry.name, group.entry, group.members, _author(view, group.id))


def _author(view: AccountView, object_id: str) -> str:
    latest = max(view.registers(object_id), key=lambda register: register.stamp, default=None)
    return "" if latest is None else latest.author
