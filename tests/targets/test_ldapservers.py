"""Which of several directory servers is asked first, and when the first one is again."""

from hypothesis import given
from hypothesis import strategies as st

from beonss.targets.ldapservers import ServerOrder

URIS = ("ldaps://one", "ldaps://two", "ldaps://three")


def test_one_that_fails_comes_last_for_a_while_and_then_in_its_place_again() -> None:
    now = [0.0]
    order = ServerOrder(URIS, lambda: now[0])
    assert order.uris() == URIS
    order.put_last("ldaps://one", 30)
    assert order.uris() == ("ldaps://two", "ldaps://three", "ldaps://one")
    order.put_last("ldaps://two", 60)
    assert order.uris() == ("ldaps://three", "ldaps://one", "ldaps://two")
    order.put_last("ldaps://three", 60)
    assert order.uris() == URIS, "where all failed the order is as configured"
    now[0] = 30.0
    assert order.uris() == URIS
    now[0] = 60.0
    assert order.uris() == URIS


@given(st.lists(st.tuples(st.sampled_from(URIS), st.integers(0, 50), st.integers(0, 50))))
def test_none_is_ever_lost_and_after_the_longest_wait_all_is_as_configured(steps: list[tuple[str, int, int]]) -> None:
    now = [0.0]
    order = ServerOrder(URIS, lambda: now[0])
    for uri, seconds, later in steps:
        order.put_last(uri, seconds)
        assert sorted(order.uris()) == sorted(URIS)
        now[0] += later
    now[0] += 50
    assert order.uris() == URIS
