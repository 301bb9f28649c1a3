"""Small files that are replaced as a whole: a reader sees the old or the new one, also after a power cut."""

import errno
import os
import stat
from pathlib import Path

from beonss.errors import ConfigurationError, StoreError


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write ``data`` to ``path``, in place of what is there: a reader sees the old or the new, also after a power cut.

    Args:
        path: the file; its directory must exist.
        data: all of its new content.
        mode: its permissions, whatever the umask.

    Raises:
        StoreError: it cannot be written; what was there before is untouched.
    """
    temporary = _written(path, data, mode)
    try:
        temporary.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, as :func:`write_file` does.

    Raises:
        ConfigurationError: it exists.
        StoreError: it cannot be written.
    """
    temporary = _written(path, data, mode)
    try:
        # link(2) fails where rename(2) would replace.
        os.link(temporary, path)
        _flush_directory(path.parent)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists; it is never overwritten") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _written(path: Path, data: bytes, mode: int) -> Path:
    """Return a new file beside ``path`` that holds ``data``, flushed."""
    # Not "secrets", which loads much for a start that has to be quick.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    return temporary


def read_file(path: Path, limit: int = 1 << 24) -> bytes | None:
    """Return the content of a file of at most ``limit`` bytes, None if there is no such file.

    Raises:
        StoreError: it cannot be read or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise StoreError(f"{path}: has more than {limit} bytes; this is not what we wrote")
    return data


def read_given(path: Path, limit: int, *, ordinary: bool = True) -> bytes:
    """Return the content of a file that somebody named, of at most ``limit`` bytes.

    Args:
        path: the file.
        limit: more is an error; ``/dev/zero`` has no end.
        ordinary: refuse what is no ordinary file, and so never wait for a FIFO's writer.

    Raises:
        OSError: it cannot be read; ``strerror`` is for people.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if ordinary else 0))
    with os.fdopen(descriptor, "rb") as file:
        if ordinary and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit >> 10} KiB")
    return data


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
