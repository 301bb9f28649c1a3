"""The file of the query log where it is no ordinary file."""

import os

import pytest

from beonss.errors import StoreError
from beonss.store.query_file import QueryFile


def test_a_fifo_that_nobody_reads_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StoreError, match=r"fifo: the query log cannot be written"):
        QueryFile(tmp_path / "fifo").append(())


def test_a_fifo_that_is_full_takes_nothing_and_holds_nobody_up(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = QueryFile(path)
        file.append([{"n": 1}])
        assert os.read(reader, 100) == b'{"n":1}\n'
        with pytest.raises(StoreError, match="only part"):
            file.append([{"n": "x" * (1 << 20)}])
        with pytest.raises(StoreError, match="cannot be written"):
            file.append([{"n": 2}])
    finally:
        os.close(reader)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="it is a symbolic link"):
        QueryFile(tmp_path / "link").append([{}])
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def half(monkeypatch):
    """Have the disk take half of what is written, once."""
    write = os.write

    def full(descriptor, data):
        monkeypatch.setattr(os, "write", write)
        return write(descriptor, data[: len(data) // 2])

    return lambda: monkeypatch.setattr(os, "write", full)


def test_what_a_full_disk_cut_off_is_a_line_of_its_own(tmp_path, half):
    """Also for the next daemon, and for one that may not read the file."""
    path = tmp_path / "q"
    for file in (QueryFile(path), QueryFile(path)):
        half()
        with pytest.raises(StoreError, match="only part"):
            QueryFile(path).append([{"number": 1}])
        file.append([{"number": 2}])
        assert path.read_text().endswith('{"numb\n{"number":2}\n'), path.read_text()
    # Nothing but whole lines: no empty one comes between them.
    QueryFile(path).append([{"number": 3}])
    assert path.read_text().count("\n\n") == 0


def test_after_a_full_disk_another_file_begins_with_a_line(tmp_path, half):
    path = tmp_path / "q"
    file = QueryFile(path)
    half()
    with pytest.raises(StoreError, match="only part"):
        file.append([{"number": 1}])
    path.rename(tmp_path / "q.1")
    file.append([{"number": 2}])
    assert path.read_text() == '{"number":2}\n'


def test_one_that_may_only_append_remembers_that_a_line_was_cut_off(tmp_path, half, monkeypatch):
    path = tmp_path / "q"
    file = QueryFile(path)
    half()
    with pytest.raises(StoreError, match="only part"):
        file.append([{"number": 1}])
    opened = os.open

    def unreadable(name, flags, mode=0o777):
        if not flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied")
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", unreadable)
    file.append([{"number": 2}])
    assert path.read_text() == '{"numb\n{"number":2}\n'
