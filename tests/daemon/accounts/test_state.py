"""Accounts in the daemon: memory after the commit, waiting for news, and the incarnation."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.registers import A, B, row, user_rows
from support.simulator.inline import InlineReactor, now
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from beonss.core.accounts import intents
from beonss.core.accounts.entries import PASSWORD, Password, UserEntry, object_id
from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import ABSENT, MAX_TIME, Change, Key
from beonss.daemon.accounts.state import Accounts
from beonss.errors import MalformedError, Refused, StoreError, Unavailable
from beonss.store.database import LOST, Database
from beonss.store.failures import DiskFullError
from beonss.store.writer import InlineWriter, Writer

ALICE = object_id("user", "alice", 1001)
ENTRY = UserEntry("alice", 1001, 100, "", "/home/alice", "/bin/sh")


class Machine:
    """A machine whose daemon can be started again and again on the same disk."""

    def __init__(self, machine: str = "machine-a", disk: Database | None = None) -> None:
        self.disk = disk or Database(":memory:", "c")
        self.machine = machine
        self.lives = 0
        self.wall = 1000

    def start(self) -> Accounts:
        def incarnation() -> str:
            self.lives += 1
            return f"{self.lives:x}".rjust(32, "e")

        accounts = Accounts(
            InlineReactor(),  # type: ignore[arg-type]
            InlineWriter(self.disk),
            clock=lambda: self.wall,
            new_incarnation=incarnation,
            machine=self.machine,
        )
        now(accounts.start())
        return accounts


@pytest.fixture
def accounts() -> Accounts:
    return Machine().start()


def create(accounts: Accounts) -> None:
    now(accounts.write(intents.create_user(accounts.view, ENTRY, 1000), "root@frodo"))


def test_a_write_is_in_the_view_when_it_returns(accounts: Accounts) -> None:
    create(accounts)
    assert accounts.view.user("alice").entry == ENTRY  # type: ignore[union-attr]
    assert accounts.vector == {accounts.incarnation: 2}


def test_everything_is_there_after_a_start() -> None:
    machine = Machine()
    create(machine.start())
    again = machine.start()
    assert again.view.user("alice").entry == ENTRY  # type: ignore[union-attr]
    assert again.vector == machine.disk.vector()


def test_listeners_hear_what_changed_after_the_view_has_it(accounts: Accounts) -> None:
    heard: list[tuple[int, bool]] = []
    cancel = accounts.listen(lambda rows: heard.append((len(rows), accounts.view.user("alice") is not None)))
    create(accounts)
    now(accounts.merge([row(ALICE, "lock", b'{"locked":true}', time=9, origin=B)], {B: 1}))
    now(accounts.merge([row(ALICE, "lock", b'{"locked":false}', time=8, origin=B)]))
    assert heard == [(2, True), (1, True)], "what lost a merge is no change"
    cancel()
    cancel()
    now(accounts.merge([row(ALICE, "lock", b'{"locked":false}', time=10, origin=B)]))
    assert len(heard) == 2


def test_a_listener_that_fails_is_logged_and_the_others_are_told(accounts: Accounts, logged_errors) -> None:
    def broken(_: object) -> None:
        raise ValueError("a bug")

    heard: list[object] = []
    accounts.listen(broken)
    accounts.listen(heard.append)
    create(accounts)
    assert len(heard) == 1
    assert len(logged_errors.flush(ValueError)) == 1


def test_a_refused_write_changes_nothing(accounts: Accounts) -> None:
    create(accounts)
    stale = Change(Key(ALICE, PASSWORD), b"{}", accounts.view.register(Key(ALICE, "entry")).stamp)  # type: ignore[union-attr]
    with pytest.raises(Refused):
        now(accounts.write([stale], "root@frodo"))
    assert accounts.view.register(stale.key) is None


def test_two_changes_on_one_view_do_not_both_win(accounts: Accounts) -> None:
    """Both saw the old password; the second is refused instead of undoing the first unseen."""
    create(accounts)
    one = intents.set_password(accounts.view, "alice", Password("$6$one"))
    two = intents.set_password(accounts.view, "alice", Password("$6$two"))
    now(accounts.write(one, "alice@r01n01"))
    with pytest.raises(Refused, match="changed the same entry"):
        now(accounts.write(two, "alice@r01n02"))


def test_a_page_of_one_master_makes_another_equal() -> None:
    one, other = Machine("a").start(), Machine("b").start()
    create(one)
    page = now(one.page(other.vector, limit=1))
    while True:
        now(other.merge(page.rows, page.vector))
        if page.more is None:
            break
        page = now(one.page({}, page.more, limit=1))
    assert other.view.user("alice") == one.view.user("alice")
    assert now(other.recount())
    assert now(one.digest()) == now(other.digest())
    assert now(one.buffered(other.vector)).count == 0
    assert now(one.buffered({})).objects == {ALICE: 2}


def test_a_concurrent_change_that_lost_can_be_shown(accounts: Accounts) -> None:
    create(accounts)
    mine = accounts.view.register(Key(ALICE, "entry"))
    now(accounts.merge([row(ALICE, "entry", b"{}", time=9000, origin=B)], {B: 1}))
    assert now(accounts.overruled()) == [mine]


def test_a_bad_page_is_refused_whole(accounts: Accounts) -> None:
    with pytest.raises(MalformedError):
        now(accounts.merge([*user_rows("alice", 1001), row(ALICE, "lock", b"", sequence=0)], {A: 9}))
    assert accounts.view.user("alice") is None
    assert accounts.vector == {}


def test_the_digest_is_not_compared_while_an_answer_is_half_here(accounts: Accounts) -> None:
    now(accounts.merge(user_rows("alice", 1001)))
    assert now(accounts.digest()) == ({}, b"")
    now(accounts.merge([], {A: 2}))
    assert len(now(accounts.digest())[1]) == 32


def test_changes_are_made_between_the_slices_of_a_count() -> None:
    """Each slice is a job of its own: whoever waits for a change does not wait for the whole count."""
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    jobs: list[object] = []
    count_on, size = machine.disk.count_on, 1

    def sliced() -> int | None:
        if len(jobs) == 1:
            now(accounts.write([Change(Key("ab" * 16, "entry"), b"1")], "root@frodo"))
        jobs.append(None)
        return count_on(size)

    machine.disk.count_on = sliced  # type: ignore[method-assign]
    with mock.patch.object(Database, "count_on", lambda database: database.count_on()):
        vector, digest = now(accounts.digest())
    assert len(jobs) > 2
    other = Machine().start()
    for page in machine.disk.pages({}):
        now(other.merge(page.rows, page.vector))
    assert (vector, digest) == now(other.digest())


def test_a_count_that_gets_no_further_is_given_up(accounts: Accounts) -> None:
    """On a full disk nothing stays folded, and so nothing stays counted."""
    create(accounts)
    with mock.patch.object(Database, "count_on", return_value=7):
        assert now(accounts.digest())[1] == b""
    with mock.patch.object(Database, "recount_on", return_value=(7, True)):
        assert now(accounts.recount())
    assert now(accounts.digest())[1] != b""


def test_a_disk_that_changed_behind_our_back_is_noticed() -> None:
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    assert now(accounts.recount())
    machine.disk._connection.execute("DELETE FROM register WHERE field = 'entry'")
    assert not now(accounts.recount())
    assert now(accounts.recount()), "said once; the digest is now that of the disk, so that the other masters heal it"


# --- waiting for news ----------------------------------------------------------------------------------------------


def test_a_question_with_an_answer_does_not_wait(accounts: Accounts) -> None:
    create(accounts)
    assert accounts.changed_since({}).called
    assert not accounts.changed_since(accounts.vector).called


def test_a_question_waits_for_the_next_commit(accounts: Accounts) -> None:
    create(accounts)
    waiting = [accounts.changed_since(accounts.vector) for _ in range(3)]
    waiting.pop().addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    now(accounts.write(intents.set_lock(accounts.view, "alice", locked=True), "root@frodo"))
    assert all(deferred.called for deferred in waiting)


def test_a_vector_that_moves_without_rows_is_news(accounts: Accounts) -> None:
    """A third master's writes that lost here must still be acknowledged onwards."""
    waiting = accounts.changed_since({})
    now(accounts.merge([], {B: 3}))
    assert waiting.called


