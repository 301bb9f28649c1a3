"""Pulling and acknowledging, without a network."""

import pytest
from support.registers import A, B, row

from beonss.core.replication.pulling import (
    Acknowledged,
    Acknowledgements,
    Page,
    Pull,
    Stalled,
    drifted,
    has_news,
    paced,
    public_reach,
)
from beonss.core.replication.registers import Stamp
from beonss.errors import MalformedError

FIRST = Page(0, [row("o", "f", b"1")], None, "more")
LAST = Page(1, [], {A: 1})


def test_a_pull_takes_each_page_once_and_ends_with_the_last() -> None:
    pull = Pull({A: 0})
    assert pull.receive(FIRST)
    assert not pull.receive(FIRST), "a repeated page is ignored"
    assert not pull.done
    assert pull.receive(LAST)
    assert pull.done
    assert not pull.receive(LAST)


def test_a_missing_page_ends_a_pull() -> None:
    """Its vector would claim rows that never came."""
    with pytest.raises(MalformedError, match="page 1"):
        Pull({}).receive(LAST)


def test_holding_begins_with_an_acknowledgement_that_covers_it() -> None:
    acks = Acknowledgements()
    assert not acks.holds("gamgee", Stamp(1, A, 1))
    assert acks.asked("gamgee", B, {A: 2})
    assert acks.holds("gamgee", Stamp(1, A, 2))
    assert not acks.holds("gamgee", Stamp(1, A, 3))
    assert acks.holders([Stamp(1, A, 1), Stamp(1, A, 2)], ["frodo", "gamgee"]) == ("gamgee",)
    assert acks.holders([Stamp(1, A, 3)], ["gamgee"]) == ()


def test_the_last_word_counts_also_when_it_says_less() -> None:
    """A peer restored from a backup holds less than it once acknowledged."""
    acks = Acknowledgements({"gamgee": Acknowledged(B, {A: 9})})
    assert acks.asked("gamgee", B, {A: 3})
    assert not acks.holds("gamgee", Stamp(1, A, 9))
    assert acks.vector("gamgee") == {A: 3}


def test_what_another_incarnation_acknowledged_does_not_count() -> None:
    acks = Acknowledgements({"gamgee": Acknowledged(B, {A: 9})})
    assert not acks.met("gamgee", B)
    assert acks.holds("gamgee", Stamp(1, A, 9))
    assert acks.met("gamgee", "c" * 32)
    assert not acks.holds("gamgee", Stamp(1, A, 9))
    assert not acks.met("new", B), "nothing was dropped of one that never spoke"


def test_nothing_new_is_not_written_again() -> None:
    acks = Acknowledgements()
    assert acks.asked("gamgee", B, {A: 1})
    assert not acks.asked("gamgee", B, {A: 1})
    assert acks.get("gamgee") == Acknowledged(B, {A: 1})
    acks.forget("gamgee")
    acks.forget("gamgee")
    assert acks.get("gamgee") is None


def test_there_is_news_when_the_vector_has_moved() -> None:
    assert has_news({A: 2}, {A: 1, B: 7})
    assert not has_news({A: 2}, {A: 2, B: 7})
    assert not has_news({}, {})


def test_a_node_is_not_woken_for_what_it_never_gets() -> None:
    """Ten thousand nodes do not ask again because one password changed."""
    assert public_reach({A: 3}, {A: 9, B: 5}) == {A: 3}
    assert not has_news(public_reach({A: 3}, {A: 9}), {A: 3})
    assert has_news(public_reach({A: 4}, {A: 9}), {A: 3})


def test_a_node_is_not_woken_for_what_no_vector_covers_yet() -> None:
    """It would get an answer whose vector does not cover it, and ask again at once, for ever."""
    assert public_reach({A: 9, B: 2}, {A: 3}) == {A: 3}
    assert not has_news(public_reach({A: 9}, {A: 3}), {A: 3})


def test_drift_is_a_different_digest_with_an_equal_vector() -> None:
    assert drifted({A: 1}, b"x", {A: 1}, b"y")
    assert not drifted({A: 1}, b"x", {A: 1}, b"x")
    assert not drifted({A: 1}, b"x", {A: 2}, b"y")
    assert not drifted({A: 2}, b"x", {A: 1}, b"y")
    assert not drifted({A: 1}, b"", {A: 1}, b"y"), "half an answer cannot be compared"


def test_only_what_does_not_move_is_stalled() -> None:
    stalled = Stalled(patience=10)
    assert stalled.observe(0, {A: 5, B: 2}) == frozenset()
    assert stalled.observe(9, {A: 5, B: 3}) == frozenset()
    assert stalled.observe(10, {A: 5, B: 3}) == {A}
    assert stalled.observe(12, {B: 3}) == frozenset()
    assert stalled.observe(19, {A: 5, B: 3}) == {B}, "what was finished meanwhile begins anew"


def test_changes_that_come_faster_than_answers_are_gathered_for_longer_up_to_a_bound():
    bounds = (0.004, 0.016)
    gaps = [0.004]
    for registers in (3, 5, 9, 9, 1, 1, 0):
        gaps.append(paced(gaps[-1], registers, bounds))
    assert gaps == [0.004, 0.008, 0.016, 0.016, 0.016, 0.004, 0.004, 0.004]
