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
    queue = FairQueue(2, 3)
    for source in "aab":
        queue.put(source, 1)
    for source in "abc":
        with pytest.raises(Refused) as caught:
            queue.put(source, 1)
        assert caught.value.code == "busy"
    queue.get()
    queue.put("c", 1)
    assert len(queue) == 3
