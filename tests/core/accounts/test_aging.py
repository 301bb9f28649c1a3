"""How an account stands on a day: shadow(5) as pam_unix reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.aging import AccountState, account_state, days_until_change_allowed
from beonss.core.accounts.entries import Aging

LIMITS = Aging(minimum=2, maximum=90, warning=7, inactive=10, expires=None)


def state(day, *, aging=LIMITS, locked=False, changed=1000, by_password=True):
    return account_state(aging, locked=locked, changed=changed, day=day, by_password=by_password)


@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        (1000, AccountState("open")),
        (1083, AccountState("open")),
        (1084, AccountState("warn", 6)),
        (1090, AccountState("warn", 0)),
        (1091, AccountState("change", 1)),
        (1100, AccountState("change", 10)),
        (1101, AccountState("inactive", 1)),
        (999, AccountState("open")),
    ],
)
def test_a_password_grows_old(day, wanted):
    assert state(day) == wanted


def test_a_lock_comes_first_and_the_way_in_does_not_matter():
    assert state(5000, locked=True, by_password=False) == AccountState("locked")


def test_expiry_counts_from_its_day_on_however_one_comes():
    aging = Aging(expires=2000)
    assert state(1999, aging=aging).usable
    assert state(2000, aging=aging) == AccountState("expired", 0)
    assert state(2003, aging=aging, by_password=False) == AccountState("expired", 3)
    assert state(5, aging=Aging(expires=0), changed=None).standing == "expired"


def test_without_a_password_its_age_does_not_matter():
    assert state(5000, by_password=False) == AccountState("open")
    assert state(5000, changed=None) == AccountState("open")


def test_day_zero_demands_a_new_password():
    assert state(5000, aging=Aging(), changed=0) == AccountState("change")


def test_empty_and_negative_fields_are_no_limits():
    assert state(10**6, aging=Aging()) == AccountState("open")
    assert state(10**6, aging=Aging(-1, -1, -1, -1, -1)) == AccountState("open")
    assert state(10**6, aging=Aging(maximum=90)).standing == "change"


@pytest.mark.parametrize(("day", "wait"), [(1000, 2), (1001, 1), (1002, 0), (900, 0)])
def test_the_minimum_age_holds_changes_back(day, wait):
    assert days_until_change_allowed(LIMITS, changed=1000, day=day) == wait


def test_a_demanded_change_is_never_held_back():
    assert days_until_change_allowed(LIMITS, changed=0, day=1) == 0
    assert days_until_change_allowed(LIMITS, changed=None, day=1) == 0
    assert days_until_change_allowed(Aging(), changed=1, day=1) == 0


NUMBER = st.none() | st.integers(-5, 200)


@given(st.builds(Aging, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER), st.none() | st.integers(0, 300), st.integers(0, 400))
def test_every_state_that_needs_words_has_them(aging, changed, day):
    found = account_state(aging, locked=False, changed=changed, day=day)
    assert bool(found.text) == (found.standing != "open")
    assert found.days is None or found.days >= 0
    if found.standing == "inactive":
        assert not found.usable


def test_the_words_count_well():
    assert "within 1 day;" in AccountState("warn", 1).text + ";" or "within 1 day." in AccountState("warn", 1).text
    assert "2 days" in AccountState("expired", 2).text
    assert "administrator requires" in AccountState("change").text
    assert "tomorrow" in AccountState("warn", 0).text
    assert AccountState("locked").text
    assert AccountState("inactive", 1).text
