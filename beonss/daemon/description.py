"""The cluster description of a running master: read from its file, replaced only by one that is proven."""

from pathlib import Path

from beonss.core.naming import Naming
from beonss.errors import ConfigurationError
from beonss.wire.description import parse

#: A description is some kilobytes; the bound keeps a wrong path (a disk, a log) from being read whole.
MAXIMUM_BYTES = 4 << 20


def read_description(path: Path) -> tuple[bytes, Naming]:
    """Read and prove a description.

    Raises:
        ConfigurationError: it cannot be read, or (:class:`beonss.core.description.DescriptionError`) has mistakes,
            all of which are named with file, line and option.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the cluster description cannot be read: {error.strerror}; name it with --config"
        ) from None
    if len(data) > MAXIMUM_BYTES:
        raise ConfigurationError(f"{path}: is larger than {MAXIMUM_BYTES >> 20} MiB: that is no cluster description")
    return data, parse(data, str(path))
