"""The audit log: one line per try, private, appended, rotated under our hands, never with a secret."""

import json
import os

import pytest

from beonss.errors import StoreError
from beonss.store.audit import AuditLog, Place, read_on


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "audit.log", lambda: 1234.5678, "frodo")


def test_a_line_says_who_what_and_when_and_only_root_can_read_it(log):
    log.record(
        "change-password", user="alice", source="local uid 1001", outcome="refused", code="wrong-password", held=None
    )
    assert json.loads(log.path.read_text()) == {
        "time": 1234.568,
        "machine": "frodo",
        "event": "change-password",
        "user": "alice",
        "source": "local uid 1001",
        "outcome": "refused",
        "code": "wrong-password",
    }
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_lines_about_many_accounts_are_written_at_once_all_or_none(log):
    log.record_all("import", [{"user": "alice", "outcome": "changed"}, {"user": "bob", "code": None}])
    assert [(line["event"], line["user"]) for line in read_on(log.path, None)[0]] == [
        ("import", "alice"),
        ("import", "bob"),
    ]
    with pytest.raises(ValueError):
        log.record_all("import", [{"user": "carol"}, {"hash": "x"}])
    log.record_all("import", [])
    assert len(read_on(log.path, None)[0]) == 2


def test_a_field_that_is_not_on_the_list_is_refused(log):
    with pytest.raises(ValueError):
        log.record("change-password", new="s3cret")
    assert not log.path.exists()


def test_after_a_rotation_the_next_line_is_in_the_new_file(log):
    log.record("login", user="alice")
    log.path.rename(log.path.with_suffix(".1"))
    log.record("login", user="bob")
    assert [line["user"] for line in read_on(log.path, None)[0]] == ["bob"]


def test_names_from_outside_cannot_forge_lines_or_fill_the_disk(log):
    log.record("login", user='a"\n{"event":"x"}' + "x" * 10_000 + "\udcff")
    assert log.path.read_bytes().count(b"\n") == 1
    assert log.path.stat().st_size < 1500
    assert read_on(log.path, None)[0][0]["event"] == "login"


def test_a_line_cut_by_a_power_failure_is_passed_over(log):
    log.record("login", user="alice")
    with log.path.open("ab") as file:
        file.write(b'{"event":"lo\n[1]\n\xff\n')
    log.record("login", user="bob")
    assert [line["user"] for line in read_on(log.path, None)[0]] == ["alice", "bob"]


def test_what_cannot_be_written_or_read_is_a_store_error(tmp_path):
    for path in (tmp_path / "missing" / "audit.log", tmp_path):
        with pytest.raises(StoreError, match="audit log"):
            AuditLog(path, lambda: 0.0, "frodo").record("login")
    with pytest.raises(StoreError):
        read_on(tmp_path, None)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        AuditLog(tmp_path / "link", lambda: 0.0, "frodo").record("login")


def test_a_line_that_found_no_room_leaves_nothing_for_the_next_to_go_on_in(log, monkeypatch):
    """A full disk takes a part; and the alarm that it is full goes with the next line that is written."""
    log.record("login", user="alice")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(StoreError, match="cannot be written: No space"):
            log.record("login", user="bob")
    assert "No space" in log.problem
    log.record("login", user="carol")
    assert log.problem == ""
    assert [line["user"] for line in read_on(log.path, None)[0]] == ["alice", "carol"]


def test_nobody_is_waited_for_at_a_pipe(log):
    """A daemon would answer nobody meanwhile."""
    os.mkfifo(log.path)
    with pytest.raises(StoreError, match="cannot be written"):
        log.record("login", user="alice")
    with pytest.raises(StoreError, match="cannot be read"):
        read_on(log.path, None)


