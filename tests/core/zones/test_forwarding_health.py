"""How upstreams are ranked: by time as an argument."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.zones.forwarding import Upstream
from beonss.core.zones.forwarding_health import (
    BEATEN_AFTER,
    BEATEN_FOR,
    FIRST_WAIT,
    LONGEST_PROBE,
    LONGEST_WAIT,
    PLAIN_FOR,
    SHORTEST_WAIT,
    Health,
    in_order,
    probe_pause,
)

UPSTREAMS = [Upstream(ip_address(f"192.0.2.{number}")) for number in range(4)]


def test_the_wait_follows_what_was_seen_within_bounds():
    health = Health()
    assert health.wait == FIRST_WAIT
    for _ in range(30):
        health.heard(1.0, 0.001)
    assert health.wait == SHORTEST_WAIT
    for _ in range(30):
        health.heard(1.0, 0.3)
    assert 0.2 < health.wait < 0.5
    health.heard(1.0, 60.0)
    assert health.wait == LONGEST_WAIT


@given(st.lists(st.floats(0, 100)))
def test_it_never_leaves_its_bounds(times):
    health = Health()
    for took in times:
        health.heard(1.0, took)
        assert SHORTEST_WAIT <= health.wait <= LONGEST_WAIT


def test_a_slow_question_says_nothing_about_an_upstream_that_answers_others():
    health = Health()
    health.heard(10.0, 0.01)
    assert not health.missed(9.9, 10.4)
    assert (health.unanswered, health.since, health.down) == (0, None, False)


def test_three_in_a_row_over_some_time_are_down_until_one_is_answered():
    health = Health()
    assert [health.missed(sent, sent + 0.5) for sent in (1.0, 1.1, 1.2)] == [True] * 3
    assert (health.down, health.since) == (False, 1.5), "a hiccup under load is not the end"
    health.missed(2.6, 3.1)
    assert health.down
    health.heard(4.0, 0.01)
    assert (health.down, health.unanswered, health.since) == (False, 0, None)


def test_the_order_is_that_of_the_list_but_for_those_in_doubt():
    healths = {upstream: Health() for upstream in UPSTREAMS}
    assert in_order(UPSTREAMS, healths, 0) == UPSTREAMS
    healths[UPSTREAMS[0]].missed(1.0, 1.5)
    healths[UPSTREAMS[2]].missed(1.0, 1.5)
    assert in_order(UPSTREAMS, healths, 2) == [UPSTREAMS[at] for at in (1, 3, 0, 2)]
    for sent in (2.0, 3.0, 4.0):
        healths[UPSTREAMS[2]].missed(sent, sent + 0.5)
    assert in_order(UPSTREAMS, healths, 5) == [UPSTREAMS[at] for at in (1, 3, 0)]


def test_one_that_is_beaten_again_and_again_steps_back_for_a_while():
    healths = {upstream: Health() for upstream in UPSTREAMS[:2]}
    first = healths[UPSTREAMS[0]]
    for _ in range(BEATEN_AFTER - 1):
        first.beaten(10.0)
    first.won()
    for _ in range(BEATEN_AFTER - 1):
        first.beaten(10.0)
    assert in_order(UPSTREAMS[:2], healths, 10.0)[0] == UPSTREAMS[0]
    first.beaten(10.0)
    assert in_order(UPSTREAMS[:2], healths, 10.0)[0] == UPSTREAMS[1]
    assert in_order(UPSTREAMS[:2], healths, 10.0 + BEATEN_FOR)[0] == UPSTREAMS[0]


def test_without_edns_for_a_while():
    health = Health()
    assert health.speaks_edns(5.0)
    health.without_edns(5.0)
    assert not health.speaks_edns(5.1)
    assert health.speaks_edns(5.0 + PLAIN_FOR)


@pytest.mark.parametrize(("probes", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 5), (10**6, LONGEST_PROBE)])
def test_probes_become_rarer(probes, seconds):
    assert probe_pause(probes) == seconds
