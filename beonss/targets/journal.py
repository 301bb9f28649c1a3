"""What a target was last given: a small file of its own, appended to before and after each write.

It tells our own work from somebody else's (:func:`beonss.core.targets.delivery.judge`). Each line is a JSON array
``[map, name, object, base, intent]``; the last line for a (map, name) counts, ``base`` null with ``intent``
null forgets it. A line torn by a crash is dropped: losing a mark makes an edit look foreign, never ours.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from beonss.errors import StoreError

_SLACK = 1000
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Mark(NamedTuple):
    """What we know of one entry at a target.

    Attributes:
        object: id of the account it was written for.
        base: mark of what was last delivered, :data:`beonss.core.targets.delivery.ABSENT` if it was taken out.
        intent: mark of what was about to be written.
    """

    object: str
    base: str | None
    intent: str | None = None


Entry = tuple[str, str, Mark]


class Journal:
    """The marks of one target, in memory and in a file; blocking.

    Raises:
        StoreError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marks: dict[tuple[str, str], Mark] = {}
        self._objects: dict[tuple[str, str], set[str]] = {}
        self._lines = 0
        # A user's own change may come beside a delivery.
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            torn = self._load()
            if torn or self._lines > 2 * len(self._marks) + _SLACK:
                self._compact()
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error("opened", error) from error

    def get(self, kind: str, name: str) -> Mark | None:
        """Return what is known of an entry of a map (``passwd``), or None."""
        return self._marks.get((kind, name))

    def names_of(self, kind: str, object_id: str) -> frozenset[str]:
        """Return under which names an account was written to a map: two of them after a renaming."""
        return frozenset(self._objects.get((kind, object_id), ()))

    def names(self, kind: str) -> Iterator[tuple[str, Mark]]:
        """Yield the entries of a map that were written and not taken out again."""
        for (of, name), mark in self._marks.items():
            if of == kind:
                yield name, mark

    def record(self, entries: Iterable[Entry]) -> None:
        """Note marks, durably, before returning."""
        with self._lock:
            self._record(entries)

    def _record(self, entries: Iterable[Entry]) -> None:
        lines = []
        for kind, name, mark in entries:
            self._apply(kind, name, mark)
            lines.append(_line(kind, name, mark))
        if not lines:
            return
        try:
            _write(self._fd, b"".join(lines))
            os.fdatasync(self._fd)
            self._lines += len(lines)
            if self._lines > 2 * len(self._marks) + _SLACK:
                self._compact()
                os.close(self._fd)
                self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise self._error("written", error) from error

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(f"{self.path}: what this target was given cannot be {verb}: {error.strerror}")

    def _apply(self, kind: str, name: str, mark: Mark) -> None:
        old = self._marks.pop((kind, name), None)
        if old is not None:
            names = self._objects.get((kind, old.object), set())
            names.discard(name)
            if not names:
                self._objects.pop((kind, old.object), None)
        if mark.base is None and mark.intent is None:
            return
        self._marks[kind, name] = mark
        self._objects.setdefault((kind, mark.object), set()).add(name)

    def _load(self) -> bool:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return False
        torn = bool(data) and not data.endswith(b"\n")
        for line in data.split(b"\n"):
            if not line:
                continue
            self._lines += 1
            entry = _read(line)
            if entry is None:
                torn = True
            else:
                self._apply(*entry)
        return torn

    def _compact(self) -> None:
        new = self.path.with_name(self.path.name + ".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, b"".join(_line(kind, name, mark) for (kind, name), mark in self._marks.items()))
            os.fsync(fd)
        finally:
            os.close(fd)
        new.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._lines = len(self._marks)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _line(kind: str, name: str, mark: Mark) -> bytes:
    return _ENCODER.encode([kind, name, *mark]).encode("ascii") + b"\n"


def _read(line: bytes) -> Entry | None:
    with contextlib.suppress(ValueError, RecursionError):
        raw = json.loads(line)
        if isinstance(raw, list) and len(raw) == 5 and all(isinstance(word, str) for word in raw[:3]):
            base, intent = raw[3:]
            if all(word is None or isinstance(word, str) for word in (base, intent)):
                return raw[0], raw[1], Mark(raw[2], base, intent)
    return None
