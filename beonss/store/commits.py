"""The file of the latest commits, beside the database: one write and one flush make a commit durable.

A commit of SQLite writes every page that it touched, of the table and of its indexes, and keeps the interpreter's lock
changing hands for each statement. A commit here is one record of the registers that it changed. Now and then all of
them are folded into the database in one of its own transactions; that names a new generation, from which moment the
records of the one before are void, whatever of them is still in the file (docs/decisions/0034). An opening reads the
records of the database's generation, in order, up to the first that is not whole, and folds them; what stands whole
behind that one is told apart (:mod:`beonss.store.commits_behind`).

The file, integers big-endian: 8 bytes ``beoncmt1``, 8 of the generation, then records: 4 bytes of length, 4 of CRC-32
over length and body, carried on from the record before (the first: from the header), then the body.
"""

import errno
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from beonss.core.replication.registers import Register
from beonss.errors import MalformedError
from beonss.store.commits_behind import PREFIX, record_sum, whole_behind
from beonss.store.failures import BrokenStoreError, DiskFullError, UnusableStoreError
from beonss.wire.packing import Fields, unpack
from beonss.wire.registers import MAXIMUM_ROWS, registers_from_plain

MAGIC = b"beoncmt1"
GENERATION_BYTES = 8
_HEADER = len(MAGIC) + GENERATION_BYTES
#: No file is longer: what has no room goes into the tables, with all that is there.
MAX_LENGTH = 8 << 20


class CommitFile(Protocol):
    """The file, open for reading and writing."""

    def read(self) -> bytes:
        """Return all of it."""

    def write(self, offset: int, data: bytes) -> None:
        """Write, not yet durably; raises OSError."""

    def flush(self) -> None:
        """Make durable what was written; raises OSError."""

    def cut(self, size: int) -> None:
        """Shorten it; raises OSError."""

    def close(self) -> None:
        """Let it go."""


class DiskFile:
    """A file of the operating system's, made with mode 0600 where there is none.

    Raises:
        UnusableStoreError: it cannot be opened for writing, or is no file.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Nobody is waited for at a pipe.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(path, flags, 0o600)
            try:
                mode = os.fstat(self._descriptor).st_mode
                if not stat.S_ISREG(mode):
                    raise _strange(path)
                if mode & 0o077:
                    os.fchmod(self._descriptor, 0o600)
                directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    # The name must survive a power cut as well as what is written under it.
                    os.fsync(directory)
                finally:
                    os.close(directory)
            except BaseException:
                os.close(self._descriptor)
                raise
        except OSError as error:
            if error.errno in {errno.ENXIO, errno.EISDIR}:
                raise _strange(path) from None
            raise UnusableStoreError(f"{path}: cannot be opened for writing: {error.strerror}") from None

    def read(self) -> bytes:
        """Return all of it, but no more than a file of ours can have."""
        pieces, position = [], 0
        while position <= MAX_LENGTH and (piece := os.pread(self._descriptor, 1 << 20, position)):
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``."""
        while data:
            count = os.pwrite(self._descriptor, data, offset)
            offset, data = offset + count, data[count:]

    def flush(self) -> None:
        """Flush the disk (fdatasync(2) also flushes a new length)."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(self._descriptor)
        else:
            os.fsync(self._descriptor)

    def cut(self, size: int) -> None:
        """Shorten it."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def _strange(path: Path) -> UnusableStoreError:
    return UnusableStoreError(
        f"{path}: is no regular file, so this program did not make it. Look who put it there, and move it away"
    )


class Found(NamedTuple):
    """What an opening finds in the file.

    Attributes:
        whole: the bodies of the records of a generation, up to the first that is not whole.
        behind: the bodies of records behind that one that were whole once, perhaps of an older generation; most often
            there are none.
        position: of that one, bytes from the beginning of the file.
    """

    whole: Sequence[bytes]
    behind: Sequence[bytes]
    position: int


