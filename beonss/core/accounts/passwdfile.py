"""passwd(5), group(5), shadow(5) and gshadow(5): bytes to entries and back, losing nothing.

A :class:`Document` keeps every line as it was read: comments, blank lines, NIS ``+`` lines and lines that make
no sense stay where they are, byte for byte. What ``ypcat passwd`` and ``ypcat group`` print has the same form.
Text is UTF-8 with surrogate escapes, so an old Latin-1 GECOS survives. Reading never fails: a line that is no
entry becomes a :class:`Problem` with its number. Writing does fail, with :class:`UnwritableError`, for a
value that would add a field or a line to the file: such a value may come from another machine.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from beonss.errors import BeonssError

#: (uid_t)-1 means "no change" to chown(2) and "nobody" to others: no account may have it.
MAXIMUM_ID = 2**32 - 2
#: The longest login name of Linux: LOGIN_NAME_MAX counts the final NUL byte.
MAXIMUM_NAME = 255
#: What would end a line, or the text for a program in C.
_BREAKING = re.compile(r"[\n\r\0]")
#: Nearly all names; others are looked at more closely.
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_-]*", re.ASCII)


class UnwritableError(BeonssError):
    """A value that cannot stand in such a file without changing its meaning. The text never holds the value."""


@dataclass(frozen=True, slots=True, repr=False)
class PasswdLine:
    """One entry of passwd(5). ``password`` is ``x`` where shadow(5) is used, but may be a hash."""

    name: str
    password: str
    uid: int
    gid: int
    gecos: str
    home: str
    shell: str

    def __repr__(self) -> str:
        """Keep an unshadowed hash out of logs and tracebacks."""
        return f"PasswdLine(name={self.name!r}, uid={self.uid}, gid={self.gid})"


@dataclass(frozen=True, slots=True, repr=False)
class GroupLine:
    """One entry of group(5)."""

    name: str
    password: str
    gid: int
    members: tuple[str, ...]

    def __repr__(self) -> str:
        """Keep an unshadowed hash out of logs and tracebacks."""
        return f"GroupLine(name={self.name!r}, gid={self.gid}, members={self.members!r})"


@dataclass(frozen=True, slots=True, repr=False)
class ShadowLine:
    """One entry of shadow(5); days are counted from 1970-01-01, None where the field is empty."""

    name: str
    hash: str
    changed: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    warning: int | None = None
    inactive: int | None = None
    expires: int | None = None
    flag: str = ""

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"ShadowLine(name={self.name!r}, hash=<hidden>, changed={self.changed})"


@dataclass(frozen=True, slots=True, repr=False)
class GshadowLine:
    """One entry of gshadow(5)."""

    name: str
    password: str
    administrators: tuple[str, ...]
    members: tuple[str, ...]

    def __repr__(self) -> str:
        """Keep the hash out of logs and tracebacks."""
        return f"GshadowLine(name={self.name!r}, members={self.members!r})"


Line = PasswdLine | GroupLine | ShadowLine | GshadowLine
E = TypeVar("E", bound=Line)


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that is no entry: its number, from 1, and what is wrong with it."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Format(Generic[E]):
    """One of the four file formats.

    Attributes:
        name: the file's name in ``/etc``.
        build: fields to an entry; raises ValueError with a text for people.
        fields: an entry to its fields.
    """

    name: str
    build: Callable[[list[str]], E]
    fields: Callable[[E], list[str]]

    def line(self, entry: E) -> bytes:
        """Return the entry's line, with its newline.

        Raises:
            UnwritableError: a value would add a field or a line, or is no text.
        """
        fields = self.fields(entry)
        wrong = name_problem(fields[0])
        if wrong is not None:
            raise UnwritableError(f"{self.name}: {wrong}")
        text = ":".join(fields)
        if text.count(":") != len(fields) - 1 or _BREAKING.search(text):
            number = next(number for number, field in enumerate(fields, 1) if ":" in field or _BREAKING.search(field))
            raise UnwritableError(
                f"{self.name}: field {number} of {fields[0]!r} holds a colon, a line end or a NUL byte"
            )
        try:
            return text.encode("utf-8", "surrogateescape") + b"\n"
        except UnicodeEncodeError:
            raise UnwritableError(f"{self.name}: a field of {fields[0]!r} is no text that can be written") from None


def name_problem(name: str) -> str | None:
    """Say why ``name`` cannot be a user's or group's name in these files, or None if it can."""
    if _PLAIN_NAME.fullmatch(name) and len(name) <= MAXIMUM_NAME:
        return None
    if not name:
        return "a name is empty"
    if len(name) > MAXIMUM_NAME:
        return f"the name {name[:MAXIMUM_NAME]!r}... is longer than {MAXIMUM_NAME} characters"
    if name[0] in "+-#~":
        return f"the name {name!r} begins with {name[0]!r}"
    if name in {".", ".."} or name.isdigit():
        return f"the name {name!r} could be taken for a number or a directory"
    if any(character in ":,/" or character.isspace() or not character.isprintable() for character in name):
        return f"the name {name!r} holds a character that names may not have"
    return None


def _id(text: str, what: str) -> int:
    # isdigit() alone accepts digits of other scripts, which getpwnam(3) does not read.
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > MAXIMUM_ID:
        raise ValueError(f"the {what} is not a number from 0 to {MAXIMUM_ID}")
    return int(text)


def _days(text: str, what: str) -> int | None:
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise ValueError(f"the {what} is not a number of days")
    days = int(text)
    # chage(1) takes -1 for "no such limit", as an empty field says.
    return days if days >= 0 else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _joined(names: tuple[str, ...]) -> str:
    for name in names:
        if "," in name or not name:
            raise UnwritableError("a member's name is empty or holds a comma")
    return ",".join(names)


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _passwd(fields: list[str]) -> PasswdLine:
    if len(fields) != 7:
        raise ValueError(f"has {len(fields)} fields, passwd(5) has 7")
    name, password, uid, gid, gecos, home, shell = fields
    return PasswdLine(name, password, _id(uid, "uid"), _id(gid, "gid"), gecos, home, shell)


def _group(fields: list[str]) -> GroupLine:
    if len(fields) != 4:
        raise ValueError(f"has {len(fields)} fields, group(5) has 4")
    return GroupLine(fields[0], fields[1], _id(fields[2], "gid"), _names(fields[3]))


def _shadow(fields: list[str]) -> ShadowLine:
    if len(fields) not in {8, 9}:
        raise ValueError(f"has {len(fields)} fields, shadow(5) has 9")
    words = ("day of last change", "minimum age", "maximum age", "warning period", "inactivity period", "expiry day")
    days = [_days(text, what) for text, what in zip(fields[2:8], words, strict=True)]
    changed, minimum, maximum, warning, inactive, expires = days
    flag = fields[8] if len(fields) == 9 else ""
    return ShadowLine(fields[0], fields[1], changed, minimum, maximum, warning, inactive, expires, flag)


def _gshadow(fields: list[str]) -> GshadowLine:
    if len(fields) != 4:
        raise ValueError(f"has {len(fields)} fields, gshadow(5) has 4")
    return GshadowLine(fields[0], fields[1], _names(fields[2]), _names(fields[3]))


PASSWD = Format("passwd", _passwd, lambda e: [e.name, e.password, str(e.uid), str(e.gid), e.gecos, e.home, e.shell])
GROUP = Format("group", _group, lambda e: [e.name, e.password, str(e.gid), _joined(e.members)])
SHADOW = Format(
    "shadow",
    _shadow,
    lambda e: [
        e.name,
        e.hash,
        *map(_number, (e.changed, e.minimum, e.maximum, e.warning, e.inactive, e.expires)),
        e.flag,
    ],
)
GSHADOW = Format("gshadow", _gshadow, lambda e: [e.name, e.password, _joined(e.administrators), _joined(e.members)])


class Document(Generic[E]):
    """A file's lines, in their order, with an index of the names; entries are parsed when asked for.

    One password change must not cost the parsing of a hundred thousand other lines.
    """

    __slots__ = ("_index", "format", "lines")

    def __init__(self, kind: Format[E], lines: tuple[bytes, ...]) -> None:
        self.format: Format[E] = kind
        self.lines = lines
        self._index: dict[bytes, list[int]] = {}
        for position, line in enumerate(lines):
            if _is_candidate(line):
                self._index.setdefault(line.partition(b":")[0], []).append(position)

    @property
    def data(self) -> bytes:
        """The file's bytes; equal to what was read if nothing was edited."""
        return b"".join(self.lines)

    def __contains__(self, name: str) -> bool:
        return self.count(name) > 0

    def count(self, name: str) -> int:
        """Return how many lines begin with this name, well-formed or not."""
        return len(self._positions(name))

    def names(self) -> Iterator[str]:
        """Yield the names of all lines that look like entries, each once."""
        for name in self._index:
            yield name.decode("utf-8", "surrogateescape")

    def find(self, name: str) -> E | None:
        """Return the first well-formed entry with this name: the one getpwnam(3) would find."""
        for position in self._positions(name):
            try:
                return self._parse(position)
            except ValueError:
                continue
        return None

    def entries(self) -> Iterator[tuple[int, E]]:
        """Yield line numbers, from 1, and entries, in the file's order."""
        for position, line in enumerate(self.lines):
            if _is_candidate(line):
                try:
                    entry = self._parse(position)
                except ValueError:
                    continue
                yield position + 1, entry

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong with which line; comments, blank lines and NIS lines are no problem."""
        found = []
        for position, line in enumerate(self.lines):
            if _is_candidate(line):
                try:
                    self._parse(position)
                except ValueError as error:
                    found.append(Problem(position + 1, str(error)))
        return tuple(found)

    def edited(self, changes: Mapping[str, E | None]) -> "Document[E]":
        """Return the document that :meth:`edited_lines` makes."""
        return Document(self.format, tuple(self.edited_lines(changes)))

    def edited_lines(self, changes: Mapping[str, E | None]) -> list[bytes]:
        """Return the lines with some entries set or, where the value is None, taken out.

        A set entry keeps its place, and further lines with its name go, because a lookup would find only one;
        a new one comes after the last entry, so before NIS ``+`` lines that end the file, in which a lookup
        would stop. All other lines stay as they are.

        Raises:
            UnwritableError: see :meth:`Format.line`.
        """
        lines: list[bytes | None] = list(self.lines)
        added: list[bytes] = []
        for name, entry in changes.items():
            positions = self._positions(name)
            for position in positions:
                lines[position] = None
            if entry is not None and positions:
                lines[positions[0]] = self.format.line(entry)
            elif entry is not None:
                added.append(self.format.line(entry))
        if added:
            place = self._end()
            before = lines[place - 1] if place else None
            if before is not None and not before.endswith(b"\n"):
                lines[place - 1] = before + b"\n"
            lines[place:place] = added
        return [line for line in lines if line is not None]

    def _end(self) -> int:
        last = max((positions[-1] for positions in self._index.values()), default=-1)
        if last >= 0:
            return last + 1
        nis = (position for position, line in enumerate(self.lines) if line[:1] in {b"+", b"-"})
        return next(nis, len(self.lines))

    def _positions(self, name: str) -> list[int]:
        try:
            return self._index.get(name.encode("utf-8", "surrogateescape"), [])
        except UnicodeEncodeError:
            return []

    def _parse(self, position: int) -> E:
        text = self.lines[position].removesuffix(b"\n").decode("utf-8", "surrogateescape")
        if "\0" in text:
            raise ValueError("holds a NUL byte")
        fields = text.split(":")
        entry = self.format.build(fields)
        wrong = name_problem(fields[0])
        if wrong is not None:
            raise ValueError(wrong)
        return entry


_NO_ENTRY = frozenset(b"+-#")


def _is_candidate(line: bytes) -> bool:
    """Say whether a line claims to be an entry: not blank, no comment, no NIS line."""
    first = line[0]
    return first not in _NO_ENTRY and not (first <= 32 and line.isspace())


def read(kind: Format[E], data: bytes) -> Document[E]:
    """Read a file's bytes; never fails (see :meth:`Document.problems`), costs one pass."""
    return Document(kind, tuple(data.splitlines(keepends=True)) if b"\r" not in data else _split(data))


def _split(data: bytes) -> tuple[bytes, ...]:
    # bytes.splitlines() also ends lines at a carriage return, which these formats do not.
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return tuple([*lines, parts[-1]] if parts[-1] else lines)
