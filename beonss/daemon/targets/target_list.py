"""The delivery targets and the sources of accounts that a master's ``--targets`` file names."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from beonss.core.names.description import Settings
from beonss.daemon.targets.deliveries import Target
from beonss.errors import ConfigurationError, StoreError
from beonss.store.statefile import read_file
from beonss.targets.accountfiles import FILES
from beonss.targets.files import FilesTarget

if TYPE_CHECKING:
    from beonss.targets.directory import DirectorySettings


def read_targets(path: Path | None, state: Path, settings: Settings) -> list[Target]:
    """Return the targets, opened as far as their journals; none without a file.

    Args:
        path: the file, or None.
        state: the state directory; journals are kept in its ``targets``.
        settings: the cluster's; floors where a target names none.

    Raises:
        ConfigurationError: the file cannot be read or has mistakes.
        StoreError: a journal cannot be opened.
    """
    if path is None:
        return []
    # What speaks LDAP takes memory and time to load that a master without a file is spared.
    from beonss.targets.settings import open_targets, parse, parse_sources  # noqa: PLC0415

    data, journals = _data(path), _journals(state)
    parse_sources(data, str(path), journals)
    named = parse(data, str(path), journals, uid_floor=settings.uid_floor, gid_floor=settings.gid_floor)
    return list(open_targets(named))


def read_sources(path: Path | None, state: Path, settings: Settings) -> "tuple[DirectorySettings, ...]":
    """Return the sources; arguments and errors as for :func:`read_targets`."""
    if path is None:
        return ()
    from beonss.targets.settings import parse_sources  # noqa: PLC0415

    return parse_sources(
        _data(path), str(path), _journals(state), uid_floor=settings.uid_floor, gid_floor=settings.gid_floor
    )


def refuse_foreign_files(targets: Iterable[Target], path: Path | None) -> None:
    """Make sure that this user may change what the targets of local files stand for; root may.

    Args:
        targets: all targets.
        path: the file that names them.

    Raises:
        ConfigurationError: account files of a target belong to somebody else.
    """
    if os.geteuid() == 0:
        return
    for target in targets:
        if isinstance(target, FilesTarget):
            files = (target.etc, *(target.etc / name for name in FILES))
            foreign = next((file for file in files if _is_foreign(file)), None)
            if foreign is not None:
                raise ConfigurationError(
                    f"{path}: the target {target.name} changes {foreign}, which only its owner or root may, and this "
                    f"daemon runs as uid {os.geteuid()}; start it as root without --user, or take the target out"
                )


def _is_foreign(file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_uid != os.geteuid()
    return False


def _data(path: Path) -> bytes:
    from beonss.targets.settings import MAX_BYTES  # noqa: PLC0415

    try:
        data = read_file(path, MAX_BYTES)
    except StoreError as error:
        raise ConfigurationError(str(error)) from None
    if data is None:
        raise ConfigurationError(f"{path}: there is no such file; --targets names it")
    return data


def _journals(state: Path) -> Path:
    journals = state / "targets"
    try:
        journals.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{journals}: cannot be made: {error.strerror}") from None
    return journals
