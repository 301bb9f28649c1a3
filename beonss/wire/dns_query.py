"""Reading a DNS query: header, question and OPT, strictly and at bounded cost (RFC 1035 section 4, RFC 6891).

A query is a simple thing: one question (RFC 9619), nothing in the answer section, and a few records in the
additional section of which only OPT means something to us. Everything else is refused here, so that nothing behind
this module ever sees hostile bytes. The cost is bounded by the counts that are checked before anything is
read: at most one question and five records, at most 127 labels and eight pointers per name.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from beonss.core.zones.records import DomainName, RecordClass, RecordType, ReplyCode, shown
from beonss.errors import MalformedError
from beonss.wire.dns_layout import (
    CLASSIC_LIMIT,
    DNSSEC_OK,
    FIXED,
    HEADER,
    OPCODE,
    PAIR,
    RECURSION_DESIRED,
    RESPONSE,
    opt_record,
)
from beonss.wire.tsig import Signature, read_signature

_LONGEST_NAME = 255
_MOST_POINTERS = 8
# OPT, a signature, and two that nobody has invented yet.
_MOST_ADDITIONAL = 4


@dataclass(frozen=True, slots=True)
class Edns:
    """What a client's OPT record said (RFC 6891 section 6.1).

    Attributes:
        payload: bytes the client can take over UDP, at least 512.
        version: EDNS version; above 0 the reply is BADVERS.
        options: codes of the options that were sent; what they hold means nothing to us.
        dnssec: the client wants DNSSEC records (RFC 3225).
    """

    payload: int
    version: int
    options: frozenset[int]
    dnssec: bool = False


_NO_OPTIONS: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """A well-formed query.

    Attributes:
        id: message id.
        flags: the second header word as sent.
        name: labels of the question in the client's case.
        type: QTYPE.
        class_: QCLASS.
        question: the bytes of the question section, to be echoed.
        edns: what OPT said; None when there was none.
        signature: the TSIG record, not yet verified; None when there was none.
        serial: of an IXFR question: what the client has.
    """

    id: int
    flags: int
    name: DomainName
    type: int
    class_: int
    question: bytes
    edns: Edns | None
    signature: Signature | None = None
    serial: int | None = None

    @property
    def recursion_desired(self) -> bool:
        """Whether the client wants other servers to be asked for it (RD)."""
        return bool(self.flags & RECURSION_DESIRED)

    @property
    def text(self) -> str:
        """The name for a log."""
        return shown(self.name)

    @property
    def udp_limit(self) -> int:
        """Bytes the client can take over UDP."""
        return CLASSIC_LIMIT if self.edns is None else self.edns.payload


class UnreadableError(MalformedError):
    """A packet that is no query we can answer.

    Attributes:
        reply: the whole reply to send; None when there must be none (it is too short, or itself a reply).
    """

    def __init__(self, text: str, reply: bytes | None) -> None:
        super().__init__(text)
        self.reply = reply


class _Fault(Exception):  # noqa: N818 - it never leaves this module
    """Why a message is refused, before it is known what the reply must hold."""

    def __init__(self, text: str, code: ReplyCode = ReplyCode.FORMERR) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def read_query(packet: bytes) -> Query:
    """Read a query.

    Args:
        packet: a UDP payload, or a TCP message without its length.

    Raises:
        UnreadableError: it is no query we can answer; ``reply`` says what to send back.
    """
    if len(packet) < HEADER.size:
        raise UnreadableError("it is shorter than a header", None)
    id_, flags, questions, answers, authorities, additionals = HEADER.unpack_from(packet)
    if flags & RESPONSE:
        # Answering a reply could make two servers talk for ever.
        raise UnreadableError("it is a reply", None)
    body = _Body(packet)
    try:
        if flags & OPCODE:
            # Of another operation we only know that it should look like a query; if it does, echo what we can.
            body.try_to_read(questions, answers, authorities, additionals)
            raise _Fault(f"operation {flags >> 11 & 15} is not implemented", ReplyCode.NOTIMP)
        body.read(questions, answers, authorities, additionals)
    except _Fault as fault:
        raise UnreadableError(fault.text, _refusal(id_, flags, body, fault.code)) from None
    return Query(id_, flags, body.name, body.type, body.class_, body.question, body.edns, body.signature, body.serial)


class _Body:
    """What follows the header, as far as it was read."""

    __slots__ = ("class_", "edns", "name", "offset", "packet", "question", "serial", "signature", "type")

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.offset = HEADER.size
        self.name: DomainName = ()
        self.type = self.class_ = 0
        self.question = b""
        self.edns: Edns | None = None
        self.signature: Signature | None = None
        self.serial: int | None = None

    def try_to_read(self, questions: int, answers: int, authorities: int, additionals: int) -> None:
        with suppress(_Fault):
            self.read(questions, answers, authorities, additionals)

    def read(self, questions: int, answers: int, authorities: int, additionals: int) -> None:
        if questions != 1:
            raise _Fault(f"it holds {questions} questions instead of one (RFC 9619)")
        self.read_question()
        if answers or authorities > 1 or additionals > _MOST_ADDITIONAL:
            raise _Fault(f"a query with {answers} answers, {authorities} authorities and {additionals} additionals")
        if authorities and self.type != RecordType.IXFR:
            # IXFR carries the client's SOA there (RFC 1995 section 3); no other query has a use for it.
            raise _Fault("a record in the authority section of a query")
        if authorities:
            self.read_record(additional=False)
        for _ in range(additionals):
            self.read_record(additional=True)
        if self.offset != len(self.packet):
            raise _Fault(f"{len(self.packet) - self.offset} bytes follow the message")

    def read_question(self) -> None:
        start = self.offset
        name, offset = _read_name(self.packet, start, start)
        if offset + 4 > len(self.packet):
            raise _Fault("the question is cut short")
        self.type, self.class_ = PAIR.unpack_from(self.packet, offset)
        self.name = name
        self.offset = offset + 4
        self.question = self.packet[start : self.offset]

    def read_record(self, *, additional: bool) -> None:
        if self.signature is not None:
            raise _Fault("a record behind the TSIG record")
        began = self.offset
        name, offset = _read_name(self.packet, self.offset, HEADER.size)
        if offset + FIXED.size > len(self.packet):
            raise _Fault("a record is cut short")
        type_, class_, ttl, length = FIXED.unpack_from(self.packet, offset)
        start = offset + FIXED.size
        self.offset = start + length
        if type_ == RecordType.OPT:
            self.read_opt(name, class_, ttl, self.packet[start : self.offset], additional=additional)
        if self.offset > len(self.packet):
            raise _Fault("a record's data is cut short")
        if type_ == RecordType.TSIG:
            if additional and class_ == RecordClass.ANY and ttl == 0:
                self.signature = read_signature(self.packet, began, name, self.packet[start : self.offset])
            if self.signature is None:
                raise _Fault("a TSIG record that is malformed or in the wrong place (RFC 8945 section 5.1)")
        elif not additional:
            self.read_serial(type_, start)

    def read_serial(self, type_: int, start: int) -> None:
        """Read from the SOA record of an IXFR question the serial that the client has (RFC 1995 section 3)."""
        if type_ != RecordType.SOA:
            raise _Fault("an IXFR question without the client's SOA")
        for _ in range(2):
            _, start = _read_name(self.packet, start, HEADER.size)
        if start + 20 != self.offset:
            raise _Fault("an IXFR question with a malformed SOA")
        self.serial = int.from_bytes(self.packet[start : start + 4], "big")

    def read_opt(self, name: DomainName, payload: int, ttl: int, data: bytes, *, additional: bool) -> None:
        twice = self.edns is not None
        version = ttl >> 16 & 0xFF
        # Note it before judging it: also the refusal of a bad OPT carries one (RFC 6891 section 7).
        self.edns = Edns(max(payload, CLASSIC_LIMIT), version, _NO_OPTIONS, bool(ttl & DNSSEC_OK))
        if twice:
            raise _Fault("two OPT records")
        if not additional:
            raise _Fault("an OPT record outside the additional section")
        if name:
            raise _Fault("an OPT record that is not at the root")
        # The layout of the data belongs to the version (RFC 6891 section 6.1.3): a later one is not ours to judge.
        if data and version == 0:
            self.edns = replace(self.edns, options=_read_options(data))


def _read_name(packet: bytes, start: int, floor: int) -> tuple[DomainName, int]:
    """Read a name that may be compressed (RFC 1035 section 4.1.4).

    Args:
        packet: the message.
        start: where the name begins.
        floor: pointers must point to here or later, and always before where the name they stand in began.

    Returns:
        Its labels, and the offset behind it.
    """
    labels: list[bytes] = []
    end = -1
    size = len(packet)
    offset, began, total, pointers = start, start, 1, 0
    while True:
        if offset >= size:
            raise _Fault("a name is cut short")
        length = packet[offset]
        if length == 0:
            return tuple(labels), offset + 1 if end < 0 else end
        if length < 64:
            total += length + 1
            if total > _LONGEST_NAME:
                raise _Fault("a name is longer than 255 bytes")
            label = packet[offset + 1 : offset + 1 + length]
            if len(label) < length:
                raise _Fault("a label is cut short")
            labels.append(label)
            offset += length + 1
            continue
        if length < 192:
            raise _Fault(f"a label of type {length >> 6:02b} (RFC 6891 section 5)")
        if offset + 1 >= size:
            raise _Fault("a compression pointer is cut short")
        target = (length & 0x3F) << 8 | packet[offset + 1]
        pointers += 1
        if pointers > _MOST_POINTERS:
            raise _Fault(f"a name with more than {_MOST_POINTERS} compression pointers")
        if not floor <= target < began:
            raise _Fault("a compression pointer that does not point back to a name")
        if end < 0:
            end = offset + 2
        offset = began = target


def _read_options(data: bytes) -> frozenset[int]:
    """Return the codes of the options (RFC 6891 section 6.1.2); each takes at least four bytes."""
    codes = set()
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise _Fault("an EDNS option is cut short")
        code, length = PAIR.unpack_from(data, offset)
        offset += 4 + length
        if offset > len(data):
            raise _Fault("an EDNS option's data is cut short")
        codes.add(code)
    return frozenset(codes)


def _refusal(id_: int, flags: int, body: _Body, code: ReplyCode) -> bytes:
    """Return a reply without records: it echoes the question if that was read, and OPT if one was seen."""
    header = HEADER.pack(
        id_,
        RESPONSE | flags & (OPCODE | RECURSION_DESIRED) | code,
        1 if body.question else 0,
        0,
        0,
        1 if body.edns is not None else 0,
    )
    return header + body.question + (opt_record(0) if body.edns is not None else b"")
