"""Locking and replacing files: what can go wrong is told, and nothing is left behind."""

import errno
import os
import threading

import pytest

from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError
from beonss.targets import etcfiles
from beonss.targets.etcfiles import locked, read_file, replace_file


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    return tmp_path


def names(etc):
    return sorted(path.name for path in etc.iterdir())


def test_locks_are_held_and_let_go(etc):
    with locked(etc, ("passwd",), 1):
        assert (etc / "passwd.lock").read_bytes() == b"%d\0" % os.getpid()
        assert names(etc) == [".pwd.lock", "passwd", "passwd.lock"]
    assert names(etc) == [".pwd.lock", "passwd"]


def test_locks_are_let_go_after_an_error(etc):
    with pytest.raises(ZeroDivisionError), locked(etc, ("passwd",), 1):
        raise ZeroDivisionError
    assert names(etc) == [".pwd.lock", "passwd"]
    with locked(etc, ("passwd",), 1):
        assert (etc / "passwd.lock").exists()


def test_one_of_our_own_process_id_is_left_from_before_a_restart(etc):
    (etc / "passwd.lock").write_bytes(b"%d\0" % os.getpid())
    with locked(etc, ("passwd",), 1):
        assert (etc / "passwd.lock").exists()
    assert names(etc) == [".pwd.lock", "passwd"]


@pytest.mark.parametrize("content", [b"", b"x\n", b"-1\0", b"99999999999999999999", b"1\0"])
def test_a_lock_that_may_be_somebodys_is_waited_for_and_left(etc, content):
    (etc / "passwd.lock").write_bytes(content)
    with pytest.raises(TemporaryTargetError, match=r"passwd\.lock is held"), locked(etc, ("passwd",), 0.05):
        pytest.fail("it was not held")
    assert names(etc) == [".pwd.lock", "passwd", "passwd.lock"]


def test_another_thread_is_waited_for_and_told(etc):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with locked(etc, (), 5):
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert inside.wait(20)
        with pytest.raises(TemporaryTargetError, match="another delivery"), locked(etc, (), 0.05):
            pytest.fail("it was not held")
    finally:
        leave.set()
        thread.join()


def test_a_directory_where_no_lock_can_be_made(etc):
    with pytest.raises(PermanentTargetError, match="cannot be opened"), locked(etc / "missing", (), 1):
        pytest.fail("there is no such directory")
    (etc / "passwd").unlink()
    with pytest.raises(PermanentTargetError, match="cannot be made"), locked(etc, ("deep/passwd",), 1):
        pytest.fail("there is no such directory")


def test_files_that_are_none(etc):
    assert read_file(etc / "missing") is None
    (etc / "directory").mkdir()
    (etc / "link").symlink_to("passwd")
    with pytest.raises(PermanentTargetError, match="not a regular file"):
        read_file(etc / "directory")
    with pytest.raises(PermanentTargetError, match="symbolic link"):
        read_file(etc / "link")
    with pytest.raises(PermanentTargetError, match="cannot be read"):
        read_file(etc / "passwd" / "below")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, TemporaryTargetError, "No space left"),
        (errno.EIO, TemporaryTargetError, "Input/output"),
        (errno.EROFS, PermanentTargetError, "Read-only"),
    ],
)
def test_a_disk_that_does_not_take_it(etc, monkeypatch, number, kind, words):
    seen = read_file(etc / "passwd")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(etcfiles.os, "fsync", fail)
    with pytest.raises(kind, match=words):
        replace_file(seen, b"new\n")
    monkeypatch.undo()
    assert (etc / "passwd").read_bytes() == seen.data
    assert names(etc) == ["passwd"]


def test_a_file_that_is_a_mount_point_is_said(etc, monkeypatch):
    seen = read_file(etc / "passwd")

    def busy(*_):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(etcfiles.Path, "replace", busy)
    with pytest.raises(PermanentTargetError, match="mount point of its own"):
        replace_file(seen, b"new\n")


def test_what_a_crash_left_is_replaced(etc):
    (etc / ".passwd.beonss").write_text("torn")
    replace_file(read_file(etc / "passwd"), b"new\n")
    assert (etc / "passwd").read_bytes() == b"new\n"
    assert names(etc) == ["passwd"]
