"""Signed documents: the member list, acceptances, batches of registers, the description, and invite tokens.

Every signature is Ed25519 (RFC 8032) over ``"beonss-1 <domain>" NUL payload``: a signature made for one kind of
document never holds for another. Payloads are MessagePack, written in one fixed order; what is signed is the
payload's bytes as they came, never a re-encoding of what was read.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import (
    KEY_BYTES,
    MAXIMUM_FORMER,
    MAXIMUM_MEMBERS,
    Acceptance,
    Alarm,
    Member,
    MemberList,
    Roster,
    answers,
    cluster_id,
    with_acceptance,
    with_list,
)
from beonss.errors import ConfigurationError, MalformedError
from beonss.wire.packing import Fields, pack, unpack

Domain = Literal["members", "acceptance", "batch", "description"]

#: Bytes of an Ed25519 signature.
SIGNATURE_BYTES = 64
#: Bytes of the one-time secret in a token.
SECRET_BYTES = 16
#: A signed member list is never longer.
MAXIMUM_DOCUMENT = 256 << 10
TOKEN_PREFIX = "beonss1-"  # noqa: S105 - not a secret, the start of every token
PUBLIC_PREFIX = "beonss-cluster-1"
MAXIMUM_NAME = 63
MAXIMUM_ENDPOINTS = 16


def _covered(domain: Domain, payload: bytes) -> bytes:
    return b"beonss-1 " + domain.encode("ascii") + b"\x00" + payload


def sign(key: Ed25519PrivateKey, domain: Domain, payload: bytes) -> bytes:
    """Return the signature, 64 bytes, of ``payload`` as a document of this kind."""
    return key.sign(_covered(domain, payload))


def verified(key: bytes, domain: Domain, payload: bytes, signature: bytes) -> bool:
    """Say whether ``signature`` is by ``key`` over ``payload`` as a document of this kind."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _covered(domain, payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the public half, 32 bytes."""
    return key.public_key().public_bytes_raw()


# -- the member list


def write_members(members: MemberList, cluster_key: Ed25519PrivateKey) -> bytes:
    """Return the signed member list.

    Raises:
        ConfigurationError: it is too long (too many members or addresses).
    """
    payload = pack(
        {
            "cluster": members.cluster,
            "number": members.number,
            "members": [
                {
                    "name": m.name,
                    "key": m.key,
                    "at": [list(endpoint) for endpoint in m.endpoints],
                    "invite": m.invite_key,
                    "invited": m.invited,
                    "expires": m.expires,
                }
                for m in members.members
            ],
            "former": list(members.former),
        }
    )
    document = pack([payload, sign(cluster_key, "members", payload)])
    if len(document) > MAXIMUM_DOCUMENT:
        raise ConfigurationError(f"the member list has {len(document)} bytes, {MAXIMUM_DOCUMENT} are possible")
    return document


def read_members(document: bytes, cluster_key: bytes) -> MemberList:
    """Read a signed member list.

    Raises:
        MalformedError: it does not parse, or is not signed by the cluster key.
    """
    if len(document) > MAXIMUM_DOCUMENT:
        raise MalformedError("a member list is too long")
    envelope = unpack(document)
    if not (isinstance(envelope, list) and len(envelope) == 2 and all(isinstance(part, bytes) for part in envelope)):
        raise MalformedError("that is no signed member list")
    payload, signature = envelope
    if not verified(cluster_key, "members", payload, signature):
        raise MalformedError("a member list is not signed by this cluster's key")
    fields = Fields(unpack(payload), "member list")
    members = tuple(_member(entry) for entry in fields.array("members", MAXIMUM_MEMBERS))
    former = tuple(fields.array("former", MAXIMUM_FORMER))
    if not all(isinstance(key, bytes) and len(key) == KEY_BYTES for key in former):
        raise MalformedError("a member list holds a former key that is none")
    if len({member.name for member in members}) != len(members):
        raise MalformedError("a member list names a member twice")
    result = MemberList(fields.text("cluster", 32), fields.number("number"), members, former)
    if result.cluster != cluster_id(cluster_key):
        raise MalformedError("a member list is of another cluster")
    return result


