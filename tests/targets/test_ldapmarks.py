"""What is ours in a directory is told by marks alone, also after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from beonss.core.targets.delivery import UserState
from beonss.targets.ldapmarks import PasswordMarks, value_mark

OLD, NEW, THEIRS = b"{CRYPT}$6$old", b"{CRYPT}$6$new", b"{SSHA}theirs"
SAM = UserState("1", "sam", None)


class House:
    """Marks that can be read again from their file."""

    def __init__(self, path: Path, takeover: str) -> None:
        self.path, self.takeover = path, takeover
        self.marks = PasswordMarks(path, "userPassword", takeover)

    def restart(self) -> PasswordMarks:
        self.marks.close()
        self.marks = PasswordMarks(self.path, "userPassword", self.takeover)
        return self.marks

    def may(self, *values: bytes, goal: bytes = NEW) -> bool:
        return self.marks.may_replace(SAM, values, value_mark(goal), self.marks.earlier(SAM))


@pytest.fixture(params=["never", "next-change"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    made = House(tmp_path / "journal", request.param)
    yield made
    made.marks.close()


def test_what_we_wrote_or_were_about_to_write_is_ours(house: House) -> None:
    house.marks.settle(SAM, value_mark(OLD))
    house.marks.begin(SAM, value_mark(NEW))
    house.restart()
    assert house.may(OLD)
    assert house.may(NEW)
    assert house.may()
    assert not house.may(THEIRS)
    assert not house.may(OLD, THEIRS)


def test_what_another_master_wrote_is_ours_if_the_cluster_gave_it(house: House) -> None:
    house.marks.remember("1", [OLD])
    assert house.may(OLD)
    house.restart()
    assert house.may(OLD)
    assert not house.marks.may_replace(SAM, (OLD,), value_mark(NEW), set())


def test_only_so_many_earlier_ones_are_remembered(house: House) -> None:
    for number in range(20):
        house.marks.remember("1", [b"%d" % number])
    assert not house.may(b"3")
    assert house.may(b"4")
    other = UserState("2", "sam", None)
    assert house.marks.earlier(other) == set(), "another account of that name has no past"


def test_what_was_there_before_us_gives_way_to_the_next_change_if_it_may(house: House) -> None:
    assert not house.may(THEIRS)
    house.restart()
    assert not house.may(THEIRS), "this is still the password that it did not give way to"
    assert house.may(THEIRS, goal=b"another") is (house.takeover == "next-change")


def test_what_is_contested_is_told_and_replaced_once_when_somebody_says_so(house: House) -> None:
    house.marks.settle(SAM, value_mark(OLD))
    house.marks.contest("sam", "the reason")
    assert house.marks.conflicts() == {"sam": "the reason"}
    house.marks.reassert(None)
    assert house.may(THEIRS)
    house.marks.settle(SAM, value_mark(NEW))
    assert house.marks.conflicts() == {}
    assert not house.may(THEIRS)
    house.marks.reassert(["sam"])
    house.marks.forget_leave("sam")
    assert not house.may(THEIRS)


def test_a_renewal_is_ours_until_it_is_forgotten(house: House) -> None:
    assert not house.marks.is_renewal_ours(SAM)
    house.marks.note_renewal(SAM)
    house.restart()
    assert house.marks.is_renewal_ours(SAM)
    assert not house.marks.is_renewal_ours(UserState("2", "sam", None))
    house.marks.forget_renewal(SAM)
    assert not house.marks.is_renewal_ours(SAM)


def test_only_who_has_a_password_of_ours_there_can_have_missed_a_change(house: House) -> None:
    house.marks.miss(SAM)
    assert not house.marks.missed("sam")
    house.marks.changed(SAM, "goal")
    assert house.marks.is_changed(SAM, "goal")
    house.marks.miss(SAM)
    house.restart()
    assert house.marks.missed("sam")
    house.marks.changed(SAM, "other")
    assert not house.marks.missed("sam")
    assert not house.marks.is_changed(SAM, "goal")


def test_no_hash_is_in_the_file(house: House) -> None:
    house.marks.remember("1", [OLD])
    house.may(THEIRS)
    house.marks.begin(SAM, value_mark(NEW))
    assert not {word for word in (b"$6$", b"SSHA", b"theirs") if word in house.path.read_bytes()}