class TestReadingOn:
    """Whoever follows gets every line once, also through a rotation."""

    @pytest.fixture
    def log(self, tmp_path):
        return AuditLog(tmp_path / "audit.jsonl", lambda: 1.0, "frodo")

    @staticmethod
    def users(found):
        return [line["user"] for line in found]

    def test_nothing_yet_then_the_first_line(self, log):
        found, place = read_on(log.path, None)
        assert (found, place) == ([], Place(0, 0))
        log.record("login", user="sam")
        found, place = read_on(log.path, place)
        assert self.users(found) == ["sam"]
        assert read_on(log.path, place) == ([], place)

    def test_the_last_lines_and_on_from_there_a_few_at_a_time(self, log):
        for number in range(10):
            log.record("login", user=f"u{number}")
        found, place = read_on(log.path, None, lines=2)
        assert self.users(found) == ["u8", "u9"]
        for number in range(10, 13):
            log.record("login", user=f"u{number}")
        found, place = read_on(log.path, place, lines=2)
        assert self.users(found) == ["u10", "u11"]
        found, place = read_on(log.path, place, lines=2)
        assert self.users(found) == ["u12"]

    def test_a_rotation_loses_no_line(self, log):
        log.record("login", user="before")
        _, place = read_on(log.path, None)
        log.record("login", user="last")
        log.path.rename(log.path.with_name("audit.jsonl.1"))
        log.record("login", user="first")
        found, place = read_on(log.path, place)
        assert self.users(found) == ["last"]
        found, place = read_on(log.path, place)
        assert self.users(found) == ["first"]

    def test_a_rotation_while_nothing_new_was_written_loses_no_line(self, log):
        """The file of that name is made by the next line only."""
        log.record("login", user="before")
        _, place = read_on(log.path, None)
        log.record("login", user="last")
        log.path.rename(log.path.with_name("audit.jsonl.1"))
        found, place = read_on(log.path, place)
        assert self.users(found) == ["last"]
        assert read_on(log.path, place) == ([], place)
        log.record("login", user="first")
        assert self.users(read_on(log.path, place)[0]) == ["first"]

    def test_a_rotation_of_a_log_that_was_not_there_loses_no_line(self, log):
        _, place = read_on(log.path, None)
        log.record("login", user="first")
        log.path.rename(log.path.with_name("audit.jsonl.1"))
        log.record("login", user="second")
        found, place = read_on(log.path, place)
        assert self.users(found) == ["first"]
        assert self.users(read_on(log.path, place)[0]) == ["second"]

    def test_who_begins_just_after_a_rotation_is_told_what_is_new(self, log):
        log.record("login", user="old")
        log.path.rename(log.path.with_name("audit.jsonl.1"))
        found, place = read_on(log.path, None)
        assert found == []
        assert read_on(log.path, place) == ([], place)
        log.record("login", user="new")
        assert self.users(read_on(log.path, place)[0]) == ["new"]

    def test_a_rotation_in_the_middle_of_a_look_loses_no_line(self, log, monkeypatch):
        """What was opened is read, whatever has its name by then."""
        log.record("login", user="before")
        _, place = read_on(log.path, None)
        log.record("login", user="last")
        opened = os.open

        def rotated(path, flags, *mode):
            file = opened(path, flags, *mode)
            if str(path) == str(log.path) and not flags & os.O_WRONLY:
                monkeypatch.setattr(os, "open", opened)
                log.path.rename(log.path.with_name("audit.jsonl.1"))
                log.record("login", user="first")
            return file

        monkeypatch.setattr(os, "open", rotated)
        told = []
        for _ in range(3):
            found, place = read_on(log.path, place)
            told += self.users(found)
        assert told == ["last", "first"]

    def test_a_truncated_log_begins_anew_and_a_torn_line_waits(self, log):
        log.record("login", user="long-before" * 9)
        _, place = read_on(log.path, None)
        log.path.write_bytes(b"")
        log.record("login", user="x")
        with log.path.open("ab") as file:
            file.write(b'{"event":"lo')
        found, place = read_on(log.path, place)
        assert self.users(found) == ["x"]
        with log.path.open("ab") as file:
            file.write(b'gin","user":"y"}\n')
        assert self.users(read_on(log.path, place)[0]) == ["y"]
