"""Disks that can lose their power: files in memory under the real SQLite, through a VFS of our own.

The VFS is registered with the very libsqlite3 that Python's ``sqlite3`` uses (https://www.sqlite.org/vfs.html), so
:class:`~beonss.store.database.Database` runs on it unchanged. Each file knows what was written and what was synced.
A process that is killed leaves all that was written; a power cut leaves what was synced, and of the writes since then
any subset, the last ones perhaps torn within their sectors.
"""

import atexit
import ctypes
import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int, c_int64, c_void_p
from pathlib import Path
from random import Random
from typing import Any, Literal
from weakref import WeakValueDictionary

from beonss.core.replication.registers import Key, Register
from beonss.store.commits import GENERATION_BYTES, MAGIC, read_commit
from beonss.store.commits_behind import PREFIX
from beonss.store.database import LOST, Database
from beonss.store.local import Scope
from beonss.store.rows import COLUMNS, to_register

Death = Literal["kill", "power"]
SECTOR = 512
#: Of the file of commits.
HEADER = len(MAGIC) + GENERATION_BYTES
_OK, _IOERR, _NOTFOUND, _CANTOPEN, _SHORT_READ = 0, 10, 12, 14, 522
_NAME = b"beonss-simulated-disk"
_DELETE_ON_CLOSE = 0x8


