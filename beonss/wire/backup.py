r"""The backup of a master: lines of JSON, in a file that gzip(1) reads.

====================  ======================================================================================
line                  what it is
====================  ======================================================================================
``beonss-backup``     first: version of this format (1), ``cluster``, ``master``, ``time`` (ms since the
                      epoch), ``software``
``file``, ``content`` a file of the state directory: keys, certificate, member list
``register``          [object, field, value, time, origin, sequence, author, context]
``vector``            what the registers cover, after the last of them
``end``               last: how many ``registers``, and the ``sha256`` of all bytes before this line
====================  ======================================================================================

Contents and values are text, or, where they are not ASCII, ``{"base64": ...}``. The registers are an answer to somebody
who has nothing (:mod:`beonss.core.replication.pulling`): each is as it was when the vector was taken, or newer. Lines
of a kind that a newer version added are passed over. A backup holds all hashes and a private key: who reads it is this
master.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beonss.core.replication.registers import MAX_VALUE, Key, Register, Stamp, check_register, check_vector
from beonss.errors import MalformedError

VERSION = 1
#: The longest line, in bytes: a value of the greatest size in base64, and what belongs to it.
MAX_LINE = 2 * MAX_VALUE + (64 << 10)
#: Files of the state directory that may be in a backup, and the mode each is restored with.
STATE_FILES: Mapping[str, int] = {
    "cluster.pub": 0o644,
    "members": 0o644,
    "member.crt": 0o644,
    "cluster.key": 0o600,
    "member.key": 0o600,
}


@dataclass(frozen=True, slots=True)
class Header:
    """Of what, and from when, a backup is.

    Attributes:
        cluster: the cluster's id.
        master: name of the master.
        time: ms since the epoch.
        software: version of the program that wrote it.
    """

    cluster: str
    master: str
    time: int
    software: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class StateFile:
    """A file of the state directory; it may be a key."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Vector:
    """What the registers before it cover."""

    covers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class End:
    """The seal: how many registers there are, and the SHA-256 of what came before, in hex."""

    registers: int
    digest: str


Item = Header | StateFile | Register | Vector | End


def register_to_json(register: Register) -> list[Any]:
    """Return a register as a JSON array."""
    return [*register.key, _plain(register.value), *register.stamp, register.author, dict(register.context)]


def register_from_json(raw: object) -> Register:
    """Read a register; further members that a newer version may append are ignored.

    Raises:
        MalformedError: it is none, or out of its bounds.
    """
    if not isinstance(raw, list) or len(raw) < 8:
        raise MalformedError("a register in a backup has a wrong shape")
    name, kind, value, time, origin, sequence, author, context = raw[:8]
    texts = (name, kind, origin, author)
    if not all(isinstance(text, str) for text in texts) or not all(type(one) is int for one in (time, sequence)):
        raise MalformedError("a register in a backup has a wrong shape")
    if not isinstance(context, dict) or not all(type(one) is int for one in context.values()):
        raise MalformedError("the context of a register in a backup has a wrong shape")
    register = Register(Key(name, kind), _bytes(value), Stamp(time, origin, sequence), author, context)
    check_register(register)
    return register


