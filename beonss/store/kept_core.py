"""The compiled form of the zones that a master served last, kept on disk: it answers before anything else is loaded.

A few kilobytes whatever the number of nodes. It belongs to one description with its zone files, one set of serials and
one version of the program; whoever uses it makes sure that these are the ones that will be in force in a moment.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from beonss import __version__
from beonss.core.cluster.endpoints import Endpoint
from beonss.errors import MalformedError, StoreError
from beonss.store.statefile import read_file, read_given, write_file

#: In the state directory.
KEPT_CORE = "dns.core"
#: Likewise: which serials were served (:mod:`beonss.store.serials`).
SERIALS = "zones.json"
#: Bytes of a zone file that is looked at, as beonss.store.zonefiles has it, which takes long to load.
LARGEST_FILE = 1 << 26
_MAGIC = b"beonss core 1\n"


@dataclass(frozen=True, slots=True)
class CoreOf:
    """What a compiled form belongs to.

    Attributes:
        digest: SHA-256 of the text of the description.
        version: as which it counts.
        serials: SHA-256 of the file of the serials that were served (:mod:`beonss.store.serials`).
        software: version of this program.
    """

    digest: str
    version: int
    serials: str
    software: str = __version__


@dataclass(frozen=True, slots=True)
class FilesRead:
    """Zone files as they were read.

    Attributes:
        directory: absolute path; the description names files relative to it.
        digests: absolute path and SHA-256 of each, of included ones too.
    """

    directory: str = ""
    digests: tuple[tuple[str, str], ...] = ()

    def would_be_read(self, directory: Path) -> bool:
        """Say whether the same is read again now, with the description in this directory; True for no files."""
        if not self.digests:
            return True
        return str(directory.absolute()) == self.directory and all(
            _digest(path) == digest for path, digest in self.digests
        )


NO_FILES = FilesRead()


@dataclass(frozen=True, slots=True)
class KeptCore:
    """What is kept.

    Attributes:
        of: what it belongs to.
        endpoints: where DNS is answered if the command line does not say.
        image, identity, networks: what the compiled core is made from (:mod:`beonss.net.dns.native`).
        files: the zone files it was made of.
    """

    of: CoreOf
    endpoints: tuple[Endpoint, ...]
    image: bytes
    identity: bytes
    networks: bytes
    files: FilesRead = NO_FILES


def encode_core(core: KeptCore) -> bytes:
    """Return the content of the file."""
    head = {
        "of": asdict(core.of),
        "endpoints": [[endpoint.host, endpoint.port] for endpoint in core.endpoints],
        "identity": core.identity.hex(),
        "networks": core.networks.hex(),
        "directory": core.files.directory,
        "files": core.files.digests,
    }
    body = json.dumps(head).encode("ascii") + b"\n" + core.image
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_core(data: bytes) -> KeptCore:
    """Read the content of the file.

    Raises:
        MalformedError: it is damaged, or of another version of the program.
    """
    start = len(_MAGIC)
    body = data[start + 32 :]
    if data[:start] != _MAGIC or hashlib.sha256(body).digest() != data[start : start + 32]:
        raise MalformedError("the kept core is damaged")
    line, _, image = body.partition(b"\n")
    try:
        head = json.loads(line)
        return KeptCore(
            CoreOf(**head["of"]),
            tuple(Endpoint(str(host), int(port)) for host, port in head["endpoints"]),
            image,
            bytes.fromhex(head["identity"]),
            bytes.fromhex(head["networks"]),
            FilesRead(str(head["directory"]), tuple((str(path), str(digest)) for path, digest in head["files"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise MalformedError("the kept core is of another version of this program") from None


def load_core(state: Path) -> KeptCore | None:
    """Return what is kept in a state directory, None if nothing is that could be used."""
    try:
        data = read_file(state / KEPT_CORE)
        return None if data is None else decode_core(data)
    except (StoreError, MalformedError):
        # It only saves time.
        return None


def save_core(state: Path, core: KeptCore | None) -> None:
    """Keep a compiled form in a state directory, or none; does nothing where it is there already.

    Raises:
        StoreError: it cannot be written.
    """
    path = state / KEPT_CORE
    if core is None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot be removed: {error.strerror}") from None
        return
    data = encode_core(core)
    if read_file(path) != data:
        write_file(path, data)


def serials_digest(path: Path) -> str:
    """Return the SHA-256 of the file of the serials, of nothing where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    return hashlib.sha256(read_file(path) or b"").hexdigest()


def _digest(path: str) -> str:
    """Return the SHA-256 of a file, empty for one that cannot be read."""
    try:
        return hashlib.sha256(read_given(Path(path), LARGEST_FILE)).hexdigest()
    except (OSError, ValueError):
        return ""
