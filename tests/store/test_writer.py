"""The thread that owns the database: group commit, isolation of jobs, disks that fill or fail, kill -9."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.registers import A

from beonss.core.replication.registers import Change, Key, Register
from beonss.errors import Refused, StoreError
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError, DiskFullError
from beonss.store.writer import InlineWriter, Writer


def password(number: int) -> Key:
    return Key(f"{number:032x}", "password")


def write_job(number: int, value: bytes = b"1"):
    def work(database: Database) -> Register:
        return database.write([Change(password(number), value)], 100, "root@frodo", A)[0]

    return work


@pytest.fixture
def broken() -> list[BrokenStoreError]:
    return []


@pytest.fixture
def writer(tmp_path: Path, broken: list[BrokenStoreError]):
    writer = Writer(Database(tmp_path / "db", "c"), broken.append)
    yield writer
    writer.close(30)


class Gate:
    """Holds the writer in a job so that the next ones become one group."""

    def __init__(self, writer: Writer) -> None:
        self._open = threading.Event()
        entered = threading.Event()

        def wait(_: Database) -> None:
            entered.set()
            assert self._open.wait(30)

        writer.submit(wait)
        assert entered.wait(30)

    def open(self) -> None:
        self._open.set()


def test_results_come_in_order_and_are_durable(writer: Writer, tmp_path: Path) -> None:
    order: list[int] = []
    futures = [writer.submit(write_job(number)) for number in range(50)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: order.append(number))
    assert [future.result(30).stamp.sequence for future in futures] == list(range(1, 51))
    writer.close(30)
    assert order == sorted(order)
    database = Database(tmp_path / "db", "c")
    assert database.vector() == {A: 50}
    database.close()


def test_jobs_that_wait_share_a_commit(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[str] = []
    original = Database._commit

    def count(self: Database, statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)
        original(self, statement)

    gate = Gate(writer)
    monkeypatch.setattr(Database, "_commit", count)
    futures = [writer.submit(write_job(number)) for number in range(100)]
    gate.open()
    for future in futures:
        future.result(30)
    assert len(commits) == 1, "none for the gate, which changes nothing, and one for the hundred"


def test_a_job_that_is_refused_undoes_only_itself(writer: Writer) -> None:
    def refused(database: Database) -> None:
        write_job(7)(database)
        raise Refused("no", "not allowed")

    gate = Gate(writer)
    first, second, third = writer.submit(write_job(1)), writer.submit(refused), writer.submit(write_job(2))
    gate.open()
    assert first.result(30).stamp.sequence == 1
    with pytest.raises(Refused):
        second.result(30)
    assert third.result(30).stamp.sequence == 2, "the numbers stay dense"
    assert writer.submit(lambda database: database.register(password(7))).result(30) is None


def test_a_full_disk_fails_the_job_that_needs_room_and_no_other(writer: Writer, broken: list) -> None:
    def fill(database: Database) -> None:
        pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    writer.submit(fill).result(30)
    gate = Gate(writer)
    small = writer.submit(write_job(1))
    large = writer.submit(write_job(2, b"x" * 500_000))
    after = writer.submit(write_job(3))
    gate.open()
    assert small.result(30).stamp.sequence == 1
    with pytest.raises(DiskFullError):
        large.result(30)
    assert after.result(30).stamp.sequence == 2
    assert writer.submit(Database.vector).result(30) == {A: 2}
    assert broken == []


def test_a_transaction_that_sqlite_gives_up_is_run_again_job_by_job(writer: Writer) -> None:
    """On some errors SQLite rolls back everything: the jobs before the failing one must not be reported as done."""

    def give_up(database: Database) -> None:
        database.put("delivery/files", b"7")
        database._connection.execute("ROLLBACK")
        raise DiskFullError("as SQLite does it")

    gate = Gate(writer)
    first, second, third = writer.submit(write_job(1)), writer.submit(give_up), writer.submit(write_job(2))
    gate.open()
    assert first.result(30).stamp.sequence == 1
    with pytest.raises(DiskFullError):
        second.result(30)
    assert third.result(30).stamp.sequence == 2
    rows = writer.submit(lambda database: [r for batch in database.registers() for r in batch]).result(30)
    assert rows == [first.result(), third.result()]


def test_a_commit_that_finds_no_room_is_tried_job_by_job(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Database._commit
    failures = iter([True])

    def full_once(self: Database, statement: str) -> None:
        if statement == "COMMIT" and next(failures, False):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        original(self, statement)

    gate = Gate(writer)
    monkeypatch.setattr(Database, "_commit", full_once)
    futures = [writer.submit(write_job(number)) for number in range(3)]
    gate.open()
    assert [future.result(30).stamp.sequence for future in futures] == [1, 2, 3]


def test_a_failing_fsync_ends_everything(writer: Writer, broken: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what is on the disk then: nothing is acknowledged any more, and the process is told to end."""
    original = Database._commit

    def fail(self: Database, statement: str) -> None:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        original(self, statement)

    gate = Gate(writer)
    monkeypatch.setattr(Database, "_commit", fail)
    futures = [writer.submit(write_job(number)) for number in range(3)]
    gate.open()
    for future in futures:
        with pytest.raises(BrokenStoreError, match="SQLITE_IOERR_FSYNC"):
            future.result(30)
    monkeypatch.undo()
    with pytest.raises(BrokenStoreError):
        writer.submit(write_job(9)).result(30)
    assert len(broken) == 1, "told once"