def _member(entry: Any) -> Member:
    fields = Fields(entry, "member")
    key, invite = fields.octets("key", KEY_BYTES), fields.octets("invite", KEY_BYTES)
    if len(key) not in {0, KEY_BYTES} or len(invite) not in {0, KEY_BYTES}:
        raise MalformedError("a member's key has a wrong length")
    endpoints = tuple(_endpoint(item) for item in fields.array("at", MAXIMUM_ENDPOINTS))
    name = fields.text("name", MAXIMUM_NAME)
    return Member(name, key, endpoints, invite, fields.number("invited"), fields.number("expires"))


def _endpoint(item: Any) -> Endpoint:
    if isinstance(item, list) and len(item) == 2:
        host, port = item
        if isinstance(host, str) and 0 < len(host) <= 255 and type(port) is int and 0 <= port <= 65535:
            return Endpoint(host, port)
    raise MalformedError("an address in a document is none")


# -- acceptances


def _statement(cluster: str, name: str, number: int, key: bytes) -> bytes:
    return pack([cluster, name, number, key])


def accept(token: "Token", key: bytes) -> Acceptance:
    """Sign the new machine's public key with the invite key of its token."""
    statement = _statement(token.cluster, token.name, token.invited, key)
    signature = sign(invite_key(token.secret), "acceptance", statement)
    return Acceptance(token.cluster, token.name, token.invited, key, signature)


def is_signed(acceptance: Acceptance, members: MemberList) -> bool:
    """Say whether an acceptance is signed by the invite key of its entry in ``members``."""
    entry = members.find(acceptance.name)
    if entry is None or not entry.invite_key:
        return False
    statement = _statement(acceptance.cluster, acceptance.name, acceptance.invited, acceptance.key)
    return verified(entry.invite_key, "acceptance", statement, acceptance.signature)


def acceptance_to_plain(acceptance: Acceptance) -> list[Any]:
    """Return an acceptance as a MessagePack array."""
    return [acceptance.cluster, acceptance.name, acceptance.invited, acceptance.key, acceptance.signature]


def acceptance_from_plain(item: Any) -> Acceptance:
    """Read an acceptance out of a MessagePack array.

    Raises:
        MalformedError: it is none.
    """
    if isinstance(item, list) and len(item) == 5:
        cluster, name, number, key, signature = item
        if (
            (isinstance(cluster, str) and len(cluster) == 32)
            and (isinstance(name, str) and 0 < len(name) <= MAXIMUM_NAME)
            and (type(number) is int and number >= 0)
            and (isinstance(key, bytes) and len(key) == KEY_BYTES)
            and (isinstance(signature, bytes) and len(signature) == SIGNATURE_BYTES)
        ):
            return Acceptance(cluster, name, number, key, signature)
    raise MalformedError("that is no acceptance of an invitation")


# -- the cluster's public key as a line of text


def write_public(key: bytes, title: str) -> str:
    """Return the one line that nodes pin (cluster.pub); the title is for people."""
    words = " ".join(title.split())
    return f"{PUBLIC_PREFIX} {base64.b64encode(key).decode()} {words}".rstrip() + "\n"


def read_public(text: str, filename: str) -> bytes:
    """Read the cluster's public key, 32 bytes.

    Raises:
        MalformedError: the file is no cluster.pub.
    """
    words = text.split()
    try:
        key = base64.b64decode(words[1], validate=True) if words[:1] == [PUBLIC_PREFIX] and len(words) > 1 else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise MalformedError(
            f"{filename} is not a cluster's public key; copy cluster.pub from the state directory of a master"
        )
    return key


