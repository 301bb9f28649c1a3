"""Deliveries: nothing is skipped, one that fails holds up no other, and a restart resumes."""

import json

import pytest
from support.fake_accounts import THERE, FakeAccounts
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from beonss.core.accounts import intents
from beonss.core.accounts.entries import GroupEntry, Password, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Key, Register, Stamp
from beonss.core.targets.backlog import LOOK_AGAIN
from beonss.core.targets.delivery import DELIVERED, GroupState, Outcome, TemporaryTargetError, UserState
from beonss.daemon.targets import lane
from beonss.daemon.targets.deliveries import Deliveries
from beonss.daemon.targets.lane import COMPLAINTS, CURSOR_DELAY, LISTED, ORIGIN_FIRST, SLICE


class FakeTarget:
    kind = "fake"
    batch_limit = None

    def __init__(self, name="t", *, shared=False):
        self.name = name
        self.shared = shared
        self.batches = []
        self.have = {}
        self.answers = {}
        self.trouble = None
        self.reasserted = []
        self.closed = False

    def deliver(self, states):
        if self.trouble is not None:
            raise self.trouble
        self.batches.append([state.name for state in states])
        outcomes = []
        for state in states:
            answer = self.answers.get(state.name, DELIVERED)
            if isinstance(answer, Exception):
                raise answer
            if answer.verdict == "delivered":
                self.have[type(state), state.name] = state
            outcomes.append(answer)
        return outcomes

    def user(self, name):
        return self.have.get((UserState, name))

    def group(self, name):
        return self.have.get((GroupState, name))

    def conflicts(self):
        return [f"{self.name}: something"]

    def reassert(self, names=None, *, shrink=False):
        self.reasserted.append((names, shrink))

    def close(self):
        self.closed = True


class Bench:
    def __init__(self, *targets, accounts=None, slow=False):
        self.clock = Clock()
        self.accounts = accounts or FakeAccounts()
        self.targets = targets or (FakeTarget(),)
        self.waiting = []

        def in_thread(function, *arguments):
            if not slow:
                return succeed(None).addCallback(lambda _: function(*arguments))
            done = Deferred()
            self.waiting.append((done, function, arguments))
            return done

        self.deliveries = Deliveries(
            self.clock,
            self.accounts,
            self.targets,
            chance=lambda: 0.5,
            wall=lambda: 1000 + self.clock.seconds(),
            in_thread=in_thread,
        )
        self.run(self.deliveries.start())

    def run(self, coroutine):
        results = []
        Deferred.fromCoroutine(coroutine).addCallback(results.append)
        return results

    def finish(self):
        done, function, arguments = self.waiting.pop(0)
        done.callback(function(*arguments))

    def turn(self, seconds=0.0):
        self.clock.advance(seconds)
        for _ in range(50):
            self.clock.advance(0)

    def stop(self):
        assert self.run(self.deliveries.stop()) == [None]
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.stop()
    assert made.targets[0].closed


def test_a_change_is_delivered_and_told(bench):
    told = []
    cancel = bench.deliveries.on_progress(lambda target, objects: told.append((target, objects)))
    rows = bench.accounts.user("alice")
    password = next(row for row in rows if row.key.field == "password")
    assert not bench.deliveries.delivered("t", password.key, password.stamp)
    bench.turn()
    assert bench.targets[0].user("alice").password.hash == "$6$1"
    assert bench.targets[0].user("alice").author == "root@frodo"
    assert bench.deliveries.delivered("t", password.key, password.stamp)
    assert told == [("t", frozenset({password.key.object}))]
    assert bench.deliveries.state("t").backlog == 0
    assert bench.deliveries.targets() == ("t",)
    cancel()
    bench.accounts.user("bob")
    bench.turn()
    assert len(told) == 1


def test_many_changes_of_one_account_are_one_delivery():
    bench = Bench(slow=True)
    bench.accounts.user("alice")
    bench.turn()
    for number in range(10):
        bench.accounts.put_changes(intents.set_password(bench.accounts.view, "alice", Password(f"$6$n{number}")))
    bench.finish()
    bench.turn()
    bench.finish()
    bench.turn()
    assert bench.waiting == []
    assert bench.targets[0].batches == [["alice"], ["alice"]]
    assert bench.targets[0].user("alice").password.hash == "$6$n9"
    bench.stop()


def test_one_that_fails_holds_up_no_other_and_comes_later(bench):
    target = bench.targets[0]
    target.answers["alice"] = Outcome("failed", "busy")
    bench.accounts.user("alice")
    bench.accounts.user("bob")
    bench.turn()
    assert target.user("bob") is not None
    state = bench.deliveries.state("t")
    assert (state.backlog, state.since, state.error) == (1, 1000, "busy")
    identifier = bench.accounts.view.user("alice").id
    assert bench.deliveries.standing("t", identifier).verdict == "failed"
    del target.answers["alice"]
    bench.turn(1)
    assert target.user("alice") is not None
    assert bench.deliveries.state("t").error is None


