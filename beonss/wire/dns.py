"""DNS messages: writing replies; the whole of what the rest of the program needs from the wire.

Queries are read by :mod:`beonss.wire.dns_query`, never by dnslib: that is not safe on hostile input. Replies
are written here. The few record types that computed zones are made of are written byte by byte, an order of
magnitude faster; dnslib packs the data of everything rarer. This is its only importer.
"""

from struct import Struct
from typing import Final

import dnslib

from beonss.core.zones.records import (
    AddressData,
    Data,
    DomainName,
    NameData,
    OpaqueData,
    Record,
    RecordClass,
    ReplyCode,
    SOAData,
    TextData,
    folded,
)
from beonss.core.zones.zone import Answer
from beonss.wire.dns_layout import (
    AUTHORITATIVE,
    FIXED,
    HEADER,
    OPCODE,
    OPTION_NSID,
    OPTION_REASON,
    PAIR,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    RESPONSE,
    TCP_LIMIT,
    TRUNCATED,
    UDP_LIMIT,
    opt_record,
)
from beonss.wire.dns_query import Edns, Query, UnreadableError, read_query

__all__ = [
    "OPTION_NSID",
    "TCP_LIMIT",
    "UDP_LIMIT",
    "Edns",
    "Query",
    "UnreadableError",
    "read_query",
    "write_reply",
]

_SOA_TIMES: Final = Struct("!IIIII")
_POINTER: Final = Struct("!H")
# The question always begins right behind the header: its name is what everything else points to.
_QUESTION_POINTER: Final = b"\xc0\x0c"
# A pointer has 14 bits (RFC 1035 section 4.1.4).
_POINTER_REACH: Final = 0x4000
_BAD_VERSION: Final = Answer(ReplyCode.BADVERS, authoritative=False)


def write_reply(
    query: Query, answer: Answer, *, tcp: bool = False, recursion: bool = False, identity: bytes = b"", reserve: int = 0
) -> bytes:
    """Write the reply to ``query``.

    Over UDP it is no longer than the client can take, nor than 1232 bytes. What does not fit is left out in this
    order: the additional records; then all records, and TC is set, while question and OPT stay
    (RFC 2181 section 9, RFC 6891 section 7).

    Args:
        query: what was asked; its question is echoed as it was written.
        answer: what to say; a query of a later EDNS version gets BADVERS in its place.
        tcp: the reply travels over TCP.
        recursion: other names are looked up for this client: the RA bit.
        identity: the NSID, given to who asks for one (RFC 5001).
        reserve: bytes to leave free for a signature.
    """
    edns = query.edns
    if edns is not None and edns.version > 0:
        answer = _BAD_VERSION
    flags = RESPONSE | query.flags & (OPCODE | RECURSION_DESIRED) | answer.code & 15
    if answer.authoritative:
        flags |= AUTHORITATIVE
    if recursion:
        flags |= RECURSION_AVAILABLE
    opt = b"" if edns is None else opt_record(answer.code, _options(edns, answer, identity))
    limit = TCP_LIMIT if tcp else min(query.udp_limit, UDP_LIMIT)
    room = limit - len(opt) - reserve

    message = Message(query)
    extra = 0 if edns is None else 1
    fits = message.add(answer.answer, room) and message.add(answer.authority, room)
    if not fits:
        header = HEADER.pack(query.id, flags | TRUNCATED, 1, 0, 0, extra)
        return header + query.question + opt
    counted = 0
    if answer.additional:
        # All of them or none: half of a glue RRset would look whole.
        size = len(message.body)
        if message.add(answer.additional, room):
            counted = len(answer.additional)
        else:
            del message.body[size:]
    header = HEADER.pack(query.id, flags, 1, len(answer.answer), len(answer.authority), counted + extra)
    return header + message.body + opt


def _options(edns: Edns, answer: Answer, identity: bytes) -> bytes:
    options = b""
    if identity and OPTION_NSID in edns.options:
        options += PAIR.pack(OPTION_NSID, len(identity)) + identity
    if answer.reason is not None:
        options += PAIR.pack(OPTION_REASON, 2) + _POINTER.pack(answer.reason)
    return options


class Message:
    """The sections behind the header, and where in them each name already stands."""

    __slots__ = ("body", "class_", "offsets", "question")

    def __init__(self, query: Query) -> None:
        self.body = bytearray(query.question)
        self.class_ = RecordClass.IN if query.class_ == RecordClass.ANY else query.class_
        self.question = query.name
        self.offsets: dict[DomainName, int] | None = None

    def add(self, records: tuple[Record, ...], room: int) -> bool:
        """Append records; say whether the message, header included, still fits into ``room`` bytes."""
        body = self.body
        for record in records:
            self.write_owner(record.name)
            start = len(body)
            body += FIXED.pack(record.type, self.class_, record.ttl, 0)
            self.write_data(record.data)
            body[start + 8 : start + 10] = _POINTER.pack(len(body) - start - FIXED.size)
            if HEADER.size + len(body) > room:
                return False
        return True

    def write_owner(self, name: DomainName) -> None:
        """Write an owner; where it is (the end of) the question, it points there and so keeps the client's case."""
        if name == self.question:
            self.body += _QUESTION_POINTER
            return
        missing = len(self.question) - len(name)
        if name and missing >= 0 and folded(self.question[missing:]) == folded(name):
            self.write_name(self.question[missing:])
        else:
            self.write_name(name)

    def write_name(self, name: DomainName) -> None:
        """Write a name, pointing to where its end already stands in the very same case."""
        body, offsets = self.body, self.offsets
        if offsets is None:
            # Built when first needed: the address of a node, the commonest answer, writes no name at all.
            offsets = self.offsets = _offsets(self.question)
        while name:
            offset = offsets.get(name)
            if offset is not None:
                body += _POINTER.pack(0xC000 | offset)
                return
            here = HEADER.size + len(body)
            if here < _POINTER_REACH:
                offsets[name] = here
            body.append(len(name[0]))
            body += name[0]
            name = name[1:]
        body.append(0)

    def write_data(self, data: Data) -> None:
        match data:
            case AddressData():
                self.body += data.address.packed
            case NameData():
                self.write_name(data.target)
            case SOAData():
                self.write_name(data.primary)
                self.write_name(data.mailbox)
                self.body += _SOA_TIMES.pack(data.serial, data.refresh, data.retry, data.expire, data.minimum)
            case OpaqueData():
                self.body += data.data
            case TextData():
                self.body += _rare(dnslib.TXT(list(data.strings)))


def _offsets(question: DomainName) -> dict[DomainName, int]:
    """Return where in a message each end of the question's name stands."""
    offsets = {}
    offset = HEADER.size
    for skipped, label in enumerate(question):
        offsets[question[skipped:]] = offset
        offset += len(label) + 1
    return offsets


def _rare(data: dnslib.RD) -> bytes:
    """Return the data of a rarer record; it must hold no name, for dnslib would compress it on its own."""
    buffer = dnslib.DNSBuffer()
    data.pack(buffer)
    return bytes(buffer.data)
