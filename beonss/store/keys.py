"""Who a master is: its key and certificate, the cluster's key, and the member list, as they lie in its state directory.

Their names are in :mod:`beonss.store.statedirectory`. Nothing is ever overwritten but the member list.
"""

import datetime
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from beonss.core.cluster.members import Roster, cluster_id
from beonss.errors import ConfigurationError, MalformedError, StoreError
from beonss.store.statedirectory import CLUSTER_PUBLIC, MEMBER_CERTIFICATE, MEMBER_KEY, MEMBERS
from beonss.store.statefile import read_given, write_file, write_new
from beonss.wire.documents import (
    public_bytes,
    read_public,
    read_roster,
    write_public,
    write_roster,
)

#: Bytes of a key, a certificate or a member list at the most; the list grows with the members.
_LARGEST = 1 << 24
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
#: Validity dates are not looked at; these say so to those who print the certificate.
_ALWAYS = (datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC), datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC))


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A master's own key and certificate.

    Attributes:
        name: name of the machine, as in the certificate.
        key: Ed25519 private key.
        certificate: PEM.
    """

    name: str
    key: Ed25519PrivateKey
    certificate: bytes

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return public_bytes(self.key)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM (PKCS 8, not encrypted)."""
        return _private_pem(self.key)

    def __repr__(self) -> str:
        """Keep the key out of logs."""
        return f"Identity(name={self.name!r}, key=<hidden>)"


def check_member_name(name: str) -> str:
    """Return ``name`` in lower case.

    Raises:
        ConfigurationError: it is no host name of one label (RFC 1123).
    """
    lowered = name.lower()
    if not _LABEL.match(lowered):
        raise ConfigurationError(f"{name!r} cannot be a master's name: write one label of letters, digits and '-'")
    return lowered


def new_identity(name: str) -> Identity:
    """Make a key and a self-signed certificate for a master."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_ALWAYS[0])
        .not_valid_after(_ALWAYS[1])
        .sign(key, None)
    )
    return Identity(name, key, certificate.public_bytes(serialization.Encoding.PEM))


def new_cluster_key() -> Ed25519PrivateKey:
    """Make the key of a new cluster."""
    return Ed25519PrivateKey.generate()


# -- reading


def load_identity(state: Path, key_path: Path | None = None, certificate_path: Path | None = None) -> Identity:
    """Read this master's identity.

    Args:
        state: the state directory.
        key_path: the private key, if not where it belongs.
        certificate_path: the certificate, likewise.

    Raises:
        ConfigurationError: there is none, or others may read the private key.
        StoreError: a file is damaged.
    """
    key_path, path = key_path or state / MEMBER_KEY, certificate_path or state / MEMBER_CERTIFICATE
    if not key_path.exists():
        raise ConfigurationError(
            f"{state} holds no identity of a master; make it with 'beonss init' (a new cluster) or 'beonss join TOKEN'"
        )
    key = load_private_key(key_path)
    pem = _read(path)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        same = certificate.public_key() == key.public_key()
    except (ValueError, IndexError, TypeError):
        raise StoreError(
            f"{path} is no certificate; restore it from a backup, or remove this master and join again"
        ) from None
    if not same or not isinstance(name, str):
        raise StoreError(f"{path} does not belong to {key_path}; restore both from one backup")
    return Identity(name, key, pem)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        ConfigurationError: it is not there, or others than its owner may read it.
        StoreError: it is no Ed25519 key.
    """
    pem = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(f"{path} has mode {mode:04o}: others may read a private key; run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreError(f"{path} is no private key of ours (Ed25519, PEM); restore it from a backup")
    return key


def load_cluster_public(path: Path) -> bytes:
    """Read a cluster's public key, 32 bytes, from cluster.pub.

    Raises:
        ConfigurationError: the file is missing or is something else.
    """
    try:
        return read_public(_read(path).decode("utf-8", "replace"), str(path))
    except MalformedError as error:
        raise ConfigurationError(str(error)) from None


def load_roster(state: Path) -> Roster:
    """Read the member list and the acceptances; every signature is checked.

    Raises:
        ConfigurationError: the directory belongs to no cluster.
        StoreError: the file is damaged.
    """
    cluster_key = load_cluster_public(state / CLUSTER_PUBLIC)
    path = state / MEMBERS
    try:
        return read_roster(_read(path), cluster_key)
    except MalformedError as error:
        raise StoreError(
            f"{path} is damaged ({error}); copy the file of that name from another master of this cluster"
        ) from None


def load_cluster_key(path: Path, public: bytes) -> Ed25519PrivateKey:
    """Read the cluster's private key.

    Raises:
        ConfigurationError: it is not there, or it is the key of another cluster.
    """
    if not path.exists():
        raise ConfigurationError(
            f"{path} is not here: this needs the cluster's private key. Run it where the key is kept, "
            f"or name the file with --cluster-key"
        )
    key = load_private_key(path)
    if public_bytes(key) != public:
        raise ConfigurationError(f"{path} is the key of another cluster ({cluster_id(public_bytes(key))})")
    return key


def _read(path: Path) -> bytes:
    try:
        return read_given(path, _LARGEST)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; is the state directory right (--state)?") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None


# -- writing


def save_identity(
    state: Path, identity: Identity, key_path: Path | None = None, certificate_path: Path | None = None
) -> None:
    """Write a new master's key and certificate, where they belong or elsewhere; never over others."""
    write_new(certificate_path or state / MEMBER_CERTIFICATE, identity.certificate, 0o644)
    write_new(key_path or state / MEMBER_KEY, identity.key_pem, 0o600)


def save_cluster_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a new cluster's private key; never over another."""
    write_new(path, _private_pem(key), 0o600)


def save_cluster_public(state: Path, key: bytes, title: str) -> None:
    """Write cluster.pub; never over another."""
    write_new(state / CLUSTER_PUBLIC, write_public(key, title).encode(), 0o644)


def save_roster(state: Path, roster: Roster) -> None:
    """Replace the member list and the acceptances.

    Raises:
        StoreError: it cannot be written; the old one stands.
    """
    write_file(state / MEMBERS, write_roster(roster), 0o644)


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
