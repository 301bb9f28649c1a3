"""Locking and replacing the account files of a directory such as ``/etc``, as shadow-utils does. Linux only.

Two locks are taken, because programs use either: the advisory lock of lckpwdf(3) on ``.pwd.lock``, and for
each file a ``.lock`` file that holds the locker's process id (made by link(2), so it is never seen empty).
A file is replaced as a whole, by rename(2), so a reader sees the old or the new one and never a part.
"""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError

#: Device, inode, time of the last change of the bytes, size: what tells that a file is still the same.
Signature = tuple[int, int, int, int]

#: lckpwdf(3) gives up after so many seconds.
LOCK_TIMEOUT = 15.0
_POLL = 0.02
#: fcntl(2) locks do not exclude threads of one process.
_ours = threading.Lock()


@contextlib.contextmanager
def locked(etc: Path, names: tuple[str, ...], timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold both kinds of lock on the files ``names`` of a directory.

    Raises:
        TemporaryTargetError: somebody else holds one longer than ``timeout`` seconds.
        PermanentTargetError: a lock cannot be made (read-only file system, no permission).
    """
    deadline = time.monotonic() + timeout
    if not _ours.acquire(timeout=timeout):
        raise TemporaryTargetError(f"{etc}: another delivery holds the lock on the account files")
    try:
        fd = _lckpwdf(etc / ".pwd.lock", deadline)
        try:
            with contextlib.ExitStack() as stack:
                for name in names:
                    stack.enter_context(_lock_file(etc / name, deadline))
                yield
        finally:
            os.close(fd)
    finally:
        _ours.release()


def _lckpwdf(path: Path, deadline: float) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PermanentTargetError(
            f"{path}: the lock of the account files cannot be opened: {error.strerror}"
        ) from None
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise TemporaryTargetError(f"{path} is held by another program; tried again later") from None
            time.sleep(_POLL)
        else:
            return fd


@contextlib.contextmanager
def _lock_file(path: Path, deadline: float) -> Iterator[None]:
    lock = path.with_name(path.name + ".lock")
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, b"%d\0" % os.getpid())
        finally:
            os.close(fd)
        while not _linked(own, lock):
            if time.monotonic() >= deadline:
                raise TemporaryTargetError(f"{lock} is held by process {_holder(lock) or '?'}; tried again later")
            time.sleep(_POLL)
    except OSError as error:
        raise PermanentTargetError(f"{lock}: cannot be made: {error.strerror}") from None
    finally:
        # On a read-only file system even this fails; what went wrong is told already.
        with contextlib.suppress(OSError):
            own.unlink(missing_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)


def _linked(own: Path, lock: Path) -> bool:
    try:
        os.link(own, lock)
    except FileExistsError:
        holder = _holder(lock)
        if holder is not None and holder != os.getpid():
            try:
                os.kill(holder, 0)
            except ProcessLookupError:
                lock.unlink(missing_ok=True)
            except PermissionError:
                pass
        elif holder == os.getpid():
            # This process holds the lock of lckpwdf(3) and made no such file: it is left from a
            # process that had the same id before the machine was started again.
            lock.unlink(missing_ok=True)
        return False
    return True


def _holder(lock: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        holder = int(lock.read_bytes()[:20].rstrip(b"\0\n"))
        return holder if 0 < holder < 2**31 else None
    return None


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """A file as it was read: its bytes, and what tells that it is still that file."""

    path: Path
    data: bytes
    signature: Signature


def read_file(path: Path) -> Snapshot | None:
    """Read an account file; None if there is none.

    Raises:
        PermanentTargetError: it is no regular file (a link would be replaced, not followed) or unreadable.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermanentTargetError(
                f"{path} is a symbolic link; replacing it would cut it off, so it is left"
            ) from None
        raise PermanentTargetError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise PermanentTargetError(f"{path} is not a regular file")
        with os.fdopen(os.dup(fd), "rb") as file:
            return Snapshot(path, file.read(), _signature(status))
    except OSError as error:
        raise PermanentTargetError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def signature(path: Path) -> Signature:
    """Return what changes when a file is written or replaced."""
    return _signature(path.lstat())


def replace_file(seen: Snapshot, data: bytes) -> None:
    """Replace a file, durably: same owner, mode and extended attributes, other bytes.

    The lock must be held. The file is looked at again just before: an editor that takes no lock is noticed.

    Raises:
        TemporaryTargetError: the file changed since it was read, or the disk is full.
        PermanentTargetError: it cannot be replaced (read-only, a mount point, no permission).
    """
    path = seen.path
    new = path.with_name(f".{path.name}.beonss")
    try:
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _fill(fd, path, data)
        finally:
            os.close(fd)
        if signature(path) != seen.signature:
            raise TemporaryTargetError(f"{path} was changed by somebody without a lock; nothing was written")
        new.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        text = f"{path}: cannot be replaced: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise TemporaryTargetError(text) from None
        if error.errno == errno.EBUSY:
            text += " (it is a mount point of its own)"
        raise PermanentTargetError(text) from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _fill(fd: int, model: Path, data: bytes) -> None:
    status = model.lstat()
    os.fchown(fd, status.st_uid, status.st_gid)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    # After the mode: an access control list is an attribute whose mask fchmod(2) would change.
    with contextlib.suppress(OSError):
        for name in os.listxattr(model, follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.setxattr(fd, name, os.getxattr(model, name, follow_symlinks=False))
    os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
