"""The messages of zone transfers (RFC 5936, RFC 1995) and notifications (RFC 1996)."""

from collections.abc import Iterable, Iterator
from typing import Final

from beonss.core.zones.records import DomainName, Record, RecordClass, RecordType
from beonss.core.zones.zone import Answer
from beonss.wire.dns import Message, write_reply
from beonss.wire.dns_layout import AUTHORITATIVE, HEADER, OPCODE, PAIR, RECURSION_DESIRED, RESPONSE, opt_record
from beonss.wire.dns_query import Query

#: Bytes of a message at most: compression pointers reach no further than 16 KB.
MESSAGE_LIMIT: Final = 16_000
_NOTIFY: Final = 4 << 11


def transfer_messages(query: Query, records: Iterable[Record], *, reserve: int = 0) -> Iterator[bytes]:
    """Yield the messages of a transfer, as full as they may be, while the records are made.

    Args:
        query: what was asked; every message repeats its question.
        records: of the whole stream, the SOA record at both ends included; each fits into a message.
        reserve: bytes to leave free for a signature.
    """
    opt = b"" if query.edns is None else opt_record(0)
    room = MESSAGE_LIMIT - len(opt) - reserve
    flags = RESPONSE | AUTHORITATIVE | query.flags & (OPCODE | RECURSION_DESIRED)
    extra = 1 if opt else 0
    message, count = Message(query), 0
    for record in records:
        size = len(message.body)
        if message.add((record,), room):
            count += 1
            continue
        yield HEADER.pack(query.id, flags, 1, count, 0, extra) + message.body[:size] + opt
        message, count = Message(query), 1
        fits = message.add((record,), room)
        assert fits, "a single record is shorter than a message"
    yield HEADER.pack(query.id, flags, 1, count, 0, extra) + message.body + opt


def increment(new: Record, old: Record, removed: Iterable[Record], added: Iterable[Record]) -> Iterator[Record]:
    """Yield the records of an incremental transfer (RFC 1995 section 4).

    Args:
        new: the SOA record of the version that is served.
        old: that of the client's version.
        removed: records that the client has to forget, without the SOA.
        added: records that it has to learn, without the SOA.
    """
    yield new
    yield old
    yield from removed
    yield new
    yield from added
    yield new


def single(query: Query, records: tuple[Record, ...], *, reserve: int) -> bytes | None:
    """Return the reply to an IXFR question over UDP in one message, None if the records do not fit into it."""
    reply = write_reply(query, Answer(answer=records), reserve=reserve)
    return None if reply[2] & 2 else reply


def notify_message(id_: int, soa: Record) -> bytes:
    """Return the request that tells a secondary of a new version of a zone (RFC 1996 section 3)."""
    wire = _wire(soa.name) + PAIR.pack(RecordType.SOA, RecordClass.IN)
    flags = _NOTIFY | AUTHORITATIVE
    message = Message(Query(id_, flags, soa.name, RecordType.SOA, RecordClass.IN, wire, None))
    message.add((soa,), 1200)
    return HEADER.pack(id_, flags, 1, 1, 0, 0) + bytes(message.body)


def notify_reply(packet: bytes) -> tuple[int, int] | None:
    """Return id and RCODE of a reply to a notification, None if it is none."""
    if len(packet) < HEADER.size:
        return None
    id_, flags, *_ = HEADER.unpack_from(packet)
    if not flags & RESPONSE or flags & OPCODE != _NOTIFY:
        return None
    return id_, flags & 15


def _wire(name: DomainName) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"
