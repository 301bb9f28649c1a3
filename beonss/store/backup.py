"""Backups of a master: written beside their place, read back, then put there; and state directories made of them.

What is in one: the registers with their vector, this master's key and certificate, the member list, the cluster's
public key, on demand its private one. What is not: the incarnation and the machine id, so that a restored master takes
a new one whatever happens; cursors and marks of deliveries, and acknowledgements, which would be lies about the
present; the audit log. See decision 0020, and :mod:`beonss.wire.backup` for the format.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register
from beonss.errors import ConfigurationError, MalformedError, StoreError
from beonss.store.database import Database
from beonss.store.exports import NewFiles
from beonss.store.keys import load_identity, load_roster
from beonss.store.statedirectory import (
    CLUSTER_KEY,
    CLUSTER_PUBLIC,
    DATABASE,
    MEMBER_CERTIFICATE,
    MEMBER_KEY,
    MEMBERS,
    make_state_directory,
    refuse_used,
)
from beonss.store.statefile import write_new
from beonss.wire.backup import MAX_LINE, STATE_FILES, Header, Item, Sealing, StateFile, Unsealing, Vector

#: What the database is called while it is being restored.
UNFINISHED = "accounts.restoring"
#: Registers in one transaction of a restoration.
_BATCH = 1000
_LEVEL = 6
#: wbits of zlib for the gzip format.
_GZIP = 31


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds.

    Attributes:
        files: names of the files of the state directory.
        conflicts: accounts that are not served.
    """

    header: Header
    files: tuple[str, ...]
    registers: int
    users: int
    groups: int
    conflicts: int


def state_files(state: Path, *, cluster_key: bool = False) -> list[StateFile]:
    """Read what goes into a backup from a state directory; the keys are looked at, not only copied.

    Args:
        state: the directory.
        cluster_key: the cluster's private key as well.

    Raises:
        ConfigurationError: something is missing there.
        StoreError: something cannot be read.
    """
    load_identity(state)
    load_roster(state)
    names = [CLUSTER_PUBLIC, MEMBERS, MEMBER_CERTIFICATE, MEMBER_KEY]
    if cluster_key:
        if not (state / CLUSTER_KEY).exists():
            raise ConfigurationError(f"{state / CLUSTER_KEY} is not here; back it up where it is kept")
        names.insert(0, CLUSTER_KEY)
    try:
        return [StateFile(name, (state / name).read_bytes()) for name in names]
    except OSError as error:
        raise StoreError(f"{state}: cannot be read: {error}") from None


class BackupFile:
    """A backup in the making; use it in a ``with`` statement.

    Args:
        path: where it goes, mode 0600.
        overwrite: replace what is there.

    Raises:
        ConfigurationError: there is a file.
        StoreError: none can be made.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._path = path
        self._files = NewFiles({path: 0o600}, overwrite=overwrite)
        self._sealing = Sealing()
        self._packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def __enter__(self) -> "BackupFile":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing half done behind."""
        self._files.abandon()

    def add(self, items: Iterable[Item]) -> None:
        """Write items.

        Raises:
            StoreError: the disk is full or broken.
        """
        for item in items:
            self._files.write(self._path, self._packing.compress(self._sealing.line(item)))

    def finish(self, vector: Mapping[str, int]) -> Contents:
        """Write the end, read everything back from the disk, and put the file in its place.

        Raises:
            StoreError: it cannot be written, or is not what was written.
        """
        self.add([Vector(vector)])
        self._files.write(self._path, self._packing.compress(self._sealing.seal()) + self._packing.flush())
        try:
            contents = examine(self._files.written(self._path))
        except MalformedError as error:
            raise StoreError(f"{self._path}: what was written reads back wrong ({error}); the disk is bad") from None
        self._files.finish()
        return contents


def items(path: Path) -> Iterator[Item]:
    """Yield what a backup holds, its end last; if there is no end, an error.

    Raises:
        MalformedError: it is no whole backup.
        ConfigurationError: there is no such file.
        StoreError: it cannot be read.
    """
    unsealing = Unsealing()
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(MAX_LINE + 1):
                if not line.endswith(b"\n"):
                    raise MalformedError(f"{path}: the backup is cut off or holds a line that is too long")
                item = unsealing.read(line)
                if item is not None:
                    yield item
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise MalformedError(f"{path}: is no backup, or is cut off or damaged") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    if not unsealing.complete:
        raise MalformedError(f"{path}: the backup is cut off")


def examine(path: Path) -> Contents:
    """Read a whole backup and say what it holds; raises as :func:`items`."""
    view = AccountView()
    header: Header | None = None
    files: list[str] = []
    registers = 0
    batch: list[Register] = []
    for item in items(path):
        if isinstance(item, Register):
            batch.append(item)
            registers += 1
            if len(batch) == _BATCH:
                view.apply(batch)
                batch.clear()
        elif isinstance(item, StateFile):
            files.append(item.name)
        elif isinstance(item, Header):
            header = item
    view.apply(batch)
    assert header is not None
    users, groups = view.count("user"), view.count("group")
    return Contents(header, tuple(files), registers, users, groups, len(view.conflicts()))


def restore(path: Path, state: Path, progress: Callable[[int], None] = lambda _: None) -> Contents:
    """Make a state directory of a backup; what begins there is a new life of that master.

    Args:
        path: the backup; all of it is read and checked first.
        state: the directory; it must be new, or hold nothing of a master.
        progress: called with the number of registers written so far.

    Raises:
        ConfigurationError: the directory is used, or the backup lacks something.
        MalformedError: it is no whole backup; nothing was written.
        StoreError: it cannot be written; what was is taken away again.
    """
    contents = examine(path)
    refuse_used(state)
    missing = {CLUSTER_PUBLIC, MEMBERS, MEMBER_CERTIFICATE, MEMBER_KEY} - set(contents.files)
    if missing:
        raise ConfigurationError(f"{path}: lacks {', '.join(sorted(missing))}; it cannot be restored")
    make_state_directory(state)
    try:
        files = _restore_database(path, state, contents.header.cluster, progress)
        # The private key last: without it the directory is nobody's, and no master starts from it.
        for name in STATE_FILES:
            if name in files:
                write_new(state / name, files[name], STATE_FILES[name])
        identity, roster = load_identity(state), load_roster(state)
        if (identity.name, roster.cluster) != (contents.header.master, contents.header.cluster):
            raise ConfigurationError(f"{path}: its keys are not those of the master it says it is of")
    except BaseException:
        for name in (DATABASE, *STATE_FILES, *(UNFINISHED + suffix for suffix in ("", "-wal", "-shm", "-journal"))):
            (state / name).unlink(missing_ok=True)
        raise
    return contents


def _restore_database(path: Path, state: Path, cluster: str, progress: Callable[[int], None]) -> dict[str, bytes]:
    for leftover in state.glob(UNFINISHED + "*"):
        leftover.unlink()
    files: dict[str, bytes] = {}
    batch: list[Register] = []
    count = 0
    with closing(Database(state / UNFINISHED, cluster)) as database:
        for item in items(path):
            if isinstance(item, StateFile) and item.name in STATE_FILES:
                files[item.name] = item.data
            elif isinstance(item, Register):
                batch.append(item)
                if len(batch) == _BATCH:
                    database.merge(batch)
                    count += len(batch)
                    progress(count)
                    batch.clear()
            elif isinstance(item, Vector):
                database.merge(batch, item.covers)
                progress(count + len(batch))
    (state / UNFINISHED).rename(state / DATABASE)
    return files
