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
    with pytest.raises(StoreError):
        QueryFile(tmp_path / "link").append([{}])
    assert not (tmp_path / "elsewhere").exists()
