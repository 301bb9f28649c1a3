"""Zone files of a master, read from disk, and all static records put together and checked."""

import hashlib
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path

from beonss.core.names.description import DescriptionError, Problem
from beonss.core.names.naming import Naming
from beonss.core.zones.overlay import Overlay, StaticRecord
from beonss.core.zones.overlay_check import check_overlay
from beonss.core.zones.records import DomainName, domain, folded
from beonss.errors import ConfigurationError
from beonss.store.statefile import read_given
from beonss.wire.tsig import Key, read_keys

#: SHA-256 of files as they were read, by absolute path.
Digests = MutableMapping[str, str]


def load_overlay(naming: Naming, directory: Path, digests: Digests | None = None) -> Overlay:
    """Return the static records of a description and of the zone files it names.

    Args:
        naming: the compiled description.
        directory: what names of zone files are relative to: where the description lies.
        digests: gets those of all files that were read, included ones too.

    Raises:
        DescriptionError: a file cannot be read, or records in it cannot be served; ``.problems`` says every reason.
    """
    settings = naming.description.dns
    records: list[StaticRecord] = list(settings.records)
    problems: list[Problem] = []
    digests = {} if digests is None else digests
    include = partial(_include, digests)
    for written in settings.zone_files:
        # Only now: dnspython takes a tenth of a second to load.
        from beonss.wire.zonefile import read_zone  # noqa: PLC0415

        path = directory / written.text
        try:
            text = _read(path, digests)
        except ConfigurationError as error:
            problems.append(Problem(naming.source, written.line, written.option, str(error)))
            continue
        found, mistakes = read_zone(text, str(path), origin=domain(naming.zone), ttl=naming.ttl, include=include)
        records += found
        problems += mistakes
    overlay = Overlay(records)
    if not problems and settings.zone_files:
        problems += check_overlay(naming, overlay)
    if problems:
        raise DescriptionError(problems)
    return overlay


#: Bytes of a file that is read: as much as beonss.wire.zonefile takes.
MAX_SIZE = 1 << 26


def _include(digests: Digests, name: str, within: str) -> tuple[str, str]:
    path = Path(within).parent / name
    return _read(path, digests), str(path)


def _read(path: Path, digests: Digests | None = None) -> str:
    try:
        data = read_given(path, MAX_SIZE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from None
    if digests is not None:
        digest = hashlib.sha256(data).hexdigest()
        if digests.setdefault(str(path.absolute()), digest) != digest:
            raise ConfigurationError(f"{path}: was changed while it was read; try again")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is not UTF-8; write other bytes in names as \\DDD") from None


def load_keys(naming: Naming, directory: Path) -> dict[DomainName, Key]:
    """Return the TSIG keys of the files that a description names.

    Args:
        naming: the compiled description.
        directory: what names of files are relative to.

    Raises:
        DescriptionError: a file cannot be read, anybody may read it, or a key that is used is in none of them.
    """
    settings = naming.description.dns
    keys: dict[DomainName, Key] = {}
    problems: list[Problem] = []
    for written in settings.key_files:
        path = directory / written.text
        try:
            text = _read(path)
            if path.stat().st_mode & 0o007:
                raise ConfigurationError(f"{path}: everybody can read it: chmod 600 {path}")
        except (ConfigurationError, OSError) as error:
            problems.append(Problem(naming.source, written.line, written.option, str(error)))
            continue
        found, mistakes = read_keys(text, str(path))
        problems += mistakes
        keys.update(found)
    if not problems:
        for used in settings.keys_used:
            if folded(domain(used.text)) not in keys:
                text = f"the key {used.text} is in none of the files in [dns.transfer] key_files; tsig-keygen makes one"
                problems.append(Problem(naming.source, used.line, used.option, text))
    if problems:
        raise DescriptionError(problems)
    return keys
