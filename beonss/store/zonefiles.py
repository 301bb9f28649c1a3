"""Zone files of a master, read from disk, and all static records put together and checked."""

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from beonss.core.names.description import DescriptionError, Problem
from beonss.core.names.naming import Naming
from beonss.core.zones.overlay import Overlay, StaticRecord
from beonss.core.zones.overlay_check import check_overlay
from beonss.core.zones.records import DomainName, domain, folded
from beonss.errors import ConfigurationError
from beonss.store.kept_core import FilesRead
from beonss.store.statefile import read_given
from beonss.wire.tsig import Key, read_keys

#: SHA-256 of files as they were read, by absolute path.
Digests = MutableMapping[str, str]


class ZoneTexts:
    """What zone files said when they were read last: one that has not changed is not taken apart again."""

    def __init__(self) -> None:
        self._known: dict[_Origin, tuple[FilesRead, Sequence[StaticRecord]]] = {}

    def find(self, origin: "_Origin", directory: Path, digests: Digests) -> Sequence[StaticRecord] | None:
        """Return the records of a file, None where it, or a file that it includes, has changed.

        Args:
            origin: the file.
            directory: where the description lies.
            digests: gets those of the files.
        """
        known = self._known.get(origin)
        if known is None or not known[0].would_be_read(directory):
            return None
        digests.update(known[0].digests)
        return known[1]

    def keep(self, found: Mapping["_Origin", tuple[FilesRead, Sequence[StaticRecord]]]) -> None:
        """Remember these files, and no others."""
        self._known = dict(found)


class _Origin(NamedTuple):
    """A zone file, and what else decides which records its text stands for."""

    path: str
    zone: DomainName
    ttl: int


def load_overlay(
    naming: Naming, directory: Path, digests: Digests | None = None, texts: ZoneTexts | None = None
) -> Overlay:
    """Return the static records of a description and of the zone files it names.

    Args:
        naming: the compiled description.
        directory: what names of zone files are relative to: where the description lies.
        digests: gets those of all files that were read, included ones too.
        texts: what was read before.

    Raises:
        DescriptionError: a file cannot be read, or records in it cannot be served; ``.problems`` says every reason.
    """
    settings = naming.description.dns
    records: list[StaticRecord] = list(settings.records)
    problems: list[Problem] = []
    digests = {} if digests is None else digests
    texts = ZoneTexts() if texts is None else texts
    read: dict[_Origin, tuple[FilesRead, Sequence[StaticRecord]]] = {}
    for written in settings.zone_files:
        path = directory / written.text
        origin = _Origin(str(path), domain(naming.zone), naming.ttl)
        own: dict[str, str] = {}
        found = texts.find(origin, directory, own)
        if found is None:
            # Only now: dnspython takes a tenth of a second to load.
            from beonss.wire.zonefile import read_zone  # noqa: PLC0415

            try:
                text = _read(path, own)
            except ConfigurationError as error:
                problems.append(Problem(naming.source, written.line, written.option, str(error)))
                continue
            found, mistakes = read_zone(
                text, origin.path, origin=origin.zone, ttl=origin.ttl, include=partial(_include, own)
            )
            problems += mistakes
        records += found
        for each, digest in own.items():
            if digests.setdefault(each, digest) != digest:
                text = f"{each}: was changed while it was read; try again"
                problems.append(Problem(naming.source, written.line, written.option, text))
        read[origin] = FilesRead(str(directory.absolute()), tuple(own.items())), found
    overlay = Overlay(records)
    if not problems and settings.zone_files:
        problems += check_overlay(naming, overlay)
    if problems:
        raise DescriptionError(problems)
    texts.keep(read)
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