class StoredFile:
    """One file: its bytes, what of them is synced, and the writes since."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = bytes(data)
        #: offset and bytes of each write; None for a truncation to that size.
        self.pending: list[tuple[int, bytes | None]] = []
        #: A name is durable once the file was synced; a file that never was vanishes in a power cut.
        self.named = bool(data)

    def put(self, offset: int, data: bytes) -> None:
        """Write, not yet durably."""
        _put(self.data, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        """Cut or extend, not yet durably."""
        _resize(self.data, size)
        self.pending.append((size, None))

    def sync(self) -> None:
        """Make it durable."""
        self.synced, self.named = bytes(self.data), True
        self.pending.clear()

    def survivors(self, random: Random) -> bytes:
        """Return what a power cut leaves of it."""
        left = bytearray(self.synced)
        share = random.choice([0.0, 0.5, 0.9, 1.0])
        for offset, data in self.pending:
            if random.random() >= share:
                continue
            if data is None:
                _resize(left, offset)
            elif random.random() < 0.8:
                _put(left, offset, data)
            else:
                _put(left, offset, data[: random.randint(0, len(data) // SECTOR) * SECTOR])
        return bytes(left)


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _resize(target: bytearray, size: int) -> None:
    del target[size:]
    target.extend(bytes(size - len(target)))


class Disk:
    """The disk of one machine, with one database on it.

    Args:
        directory: a real one; only an empty file of the database's name stands in it.
        name: of this disk, unique in the process.
        random: decides what a power cut leaves.
        scope: ``public`` for a node's.

    Attributes:
        fuse: after so many more writes and syncs the machine dies; None: never.
        death: how it then dies.
        dead: whether it died; every operation fails until :meth:`open`.
        files: by name, without a directory.
        damaged: whether it ever lost what it had kept.
    """

    def __init__(self, directory: Path, name: str, random: Random, scope: Scope = "all") -> None:
        self.scope: Scope = scope
        self.path = directory / name / "accounts.db"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.random = random
        self.files: dict[str, StoredFile] = {}
        self.fuse: int | None = None
        self.death: Death = "kill"
        self.dead = False
        self.damaged = False
        self.database: Database | None = None
        self._life = 0

    def open(self, cluster: str) -> Database:
        """Start a process on this disk: what the last one left is opened, and recovered as SQLite does."""
        self.stop(self.death if self.dead else "kill")
        self.dead, self.fuse = False, None
        with _vfs.default(self):
            self.database = Database(self.path, cluster, scope=self.scope, quick=True, commit_file=self.commit_file)
        # Whatever a kill or a power cut leaves of the file of commits is no damage.
        assert self.damaged or self.database.meta(LOST) is None, "what a death left was taken for damage"
        # A checkpoint every few commits, folding too: that is where power cuts are interesting.
        self.database._connection.execute("PRAGMA wal_autocheckpoint = 40")
        self.database.fold_rows = 5
        return self.database

    def commit_file(self, path: Path) -> "CommitsOnDisk":
        """Open the file of commits, which is not SQLite's."""
        return CommitsOnDisk(self, self.files.setdefault(path.name, StoredFile()))

    def stop(self, death: Death) -> None:
        """End the process: without a checkpoint, without a word; a power cut takes what was not synced."""
        database, self.database = self.database, None
        if death == "power":
            self.files = {
                name: StoredFile(file.survivors(self.random)) for name, file in self.files.items() if file.named
            }
        # Handles of an ended process reach nothing any more, so that closing the connection cannot write.
        self._life += 1
        if database is not None:
            database._connection.close()

    def damage(self) -> set[Key]:
        """Change one bit of the file of commits; return whose registers were in the commit that it belongs to."""
        assert self.database is not None
        commits, path = self.database._commits, Path(f"{self.path}-commits")
        if commits is None or commits.empty:
            return set()
        stored, end = self.files[path.name], commits._position
        hit = self.random.randrange(end)
        keys: set[Key] = set()
        start = HEADER
        while start < end:
            after = start + PREFIX + int.from_bytes(stored.data[start : start + 4], "big")
            if start <= hit < after:
                keys = {row.key for row in read_commit(bytes(stored.data[start + PREFIX : after]), path)[0]}
            start = after
        stored.put(hit, bytes([stored.data[hit] ^ 1 << self.random.randrange(8)]))
        stored.sync()
        self.damaged = True
        return keys

    def copy(self, directory: Path, name: str) -> "Disk":
        """Return another disk with the same bytes, as a snapshot of the whole machine is."""
        copied = Disk(directory, name, self.random)
        copied.damaged = self.damaged
        copied.files = {name: StoredFile(bytes(file.data)) for name, file in self.files.items()}
        return copied

    def registers(self) -> dict[Key, Register]:
        """Return all registers of the process that runs; past the database's own way, which folds."""
        assert self.database is not None
        found = self.database._connection.execute(f"SELECT {COLUMNS} FROM register")
        return {row.key: row for row in map(to_register, found)} | dict(self.database._unfolded.rows)

    def bytes(self) -> bytes:
        """Return everything that stands in the files, for looking for what must not."""
        return b"".join(bytes(file.data) for file in self.files.values())

    def step(self, life: int) -> bool:
        """Count one write or sync; False if the machine is dead, or dies with it."""
        if self.dead or life != self._life:
            return False
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.dead = True
                return False
        return True

    def alive(self, life: int) -> bool:
        """Say whether a handle of that life still reaches the disk."""
        return not self.dead and life == self._life

    @property
    def life(self) -> int:
        """Counts the processes that had this disk."""
        return self._life


class CommitsOnDisk:
    """The file of commits on a simulated disk (:class:`beonss.store.commits.CommitFile`)."""

    def __init__(self, disk: Disk, stored: StoredFile) -> None:
        self._disk, self._stored, self._life = disk, stored, disk.life

    def read(self) -> bytes:
        """Return all of it."""
        return bytes(self._stored.data)

    def write(self, offset: int, data: bytes) -> None:
        """Write, not yet durably."""
        self._step()
        self._stored.put(offset, data)

    def flush(self) -> None:
        """Make it durable."""
        self._step()
        self._stored.sync()

    def cut(self, size: int) -> None:
        """Shorten it, not yet durably."""
        self._step()
        self._stored.truncate(size)

    def close(self) -> None:
        """Nothing to do."""

    def _step(self) -> None:
        if not self._disk.step(self._life):
            raise OSError(errno.EIO, "the machine is dead")


class _File(Structure):
    _fields_ = [("methods", c_void_p), ("number", c_int64)]


