"""A glimpse into a database that nobody has open: a few values, nothing changed, nothing made."""

import hashlib
import shutil
import sqlite3

import pytest

from beonss.core.replication.registers import Key, Register, Stamp
from beonss.errors import StoreError
from beonss.store.database import Database
from beonss.store.glimpse import glimpse

WANTED = Key("a" * 32, "one")
OTHER = Key("b" * 32, "two")
ORIGIN = "1" * 32


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "accounts.db"
    database = Database(path, "c" * 32)
    database.merge(
        [Register(key, b'"x%d"' % n, Stamp(n, ORIGIN, n), "root") for n, key in enumerate((OTHER, WANTED), 1)]
    )
    database.put("note", b"kept")
    database.close()
    return path


def test_values_are_found(path):
    before = hashlib.sha256(path.read_bytes()).digest()
    seen = glimpse(path, [WANTED, Key("c" * 32, "none")], ["note", "none"])
    assert seen.find(WANTED).value == b'"x2"'
    assert seen.find(OTHER) is None
    assert seen.notes == {"note": b"kept"}
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert [each.name for each in path.parent.iterdir()] == ["accounts.db"]


def test_what_a_killed_process_left_in_the_log_is_found_too(path, tmp_path):
    database = Database(path, "c" * 32)
    database.put("note", b"newer")
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("accounts.db", "accounts.db-wal"):
        shutil.copy(path.with_name(name), killed / name)
    database.close()
    assert glimpse(killed / "accounts.db", [], ["note"]).notes == {"note": b"newer"}
    again = Database(killed / "accounts.db", "c" * 32)
    assert again.get("note") == b"newer"
    again.close()


def test_what_a_killed_process_left_beside_the_tables_counts(path, tmp_path):
    """A commit may stand in the file of commits alone (decision 0034); the tables have the value before it."""
    database = Database(path, "c" * 32, quick=True)
    for number in (3, 4):
        database.merge([Register(WANTED, b'"x%d"' % number, Stamp(number, ORIGIN, number), "root")])
    assert database.unfolded
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("accounts.db", "accounts.db-wal", "accounts.db-commits"):
        shutil.copy(path.with_name(name), killed / name)
    database.close()
    before = (killed / "accounts.db-commits").read_bytes()
    assert glimpse(killed / "accounts.db", [WANTED], []).registers[WANTED].value == b'"x4"'
    assert (killed / "accounts.db-commits").read_bytes() == before
    again = Database(killed / "accounts.db", "c" * 32, quick=True)
    assert again.register(WANTED).value == b'"x4"'
    again.close()
    # Folded, and void: what stands in the file is of another generation, or nothing.
    (killed / "accounts.db-commits").write_bytes(before[:-1] + b"!")
    assert glimpse(killed / "accounts.db", [WANTED], []).registers[WANTED].value == b'"x4"'
    (killed / "accounts.db-commits").unlink()
    (killed / "accounts.db-commits").symlink_to(killed / "accounts.db")
    with pytest.raises(StoreError, match="db-commits"):
        glimpse(killed / "accounts.db", [WANTED], [])


def test_one_that_is_open_is_left_alone(path):
    database = Database(path, "c" * 32)
    with pytest.raises(StoreError, match="cannot be looked at"):
        glimpse(path, [WANTED], [])
    database.put("note", b"still works")
    database.close()


def test_none_is_made(tmp_path):
    with pytest.raises(StoreError, match="no such database"):
        glimpse(tmp_path / "accounts.db", [WANTED], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database", bytes(8192)])
def test_what_is_no_database_of_ours_is_an_error(tmp_path, content):
    path = tmp_path / "accounts.db"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        glimpse(path, [WANTED], ["note"])


def test_of_two_clusters_none_is_guessed(path):
    connection = sqlite3.connect(path)
    with connection:
        columns = "object, field, value, time, origin, sequence, author, context"
        connection.execute(f"INSERT INTO register SELECT NULL, 'd', {columns} FROM register LIMIT 1")
    connection.close()
    with pytest.raises(StoreError, match="several clusters"):
        glimpse(path, [WANTED], [])
