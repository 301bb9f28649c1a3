"""The file of commits beside the database: nothing whole is lost, nothing void is read, and tables end the same."""

import errno
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.registers import A, B, row
from support.simulator.disks import Disk

from beonss.core.replication.registers import ABSENT, Change, Key
from beonss.errors import Refused, StoreError
from beonss.store.commits import Commits, DiskFile
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError, DiskFullError, UnusableStoreError
from beonss.store.writer import Writer

ONE, OTHER = b"11111111", b"22222222"
ALICE = "ab" * 16


class Memory:
    """A file in memory that can be told to fail."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.flushes = 0
        self.fails: dict[str, int] = {}

    def read(self) -> bytes:
        self._try("read")
        return bytes(self.data)

    def write(self, offset: int, data: bytes) -> None:
        kept = data[: len(data) // 2] if "write" in self.fails else data
        self.data.extend(bytes(max(0, offset - len(self.data))))
        self.data[offset : offset + len(kept)] = kept
        self._try("write")

    def flush(self) -> None:
        self._try("flush")
        self.flushes += 1

    def cut(self, size: int) -> None:
        self._try("cut")
        del self.data[size:]

    def close(self) -> None:
        pass

    def _try(self, what: str) -> None:
        if what in self.fails:
            raise OSError(self.fails[what], os.strerror(self.fails[what]))


def filled(*bodies: bytes, generation: bytes = ONE) -> Memory:
    memory = Memory()
    commits = Commits(memory, "file")
    commits.begin(generation)
    for body in bodies:
        commits.append(body)
    return memory


def read(memory: Memory, generation: bytes | None = ONE) -> list[bytes]:
    return list(Commits(memory, "file").read(generation).whole)


# --- the file -------------------------------------------------------------------------------------------------------


def test_what_was_added_is_read_and_each_was_flushed() -> None:
    memory = filled(b"one", b"", b"three")
    assert read(memory) == [b"one", b"", b"three"]
    assert memory.flushes == 3


def test_records_of_another_generation_are_void() -> None:
    memory = filled(b"one")
    assert read(memory, OTHER) == read(memory, None) == []


def test_a_new_generation_begins_over_the_old_and_never_runs_into_it() -> None:
    """Records of equal length: what follows the new one is exactly where an old one stood."""
    memory = filled(b"one", b"two", b"six")
    commits = Commits(memory, "file")
    commits.begin(OTHER)
    assert read(memory, OTHER) == []
    commits.append(b"new")
    assert read(memory, OTHER) == [b"new"]
    assert read(memory, ONE) == []
    again = Commits(memory, "file")
    again.begin(ONE)
    again.append(b"won")
    assert read(memory) == [b"won"], "the sums go on from record to record"


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_a_file_cut_off_anywhere_keeps_what_is_whole(bodies: list[bytes], data: st.DataObject) -> None:
    memory = filled(*bodies)
    whole = len(memory.data)
    del memory.data[data.draw(st.integers(0, whole)) :]
    found = read(memory)
    assert found == bodies[: len(found)]
    assert (len(found) == len(bodies)) or len(memory.data) < whole


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_changed_byte_ends_the_reading(bodies: list[bytes], data: st.DataObject) -> None:
    memory = filled(*bodies)
    memory.data[data.draw(st.integers(16, len(memory.data) - 1))] ^= data.draw(st.integers(1, 255))
    found = read(memory)
    assert found == bodies[: len(found)]
    assert len(found) < len(bodies)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(0, 15), st.integers(1, 255))
def test_a_changed_header_costs_nothing(bodies: list[bytes], place: int, change: int) -> None:
    """The sums of the records say as well of which generation they are."""
    memory = filled(*bodies)
    memory.data[place] ^= change
    assert read(memory) == bodies
    assert read(memory, OTHER) == []


RECORDS = st.lists(st.binary(max_size=40).map(lambda rest: b"\x92" + rest), min_size=1, max_size=6)


@given(RECORDS, RECORDS, st.data())
def test_whole_records_behind_a_changed_one_are_found(
    older: list[bytes], bodies: list[bytes], data: st.DataObject
) -> None:
    """Whatever is left of an older generation behind them; of that one as well, as nothing in its bytes tells."""
    memory = filled(*older, generation=OTHER)
    commits = Commits(memory, "file")
    commits.begin(ONE)
    starts = []
    for body in bodies:
        starts.append(commits._position or 16)
        commits.append(body)
    which = data.draw(st.integers(0, len(bodies) - 1))
    memory.data[starts[which] + data.draw(st.integers(0, 7 + len(bodies[which])))] ^= data.draw(st.integers(1, 255))
    found = Commits(memory, "file").read(ONE)
    assert list(found.whole) == bodies[:which]
    assert found.position == starts[which]
    rest = bodies[which + 1 :]
    assert list(found.behind[: len(rest)]) == rest
    assert set(found.behind[len(rest) :]) <= set(older)


@given(st.lists(st.binary(max_size=300), max_size=3), st.binary(max_size=600))
def test_looking_behind_takes_any_bytes(bodies: list[bytes], rubbish: bytes) -> None:
    memory = filled(*bodies)
    memory.data += rubbish
    assert read(memory) == bodies or rubbish
    for each in Commits(memory, "file").read(ONE).behind:
        assert each.startswith(b"\x92")


def test_looking_behind_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in bytes that were made to look like records at every turn."""
    monkeypatch.setattr("beonss.store.commits_behind._EFFORT", 1 << 20)
    trap = b"beoncmt1" + ONE + b"x" + b"\x00\x0f\xff\xff----\x92" * 200_000
    assert Commits(Memory(trap), "file").read(ONE).behind == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(rubbish: bytes) -> None:
    read(Memory(rubbish))
    read(Memory(b"beoncmt1" + ONE + rubbish))