def _plain(data: bytes) -> Any:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(raw: object) -> bytes:
    try:
        if isinstance(raw, str):
            return raw.encode("ascii")
        if isinstance(raw, dict) and isinstance(raw.get("base64"), str):
            return base64.b64decode(raw["base64"], validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        pass
    raise MalformedError("a value in a backup is neither text nor base64")


def encode(item: Item) -> bytes:
    """Return the line of an item, with its newline."""
    if isinstance(item, Header):
        words = {"cluster": item.cluster, "master": item.master, "time": item.time, "software": item.software}
        return _line({"beonss-backup": VERSION, **words})
    if isinstance(item, StateFile):
        return _line({"file": item.name, "content": _plain(item.data)})
    if isinstance(item, Register):
        return _line({"register": register_to_json(item)})
    if isinstance(item, Vector):
        return _line({"vector": dict(item.covers)})
    return _line({"end": {"registers": item.registers, "sha256": item.digest}})


def decode(line: bytes) -> Item | None:
    """Read a line; None if it is of a kind that this version does not know.

    Raises:
        MalformedError: it is no line of a backup. The text quotes nothing of it.
    """
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedError("a line of a backup is no JSON") from None
    if not isinstance(raw, dict):
        raise MalformedError("a line of a backup is no JSON object")
    if "register" in raw:
        return register_from_json(raw["register"])
    if "beonss-backup" in raw:
        return _header(raw)
    if "file" in raw:
        if not isinstance(raw["file"], str):
            raise MalformedError("a file in a backup has a wrong shape")
        return StateFile(raw["file"], _bytes(raw.get("content")))
    if "vector" in raw:
        covers = raw["vector"]
        if not isinstance(covers, dict) or not all(type(one) is int for one in covers.values()):
            raise MalformedError("the vector of a backup has a wrong shape")
        check_vector(covers)
        return Vector(covers)
    if "end" in raw:
        end = raw["end"]
        count, digest = (end.get("registers"), end.get("sha256")) if isinstance(end, dict) else (None, None)
        if type(count) is not int or not isinstance(digest, str):
            raise MalformedError("the end of a backup has a wrong shape")
        return End(count, digest)
    return None


def _header(raw: Mapping[str, Any]) -> Header:
    version, time = raw["beonss-backup"], raw.get("time")
    texts = [raw.get(name, "") for name in ("cluster", "master", "software")]
    if type(version) is not int or type(time) is not int or not all(isinstance(text, str) for text in texts):
        raise MalformedError("the header of a backup has a wrong shape")
    if version > VERSION:
        raise MalformedError(f"this backup has format {version}, this program knows {VERSION}; use a newer one")
    cluster, master, software = texts
    return Header(cluster, master, time, software)


@dataclass(slots=True)
class Sealing:
    """Makes the lines of one backup, counts and sums them up."""

    registers: int = 0
    _sum: Any = field(default_factory=hashlib.sha256)

    def line(self, item: Item) -> bytes:
        """Return the line of an item, which is part of the sum from now on."""
        line = encode(item)
        self._sum.update(line)
        self.registers += isinstance(item, Register)
        return line

    def seal(self) -> bytes:
        """Return the last line."""
        return encode(End(self.registers, self._sum.hexdigest()))


@dataclass(slots=True)
class Unsealing:
    """Reads the lines of one backup, in their order, and says whether all of it is there.

    Attributes:
        header: its first line; None before.
        vector: what it covers; None before it came.
        complete: whether its end came and everything before it is right.
    """

    header: Header | None = None
    vector: Vector | None = None
    registers: int = 0
    complete: bool = False
    _sum: Any = field(default_factory=hashlib.sha256)

    def read(self, line: bytes) -> Item | None:
        """Take one line, with its newline.

        Raises:
            MalformedError: it does not belong there, or what was read before is not what was written.
        """
        if self.complete:
            raise MalformedError("something follows the end of the backup")
        item = decode(line)
        if self.header is None and not isinstance(item, Header):
            raise MalformedError("this is no backup: it does not begin as one")
        if isinstance(item, End):
            if self.vector is None or item.registers != self.registers or item.digest != self._sum.hexdigest():
                raise MalformedError("the backup is damaged: it is not what was written")
            self.complete = True
            return item
        self._sum.update(line)
        if isinstance(item, Header):
            if self.header is not None:
                raise MalformedError("a backup has two headers")
            self.header = item
        elif isinstance(item, Vector):
            if self.vector is not None:
                raise MalformedError("a backup has two vectors")
            self.vector = item
        elif isinstance(item, Register):
            if self.vector is not None:
                raise MalformedError("a register stands behind the vector of a backup")
            self.registers += 1
        return item


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
