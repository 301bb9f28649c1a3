"""The joining machine's side of the sync port: blocking, one question and one answer, for ``beonss join``."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Acceptance, Roster
from beonss.errors import MalformedError, PeerError, Refused, Unavailable
from beonss.wire.documents import Token, empty_roster, verified, with_documents
from beonss.wire.feed import DescriptionContent, DescriptionDocument
from beonss.wire.frames import MAXIMUM_FRAME, FrameReader
from beonss.wire.sync import PROTOCOL, Heartbeat, Hello, Message, Refusal, Unknown, decode, encode


class OutcomeUnknown(PeerError):  # noqa: N818 - what happened, not whose error
    """The token was presented, and the answer did not arrive: it may be used now."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What the joining machine got.

    Attributes:
        roster: the member list, this machine accepted in it.
        master: name of the master that accepted it.
        description: the cluster description in force there, or None.
    """

    roster: Roster
    master: str
    description: DescriptionContent | None


def join(
    token: Token, acceptance: Acceptance, *, certificate: Path, key: Path, software: str, timeout: float
) -> Joined:
    """Present the token to the masters named in it, one after another, until one answers.

    Args:
        token: as it was given.
        acceptance: this machine's new key, signed with the token's secret.
        certificate: file of this machine's new certificate (PEM).
        key: file of its private key (PEM).
        software: our version.
        timeout: seconds for each master.

    Raises:
        Refused: a master says no; ``code`` tells why.
        Unavailable: no master could be reached; nothing was presented.
        OutcomeUnknown: the token was presented, and nothing came back.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Believed by the key in the list that the cluster key signed, which is checked in _answer.
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    tried: list[str] = []
    unknown: list[str] = []
    refusals: list[Refused] = []
    for endpoint in token.endpoints:
        try:
            return _try(context, endpoint, token=token, acceptance=acceptance, software=software, timeout=timeout)
        except Refused as refusal:
            # One that has not heard of the invitation yet is no last word.
            if refusal.code not in {"unknown-invitation", "not-yet"}:
                raise
            refusals.append(refusal)
        except OutcomeUnknown as error:
            unknown.append(f"{endpoint}: {error}")
        except (OSError, PeerError) as error:
            tried.append(f"{endpoint}: {error}")
    if unknown:
        raise OutcomeUnknown("; ".join([*unknown, *tried]))
    if refusals:
        raise refusals[0]
    raise Unavailable("; ".join(tried) or "the token names no master")


def _try(
    context: ssl.SSLContext, endpoint: Endpoint, *, token: Token, acceptance: Acceptance, software: str, timeout: float
) -> Joined:
    deadline = time.monotonic() + timeout
    with (
        socket.create_connection(endpoint, timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=None) as connection,
    ):
        server = _key_of(connection)
        connection.sendall(
            encode(
                Hello(
                    role="joiner",
                    cluster=token.cluster,
                    name=token.name,
                    incarnation="",
                    boot="",
                    wall=int(time.time() * 1000),
                    description="",
                    software=software,
                    acceptances=(acceptance,),
                )
            )
        )
        try:
            return _answer(connection, server, token, acceptance, deadline)
        except OSError as error:
            raise OutcomeUnknown(str(error) or "no answer in time") from None


def _key_of(connection: ssl.SSLSocket) -> bytes:
    encoded = connection.getpeercert(binary_form=True)
    try:
        key = x509.load_der_x509_certificate(encoded or b"").public_key()
    except Exception:  # noqa: BLE001 - outside bytes; whatever breaks, it is no master of ours
        raise PeerError("what answers there is no master") from None
    if not isinstance(key, Ed25519PublicKey):
        raise PeerError("what answers there is no master")
    return key.public_bytes_raw()


def _answer(connection: ssl.SSLSocket, server: bytes, token: Token, acceptance: Acceptance, deadline: float) -> Joined:
    messages = _Messages(connection, deadline)
    hello = messages.next()
    if isinstance(hello, Refusal):
        raise Refused(hello.word, hello.text or "that master does not know this cluster or this machine")
    if not isinstance(hello, Hello) or hello.protocol != PROTOCOL:
        raise PeerError("what answers there speaks another protocol; install the same version of beonss")
    roster, _ = with_documents(empty_roster(token.cluster_key), hello.members, hello.acceptances)
    if roster.name_of(server) is None:
        raise PeerError("what answers there is not in the member list that this cluster's key signed")
    if roster.key_of(token.name) != acceptance.key:
        raise PeerError("that master says it accepted this machine, but its member list says otherwise")
    description = None
    if hello.description:
        while not isinstance(message := messages.next(), DescriptionDocument):
            if not isinstance(message, Heartbeat | Unknown):
                break
        else:
            description = _description(message, roster)
    return Joined(roster, roster.name_of(server) or "", description)


def _description(document: DescriptionDocument, roster: Roster) -> DescriptionContent:
    signed = verified(document.signer, "description", document.payload, document.signature)
    if not signed or roster.name_of(document.signer) is None:
        raise MalformedError("the description is not signed by a master")
    return DescriptionContent.decode(document.payload)


class _Messages:
    """The messages on a blocking connection, until a deadline on the monotonic clock."""

    def __init__(self, connection: ssl.SSLSocket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._reader = FrameReader(MAXIMUM_FRAME)
        self._waiting: list[Message] = []

    def next(self) -> Message:
        """Return the next one.

        Raises:
            OSError: none came in time.
        """
        while not self._waiting:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self._connection.settimeout(left)
            data = self._connection.recv(65536)
            if not data:
                raise ConnectionError("the master closed the connection without an answer")
            self._waiting += [decode(frame) for frame in self._reader.feed(data)]
        return self._waiting.pop(0)