def test_a_conflict_is_kept_shown_and_looked_at_again(bench):
    target = bench.targets[0]
    target.answers["alice"] = Outcome("conflict", "not ours")
    bench.accounts.user("alice")
    bench.turn()
    assert bench.deliveries.state("t").stuck == (
        (bench.accounts.view.describe(bench.accounts.view.user("alice").id), "not ours"),
    )
    assert bench.deliveries.conflicts() == ["t: something"]
    assert bench.deliveries.conflicts(0) == ["t: 1 more; see: beonss conflicts"]
    del target.answers["alice"]
    bench.turn(LOOK_AGAIN)
    assert target.user("alice") is not None


def test_a_target_that_is_away_is_tried_again_with_growing_patience(bench):
    target = bench.targets[0]
    target.trouble = TemporaryTargetError("directory is away")
    bench.accounts.user("alice")
    tries = 0
    real = target.deliver

    def counted(states):
        nonlocal tries
        tries += 1
        return real(states)

    target.deliver = counted
    for _ in range(600):
        bench.clock.advance(1)
    assert 8 <= tries <= 14
    assert bench.deliveries.state("t").error == "directory is away"
    target.trouble = None
    for _ in range(300):
        bench.clock.advance(1)
    assert target.user("alice") is not None
    assert bench.deliveries.state("t").error is None


def test_a_bug_about_one_account_stops_no_other(bench, logged_errors):
    target = bench.targets[0]
    target.answers["alice"] = ZeroDivisionError()
    for name in ("zoe", "alice", "bob"):
        bench.accounts.user(name)
    for _ in range(20):
        bench.turn(1)
    assert target.user("bob") is not None
    assert target.user("zoe") is not None
    assert bench.deliveries.state("t").backlog == 1
    assert logged_errors.flush(ZeroDivisionError)
    del target.answers["alice"]
    bench.turn(300)
    assert target.user("alice") is not None
    assert bench.deliveries.state("t").error is None


def test_a_large_backlog_is_looked_up_in_slices(bench):
    for number in range(SLICE * 2 + 1):
        bench.accounts.user(f"u{number}", 10_000 + number)
    turns = []
    real = bench.clock.callLater
    bench.clock.callLater = lambda delay, *rest: turns.append(delay) or real(delay, *rest)
    bench.turn()
    assert turns.count(0) >= 2
    assert [len(batch) for batch in bench.targets[0].batches] == [SLICE * 2 + 1]


def test_a_bug_in_looking_an_account_up_loses_nothing(bench, monkeypatch, logged_errors):
    real = lane.states_of
    monkeypatch.setattr(lane, "states_of", lambda *_: 1 / 0)
    bench.accounts.user("alice")
    bench.turn()
    assert logged_errors.flush(ZeroDivisionError)
    assert bench.deliveries.state("t").backlog == 1
    monkeypatch.setattr(lane, "states_of", real)
    bench.turn(5)
    assert bench.targets[0].user("alice") is not None


def test_one_target_that_is_away_does_not_hold_up_another():
    away, well = FakeTarget("away"), FakeTarget("well")
    away.trouble = TemporaryTargetError("away")
    bench = Bench(away, well)
    bench.accounts.user("alice")
    bench.turn()
    assert well.user("alice") is not None
    assert [state.backlog for state in bench.deliveries.states()] == [1, 0]
    bench.stop()


def test_a_new_target_gets_everything():
    accounts = FakeAccounts()
    for number in range(5):
        accounts.user(f"u{number}")
    bench = Bench(accounts=accounts)
    bench.turn()
    assert len(bench.targets[0].have) == 5
    bench.stop()


def test_a_restart_resumes_where_the_cursor_says():
    accounts = FakeAccounts()
    first = Bench(accounts=accounts)
    first.targets[0].answers["alice"] = Outcome("failed", "busy")
    accounts.user("alice")
    accounts.user("bob")
    first.turn()
    first.stop()
    accounts.user("carol")
    second = Bench(accounts=accounts)
    second.turn()
    assert {name for _, name in second.targets[0].have} == {"alice", "carol"}
    second.stop()


def test_a_crash_repeats_and_never_skips():
    accounts = FakeAccounts()
    first = Bench(accounts=accounts)
    accounts.user("alice")
    first.turn(CURSOR_DELAY)
    assert json.loads(accounts.notes["delivery:t"])["waiting"] == []
    accounts.user("bob")  # and here the machine dies: neither delivered nor in the cursor
    second = Bench(accounts=accounts)
    second.turn()
    assert {name for _, name in second.targets[0].have} == {"bob"}
    second.stop()
    first.stop()


