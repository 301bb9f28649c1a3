"""A clock of its own for one process (libfaketime): wrong from the start, or set while it runs. Never the machine's."""

from collections.abc import Mapping
from pathlib import Path

from support.requires import missing


def library() -> Path:
    """Return the library that fakes the time in programs with several threads."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime", "apt install libfaketime")
    return found[0]


def shifted(offset: str) -> Mapping[str, str]:
    """Return an environment in which the wall clock is off by ``offset`` (``-60s``, ``+3y``); no other clock is."""
    return {"LD_PRELOAD": str(library()), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Clock:
    """A wall clock that can be set while the process runs.

    Args:
        path: a file of its own, which holds how far the clock is off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set("+0s")

    def set(self, offset: str) -> None:
        """Set the clock off by ``offset``, within a second."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(offset + "\n")
        fresh.rename(self._path)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of a process that goes by this clock."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