def test_a_full_disk_adds_nothing_and_the_next_record_takes_its_place() -> None:
    memory = filled(b"one")
    commits = Commits(memory, "file")
    commits.begin(OTHER)
    commits.append(b"two")
    for number in (errno.ENOSPC, errno.EDQUOT):
        memory.fails = {"write": number}
        with pytest.raises(DiskFullError, match="was not made"):
            commits.append(b"a longer one that finds no room")
    memory.fails = {}
    commits.append(b"six")
    assert read(memory, OTHER) == [b"two", b"six"]


@pytest.mark.parametrize(("what", "number"), [("flush", errno.EIO), ("flush", errno.ENOSPC), ("write", errno.EIO)])
def test_after_a_failed_flush_nobody_knows(what: str, number: int) -> None:
    memory = Memory()
    commits = Commits(memory, "file")
    commits.begin(ONE)
    memory.fails = {what: number}
    with pytest.raises(BrokenStoreError, match="kernel's log"):
        commits.append(b"one")


def test_the_file_is_ours_alone_and_no_link_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "db-commits"
    path.write_bytes(b"")
    path.chmod(0o666)
    file = DiskFile(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.write(0, b"x" * 10)
    file.write(4, b"yy")
    file.flush()
    file.cut(7)
    assert file.read() == b"xxxxyyx"
    file.close()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableStoreError, match="cannot be opened"):
        DiskFile(path)


# --- the database on top of it --------------------------------------------------------------------------------------


def entry(number: int, expect: object = None) -> Change:
    return Change(Key(f"{number:032x}", "entry"), b"%d" % number, expect)  # type: ignore[arg-type]


def contents(database: Database) -> tuple[dict, dict]:
    return {r.key: r for batch in database.registers() for r in batch}, database.vector()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path, "disk", Random(1))
    yield disk
    disk.stop("kill")


