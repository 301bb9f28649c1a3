"""Which serials were served: remembered over restarts, so that they never go back."""

import json
from collections.abc import Mapping
from pathlib import Path

from beonss.core.zones.records import DomainName, domain, shown
from beonss.core.zones.transfer_serials import Served
from beonss.errors import StoreError
from beonss.store.statefile import read_file, write_file


def load_serials(path: Path) -> dict[DomainName, Served]:
    """Return what was served last; empty if nothing was.

    Raises:
        StoreError: the file cannot be read, or is not what :func:`save_serials` wrote.
    """
    data = read_file(path)
    if data is None:
        return {}
    try:
        document = json.loads(data)
        return {domain(name): Served(int(serial), str(digest)) for name, (serial, digest) in document.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise StoreError(
            f"{path}: is damaged; remove it, and raise the version of the description so that no serial goes back"
        ) from None


def save_serials(path: Path, served: Mapping[DomainName, Served]) -> None:
    """Remember what is served.

    Raises:
        StoreError: it cannot be written.
    """
    document = {shown(name): [each.serial, each.digest] for name, each in served.items()}
    write_file(path, json.dumps(document, indent=1).encode("ascii"), 0o644)
