"""Whether an account may be used on a day, after shadow(5): pure rules, days counted from 1970-01-01.

Where shadow(5) leaves a choice, the rules are those of pam_unix(8): an empty or negative field means no limit, a
password changed "in the future" does not age, an expiry date of 0 has passed, a last change on day 0 means that
the password must be changed at the next login.
"""

from dataclasses import dataclass
from typing import Literal

from beonss.core.accounts.entries import Aging

#: open: may be used. warn: may, and its password ends in ``days``. change: only after a new password. The others may
#: not: an administrator locked it, its date has passed, or its password is older than may still be changed.
Standing = Literal["open", "warn", "change", "locked", "expired", "inactive"]


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account stands on a day.

    Attributes:
        days: for ``warn`` days until the password must be changed (0: from tomorrow); for ``change``, ``expired`` and
            ``inactive`` days since it was due, if that is known; otherwise None.
    """

    standing: Standing
    days: int | None = None

    @property
    def usable(self) -> bool:
        """Whether the user may come in as things stand."""
        return self.standing in {"open", "warn"}

    @property
    def text(self) -> str:
        """What to tell the user; empty if there is nothing to tell."""
        days = self.days or 0
        if self.standing == "warn":
            if days <= 0:
                return "Your password must be changed tomorrow at the latest; change it today."
            return f"Your password must be changed within {_count(days)}."
        if self.standing == "change":
            if self.days is None:
                return "You must change your password now: an administrator requires it."
            return f"You must change your password now: it was due {_count(days)} ago."
        if self.standing == "locked":
            return "This account is locked; ask an administrator of the cluster."
        if self.standing == "expired":
            return f"This account expired {_count(days)} ago; ask an administrator of the cluster."
        if self.standing == "inactive":
            return "This account's password was not changed in time; ask an administrator of the cluster."
        return ""


def account_state(
    aging: Aging, *, locked: bool, changed: int | None, day: int, by_password: bool = True
) -> AccountState:
    """Return how an account stands (the account check of pam_unix, without its side effects).

    Args:
        aging: the limits.
        locked: whether an administrator locked it.
        changed: day of the last password change, None if not known.
        day: today.
        by_password: whether its password's age matters; one who came by an ssh key is not asked for a new one.
    """
    if locked:
        return AccountState("locked")
    expires = _limit(aging.expires)
    if expires is not None and day >= expires:
        return AccountState("expired", day - expires)
    if not by_password or changed is None:
        return AccountState("open")
    if changed == 0:
        return AccountState("change")
    maximum, age = _limit(aging.maximum), day - changed
    if maximum is None or age < 0:
        return AccountState("open")
    if age > maximum:
        inactive = _limit(aging.inactive)
        if inactive is not None and age > maximum + inactive:
            return AccountState("inactive", age - maximum - inactive)
        return AccountState("change", age - maximum)
    warning = _limit(aging.warning)
    if warning is not None and age > maximum - warning:
        return AccountState("warn", maximum - age)
    return AccountState("open")


def days_until_change_allowed(aging: Aging, *, changed: int | None, day: int) -> int:
    """Return how many days the user has to wait for the next change of the password; 0 means none.

    Administrators are not bound by it, and a password that must be changed can be changed.
    """
    minimum = _limit(aging.minimum)
    if minimum is None or changed is None or changed == 0 or changed > day:
        return 0
    return max(0, changed + minimum - day)


def _limit(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def _count(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"