_Int = c_int64
_XCLOSE = CFUNCTYPE(c_int, POINTER(_File))
_XREAD = CFUNCTYPE(c_int, POINTER(_File), c_void_p, c_int, _Int)
_XWRITE = CFUNCTYPE(c_int, POINTER(_File), c_void_p, c_int, _Int)
_XTRUNCATE = CFUNCTYPE(c_int, POINTER(_File), _Int)
_XFLAGS = CFUNCTYPE(c_int, POINTER(_File), c_int)
_XSIZE = CFUNCTYPE(c_int, POINTER(_File), POINTER(_Int))
_XOUT = CFUNCTYPE(c_int, POINTER(_File), POINTER(c_int))
_XCONTROL = CFUNCTYPE(c_int, POINTER(_File), c_int, c_void_p)
_XPLAIN = CFUNCTYPE(c_int, POINTER(_File))


class _Methods(Structure):
    # Version 1: no shared memory. In exclusive locking mode SQLite keeps the index of the WAL in its own.
    _fields_ = [
        ("version", c_int),
        ("close", _XCLOSE),
        ("read", _XREAD),
        ("write", _XWRITE),
        ("truncate", _XTRUNCATE),
        ("sync", _XFLAGS),
        ("size", _XSIZE),
        ("lock", _XFLAGS),
        ("unlock", _XFLAGS),
        ("reserved", _XOUT),
        ("control", _XCONTROL),
        ("sector", _XPLAIN),
        ("device", _XPLAIN),
    ]


_XOPEN = CFUNCTYPE(c_int, c_void_p, c_char_p, POINTER(_File), c_int, POINTER(c_int))
_XDELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_XACCESS = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, POINTER(c_int))
_XFULL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, c_void_p)
_XRANDOM = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)
_XSLEEP = CFUNCTYPE(c_int, c_void_p, c_int)
_XTIME = CFUNCTYPE(c_int, c_void_p, POINTER(c_double))
_XERROR = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _XOPEN),
        ("delete", _XDELETE),
        ("access", _XACCESS),
        ("full", _XFULL),
        ("dl", c_void_p * 4),
        ("random", _XRANDOM),
        ("sleep", _XSLEEP),
        ("time", _XTIME),
        ("error", _XERROR),
    ]


