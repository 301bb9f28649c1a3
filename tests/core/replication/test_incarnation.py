"""When a master may go on numbering, and who must stop."""

import pytest
from support.registers import A, B

from beonss.core.replication.incarnation import duplicates, judge


def verdict(**changes: object) -> tuple[bool, str]:
    facts = {"recorded_machine": "m", "machine": "m", "answers": {"gamgee": {A: 5}, "frodo": {A: 3, B: 9}}}
    incarnation = changes.pop("incarnation", A)
    result = judge(incarnation, 5, **{**facts, **changes})  # type: ignore[arg-type]
    return result.keep, result.reason


def test_it_is_kept_when_everybody_vouches_for_it() -> None:
    assert verdict()[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"incarnation": None}, "first start"),
        ({"machine": "other"}, "machine"),
        ({"recorded_machine": None}, "machine"),
        ({"answers": {"gamgee": {A: 6}, "frodo": {}}}, "gamgee"),
        ({"answers": {"gamgee": {A: 5}, "frodo": None}}, "frodo"),
        ({"returned": 6}, "came back"),
        ({"answers": {}}, "no other master"),
        ({"lost": True}, "lost"),
    ],
)
def test_it_is_renewed_in_doubt_and_says_why(changes: dict[str, object], why: str) -> None:
    keep, reason = verdict(**changes)
    assert not keep
    assert why in reason


def test_two_live_machines_with_one_incarnation_are_named() -> None:
    assert duplicates(("frodo", A), [("gamgee", B), ("sam", A), ("sam", A)]) == {A: ("frodo", "sam")}
    assert duplicates(("frodo", A), [("gamgee", B)]) == {}
    assert duplicates(("frodo", A), [("gamgee", B), ("sam", B)]) == {B: ("gamgee", "sam")}
