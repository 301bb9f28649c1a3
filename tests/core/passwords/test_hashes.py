"""Hashes as strings: recognized, never mistaken, and bounded in what they may cost us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.passwords.hashes import (
    SCHEMES,
    checked_scheme,
    directory_form,
    directory_parts,
    is_too_costly,
    scheme_of,
)
from beonss.errors import ConfigurationError

H22, H43, H86 = "a" * 22, "b" * 43, "c" * 86

KNOWN = {
    f"$6$saltsalt${H86}": "sha512crypt",
    f"$6$rounds=656000$saltsalt${H86}": "sha512crypt",
    f"$5$rounds=5000$s${H43}": "sha256crypt",
    f"$1$12345678${H22}": "md5crypt",
    f"$y$j9T$abcd${H43}": "yescrypt",
    f"$gy$j9T$abcd${H43}": "gost-yescrypt",
    f"$7$CU..../....abcd${H43}": "scrypt",
    "$2b$12$" + "d" * 53: "bcrypt",
    "$sha1$249552$qI1BtUnBX7KM$ueOCVAvgyZqb23ANKLFFBIAjtgj2": "sha1crypt",
    "$md5,rounds=45105$mA1BpMnB$$kpigs33xa/yO4/1LaCp2b/": "sunmd5",
    "$3$$878d8014606cda29677a44efa1353fc7": "nt",
    "_J9..k2XAYfyaWNeEMnc": "bsdicrypt",
    "kl.bVxHBAClgE": "descrypt",
}


@pytest.mark.parametrize(("hash_", "name"), KNOWN.items())
def test_each_form_of_a_real_shadow_file_is_recognized(hash_, name):
    assert scheme_of(hash_) == name
    assert not is_too_costly(hash_)


@pytest.mark.parametrize("text", ["", "*", "!", "!!", "x", "!" + next(iter(KNOWN)), "*LK*", "$6$", "$9$a$b", "{SSHA}x"])
def test_what_is_no_hash_has_no_scheme(text):
    assert scheme_of(text) is None
    assert not is_too_costly(text)


@given(st.text(max_size=120) | st.text("$./019azAZ=_{}jyrounds,", max_size=60) | st.sampled_from(sorted(KNOWN)))
def test_arbitrary_text_is_judged_without_an_error(text):
    scheme_of(text)
    is_too_costly(text)
    directory_parts(text)


@pytest.mark.parametrize(
    "hash_",
    [
        f"$6$rounds=999999999$saltsalt${H86}",
        f"$5$rounds=10000001$s${H43}",
        "$2b$31$" + "d" * 53,
        f"$y$jzT$abcd${H43}",
        f"$y$j9z$abcd${H43}",
        f"$y$j9Tzzz$abcd${H43}",
        f"$7$zU..../....abcd${H43}",
        f"$7$CUzzz./....abcd${H43}",
        f"$7$CU....zzzzzabcd${H43}",
        "$sha1$999999999$qI1BtUnBX7KM$ueOCVAvgyZqb23ANKLFFBIAjtgj2",
    ],
)
def test_a_hash_made_to_stop_us_is_too_costly(hash_):
    assert is_too_costly(hash_)


def test_directory_forms_have_a_scheme_and_a_rest():
    assert directory_parts("{crypt}$6$a") == ("CRYPT", "$6$a")
    assert directory_parts("{PBKDF2-SHA512}1$a$b") == ("PBKDF2-SHA512", "1$a$b")
    assert directory_parts("$6$a") is None
    assert directory_form("$6$a") == "{CRYPT}$6$a"


def test_only_strong_schemes_with_sane_costs_can_be_configured():
    assert checked_scheme("sha512crypt") == (SCHEMES["sha512crypt"], 100_000)
    assert checked_scheme("yescrypt", 6)[1] == 6
    for name, cost in (("md5crypt", None), ("descrypt", None), ("sha512crypt", 1000), ("bcrypt", 31), ("rot13", 1)):
        with pytest.raises(ConfigurationError):
            checked_scheme(name, cost)


@pytest.mark.parametrize("cost", "5678ABCDEF")
def test_whatever_cost_may_be_configured_is_not_too_costly_to_verify(cost):
    assert not is_too_costly(f"$y$j{cost}T$abcd${H43}")
