"""The boot of a master: logins wait for the others, not longer than the patience."""

from typing import Any

import pytest
from support.roster import Signed
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from beonss.core.replication.incarnation import Verdict
from beonss.daemon.replication.booting import Booting
from beonss.daemon.replication.membership import Membership


class FakePulls:
    """An exchange whose answers the test gives."""

    def __init__(self) -> None:
        self.answer = lambda *_: None

    def on_pulled(self, callback: Any) -> Any:
        self.answer = callback
        return lambda: None


class FakeAccounts:
    """Accounts that note how the incarnation was settled."""

    def __init__(self) -> None:
        self.settled: list[Any] = []
        self.broken = False

    async def settle(self, answers: Any) -> Verdict:
        if self.broken:
            raise RuntimeError("the disk is gone")
        self.settled.append(answers)
        return Verdict(True, "")


class Boot:
    """A boot of frodo among masters of the names given."""

    def __init__(self, *others: str) -> None:
        self.cluster = Signed("frodo", *others)
        self.clock, self.pulls, self.accounts = Clock(), FakePulls(), FakeAccounts()
        self.membership = Membership(self.cluster.roster, lambda _: None)
        self.booting = Booting(
            self.clock,
            name="frodo",
            pulls=self.pulls,
            membership=self.membership,
            accounts=self.accounts,
            patience=5.0,
        )
        self.fired: list[str] = []

    def start(self) -> None:
        self.booting.start()
        self.booting.ready().addCallback(lambda _: self.fired.append("ready"))


def test_a_master_alone_waits_for_nobody():
    boot = Boot()
    boot.start()
    assert boot.fired == ["ready"]
    assert boot.booting.outcome.state == "reconciled"
    assert boot.accounts.settled == [{}]


def test_logins_wait_until_every_other_master_has_answered():
    boot = Boot("gamgee", "fellowship")
    boot.start()
    boot.pulls.answer("gamgee", {"a" * 32: 1})
    assert boot.fired == []
    boot.pulls.answer("fellowship", {"b" * 32: 2})
    assert boot.fired == ["ready"]
    assert boot.booting.outcome.state == "reconciled"
    assert boot.accounts.settled == [{"gamgee": {"a" * 32: 1}, "fellowship": {"b" * 32: 2}}]
    assert boot.clock.getDelayedCalls() == []


def test_nobody_waits_longer_than_the_patience_and_who_was_missing_is_said():
    boot = Boot("gamgee", "fellowship")
    boot.start()
    boot.pulls.answer("gamgee", {})
    boot.clock.advance(4.9)
    assert boot.fired == []
    boot.clock.advance(0.2)
    assert boot.fired == ["ready"]
    assert boot.booting.outcome.state == "partial"
    assert boot.booting.outcome.missing == ("fellowship",)
    boot.pulls.answer("fellowship", {})
    assert boot.booting.outcome.state == "reconciled"
    assert len(boot.accounts.settled) == 1


def test_a_master_removed_meanwhile_is_not_waited_for():
    boot = Boot("gamgee")
    boot.start()
    boot.cluster.sign(boot.cluster.roster.list.find("frodo"))
    boot.membership.offer(boot.cluster.roster.document, ())
    assert boot.fired == ["ready"]


def test_a_broken_disk_lets_nobody_wait_for_ever(logged_errors):
    boot = Boot()
    boot.accounts.broken = True
    boot.start()
    assert boot.fired == ["ready"]
    assert logged_errors.flush(RuntimeError)


def test_stopping_ends_the_wait_and_the_timer():
    boot = Boot("gamgee")
    boot.booting.start()
    waiting = boot.booting.ready()
    given_up = boot.booting.ready()
    given_up.cancel()
    boot.booting.stop()
    for deferred in (waiting, given_up):
        with pytest.raises(CancelledError):
            deferred.result.raiseException()
        deferred.addErrback(lambda failure: failure.trap(CancelledError))
    assert boot.clock.getDelayedCalls() == []


def test_before_the_start_it_is_starting():
    assert Boot("gamgee").booting.outcome.state == "starting"
