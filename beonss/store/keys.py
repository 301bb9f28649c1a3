"""Keys, certificates and the member list in a master's state directory.

=============  ====  ==================================================================================
file           mode  what it is
=============  ====  ==================================================================================
cluster.key    0600  the cluster's private key (PEM); needed to invite and remove, may be kept elsewhere
cluster.pub    0644  the cluster's public key, one line; what nodes pin
member.key     0600  this master's private key (PEM)
member.crt     0644  its self-signed certificate (PEM); others pin the key, the rest is decoration
members        0644  the signed member list and the acceptances seen
lock           0600  held by whoever may change ``members``: the running master, or one command
=============  ====  ==================================================================================

Files are written to a temporary name, synced and renamed, so a reader sees a whole one or none. Nothing is ever
overwritten but ``members``.
"""

import datetime
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from beonss.core.cluster.members import Roster, cluster_id
from beonss.errors import BeonssError, ConfigurationError, MalformedError, StoreError
from beonss.store.statefile import read_given
from beonss.wire.documents import (
    public_bytes,
    read_public,
    read_roster,
    write_public,
    write_roster,
)

CLUSTER_KEY = "cluster.key"
CLUSTER_PUBLIC = "cluster.pub"
MEMBER_KEY = "member.key"
MEMBER_CERTIFICATE = "member.crt"
MEMBERS = "members"
LOCK = "lock"

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


@contextmanager
def making(state: Path) -> Iterator[None]:
    """Make the directory, mode 0700, if it is not there, and hold it; where something goes wrong it is gone again.

    Raises:
        DirectoryInUse, StoreError: as for :func:`holding`.
    """
    new = not state.exists()
    make_state_directory(state)
    try:
        with holding(state):
            yield
    except BaseException:
        if new:
            # Not if something stands in it: an answer may still come (beonss join).
            with suppress(OSError):
                state.rmdir()
        raise


def make_state_directory(state: Path) -> None:
    """Make the directory, mode 0700, if it is not there.

    Raises:
        StoreError: that is not possible.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{state} cannot be made: {error.strerror}") from None
    _check_directory(state)


def _check_directory(state: Path) -> None:
    """Refuse a directory in which anybody could put other keys and another database."""
    try:
        mode = stat.S_IMODE(state.stat().st_mode)
    except OSError:
        # What is done with it next says why.
        return
    if mode & stat.S_IWOTH:
        raise ConfigurationError(f"{state} has mode {mode:04o}: anybody may write there; run: chmod 700 {state}")


def refuse_used(state: Path, allowed: frozenset[str] = frozenset()) -> None:
    """Make sure that nothing in the directory would be overwritten.

    Raises:
        ConfigurationError: it holds the keys or the data of a master.
    """
    ours = {CLUSTER_KEY, CLUSTER_PUBLIC, MEMBER_KEY, MEMBER_CERTIFICATE, MEMBERS} - allowed
    found = sorted(name for name in ours if (state / name).exists())
    found += sorted(path.name for path in state.glob("*.db"))
    if found:
        raise ConfigurationError(
            f"{state} already belongs to a master (it holds {', '.join(found)}); nothing was changed. Pass another "
            f"--state, or move that directory away if the old master is really gone"
        )


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, durably.

    Raises:
        ConfigurationError: it exists.
        StoreError: it cannot be written.
    """
    temporary = _written(path, data, mode)
    try:
        os.link(temporary, path)
        _sync_directory(path.parent)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists; it is never overwritten") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Replace a file: its readers see the old or the new one, whole, also after a power cut.

    Raises:
        StoreError: it cannot be written; the old one stands.
    """
    temporary = _written(path, data, mode)
    try:
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be replaced: {error.strerror}") from None


def _written(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    replace_file(state / MEMBERS, write_roster(roster), 0o644)


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class DirectoryInUse(BeonssError):  # noqa: N818 - a state, not a fault
    """Another process, most likely the running master, holds the state directory."""


@contextmanager
def holding(state: Path) -> Iterator[None]:
    """Hold the state directory: only the holder may write ``members``. The running master holds it all its life.

    Where something goes wrong in a directory that was empty, it is left empty.

    Raises:
        DirectoryInUse: somebody else holds it.
        ConfigurationError: there is no such directory.
        StoreError: the directory cannot be written.
    """
    path = state / LOCK
    _check_directory(state)
    new = not path.exists()
    descriptor = _lock(state, path)
    try:
        yield
    except BaseException:
        # Whatever becomes of that, what went wrong is what is told.
        with suppress(OSError):
            if new and [found.name for found in state.iterdir()] == [LOCK]:
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def _lock(state: Path, path: Path) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise ConfigurationError(f"{state} does not exist; is the state directory right (--state)?") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have taken it away just now: then it keeps nobody else out.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise DirectoryInUse(
                f"{state} is in use by another process: a running master, or another command"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from None
        os.close(descriptor)
