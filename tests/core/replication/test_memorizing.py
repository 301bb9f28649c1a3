"""What a node does with answers: merged where others may have more, taken over anew where nobody has."""

import pytest
from support.registers import A, B, row

from beonss.core.accounts.entries import PRESENT, Presence, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication import memorizing as memorizing_module
from beonss.core.replication.memorizing import Memorizing, Step

PRESENT_SAM = Presence("user", "sam", 1000, 0, 1, present=True)
SAM = PRESENT_SAM.object
PRESENCE = row(SAM, PRESENT, PRESENT_SAM)
ENTRY = row(SAM, "entry", UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/sh"), 1, A, 2)
NEWER = row(SAM, "entry", UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/zsh"), 9, A, 9)


def known() -> AccountView:
    return AccountView([PRESENCE, NEWER])


def asked(*, everything: bool = False, alone: bool = True) -> Memorizing:
    memorizing = Memorizing()
    memorizing.asked(everything=everything, alone=alone)
    return memorizing


def page(memorizing: Memorizing, rows, vector, held, *, alone=True, whole=True, view=None) -> Step:
    """Take a page as a node does whose view is that of the only account."""
    view = known() if view is None else view
    merged = memorizing.take(rows, vector, view, held, alone=alone)
    if merged is not None:
        view.apply(merged)
    return memorizing.next(vector, view, held, whole=whole, alone=alone)


@pytest.mark.parametrize("alone", [True, False])
def test_a_whole_answer_of_a_master_that_has_all_is_fresh(*, alone: bool) -> None:
    memorizing = asked(alone=alone)
    assert page(memorizing, [PRESENCE], None, {A: 9}, alone=alone) == "more"
    assert page(memorizing, [NEWER], {A: 9, B: 1}, {A: 9}, alone=alone) == "fresh"


def test_an_answer_is_merged_at_once_unless_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pages somebody known could be unknown: two that exchange their names, say."""
    memorizing, view = asked(), AccountView()
    assert memorizing.take([PRESENCE], None, view, {}, alone=True) is None
    assert memorizing.take([ENTRY], {A: 2}, view, {}, alone=True) == [PRESENCE, ENTRY]
    memorizing.asked(everything=False, alone=True)
    monkeypatch.setattr(memorizing_module, "TOGETHER", 2)
    assert memorizing.take([PRESENCE], None, view, {}, alone=True) is None
    assert memorizing.take([ENTRY], None, view, {}, alone=True) == [PRESENCE, ENTRY]
    assert memorizing.take([], {A: 2}, view, {}, alone=True) == []
    memorizing.take([PRESENCE], None, view, {}, alone=True)
    memorizing.asked(everything=False, alone=True)
    assert memorizing.take([], {A: 2}, view, {}, alone=True) == [], "half an answer is worth nothing"


def test_what_an_only_master_lost_stands_in_nobody_s_way() -> None:
    """A name of an account that it lost may belong to another now: merged, the lost one would keep it."""
    assert asked().take([ENTRY], {A: 5, B: 1}, known(), {A: 9}, alone=True) is None
    assert asked(alone=False).take([ENTRY], {A: 5, B: 1}, known(), {A: 9}, alone=False) == [ENTRY]


def test_only_of_the_only_master_is_more_expected_than_of_another() -> None:
    """With two masters the other one may have what is missing here; with one nobody has."""
    assert page(asked(alone=False), [], {A: 5}, {A: 9}, alone=False) == "fresh"
    assert page(asked(), [], {A: 5}, {A: 9}) == "again"
    assert asked(everything=True, alone=False).anew is None


def test_half_an_answer_of_an_only_master_that_then_lost_it_is_given_up() -> None:
    """No vector will ever cover those rows; with several masters another one may."""
    assert page(asked(), [], {A: 9}, {A: 5}, whole=False) == "again"
    assert page(asked(alone=False), [], {A: 9}, {A: 5}, whole=False, alone=False) == "fresh"


def test_what_is_taken_over_anew_holds_what_the_master_has_although_it_is_older() -> None:
    memorizing = asked(everything=True)
    assert page(memorizing, [PRESENCE], None, {A: 9}) == "more"
    assert page(memorizing, [ENTRY], {A: 5}, {A: 9}) == "conform"
    assert memorizing.anew is not None
    assert memorizing.anew.stamps == {PRESENCE.key: PRESENCE.stamp, ENTRY.key: ENTRY.stamp}
    assert memorizing.anew.rows == [ENTRY]


def test_a_master_without_any_account_takes_none_away() -> None:
    """Most likely it began with an empty disk; the first account made there is a reason to look again."""
    memorizing = asked(everything=True)
    assert page(memorizing, [], {B: 3}, {A: 9}) == "keep"
    memorizing.asked(everything=False, alone=True)
    assert page(memorizing, [], {B: 4}, {A: 9, B: 4}) == "keep"
    memorizing.asked(everything=False, alone=True)
    assert page(memorizing, [ENTRY], {B: 5}, {A: 9, B: 5}) == "again"
    assert page(asked(everything=True), [], {B: 3}, {A: 9}, view=AccountView()) == "conform", "nothing is lost by that"