def test_commits_do_without_sqlite_until_something_reads_the_tables(tmp_path: Path) -> None:
    """And an orderly end leaves an empty file and nothing to take in."""
    path = tmp_path / "db"
    database = Database(path, "c", quick=True)
    before = database._connection.total_changes
    written = [database.write([entry(number)], 5, "root", A)[0] for number in range(3)]
    assert database.unfolded == 3
    assert database._connection.total_changes == before
    assert database.vector() == {A: 3}
    assert database.register(written[1].key) == written[1]
    assert database.buffered({A: 1}).count == 2
    assert database.unfolded == 0
    database.write([entry(9)], 5, "root", A)
    database.close()
    assert (tmp_path / "db-commits").read_bytes() == b""
    plain = Database(path, "c")
    assert len(contents(plain)[0]) == 4
    assert plain.meta("commits") is None, "a tool that writes no such file says so"
    plain.close()


def test_a_tool_takes_in_what_a_killed_daemon_left(disk: Disk) -> None:
    database = disk.open("c")
    database.fold_rows = 100
    rows = [database.write([entry(number)], 5, "root", A)[0] for number in range(7)]
    assert database.unfolded == 7
    disk.stop("power")
    assert contents(disk.open("c")) == ({r.key: r for r in rows}, {A: 7})


def test_records_that_were_folded_are_not_read_again(disk: Disk) -> None:
    """The value of a later commit that went into the tables themselves would be overwritten by an older one."""
    database = disk.open("c")
    database.fold_rows = 100
    database.write([entry(1)], 5, "root", A)
    with database.transaction():
        database.put("note", b"1")
        newest = database.write([entry(1)], 9, "root", A)[0]
    disk.stop("kill")
    assert disk.open("c").register(newest.key) == newest


def test_an_old_copy_of_the_database_takes_no_newer_records(disk: Disk, tmp_path: Path) -> None:
    """The file of one life beside the database of another: it is not of its generation."""
    disk.open("c").write([entry(1)], 5, "root", A)
    disk.stop("kill")
    disk.open("c")
    disk.stop("kill")
    old = bytes(disk.files["accounts.db"].data), bytes(disk.files["accounts.db-wal"].data)
    database = disk.open("c")
    database.write([entry(2)], 5, "root", A)
    database.fold()
    database.write([entry(3)], 5, "root", A)
    disk.stop("kill")
    for name, data in zip(("accounts.db", "accounts.db-wal"), old, strict=True):
        disk.files[name].data[:] = data
    found, vector = contents(disk.open("c"))
    assert len(found) == 1
    assert vector == {A: 1}


