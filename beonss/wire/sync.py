"""The protocol between masters, and between a node and a master: bytes in, messages out, no input or output.

One TLS 1.3 port carries it (:mod:`beonss.net.tls`). Both sides send frames: four bytes of length, big-endian, then one
MessagePack array ``[type, fields]``; ``fields`` is a map. Unknown fields are ignored, and so are, between machines that
know each other, messages of an unknown type: versions that replicate with each other need not be the same. The caller
speaks first::

    C: hello {role: member|joiner|node, ...}
    S: hello {role: master, ...}                 or  refusal {word, text} and the end
    C: question {vector, wait}                   "what have you for me?"; the vector acknowledges durably
    S: page* (members) or batch* (nodes)         at once, or as soon as there is something (wait)
                                                 the last one carries the sender's vector
    C: acknowledge {vector}                      the vector moved because of somebody else
    either: heartbeat, roster                    every few seconds; when the rosters differ
    C: compare {vector, digest}                  now and then: do we hold the same?
    S: compare                                   only if not: silent drift, the caller asks for everything
    S: description                               to nodes: the signed cluster description, when it is another
    C: request   S: event* end                   nodes: logins and password changes

An answer is cut from one snapshot; its pages are numbered from 0 and may be applied one by one, but the vector
holds only with the last (``vector`` is null in all others). Batches and descriptions are signed by a
master's key, so what lies between needs no trust.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from beonss.core.cluster.members import MAXIMUM_MEMBERS, Acceptance
from beonss.core.replication.registers import Register
from beonss.errors import MalformedError
from beonss.wire.documents import MAXIMUM_DOCUMENT, acceptance_from_plain, acceptance_to_plain
from beonss.wire.feed import Batch, DescriptionDocument
from beonss.wire.frames import frame
from beonss.wire.packing import Fields, pack, unpack
from beonss.wire.registers import MAXIMUM_ROWS, register_to_plain, registers_from_plain

PROTOCOL = 1
WORD = 64
TEXT = 1024
NAME = 255
#: Ways to hash passwords that a master may name.
MAXIMUM_SCHEMES = 64


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks; the first message of each side.

    Attributes:
        role: ``member``, ``joiner`` or ``node`` from the caller; ``master`` in the answer.
        cluster: id of the cluster.
        name: name of the speaker (a node may leave it empty).
        incarnation: of a master; empty otherwise.
        boot: 32 hex digits, new for each start of the process: two at once are two machines.
        wall: the speaker's clock, ms since the epoch.
        description: digest of the description in force there; empty without one.
        software: version, for people.
        members: the signed member list, empty if the speaker has none.
        acceptances: of open invitations; from a joiner, its own.
        protocol: version of this protocol.
        schemes: what a master can hash passwords with and verify; None from one that does not say (a node, an older
            version).
    """

    TYPE: ClassVar[str] = "hello"
    role: str
    cluster: str
    name: str
    incarnation: str
    boot: str
    wall: int
    description: str
    software: str
    members: bytes = b""
    acceptances: tuple[Acceptance, ...] = ()
    protocol: int = PROTOCOL
    schemes: tuple[str, ...] | None = None

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        said: dict[str, Any] = {} if self.schemes is None else {"schemes": list(self.schemes)}
        return said | {
            "role": self.role,
            "cluster": self.cluster,
            "name": self.name,
            "incarnation": self.incarnation,
            "boot": self.boot,
            "wall": self.wall,
            "description": self.description,
            "software": self.software,
            "members": self.members,
            "acceptances": [acceptance_to_plain(a) for a in self.acceptances],
            "protocol": self.protocol,
        }

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(
            f.text("role", WORD),
            f.text("cluster", WORD),
            f.text("name", NAME),
            f.text("incarnation", WORD),
            f.text("boot", WORD),
            f.number("wall"),
            f.text("description", WORD),
            f.text("software", WORD),
            f.octets("members", MAXIMUM_DOCUMENT),
            tuple(acceptance_from_plain(item) for item in f.array("acceptances", MAXIMUM_MEMBERS)),
            f.number("protocol"),
            f.optional_words("schemes", MAXIMUM_SCHEMES, WORD),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The caller is not served, and why; the connection ends.

    Attributes:
        word: machine-readable.
        text: for the operator of the caller; empty for a stranger.
        retry: ms after which to try again, 0 if trying again is no use soon.
        members: the signed member list that shows why, to a master that was removed; empty otherwise.
    """

    TYPE: ClassVar[str] = "refusal"
    word: str
    text: str = ""
    retry: int = 0
    members: bytes = b""

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        plain: dict[str, Any] = {"word": self.word, "text": self.text, "retry": self.retry}
        return plain | ({"members": self.members} if self.members else {})

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        members = f.optional_octets("members", MAXIMUM_DOCUMENT)
        return cls(f.text("word", WORD), f.text("text", TEXT), f.number("retry"), members)


@dataclass(frozen=True, slots=True)
class Question:
    """What have you for me? The vector is what the speaker holds durably.

    Attributes:
        vector: durable acknowledgement.
        wait: whether the answer may wait until there is something.
    """

    TYPE: ClassVar[str] = "question"
    vector: Mapping[str, int]
    wait: bool

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"vector": dict(self.vector), "wait": self.wait}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.vector("vector"), f.flag("wait"))


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The speaker's durable vector moved while its question was open."""

    TYPE: ClassVar[str] = "acknowledge"
    vector: Mapping[str, int]

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"vector": dict(self.vector)}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.vector("vector"))


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the answer to a member.

    Attributes:
        number: from 0 in each answer.
        rows: registers.
        vector: the sender's, in the last page only.
    """

    TYPE: ClassVar[str] = "page"
    number: int
    rows: tuple[Register, ...]
    vector: Mapping[str, int] | None

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {
            "number": self.number,
            "rows": [register_to_plain(row) for row in self.rows],
            "vector": None if self.vector is None else dict(self.vector),
        }

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.number("number"), registers_from_plain(f.array("rows", MAXIMUM_ROWS)), f.optional_vector("vector"))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The speaker lives.

    Attributes:
        wall: its clock, ms since the epoch.
        roster: digest of its roster (:attr:`beonss.core.cluster.members.Roster.digest`).
        description: digest of its description.
    """

    TYPE: ClassVar[str] = "heartbeat"
    wall: int
    roster: str
    description: str

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"wall": self.wall, "roster": self.roster, "description": self.description}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.number("wall"), f.text("roster", WORD), f.text("description", WORD))


