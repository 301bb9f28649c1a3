"""Transaction signatures: HMAC-SHA256 over DNS messages (RFC 8945), and files with keys.

Only this one algorithm, which every implementation must know (RFC 8945 section 6), and only whole MACs. Time is an
argument. :func:`read_signature` reads the record as it came, :func:`verify` judges it, a :class:`Signer` signs a reply
of one message or many.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from beonss.core.names.description import Problem
from beonss.core.zones.records import DomainName, RecordType, domain, folded
from beonss.wire.dns_layout import FIXED, HEADER

#: The algorithm's name, in lower case (RFC 8945 section 6).
ALGORITHM: Final[DomainName] = (b"hmac-sha256",)
#: Seconds by which clocks may differ (RFC 8945 section 10).
FUDGE: Final = 300
#: Bytes of an HMAC-SHA256.
MAC_SIZE: Final = 32
#: Errors (RFC 8945 section 3).
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22

_CLASS_ANY: Final = 255
_TIMERS: Final = Struct("!HIH")
_SHORT: Final = Struct("!H")
_TAIL: Final = Struct("!HHH")
_KEY = re.compile(
    r"""key \s+ (?P<name>"[^"\s]{1,255}"|[^"\s;{}]{1,255}) \s* \{
        \s* algorithm \s+ "?(?P<algorithm>[A-Za-z0-9.-]{1,64})"? \s* ;
        \s* secret \s+ "?(?P<secret>[A-Za-z0-9+/=]{1,1024})"? \s* ; \s* \} \s* ;""",
    re.VERBOSE | re.ASCII,
)
_SHAPE: Final = 'here should be: key "NAME" { algorithm hmac-sha256; secret "..."; };'
_BLANK = re.compile(r"(?:\s|//[^\n]*|\#[^\n]*|/\*.*?\*/)+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """A secret shared with another server.

    Attributes:
        name: in lower case.
        secret: the bytes of the key; never shown.
    """

    name: DomainName
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """A TSIG record as it came.

    Attributes:
        start: where in the message its record begins; it is the last one.
        key: name of the key, in lower case.
        algorithm: in lower case.
        time: seconds since the epoch, 48 bits.
        fudge: seconds.
        mac: the signature.
        original_id: id of the message when it was signed.
        error: the sender's error code.
        other: further data.
    """

    start: int
    key: DomainName
    algorithm: DomainName
    time: int
    fudge: int
    mac: bytes
    original_id: int
    error: int
    other: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a signature.

    Attributes:
        key: the key it was made with; None unless it is known.
        error: 0 where it is good, else one of the errors of RFC 8945.
    """

    key: Key | None
    error: int


def read_signature(packet: bytes, start: int, name: DomainName, rdata: bytes) -> Signature | None:
    """Read the data of a TSIG record (RFC 8945 section 4.2).

    Args:
        packet: the whole message; the record must end it.
        start: where the record begins.
        name: its owner.
        rdata: its data.

    Returns:
        None if it is malformed.
    """
    labels: list[bytes] = []
    at, size = 0, len(rdata)
    while at < size and (length := rdata[at]):
        # The name of the algorithm is never compressed.
        if length > 63 or at > 255:
            return None
        labels.append(rdata[at + 1 : at + 1 + length])
        at += length + 1
    at += 1
    if at + _TIMERS.size + 2 > size:
        return None
    high, low, fudge = _TIMERS.unpack_from(rdata, at)
    at += _TIMERS.size
    (length,) = _SHORT.unpack_from(rdata, at)
    mac = rdata[at + 2 : at + 2 + length]
    at += 2 + length
    if at + _TAIL.size > size:
        return None
    original_id, error, others = _TAIL.unpack_from(rdata, at)
    other = rdata[at + _TAIL.size :]
    if len(other) != others or start + len(rdata) > len(packet):
        return None
    key, algorithm = folded(name), folded(tuple(labels))
    return Signature(start, key, algorithm, high << 32 | low, fudge, mac, original_id, error, other)


def verify(packet: bytes, signature: Signature, keys: Mapping[DomainName, Key], now: int) -> Verdict:
    """Judge the signature of a request (RFC 8945 section 5.2).

    Args:
        packet: the whole message.
        signature: as read from it.
        keys: the keys we share, by name in lower case.
        now: seconds since the epoch.
    """
    key = keys.get(signature.key)
    if key is None or signature.algorithm != ALGORITHM:
        return Verdict(None, BADKEY)
    if len(signature.mac) > MAC_SIZE:
        return Verdict(key, BADSIG)
    whole = _mac(key, _unsigned(packet, signature) + _variables(signature))
    if not hmac.compare_digest(whole[: len(signature.mac)], signature.mac) or len(signature.mac) < 16:
        return Verdict(key, BADSIG)
    if len(signature.mac) < MAC_SIZE:
        return Verdict(key, BADTRUNC)
    if abs(now - signature.time) > signature.fudge:
        return Verdict(key, BADTIME)
    return Verdict(key, 0)


