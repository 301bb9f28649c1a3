"""The permanent log of queries: once a second, in a thread, bounded; a disk that is full stops nothing."""

import json

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from beonss.core.zones.query_log import Wanted
from beonss.daemon.dns import query_log_file
from beonss.daemon.dns.query_log import MOST_FOLLOWERS
from beonss.daemon.dns.query_log_file import query_logs
from beonss.errors import ConfigurationError, Refused, StoreError
from beonss.store.query_file import QueryFile


class Answering:
    def __init__(self):
        self.tap = None

    def watch(self, tap):
        self.tap = tap


class Record:
    def document(self):
        return {"name": "x"}


class Thread:
    """Runs what it is given when told to, or at once."""

    def __init__(self):
        self.waiting = None
        self.hold = False

    def __call__(self, function, *arguments):
        if self.hold:
            self.waiting = Deferred()
            return self.waiting
        try:
            return succeed(function(*arguments))
        except Exception:
            return fail()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(tmp_path, clock):
    answering = Answering()
    log, file = query_logs(clock, answering, tmp_path / "q.jsonl", 10)
    file._in_thread = thread = Thread()
    file._wall = lambda: 99.5
    file.open()
    file.start()
    return log, file, thread, answering, tmp_path / "q.jsonl"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_a_file_there_is_only_the_log(clock):
    log, file = query_logs(clock, Answering(), None, 10)
    assert log.follow(1, Wanted(), print)
    assert file is None


def test_there_is_room_for_it_however_many_look_and_none_when_the_daemon_ends(tmp_path, clock):
    answering = Answering()
    log, file = query_logs(clock, answering, tmp_path / "q.jsonl", 10)
    for _ in range(MOST_FOLLOWERS):
        log.follow(100, Wanted(), print)
    file.start()
    assert answering.tap.every == 10
    with pytest.raises(Refused, match=f"{MOST_FOLLOWERS} follow"):
        log.follow(1, Wanted(), print)
    log, file = query_logs(clock, answering, tmp_path / "q.jsonl", 10)
    log.stop()
    file.start()
    assert clock.getDelayedCalls()[1:] == []


def test_lines_are_written_once_a_second(made, clock):
    _, file, _, answering, path = made
    assert answering.tap.every == 10
    assert path.stat().st_mode & 0o777 == 0o600
    file._take(Record())
    file._take(Record())
    assert lines(path) == []
    clock.advance(1)
    assert lines(path) == [{"name": "x"}] * 2
    path.rename(path.with_suffix(".1"))
    file._take(Record())
    clock.advance(1)
    assert lines(path) == [{"name": "x"}]


@pytest.mark.parametrize("waiting", [False, True])
def test_the_end_writes_what_waits(made, clock, waiting):
    _, file, thread, answering, path = made
    if waiting:
        thread.hold = True
        file._take(Record())
        clock.advance(1)
        thread.hold = False
    file._take(Record())
    stopped = Deferred.fromCoroutine(file.stop())
    if waiting:
        assert not stopped.called
        thread.waiting.callback(None)
    assert stopped.called
    assert lines(path) == [{"name": "x"}]
    assert answering.tap is None
    assert clock.getDelayedCalls() == []


def test_one_that_never_began_ends(tmp_path, clock):
    _, file = query_logs(clock, Answering(), tmp_path / "q", 10)
    assert Deferred.fromCoroutine(file.stop()).called


def test_a_slow_disk_is_waited_for_within_bounds(made, clock, monkeypatch):
    _, file, thread, _, path = made
    monkeypatch.setattr(query_log_file, "MOST_LINES", 3)
    thread.hold = True
    file._take(Record())
    clock.advance(1)
    first = thread.waiting
    assert [file._take(Record()) for _ in range(5)] == [True, True, True, False, False]
    file._follower.missed += 2
    clock.advance(5)
    assert thread.waiting is first
    thread.hold = False
    first.callback(None)
    clock.advance(1)
    assert lines(path) == [{"name": "x"}] * 3 + [{"time": 99.5, "dropped": 2}]
    clock.advance(3)
    assert len(lines(path)) == 4


def test_a_full_disk_is_an_alarm_until_it_is_not(made, clock):
    _, file, _, _, path = made

    class Full(QueryFile):
        def append(self, lines):
            raise StoreError(f"{path}: the query log cannot be written: No space left on device")

    good, file._file = file._file, Full(path)
    for _ in range(3):
        file._take(Record())
        clock.advance(1)
    assert "No space left" in file.alarm
    file._file = good
    clock.advance(1)
    assert file.alarm == ""
    assert lines(path) == [{"time": 99.5, "dropped": 3}]


def test_an_error_of_ours_is_logged_and_survived(made, clock, logged_errors):
    _, file, _, _, path = made

    class Wrong(QueryFile):
        def append(self, lines):
            raise ZeroDivisionError

    good, file._file = file._file, Wrong(path)
    file._take(Record())
    clock.advance(1)
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    file._file = good
    file._take(Record())
    clock.advance(1)
    assert {"name": "x"} in lines(path)


def test_a_file_that_cannot_be_written_ends_the_start(tmp_path, clock):
    _, file = query_logs(clock, Answering(), tmp_path / "no" / "q.jsonl", 10)
    with pytest.raises(ConfigurationError, match=r"No such file or directory; name another file with --query-log"):
        file.open()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    _, file = query_logs(clock, Answering(), tmp_path / "link", 10)
    with pytest.raises(ConfigurationError, match="it is a symbolic link"):
        file.open()


def test_what_a_full_disk_cut_off_spoils_no_other_line(tmp_path, monkeypatch):
    file = QueryFile(tmp_path / "q")
    real = query_log_file.QueryFile.append.__globals__["os"].write
    monkeypatch.setattr("os.write", lambda descriptor, data: real(descriptor, data[:5]))
    with pytest.raises(StoreError, match="only part"):
        file.append([{"name": "lost"}])
    monkeypatch.setattr("os.write", real)
    file.append([{"name": "kept"}])
    file.append([{"name": "too"}])
    assert (tmp_path / "q").read_text() == '{"nam\n{"name":"kept"}\n{"name":"too"}\n'