def test_nodes_wait_through_changes_of_passwords(accounts: Accounts) -> None:
    create(accounts)
    waiting = accounts.changed_since(accounts.vector, public_only=True)
    now(accounts.write(intents.set_password(accounts.view, "alice", Password("$6$x")), "alice@r01n01"))
    assert not waiting.called
    now(accounts.write(intents.set_lock(accounts.view, "alice", locked=True), "root@frodo"))
    assert waiting.called


def test_nodes_are_told_what_came_before_the_start() -> None:
    machine = Machine()
    create(machine.start())
    assert machine.start().changed_since({}, public_only=True).called


def test_nodes_are_told_when_the_last_page_covers_what_came_before(accounts: Accounts) -> None:
    waiting = accounts.changed_since({}, public_only=True)
    now(accounts.merge(user_rows("alice", 1001)))
    assert not waiting.called, "an answer now would not cover them"
    now(accounts.merge([row(ALICE, "password", b"{}", sequence=3)], {A: 3}))
    assert waiting.called


def test_one_that_is_woken_may_cancel_another(accounts: Accounts) -> None:
    second: list[Deferred[None]] = []
    first = accounts.changed_since({})
    second.append(accounts.changed_since({}))
    second[0].addErrback(lambda failure: failure.trap(CancelledError))
    first.addCallback(lambda _: second[0].cancel())
    create(accounts)
    assert first.called


