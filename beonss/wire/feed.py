"""What masters sign for nodes: batches of public registers, and the cluster description."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from beonss.core.cluster.members import KEY_BYTES
from beonss.core.replication.registers import Register
from beonss.wire.documents import SIGNATURE_BYTES
from beonss.wire.frames import MAXIMUM_FRAME
from beonss.wire.packing import Fields, pack, unpack
from beonss.wire.registers import MAXIMUM_ROWS, register_to_plain, registers_from_plain

WORD = 64


@dataclass(frozen=True, slots=True)
class BatchContent:
    """Public registers, bound to the question they answer.

    A page that was lost or held back must not go unnoticed, or the vector would cover what never came: so
    a reader applies the rows of any batch, but takes the vector only when all pages of one answer came in order.

    Attributes:
        cluster: id of the cluster.
        since: vector of the question.
        answer: random number of the answer.
        number: of this page in the answer, from 0.
        rows: public registers.
        vector: the sender's, in the last page only.
    """

    cluster: str
    since: Mapping[str, int]
    answer: int
    number: int
    rows: tuple[Register, ...]
    vector: Mapping[str, int] | None

    def encode(self) -> bytes:
        """Return the payload to sign."""
        return pack(
            {
                "cluster": self.cluster,
                "since": dict(self.since),
                "answer": self.answer,
                "number": self.number,
                "rows": [register_to_plain(row) for row in self.rows],
                "vector": None if self.vector is None else dict(self.vector),
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the payload of a batch whose signature was checked.

        Raises:
            MalformedError: it is none.
        """
        f = Fields(unpack(payload), "batch")
        return cls(
            f.text("cluster", WORD),
            f.vector("since"),
            f.number("answer"),
            f.number("number"),
            registers_from_plain(f.array("rows", MAXIMUM_ROWS)),
            f.optional_vector("vector"),
        )


@dataclass(frozen=True, slots=True)
class DescriptionContent:
    """The cluster description as a master serves it.

    Attributes:
        cluster: id of the cluster.
        version: the description's own (:attr:`Naming.version`).
        digest: :attr:`Naming.digest`.
        text: the file, byte for byte.
    """

    cluster: str
    version: int
    digest: str
    text: bytes

    def encode(self) -> bytes:
        """Return the payload to sign."""
        return pack({"cluster": self.cluster, "version": self.version, "digest": self.digest, "text": self.text})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the payload of a description whose signature was checked.

        Raises:
            MalformedError: it is none.
        """
        f = Fields(unpack(payload), "description")
        text = f.octets("text", MAXIMUM_FRAME)
        return cls(f.text("cluster", WORD), f.number("version"), f.text("digest", WORD), text)


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload signed by a member's key.

    Attributes:
        payload: what is signed.
        signer: the member's Ed25519 public key.
        signature: 64 bytes.
    """

    payload: bytes
    signer: bytes
    signature: bytes

    def plain(self) -> dict[str, Any]:
        """Return the fields for the wire."""
        return {"payload": self.payload, "signer": self.signer, "signature": self.signature}

    @classmethod
    def read(cls, f: Fields) -> Self:
        """Read the fields."""
        return cls(
            f.octets("payload", MAXIMUM_FRAME), f.octets("signer", KEY_BYTES), f.octets("signature", SIGNATURE_BYTES)
        )


class Batch(Signed):
    """Public registers for nodes; the payload is a :class:`BatchContent`."""

    __slots__ = ()
    TYPE: ClassVar[str] = "batch"


class DescriptionDocument(Signed):
    """The cluster description for nodes; the payload is a :class:`DescriptionContent`."""

    __slots__ = ()
    TYPE: ClassVar[str] = "description"
