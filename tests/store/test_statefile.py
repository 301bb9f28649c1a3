"""Small files are replaced whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from beonss.errors import ConfigurationError, StoreError
from beonss.store.statefile import read_file, read_given, write_file, write_new


def test_a_file_is_written_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        write_file(tmp_path / "cluster.pub", b"key", 0o644)
        write_file(tmp_path / "cluster.key", b"secret")
    finally:
        os.umask(old)
    assert (tmp_path / "cluster.pub").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "cluster.key").stat().st_mode & 0o777 == 0o600
    assert read_file(tmp_path / "cluster.pub") == b"key"
    assert len(list(tmp_path.iterdir())) == 2, "nothing temporary stays"


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"1")
    write_file(tmp_path / "f", b"2")
    assert read_file(tmp_path / "f") == b"2"


def test_new_files_never_replace_others_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_new(tmp_path / "secret", b"1", 0o600)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError, match="never overwritten"):
        write_new(tmp_path / "secret", b"2", 0o600)
    assert (tmp_path / "secret").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "f", b"1")

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        write_file(tmp_path / "f", b"2")
    assert read_file(tmp_path / "f") == b"1"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_read_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    assert read_file(tmp_path / "f") is None
    with pytest.raises(StoreError, match="cannot be read"):
        read_file(tmp_path)
    write_file(tmp_path / "f", b"12345")
    with pytest.raises(StoreError, match="more than 4 bytes"):
        read_file(tmp_path / "f", limit=4)
    for nowhere in (tmp_path / "nowhere", tmp_path / "f"):
        with pytest.raises(StoreError, match="cannot be written"):
            write_file(nowhere / "f", b"")


def test_a_file_that_somebody_named_is_read_up_to_its_limit_and_only_if_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert read_given(tmp_path / "f", 5) == b"12345"
    with pytest.raises(OSError, match="more than"):
        read_given(tmp_path / "f", 4)
    with pytest.raises(OSError, match="more than"):
        read_given(Path("/dev/zero"), 4096, ordinary=False)
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"ordinary|directory"):
            read_given(path, 4)
    with pytest.raises(FileNotFoundError):
        read_given(tmp_path / "nothing", 4)
