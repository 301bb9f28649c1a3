"""TLS between masters, and between nodes and masters: version 1.3 only, believed by key alone.

Certificates are self-signed and only carry a key; names, dates and chains in them are not looked at
(docs/explanation/trust.md). Whoever connects is asked for a certificate and may have none: which role a key plays is
decided above. No sessions are resumed, so every connection proves its key anew.
"""

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from beonss.store.keys import Identity


def _context(identity: Identity | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # A master holds thousands of idle connections of nodes.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Any certificate passes here; the key is looked at when the handshake is done (peer_key).
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    if identity is not None:
        loaded: Any = context  # its type stubs are older than what it takes
        loaded.use_certificate(x509.load_pem_x509_certificate(identity.certificate))
        loaded.use_privatekey(identity.key)
        context.check_privatekey()
    return context


@implementer(IOpenSSLServerConnectionCreator)
class _Serving:
    def __init__(self, identity: Identity) -> None:
        self._context = _context(identity)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """Return one connection's state."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLClientConnectionCreator)
class _Calling:
    def __init__(self, identity: Identity | None) -> None:
        self._context = _context(identity)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """Return one connection's state."""
        return SSL.Connection(self._context, None)


class _Gate(TLSMemoryBIOFactory):
    """Turns callers away before anything is spent on TLS (the factory inside may not do it by returning None)."""

    # A message is one write: gathering writes until the reactor's next turn would only hold each of them back.
    protocol = TLSMemoryBIOProtocol
    admits: Callable[[IAddress | None], bool]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Take a caller, or close its connection at once."""
        return super().buildProtocol(addr) if self.admits(addr) else None


def serving(
    identity: Identity, factory: Factory, reactor: Any, admits: Callable[[IAddress | None], bool]
) -> TLSMemoryBIOFactory:
    """Wrap a factory so that its protocols speak TLS as a master's server side.

    Args:
        identity: shown to every caller.
        factory: makes the protocols inside.
        reactor: for times.
        admits: says, by address and before the handshake, whether a caller is taken.
    """
    gate = _Gate(_Serving(identity), False, factory, reactor)
    gate.admits = admits
    return gate


def calling(identity: Identity | None, factory: Factory, reactor: Any) -> TLSMemoryBIOFactory:
    """Wrap a factory so that its protocols speak TLS as a caller; a node has no identity."""
    caller = TLSMemoryBIOFactory(_Calling(identity), True, factory, reactor)
    caller.protocol = TLSMemoryBIOProtocol
    return caller


def peer_key(transport: Any) -> bytes | None:
    """Return the Ed25519 public key, 32 bytes, that the other side proved to own; None without such a key.

    Valid once the handshake is done (``IHandshakeListener``). Never raises for what the peer sent.
    """
    connection = transport.getHandle()
    try:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        key = None if certificate is None else certificate.public_key()
    except Exception:  # noqa: BLE001 - a certificate is outside bytes; whatever it breaks, it is no key of ours
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
