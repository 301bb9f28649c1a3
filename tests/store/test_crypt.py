"""libxcrypt through ctypes: our hashes verify, a real shadow file's hashes verify, nothing else does."""

import contextlib
import ctypes
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import passlib.hash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.passwords.hashes import SCHEMES, scheme_of
from beonss.errors import ConfigurationError
from beonss.store import crypt
from beonss.store.crypt import UnusableHash, hash_password, schemes, verify

SALT = bytes(range(16))
CHEAP = {name: scheme.minimum for name, scheme in SCHEMES.items()}

#: From crypt_blowfish's published vectors, made by OpenSSL ($5$, $6$), or by crypt(3) of another program.
VECTORS = [
    (
        b"Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        b"Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (b"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"secret", "$1$k2XAnEHB$rbDfQq368qWY4bas.D3Ac0"),
    (b"secret", "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$Tg4ZRR7tz/WRlmYbADZh9OJYakPewgSPQqW55EXAJ14"),
    (b"secret", "$gy$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$1Ge.w/tr2e3TdN67lBUZ4pe4klR/hfBEbnc.jwyJpW/"),
    (b"secret", "$7$BU..../....k2XAnEHBqQ1Ct2aMXFKNa/$kHfmBJfFPI.rM/W7nSK4N.f7gXsq7U/kUJaT.MJMLuC"),
    (b"secret", "kl.bVxHBAClgE"),
    (b"secret", "_J9..k2XAYfyaWNeEMnc"),
]


@pytest.mark.parametrize(("plain", "hash_"), VECTORS)
def test_hashes_of_a_real_shadow_file_verify(plain, hash_):
    assert verify(plain, hash_) is True
    assert verify(plain[:-1], hash_) is False
    assert verify(b"", hash_) is False
    assert verify(plain, "{CRYPT}" + hash_) is True
    assert verify(plain, "{crypt}" + hash_) is True


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_that_can_be_made_here_verifies_and_salts(scheme):
    if scheme not in schemes():
        pytest.fail(f"libcrypt here does not make {scheme}")
    first = hash_password(b"correct horse", scheme, CHEAP[scheme], SALT)
    other = hash_password(b"correct horse", scheme, CHEAP[scheme], SALT[::-1])
    assert scheme_of(first) == scheme
    assert first != other
    assert first == hash_password(b"correct horse", scheme, CHEAP[scheme], SALT)
    assert verify(b"correct horse", first)
    assert not verify(b"correct horsf", first)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=511).map(lambda b: b.replace(b"\0", b"x")))
def test_any_bytes_but_nul_are_a_password(plain):
    hash_ = hash_password(plain, "sha512crypt", 5000, SALT)
    assert verify(plain, hash_)
    assert not verify(plain[:-1] + bytes([plain[-1] ^ 1 or 2]), hash_)


def test_what_cannot_be_hashed_whole_is_the_callers_mistake():
    for plain, scheme in ((b"x" * 512, "sha512crypt"), (b"x" * 73, "bcrypt"), (b"a\0b", "sha512crypt")):
        with pytest.raises(ValueError):
            hash_password(plain, scheme, None, SALT)
    with pytest.raises(ValueError):
        hash_password(b"x", "sha512crypt", None, b"short")
    with pytest.raises(ConfigurationError):
        hash_password(b"x", "md5crypt", None, SALT)


def test_a_nul_never_cuts_a_password_short():
    """C sees a string up to its NUL; "secret<NUL>x" must not verify as "secret"."""
    hash_ = hash_password(b"secret", "sha512crypt", 5000, SALT)
    assert not verify(b"secret\0x", hash_)
    assert not verify(b"s" * 512, hash_)
    assert not verify(b"secret\0", "{SSHA}" + "AAAA")


@pytest.mark.parametrize("hash_", ["", "*", "!", "!!", "!$6$abc", "*LK*", "{CRYPT}*", "{CRYPT}"])
def test_no_hash_verifies_nothing(hash_):
    assert verify(b"", hash_) is False
    assert verify(hash_.encode(), hash_) is False


@pytest.mark.parametrize(
    "hash_", ["x", "plaintext", "$9$a$b", "$6$rounds=999999999$a$" + "a" * 86, "{FOO}x", "{SSHA}x"]
)
def test_an_unusable_hash_is_said_and_not_shown(hash_):
    with pytest.raises(UnusableHash) as caught:
        verify(b"x", hash_)
    assert "$" not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("$./019azAZ{}SHAjyrounds=6,", max_size=60))
def test_arbitrary_stored_text_verifies_or_is_unusable(hash_):
    with contextlib.suppress(UnusableHash):
        assert verify(b"password", hash_) is False


@pytest.mark.parametrize(
    "name",
    [
        "ldap_salted_sha1",
        "ldap_salted_sha512",
        "ldap_sha1",
        "ldap_pbkdf2_sha256",
        "ldap_pbkdf2_sha512",
        "ldap_pbkdf2_sha1",
    ],
)
def test_directory_forms_verify(name):
    handler = getattr(passlib.hash, name)
    value = (handler.using(rounds=1000) if "pbkdf2" in name else handler).hash("Grüße")
    assert verify("Grüße".encode(), value)
    assert not verify(b"Gruesse", value)


def test_a_directory_hash_that_takes_for_ever_is_unusable():
    with pytest.raises(UnusableHash):
        verify(b"x", "{PBKDF2-SHA512}999999999$c2FsdHNhbHQ$" + "a" * 86)


def test_hashing_lets_other_threads_run():
    """ctypes releases the interpreter's lock: several hashes at once do not stop the reactor."""
    assert isinstance(crypt._library(), ctypes.CDLL)
    assert not isinstance(crypt._library(), ctypes.PyDLL)


def test_many_threads_hash_at_once_and_never_mix_results():
    rng = random.Random(7)
    plains = [rng.randbytes(12).hex().encode() for _ in range(60)]
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(lambda plain: hash_password(plain, "sha512crypt", 5000, SALT), plains))
        assert all(pool.map(verify, plains, hashes))
        assert not any(pool.map(verify, plains[1:], hashes))


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("ctypes.CDLL = lambda *a, **k: (_ for _ in ()).throw(OSError())", "no libcrypt"),
        ("ctypes.CDLL = lambda *a, **k: object()", "not libxcrypt"),
    ],
)
def test_a_machine_without_libxcrypt_is_told_what_to_install(patch, words):
    program = f"""
import ctypes
from beonss.store import crypt
{patch}
try:
    crypt.schemes()
except crypt.StoreError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert words in out
    assert "libcrypt1" in out
