"""The zones as a daemon hands them to its DNS processes: a file in memory, read by each of them.

It holds Python's own serialization (pickle), which only ever goes from the daemon to processes that it started, of
the same version of this program, over a descriptor that nobody else has. The other way nothing but JSON is believed.
"""

import copyreg
import io
import mmap
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from beonss import __version__
from beonss.core.zones.records import Address, DomainName
from beonss.core.zones.zone import UnknownZones, Zones
from beonss.errors import ConfigurationError

_HEAD: Final = f"beonss zones {__version__}\n".encode()


@dataclass(frozen=True, slots=True)
class WorkerZones:
    """All that a process needs to answer.

    Attributes:
        zones: what is served.
        identity: the NSID.
        here: this machine's own address among the nodes.
        catalog: apex of the catalog zone in lower case: questions about it are the daemon's.
        fallback: makes the fallback from the process's reactor; None for none.
    """

    zones: Zones | UnknownZones
    identity: bytes = b""
    here: Address | None = None
    catalog: DomainName | None = None
    fallback: Callable[[Any], Any] | None = None


def _frozen(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


def _reduced(mapping: MappingProxyType[Any, Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return _frozen, (dict(mapping),)


class _Writer(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()
    # Descriptions hold mappings that nobody can change, and pickle knows no such thing.
    dispatch_table[MappingProxyType] = _reduced


def write_zones(zones: WorkerZones) -> int:
    """Return the descriptor of a file without a name that holds the zones; the caller closes it."""
    buffer = io.BytesIO()
    _Writer(buffer, pickle.HIGHEST_PROTOCOL).dump(zones)
    descriptor = _unnamed_file()
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(_HEAD + buffer.getvalue())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_zones(descriptor: int) -> WorkerZones:
    """Return the zones in a file of :func:`write_zones`; several processes may read it at the same time.

    Raises:
        ConfigurationError: another version of the program wrote it: this one was replaced while the daemon ran.
    """
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        if content[: len(_HEAD)] != _HEAD:
            raise ConfigurationError(
                f"this process is of version {__version__}, the daemon of another one; restart the daemon"
            )
        found = pickle.loads(memoryview(content)[len(_HEAD) :])  # noqa: S301 - see above
    assert isinstance(found, WorkerZones)
    return found


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("beonss-zones", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