def _library() -> ctypes.CDLL:
    """Return the libsqlite3 that the module sqlite3 has loaded."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split(maxsplit=5)[-1]
        if "libsqlite3" in path:
            return ctypes.CDLL(path)
    raise RuntimeError(f"Python's sqlite3 {sqlite3.sqlite_version} is not linked with a shared libsqlite3")


class _Driver:
    """The VFS: one for the process and its whole life, default only while a simulated disk is opened."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        self._open: dict[int, tuple[Disk, str, StoredFile, int]] = {}
        self._disks: WeakValueDictionary[str, Disk] = WeakValueDictionary()
        self._count = 0
        self._opening: Disk | None = None

    @contextmanager
    def default(self, disk: Disk) -> Iterator[None]:
        """Let connections that are opened now use this VFS."""
        if self._library is None:
            self._register()
        assert self._library is not None
        self._opening, self._disks[str(disk.path)] = disk, disk
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        try:
            yield
        finally:
            self._library.sqlite3_vfs_register(self._former, 1)
            self._opening = None

    def _register(self) -> None:
        self._library = _library()
        self._library.sqlite3_vfs_find.restype = c_void_p
        self._library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        self._former = self._library.sqlite3_vfs_find(None)
        # A connection that outlived our functions would call into nothing.
        atexit.register(self._end)
        fixed = _guarded
        self._methods = _Methods(
            1,
            _XCLOSE(fixed(self._on_close)),
            _XREAD(fixed(self._on_read)),
            _XWRITE(fixed(self._on_write)),
            _XTRUNCATE(fixed(self._on_truncate)),
            _XFLAGS(fixed(self._on_sync)),
            _XSIZE(fixed(self._on_size)),
            _XFLAGS(lambda *_: _OK),
            _XFLAGS(lambda *_: _OK),
            _XOUT(_zero),
            _XCONTROL(lambda *_: _NOTFOUND),
            _XPLAIN(lambda *_: SECTOR),
            _XPLAIN(lambda *_: 0),
        )
        self._vfs = _Vfs(
            version=1,
            file_size=ctypes.sizeof(_File),
            longest_path=1024,
            name=_NAME,
            open=_XOPEN(fixed(self._on_open)),
            delete=_XDELETE(fixed(self._on_delete)),
            access=_XACCESS(fixed(self._on_access)),
            full=_XFULL(fixed(_full_path)),
            random=_XRANDOM(fixed(self._on_random)),
            sleep=_XSLEEP(lambda *_: _OK),
            time=_XTIME(_no_time),
            error=_XERROR(lambda *_: _OK),
        )

    def _end(self) -> None:
        for disk in list(self._disks.values()):
            disk.stop("kill")

    def _disk(self, path: str) -> Disk:
        for suffix in ("-wal", "-journal"):
            path = path.removesuffix(suffix)
        return self._disks[path]

    def _on_open(self, _: int, name: bytes | None, file: Any, flags: int, out: Any) -> int:
        disk = self._opening if name is None else self._disk(name.decode())
        if disk is None or disk.dead:
            return _CANTOPEN
        stored = StoredFile() if name is None else disk.files.setdefault(Path(name.decode()).name, StoredFile())
        self._count += 1
        self._open[self._count] = (disk, "" if name is None else name.decode(), stored, disk.life)
        file.contents.methods = ctypes.addressof(self._methods)
        file.contents.number = self._count
        if out:
            out[0] = flags
        return _OK

    def _on_close(self, file: Any) -> int:
        self._open.pop(file.contents.number, None)
        return _OK

    def _on_read(self, file: Any, buffer: int, amount: int, offset: int) -> int:
        disk, _, stored, life = self._open[file.contents.number]
        if not disk.alive(life):
            return _IOERR
        found = bytes(stored.data[offset : offset + amount])
        ctypes.memmove(buffer, found + bytes(amount - len(found)), amount)
        return _OK if len(found) == amount else _SHORT_READ

    def _on_write(self, file: Any, buffer: int, amount: int, offset: int) -> int:
        disk, _, stored, life = self._open[file.contents.number]
        if not disk.step(life):
            return _IOERR
        stored.put(offset, ctypes.string_at(buffer, amount))
        return _OK

    def _on_truncate(self, file: Any, size: int) -> int:
        disk, _, stored, life = self._open[file.contents.number]
        if not disk.step(life):
            return _IOERR
        stored.truncate(size)
        return _OK

    def _on_sync(self, file: Any, _: int) -> int:
        disk, _, stored, life = self._open[file.contents.number]
        if not disk.step(life):
            return _IOERR
        stored.sync()
        return _OK

    def _on_size(self, file: Any, out: Any) -> int:
        out[0] = len(self._open[file.contents.number][2].data)
        return _OK

    def _on_delete(self, _: int, name: bytes, __: int) -> int:
        disk = self._disk(name.decode())
        if not disk.step(disk.life):
            return _IOERR
        disk.files.pop(Path(name.decode()).name, None)
        return _OK

    def _on_access(self, _: int, name: bytes, __: int, out: Any) -> int:
        path = name.decode()
        out[0] = int(Path(path).name in self._disk(path).files)
        return _OK

    def _on_random(self, _: int, amount: int, buffer: int) -> int:
        # SQLite asks once in the life of a process, for the salts of its WALs: no history may depend on it.
        ctypes.memmove(buffer, bytes(amount), amount)
        return amount


def _guarded(method: Callable[..., int]) -> Callable[..., int]:
    def call(*arguments: Any) -> int:
        try:
            return method(*arguments)
        except Exception:  # nothing may go up into SQLite's C
            return _IOERR

    return call


def _zero(_: Any, out: Any) -> int:
    out[0] = 0
    return _OK


def _no_time(_: int, out: Any) -> int:
    out[0] = 2_460_000.5
    return _OK


def _full_path(_: int, name: bytes, size: int, buffer: int) -> int:
    data = name + b"\0"
    if len(data) > size:
        return _CANTOPEN
    ctypes.memmove(buffer, data, len(data))
    return _OK


_vfs = _Driver()
