"""Is this a password worth having? Reasons why not, as values; nothing here keeps or shows the password.

The rules ask for length and against guessing (NIST SP 800-63B section 5.1.1.2), not for mixtures of capitals and
digits, and nothing expires by them. What libcrypt cannot take at all is told apart from what is merely weak:
root may set the second, nobody the first.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from beonss.core.passwords.commonwords import COMMON
from beonss.errors import ConfigurationError

#: Bytes libcrypt hashes at most (crypt.h, CRYPT_MAX_PASSPHRASE_SIZE, with the NUL that ends it).
LONGEST = 511
#: What ``minimum_length`` may be configured to; whatever it is, :data:`_SUBSTANCE` holds.
FLOOR, CEILING = 1, 128

#: Fewer unpredictable characters than this are a pattern, not a password.
_SUBSTANCE = 5
#: A new password takes at least this many insertions, deletions and replacements to make from the old.
_EDITS = 3
#: A name shorter than this may be part of a password by chance.
_NAME = 4

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "1234567890")
_NEIGHBOURS = frozenset(pair for row in _ROWS for a, b in itertools.pairwise(row) for pair in ((a, b), (b, a)))
_DISGUISES = str.maketrans("0134578@$!+|", "oieastbasitl")


class Reason(NamedTuple):
    """Why a password is not taken: a stable word, and a sentence for its owner."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What a cluster asks of new passwords.

    Attributes:
        minimum_length: characters.
        binds_root: whether root is held to it; otherwise root is only warned.
    """

    minimum_length: int = 8
    binds_root: bool = False

    def __post_init__(self) -> None:
        """Refuse a length out of bounds.

        Raises:
            ConfigurationError: the length is out of bounds.
        """
        if not FLOOR <= self.minimum_length <= CEILING:
            raise ConfigurationError(
                f"the minimum length of passwords must be between {FLOOR} and {CEILING}, not {self.minimum_length}"
            )


def impossibilities(new: bytes) -> list[Reason]:
    """Return why bytes can be no password at all, for anybody; bounded work for any length."""
    reasons = []
    if not new:
        reasons.append(Reason("empty", "it is empty"))
    if len(new) > LONGEST:
        reasons.append(Reason("too-long", f"it is longer than {LONGEST} bytes"))
    elif any(byte in new for byte in (b"\0", b"\n", b"\r")):
        reasons.append(Reason("control-character", "it holds a NUL or the end of a line"))
    return reasons


def weaknesses(policy: Policy, new: bytes, user: str, gecos: str = "", old: bytes | None = None) -> list[Reason]:
    """Return why a possible password is a weak one; an empty list is praise.

    Args:
        policy: what the cluster asks.
        new: the password; bytes that are not UTF-8 count as one character each.
        user: the account's name.
        gecos: passwd(5) GECOS of the account; its words count as names.
        old: the password until now, where it is known.
    """
    if impossible := impossibilities(new):
        return impossible
    others = _weaknesses(policy, _text(new), user, gecos, None if old is None else _text(old))
    return [*too_short(policy, new), *others]


def too_short(policy: Policy, new: bytes) -> list[Reason]:
    """Return a reason if a password has fewer characters than the cluster asks."""
    if len(_text(new)) >= policy.minimum_length:
        return []
    return [Reason("too-short", f"it is shorter than {policy.minimum_length} characters")]


def _weaknesses(policy: Policy, new: str, user: str, gecos: str, old: str | None) -> Iterator[Reason]:
    if old is not None:
        if new == old:
            yield Reason("same", "it is the old password")
            return
        if _is_similar(new.casefold(), old.casefold()):
            yield Reason("similar", "it is too much like the old password")
    folded = new.casefold()
    name = _personal(folded, user, gecos)
    if name is not None:
        yield Reason("personal", "it holds the name of the account or of its owner")
    part = _repeated(folded)
    if part is not None and len(part) < policy.minimum_length:
        yield Reason("repetition", "it is one short part, repeated")
    elif len(folded) > 2 and folded == folded[::-1]:
        yield Reason("palindrome", "it reads the same backwards")
    elif len(set(folded)) < _SUBSTANCE or _substance(folded) < _SUBSTANCE:
        yield Reason("pattern", "it is a row of characters that follow each other, or has too few different ones")
    if _is_common(part or folded):
        yield Reason("common", "it is a word that everybody tries first, if in disguise")


def _text(password: bytes) -> str:
    try:
        return password.decode("utf-8")
    except UnicodeDecodeError:
        return password.decode("latin-1")


def _personal(folded: str, user: str, gecos: str) -> str | None:
    words = [user.casefold()]
    for field in gecos.casefold().split(","):
        words += "".join(c if c.isalnum() else " " for c in field).split()
    plain = folded.translate(_DISGUISES)
    for word in words[:32]:
        both = (word, word[::-1])
        if len(word) >= _NAME and any(way in text for way in both for text in (folded, plain)):
            return word
        if folded.strip("0123456789!?.,-_ ") in both:
            return word
    return None


def _repeated(text: str) -> str | None:
    """Return the shortest part that gives the text when repeated, or None if there is none."""
    size = (text + text).find(text, 1)
    return text[:size] if size < len(text) else None


def _substance(text: str) -> int:
    """Return how many characters do not simply follow from the one before."""
    return 1 + sum(not (abs(ord(b) - ord(a)) <= 1 or (a, b) in _NEIGHBOURS) for a, b in itertools.pairwise(text))


def _is_common(folded: str) -> bool:
    for text in (folded, folded.translate(_DISGUISES)):
        core = text.strip("0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ")
        if core in COMMON or core[::-1] in COMMON:
            return True
    # The ends first, then the disguises: "p4ssw0rd2024!" is "password".
    core = folded.strip("0123456789!\"#%&'()*+,-./:;<=>?[\\]^_`{|}~ ").translate(_DISGUISES)
    return core in COMMON or folded.translate(_DISGUISES) in COMMON


def _is_similar(new: str, old: str) -> bool:
    if not old:
        return False
    if new == old[::-1] or (len(new) == len(old) and new in old + old):
        return True
    if len(old) >= _SUBSTANCE and old in new and len(new) - len(old) < _SUBSTANCE:
        return True
    return _distance_below(new, old, _EDITS)


def _distance_below(a: str, b: str, limit: int) -> bool:
    """Say whether fewer than ``limit`` edits lead from a to b; work is len(a) times ``2 * limit``."""
    if abs(len(a) - len(b)) >= limit:
        return False
    # Only a band around the diagonal can stay below the limit (Ukkonen, 1985).
    row = {column: column for column in range(min(limit, len(b)) + 1)}
    for line, character in enumerate(a, 1):
        following: dict[int, int] = {}
        for column in range(max(0, line - limit), min(len(b), line + limit) + 1):
            best = row.get(column, limit) + 1
            if column:
                best = min(best, following.get(column - 1, limit) + 1)
                best = min(best, row.get(column - 1, limit) + (character != b[column - 1]))
            following[column] = best
        row = following
    return row.get(len(b), limit) < limit