def test_the_same_few_registers_changed_without_a_pause_are_never_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are few to fold, however often they change: it is the length of the file that has them folded."""
    monkeypatch.setattr("beonss.store.commits.MAX_LENGTH", 5000)
    database = Database(tmp_path / "db", "c", quick=True)
    for number in range(200):
        database.write([entry(number % 3)], 5, "root", A)
        assert (tmp_path / "db-commits").stat().st_size <= 5000
    big = [Change(Key(f"{number:032x}", "entry"), bytes(1000)) for number in range(20)]
    database.write(big, 5, "root", A)
    assert database.unfolded == 0
    assert database.vector() == {A: 220}
    database.close()


def test_a_quiet_moment_leaves_no_replaced_value_on_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c", quick=True)
    key = Key("ab" * 16, "password")
    for value in (b"an old hash", b"a newer hash", b"the newest hash"):
        database.write([Change(key, value)], 5, "root", A)
        database.fold()
    database.write([entry(1)], 5, "root", A)
    assert database.restless
    database.rest()
    assert not database.restless
    found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"an old hash" not in found
    assert b"a newer hash" not in found
    assert b"the newest hash" in found
    database.write([entry(2)], 5, "root", A)
    database.close()
    again = Database(tmp_path / "db", "c", quick=True)
    assert again.vector() == {A: 5}
    again.close()


def test_a_vector_that_moved_alone_is_kept_by_an_orderly_end(tmp_path: Path) -> None:
    for end in (Database.close, Database.rest):
        database = Database(tmp_path / end.__name__, "c", quick=True)
        late = row("ab" * 16, "entry", b"b", time=5, origin=B, sequence=5)
        database.merge([late])
        database.fold()
        database.merge([late], {B: 5})
        end(database)
        if end is Database.rest:
            assert not database.restless
            database.close()
        again = Database(tmp_path / end.__name__, "c", quick=True)
        assert again.vector() == {B: 5}
        assert again.unfinished() == {}
        again.close()


def killed_with_a_broken_bit(path: Path, *, at: bytes) -> Database:
    """Return a database opened after a kill, with a bit changed in the commit of the change to ``at``."""
    memory = Memory()
    killed = Database(path, "c", quick=True, commit_file=lambda _: memory)
    for number in range(1, 5):
        killed.write([Change(Key(f"{number:032x}", "entry"), b"value %d" % number)], 5, "root", A)
    killed._connection.close()
    memory.data[memory.data.index(at)] ^= 1
    return Database(path, "c", quick=True, commit_file=lambda _: memory)


def test_a_commit_that_was_damaged_is_noted_and_asked_for_and_those_behind_it_are_kept(tmp_path: Path) -> None:
    """The vector claims neither; another master that has the lost one sends it, and then nothing is missing."""
    other = Database(":memory:", "c")
    rows = [other.write([Change(Key(f"{n:032x}", "entry"), b"value %d" % n)], 5, "root", A)[0] for n in range(1, 5)]
    database = killed_with_a_broken_bit(tmp_path / "db", at=b"value 2")
    assert database.vector() == {A: 1}
    assert database.unfinished() == {A: 4}
    assert set(contents(database)[0]) == {rows[0].key, rows[2].key, rows[3].key}
    assert b"2 behind it could be read" in (database.meta("lost") or b"")
    for page in other.pages(database.vector()):
        database.merge(page.rows, page.vector)
    assert contents(database) == contents(other)
    assert database.digest() == other.digest()
    assert database.unfinished() == {}
    database.close()
    again = Database(tmp_path / "db", "c", quick=True)
    assert b"damaged" in (again.meta("lost") or b""), "until there is another incarnation"
    again.close()


def test_a_damaged_commit_that_nobody_else_has_does_not_take_those_behind_it_along(tmp_path: Path) -> None:
    """They go to the others, and are this master's own again after an hour, as what half an answer left is."""
    database = killed_with_a_broken_bit(tmp_path / "db", at=b"value 1")
    other = Database(":memory:", "c")
    for page in database.pages(other.vector()):
        other.merge(page.rows, page.vector)
    database.adopt([A], B)
    for page in database.pages(other.vector()):
        other.merge(page.rows, page.vector)
    assert contents(other) == contents(database)
    assert {r.value for r in contents(other)[0].values()} == {b"value 2", b"value 3", b"value 4"}
    assert other.unfinished() == database.unfinished() == {}
    database.close()


def test_the_last_commit_damaged_cannot_be_told_from_one_cut_short(tmp_path: Path) -> None:
    database = killed_with_a_broken_bit(tmp_path / "db", at=b"value 4")
    assert database.vector() == {A: 3}
    assert database.meta("lost") is None
    database.close()


def test_commits_of_an_older_generation_behind_the_last_are_no_damage(tmp_path: Path) -> None:
    """Records of equal length stand exactly where the next would, and carry on from each other."""
    memory = Memory()
    killed = Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: memory)
    for number in range(6):
        killed.write([entry(number)], 5, "root", A)
    killed.fold()
    for number in (6, 7):
        killed.write([entry(number)], 5, "root", A)
    generation = killed.meta("commits")
    killed._connection.close()
    found = Commits(memory, "file").read(generation)
    assert (len(found.whole), len(found.behind)) == (2, 3), "what follows the one that carries on from nothing known"
    database = Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: memory)
    assert database.meta("lost") is None
    assert database.vector() == {A: 8}
    database.close()


