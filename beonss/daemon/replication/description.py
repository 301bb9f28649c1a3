"""The cluster description that a master starts with: the cluster's, the one it had last, or the file it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from twisted.logger import Logger

from beonss.core.names.naming import Naming
from beonss.core.replication.publication import KEPT, Published, decode_published, following
from beonss.daemon.replication.standing import standing
from beonss.errors import BeonssError, ConfigurationError
from beonss.store.statefile import read_given
from beonss.wire.description import parse

if TYPE_CHECKING:
    from beonss.store.database import Database

#: A description is some kilobytes; the bound keeps a wrong path (a disk, a log) from being read whole.
MAXIMUM_BYTES = 4 << 20

T = TypeVar("T")

log = Logger()


@dataclass(frozen=True, slots=True)
class Described:
    """A description in force.

    Attributes:
        published: its text, and the version as which it counts.
        naming: compiled and proven.
        source: the register of the cluster; the one kept from an earlier run, because the cluster's is not here or is
            refused; or the file named on the command line, not published yet.
    """

    published: Published
    naming: Naming
    source: Literal["cluster", "kept", "file"]


def read_description(path: Path) -> tuple[bytes, Naming]:
    """Read and prove a description.

    Raises:
        ConfigurationError: it cannot be read, or (:class:`beonss.core.names.description.DescriptionError`) has
        mistakes,
            all of which are named with file, line and option.
    """
    try:
        data = read_given(path, MAXIMUM_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the cluster description cannot be read: {error.strerror}; name it with --config"
        ) from None
    return data, parse(data, str(path))


def prove(published: Published) -> Naming:
    """Compile and prove a published description.

    Raises:
        ConfigurationError: this version of the software does not accept it.
    """
    return parse(published.text, published.file, published.version)


def first_description(database: "Database", path: Path) -> Described:
    """Return what a master begins with: the cluster's description, else the one kept, else the file.

    Raises:
        ConfigurationError: there is none that can be used.
    """
    refusals: list[str] = []
    kept = _attempt(refusals, lambda: _kept(database))
    found = _attempt(refusals, lambda: standing(database.register))
    if found is not None and kept is not None:
        found = following(found, kept)
    for source, published in (("cluster", found), ("kept", kept)):
        if published is not None and (naming := _attempt(refusals, partial(prove, published))) is not None:
            return Described(published, naming, "cluster" if source == "cluster" else "kept")
    try:
        text, naming = read_description(path)
    except ConfigurationError as error:
        raise ConfigurationError("\n".join([*refusals, str(error)])) from None
    return Described(Published(text, naming.version, path.name), naming, "file")


def _kept(database: "Database") -> Published | None:
    kept = database.get(KEPT)
    return None if kept is None else decode_published(kept)


def _attempt(refusals: list[str], find: Callable[[], T | None]) -> T | None:
    try:
        return find()
    except BeonssError as error:
        log.error("a description of the cluster is refused: {error}", error=str(error))
        refusals.append(str(error))
        return None
