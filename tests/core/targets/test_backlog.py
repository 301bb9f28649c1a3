"""What waits for a target: each account once, each at its own pace."""

from hypothesis import given
from hypothesis import strategies as st

from beonss.core.replication.registers import Key, Register, Stamp
from beonss.core.targets.backlog import LOOK_AGAIN, Backlog
from beonss.core.targets.delivery import DELIVERED, Outcome

FAILED = Outcome("failed", "away")


def row(name, field="password", time=1):
    return Register(Key(name, field), b"", Stamp(time, "0" * 32, time))


def test_an_account_waits_once_however_often_it_changes():
    backlog = Backlog()
    backlog.add([row("a", time=time) for time in range(100)], 0, 1000)
    backlog.add([row("a", "entry")], 5, 1005)
    assert len(backlog) == 1
    assert backlog.oldest() == 1000
    assert backlog.take(0) == ["a"]
    assert backlog.take(0) == []
    assert len(backlog) == 1, "on its way is not confirmed"
    backlog.settle("a", DELIVERED, 1, 0)
    assert len(backlog) == 0
    assert backlog.oldest() is None


def test_what_fails_waits_longer_and_holds_up_nobody():
    backlog = Backlog()
    backlog.add([row("a"), row("b")], 0, 0)
    assert sorted(backlog.take(0)) == ["a", "b"]
    backlog.settle("a", FAILED, 0, 0.99)
    backlog.settle("b", DELIVERED, 0, 0)
    assert 0.9 < backlog.next_due() < 1
    backlog.take(1)
    backlog.settle("a", FAILED, 1, 0.99)
    assert 2.9 < backlog.next_due() < 3
    assert [name for name, _ in backlog.stuck()] == ["a"]
    assert backlog.find("a").text == "away"


def test_a_conflict_is_looked_at_again_after_minutes_or_after_the_next_change():
    backlog = Backlog()
    backlog.add([row("a")], 0, 0)
    backlog.take(0)
    backlog.settle("a", Outcome("conflict", "not ours"), 0, 0.99)
    assert LOOK_AGAIN * 0.9 < backlog.next_due() < LOOK_AGAIN
    backlog.add([row("a", time=2)], 10, 10)
    assert backlog.find("a").verdict is None, "what was said of the older value does not count"
    assert backlog.next_due() == 10
    backlog.hurry(5)
    assert backlog.take(5) == ["a"]


def test_whom_another_account_keeps_waiting_goes_along_and_keeps_its_own_time():
    """Two that can only be written together are tried together, and that does not make them wait longer."""
    backlog = Backlog()
    backlog.add([row("a"), row("b"), row("c")], 0, 0)
    backlog.take(0)
    backlog.settle("a", Outcome("conflict", "b is in the way", joint=True), 0, 0.99)
    backlog.settle("b", Outcome("conflict", "edited"), 0, 0.99)
    backlog.settle("c", DELIVERED, 0, 0)
    due = backlog.next_due()
    backlog.add([row("c", time=2)], 1, 1)
    assert backlog.take(1, limit=1) == ["c"], "a target that takes one at a time gets one"
    backlog.give_back(["c"], 1)
    assert backlog.take(1) == ["c", "a"]
    backlog.settle("c", DELIVERED, 1, 0)
    backlog.settle("a", Outcome("conflict", "b is in the way", joint=True), 1, 0.99)
    assert backlog.next_due() == due
    assert backlog.find("a").attempts == 1
    backlog.add([row("b", time=2)], 2, 2)
    assert backlog.take(2) == ["b", "a"]
    backlog.give_back(["b", "a"], 3)
    assert sorted(backlog.take(3)) == ["a", "b"]
    for name in "ab":
        backlog.settle(name, DELIVERED, 3, 0)
    backlog.add([row("c", time=3)], 4, 4)
    assert backlog.take(4) == ["c"]


def test_a_change_during_the_delivery_is_delivered_too():
    backlog = Backlog()
    backlog.add([row("a", time=1)], 0, 0)
    backlog.take(0)
    backlog.add([row("a", time=2)], 0, 0)
    assert backlog.holds_back(Key("a", "password"))
    backlog.settle("a", DELIVERED, 0, 0)
    assert backlog.holds_back(Key("a", "password"))
    assert backlog.take(0) == ["a"]
    backlog.settle("a", DELIVERED, 0, 0)
    assert not backlog.holds_back(Key("a", "password"))


def test_only_the_registers_that_wait_are_held_back():
    backlog = Backlog()
    backlog.add([row("a", "entry")], 0, 0)
    assert backlog.holds_back(Key("a", "entry"))
    assert not backlog.holds_back(Key("a", "password"))
    backlog.add_object("b", 0, 0)
    assert backlog.holds_back(Key("b", "password")), "after a restart any register may wait"


def test_a_batch_that_came_back_is_taken_again():
    backlog = Backlog()
    backlog.add([row(name) for name in "abc"], 0, 0)
    taken = backlog.take(0, 2)
    assert len(taken) == 2
    backlog.give_back(taken, 7)
    assert backlog.next_due() == 0
    assert len(backlog.take(0)) == 1
    assert backlog.next_due() == 7
    assert sorted(backlog.take(7)) == sorted(taken)


def test_what_changed_while_a_batch_came_back_is_kept():
    backlog = Backlog()
    backlog.add([row("a", "entry")], 0, 0)
    backlog.take(0)
    backlog.add([row("a", "password")], 0, 0)
    backlog.give_back(["a"], 3)
    assert backlog.holds_back(Key("a", "entry"))
    assert backlog.holds_back(Key("a", "password"))
    assert len(backlog) == 1
    assert backlog.take(3) == ["a"]


names = st.sampled_from("abcd")
times = st.integers(0, 20)
verdicts = st.sampled_from(["delivered", "conflict", "refused", "failed"])


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "settle", "back", "hurry"]), names, times, verdicts)))
def test_nothing_is_lost_whatever_the_order(steps):
    backlog, owed, flying = Backlog(), set(), []
    for step, name, time, verdict in steps:
        if step == "add":
            backlog.add([row(name, time=time)], time, time)
            owed.add(name)
        elif step == "take":
            flying += backlog.take(time, 2)
        elif step == "hurry":
            backlog.hurry(time)
        elif flying:
            chosen = flying.pop()
            if step == "back":
                backlog.give_back([chosen], time)
            else:
                changed = chosen in backlog._waiting
                backlog.settle(chosen, Outcome(verdict), time, 0.5)
                if verdict == "delivered" and not changed:
                    owed.discard(chosen)
        assert set(backlog) == owed
        assert len(backlog) == len(owed)
    for name in flying:
        backlog.give_back([name], 0)
    while (due := backlog.next_due()) is not None:
        for name in backlog.take(due):
            backlog.settle(name, DELIVERED, due, 0)
    assert len(backlog) == 0
