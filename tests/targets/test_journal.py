"""What a target was last given survives crashes, and losing a line only makes an edit look foreign."""

import pytest

from beonss.errors import StoreError
from beonss.targets.journal import Journal, Mark


def reopened(journal):
    journal.close()
    return Journal(journal.path)


def test_marks_survive_reopening(tmp_path):
    journal = Journal(tmp_path / "deep" / "j")
    journal.record([("passwd", "a", Mark("1", None, "i")), ("shadow", "a", Mark("1", "b"))])
    journal.record([("passwd", "a", Mark("1", "i"))])
    journal = reopened(journal)
    assert journal.get("passwd", "a") == Mark("1", "i", None)
    assert journal.get("shadow", "a") == Mark("1", "b", None)
    assert journal.get("group", "a") is None
    assert journal.names_of("passwd", "1") == {"a"}
    assert list(journal.names("shadow")) == [("a", Mark("1", "b"))]
    assert (tmp_path / "deep" / "j").stat().st_mode & 0o777 == 0o600
    journal.close()


def test_a_mark_of_nothing_forgets(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.record([("passwd", "a", Mark("1", "b"))])
    journal.record([("passwd", "a", Mark("1", None))])
    assert journal.get("passwd", "a") is None
    assert journal.names_of("passwd", "1") == frozenset()
    journal = reopened(journal)
    assert journal.get("passwd", "a") is None
    journal.close()


def test_a_name_given_to_another_account(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.record([("passwd", "a", Mark("1", "b")), ("passwd", "b", Mark("1", "b"))])
    assert journal.names_of("passwd", "1") == {"a", "b"}
    journal.record([("passwd", "a", Mark("2", "b"))])
    assert journal.names_of("passwd", "1") == {"b"}
    assert journal.names_of("passwd", "2") == {"a"}
    journal.close()


@pytest.mark.parametrize(
    "tail", [b'["passwd","x","1","b', b'{"a":1}\n', b"\xff\n", b'["passwd","x",1,2,3]\n', b"[" * 10**5]
)
def test_a_torn_line_is_dropped_and_the_rest_kept(tmp_path, tail):
    journal = Journal(tmp_path / "j")
    journal.record([("passwd", "a", Mark("1", "b"))])
    journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(tail)
    journal = Journal(tmp_path / "j")
    assert journal.get("passwd", "a") == Mark("1", "b")
    assert journal.get("passwd", "x") is None
    journal.record([("passwd", "c", Mark("3", "d"))])
    journal = reopened(journal)
    assert journal.get("passwd", "c") == Mark("3", "d")
    journal.close()


def test_the_file_stays_in_proportion(tmp_path):
    journal = Journal(tmp_path / "j")
    for number in range(60):
        journal.record(("shadow", f"u{user}", Mark(str(user), str(number))) for user in range(50))
    assert len((tmp_path / "j").read_bytes().splitlines()) <= 1150
    journal = reopened(journal)
    assert journal.get("shadow", "u49") == Mark("49", "59")
    journal.close()


def test_an_unusable_path_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal(tmp_path / "file" / "j")
