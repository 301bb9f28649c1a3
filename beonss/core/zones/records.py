"""DNS records as values: types, codes, names, and what a record holds (RFC 1035 section 3).

A domain name is a tuple of labels, each 1..63 *bytes*, without the root; the root is the empty tuple.
Labels are bytes and not text (RFC 2181 section 11); comparing ignores the case of ASCII letters alone
(RFC 4343), which is what ``bytes.lower`` does.
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Address = IPv4Address | IPv6Address
DomainName = tuple[bytes, ...]


class RecordType(IntEnum):
    """Types this server knows by name; every other number up to 65535 may be asked for (RFC 3597)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    DNAME = 39
    OPT = 41
    DS = 43
    RRSIG = 46
    DNSKEY = 48
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


class RecordClass(IntEnum):
    """Classes of RFC 1035 section 3.2.4, the ones in use."""

    IN = 1
    CH = 3
    ANY = 255


class ReplyCode(IntEnum):
    """RCODEs (RFC 1035 section 4.1.1, RFC 2136, RFC 6672, RFC 6891)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    NOTAUTH = 9
    BADVERS = 16


class Reason(IntEnum):
    """INFO-CODEs of an extended DNS error that this server gives (RFC 8914 section 4)."""

    STALE = 3
    CACHED_FAILURE = 13
    PROHIBITED = 18
    STALE_DENIAL = 19
    NOT_AUTHORITATIVE = 20
    NOT_SUPPORTED = 21
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23


@dataclass(frozen=True, slots=True)
class AddressData:
    """The address of an A or AAAA record."""

    address: Address


@dataclass(frozen=True, slots=True)
class NameData:
    """The name that an NS, CNAME or PTR record points to."""

    target: DomainName


@dataclass(frozen=True, slots=True)
class SOAData:
    """Start of authority (RFC 1035 section 3.3.13); times in seconds, ``minimum`` as in RFC 2308 section 4."""

    primary: DomainName
    mailbox: DomainName
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@dataclass(frozen=True, slots=True)
class TextData:
    """The strings of a TXT record, each at most 255 bytes, at least one."""

    strings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OpaqueData:
    """Data that is served as it was written (RFC 3597), of all types that the others do not hold.

    Attributes:
        data: in wire form; names in it are not compressed and keep their case.
        target: the name in it whose addresses a client will want next (MX, SRV) or that it leads to (DNAME).
    """

    data: bytes
    target: DomainName | None = None


Data = AddressData | NameData | SOAData | TextData | OpaqueData


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record; its class is that of the question.

    Attributes:
        name: the owner, in the case it shall be shown in.
        type: the type's number.
        ttl: seconds, 0..2**31-1 (RFC 2181 section 8).
        data: a value that suits the type.
    """

    name: DomainName
    type: int
    ttl: int
    data: Data


#: A TTL has 31 bits (RFC 2181 section 8).
MAXIMUM_TTL: Final = 2**31 - 1


def folded(name: DomainName) -> DomainName:
    """Return the name with the case of ASCII letters taken away, for comparing (RFC 4343)."""
    return tuple([label.lower() for label in name])


def domain(text: str) -> DomainName:
    """Split a name written in ASCII without escapes, such as ``r01n07.fellow.aero.org``, at its dots.

    Raises:
        ValueError: a label is empty, longer than 63 bytes or not ASCII.
    """
    stem = text.removesuffix(".")
    if not stem:
        return ()
    labels = tuple(stem.encode("ascii").split(b"."))
    if not all(0 < len(label) <= 63 for label in labels):
        raise ValueError(f"{text!r} has a label that is empty or longer than 63 bytes")
    return labels


def shown(name: DomainName) -> str:
    """Return the name for a person or a log: printable ASCII, every other byte by its number (RFC 4343 section 2.1)."""
    if not name:
        return "."
    return ".".join("".join(_shown_byte(byte) for byte in label) for label in name)


def _shown_byte(byte: int) -> str:
    if byte in b'.\\"();@$':
        return "\\" + chr(byte)
    return chr(byte) if 0x21 <= byte <= 0x7E else f"\\{byte:03}"
