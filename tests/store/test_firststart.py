"""A database that is missing or has no bytes: a first start, or a loss that must not be taken for one."""

from pathlib import Path

import pytest

from beonss.store.failures import UnusableStoreError
from beonss.store.firststart import MADE, check_database, note_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


@pytest.mark.parametrize("alone", [True, False])
def test_a_first_start_has_no_mark(path: Path, *, alone: bool) -> None:
    """Neither where there is no file yet, nor where a first start was cut short after it was made."""
    assert check_database(path, alone=alone) is False
    path.touch()
    assert check_database(path, alone=alone) is False


def test_one_that_is_missing_is_fetched_from_others_or_was_lost(path: Path) -> None:
    note_database(path)
    assert check_database(path, alone=False) is True
    with pytest.raises(UnusableStoreError, match=r"rm .*accounts\.made"):
        check_database(path, alone=True)
    path.with_name(MADE).unlink()
    assert check_database(path, alone=True) is False


@pytest.mark.parametrize(("alone", "way"), [(True, "beonss restore"), (False, "move it away")])
def test_no_bytes_are_no_first_start_where_there_was_one(path: Path, way: str, *, alone: bool) -> None:
    path.touch()
    trace = path.with_name("audit.jsonl")
    trace.touch()
    with pytest.raises(UnusableStoreError, match=way):
        check_database(path, alone=alone, traces=[trace])
    trace.unlink()
    note_database(path)
    with pytest.raises(UnusableStoreError, match="has no bytes"):
        check_database(path, alone=alone)
    assert path.stat().st_size == 0
    path.write_bytes(b"something")
    assert check_database(path, alone=alone) is False


def test_the_mark_is_made_once(path: Path) -> None:
    note_database(path)
    made = path.with_name(MADE).stat().st_mtime_ns
    note_database(path)
    assert path.with_name(MADE).stat().st_mtime_ns == made
    assert path.with_name(MADE).stat().st_mode & 0o777 == 0o600
