"""The audit log: one JSON object per line for each login and each change that was tried, by whom and how it went.

The file is appended to only, mode 0600, and may be moved away at any time (logrotate(8)): each line goes to the file
of that name. It never holds a password or a hash: what may be said is a fixed list of fields.
"""

import errno
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from beonss.errors import StoreError

#: What a line may say. An event with another field is a mistake of ours, found by the first test of it.
FIELDS = frozenset({
    "event", "user", "source", "author", "outcome", "code", "detail", "held", "masters", "privileged", "object", "peer",
})  # fmt: skip
#: Characters of one value; names come from outside.
LONGEST = 512
_JSON = json.JSONEncoder(separators=(",", ":"))
#: Lines read at a time; one that has every field filled has some kilobytes at the most.
LINES = 1000
#: Bytes at the end of a log in which its last lines are looked for.
TAIL = 4 << 20
LINES_IN_TAIL = 1 << 20


class AuditLog:
    """Appends to one file.

    Args:
        path: the file; made with mode 0600 where it is missing.
        clock: wall clock, seconds since the epoch.
        machine: name of this master, put into each line.

    Attributes:
        problem: why the last line could not be written; empty if it was.
    """

    def __init__(self, path: Path, clock: Callable[[], float], machine: str) -> None:
        self.path = path
        self.problem = ""
        self._clock = clock
        self._machine = machine

    def record(self, event: str, **fields: str | int | bool | None) -> None:
        """Append one line; it is with the operating system when this returns.

        Raises:
            StoreError: it could not be written.
            ValueError: a field is not on the list.
        """
        self.record_all(event, [fields])

    def record_all(self, event: str, lines: Sequence[Mapping[str, str | int | bool | None]]) -> None:
        """Append a line for each of ``lines``, of one event and time; errors as for :meth:`record`."""
        if not lines:
            return
        first: dict[str, str | int | float | bool | None] = {
            "time": round(self._clock(), 3),
            "machine": self._machine,
            "event": event,
        }
        data = b"".join(_line(first, fields) for fields in lines)
        try:
            self._append(data)
        except OSError as error:
            self.problem = f"{self.path}: the audit log cannot be written: {error.strerror}"
            raise StoreError(self.problem) from None
        self.problem = ""

    def _append(self, data: bytes) -> None:
        # Opened each time: after a rotation the next line is in the new file, and nothing is held open.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o600)
        try:
            # One write: lines of several processes do not mix (O_APPEND, open(2)).
            written = os.write(descriptor, data)
            if written != len(data):
                # The next line would go on in the middle of this one.
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Place:
    """How far an audit log was read: the file's number (rotation makes another) and an offset in bytes."""

    inode: int
    offset: int


def read_on(path: Path, place: Place | None, *, lines: int = LINES) -> tuple[list[dict[str, Any]], Place]:
    """Read on in an audit log; a line cut by a power failure is passed over.

    Args:
        path: the file; what logrotate(8) moved to ``.1`` meanwhile is read to its end first.
        place: where to go on; None begins with the last ``lines`` lines.
        lines: how many at most.

    Returns:
        the lines, and where to go on; a file that is not there yet is empty.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with _opened(path) as file:
            inode = _inode(file)
            # The open files are looked at: between two looks at a name it may have become another's.
            with _opened(path.with_name(f"{path.name}.1")) as moved:
                if place is None and file is None and moved is not None:
                    # Just rotated; what is in there is not new.
                    return [], Place(_inode(moved), os.fstat(moved.fileno()).st_size)
                if place is not None and moved is not None and place.inode in {_inode(moved), 0} - {inode}:
                    rest, further = _read(moved, place.offset, lines)
                    if rest:
                        return rest, Place(_inode(moved), further)
            if place is not None and inode not in {place.inode, 0}:
                place = Place(inode, 0)
            if file is None:
                return [], place or Place(0, 0)
            if place is None:
                size = os.fstat(file.fileno()).st_size
                found, further = _read(file, max(0, size - TAIL), LINES_IN_TAIL, whole=size <= TAIL)
                return found[-lines:], Place(inode, further)
            found, further = _read(file, place.offset, lines)
            return found, Place(inode, further)
    except OSError as error:
        raise StoreError(f"{path}: the audit log cannot be read: {error.strerror}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    try:
        file = open(path, "rb", opener=_open)  # noqa: SIM115 - Path.open takes no opener; closed below
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _open(path: str, flags: int) -> int:
    # Nobody is waited for at a pipe, here and where lines are written.
    return os.open(path, flags | os.O_NONBLOCK)


def _inode(file: BinaryIO | None) -> int:
    return 0 if file is None else os.fstat(file.fileno()).st_ino


def _read(file: BinaryIO, offset: int, lines: int, *, whole: bool = True) -> tuple[list[dict[str, Any]], int]:
    found: list[dict[str, Any]] = []
    if offset > os.fstat(file.fileno()).st_size:
        # Truncated: what is there now is all new.
        offset = 0
    file.seek(offset)
    if not whole:
        offset += len(file.readline())
    for line in itertools.islice(file, lines):
        if not line.endswith(b"\n"):
            # Being written at this moment.
            break
        offset += len(line)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found, offset


def _line(first: Mapping[str, str | int | float | bool | None], fields: Mapping[str, str | int | bool | None]) -> bytes:
    if not fields.keys() <= FIELDS:
        raise ValueError(f"the audit log has no fields {sorted(fields.keys() - FIELDS)}")
    line = {**first, **{name: _short(value) for name, value in fields.items() if value is not None}}
    return _JSON.encode(line).encode("ascii") + b"\n"


def _short(value: str | int | bool | None) -> str | int | bool | None:
    return value[:LONGEST] if isinstance(value, str) else value
