"""From passwd, group and shadow files to records, and what was left out, and why.

This is the first step of an import, done by the administrator's command that reads the files; the second is
:mod:`beonss.core.accounts.importing`.
"""

from collections.abc import Mapping
from dataclasses import astuple

from beonss.core.accounts.admission import NOBODY
from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.accounts.passwdfile import Document, GroupLine, PasswdLine, ShadowLine
from beonss.core.accounts.records import Batch, GroupRecord, Skipped, UserRecord
from beonss.core.passwords.hashes import scheme_of
from beonss.errors import ConfigurationError

#: The lowest uid and gid taken by default; below are the accounts of the system itself.
DEFAULT_FLOOR = 1000
#: Lines told, of those that were left out, where there are no others.
_TOLD = 10
#: Password fields that say "no password can match" (shadow(5), Solaris and FreeBSD words included).
NO_PASSWORD = frozenset({"", "*", "!", "!!", "x", "*LK*", "*NP*", "!*", "**", "*LOCKED*"})


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
