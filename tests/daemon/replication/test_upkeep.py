"""The loop that looks after the accounts."""

from support.registers import user_rows
from support.simulator.inline import InlineReactor, now
from twisted.internet.task import Clock

from beonss.daemon.accounts.state import Accounts
from beonss.daemon.replication.upkeep import INTERVAL, RECOUNT_EVERY, Upkeep
from beonss.store.database import Database
from beonss.store.writer import InlineWriter


def made() -> tuple[Clock, Database, Accounts, Upkeep]:
    clock, database = Clock(), Database(":memory:", "c")
    accounts = Accounts(
        InlineReactor(),  # type: ignore[arg-type]
        InlineWriter(database),
        clock=lambda: 1000,
        new_incarnation=lambda: "d" * 32,
    )
    now(accounts.start())
    now(accounts.settle({}))
    upkeep = Upkeep(clock, accounts)
    upkeep.start()
    return clock, database, accounts, upkeep


def test_what_stalled_is_adopted_after_an_hour() -> None:
    clock, database, accounts, upkeep = made()
    now(accounts.merge(user_rows("alice", 1001)))
    clock.pump([INTERVAL] * 6)
    assert database.unfinished()
    clock.pump([INTERVAL] * 2)
    assert not database.unfinished()
    upkeep.stop()
    upkeep.stop()
    assert clock.getDelayedCalls() == []


def test_a_disk_that_changed_is_an_alarm_within_a_day(logged_errors) -> None:
    clock, database, accounts, upkeep = made()
    now(accounts.merge(user_rows("alice", 1001), {"a" * 32: 2}))
    clock.pump([INTERVAL] * RECOUNT_EVERY)
    assert upkeep.alarm == ""
    database._connection.execute("DELETE FROM register")
    clock.pump([INTERVAL] * RECOUNT_EVERY)
    assert "check the disk" in upkeep.alarm
    assert len(logged_errors.flush()) == 1


def test_a_failure_does_not_end_the_loop(logged_errors) -> None:
    clock, database, accounts, _ = made()
    broken = accounts.adopt_stalled
    accounts.adopt_stalled = None  # type: ignore[assignment, method-assign]
    clock.pump([INTERVAL])
    assert len(logged_errors.flush(TypeError)) == 1
    accounts.adopt_stalled = broken  # type: ignore[method-assign]
    now(accounts.merge(user_rows("alice", 1001)))
    clock.pump([INTERVAL] * 8)
    assert not database.unfinished()
