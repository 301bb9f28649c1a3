"""Reading the reply of another DNS server: strictly, at bounded cost, and without changing what it holds.

Records of types that nobody here has heard of travel on as they came (RFC 3597); only what a forwarder must know is
read: where the TTLs stand, how long the whole may be believed, whether it denies something. Names are followed to
make sure that every one of them ends. Each byte is looked at once: what a compression pointer leads to has been
read before, and its length is remembered. The few pointers that lead into data of unknown types are followed one by one
and counted.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from beonss.core.zones.records import DomainName, OpaqueData, Record, RecordClass, RecordType, ReplyCode, folded
from beonss.errors import MalformedError
from beonss.wire.dns_layout import (
    AUTHORITATIVE,
    FIXED,
    HEADER,
    OPCODE,
    OPTION_REASON,
    PAIR,
    RESPONSE,
    TRUNCATED,
)

__all__ = ["Reply", "answer_records", "data_name", "read_reply"]

_LONGEST_NAME: Final = 255
_ID: Final = Struct("!H")
_TTL: Final = Struct("!I")
_UNKNOWN_POINTERS: Final = 64
_MOST_TTL: Final = 2**31
#: An extended error with more bytes than this is not passed on.
_LONGEST_REASON: Final = 128
#: Records of an answer that are taken apart.
MOST_TAKEN_APART: Final = 128

# Type -> bytes before its names, how many names, and bytes behind (None: any number). Types whose names may be
# compressed (RFC 1035 section 3.3, RFC 3597 section 4), and some that others point into.
_LAYOUTS: Final[dict[int, tuple[int, int, int | None]]] = {
    RecordType.NS: (0, 1, 0), 3: (0, 1, 0), 4: (0, 1, 0), RecordType.CNAME: (0, 1, 0), RecordType.SOA: (0, 2, 20),
    7: (0, 1, 0), 8: (0, 1, 0), 9: (0, 1, 0), RecordType.PTR: (0, 1, 0), 14: (0, 2, 0), RecordType.MX: (2, 1, 0),
    17: (0, 2, 0), 18: (2, 1, 0), 21: (2, 1, 0), 26: (2, 2, 0), RecordType.SRV: (6, 1, 0), 36: (2, 1, 0),
    RecordType.DNAME: (0, 1, 0), RecordType.RRSIG: (18, 1, None), 47: (0, 1, None), 64: (2, 1, None),
    65: (2, 1, None),
}  # fmt: skip
_SIZES: Final = {RecordType.A: 4, RecordType.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Reply:
    """A well-formed reply.

    Attributes:
        id: message id.
        flags: the second header word as sent.
        code: the RCODE, with the upper bits from OPT.
        name: labels of the question, in the case they came in.
        type: QTYPE.
        class_: QCLASS.
        question: the bytes of the question section.
        message: the whole message up to OPT, the header included.
        counts: records of the answer, authority and additional section in ``message``.
        additional: offset where the additional section begins.
        ttls: offsets of all TTLs in ``message``.
        lifetime: seconds that the whole may be believed; None where nothing says how long (RFC 2308 section 5).
        denies: no record of the type that was asked for is in it.
        refers: it only says which other servers to ask.
        alias: where the chain of aliases ends, when it ends without a record and without a denial; None otherwise.
        edns: there was an OPT record.
        reason: an extended error (RFC 8914), ready to be sent on; empty for none.
    """

    id: int
    flags: int
    code: int
    name: DomainName
    type: int
    class_: int
    question: bytes = field(repr=False)
    message: bytes = field(repr=False)
    counts: tuple[int, int, int]
    additional: int
    ttls: tuple[int, ...] = field(repr=False)
    lifetime: int | None
    denies: bool
    refers: bool
    alias: DomainName | None
    edns: bool
    reason: bytes

    @property
    def truncated(self) -> bool:
        """Whether it must be asked for again over TCP; then nothing behind the question was read."""
        return bool(self.flags & TRUNCATED)

    def __len__(self) -> int:
        # What it takes to keep: an offset is a number of its own.
        return len(self.message) + len(self.question) + 40 * len(self.ttls) + sum(map(len, self.name))


def read_reply(packet: bytes) -> Reply:
    """Read a reply.

    Args:
        packet: a UDP payload, or a TCP message without its length.

    Raises:
        MalformedError: it is no reply to one question, or malformed.
    """
    if len(packet) < HEADER.size:
        raise MalformedError("it is shorter than a header")
    id_, flags, questions, *counts = HEADER.unpack_from(packet)
    if not flags & RESPONSE or flags & OPCODE:
        raise MalformedError("it is no reply to a query")
    if questions != 1:
        raise MalformedError(f"it holds {questions} questions instead of one")
    body = _Body(packet)
    body.read_question()
    if flags & TRUNCATED:
        # Where it was cut is anybody's guess.
        counts = [0, 0, 0]
        body.end = body.additional = body.offset
    else:
        body.read_records(*counts)
    code = flags & 15 | body.code_above
    denies = code == ReplyCode.NXDOMAIN or not body.answered
    lifetime = body.least
    if denies and (body.alias is None or code == ReplyCode.NXDOMAIN):
        lifetime = body.denial if body.denial is None or lifetime is None else min(body.denial, lifetime)
    return Reply(
        id=id_,
        flags=flags,
        code=code,
        name=body.name,
        type=body.type,
        class_=body.class_,
        question=body.question,
        message=packet[: body.end],
        counts=(counts[0], counts[1], body.additionals),
        additional=body.additional,
        ttls=tuple(body.ttls),
        lifetime=lifetime,
        denies=denies,
        refers=body.refers and code == ReplyCode.NOERROR and not counts[0] and not flags & AUTHORITATIVE,
        alias=body.alias if code == ReplyCode.NOERROR else None,
        edns=body.edns,
        reason=body.reason,
    )


def answer_records(reply: Reply, age: int = 0) -> tuple[Record, ...]:
    """Return the records of the answer section, names in full, of replies that answer with data of any type.

    Args:
        reply: as :func:`read_reply` returned it.
        age: seconds to take off the TTLs.

    Raises:
        MalformedError: there are more than 128 records, or pointers that lead nowhere.
    """
    if reply.counts[0] > MOST_TAKEN_APART:
        raise MalformedError(f"more than {MOST_TAKEN_APART} records in an answer that must be taken apart")
    packet, offset = reply.message, HEADER.size + len(reply.question)
    records = []
    for _ in range(reply.counts[0]):
        owner, offset = _labels(packet, offset)
        type_, _, ttl, length = FIXED.unpack_from(packet, offset)
        start = offset + FIXED.size
        offset = start + length
        ttl = 0 if ttl >= _MOST_TTL else max(0, ttl - age)
        records.append(Record(owner, type_, ttl, OpaqueData(_in_full(packet, type_, start, offset))))
    return tuple(records)


def data_name(data: bytes) -> DomainName:
    """Return the name at the beginning of a record's data, as :func:`answer_records` returns it: written in full.

    Raises:
        MalformedError: there is none.
    """
    return _labels(data, 0)[0]


class _Body:
    """What follows the header, as far as it was read."""

    __slots__ = (
        "additional", "additionals", "alias", "alias_at", "answered", "class_", "code_above", "denial", "edns", "end",
        "least", "name", "offset", "packet", "question", "reason", "refers", "sizes", "ttls", "type", "unknown",
    )  # fmt: skip

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.offset = HEADER.size
        self.name: DomainName = ()
        self.type = self.class_ = 0
        self.question = b""
        self.sizes: dict[int, int] = {}
        self.unknown = 0
        self.ttls: list[int] = []
        self.end = self.additional = self.additionals = self.alias_at = 0
        self.least: int | None = None
        self.denial: int | None = None
        self.alias: DomainName | None = None
        self.answered = self.refers = self.edns = False
        self.code_above = 0
        self.reason = b""

    def read_question(self) -> None:
        start = self.offset
        end = self.skip_name(start)
        if end + 4 > len(self.packet):
            raise MalformedError("the question is cut short")
        self.name = _labels(self.packet, start)[0]
        self.type, self.class_ = PAIR.unpack_from(self.packet, end)
        self.offset = end + 4
        self.question = self.packet[start : self.offset]

    def read_records(self, answers: int, authorities: int, additionals: int) -> None:
        # The shortest record has eleven bytes.
        if (answers + authorities + additionals) * 11 > len(self.packet):
            raise MalformedError("it announces more records than it can hold")
        for _ in range(answers):
            self.read_answer(*self.read_record())
        for _ in range(authorities):
            self.read_authority(*self.read_record())
        if self.alias_at and not self.answered and self.denial is None:
            self.alias = _labels(self.packet, self.alias_at)[0]
        self.additional = self.offset
        for number in range(additionals):
            here = self.offset
            type_, _, start, ttl = self.read_record(opt=True)
            if type_ == RecordType.OPT:
                if self.edns:
                    raise MalformedError("two OPT records")
                self.read_opt(ttl, start)
                # What follows is only of use if there is room; behind a hole its pointers would lead astray.
                self.end, self.additionals = here, number
        if self.offset != len(self.packet):
            raise MalformedError(f"{len(self.packet) - self.offset} bytes follow the message")
        if not self.edns:
            self.end, self.additionals = self.offset, additionals
        while self.ttls and self.ttls[-1] >= self.end:
            self.ttls.pop()

    def read_record(self, *, opt: bool = False) -> tuple[int, int, int, int]:
        """Read one record; return its type, class, the offset of its data, and its TTL."""
        offset = self.skip_name(self.offset)
        if offset + FIXED.size > len(self.packet):
            raise MalformedError("a record is cut short")
        type_, class_, ttl, length = FIXED.unpack_from(self.packet, offset)
        start = offset + FIXED.size
        end = start + length
        if end > len(self.packet):
            raise MalformedError("a record's data is cut short")
        if type_ == RecordType.OPT:
            if not opt:
                raise MalformedError("an OPT record outside the additional section")
            if offset != self.offset + 1:
                raise MalformedError("an OPT record that is not at the root")
        else:
            self.ttls.append(offset + 4)
            # RFC 2181 section 8.
            ttl = 0 if ttl >= _MOST_TTL else ttl
        self.offset = end
        if class_ == RecordClass.IN:
            self.check_data(type_, start, end)
        return type_, class_, start, ttl

    def check_data(self, type_: int, start: int, end: int) -> None:
        size = _SIZES.get(type_)  # type: ignore[call-overload]
        if size is not None and end - start != size:
            raise MalformedError(f"an address of {end - start} bytes")
        layout = _LAYOUTS.get(type_)
        if layout is None:
            return
        before, names, behind = layout
        at = start + before
        for _ in range(names):
            if at >= end:
                raise MalformedError("a name in a record's data is cut short")
            at = self.skip_name(at)
        if at > end or (behind is not None and at + behind != end):
            raise MalformedError("a record's data does not end where its names do")

    def read_answer(self, type_: int, class_: int, start: int, ttl: int) -> None:
        self.least = ttl if self.least is None else min(self.least, ttl)
        if type_ == self.type or (self.type == RecordType.ANY and class_ == self.class_):
            self.answered = True
        elif type_ == RecordType.CNAME and class_ == RecordClass.IN:
            self.alias_at = start

    def read_authority(self, type_: int, class_: int, start: int, ttl: int) -> None:  # noqa: ARG002 - like an answer
        if type_ == RecordType.SOA and class_ == RecordClass.IN:
            # RFC 2308 section 5: the lesser of its TTL and MINIMUM, which stands last.
            (minimum,) = _TTL.unpack_from(self.packet, self.offset - 4)
            least = min(ttl, minimum if minimum < _MOST_TTL else 0)
            self.denial = least if self.denial is None else min(self.denial, least)
            self.refers = False
        elif type_ == RecordType.NS and self.denial is None:
            self.refers = True

    def read_opt(self, ttl: int, start: int) -> None:
        self.edns = True
        self.code_above = ttl >> 24 << 4
        if ttl >> 16 & 0xFF:
            # Another version may look otherwise (RFC 6891 section 6.1.3); the code says that it is not ours.
            return
        while start < self.offset:
            if start + 4 > self.offset:
                raise MalformedError("an EDNS option is cut short")
            code, length = PAIR.unpack_from(self.packet, start)
            end = start + 4 + length
            if end > self.offset:
                raise MalformedError("an EDNS option's data is cut short")
            if code == OPTION_REASON and 2 <= length <= _LONGEST_REASON and not self.reason:
                self.reason = self.packet[start:end]
            start = end

    def skip_name(self, start: int) -> int:
        """Make sure that a name ends and is short enough; return the offset behind it."""
        packet, sizes = self.packet, self.sizes
        size = len(packet)
        seen: list[int] = []
        at = start
        while True:
            if at >= size:
                raise MalformedError("a name is cut short")
            length = packet[at]
            if length == 0:
                end, tail = at + 1, 1
                break
            if length < 64:
                seen.append(at)
                at += length + 1
                if at - start >= _LONGEST_NAME:
                    raise MalformedError("a name is longer than 255 bytes")
                continue
            if length < 192:
                raise MalformedError(f"a label of type {length >> 6:02b}")
            if at + 1 >= size:
                raise MalformedError("a compression pointer is cut short")
            target = (length & 0x3F) << 8 | packet[at + 1]
            if not HEADER.size <= target < start:
                raise MalformedError("a compression pointer that does not point back to a name")
            known = sizes.get(target)
            end, tail = at + 2, self.unknown_size(target) if known is None else known
            break
        if at - start + tail > _LONGEST_NAME:
            raise MalformedError("a name is longer than 255 bytes")
        for label in seen:
            sizes[label] = at - label + tail
        sizes.setdefault(at if length else end - 1, tail)
        return end

    def unknown_size(self, target: int) -> int:
        """Return the length of a name that nothing has shown to be one so far."""
        self.unknown += 1
        if self.unknown > _UNKNOWN_POINTERS:
            raise MalformedError("too many compression pointers into unknown data")
        return sum(len(label) + 1 for label in _labels(self.packet, target)[0]) + 1


def _labels(packet: bytes, start: int) -> tuple[DomainName, int]:
    """Return the labels of a name and the offset behind it; each pointer must lead further back."""
    labels: list[bytes] = []
    end = -1
    offset = began = start
    total = 1
    hops = 0
    while True:
        if offset >= len(packet):
            raise MalformedError("a name is cut short")
        length = packet[offset]
        if length == 0:
            return tuple(labels), offset + 1 if end < 0 else end
        if length < 64:
            total += length + 1
            label = packet[offset + 1 : offset + 1 + length]
            if total > _LONGEST_NAME or len(label) < length:
                raise MalformedError("a name is cut short, or longer than 255 bytes")
            labels.append(label)
            offset += length + 1
            continue
        hops += 1
        if length < 192 or offset + 1 >= len(packet) or hops > _LONGEST_NAME // 2:
            raise MalformedError("a name with a label or pointer that leads nowhere")
        target = (length & 0x3F) << 8 | packet[offset + 1]
        if not HEADER.size <= target < began:
            raise MalformedError("a compression pointer that does not point back to a name")
        end = offset + 2 if end < 0 else end
        offset = began = target


def _in_full(packet: bytes, type_: int, start: int, end: int) -> bytes:
    """Return a record's data with its names written out (RFC 3597 section 4)."""
    layout = _LAYOUTS.get(type_)
    if layout is None:
        return packet[start:end]
    before, names, _ = layout
    data = packet[start : start + before]
    at = start + before
    for _ in range(names):
        labels, at = _labels(packet, at)
        data += b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return data + packet[at:end]


def same_question(reply: Reply, name: DomainName, type_: int, class_: int) -> bool:
    """Say whether a reply answers a question, whose name is in lower case (RFC 5452 section 4.2)."""
    return reply.type == type_ and reply.class_ == class_ and folded(reply.name) == name
