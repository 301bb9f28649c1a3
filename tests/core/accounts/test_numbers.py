"""Numbers for new accounts: no two masters give away the same one, and none is given twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.accounts.numbers import OTHERS, next_number, owner_of
from beonss.errors import Refused

NAMES = ["frodo", "gamgee", "fellowship", "pippin", "merry", "rosie", "bilbo"]
clusters = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)


def given_away(master, masters, count, floor=1000):
    used = set()
    for _ in range(count):
        used.add(next_number(used.__contains__, floor, master, masters))
    return used


def test_a_lone_master_counts_up():
    assert given_away("frodo", ["frodo"], 20) == set(range(1000, 1020))


@settings(max_examples=30)
@given(clusters)
def test_masters_that_see_nothing_of_each_other_never_meet(masters):
    """Each knows only its own accounts, as in a partition."""
    sets = [given_away(master, masters, 6) for master in masters]
    assert sum(map(len, sets)) == len(set().union(*sets))


@given(clusters, st.sampled_from(NAMES), st.integers(1000, 2000))
def test_another_member_takes_numbers_only_for_itself(masters, newcomer, number):
    """Lists that differ by one master disagree only about numbers of that master."""
    before, after = owner_of(number, masters), owner_of(number, {*masters, newcomer})
    assert after in {before, newcomer}


def test_numbers_stay_dense():
    """Seven masters that all add users fill the space; one of them alone uses about every seventh."""
    used = set()
    for turn in range(210):
        used.add(next_number(used.__contains__, 1000, NAMES[turn % 7], NAMES))
    assert max(used) < 1000 + 2 * 210
    assert max(given_away("frodo", NAMES, 30)) < 1000 + 14 * 30


def test_numbers_of_others_are_passed_over():
    used = set(range(1000, OTHERS.start))
    assert next_number(used.__contains__, 1000, "frodo", ["frodo"]) == OTHERS.stop


def test_one_who_is_in_no_list_gets_a_number_all_the_same():
    assert next_number(lambda _: False, 1000, "frodo", []) == 1000


def test_the_end_is_refused():
    with pytest.raises(Refused) as caught:
        next_number(lambda _: True, 2**32 - 5, "frodo", ["frodo"])
    assert caught.value.code == "no-number"