class Commits:
    """The records of one generation.

    Args:
        file: owned from now on.
        path: of the file, for people.
    """

    def __init__(self, file: CommitFile, path: Path | str) -> None:
        self._file = file
        self._path = path
        self._generation = b""
        self._position = 0
        self._sum = 0
        # What is in the file of this generation; the header is written with the first record.
        self.empty = True

    def read(self, generation: bytes | None) -> Found:
        """Return the records of a generation; none if the file is of another one.

        Raises:
            BrokenStoreError: the file cannot be read.
        """
        try:
            data = self._file.read()
        except OSError as error:
            raise self._broken(error) from None
        if generation is None or not data.strip(b"\0"):
            return Found((), (), 0)
        header = MAGIC + generation
        position, known, whole, view = _HEADER, zlib.crc32(header), [], memoryview(data)
        while position + PREFIX <= len(data):
            end = position + PREFIX + int.from_bytes(data[position : position + 4], "big")
            after = record_sum(view, position, end, known)
            if end > len(data) or data[position + 4 : position + PREFIX] != after.to_bytes(4, "big"):
                break
            whole.append(data[position + PREFIX : end])
            position, known = end, after
        if not whole and data[:_HEADER] != header and data.startswith(MAGIC):
            return Found((), (), 0)
        # Where the header itself was changed, the first record's sum still says of which generation it is.
        return Found(tuple(whole), tuple(whole_behind(data, position, known)), position)

    def begin(self, generation: bytes) -> None:
        """Void all records: those that follow belong to another generation, which the database names by now."""
        self._generation = generation
        self._position, self.empty = 0, True

    def cut(self) -> None:
        """Empty the file: its records are folded, and nobody shall find old hashes in it."""
        try:
            self._file.cut(0)
        except OSError as error:
            raise self._broken(error) from None

    def has_room(self, body: bytes) -> bool:
        """Say whether a record may be added."""
        return (self._position or _HEADER) + PREFIX + len(body) <= MAX_LENGTH

    def append(self, body: bytes) -> None:
        """Add a record, for which there must be room, and flush the disk.

        Raises:
            DiskFullError: there is no room; nothing was added.
            BrokenStoreError: writing or flushing failed; nobody knows what is on the disk.
        """
        head, known, position = b"", self._sum, self._position
        if self.empty:
            head, position = MAGIC + self._generation, 0
            known = zlib.crc32(head)
        length = len(body).to_bytes(4, "big")
        known = zlib.crc32(body, zlib.crc32(length, known))
        data = b"".join((head, length, known.to_bytes(4, "big"), body))
        try:
            self._file.write(position, data)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                # What was written of it is no whole record, and the next one is written over it.
                raise DiskFullError(
                    f"{self._path}: the disk is full ({error.strerror}); the change was not made. "
                    "Free some space and try again"
                ) from None
            raise self._broken(error) from None
        try:
            self._file.flush()
        except OSError as error:
            raise self._broken(error) from None
        self._position, self._sum, self.empty = position + len(data), known, False

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _broken(self, error: OSError) -> BrokenStoreError:
        return BrokenStoreError(
            f"{self._path}: reading or writing failed ({error.strerror}). "
            "Look at the kernel's log for errors of the disk"
        )


def read_commit(body: bytes, path: Path | str) -> tuple[tuple[Register, ...], dict[str, int]]:
    """Return the registers of a record and how far it moves the vector.

    Args:
        body: as :meth:`Commits.read` returns it.
        path: of the file, for people.

    Raises:
        UnusableStoreError: another version wrote it.
    """
    try:
        item = unpack(body)
        if not isinstance(item, list) or len(item) != 2:
            raise MalformedError("a commit has another shape")
        fields = Fields({"rows": item[0], "vector": item[1]}, "commit")
        return registers_from_plain(fields.array("rows", MAXIMUM_ROWS)), fields.vector("vector")
    except MalformedError as error:
        # Its checksum is right: it was written so.
        raise UnusableStoreError(
            f"{path}: holds a commit that this version cannot read ({error}); start the version that wrote it, "
            "and end it in order"
        ) from None