def test_a_crash_skips_none_that_lost_or_got_its_number_by_the_change_of_another():
    """Nothing of it came after the cursor: what came is the other's."""

    def made_elsewhere(name, wall):
        return intents.create_user(AccountView(), UserEntry(name, 7001, 100, "", "/", ""), wall)

    accounts = FakeAccounts()
    first = Bench(accounts=accounts)
    accounts.put_changes(made_elsewhere("rob", 50), origin=THERE)
    first.turn(CURSOR_DELAY)
    accounts.put_changes(made_elsewhere("bob", 40), origin=THERE)  # and here the machine dies
    second = Bench(accounts=accounts)
    second.turn()
    assert second.targets[0].user("rob").entry is None
    assert second.targets[0].user("bob").entry.uid == 7001
    second.turn(CURSOR_DELAY)
    accounts.put_changes(intents.delete_user(accounts.view, "bob"))  # and here
    third = Bench(accounts=accounts)
    third.turn()
    assert third.targets[0].user("rob").entry.uid == 7001
    third.turn(CURSOR_DELAY)
    accounts.put_changes(made_elsewhere("tom", 30), origin=THERE)
    third.turn()
    assert third.targets[0].user("rob").entry is None
    accounts.put_changes(intents.delete_user(accounts.view, "tom"))  # and here, before the next cursor
    fourth = Bench(accounts=accounts)
    fourth.turn()
    assert fourth.targets[0].user("rob").entry.uid == 7001
    for bench in (fourth, third, second, first):
        bench.stop()


def test_no_cursor_is_kept_before_everything_after_the_last_one_was_read():
    """It would say that what was not read yet had been delivered."""
    accounts = FakeAccounts()
    accounts.user("alice")
    pages = accounts.page
    reading = Deferred()

    async def slow(question, more=None):
        await reading
        return await pages(question, more)

    accounts.page = slow
    first = Bench(accounts=accounts)
    accounts.user("bob")
    first.turn(CURSOR_DELAY)
    assert "delivery:t" not in accounts.notes
    assert first.targets[0].have == {}
    reading.callback(None)
    first.turn(CURSOR_DELAY)
    assert {name for _, name in first.targets[0].have} == {"alice", "bob"}
    first.stop()


@pytest.mark.parametrize("note", [b"", b"not json", b"[]", b'{"vector":{"x":"y"}}', b'{"vector":[]}', b'{"waiting":3}'])
def test_a_damaged_cursor_means_everything_again(note):
    accounts = FakeAccounts()
    accounts.user("alice")
    accounts.notes["delivery:t"] = note
    bench = Bench(accounts=accounts)
    bench.turn()
    assert bench.targets[0].user("alice") is not None
    bench.stop()


def test_the_cursor_is_not_written_for_every_change_nor_while_too_much_waits():
    bench = Bench()
    bench.turn(CURSOR_DELAY)
    before = bench.accounts.puts
    for number in range(50):
        bench.accounts.user(f"u{number}")
        bench.turn()
    bench.turn(CURSOR_DELAY)
    assert bench.accounts.puts == before + 1
    bench.targets[0].trouble = TemporaryTargetError("away")
    bench.turn(CURSOR_DELAY)
    for number in range(LISTED + 1):
        bench.accounts.user(f"v{number}")
    bench.turn(CURSOR_DELAY)
    assert bench.accounts.puts == before + 1
    bench.stop()


def test_the_others_leave_a_shared_target_to_the_origin_first():
    bench = Bench(FakeTarget(shared=True))
    bench.accounts.user("mine")
    bench.accounts.put_changes(
        intents.create_user(bench.accounts.view, UserEntry("theirs", 7000, 100, "", "/", ""), 1), origin=THERE
    )
    bench.turn()
    assert [name for _, name in bench.targets[0].have] == ["mine"]
    bench.turn(ORIGIN_FIRST)
    assert [name for _, name in bench.targets[0].have] == ["mine", "theirs"]
    bench.stop()


def test_a_deleted_user_goes_and_leaves_its_groups(bench):
    bench.accounts.user("alice")
    bench.accounts.put_changes(intents.create_group(bench.accounts.view, GroupEntry("hobbits", 6000), 1))
    bench.accounts.put_changes(intents.add_member(bench.accounts.view, "hobbits", "alice"))
    bench.turn()
    assert bench.targets[0].group("hobbits").members == ("alice",)
    bench.accounts.put_changes(intents.delete_user(bench.accounts.view, "alice"))
    bench.turn()
    assert bench.targets[0].user("alice").entry is None
    assert bench.targets[0].group("hobbits").members == ()


