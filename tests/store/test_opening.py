"""Everything that can be wrong with a database file is said clearly, and nothing is ever recreated."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from beonss.core.replication.publication import DESCRIPTION
from beonss.core.replication.registers import Change, Key
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError, UnusableStoreError, translated
from beonss.store.opening import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    file_system_magic,
    open_connection,
    schema_directory,
)
from beonss.store.rows import COLUMNS, to_register


def dumped(connection: sqlite3.Connection) -> list[str]:
    pragmas = [str(connection.execute(f"PRAGMA {name}").fetchone()) for name in ("user_version", "application_id")]
    return pragmas + list(connection.iterdump())


def test_a_new_file_is_ours_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        connection = open_connection(tmp_path / "db")
        connection.execute("INSERT INTO note VALUES ('x', x'00')")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"db": 0o600, "db-wal": 0o600}, "no -shm: the index of the WAL is in our memory"
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    open_connection(tmp_path / "db").close()
    (tmp_path / "db").chmod(0o644)
    open_connection(tmp_path / "db").close()
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600


def test_an_upgraded_database_dumps_identically_to_a_fresh_one(tmp_path: Path) -> None:
    """From every older version to every newer one (there is one so far; see below for the way itself)."""
    for version in range(1, SCHEMA_VERSION + 1):
        for first in range(1, version + 1):
            path = tmp_path / f"{first}-{version}"
            open_connection(path, version=first).close()
            upgraded, fresh = open_connection(path, version=version), open_connection(":memory:", version=version)
            assert dumped(upgraded) == dumped(fresh)
            upgraded.close()
            fresh.close()


@pytest.fixture
def later_scripts(tmp_path: Path) -> Path:
    """The scripts of a version of tomorrow."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    first = (schema_directory() / "v1.sql").read_text()
    (scripts / "v1.sql").write_text(first)
    (scripts / "v2.sql").write_text(first + "\n-- new; with a semicolon\nCREATE TABLE later (x TEXT);\n")
    (scripts / "upgrade-to-v2.sql").write_text("CREATE TABLE later (x TEXT);\n")
    (scripts / "v3.sql").write_text((scripts / "v2.sql").read_text() + "CREATE INDEX later_x ON later (x);\n")
    (scripts / "upgrade-to-v3.sql").write_text("CREATE INDEX later_x ON later (x);\n")
    return scripts


def test_the_way_of_upgrading_works_over_several_versions(tmp_path: Path, later_scripts: Path) -> None:
    """There is one version so far; this shows that the next ones will be reached."""
    connection = open_connection(tmp_path / "db", version=1, scripts=later_scripts)
    connection.execute("INSERT INTO note VALUES ('kept', x'01')")
    connection.close()
    connection = open_connection(tmp_path / "db", version=3, scripts=later_scripts)
    assert connection.execute("SELECT name FROM note").fetchall() == [("kept",)]
    connection.execute("DELETE FROM note")
    fresh = open_connection(tmp_path / "fresh", version=3, scripts=later_scripts)
    assert dumped(connection) == dumped(fresh)
    connection.close()
    fresh.close()


def test_an_upgrade_keeps_every_register_and_the_older_program_refuses_it(tmp_path: Path, later_scripts: Path) -> None:
    """What a master holds is the same after the program was upgraded; going back is a clear error, not a loss."""
    path = tmp_path / "accounts.db"
    database = Database(path, "c" * 32)
    keys = [Key(f"{n:032x}", "entry") for n in range(50)] + [DESCRIPTION]
    database.write([Change(key, b'{"n": 1}') for key in keys], 1000, "root@frodo", "a" * 32)
    database.put("kept", b"note")
    held = [database.register(key) for key in keys]
    database.close()
    upgraded = open_connection(path, version=2, scripts=later_scripts)
    rows = upgraded.execute(f"SELECT {COLUMNS} FROM register ORDER BY sequence").fetchall()
    assert [to_register(row) for row in rows] == held
    assert upgraded.execute("SELECT sequence FROM vector").fetchall() == [(51,)]
    assert upgraded.execute("SELECT value FROM note").fetchall() == [(b"note",)]
    upgraded.close()
    before = path.read_bytes()
    with pytest.raises(UnusableStoreError, match=r"newer version .*schema 2"):
        Database(path, "c" * 32)
    assert path.read_bytes() == before


def test_an_upgrade_that_fails_leaves_the_old_schema_whole(tmp_path: Path, later_scripts: Path) -> None:
    open_connection(tmp_path / "db", version=1, scripts=later_scripts).close()
    (later_scripts / "upgrade-to-v3.sql").write_text("CREATE TABLE register (oops);\n")
    with pytest.raises(Exception, match="already exists"):
        open_connection(tmp_path / "db", version=3, scripts=later_scripts)
    connection = open_connection(tmp_path / "db", version=1, scripts=later_scripts)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'later'").fetchone() == (0,)
    connection.close()


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path, later_scripts: Path) -> None:
    path = tmp_path / "db"
    open_connection(path, version=3, scripts=later_scripts).close()
    before = path.read_bytes()
    with pytest.raises(UnusableStoreError, match=r"newer version .*schema 3"):
        open_connection(path, version=1, scripts=later_scripts)
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"root:x:0:0:root:/root:/bin/sh\n" * 100)
    before = path.read_bytes()
    with pytest.raises(UnusableStoreError, match="not a database"):
        open_connection(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnusableStoreError, match="some other program"):
        open_connection(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["cut", "scribble"])
def test_a_damaged_database_is_refused_and_left_as_it_is(tmp_path: Path, how: str) -> None:
    path = tmp_path / "db"
    connection = open_connection(path)
    connection.executemany("INSERT INTO note VALUES (?, ?)", [(f"n{n}", os.urandom(500)) for n in range(200)])
    connection.close()
    data = path.read_bytes()
    damaged = data[: len(data) // 2] if how == "cut" else data[:4096] + b"\x5a" * (len(data) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(BrokenStoreError, match="damaged") as error:
        open_connection(path)
    assert "left as it is" in str(error.value)
    assert path.read_bytes() == damaged


def test_a_missing_or_closed_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableStoreError, match="no such directory"):
        open_connection(tmp_path / "nowhere" / "db")
    (tmp_path / "db").symlink_to("/dev/null")
    with pytest.raises(UnusableStoreError, match="cannot be opened"):
        open_connection(tmp_path / "db")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may always
    with pytest.raises(UnusableStoreError, match="cannot write there"):
        open_connection(tmp_path / "db")
    assert list(tmp_path.iterdir()) == []


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableStoreError, match=r"network file system \(NFS\)"):
        open_connection(tmp_path / "db", magic=lambda _: 0x6969)
    assert list(tmp_path.iterdir()) == []


def test_the_magic_number_is_read_from_the_kernel() -> None:
    """procfs has the number that statfs(2) gives for it; nothing gives 0."""
    if sys.platform == "linux":
        assert file_system_magic(Path("/proc")) == 0x9FA0
    assert file_system_magic(Path("/nowhere/at/all")) == 0


def test_a_second_process_does_not_get_in(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "db")
    program = (
        "import sys; from pathlib import Path; from beonss.store.opening import open_connection\n"
        "try: open_connection(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "db"], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.startswith("UnusableStoreError")
    assert "another process has it open" in result.stdout
    connection.close()


def test_an_error_without_a_code_is_still_an_error_of_ours() -> None:
    assert "refused" in str(translated(sqlite3.ProgrammingError("closed"), "db"))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "db")
    with pytest.raises(UnusableStoreError, match="no regular file"):
        open_connection(tmp_path / "db")
