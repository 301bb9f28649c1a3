"""The permanent log of queries: lines of JSON, appended to a file that may be moved away at any time (logrotate(8))."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from beonss.errors import StoreError


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
        if self._broken and data:
            # What was cut off by a full disk is a line of its own, which no reader takes for JSON.
            data = b"\n" + data
        # A FIFO that nobody reads is an error, and nothing to wait for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                written = os.write(descriptor, data) if data else 0
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"{self.path}: the query log cannot be written: {error.strerror}") from None
        if written < len(data):
            self._broken = written > 0 or self._broken
            raise StoreError(f"{self.path}: the query log took only part of some lines; the disk is full")
        self._broken = False
