"""The audit log: one JSON object per line for each login and each change that was tried, by whom and how it went.

The file is appended to only, mode 0600, and may be moved away at any time (logrotate(8)): each line goes to the file
of that name. It never holds a password or a hash: what may be said is a fixed list of fields.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from beonss.errors import StoreError

#: What a line may say. An event with another field is a mistake of ours, found by the first test of it.
FIELDS = frozenset({
    "event", "user", "source", "author", "outcome", "code", "detail", "held", "masters", "privileged", "object", "peer",
})  # fmt: skip
#: Characters of one value; names come from outside.
LONGEST = 512


class AuditLog:
    """Appends to one file.

    Args:
        path: the file; made with mode 0600 where it is missing.
        clock: wall clock, seconds since the epoch.
        machine: name of this master, put into each line.
    """

    def __init__(self, path: Path, clock: Callable[[], float], machine: str) -> None:
        self.path = path
        self._clock = clock
        self._machine = machine

    def record(self, event: str, **fields: str | int | bool | None) -> None:
        """Append one line; it is with the operating system when this returns.

        Raises:
            StoreError: it could not be written.
            ValueError: a field is not on the list.
        """
        if not fields.keys() <= FIELDS:
            raise ValueError(f"the audit log has no fields {sorted(fields.keys() - FIELDS)}")
        line = {"time": round(self._clock(), 3), "machine": self._machine, "event": event}
        line |= {name: _short(value) for name, value in fields.items() if value is not None}
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            # Opened each time: after a rotation the next line is in the new file, and nothing is held open.
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                # One write: lines of several processes do not mix (O_APPEND, open(2)).
                if os.write(descriptor, data) != len(data):
                    raise StoreError(f"{self.path}: the audit log took only part of a line; the disk is full")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"{self.path}: the audit log cannot be written: {error.strerror}") from None


def read_audit(path: Path) -> Iterator[Mapping[str, Any]]:
    """Iterate over the lines of an audit log; a line cut by a power failure is passed over.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value
    except OSError as error:
        raise StoreError(f"{path}: the audit log cannot be read: {error.strerror}") from None


def _short(value: str | int | bool | None) -> str | int | bool | None:
    return value[:LONGEST] if isinstance(value, str) else value
