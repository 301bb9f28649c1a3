"""Hashes made and verified: crypt(5) through the system's libxcrypt, directory forms through passlib.

libxcrypt is what login itself uses, so it knows every hash a real /etc/shadow holds, yescrypt included. It is
called through ctypes, which releases the interpreter's lock: run these functions in threads
(:mod:`beonss.store.hashing`). Nothing here logs, and no error holds a password, a setting or a hash.
"""

import ctypes
import ctypes.util
import hmac
from functools import cache
from typing import Any

from beonss.core.passwords.hashes import SCHEMES, Scheme, checked_scheme, directory_parts, is_too_costly, scheme_of
from beonss.errors import BeonssError, StoreError

#: Bytes of ``struct crypt_data``, and of the longest setting (crypt.h of libxcrypt 4.x).
_DATA_SIZE = 32768
_SETTING_SIZE = 192
#: Random bytes a salt is made of: 96 to 128 bits of them end up in it.
ENTROPY = 16
#: Bytes of a password that libxcrypt takes; a longer one is an error (crypt.h, CRYPT_MAX_PASSPHRASE_SIZE with its NUL).
LONGEST = 511

_CHECKSALT_BAD = {1, 2}  # CRYPT_SALT_INVALID, CRYPT_SALT_METHOD_DISABLED

#: What we verify of a directory's value, besides {CRYPT}: names of passlib's classes.
_DIRECTORY_CLASSES = {
    "SSHA": "ldap_salted_sha1",
    "SHA": "ldap_sha1",
    "SSHA256": "ldap_salted_sha256",
    "SSHA512": "ldap_salted_sha512",
    "SMD5": "ldap_salted_md5",
    "MD5": "ldap_md5",
    "PBKDF2": "ldap_pbkdf2_sha1",
    "PBKDF2-SHA1": "ldap_pbkdf2_sha1",
    "PBKDF2-SHA256": "ldap_pbkdf2_sha256",
    "PBKDF2-SHA512": "ldap_pbkdf2_sha512",
}
_DIRECTORY_ROUNDS = 10_000_000


class UnusableHash(BeonssError):  # noqa: N818 - what it is
    """A stored hash cannot be verified here: unknown, malformed, or made to take for ever. The text never holds it."""


