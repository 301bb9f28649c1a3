"""Files that accounts are exported to: written beside their place, and put there whole when everything is in them."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from beonss.core.accounts.exporting import group_lines, user_lines
from beonss.core.accounts.passwdfile import UnwritableError
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.errors import ConfigurationError, StoreError
from beonss.wire.ldif import (
    UnspeakableError,
    check_name,
    container_entry,
    group_entry,
    group_entry_bis,
    header,
    user_entry,
)


class NewFiles:
    """Files in the making; nothing of them is seen under their names before :meth:`finish`.

    Args:
        modes: path to the mode it gets.
        overwrite: replace what is there.
        made: directories made for them, the innermost first: they go again if nothing comes of it.

    Raises:
        ConfigurationError: one of them exists.
        StoreError: one cannot be made.
    """

    def __init__(self, modes: Mapping[Path, int], *, overwrite: bool, made: Iterable[Path] = ()) -> None:
        self._made = tuple(made)
        self._files: dict[Path, tuple[Path, BinaryIO]] = {}
        for path in modes:
            if not overwrite and (path.exists() or path.is_symlink()):
                raise ConfigurationError(f"{path} exists; nothing was written (--overwrite replaces it)")
            if path.is_symlink() or (path.exists() and not path.is_file()):
                raise ConfigurationError(f"{path} is no ordinary file and is not replaced; nothing was written")
        try:
            for path, mode in modes.items():
                temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(temporary, flags, 0o600)
                self._files[path] = temporary, os.fdopen(descriptor, "wb")
                os.fchmod(descriptor, mode)
        except OSError as error:
            self.abandon()
            raise StoreError(f"{error.filename}: cannot be written: {error.strerror}; nothing was exported") from None

    def write(self, path: Path, data: bytes) -> None:
        """Add to a file.

        Raises:
            StoreError: the disk is full or broken.
        """
        try:
            self._files[path][1].write(data)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}; nothing was exported") from None

    def written(self, path: Path) -> Path:
        """Flush a file to the disk and return where it is until :meth:`finish`, to be read back.

        Raises:
            StoreError: the disk is full or broken.
        """
        temporary, file = self._files[path]
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
        return temporary

    def finish(self) -> None:
        """Put all files in their places, durably, each whole.

        Raises:
            StoreError: that is not possible.
        """
        try:
            for _, file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            for path, (temporary, file) in self._files.items():
                file.close()
                temporary.replace(path)
            for directory in {path.parent for path in self._files}:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise StoreError(f"the export cannot be put in its place: {error.strerror}") from None
        self._made = ()

    def abandon(self) -> None:
        """Remove what is not in its place yet."""
        for temporary, file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
            temporary.unlink(missing_ok=True)
        _unmake(self._made)

    def __enter__(self) -> "NewFiles":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing half done behind."""
        self.abandon()


class PasswdFiles:
    """``passwd``, ``shadow``, ``group`` and ``gshadow`` in a directory; shadow and gshadow with mode 0600.

    Attributes:
        left_out: (kind, name, reason) of accounts that these files cannot hold.
        counts: how many users and groups are in them.
    """

    _MODES: Mapping[str, int] = {"passwd": 0o644, "shadow": 0o600, "group": 0o644, "gshadow": 0o600}

    def __init__(self, directory: Path, *, overwrite: bool) -> None:
        self._directory = directory
        modes = {directory / name: mode for name, mode in self._MODES.items()}
        self.files = NewFiles(modes, overwrite=overwrite, made=_make(directory))
        self.left_out: list[tuple[str, str, str]] = []
        self.counts = {"user": 0, "group": 0}

    def users(self, records: Iterable[UserRecord]) -> None:
        """Add users."""
        for record in records:
            try:
                self._add("user", user_lines(record))
            except UnwritableError as error:
                self.left_out.append(("user", record.entry.name, str(error)))

    def groups(self, records: Iterable[GroupRecord]) -> None:
        """Add groups."""
        for record in records:
            try:
                self._add("group", group_lines(record))
            except UnwritableError as error:
                self.left_out.append(("group", record.entry.name, str(error)))

    def _add(self, kind: str, lines: Mapping[str, bytes]) -> None:
        for name, line in lines.items():
            self.files.write(self._directory / name, line)
        self.counts[kind] += 1


class LdifFile:
    """One LDIF file, mode 0600.

    Args:
        path: the file.
        people: distinguished name under which users go.
        groups: the same for groups.
        containers: write the entries of these two first.
        comment: for the first line.
        bis: members of groups are distinguished names (rfc2307bis).

    Raises:
        UnspeakableError: these are no distinguished names, or a container is no organizational unit.
    """

    def __init__(
        self,
        path: Path,
        *,
        people: str,
        groups: str,
        containers: bool,
        comment: str,
        overwrite: bool,
        bis: bool = False,
    ) -> None:
        check_name(people)
        check_name(groups)
        self._path, self._people, self._groups = path, people, groups
        self._bis = bis
        start = header(comment)
        if containers:
            start += b"".join(container_entry(name) for name in dict.fromkeys((people, groups)))
        self.files = NewFiles({path: 0o600}, overwrite=overwrite)
        self.files.write(path, start)
        self._written: set[tuple[str, str]] = set()
        self.left_out: list[tuple[str, str, str]] = []
        self.counts = {"user": 0, "group": 0}

    def users(self, records: Iterable[UserRecord]) -> None:
        """Add users."""
        for record in records:
            try:
                self._add("user", record.entry.name, user_entry(record, self._people))
            except UnspeakableError as error:
                self.left_out.append(("user", record.entry.name, str(error)))

    def groups(self, records: Iterable[GroupRecord]) -> None:
        """Add groups."""
        for record in records:
            try:
                entry = group_entry_bis(record, self._groups, self._people) if self._bis else None
                self._add("group", record.entry.name, entry or group_entry(record, self._groups))
            except UnspeakableError as error:
                self.left_out.append(("group", record.entry.name, str(error)))

    def _add(self, kind: str, name: str, entry: bytes) -> None:
        if (kind, name.lower()) in self._written:
            raise UnspeakableError(
                "a name in the file differs from it only in capitals, and to a directory both are one"
            )
        self._written.add((kind, name.lower()))
        self.files.write(self._path, entry)
        self.counts[kind] += 1


Export = PasswdFiles | LdifFile


def _make(directory: Path) -> list[Path]:
    """Make a directory, and those above it, and return which are new, the innermost first.

    Raises:
        StoreError: that is not possible.
    """
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    made: list[Path] = []
    try:
        for one in reversed(missing):
            one.mkdir(mode=0o700)
            made.insert(0, one)
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        _unmake(made)
        raise StoreError(f"{directory}: cannot be made: {error.strerror}") from None
    return made


def _unmake(made: Iterable[Path]) -> None:
    """Remove directories that were made for nothing; not those that somebody put something into."""
    for directory in made:
        with contextlib.suppress(OSError):
            directory.rmdir()
