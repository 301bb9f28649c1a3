"""The zones of a description, read and numbered, before anybody serves them.

Apart from :mod:`beonss.daemon.dns.served_zones` so that a start can have them without what serves, transfers and
announces them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beonss.core.names.naming import Naming
from beonss.core.zones.records import DomainName
from beonss.core.zones.transfer import Edition, catalog
from beonss.core.zones.transfer_serials import Served, choose_serials
from beonss.errors import ConfigurationError
from beonss.store.kept_core import NO_FILES, FilesRead
from beonss.store.zonefiles import ZoneTexts, load_keys, load_overlay
from beonss.wire.tsig import Key


@dataclass(frozen=True, slots=True)
class Loaded:
    """Zones that can be put in force.

    Attributes:
        edition: the zones.
        keys: keys of secondaries, by name in lower case.
        served: what is to be remembered of their serials.
        alarms: what an administrator must be told.
        files: the zone files that were read.
    """

    edition: Edition
    keys: Mapping[DomainName, Key]
    served: Mapping[DomainName, Served]
    alarms: tuple[str, ...] = ()
    files: FilesRead = NO_FILES


def load_zones(
    naming: Naming,
    directory: Path,
    remembered: Mapping[DomainName, Served],
    *,
    settled: bool = False,
    texts: ZoneTexts | None = None,
) -> Loaded:
    """Read what belongs to a description and choose the serials; nothing is changed.

    Args:
        naming: the description.
        directory: its own; zone files and keys are relative to it.
        remembered: serials of former runs.
        settled: it is what the cluster has, so a serial that has not risen is raised here, with an alarm.
        texts: zone files as they were read before.

    Raises:
        ConfigurationError: a file has mistakes; or, unless it is settled, a zone that secondaries have has
            changed and its serial has not risen.
    """
    settings = naming.description.dns
    keys = load_keys(naming, directory)
    digests: dict[str, str] = {}
    edition = Edition(naming, load_overlay(naming, directory, digests, texts))
    if settings.catalog is not None:
        listed = catalog(settings.catalog, edition.zones.apexes, naming.version)
        edition = Edition(naming, edition.overlay + listed)
    choice = choose_serials(edition, remembered, guarded=bool(settings.grants))
    if choice.stale and not settled:
        raise ConfigurationError("; ".join(choice.stale))
    serials = {apex: served.serial for apex, served in choice.served.items()}
    files = FilesRead(str(directory.absolute()), tuple(digests.items()))
    return Loaded(edition.with_serials(serials), keys, choice.served, choice.stale, files)
