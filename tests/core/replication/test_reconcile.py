"""The boot of a master: waiting for the others, but not for ever."""

from support.registers import A

from beonss.core.replication.reconcile import Boot, Outcome


def test_it_is_reconciled_when_the_last_answer_is_in() -> None:
    boot = Boot(["gamgee", "sam"], now=100)
    assert boot.outcome == Outcome("starting", ("gamgee", "sam"), None)
    boot.answered("gamgee", {A: 1}, 101)
    assert boot.outcome == Outcome("starting", ("sam",), None)
    boot.answered("sam", {A: 2}, 102)
    assert boot.outcome == Outcome("reconciled", (), 102)
    assert boot.answers() == {"gamgee": {A: 1}, "sam": {A: 2}}


def test_it_is_partial_when_the_time_is_up() -> None:
    boot = Boot(["gamgee", "sam"], now=100)
    boot.answered("sam", {}, 101)
    boot.tick(104.9)
    assert boot.outcome.state == "starting"
    boot.tick(boot.deadline)
    assert boot.outcome == Outcome("partial", ("gamgee",), 105)
    assert boot.answers() == {"gamgee": None, "sam": {}}


def test_a_late_answer_completes_it() -> None:
    boot = Boot(["gamgee"], now=0)
    boot.tick(5)
    boot.answered("gamgee", {}, 60)
    assert boot.outcome == Outcome("reconciled", (), 5)


def test_a_lone_master_is_reconciled_at_once() -> None:
    assert Boot([], now=7).outcome == Outcome("reconciled", (), 7)


def test_a_vector_told_is_no_answer() -> None:
    """It counts for the incarnation; the rows behind it are still to come."""
    boot = Boot(["gamgee"], now=0)
    assert boot.told("gamgee", {A: 3}, 1)
    assert not boot.told("gamgee", {A: 3}, 1)
    assert not boot.told("stranger", {A: 3}, 1)
    assert boot.outcome.state == "starting"
    assert boot.answers() == {"gamgee": {A: 3}}


def test_a_stranger_changes_nothing() -> None:
    boot = Boot(["gamgee"], now=0)
    boot.answered("stranger", {A: 1}, 1)
    assert boot.answers() == {"gamgee": None}
    assert boot.outcome.state == "starting"


def test_a_newer_member_list_changes_who_is_waited_for() -> None:
    boot = Boot(["gamgee", "sam"], now=0)
    boot.members_changed(["sam", "pippin"], 1)
    assert boot.outcome.missing == ("pippin", "sam")
    boot.members_changed(["sam"], 2)
    boot.answered("sam", {}, 3)
    assert boot.outcome == Outcome("reconciled", (), 3)
    boot.members_changed(["sam", "merry"], 9)
    assert boot.outcome.state == "reconciled", "who joins after the boot is nothing that it waited for"