# --- the incarnation -----------------------------------------------------------------------------------------------


def test_a_master_that_all_vouch_for_numbers_on() -> None:
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    again = machine.start()
    assert again.incarnation == accounts.incarnation
    assert now(again.settle({"gamgee": {again.incarnation: 2}})).keep
    now(again.write(intents.set_lock(again.view, "alice", locked=True), "root@frodo"))
    assert again.vector == {accounts.incarnation: 3}


def test_a_write_before_that_is_decided_begins_a_new_incarnation() -> None:
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    again = machine.start()
    now(again.write(intents.set_lock(again.view, "alice", locked=True), "root@frodo"))
    assert again.incarnation != accounts.incarnation
    assert again.vector == {accounts.incarnation: 2, again.incarnation: 1}
    assert now(again.settle({"gamgee": None})).reason == "it was decided before"
    assert machine.start().incarnation == again.incarnation, "it is on the disk"


def test_a_restored_master_is_told_by_what_others_know_not_by_what_it_pulled_from_them() -> None:
    """It gets its lost writes back before it decides; that must not look as if it had never lost them."""
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    restored = machine.start()
    lost = row(ALICE, "lock", b'{"locked":true}', time=5000, origin=accounts.incarnation, sequence=9)
    now(restored.merge([lost], {accounts.incarnation: 9}))
    verdict = now(restored.settle({"gamgee": {accounts.incarnation: 9}}))
    assert not verdict.keep
    assert "gamgee" in verdict.reason
    assert restored.incarnation != accounts.incarnation


def test_rows_that_come_back_without_their_vector_tell_a_restored_master_too() -> None:
    """The peer got them with half an answer, so its vector does not say that it knows them."""
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    restored = machine.start()
    lost = row(ALICE, "lock", b'{"locked":true}', time=5000, origin=accounts.incarnation, sequence=9)
    now(restored.merge([lost], {accounts.incarnation: 2}))
    assert not now(restored.settle({"gamgee": {accounts.incarnation: 2}})).keep