@cache
def _library() -> Any:
    """Return libcrypt.

    Raises:
        StoreError: this machine has none, or one that is not libxcrypt.
    """
    found: Any = None
    for name in ("libcrypt.so.2", "libcrypt.so.1", None):
        path = name or ctypes.util.find_library("crypt")
        try:
            found = ctypes.CDLL(path, use_errno=True) if path else None
        except OSError:
            continue
        if found is not None:
            break
    if found is None:
        raise StoreError("this machine has no libcrypt: install libxcrypt (Debian: libcrypt1; Fedora: libxcrypt)")
    try:
        found.crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        found.crypt_rn.restype = ctypes.c_void_p
        found.crypt_gensalt_rn.argtypes = [
            ctypes.c_char_p,
            ctypes.c_ulong,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        found.crypt_gensalt_rn.restype = ctypes.c_void_p
        found.crypt_checksalt.argtypes = [ctypes.c_char_p]
        found.crypt_checksalt.restype = ctypes.c_int
    except AttributeError:
        raise StoreError(
            "this machine's libcrypt is not libxcrypt 4.3 or later, which making and verifying hashes needs "
            "(Debian: libcrypt1; Fedora: libxcrypt)"
        ) from None
    return found


def _crypt(plain: bytes, setting: bytes) -> bytes | None:
    """Return the hash of ``plain``, or None where libcrypt refuses."""
    data = ctypes.create_string_buffer(_DATA_SIZE)
    try:
        address = _library().crypt_rn(plain, setting, data, _DATA_SIZE)
        # A failure is NULL, or a string that begins with "*" and is no hash (crypt(3)).
        result = ctypes.string_at(address) if address else None
        return None if result is None or result.startswith(b"*") else result
    finally:
        # It holds the password.
        ctypes.memset(data, 0, _DATA_SIZE)


def _setting(scheme: Scheme, cost: int, entropy: bytes) -> bytes | None:
    output = ctypes.create_string_buffer(_SETTING_SIZE)
    prefix = scheme.prefix.encode("ascii")
    if not _library().crypt_gensalt_rn(prefix, cost, entropy, len(entropy), output, _SETTING_SIZE):
        return None
    setting = output.value
    return None if _library().crypt_checksalt(setting) in _CHECKSALT_BAD else setting


def schemes() -> tuple[str, ...]:
    """Return the names of the schemes that can be made here, as :data:`beonss.core.passwords.hashes.SCHEMES` has them.

    Raises:
        StoreError: this machine has no libxcrypt.
    """
    return tuple(name for name, scheme in SCHEMES.items() if _setting(scheme, scheme.default, bytes(ENTROPY)))


def hash_password(plain: bytes, scheme: str, cost: int | None, entropy: bytes) -> str:
    """Return the crypt(5) hash of a password.

    Args:
        plain: at most :data:`LONGEST` bytes (72 for bcrypt), without NUL.
        scheme: a key of :data:`beonss.core.passwords.hashes.SCHEMES`.
        cost: in the scheme's own measure; None for its default.
        entropy: :data:`ENTROPY` fresh random bytes.

    Raises:
        ConfigurationError: the scheme is unknown or too weak, or the cost out of bounds.
        StoreError: this machine has no libxcrypt, or one that does not know the scheme.
        ValueError: ``plain`` is too long or has a NUL, or the entropy is too short: the caller's mistake.
    """
    checked, cost = checked_scheme(scheme, cost)
    if len(plain) > checked.longest or b"\0" in plain:
        raise ValueError(f"{scheme} cannot hash this password whole")
    if len(entropy) < ENTROPY:
        raise ValueError(f"a salt needs {ENTROPY} random bytes")
    setting = _setting(checked, cost, entropy[:ENTROPY])
    result = _crypt(plain, setting) if setting else None
    if result is None:
        raise StoreError(f"this machine's libcrypt cannot make {scheme} hashes; it makes {', '.join(schemes())}")
    return result.decode("ascii")


def verify(plain: bytes, hash_: str) -> bool:
    """Say whether a password is that of a hash, in time that does not depend on how much of it is right.

    Args:
        plain: what somebody typed; what can be no password (too long, with a NUL) is the wrong one.
        hash_: a crypt(5) hash or a directory's ``{SCHEME}`` form. No hash (``*``, an empty field) verifies nothing.

    Raises:
        UnusableHash: it is of no kind known here, or would take for ever.
        StoreError: this machine has no libxcrypt.
    """
    parts = directory_parts(hash_)
    if parts is not None and parts[0] != "CRYPT":
        return _verify_directory(plain, hash_, parts[0])
    if parts is not None:
        hash_ = parts[1]
    if not hash_ or hash_[0] in "*!":
        return False
    name = scheme_of(hash_)
    if name is None:
        raise UnusableHash("the stored hash is of no known kind; set a new password as root")
    if is_too_costly(hash_):
        raise UnusableHash(f"the stored {name} hash asks for more work than allowed; set a new password as root")
    if len(plain) > LONGEST or b"\0" in plain:
        return False
    wanted = hash_.encode("ascii", "surrogateescape")
    found = _crypt(plain, wanted)
    if found is None:
        raise UnusableHash(f"this machine's libcrypt cannot verify the stored {name} hash; set a new password as root")
    return hmac.compare_digest(found, wanted)


def _verify_directory(plain: bytes, value: str, scheme: str) -> bool:
    name = _DIRECTORY_CLASSES.get(scheme)
    if name is None:
        raise UnusableHash(f"the stored hash is of the directory kind {{{scheme}}}, which is not known here")
    # Imported late: most machines never see such a hash, and passlib takes long to load.
    import passlib.hash  # noqa: PLC0415

    handler: Any = getattr(passlib.hash, name)
    # passlib knows the schemes by their names in capitals only.
    rest = value.partition("}")[2]
    value = handler.ident + rest
    rounds = rest.partition("$")[0] if scheme.startswith("PBKDF2") else "0"
    if not rounds.isdecimal() or len(rounds) > 8 or int(rounds) > _DIRECTORY_ROUNDS:
        raise UnusableHash(f"the stored {{{scheme}}} hash is malformed, or asks for more work than allowed")
    if len(plain) > LONGEST or b"\0" in plain:
        return False
    try:
        return bool(handler.verify(plain, value))
    except (ValueError, TypeError):
        raise UnusableHash(f"the stored {{{scheme}}} hash is malformed") from None


def crypt_form(value: bytes) -> str | None:
    """Return a directory's password value as it may stand in a register; None if no password can match it here."""
    text = value.decode("utf-8", "surrogateescape")
    parts = directory_parts(text)
    if parts is not None and parts[0] != "CRYPT":
        return text if parts[0] in _DIRECTORY_CLASSES else None
    if parts is not None:
        text = parts[1]
    # A locked hash is not taken over: locking is a change of its own.
    return text if scheme_of(text) is not None else None
