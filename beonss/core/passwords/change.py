"""A password change: who may make it, what each place says about it, and how it went as a whole.

Pure rules. The change itself is made by :mod:`beonss.daemon.passwords.authority`; what its owner sees are
:class:`Line` values, one for each master and each delivery target, as each becomes known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

from beonss.core.accounts.aging import account_state, days_until_change_allowed
from beonss.core.accounts.entries import Aging, Password, UserEntry
from beonss.errors import MalformedError, Refused

PlaceKind = Literal["master", "target"]
#: changed: holds it durably. buffered: away; it gets it when it comes back. pending: not yet, and is tried again.
#: refused: it will not take it unless somebody does something.
State = Literal["changed", "buffered", "pending", "refused"]

#: Codes of a change that was made.
EVERYWHERE = "ok"
HELD_HERE_ONLY = "held-here-only"
TARGET_REFUSED = "target-refused"

#: Exit codes of cpasswd(1), by the code of the end. Any other code is a refusal: nothing was changed.
EXIT_CODES: Mapping[str, int] = {
    EVERYWHERE: 0,
    HELD_HERE_ONLY: 3,
    "unavailable": 4,
    TARGET_REFUSED: 5,
    "unknown-outcome": 6,
    "internal": 6,
}
EXIT_REFUSED = 1


def exit_code(code: str) -> int:
    """Return what cpasswd(1) exits with when a request ended with ``code``."""
    return EXIT_CODES.get(code, EXIT_REFUSED)


class Account(Protocol):
    """What the rules look at of a user; :class:`beonss.core.accounts.view.User` is one."""

    @property
    def entry(self) -> UserEntry:
        """Its passwd(5) entry."""

    @property
    def password(self) -> Password | None:
        """Its password, None for none."""

    @property
    def aging(self) -> Aging:
        """Its ageing limits."""

    @property
    def locked(self) -> bool:
        """Whether an administrator locked it."""


def checked_account(account: Account | None, name: str, uid_floor: int) -> Account:
    """Return an account whose password is ours to change.

    Raises:
        Refused: ``unknown-user``, or ``below-floor`` for a system account, which belongs to its machine.
    """
    if account is None:
        raise Refused("unknown-user", f"there is no user {name!r} in this cluster")
    if account.entry.uid < uid_floor:
        raise Refused(
            "below-floor",
            f"{name!r} is a system account (uid {account.entry.uid}, below {uid_floor}) of this machine alone: "
            "use passwd(1) on each machine",
        )
    return account


def check_owner(account: Account, day: int) -> None:
    """Say no to an owner who may not change the password today; to be asked after the old one was proven.

    Args:
        account: whose old password is proven.
        day: today, in days since 1970-01-01.

    Raises:
        Refused: ``locked``, ``expired``, ``inactive`` or ``too-soon`` (shadow(5)).
    """
    changed = None if account.password is None else account.password.changed
    standing = account_state(account.aging, locked=account.locked, changed=changed, day=day).standing
    if standing in _CLOSED:
        words = f"the account {account.entry.name!r} {_CLOSED[standing]}; ask an administrator of the cluster"
        raise Refused(standing, words)
    days = days_until_change_allowed(account.aging, changed=changed, day=day)
    if days:
        raise Refused("too-soon", f"the password was changed lately; it may be changed again in {_days(days)}")


_CLOSED: Mapping[str, str] = {
    "locked": "is locked",
    "expired": "has expired",
    "inactive": "is closed because its password was not changed in time",
}


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True, slots=True)
class Line:
    """What one place says about a change.

    Attributes:
        kind: ``master``, or ``target`` (local files, a directory, a command).
        name: its name.
        state: see :data:`State`.
        detail: why, for people; may be empty.
        since: since when it is away, wall seconds; None if that is not known or it is not away.
    """

    kind: PlaceKind
    name: str
    state: State
    detail: str = ""
    since: float | None = None

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "since": self.since,
        }


def line_of(data: Mapping[str, Any]) -> Line:
    """Read what :meth:`Line.data` returned, from a program of perhaps another version.

    Raises:
        MalformedError: it is no line.
    """
    kind, name, state, since = data.get("kind"), data.get("name"), data.get("state"), data.get("since")
    detail = data.get("detail", "")
    good = (
        isinstance(kind, str)
        and kind in get_args(PlaceKind)
        and isinstance(state, str)
        and state in get_args(State)
        and isinstance(name, str)
        and isinstance(detail, str)
        and (since is None or (isinstance(since, int | float) and not isinstance(since, bool)))
    )
    if not good:
        raise MalformedError("what a master or target says about a change is unreadable")
    return Line(cast("PlaceKind", kind), cast("str", name), cast("State", state), detail, since)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a change went as a whole.

    Attributes:
        code: ``ok``, ``held-here-only`` or ``target-refused``; the change stands in each case.
        message: for its owner.
        held: how many masters hold it durably.
        masters: how many there are.
        away: names of masters for which it is buffered.
        pending: names of targets that do not have it yet.
        refused: names of targets that do not take it.
    """

    code: str
    message: str
    held: int
    masters: int
    away: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return its numbers and names as plain data, without code and message."""
        return {
            "held": self.held,
            "masters": self.masters,
            "away": list(self.away),
            "pending": list(self.pending),
            "refused": list(self.refused),
        }


def outcome(lines: Iterable[Line]) -> Outcome:
    """Judge a change by what each place said last."""
    last = {(line.kind, line.name): line for line in lines}
    masters = [line for line in last.values() if line.kind == "master"]
    held = sum(line.state == "changed" for line in masters)
    away = tuple(line.name for line in masters if line.state != "changed")
    targets = [line for line in last.values() if line.kind == "target"]
    pending = tuple(line.name for line in targets if line.state in {"pending", "buffered"})
    refused = tuple(line.name for line in targets if line.state == "refused")
    parts = [f"the password is changed: held by {held} of {len(masters)} masters"]
    code = EVERYWHERE
    if len(masters) == 1:
        parts = ["the password is changed"]
    if away and held == 1:
        code = HELD_HERE_ONLY
        holder = next(line.name for line in masters if line.state == "changed")
        first = f"the password is changed, but so far only {holder} holds it, on one disk"
        parts = [first, f"{_names(away)} will get it later"]
    elif away:
        parts.append(f"{_names(away)} will get it later")
    if pending:
        parts.append(f"{_names(pending)} will get it later" if not away else f"so will {_names(pending)}")
    if refused:
        code = TARGET_REFUSED
        parts.append(f"{_names(refused)} did not take it: the old password still holds there")
    return Outcome(code, "; ".join(parts), held, len(masters), away, pending, refused)


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