def test_damage_found_while_reading_ends_everything(writer: Writer, broken: list) -> None:
    def damaged(database: Database) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    gate = Gate(writer)
    first, second, third = writer.submit(write_job(1)), writer.submit(damaged), writer.submit(write_job(2))
    gate.open()
    for future in (first, second, third):
        with pytest.raises(BrokenStoreError, match="left as it is"):
            future.result(30)
    assert len(broken) == 1


def test_a_disk_that_breaks_while_jobs_are_tried_alone_fails_the_rest(
    writer: Writer, broken: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Database._commit
    codes = iter([sqlite3.SQLITE_FULL, None, sqlite3.SQLITE_IOERR])  # group, one alone, the next alone

    def commit(self: Database, statement: str) -> None:
        if statement == "COMMIT":
            code = next(codes, None)
            if code is not None:
                error = sqlite3.OperationalError("as told")
                error.sqlite_errorcode = code
                raise error
        original(self, statement)

    gate = Gate(writer)
    futures = [writer.submit(write_job(number)) for number in range(4)]
    monkeypatch.setattr(Database, "_commit", commit)
    gate.open()
    assert all(isinstance(future.exception(30), BrokenStoreError) for future in futures), "nobody knows any more"
    assert len(broken) == 1


def test_closing_finishes_what_was_submitted(tmp_path: Path, broken: list) -> None:
    writer = Writer(Database(tmp_path / "db", "c"), broken.append)
    futures = [writer.submit(write_job(number)) for number in range(600)]
    writer.close(60)
    assert all(future.done() for future in futures)
    with pytest.raises(StoreError, match="stopping"):
        writer.submit(write_job(1))
    writer.close(1)


def test_without_a_thread_the_jobs_do_the_same(tmp_path: Path) -> None:
    jobs = InlineWriter(Database(tmp_path / "db", "c"))
    assert jobs.submit(write_job(1)).result(0).stamp.sequence == 1

    def fail(database: Database) -> None:
        write_job(2)(database)
        raise Refused("no", "no")

    with pytest.raises(Refused):
        jobs.submit(fail).result(0)
    assert jobs.submit(Database.vector).result(0) == {A: 1}
    jobs.close()


# --- real processes ------------------------------------------------------------------------------------------------

STREAM = """
import sys
from pathlib import Path
from beonss.core.replication.registers import Change, Key
from beonss.store.database import Database
from beonss.store.writer import Writer

def fatal(error):
    print("fatal", type(error).__name__, flush=True)

def job(number):
    change = Change(Key(f"{number % 50:032x}", "password"), str(number).encode())
    return lambda database: database.write([change], number, "root@frodo", "a" * 32)[0].stamp.sequence

writer = Writer(Database(Path(sys.argv[1]), "c"), fatal)
if len(sys.argv) > 2:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
print("ready", flush=True)
number = 0
while number < 20000:
    futures = [(n, writer.submit(job(n))) for n in range(number + 1, number + 9)]
    number += 8
    for n, future in futures:
        try:
            print(n, future.result(), flush=True)
        except Exception as error:
            print("failed", type(error).__name__, flush=True)
            sys.exit(3)
"""


@pytest.mark.parametrize("acknowledged", [1, 57, 400])
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, acknowledged: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", STREAM, tmp_path / "db"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen: list[tuple[int, int]] = []
    try:
        assert process.stdout.readline() == "ready\n"
        for line in process.stdout:
            number, sequence = line.split()
            seen.append((int(number), int(sequence)))
            if len(seen) == acknowledged:
                os.kill(process.pid, signal.SIGKILL)
                break
        # What it had still printed before it died was acknowledged too.
        seen += [(int(a), int(b)) for a, b in (line.split() for line in process.stdout if line.count(" ") == 1)]
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    database = Database(tmp_path / "db", "c")
    assert database.vector()[A] >= seen[-1][1]
    for number, sequence in seen:
        held = database.register(Key(f"{number % 50:032x}", "password"))
        assert held is not None
        assert held.stamp.sequence >= sequence, "acknowledged and lost"
    rows = [register for batch in database.registers() for register in batch]
    assert max(register.stamp.sequence for register in rows) == database.vector()[A], "half a transaction"
    database.close()


def test_a_real_write_error_ends_the_writer_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the file's size makes the kernel refuse a write in the middle of a stream (EFBIG, not "full")."""
    result = subprocess.run(
        [sys.executable, "-c", STREAM, tmp_path / "db", str(150_000)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    lines = result.stdout.splitlines()
    assert "fatal BrokenStoreError" in lines
    seen = [tuple(map(int, line.split())) for line in lines if line[:1].isdigit()]
    assert seen
    database = Database(tmp_path / "db", "c")
    assert database.vector()[A] >= seen[-1][1]
    for number, sequence in seen:
        held = database.register(Key(f"{number % 50:032x}", "password"))
        assert held is not None
        assert held.stamp.sequence >= sequence
    database.close()