@dataclass(frozen=True, slots=True)
class Compare:
    """What the speaker holds, to find silent drift.

    Attributes:
        vector: of the speaker.
        digest: of all its registers (of the public ones, from and to nodes).
    """

    TYPE: ClassVar[str] = "compare"
    vector: Mapping[str, int]
    digest: bytes

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"vector": dict(self.vector), "digest": self.digest}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.vector("vector"), f.octets("digest", WORD))


@dataclass(frozen=True, slots=True)
class RosterUpdate:
    """The speaker's member list and acceptances."""

    TYPE: ClassVar[str] = "roster"
    members: bytes
    acceptances: tuple[Acceptance, ...]

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"members": self.members, "acceptances": [acceptance_to_plain(a) for a in self.acceptances]}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        acceptances = tuple(acceptance_from_plain(item) for item in f.array("acceptances", MAXIMUM_MEMBERS))
        return cls(f.octets("members", MAXIMUM_DOCUMENT), acceptances)


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A node asks its master to do something for a user. May hold a password: never shown.

    Attributes:
        number: chosen by the caller, unique on the connection.
        kind: ``authenticate``, ``change-password`` ...
        params: plain values.
    """

    TYPE: ClassVar[str] = "request"
    number: int
    kind: str
    params: Mapping[str, Any]

    def __repr__(self) -> str:
        """Keep passwords out of logs and tracebacks."""
        return f"Request(number={self.number}, kind={self.kind!r}, params=<hidden>)"

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"number": self.number, "kind": self.kind, "params": dict(self.params)}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.number("number"), f.text("kind", WORD), f.mapping("params"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something became known about a request."""

    TYPE: ClassVar[str] = "event"
    number: int
    data: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"number": self.number, "data": dict(self.data)}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.number("number"), f.mapping("data"))


@dataclass(frozen=True, slots=True)
class End:
    """The last word about a request.

    Attributes:
        number: of the request.
        data: its result.
        refusal: empty, or the code of a refusal whose text is ``data["message"]``.
    """

    TYPE: ClassVar[str] = "end"
    number: int
    data: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"number": self.number, "data": dict(self.data), "refusal": self.refusal}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(f.number("number"), f.mapping("data"), f.text("refusal", WORD))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that this version does not know; it is never sent.

    Attributes:
        kind: the type.
    """

    TYPE: ClassVar[str] = ""
    kind: str

    def plain(self) -> dict[str, Any]:
        """Return no fields."""
        return {}


Message = (
    Hello
    | Refusal
    | Question
    | Acknowledge
    | Page
    | Heartbeat
    | Compare
    | RosterUpdate
    | Batch
    | DescriptionDocument
    | Request
    | Event
    | End
    | Unknown
)

_KINDS = (
    Hello,
    Refusal,
    Question,
    Acknowledge,
    Page,
    Heartbeat,
    Compare,
    RosterUpdate,
    Batch,
    DescriptionDocument,
    Request,
    Event,
    End,
)
_TYPES = {kind.TYPE: kind for kind in _KINDS}


def encode(message: Message) -> bytes:
    """Return a message as a frame.

    Raises:
        ValueError: it is longer than a frame may be (one register of more than 4 MiB).
    """
    return frame(pack([message.TYPE, message.plain()]))


def decode(body: bytes) -> Message:
    """Read the message in a frame, its length taken off.

    Raises:
        MalformedError: the bytes are no message of this protocol.
    """
    item = unpack(body)
    if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)):
        raise MalformedError("a frame from a peer holds no message")
    kind = _TYPES.get(item[0])
    if kind is None:
        if not (0 < len(item[0]) <= WORD and isinstance(item[1], dict)):
            raise MalformedError("a message from a peer has no type and fields")
        return Unknown(item[0])
    return kind.read(Fields(item[1], kind.TYPE))