class Signer:
    """Signs the messages of one reply, or a request.

    Args:
        key: what to sign with.
        request_mac: the MAC of the request that is answered; None signs a request.

    Attributes:
        mac: the MAC of the last message that was signed.
    """

    def __init__(self, key: Key, request_mac: bytes | None = None) -> None:
        self._key = key
        self._prior = b"" if request_mac is None else _counted(request_mac)
        self._first = True
        self.mac = b""

    @property
    def size(self) -> int:
        """Bytes by which a message grows, with room for the time of a BADTIME."""
        return _record_size(self._key.name, MAC_SIZE) + 6

    def sign(self, message: bytes, now: int, error: int = 0) -> bytes:
        """Return the message with its signature.

        Args:
            message: without one.
            now: seconds since the epoch.
            error: what was wrong with the request's signature; with BADTIME our time goes along.
        """
        other = now.to_bytes(6, "big") if error == BADTIME else b""
        made = Signature(0, self._key.name, ALGORITHM, now, FUDGE, b"", _id(message), error, other)
        # After the first message only the times are signed beside the message (RFC 8945 section 5.3.1).
        variables = _variables(made) if self._first else _timers(made)
        self.mac = _mac(self._key, self._prior + message + variables)
        self._prior, self._first = _counted(self.mac), False
        return _appended(message, made, self.mac)


def unsigned_error(message: bytes, signature: Signature, error: int) -> bytes:
    """Return a reply that says why a signature is not accepted, itself without a MAC (RFC 8945 section 5.2)."""
    made = Signature(
        0, signature.key, signature.algorithm, signature.time, signature.fudge, b"", _id(message), error, b""
    )
    return _appended(message, made, b"")


def read_keys(text: str, file: str) -> tuple[dict[DomainName, Key], list[Problem]]:
    """Read keys in the form that tsig-keygen and BIND use: ``key "ns1" { algorithm hmac-sha256; secret "..."; };``.

    Returns:
        The keys by name in lower case, and every mistake; no problem shows anything of a secret.
    """
    keys: dict[DomainName, Key] = {}
    problems: list[Problem] = []
    at = _skipped(text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        found = _KEY.match(text, at)
        if found is None:
            problems.append(Problem(file, line, "", _SHAPE))
            break
        at = _skipped(text, found.end())
        mistake = _read_key(found, keys)
        if mistake:
            problems.append(Problem(file, line, "", mistake))
    return keys, problems


def _read_key(found: re.Match[str], keys: dict[DomainName, Key]) -> str | None:
    """Add a key; return what is wrong with it, if anything."""
    try:
        name = folded(domain(found["name"].strip('"')))
        secret = base64.b64decode(found["secret"], validate=True)
    except (ValueError, binascii.Error):
        return "the name or the secret of this key cannot be read; make it with tsig-keygen"
    if found["algorithm"].lower().rstrip(".") != "hmac-sha256":
        return f"algorithm {found['algorithm']}; only hmac-sha256 is known"
    if len(secret) < MAC_SIZE // 2:
        return f"the secret has less than {MAC_SIZE // 2} bytes; make one with tsig-keygen"
    if not name or name in keys:
        return "the key has no name, or one that another key has already"
    keys[name] = Key(name, secret)
    return None


def _skipped(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _mac(key: Key, signed: bytes) -> bytes:
    return hmac.digest(key.secret, signed, hashlib.sha256)


def _counted(mac: bytes) -> bytes:
    return _SHORT.pack(len(mac)) + mac


def _id(message: bytes) -> int:
    return int.from_bytes(message[:2], "big")


def _wire(name: DomainName) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def _timers(signature: Signature) -> bytes:
    return _TIMERS.pack(signature.time >> 32, signature.time & 0xFFFFFFFF, signature.fudge)


def _variables(signature: Signature) -> bytes:
    """Return what of the record itself is signed (RFC 8945 section 4.3.3)."""
    return (
        _wire(signature.key)
        + Struct("!HI").pack(_CLASS_ANY, 0)
        + _wire(signature.algorithm)
        + _timers(signature)
        + _SHORT.pack(signature.error)
        + _counted(signature.other)
    )


def _unsigned(packet: bytes, signature: Signature) -> bytes:
    """Return the message as it was before it was signed."""
    _, flags, *counts = HEADER.unpack_from(packet)
    counts[-1] -= 1
    return HEADER.pack(signature.original_id, flags, *counts) + packet[HEADER.size : signature.start]


def _record_size(key: DomainName, mac: int) -> int:
    return len(_wire(key)) + FIXED.size + len(_wire(ALGORITHM)) + _TIMERS.size + 2 + mac + _TAIL.size


def _appended(message: bytes, signature: Signature, mac: bytes) -> bytes:
    id_, flags, *counts = HEADER.unpack_from(message)
    counts[-1] += 1
    rdata = (
        _wire(signature.algorithm)
        + _timers(signature)
        + _counted(mac)
        + _TAIL.pack(signature.original_id, signature.error, len(signature.other))
        + signature.other
    )
    record = _wire(signature.key) + FIXED.pack(RecordType.TSIG, _CLASS_ANY, 0, len(rdata)) + rdata
    return HEADER.pack(id_, flags, *counts) + message[HEADER.size :] + record