# -- tokens


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What an administrator carries from ``beonss invite`` to ``beonss join``: one line, good once.

    Attributes:
        cluster_key: the cluster's public key.
        name: name of the invited machine.
        invited: number of the list in which the invitation stands.
        expires: seconds since the epoch.
        secret: 16 random bytes.
        endpoints: the masters to ask, in order.
    """

    cluster_key: bytes
    name: str
    invited: int
    expires: int
    secret: bytes
    endpoints: tuple[Endpoint, ...]

    @property
    def cluster(self) -> str:
        """Id of the cluster."""
        return cluster_id(self.cluster_key)

    def __repr__(self) -> str:
        """Keep the secret out of logs and tracebacks."""
        return f"Token(name={self.name!r}, secret=<hidden>)"


def invite_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the invite key that belongs to a one-time secret."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"beonss invite key\x00" + secret).digest())


def write_token(token: Token) -> str:
    """Return the token as one word of letters, digits, ``-`` and ``_``."""
    payload = pack(
        [
            token.cluster_key,
            token.name,
            token.invited,
            token.expires,
            token.secret,
            [list(endpoint) for endpoint in token.endpoints],
        ]
    )
    checked = payload + hashlib.sha256(payload).digest()[:4]
    return TOKEN_PREFIX + _letters(checked)


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_token(text: str) -> Token:
    """Read a token.

    Raises:
        MalformedError: it is none, or it was not copied whole. The text never holds the token.
    """
    body = text.strip()
    if not body.startswith(TOKEN_PREFIX) or len(body) > 8192:
        raise MalformedError(f"that is no token: it begins with {TOKEN_PREFIX!r} and is one line")
    body = body.removeprefix(TOKEN_PREFIX)
    try:
        checked = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        checked = b""
    payload, check = checked[:-4], checked[-4:]
    if len(check) != 4 or _letters(checked) != body or hashlib.sha256(payload).digest()[:4] != check:
        raise MalformedError("the token was not copied whole; copy the complete line that 'beonss invite' printed")
    items = unpack(payload)
    if isinstance(items, list) and len(items) == 6:
        key, name, number, expires, secret, endpoints = items
        if (
            (isinstance(key, bytes) and len(key) == KEY_BYTES)
            and (isinstance(name, str) and 0 < len(name) <= MAXIMUM_NAME)
            and (type(number) is int and number >= 0 and type(expires) is int)
            and (isinstance(secret, bytes) and len(secret) == SECRET_BYTES)
            and (isinstance(endpoints, list) and len(endpoints) <= MAXIMUM_ENDPOINTS)
        ):
            return Token(key, name, number, expires, secret, tuple(_endpoint(item) for item in endpoints))
    raise MalformedError("the token is of another version of beonss; invite and join with the same version")


# -- rosters


def with_documents(roster: Roster, document: bytes, acceptances: Iterable[Acceptance]) -> tuple[Roster, list[Alarm]]:
    """Merge what another machine holds: a signed list (may be empty bytes) and acceptances.

    Raises:
        MalformedError: a signature is wrong; nothing of it was taken.
        Refused: the list is of another cluster.
    """
    alarms = []
    if document and document != roster.document:
        roster, alarm = with_list(roster, read_members(document, roster.cluster_key), document)
        alarms.append(alarm)
    for acceptance in acceptances:
        if not answers(roster.list, acceptance):
            continue
        if not is_signed(acceptance, roster.list):
            raise MalformedError(f"the acceptance of {acceptance.name!r} is not signed by its invitation")
        roster, alarm = with_acceptance(roster, acceptance)
        alarms.append(alarm)
    return roster, [alarm for alarm in alarms if alarm is not None]


def empty_roster(cluster_key: bytes) -> Roster:
    """Return the roster of a machine that knows the cluster's key and nothing else."""
    return Roster(cluster_key, MemberList(cluster_id(cluster_key), 0, ()), b"")


def write_roster(roster: Roster) -> bytes:
    """Return a roster as bytes to keep in a file."""
    return pack([roster.document, [acceptance_to_plain(a) for _, a in sorted(roster.acceptances.items())]])


def read_roster(data: bytes, cluster_key: bytes) -> Roster:
    """Read the bytes of :func:`write_roster`; every signature is checked.

    Raises:
        MalformedError: they are something else, or of another cluster.
    """
    items = unpack(data)
    if not (isinstance(items, list) and len(items) == 2 and isinstance(items[0], bytes) and isinstance(items[1], list)):
        raise MalformedError("no member list")
    empty = empty_roster(cluster_key)
    if not items[0]:
        return empty
    return with_documents(empty, items[0], [acceptance_from_plain(item) for item in items[1]])[0]
