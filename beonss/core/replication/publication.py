"""The cluster description as a replicated register: its key, its value, its version, and its serial.

The description is one register of an object that is no account, so it travels, merges and is kept like every other
(:mod:`beonss.core.replication.registers`). The highest stamp wins. A published version is one more than any known; but
of two that were published apart, the winner may carry the *lower* number. So that no serial goes back, whoever sees
that writes a second register, the *serial*: "the description with this digest counts as version n". Both are held by
masters alone; nodes get from their master the description that it has proven.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard

from beonss.core.replication.registers import MAX_VALUE, Key
from beonss.errors import ConfigurationError, MalformedError

#: Of all replicated documents of a cluster; no account can have it.
DOCUMENTS: Final = hashlib.sha256(b"beonss documents").hexdigest()[:32]
DESCRIPTION: Final = Key(DOCUMENTS, "description")
SERIAL: Final = Key(DOCUMENTS, "serial")
#: The note in a master's database that holds the last published description that was in force there, as its register
#: would.
KEPT: Final = "description"
#: Stamp time, in ms since the epoch, of a description that a master took from its own file because it knew of no other:
#: the beginning of time, so that whatever was ever applied beats it.
SEED_TIME: Final = 1
#: An SOA serial has 32 bits (RFC 1035 section 3.3.13).
HIGHEST_VERSION: Final = 2**32 - 1
#: A step further than this looks to a secondary like a step back (RFC 1982 section 3.2).
LONGEST_STEP: Final = 2**31 - 1
_LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Published:
    """A description as it stands in its register.

    Attributes:
        text: the file, byte for byte; UTF-8.
        version: as it was published; see :func:`version_of`.
        file: the name it had, for messages.
    """

    text: bytes
    version: int
    file: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex. The same for every version of the software, whatever it understands of it."""
        return hashlib.sha256(self.text).hexdigest()


@dataclass(frozen=True, slots=True)
class Serial:
    """As which version a description counts, where that is more than it was published as."""

    digest: str
    version: int


def encode_published(published: Published) -> bytes:
    """Return the register's value: canonical JSON.

    Raises:
        ConfigurationError: it is too large, or no UTF-8.
    """
    try:
        text = published.text.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{published.file}: is not UTF-8; save the file as UTF-8") from None
    value = _canonical(
        {
            "digest": published.digest,
            "file": published.file[:_LONGEST_NAME],
            "text": text,
            "version": published.version,
        }
    )
    if len(value) > MAX_VALUE:
        raise ConfigurationError(
            f"{published.file}: {len(value)} bytes as a register; at most {MAX_VALUE} can be published: describe "
            "machines by rules, not one by one"
        )
    return value


def decode_published(value: bytes) -> Published:
    """Read the register's value; fields of a newer version are ignored.

    Raises:
        MalformedError: it is no description.
    """
    raw = _object(value)
    text, version, file = raw.get("text"), raw.get("version"), raw.get("file", "description")
    if not (isinstance(text, str) and isinstance(file, str) and _is_version(version)):
        raise MalformedError("the register of the description has no text or no version")
    name = "".join(letter if letter.isprintable() else "?" for letter in file[:_LONGEST_NAME])
    try:
        published = Published(text.encode("utf-8"), version, name)
    except UnicodeEncodeError:
        raise MalformedError("the text of the description is no UTF-8") from None
    if raw.get("digest") != published.digest:
        raise MalformedError("the text of the description is not the one that its digest is of")
    return published


def encode_serial(serial: Serial) -> bytes:
    """Return the register's value: canonical JSON."""
    return _canonical({"digest": serial.digest, "version": serial.version})


def decode_serial(value: bytes) -> Serial:
    """Read the register's value; fields of a newer version are ignored.

    Raises:
        MalformedError: it is no serial.
    """
    raw = _object(value)
    digest, version = raw.get("digest"), raw.get("version")
    if not (isinstance(digest, str) and _is_version(version)):
        raise MalformedError("the register of the description's serial has no digest or no version")
    return Serial(digest, version)


def version_of(published: Published, serial: Serial | None) -> int:
    """Return as which version a description counts."""
    if serial is not None and serial.digest == published.digest:
        return max(published.version, serial.version)
    return published.version


def following(wanted: Published, before: Published) -> Published:
    """Return a description with the version as which it counts where another was served before.

    No serial goes back: what is another text counts as more than what was before, the same text not as less.
    """
    least = before.version + (wanted.digest != before.digest)
    return wanted if wanted.version >= least else replace(wanted, version=least)


def next_version(known: int, wanted: int) -> int:
    """Return the version of a new description: one more than any known, or more if its file says so.

    Args:
        known: the highest known; 0 without one.
        wanted: what the file says.

    Raises:
        ConfigurationError: there is none, or secondaries would take it for a step back.
    """
    version = max(known + 1, wanted)
    if version > HIGHEST_VERSION:
        raise ConfigurationError(f"there is no version above {known}: an SOA serial has 32 bits")
    if known and version - known > LONGEST_STEP:
        raise ConfigurationError(
            f"version {wanted} is more than {LONGEST_STEP} above {known}: secondary servers would take it for an older "
            "one (RFC 1982); choose a lower version"
        )
    return version


def _canonical(document: dict[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _object(value: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(str(value, "utf-8"))
    except (ValueError, RecursionError):
        raise MalformedError("a register of the description is no JSON") from None
    if not isinstance(raw, dict):
        raise MalformedError("a register of the description is no JSON object")
    return raw


def _is_version(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= HIGHEST_VERSION
