"""The rules of a change: who may, and what the answers of all places mean together."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import Aging, Password, UserEntry
from beonss.core.accounts.served import NO_AGING, User
from beonss.core.passwords.change import Line, check_owner, checked_account, exit_code, line_of, outcome
from beonss.errors import MalformedError, Refused

TODAY = 20000


def account(uid=1001, locked=False, aging=NO_AGING, changed=None):
    return User(
        "0" * 32, UserEntry("alice", uid, 100, "", "/home/alice", "/bin/sh"), Password("*", changed), aging, locked
    )


def code(call, *arguments):
    try:
        call(*arguments)
    except Refused as error:
        return error.code
    return None


def test_only_the_clusters_own_accounts_are_changed():
    assert code(checked_account, account(), "alice", 1000) is None
    assert code(checked_account, None, "alice", 1000) == "unknown-user"
    assert code(checked_account, account(uid=999), "alice", 1000) == "below-floor"


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        (account(), None),
        (account(locked=True), "locked"),
        (account(aging=Aging(expires=TODAY)), "expired"),
        (account(aging=Aging(expires=TODAY + 1)), None),
        (account(aging=Aging(expires=-1)), None),
        (account(aging=Aging(maximum=90, inactive=10), changed=TODAY - 101), "inactive"),
        (account(aging=Aging(maximum=90, inactive=10), changed=TODAY - 100), None),
        (account(aging=Aging(minimum=7), changed=TODAY - 6), "too-soon"),
        (account(aging=Aging(minimum=7), changed=TODAY - 7), None),
        (account(aging=Aging(minimum=7), changed=0), None),
        (account(aging=Aging(minimum=7)), None),
        (account(aging=Aging(minimum=7), changed=TODAY + 3), None),
    ],
)
def test_an_owner_is_held_to_lock_expiry_and_minimum_age(user, wanted):
    assert code(check_owner, user, TODAY) == wanted


def masters(*states):
    return [Line("master", f"m{number}", state) for number, state in enumerate(states)]


CHANGED, BUFFERED = "changed", "buffered"


@pytest.mark.parametrize(
    ("lines", "code", "number", "words"),
    [
        (masters(CHANGED), "ok", 0, "is changed"),
        (masters(CHANGED, CHANGED, CHANGED), "ok", 0, "held by 3 of 3"),
        (masters(CHANGED, CHANGED, BUFFERED), "ok", 0, "held by 2 of 3 masters; m2 will get it later"),
        (masters(CHANGED, BUFFERED, BUFFERED), "held-here-only", 3, "m1 and m2 will get it later"),
        ([*masters(CHANGED, CHANGED), Line("target", "ldap", "pending")], "ok", 0, "ldap will get it later"),
        ([*masters(CHANGED, CHANGED), Line("target", "ldap", "refused")], "target-refused", 5, "old password still"),
        (
            [*masters(CHANGED, BUFFERED), Line("target", "ldap", "refused")],
            "target-refused",
            5,
            "so far only m0 holds it",
        ),
        ([*masters(CHANGED, CHANGED, BUFFERED), Line("target", "ldap", "pending")], "ok", 0, "so will ldap"),
    ],
)
def test_what_the_places_say_gives_one_word_and_one_exit_code(lines, code, number, words):
    result = outcome(lines)
    assert result.code == code
    assert words in result.message
    assert exit_code(result.code) == number


def test_the_last_word_of_a_place_counts():
    result = outcome([*masters(CHANGED, BUFFERED), Line("master", "m1", "changed")])
    assert (result.code, result.held, result.masters, result.away) == ("ok", 2, 2, ())
    assert result.data() == {"held": 2, "masters": 2, "away": [], "pending": [], "refused": []}


def test_refusals_and_absence_have_their_own_exit_codes():
    assert [exit_code(word) for word in ("wrong-password", "anything", "unavailable", "internal")] == [1, 1, 4, 6]


lines = st.builds(
    Line,
    st.sampled_from(["master", "target"]),
    st.text(),
    st.sampled_from(["changed", "buffered", "pending", "refused"]),
    st.text(),
    st.none() | st.floats(allow_nan=False) | st.integers(),
)


@given(lines)
def test_a_line_survives_as_data(line):
    assert line_of(line.data()) == line


@given(
    st.dictionaries(
        st.sampled_from(["kind", "name", "state", "detail", "since"]), st.text() | st.booleans() | st.lists(st.none())
    )
)
def test_arbitrary_data_is_a_line_or_malformed(data):
    with contextlib.suppress(MalformedError):
        line_of(data)
