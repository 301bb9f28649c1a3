"""What makes a password weak, and that judging any bytes is possible and cheap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.passwords.commonwords import COMMON
from beonss.core.passwords.policy import Policy, _distance_below, impossibilities, weaknesses
from beonss.errors import ConfigurationError

POLICY = Policy(minimum_length=10)


def codes(new, user="frodo", gecos="Frodo Baggins,Bag End,,", old=None, policy=POLICY):
    new = new if isinstance(new, bytes) else new.encode()
    old = old.encode() if isinstance(old, str) else old
    return {reason.code for reason in weaknesses(policy, new, user, gecos, old)}


@pytest.mark.parametrize(
    "good",
    [
        "correct horse battery",
        "tr0ub4dor&3x",
        "Zwölf Boxkämpfer",
        "x9!kQ2#vLp",
        "mellon-speak-friend",
        b"\xff\xfe\xfa\x80abcdz5q",
        "日本語の長い合言葉です",
    ],
)
def test_good_passwords_have_no_weakness(good):
    assert codes(good) == set()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("short1!", "too-short"),
        ("frodo-lives!", "personal"),
        ("ODORF-lives!", "personal"),
        ("fr0d0 walks east", "personal"),
        ("mister baggins", "personal"),
        ("snIggab reversed", "personal"),
        ("12345678901", "pattern"),
        ("abcdefghijkl", "pattern"),
        ("qwertyuiopasdf", "pattern"),
        ("aaaaaaaaaaaa", "repetition"),
        ("abcabcabcabc", "repetition"),
        ("hunter42hunter42", "repetition"),
        ("aabbaabbaaba", "pattern"),
        ("racecar racecar", "palindrome"),
        ("Password123!", "common"),
        ("p4$$w0rd2024", "common"),
        ("drowssap1234", "common"),
        ("Welcome2024!", "common"),
        ("!!letmein!!11", "common"),
    ],
)
def test_a_weak_password_is_told_why(bad, code):
    assert code in codes(bad)


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("Mellon-speak-7", "same"),
        ("mellon-SPEAK-7", "similar"),
        ("Mellon-speak-8", "similar"),
        ("Mellon-speak-78", "similar"),
        ("xMellon-speak-7yz", "similar"),
        ("7-kaeps-nolleM", "similar"),
        ("speak-7Mellon-", "similar"),
    ],
)
def test_the_old_password_and_its_likes_are_told_apart(new, code):
    assert codes(new, old="Mellon-speak-7") == {code}


def test_a_different_password_is_not_similar():
    assert codes("entirely other words", old="Mellon-speak-7") == set()
    assert codes("entirely other words", old="") == set()


def test_a_short_account_name_may_occur_by_chance():
    assert codes("bohemian waltz", user="bo", gecos="") == set()
    assert codes("bo", user="bo", gecos="") >= {"personal", "too-short"}


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (b"", "empty"),
        (b"x" * 512, "too-long"),
        (b"a\0bcdefghijkl", "control-character"),
        (b"a\nb", "control-character"),
    ],
)
def test_what_libcrypt_or_a_file_cannot_hold_is_impossible(new, code):
    assert [reason.code for reason in impossibilities(new)] == [code]
    assert codes(new) == {code}


@given(st.binary(max_size=600), st.text(max_size=20), st.text(max_size=40), st.none() | st.binary(max_size=600))
def test_any_bytes_can_be_judged_and_no_reason_shows_them(new, user, gecos, old):
    for reason in weaknesses(POLICY, new, user, gecos, old):
        assert len(reason.message) < 120


def test_the_longest_password_is_judged_within_bounds():
    """The worst cases of each rule stay linear; this would take minutes if one were quadratic in Python."""
    for new, old in (("ab" * 255, "ba" * 255), ("a" * 511, "a" * 510), ("x" * 250 + "y" * 261, "x" * 255 + "y" * 256)):
        codes(new, old=old, gecos="a " * 5000)


def plain_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        following = [i]
        for j, y in enumerate(b, 1):
            following.append(min(row[j] + 1, following[-1] + 1, row[j - 1] + (x != y)))
        row = following
    return row[-1]


@given(st.text("abc", max_size=9), st.text("abc", max_size=9), st.integers(1, 5))
def test_the_bounded_distance_agrees_with_the_plain_one(a, b, limit):
    assert _distance_below(a, b, limit) == (plain_distance(a, b) < limit)


def test_a_length_out_of_bounds_is_refused_and_a_short_one_still_wants_substance():
    for length in (0, -1, 129):
        with pytest.raises(ConfigurationError):
            Policy(minimum_length=length)
    assert codes("x9!kQ2", policy=Policy(minimum_length=6)) == set()
    assert codes("x9!k", policy=Policy(minimum_length=1)) == {"pattern"}


def test_the_word_list_is_in_the_form_it_is_compared_in():
    assert all(word == word.casefold() and word.isalpha() for word in COMMON)
    assert len(COMMON) > 400