def test_a_start_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no change that was refused."""
    killed = Database(tmp_path / "db", "c", quick=True)
    killed.write([entry(1)], 5, "root", A)
    killed._connection.close()

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_commit", full)
        with pytest.raises(DiskFullError, match="a start needs some room") as caught:
            Database(tmp_path / "db", "c", quick=True)
    assert "change was not made" not in str(caught.value)
    again = Database(tmp_path / "db", "c", quick=True)
    assert again.vector() == {A: 1}
    again.close()


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "db-commits"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    with pytest.raises(UnusableStoreError, match="no regular file"):
        Database(tmp_path / "db", "c", quick=True)


def test_what_a_version_wrote_that_knows_no_such_file_is_not_set_back(tmp_path: Path) -> None:
    """Neither by what a killed process had left there before."""
    key = entry(1).key
    killed = Database(tmp_path / "db", "c", quick=True)
    killed.write([Change(key, b"old")], 5, "root", A)
    killed._connection.close()

    class Older(Database):
        def _recover(self, **_: object) -> None:
            """Know of no file."""

    older = Older(tmp_path / "db", "c")
    newest = older.write([Change(key, b"new")], 9, "root", A)[0]
    older._connection.close()
    again = Database(tmp_path / "db", "c", quick=True)
    assert again.register(key) == newest
    again.close()


def test_a_copy_of_the_database_takes_no_record_from_after_a_commit_that_it_lacks(tmp_path: Path) -> None:
    """Also where no record was in between: the vector would cover what only SQLite's own commit held."""
    memory = Memory()
    database = Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: memory)
    for path in list(tmp_path.iterdir()):
        (tmp_path / path.name.replace("db", "copy")).write_bytes(path.read_bytes())
    with database.transaction():
        database.put("note", b"1")
        database.write([entry(1)], 5, "root", A)
    database.write([entry(2)], 5, "root", A)
    copy = Database(tmp_path / "copy", "c", quick=True, commit_file=lambda _: memory)
    assert contents(copy) == ({}, {})
    copy.close()
    database._connection.close()


def test_a_full_disk_refuses_a_change_and_takes_the_next(tmp_path: Path) -> None:
    memory = Memory()
    database = Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: memory)
    kept = database.write([entry(1)], 5, "root", A)[0]
    memory.fails = {"write": errno.ENOSPC}
    with pytest.raises(DiskFullError):
        database.write([entry(1), entry(2)], 6, "root", A)
    assert database.register(kept.key) == kept
    assert database.vector() == {A: 1}
    memory.fails = {}
    again = database.write([entry(2)], 6, "root", A)[0]
    assert again.stamp.sequence == 2
    assert contents(database) == ({r.key: r for r in (kept, again)}, {A: 2})
    database.close()


