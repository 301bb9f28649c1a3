"""The permanent log of queries: lines of JSON, appended to a file that may be moved away at any time (logrotate(8))."""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from beonss.errors import StoreError

# What the system's own words leave open.
_REASONS = {
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENXIO: "it is a FIFO that nobody reads, or a socket",
}


class QueryFile:
    """Appends to one file, which it opens for each run of lines.

    Args:
        path: the file; made with mode 0600 where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._broken = False

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines; blocking. Without any it only finds out whether the file can be written.

        Raises:
            StoreError: they could not be written, or not all of them.
        """
        data = b"".join(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n" for line in lines)
        # A FIFO that nobody reads is an error, and nothing to wait for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                if data and self._is_torn(descriptor):
                    # What was cut off is a line of its own, which no reader takes for JSON.
                    data = b"\n" + data
                written = os.write(descriptor, data) if data else 0
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, error.strerror)
            raise StoreError(f"{self.path}: the query log cannot be written: {reason}") from None
        if written < len(data):
            self._broken = written > 0 or self._broken
            raise StoreError(f"{self.path}: the query log took only part of some lines; the disk is full")
        self._broken = False

    def _is_torn(self, descriptor: int) -> bool:
        """Say whether the last line has no end: the disk was full, or the machine lost its power."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return self._broken
        with contextlib.suppress(OSError):
            reading = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                return os.pread(reading, 1, max(0, found.st_size - 1)) not in {b"", b"\n"}
            finally:
                os.close(reading)
        return self._broken and found.st_size > 0
