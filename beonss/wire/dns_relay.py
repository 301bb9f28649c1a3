"""What a forwarder writes: questions to another server, and that server's replies to a client.

A reply travels on byte for byte, but for the header, the case of the question, the TTLs, and OPT, which belongs to one
hop (RFC 6891 section 6.1.1). What does not fit loses its additional records, then all of them, and TC is set.
"""

from struct import Struct
from typing import Final

from beonss.core.zones.records import MAXIMUM_TTL, DomainName, Reason, RecordType
from beonss.wire.dns_layout import (
    AUTHENTIC,
    CHECKING_DISABLED,
    DNSSEC_OK,
    HEADER,
    OPTION_REASON,
    PAIR,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    RESPONSE,
    TCP_LIMIT,
    TRUNCATED,
    UDP_LIMIT,
)
from beonss.wire.dns_query import Query
from beonss.wire.dns_reply import Reply

__all__ = ["probe_question", "question_key", "relay", "upstream_query"]

_OPT: Final = Struct("!BHHBBHH")
_TTL: Final = Struct("!I")
_NUMBER: Final = Struct("!H")


def question_key(query: Query) -> bytes:
    """Return what two questions must have in common to be answered with the same reply."""
    edns = query.edns
    flags = (query.flags & CHECKING_DISABLED) | (1 if edns is not None and edns.dnssec else 0)
    return query.question.lower() + bytes([flags])


def upstream_query(id_: int, query: Query, *, edns: bool = True) -> bytes:
    """Write the question to another server.

    Args:
        id_: a random number of 16 bits.
        query: what the client asked; its wish for DNSSEC records and for unchecked data goes along.
        edns: the server understands EDNS.
    """
    flags = RECURSION_DESIRED | AUTHENTIC | query.flags & CHECKING_DISABLED
    header = HEADER.pack(id_, flags, 1, 0, 0, 1 if edns else 0)
    if not edns:
        return header + query.question
    wish = DNSSEC_OK if query.edns is not None and query.edns.dnssec else 0
    return header + query.question + _OPT.pack(0, RecordType.OPT, UDP_LIMIT, 0, 0, wish, 0)


def probe_question(id_: int, name: DomainName, type_: int) -> bytes:
    """Write a question whose only purpose is that it is answered."""
    labels = b"".join(bytes([len(label)]) + label for label in name)
    return HEADER.pack(id_, RECURSION_DESIRED, 1, 0, 0, 0) + labels + b"\0" + PAIR.pack(type_, 1)


def relay(
    query: Query,
    reply: Reply,
    *,
    tcp: bool = False,
    age: int = 0,
    ceiling: int = MAXIMUM_TTL,
    reason: Reason | None = None,
) -> bytes:
    """Write a reply of another server as the answer to a client.

    Args:
        query: what the client asked: the same question, perhaps in another case.
        reply: the other server's.
        tcp: it travels over TCP.
        age: seconds since it came, to be taken off the TTLs.
        ceiling: no TTL is higher.
        reason: an extended error of ours, in place of one that came with the reply.
    """
    edns = query.edns
    flags = RESPONSE | RECURSION_AVAILABLE | query.flags & (RECURSION_DESIRED | CHECKING_DISABLED) | reply.code & 15
    if query.flags & AUTHENTIC or (edns is not None and edns.dnssec):
        # Only who knows what AD means gets it (RFC 6840 section 5.8).
        flags |= reply.flags & AUTHENTIC
    opt = b""
    if edns is not None:
        options = reply.reason if reason is None else PAIR.pack(OPTION_REASON, 2) + _NUMBER.pack(reason)
        wish = DNSSEC_OK if edns.dnssec else 0
        opt = _OPT.pack(0, RecordType.OPT, UDP_LIMIT, reply.code >> 4, 0, wish, len(options)) + options
    limit = TCP_LIMIT if tcp else min(query.udp_limit, UDP_LIMIT)
    answers, authorities, additionals = reply.counts
    end = len(reply.message)
    if end + len(opt) > limit:
        additionals, end = 0, reply.additional
    if end + len(opt) > limit:
        header = HEADER.pack(query.id, flags | TRUNCATED, 1, 0, 0, 1 if opt else 0)
        return header + query.question + opt
    message = bytearray(reply.message[:end])
    HEADER.pack_into(message, 0, query.id, flags, 1, answers, authorities, additionals + (1 if opt else 0))
    message[HEADER.size : HEADER.size + len(query.question)] = query.question
    for offset in reply.ttls:
        if offset >= end:
            break
        (ttl,) = _TTL.unpack_from(message, offset)
        left = 0 if ttl > MAXIMUM_TTL else min(ceiling, max(0, ttl - age))
        if left != ttl:
            _TTL.pack_into(message, offset, left)
    return bytes(message) + opt