def test_what_is_only_read_is_read_on_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room to fold what was acknowledged, but peers get it, and the status can be shown."""
    database = Database(tmp_path / "db", "c", quick=True)
    commit = Database._commit

    def full(self: Database, statement: str) -> None:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        commit(self, statement)

    broken: list[BrokenStoreError] = []
    kept = database.write([entry(1)], 5, "root", A)[0]
    writer = Writer(database, broken.append)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "_commit", full)
        for _ in range(2):
            assert writer.submit(lambda db: db.buffered({}).count).result(30) == 1
            assert list(writer.submit(lambda db: db.page({}).rows).result(30)) == [kept]
            assert writer.submit(Database.recount).result(30)
            for refused in (
                lambda db: db.put("note", b"1"),
                lambda db: (db.fold(), db.write([entry(2)], 5, "root", A)),
                lambda db: (db.fold(), db.merge([], {B: 5})),
            ):
                with pytest.raises(DiskFullError):
                    writer.submit(refused).result(30)
    assert writer.submit(lambda db: db.write([entry(2)], 5, "root", A)).result(30)[0].stamp.sequence == 2
    writer.close(30)
    assert not broken
    again = Database(tmp_path / "db", "c")
    assert again.vector() == {A: 2}
    assert again.register(kept.key) == kept
    again.close()


def test_a_refusal_in_a_transaction_undoes_its_own_registers_only(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c", quick=True)
    with database.transaction():
        database.write([entry(1)], 5, "root", A)
        with pytest.raises(Refused):
            database.write([entry(2), entry(1, ABSENT)], 5, "root", A)
        database.put("note", b"1")
        with pytest.raises(Refused):
            database.write([entry(3), entry(1, ABSENT)], 5, "root", A)
        database.write([entry(4)], 5, "root", A)
    assert {key.object for key in contents(database)[0]} == {f"{number:032x}" for number in (1, 4)}
    assert database.get("note") == b"1"
    database.close()


def test_a_record_of_another_shape_says_which_program_reads_it(tmp_path: Path) -> None:
    memory = Memory()
    database = Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: memory)
    generation = database.meta("commits")
    assert generation is not None
    database._connection.close()
    with pytest.raises(UnusableStoreError, match="start the version that wrote it"):
        Database(tmp_path / "db", "c", quick=True, commit_file=lambda _: filled(b"\x93rest", generation=generation))


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "write",
                "refused",
                "merge",
                "late",
                "note",
                "fold",
                "ask",
                "kill",
                "digest",
                "together",
                "count",
                "recount",
            ]
        ),
        st.integers(0, 3),
        st.integers(1, 30),
    ),
    max_size=25,
)


def perform(database: Database, step: Step) -> None:
    what, number, time = step
    if what in {"write", "refused"}:
        changes = [entry(number)] if what == "write" else [entry(number), entry(number, ABSENT)]
        try:
            database.write(changes, time, "root", A)
        except Refused:
            assert what == "refused"
    elif what in {"merge", "late"}:
        vector = {B: time} if what == "merge" else None
        database.merge([row(f"{number:032x}", "entry", b"b", time=time, origin=B, sequence=time)], vector)
    elif what == "note":
        database.put("note", bytes([time]))
    elif what == "fold":
        database.fold()
    elif what == "ask":
        list(database.pages({B: number}))
        database.unfinished()
    elif what == "digest":
        database.digest()
    elif what == "count":
        database.count_on(number + 1)
    elif what == "recount":
        assert database.recount_on(number + 1)[1]
    elif what == "together":
        with database.transaction():
            database.write([entry(number)], time, "root", A)
            database.put("note", b"together")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 4))
def test_quick_commits_end_in_the_same_state_as_those_of_sqlite(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], fold_rows: int
) -> None:
    """Whatever is done in whatever order, with kills in between, tables, vector, losers and digests are the same."""
    directory = tmp_path_factory.mktemp("same")
    disk, plain = Disk(directory, "disk", Random(1)), Database(":memory:", "c")
    try:
        database = disk.open("c")
        for step in steps:
            database.fold_rows = fold_rows
            if step[0] == "kill":
                disk.stop("power")
                database = disk.open("c")
            perform(database, step)
            perform(plain, step)
            assert database.vector() == plain.vector()
        assert database.digest() == plain.digest()
        # The one that is under way, and one without changes in between.
        assert database.recount()
        assert database.recount()
        assert contents(database) == contents(plain)
        assert database.overruled() == plain.overruled()
        assert database.get("note") == plain.get("note")
    finally:
        disk.stop("kill")
        plain.close()


def test_closing_a_store_that_cannot_fold_keeps_what_is_in_the_file(disk: Disk) -> None:
    database = disk.open("c")
    written = database.write([entry(1)], 5, "root", A)[0]
    disk.fuse, disk.death = 1, "kill"
    with pytest.raises(StoreError):
        database.close()
    assert disk.open("c").register(written.key) == written
