"""What a new account, or a new word of one, must be like, beyond what one that exists is served with.

:mod:`beonss.core.accounts.entries` says what would break the files, and an account that breaks them is not served. Here
is what nobody should begin with: a name that a shell, a filter or a person reads as something else. Accounts that exist
stay as they are, and may be changed in all other respects.
"""

import unicodedata

from beonss.core.accounts.entries import GroupEntry, UserEntry, entry_problems

#: They are each machine's own, by whatever number; a cluster's account of that name would be no such thing anywhere.
MACHINES_OWN = frozenset({"root", "nobody", "nogroup"})
#: The ids of nobody and nogroup, on systems of 32 and of 16 bits (systemd's UIDS-GIDS document).
NOBODY = frozenset({65534, 65535})

#: Shells, globs, sudoers (% and #), crontabs and cron's file names take these for something else.
_READ_OTHERWISE = frozenset("*?[]{}()<>|&;!#$%^=~`'")


def admission_problems(entry: UserEntry | GroupEntry, old: UserEntry | GroupEntry | None = None) -> list[str]:
    """Say why an entry must not be written, wherever it comes from; an empty list if it may.

    Args:
        entry: as it is to be.
        old: as it is now; a name that stays is not judged again. None for a new account.
    """
    problems = entry_problems(entry)
    if problems:
        return problems
    if old is None or old.name != entry.name:
        problems += _name_problems(entry.name)
    number = entry.uid if isinstance(entry, UserEntry) else entry.gid
    if old is None and number in NOBODY:
        problems.append(f"{number} is the number of nobody")
    return problems


def word_problems(entry: UserEntry, old: UserEntry | None = None) -> list[str]:
    """Say why words that somebody types for a user now must not be taken; files that are imported may hold older sins.

    Args:
        entry: as it is to be.
        old: as it is now; words that stay are not judged. None for a new user.
    """
    problems = []
    for title in ("gecos", "home", "shell"):
        text = getattr(entry, title)
        if old is not None and text == getattr(old, title):
            continue
        if title != "gecos" and text and not text.startswith("/"):
            problems.append(f"the {title} {text!r} is no absolute path: it begins with '/'")
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            problems.append(f"the {title} holds a control character")
    return problems


def _name_problems(name: str) -> list[str]:
    problems = []
    if name.lower() in MACHINES_OWN:
        problems.append(f"{name!r} is each machine's own account, not the cluster's")
    # A last '$' is how Samba names machines.
    strange = sorted(set(name.removesuffix("$")) & _READ_OTHERWISE)
    if strange:
        problems.append(f"a new name holds none of {' '.join(strange)}: shells and other files read them otherwise")
    if unicodedata.normalize("NFKC", name) != name:
        # Two spellings that look the same would be two accounts; a directory takes them for one (RFC 4518 section 2.3).
        problems.append(f"{name!r} is not in its plain form: write it as {unicodedata.normalize('NFKC', name)!r}")
    return problems