def test_a_master_that_lost_commits_says_so_and_numbers_anew_whatever_the_others_know(logged_errors) -> None:
    """Nodes may have been told what no master knows."""
    machine = Machine()
    accounts = machine.start()
    create(accounts)
    first = accounts.incarnation
    machine.disk.set_meta(LOST, b"a commit was damaged")
    for _ in range(2):
        again = machine.start()
        assert again.lost == "a commit was damaged", "also by the next start, if it was decided about nothing"
        assert again.incarnation == first
    assert len(logged_errors.flush()) == 2
    assert not now(again.settle({"gamgee": {first: 2}})).keep
    assert again.incarnation != first
    after = machine.start()
    assert not after.lost
    assert now(after.settle({"gamgee": {first: 2}})).keep


def test_a_full_disk_is_told_until_something_is_stored_again(accounts: Accounts) -> None:
    """Also on a master that only pulls: nobody is refused anything there. What stores nothing does not end it."""
    create(accounts)
    late = row("ab" * 16, "entry", b"b", time=5, origin=B, sequence=5)
    full = mock.patch.object(Database, "_complete", side_effect=DiskFullError("the disk is full"))
    with full, pytest.raises(DiskFullError):
        now(accounts.merge([late], {B: 5}))
    assert accounts.full == "the disk is full"
    now(accounts.merge([], dict(accounts.vector)))
    assert accounts.full
    now(accounts.merge([late], {B: 5}))
    assert not accounts.full
    with full, pytest.raises(DiskFullError):
        now(accounts.acknowledge("gamgee", Acknowledged(B, {})))
    assert accounts.full
    now(accounts.acknowledge("gamgee", Acknowledged(B, {})))
    assert not accounts.full


def test_a_cloned_disk_on_another_machine_begins_a_new_incarnation() -> None:
    machine = Machine("machine-a")
    accounts = machine.start()
    create(accounts)
    machine.machine = "machine-b"
    clone = machine.start()
    assert not now(clone.settle({"gamgee": {accounts.incarnation: 2}})).keep
    assert clone.incarnation != accounts.incarnation


def test_writes_of_this_incarnation_that_a_peer_knows_and_we_never_made_end_it(accounts: Accounts) -> None:
    create(accounts)
    old = accounts.incarnation
    now(accounts.merge([], {old: 7}))
    assert accounts.incarnation != old
    now(accounts.write(intents.set_lock(accounts.view, "alice", locked=True), "root@frodo"))
    assert accounts.vector == {old: 7, accounts.incarnation: 1}


def test_a_halted_master_takes_no_changes_until_it_is_allowed_again(accounts: Accounts) -> None:
    accounts.halt("two live masters have one incarnation")
    with pytest.raises(Unavailable, match="one incarnation"):
        create(accounts)
    now(accounts.merge(user_rows("bob", 1002), {A: 2}))
    assert accounts.view.user("bob") is not None, "it still follows the others"
    accounts.halt("")
    create(accounts)


def test_what_an_interrupted_answer_left_is_adopted_after_a_while(accounts: Accounts) -> None:
    create(accounts)
    now(accounts.merge(user_rows("bob", 1002), None))
    assert now(accounts.adopt_stalled(0.0)) == []
    assert now(accounts.adopt_stalled(3599.0)) == []
    assert len(now(accounts.adopt_stalled(3600.0))) == 2
    assert accounts.vector == {accounts.incarnation: 4}
    assert accounts.view.user("bob") is not None
    assert len(now(accounts.digest())[1]) == 32


# --- the rest --------------------------------------------------------------------------------------------------------


def test_notes_and_acknowledgements_are_kept() -> None:
    machine = Machine()
    accounts = machine.start()
    now(accounts.put("cursor", b"1"))
    now(accounts.acknowledge("gamgee", Acknowledged(B, {A: 2})))
    again = machine.start()
    assert now(again.get("cursor")) == b"1"
    assert now(again.acknowledged()) == {"gamgee": Acknowledged(B, {A: 2})}
    assert now(again.run(lambda database: database.meta("nothing"))) is None


