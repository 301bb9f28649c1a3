"""Turns of asking: one after the other, nobody for ever, nobody forgotten."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from beonss.net.pull_turns import PullTurns


class Table:
    """Turns, and who may ask by now."""

    def __init__(self, patience: float = 1.0, longest: float = 30.0) -> None:
        self.clock = Clock()
        self.turns = PullTurns(self.clock, patience, longest)
        self.asking: list[str] = []

    def wait(self, who: str) -> None:
        self.turns.wait(who).addCallback(lambda _: self.asking.append(who))


def test_the_second_asks_when_the_first_has_its_answer():
    table = Table()
    for who in ("frodo", "gamgee", "fellowship"):
        table.wait(who)
    assert table.asking == ["frodo"]
    table.turns.end("frodo")
    assert table.asking == ["frodo", "gamgee"]
    table.turns.end("gamgee")
    table.turns.end("fellowship")
    assert table.asking == ["frodo", "gamgee", "fellowship"]
    assert table.clock.getDelayedCalls() == []


def test_whoever_is_silent_loses_its_turn_and_not_its_answer():
    table = Table()
    table.wait("frodo")
    table.wait("gamgee")
    table.clock.advance(0.9)
    table.turns.progress("frodo")
    table.clock.advance(0.9)
    assert table.asking == ["frodo"], "its pages come"
    table.clock.advance(0.2)
    assert table.asking == ["frodo", "gamgee"]
    # What comes late ends nobody else's turn.
    table.wait("fellowship")
    table.turns.progress("frodo")
    table.turns.end("frodo")
    assert table.asking == ["frodo", "gamgee"]
    table.turns.end("gamgee")
    assert table.asking == ["frodo", "gamgee", "fellowship"]


def test_an_answer_that_comes_very_slowly_does_not_keep_the_others_away():
    """Over a slow line everything may take an hour; the news of the others are not to come after that."""
    table = Table(longest=10.0)
    table.wait("frodo")
    table.wait("gamgee")
    for _ in range(19):
        table.clock.advance(0.5)
        table.turns.progress("frodo")
    assert table.asking == ["frodo"]
    table.clock.advance(0.5)
    assert table.asking == ["frodo", "gamgee"]
    table.turns.progress("frodo")
    table.turns.end("frodo")
    table.turns.end("gamgee")
    assert table.clock.getDelayedCalls() == []


def test_whoever_goes_while_it_waits_is_passed_over():
    table = Table()
    for who in ("frodo", "gamgee", "fellowship"):
        table.wait(who)
    table.turns.end("gamgee")
    table.turns.end("frodo")
    assert table.asking == ["frodo", "fellowship"]


@given(st.lists(st.tuples(st.sampled_from(["wait", "progress", "end", "pass"]), st.sampled_from("abcd")), max_size=40))
def test_nobody_waits_for_longer_than_the_patience_of_those_before(steps):
    """Whatever the others do: when time passes and nobody progresses, everybody who waits gets to ask."""
    clock = Clock()
    turns = PullTurns(clock, 1.0)
    waiting = {}
    for step, who in steps:
        if step == "wait" and who not in waiting:
            waiting[who] = turns.wait(who)
        elif step == "progress":
            turns.progress(who)
        elif step == "end":
            turns.end(who)
            waiting.pop(who, None)
        elif step == "pass":
            clock.advance(0.4)
    clock.pump([1.0] * 5)
    assert all(turn.called for turn in waiting.values())
    assert clock.getDelayedCalls() == []
