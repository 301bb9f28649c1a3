"""Edits by hand become changes of registers, part by part."""

import pytest

from beonss.core.accounts import intents
from beonss.core.accounts.entries import ENTRY, LOCK, PASSWORD, RENEWAL, Aging, Password, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import ABSENT, Change, Register, Stamp
from beonss.core.targets.edits import AccountEdit, edit_changes

ALICE = UserEntry("alice", 1001, 100, "Alice", "/home/alice", "/bin/sh")
HELD = Password("$6$x", 20000)


@pytest.fixture
def view() -> AccountView:
    view = AccountView()
    apply(view, intents.create_user(view, ALICE, 1, password=HELD))
    return view


def apply(view: AccountView, changes: list[Change]) -> None:
    for number, change in enumerate(changes):
        old = view.register(change.key)
        assert change.expect is None or change.expect == (ABSENT if old is None else old.stamp)
        view.apply(
            [Register(change.key, change.value, Stamp(1 if old is None else old.stamp.time + 1, "a" * 32, number))]
        )


def edit(view: AccountView, **parts: object) -> AccountEdit:
    user = view.user("alice")
    assert user is not None
    return AccountEdit("user", user.id, "alice", **parts)  # type: ignore[arg-type]


def fields(changes: list[Change]) -> list[str]:
    return [change.key.field for change in changes]


def test_only_what_was_touched_is_written(view: AccountView) -> None:
    entry = UserEntry("alice", 1001, 100, "Alice", "/home/alice", "/bin/zsh")
    assert fields(edit_changes(view, edit(view, entry=entry))) == [ENTRY]
    assert fields(edit_changes(view, edit(view, locked=True))) == [LOCK]
    assert fields(edit_changes(view, edit(view, password=Password("$6$y", 20001), aging=Aging(maximum=9)))) == [
        PASSWORD,
        "aging",
    ]


def test_day_0_set_by_hand_demands_a_new_password_and_does_not_write_this_one(view: AccountView) -> None:
    """``chage -d 0`` and ``passwd -e`` on one master must not undo a password that is set on another meanwhile."""
    changes = edit_changes(view, edit(view, password=Password("$6$x", 0)))
    assert fields(changes) == [RENEWAL]
    apply(view, changes)
    assert view.user("alice").password == Password("$6$x", 0)  # type: ignore[union-attr]
    assert edit_changes(view, edit(view, password=Password("$6$x", 0))) == []


@pytest.mark.parametrize("day", [20000, 20007])
def test_another_day_set_by_hand_ends_it(view: AccountView, day: int) -> None:
    apply(view, intents.demand_renewal(view, "alice"))
    apply(view, edit_changes(view, edit(view, password=Password("$6$x", day))))
    assert view.user("alice").password == Password("$6$x", day)  # type: ignore[union-attr]


def test_a_new_hash_with_day_0_is_a_password(view: AccountView) -> None:
    assert fields(edit_changes(view, edit(view, password=Password("$6$y", 0)))) == [PASSWORD]