def test_who_inherits_a_name_or_number_is_delivered(bench):
    """Two masters made the same name and the same uid apart from each other; then the owners are deleted."""
    accounts, target = bench.accounts, bench.targets[0]
    other = AccountView()
    accounts.user("alice", 7000)
    accounts.user("bob", 7001)
    accounts.put_changes(intents.create_user(other, UserEntry("alice", 7002, 100, "", "/", ""), 50), origin=THERE)
    accounts.put_changes(intents.create_user(other, UserEntry("rob", 7001, 100, "", "/", ""), 50), origin=THERE)
    bench.turn()
    assert target.user("alice").entry.uid == 7000
    assert target.user("rob").entry is None
    accounts.put_changes(intents.delete_user(accounts.view, "alice"))
    accounts.put_changes(intents.delete_user(accounts.view, "bob"))
    bench.turn()
    assert target.user("alice").entry.uid == 7002
    assert target.user("rob").entry.uid == 7001
    assert target.user("bob").entry is None


def test_reassert_tells_the_target_and_tries_at_once(bench):
    target = bench.targets[0]
    target.answers["alice"] = Outcome("conflict", "not ours")
    bench.accounts.user("alice")
    bench.accounts.user("bob")
    bench.turn()
    del target.answers["alice"]
    assert bench.deliveries.reassert("t", ["alice", "unknown"]) == 1
    bench.turn()
    assert target.user("alice") is not None
    assert target.reasserted == [(["alice", "unknown"], False)]
    target.have.clear()
    assert bench.deliveries.reassert("t", None, shrink=True) == 2
    bench.turn()
    assert len(target.have) == 2
    target.batch_limit = 1
    bench.deliveries.reassert("t", None)
    assert sorted(target.reasserted[-1][0]) == ["alice", "bob"]
    with pytest.raises(KeyError):
        bench.deliveries.reassert("no-such", None)


def test_what_a_target_does_not_take_is_logged_once_and_not_by_thousands(bench):
    told = []

    def observe(event):
        if event["log_namespace"].startswith("beonss"):
            told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        for number in range(50):
            bench.targets[0].answers[f"u{number}"] = Outcome("refused", "no such entry")
            bench.accounts.user(f"u{number}")
        bench.turn()
        assert len(told) == COMPLAINTS + 1
        assert told[-1] == "t does not take 45 more accounts; see: beonss user show NAME"
        for _ in range(30):
            bench.turn(LOOK_AGAIN)
        assert len(told) == COMPLAINTS + 1
        assert len(bench.targets[0].batches) >= 4
    finally:
        globalLogPublisher.removeObserver(observe)


def test_a_target_looks_again_when_asked_without_permission_to_overwrite(bench):
    target = bench.targets[0]
    target.answers["alice"] = Outcome("refused", "run cpasswd again")
    bench.accounts.user("alice")
    bench.turn()
    del target.answers["alice"]
    bench.deliveries.again("t", "alice")
    bench.deliveries.again("t", "nobody")
    bench.turn()
    assert target.user("alice") is not None
    assert target.reasserted == []
    assert bench.deliveries.state("t").backlog == 0


def test_stopping_waits_for_what_is_on_its_way():
    bench = Bench(slow=True)
    bench.accounts.user("alice")
    bench.turn()
    stopped = bench.run(bench.deliveries.stop())
    assert stopped == []
    bench.finish()
    assert stopped == [None]
    assert json.loads(bench.accounts.notes["delivery:t"])["waiting"] == []


def test_a_register_of_an_unknown_object_is_nobodys(bench):
    row = Register(Key("f" * 32, "newfield"), b"{}", Stamp(1, THERE, 1))
    bench.accounts.view.apply([row])
    for listener in bench.accounts._listeners:
        listener([row])
    bench.turn()
    assert bench.targets[0].batches == []
    assert bench.deliveries.state("t").backlog == 0


def test_a_listener_that_breaks_stops_nothing(bench, logged_errors):
    bench.deliveries.on_progress(lambda *_: 1 / 0)
    bench.accounts.user("alice")
    bench.turn()
    assert bench.targets[0].user("alice") is not None
    assert logged_errors.flush(ZeroDivisionError)


def test_of_one_name_a_target_is_told_who_has_it_or_all_who_had_it():
    """Two that lost it may both be gone at once, and a target holds one of them: it must hear of that one."""
    entry = UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/sh")
    has, had, had_too = UserState("a", "sam", entry), UserState("b", "sam", None), UserState("c", "sam", None)
    group = GroupState("d", "sam", None)
    assert lane._distinct([[had], [has, had_too], [group], [has]]) == [has, group]
    assert lane._distinct([[had], [had_too], [had]]) == [had, had_too]
