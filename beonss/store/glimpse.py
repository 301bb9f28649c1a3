"""A glimpse into the database of a master that is not open yet: a few values, read within milliseconds.

Opening it in earnest (:mod:`beonss.store.opening`) checks every page. This looks at single rows and changes nothing;
that a commit of a process that was killed is flushed when this ends is what the next one who opens it would do. What
such a process left in the file of commits is looked at as well: it counts, and is newer than the tables.
"""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beonss.core.replication.registers import Key
from beonss.errors import StoreError


@dataclass(frozen=True, slots=True)
class Glimpsed:
    """A register, as far as it was looked at."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What was found.

    Attributes:
        registers: by key, those that are there.
        notes: by name, likewise.
    """

    registers: dict[Key, Glimpsed]
    notes: dict[str, bytes]

    def find(self, key: Key) -> Glimpsed | None:
        """Return a register that was looked for, None if it was not there."""
        return self.registers.get(key)


def glimpse(path: Path, keys: Collection[Key], notes: Iterable[str]) -> Glimpse:
    """Return some values of a database that no process has open.

    Args:
        path: the file.
        keys: of registers.
        notes: names of notes.

    Raises:
        StoreError: there is no such database, it is in use, damaged, of another version, or holds several clusters.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no such database")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
        try:
            # As opening.py has it: nobody else gets in, and there is no index of the WAL on disk.
            for pragma in ("locking_mode = EXCLUSIVE", "trusted_schema = OFF", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}")
            # The two ends of an index; counting would read all of it.
            first = _values(connection, "SELECT min(cluster) FROM register", ())
            if first != _values(connection, "SELECT max(cluster) FROM register", ()):
                raise StoreError(f"{path}: holds several clusters")
            registers = {key: _values(connection, _REGISTER, (*first, *key)) for key in keys}
            found = {name: _values(connection, _NOTE, (name,)) for name in notes}
            generation = _values(connection, _GENERATION, ())
            return Glimpse(
                {key: Glimpsed(values[0]) for key, values in registers.items() if values}
                | (_committed(path, generation[0], keys) if generation else {}),
                {name: values[0] for name, values in found.items() if values},
            )
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be looked at: {error}") from None


def _committed(path: Path, generation: bytes, keys: Collection[Key]) -> dict[Key, Glimpsed]:
    """Return those registers that are in the file of commits and not in the tables yet (decision 0034)."""
    beside = Path(f"{path}-commits")
    try:
        if not beside.stat().st_size:
            return {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{beside}: cannot be looked at: {error.strerror}") from None
    from beonss.store.commits import Commits, DiskFile, read_commit  # noqa: PLC0415 - only after a kill or a crash

    commits = Commits(DiskFile(beside), beside)
    try:
        return {
            row.key: Glimpsed(row.value)
            for body in commits.read(generation).whole
            for row in read_commit(body, beside)[0]
            if row.key in keys
        }
    finally:
        commits.close()


_GENERATION = "SELECT value FROM meta WHERE name = 'commits'"
_REGISTER = "SELECT value FROM register WHERE cluster = ? AND object = ? AND field = ?"
_NOTE = "SELECT value FROM note WHERE name = ?"


def _values(connection: sqlite3.Connection, query: str, of: tuple[Any, ...]) -> list[Any]:
    return [value for (value,) in connection.execute(query, of)]
