"""What a node does with answers: merged where others may have more, taken over anew where nobody has."""

import pytest
from support.registers import A, B, row

from beonss.core.accounts.entries import PRESENT, Presence, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.memorizing import Memorizing

PRESENT_SAM = Presence("user", "sam", 1000, 0, 1, present=True)
SAM = PRESENT_SAM.object
PRESENCE = row(SAM, PRESENT, PRESENT_SAM)
ENTRY = row(SAM, "entry", UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/sh"), 1, A, 2)
NEWER = row(SAM, "entry", UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/zsh"), 9, A, 9)


def view() -> AccountView:
    return AccountView([PRESENCE, NEWER])


def asked(*, everything: bool = False, alone: bool = True) -> Memorizing:
    memorizing = Memorizing()
    memorizing.asked(everything=everything, alone=alone)
    return memorizing


@pytest.mark.parametrize("alone", [True, False])
def test_a_whole_answer_of_a_master_that_has_all_is_fresh(*, alone: bool) -> None:
    memorizing = asked(alone=alone)
    assert memorizing.merged([PRESENCE], None, view(), {A: 9}, alone=alone) == "more"
    assert memorizing.merged([NEWER], {A: 9, B: 1}, view(), {A: 9}, alone=alone) == "fresh"


def test_only_of_the_only_master_is_more_expected_than_of_another() -> None:
    """With two masters the other one may have what is missing here; with one nobody has."""
    assert asked(alone=False).merged([], {A: 5}, view(), {A: 9}, alone=False) == "fresh"
    assert asked().merged([], {A: 5}, view(), {A: 9}, alone=True) == "again"
    assert asked(everything=True, alone=False).anew is None


def test_what_is_taken_over_anew_holds_what_the_master_has_although_it_is_older() -> None:
    memorizing = asked(everything=True)
    assert memorizing.merged([PRESENCE], None, view(), {A: 9}, alone=True) == "more"
    assert memorizing.merged([ENTRY], {A: 5}, view(), {A: 9}, alone=True) == "conform"
    assert memorizing.anew is not None
    assert memorizing.anew.stamps == {PRESENCE.key: PRESENCE.stamp, ENTRY.key: ENTRY.stamp}
    assert memorizing.anew.older == [ENTRY]


def test_a_master_without_any_account_takes_none_away() -> None:
    """Most likely it began with an empty disk; the first account made there is a reason to look again."""
    memorizing = asked(everything=True)
    assert memorizing.merged([], {B: 3}, view(), {A: 9}, alone=True) == "keep"
    memorizing.asked(everything=False, alone=True)
    assert memorizing.merged([], {B: 4}, view(), {A: 9, B: 4}, alone=True) == "keep"
    assert memorizing.merged([ENTRY], {B: 5}, view(), {A: 9, B: 5}, alone=True) == "again"
    empty = asked(everything=True)
    assert empty.merged([], {B: 3}, AccountView(), {A: 9}, alone=True) == "conform", "nothing is lost by that"