async def test_with_a_real_thread_and_the_real_reactor(tmp_path: Path) -> None:
    """What is awaited is in the view, in the order of the commits, also when nobody waits any more."""
    from twisted.internet import reactor  # noqa: PLC0415 - the one test that wants it

    broken: list[object] = []
    accounts = Accounts(
        reactor,  # type: ignore[arg-type]
        Writer(Database(tmp_path / "db", "c"), broken.append),
        clock=lambda: 1000,
        new_incarnation=lambda: A,
        machine="m",
    )
    await accounts.start()
    heard: list[int] = []
    accounts.listen(lambda rows: heard.extend(each.stamp.sequence for each in rows))
    waiting = accounts.changed_since({})
    await accounts.write(intents.create_user(accounts.view, ENTRY, 1000), "root@frodo")
    assert accounts.view.user("alice") is not None
    await waiting
    forgotten = Deferred.fromCoroutine(accounts.write([Change(Key(ALICE, "lock"), b'{"locked":true}')], "root@frodo"))
    forgotten.addErrback(lambda failure: failure.trap(CancelledError))
    forgotten.cancel()
    writes = [
        Deferred.fromCoroutine(accounts.write([Change(Key(ALICE, f"f{n}"), b"1")], "root@frodo")) for n in range(20)
    ]
    for write in writes:
        await write
    assert heard == list(range(1, 24))
    assert accounts.view.user("alice").locked  # type: ignore[union-attr]
    last = accounts.changed_since(accounts.vector)
    last.addErrback(lambda failure: failure.trap(CancelledError))
    await accounts.stop()
    assert last.called
    with pytest.raises(StoreError, match="stopping"):
        await accounts.write([Change(Key(ALICE, "lock"), b"{}")], "root@frodo")
    assert broken == []


async def test_writes_that_wait_share_a_job_and_fail_alone(tmp_path: Path) -> None:
    """One that is refused, or cannot be made, harms none of those it came with."""
    from twisted.internet import reactor  # noqa: PLC0415 - a thread to wait for

    jobs = Writer(Database(tmp_path / "db", "c", quick=True), lambda error: None)
    accounts = Accounts(
        reactor,  # type: ignore[arg-type]
        jobs,
        clock=lambda: 1000,
        new_incarnation=lambda: A,
    )
    await accounts.start()
    await accounts.merge([row(ALICE, "entry", b"{}", time=MAX_TIME, origin=B)], {B: 1})
    await accounts.write([Change(Key(ALICE, "lock"), b"0")], "root@frodo")
    submitted = 0
    original = jobs.submit

    def submit(work: Any) -> Any:
        nonlocal submitted
        submitted += 1
        return original(work)

    jobs.submit = submit  # type: ignore[method-assign]
    ready = [
        Deferred.fromCoroutine(accounts.write(changes, f"root@{n}"))
        for n, changes in enumerate(
            [
                [Change(Key(ALICE, "lock"), b"1")],
                [Change(Key(ALICE, "f2"), b"2")],
                [Change(Key(ALICE, "f3"), b"3"), Change(Key(ALICE, "lock"), b"3", ABSENT)],
                [Change(Key(ALICE, "entry"), b"4")],
                [Change(Key(ALICE, "f5"), b"5")],
            ]
        )
    ]
    outcomes = [outcome for _, outcome in await DeferredList(ready, consumeErrors=True)]
    assert submitted == 2, "the first at once, and all that came meanwhile"
    assert [type(getattr(outcome, "value", outcome)) for outcome in outcomes] == [list, list, Refused, StoreError, list]
    assert [one[0].author for one in outcomes if isinstance(one, list)] == ["root@0", "root@1", "root@4"]
    assert accounts.vector == {A: 4, B: 1}, "numbers are dense"
    assert accounts.view.register(Key(ALICE, "f3")) is None
    await accounts.stop()
