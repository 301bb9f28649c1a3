"""The names that this machine's own account files hold, read again when they change.

Local files win over us (nsswitch.conf(5): files first), so what they own is not served here under another number. The
files are read directly: asking the C library would ask our own socket.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from beonss.core.accounts.lookup import LocalNames

#: Seconds between two looks at the files.
INTERVAL: Final = 10.0
#: A passwd file is rarely above a megabyte; what is larger than this is not read.
MAXIMUM_BYTES = 64 << 20


class LocalFiles:
    """Follows ``etc/passwd`` and ``etc/group`` under a root directory.

    Args:
        changed: called with the new names, at once and whenever a file has changed.
        root: ``/`` on a real machine.
    """

    log = Logger()

    def __init__(self, changed: Callable[[LocalNames], None], root: Path = Path("/")) -> None:
        self._changed = changed
        self._paths = (root / "etc" / "passwd", root / "etc" / "group")
        self._seen: tuple[object, ...] | None = None

    def look(self) -> None:
        """Read the files if they differ from the last time; an unreadable one is logged and counts as unchanged."""
        try:
            marks = tuple(_mark(path) for path in self._paths)
            if marks == self._seen:
                return
            users, groups = (_pairs(path) for path in self._paths)
        except OSError as error:
            self.log.warn("local account files cannot be read: {error}", error=error)
            return
        self._seen = marks
        self._changed(LocalNames(users, groups))


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _pairs(path: Path) -> list[tuple[str, int]]:
    """Return (name, number) of each readable line."""
    try:
        with path.open("rb") as file:
            text = file.read(MAXIMUM_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return []
    pairs = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit() and len(fields[2]) <= 10:
            pairs.append((fields[0], int(fields[2])))
    return pairs
