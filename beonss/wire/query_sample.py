"""Queries as they were taken for the log: bytes of a query and of its reply, and what they say.

A process that answers hands over runs of them (:func:`pack`), the daemon reads them (:func:`unpack`); what a packet
asked for is found out only then (:func:`record_of`), away from where queries are answered. Numbers are big-endian::

    sample = head, client (4 or 16 bytes), query, reply
    head   = time (double, seconds since the epoch), took (u32, microseconds; all bits set: not measured),
             size of the whole reply (u32), bytes of the query here (u16), of the reply here (u8),
             transport and family (u8: 1 for TCP, 2 for IPv6)
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from beonss.core.zones.query_log import QueryRecord
from beonss.core.zones.records import DomainName, RecordClass, RecordType, ReplyCode, shown
from beonss.errors import MalformedError

#: Bytes of a query that are kept: header, longest question, OPT and some options.
QUERY_KEPT: Final = 320
#: Bytes of a reply that are kept: the header.
REPLY_KEPT: Final = 12
#: Bytes of one run.
MOST_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct("!dIIHBB")
_HEADER: Final = struct.Struct("!6H")
_PAIR: Final = struct.Struct("!HH")
_UNMEASURED: Final = 0xFFFFFFFF
_TCP, _SIX = 1, 2
_MOST_LABELS: Final = 127
_LONGEST_NAME: Final = 255

#: Types by number: those that this server knows, and what else is asked for every day.
_TYPES: Final = {int(kind): kind.name for kind in RecordType} | {
    13: "HINFO", 17: "RP", 29: "LOC", 35: "NAPTR", 37: "CERT", 44: "SSHFP", 47: "NSEC", 50: "NSEC3", 52: "TLSA",
    61: "OPENPGPKEY", 64: "SVCB", 65: "HTTPS", 99: "SPF", 256: "URI", 257: "CAA",
}  # fmt: skip
_CLASSES: Final = {int(kind): kind.name for kind in RecordClass}
_CODES: Final = {int(code): code.name for code in ReplyCode} | {7: "YXRRSET", 8: "NXRRSET", 10: "NOTZONE"}
_QUERY_FLAGS: Final = ((0x0100, "rd"), (0x0020, "ad"), (0x0010, "cd"))
_REPLY_FLAGS: Final = ((0x0400, "aa"), (0x0200, "tc"), (0x0080, "ra"), (0x0020, "ad"))
_DNSSEC_OK: Final = 0x8000


@dataclass(frozen=True, slots=True)
class Sample:
    """One query that was taken.

    Attributes:
        time: seconds since the epoch.
        client: address of 4 or 16 bytes.
        tcp: whether it came over TCP.
        query: its first :data:`QUERY_KEPT` bytes.
        reply: the first :data:`REPLY_KEPT` bytes of the reply; empty where there was none.
        size: bytes of the whole reply.
        took: microseconds until the reply was ready; None where it was not measured.
    """

    time: float
    client: bytes
    tcp: bool
    query: bytes
    reply: bytes
    size: int
    took: int | None


def pack(samples: Iterable[Sample]) -> bytes:
    """Return samples as one run of bytes; what has no room in :data:`MOST_BYTES` is left out."""
    parts: list[bytes] = []
    room = MOST_BYTES
    for sample in samples:
        query, reply = sample.query[:QUERY_KEPT], sample.reply[:REPLY_KEPT]
        took = _UNMEASURED if sample.took is None else min(max(0, sample.took), _UNMEASURED - 1)
        kind = _TCP * sample.tcp | _SIX * (len(sample.client) == 16)
        head = _HEAD.pack(sample.time, took, min(sample.size, _UNMEASURED), len(query), len(reply), kind)
        part = b"".join((head, sample.client, query, reply))
        room -= len(part)
        if room < 0:
            break
        parts.append(part)
    return b"".join(parts)


def unpack(data: bytes) -> list[Sample]:
    """Read a run of samples.

    Raises:
        MalformedError: it is none.
    """
    if len(data) > MOST_BYTES:
        raise MalformedError(f"a run of samples has {len(data)} bytes")
    found: list[Sample] = []
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise MalformedError("a run of samples is cut short")
        time, took, size, query, reply, kind = _HEAD.unpack_from(data, at)
        client = 16 if kind & _SIX else 4
        at += _HEAD.size
        end = at + client + query + reply
        if kind & ~(_TCP | _SIX) or query > QUERY_KEPT or reply > REPLY_KEPT or end > len(data) or not 0 <= time < 1e11:
            raise MalformedError("a run of samples makes no sense")
        found.append(
            Sample(
                time=time,
                client=data[at : at + client],
                tcp=bool(kind & _TCP),
                query=data[at + client : at + client + query],
                reply=data[at + client + query : end],
                size=size,
                took=None if took == _UNMEASURED else took,
            )
        )
        at = end
    return found


def record_of(sample: Sample) -> QueryRecord:
    """Return what a sample says. Whatever bytes it has: where the packet was no query there is no name."""
    name, type_, class_, flags, payload = _asked(sample.query)
    code = ""
    reply_flags: tuple[str, ...] = ()
    if len(sample.reply) >= 4:
        word = int.from_bytes(sample.reply[2:4], "big")
        code = _CODES.get(word & 15, f"RCODE{word & 15}")
        reply_flags = tuple(text for bit, text in _REPLY_FLAGS if word & bit)
    return QueryRecord(
        time=sample.time,
        client=IPv6Address(sample.client) if len(sample.client) == 16 else IPv4Address(sample.client),
        tcp=sample.tcp,
        name=name,
        type=type_,
        class_=class_,
        flags=flags,
        payload=payload,
        rcode=code,
        reply_flags=reply_flags,
        size=sample.size,
        took=sample.took,
    )


def _asked(packet: bytes) -> tuple[str | None, str, str, tuple[str, ...], int | None]:
    """Return name, type, class, flags and EDNS payload of a query; strictness is for those who answer."""
    if len(packet) < _HEADER.size:
        return None, "", "", (), None
    _, word, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    flags = tuple(text for bit, text in _QUERY_FLAGS if word & bit)
    labels, at = _labels(packet, _HEADER.size)
    if labels is None or questions != 1 or at + 4 > len(packet):
        return None, "", "", flags, None
    type_, class_ = _PAIR.unpack_from(packet, at)
    at += 4
    payload = None
    if additional and not answers and not authorities and packet[at : at + 3] == b"\0\0\x29" and at + 11 <= len(packet):
        payload = int.from_bytes(packet[at + 3 : at + 5], "big")
        if int.from_bytes(packet[at + 7 : at + 9], "big") & _DNSSEC_OK:
            flags += ("do",)
    return (
        shown(labels),
        _TYPES.get(type_, f"TYPE{type_}"),
        _CLASSES.get(class_, f"CLASS{class_}"),
        flags,
        payload,
    )


def type_word(text: str) -> str:
    """Return a type that somebody wrote (``aaaa``, ``TYPE28``) as :func:`record_of` names it.

    Raises:
        MalformedError: it is none.
    """
    word = text.upper()
    number = word.removeprefix("TYPE")
    if word != number and number.isascii() and number.isdecimal() and len(number) <= 5 and int(number) < 1 << 16:
        return _TYPES.get(int(number), f"TYPE{int(number)}")
    if word not in _TYPES.values():
        raise MalformedError(f"{text!r} is no type of records known here; write for example AAAA, or TYPE65280")
    return word


def _labels(packet: bytes, at: int) -> tuple[DomainName | None, int]:
    """Read a name without pointers; a question has none."""
    labels: list[bytes] = []
    start = at
    while at < len(packet) and len(labels) <= _MOST_LABELS and at - start < _LONGEST_NAME:
        length = packet[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > 63 or at + length > len(packet):
            break
        labels.append(packet[at : at + length])
        at += length
    return None, at
