"""Opening the database: everything that can be wrong with a file is found here, and nothing is ever recreated.

One connection in exclusive mode: SQLite before 3.51.3 can corrupt a database in WAL mode that several connections
checkpoint (decision in docs/decisions/), so a second process must not get one.
"""

import ctypes
import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from beonss.store.failures import BrokenStoreError, UnusableStoreError, translated

#: "beon", so that file(1) and we can tell our databases from others.
APPLICATION_ID = 0x62656F6E
SCHEMA_VERSION = 1

#: statfs(2) magic numbers of file systems whose locks or fsync other machines share. From linux/magic.h and statfs(2).
NETWORK_FILE_SYSTEMS = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x19830326: "BeeGFS",
    0x20030528: "OrangeFS",
    0x01021997: "9P",
    0x564C: "NCP",
}


def file_system_magic(directory: Path) -> int:
    """Return the statfs(2) type of the file system that holds ``directory``; 0 where there is no such number."""
    if not sys.platform.startswith("linux"):
        return 0
    buffer = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(directory), buffer) != 0:
        return 0
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def schema_directory() -> Traversable:
    """Return where the package's SQL scripts are: ``v<N>.sql`` and ``upgrade-to-v<N>.sql``."""
    return resources.files("beonss.store") / "schema"


def open_connection(
    path: Path | str,
    *,
    durable: bool = True,
    version: int = SCHEMA_VERSION,
    scripts: Traversable | None = None,
    magic: Callable[[Path], int] = file_system_magic,
) -> sqlite3.Connection:
    """Open or create a database, upgraded to ``version``.

    Args:
        path: the file, or ``:memory:``.
        durable: flush the disk at each commit; False only for memory that can be fetched again (nodes).
        version: the schema wanted (an argument for tests).
        scripts: where the SQL scripts are (an argument for tests).
        magic: says on what file system a directory is (an argument for tests).

    Raises:
        UnusableStoreError: not ours, newer than we are, in use, on a network file system, or no permission.
        BrokenStoreError: the file is damaged.
    """
    scripts = schema_directory() if scripts is None else scripts
    if path != ":memory:":
        _prepare_file(Path(path), magic)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=0)
    try:
        _configure(connection, durable=durable)
        _check_owner(connection, path, version)
        _bring_up_to(connection, version, scripts)
        _check_pages(connection, path)
        # A process that was killed may have left a commit that was written and never flushed. Read by us it would be
        # told to peers as durable; the checkpoint flushes the WAL before anybody hears of it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise _opening_error(error, path) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_file(path: Path, magic: Callable[[Path], int]) -> None:
    directory = path.parent
    if not directory.is_dir():
        raise UnusableStoreError(f"{directory}: there is no such directory; `beonss init` or `beonss join` makes it")
    kind = NETWORK_FILE_SYSTEMS.get(magic(directory))
    if kind is not None:
        raise UnusableStoreError(
            f"{directory} is on a network file system ({kind}), where a commit is not sure to be on a disk; "
            "put the state directory on a local disk (--state)"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UnusableStoreError(
            f"{directory}: this user cannot write there; check the owner and mode of the directory"
        )
    try:
        # Made by us first, so that it never exists with a wider mode; SQLite gives the WAL the same one.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise UnusableStoreError(f"{path}: cannot be opened for writing: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UnusableStoreError(
                f"{path}: is no regular file, so this program did not make it. Look who put it there, and move it away"
            )
        if mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise UnusableStoreError(
            f"{path}: others may read it, and its mode cannot be set to 0600: {error.strerror}"
        ) from None
    finally:
        os.close(descriptor)


def _configure(connection: sqlite3.Connection, *, durable: bool) -> None:
    # Exclusive before WAL: the index of the WAL is then in our memory and no second process gets in.
    for statement in (
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA secure_delete = ON",
        f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}",
        "PRAGMA journal_size_limit = 67108864",
        "PRAGMA cache_size = -32768",
        # 16 MiB of WAL: folds one after the other write the same pages, which go into the file once for several.
        "PRAGMA wal_autocheckpoint = 4096",
        # What a statement would undo: kept in a file it is half of what a fold writes, with replaced hashes in it.
        "PRAGMA temp_store = MEMORY",
    ):
        connection.execute(statement)


def _check_owner(connection: sqlite3.Connection, path: Path | str, version: int) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (application or found or tables):
        raise UnusableStoreError(f"{path}: this is a database of some other program; it was not touched")
    if found > version:
        raise UnusableStoreError(
            f"{path}: written by a newer version of this program (schema {found}, this one knows up to {version}); "
            "upgrade the program, or move the file away to fetch the state anew from another master"
        )


def _bring_up_to(connection: sqlite3.Connection, version: int, scripts: Traversable) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == version:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        return
    steps = [f"v{version}.sql"] if found == 0 else [f"upgrade-to-v{n}.sql" for n in range(found + 1, version + 1)]
    # All steps in one transaction: a crash leaves the old schema whole.
    connection.execute("BEGIN EXCLUSIVE")
    for step in steps:
        for statement in _statements((scripts / step).read_text(encoding="utf-8")):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _check_pages(connection: sqlite3.Connection, path: Path | str) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise BrokenStoreError(
            f"{path}: the database is damaged ({verdict}). It is left as it is. "
            "Move it away and let this machine fetch its state from another master, or restore a backup"
        )


def _opening_error(error: sqlite3.Error, path: Path | str) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return UnusableStoreError(
            f"{path}: this is not a database; it was not touched. Is --state the right directory?"
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return UnusableStoreError(f"{path}: another process has it open; one daemon per state directory")
    return translated(error, path)
