"""The fair queue: turns go round the sources, order holds within one, limits refuse."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.passwords.fairness import FairQueue
from beonss.errors import Refused


def test_a_source_with_many_entries_waits_behind_itself():
    queue = FairQueue(100, 1000)
    for number in range(50):
        queue.put("storm", number)
    queue.put("alice", "a")
    queue.put("bob", "b")
    assert [queue.get() for _ in range(4)] == [0, "a", "b", 1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_everything_comes_out_once_and_in_order_within_a_source(entries):
    queue = FairQueue(1000, 1000)
    wanted = defaultdict(list)
    for source, number in entries:
        queue.put(source, (source, number))
        wanted[source].append(number)
    found = defaultdict(list)
    assert len(queue) == len(entries)
    for _ in entries:
        source, number = queue.get()
        found[source].append(number)
    assert found == wanted
    with pytest.raises(IndexError):
        queue.get()


def test_too_many_are_refused_and_room_comes_back():
    """Each has at most its two; in all there are three, and nobody has so many that one could go."""
    queue = FairQueue(2, 3)
    for source in "aab":
        assert queue.put(source, 1) is None
    for source in "ab":
        with pytest.raises(Refused) as caught:
            queue.put(source, 1)
        assert caught.value.code == "busy"
    queue.get()
    assert queue.put("c", 1) is None
    assert len(queue) == 3


def test_who_has_most_waiting_makes_room_for_others():
    """A storm fills every place, and a stranger to it is served next all the same."""
    queue = FairQueue(100, 6)
    for number in range(6):
        queue.put("storm", number)
    assert queue.put("alice", "a") == 5, "its newest, which had waited least"
    assert queue.put("bob", "b") == 4
    assert queue.put("alice", "c") == 3
    with pytest.raises(Refused):
        queue.put("storm", 6)
    with pytest.raises(Refused):
        queue.put("alice", "d")
    assert [queue.get() for _ in range(6)] == [0, "a", "b", 1, "c", 2]


@given(st.lists(st.sampled_from("abcd")), st.integers(1, 6), st.integers(1, 9))
def test_there_are_never_more_than_there_may_be_and_none_is_lost_unheard(sources, per_source, total):
    """Each entry waits, was refused, or was handed back; and nobody is refused while another has two more."""
    queue = FairQueue(per_source, total)
    waiting = defaultdict(list)
    for number, source in enumerate(sources):
        try:
            gone = queue.put(source, (source, number))
        except Refused:
            full = sum(map(len, waiting.values())) >= total
            most = max(map(len, waiting.values()), default=0)
            assert len(waiting[source]) >= per_source or (full and most < len(waiting[source]) + 2)
            continue
        waiting[source].append(number)
        if gone is not None:
            assert waiting[gone[0]].pop() == gone[1]
        assert len(queue) == sum(map(len, waiting.values())) <= total
    for _ in range(len(queue)):
        source, number = queue.get()
        assert waiting[source].pop(0) == number
