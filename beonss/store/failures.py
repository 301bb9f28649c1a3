"""What can go wrong with the database, told apart by what has to be done about it."""

import sqlite3
from pathlib import Path

from beonss.errors import StoreError


class DiskFullError(StoreError):
    """There is no room: this change was not made, nothing else is lost, and work goes on."""


class BrokenStoreError(StoreError):
    """The disk or the file cannot be trusted any more; the process has to end and be started by hand or supervisor.

    After a failed fsync nobody knows what is on the disk, and trying again would only seem to succeed.
    """


class UnusableStoreError(StoreError):
    """The file at this path cannot be opened as our database; it was not touched."""


_BROKEN = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def translated(error: sqlite3.Error, path: Path | str) -> StoreError:
    """Return the error of ours that says what happened to the database at ``path`` and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return DiskFullError(
            f"{path}: the disk is full ({name}); the change was not made. Free some space and try again"
        )
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return BrokenStoreError(
            f"{path}: the database is damaged ({name}: {error}). It is left as it is. "
            "Move it away and let this machine fetch its state from another master, or restore a backup"
        )
    if primary in _BROKEN:
        return BrokenStoreError(
            f"{path}: reading or writing failed ({name}: {error}). Look at the kernel's log for errors of the disk"
        )
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{path}: another process holds the database; stop it first (one daemon per state directory)")
    return StoreError(f"{path}: the database refused ({name}: {error})")
