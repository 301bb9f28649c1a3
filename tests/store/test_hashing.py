"""The hashing threads: results and errors come by futures, turns are fair, closing leaves nothing."""

import os
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from beonss.errors import ConfigurationError, Refused, Unavailable
from beonss.store import crypt
from beonss.store.hashing import HashingThreads

SALT = bytes(16)


@pytest.fixture
def threads():
    threads = HashingThreads(size=2)
    yield threads
    threads.close()


def test_a_hash_is_made_and_verified(threads):
    hash_ = threads.hash_password("here", b"correct horse", "sha512crypt", 5000, SALT).result(10)
    assert threads.verify("here", b"correct horse", hash_).result(10) is True
    assert threads.verify("here", b"wrong", hash_).result(10) is False


def test_an_error_comes_with_the_future_and_without_the_frames_that_hold_the_password(threads):
    error = threads.hash_password("here", b"s3cret", "md5crypt", None, SALT).exception(10)
    assert isinstance(error, ConfigurationError)
    assert error.__traceback__ is None


class Gate:
    """A stand-in for verify that says when it begins and waits until it is let go."""

    def __init__(self, monkeypatch):
        self.open, self.begun, self.order = threading.Event(), threading.Semaphore(0), []
        monkeypatch.setattr(crypt, "verify", self)

    def __call__(self, plain, hash_):
        self.order.append(hash_)
        self.begun.release()
        assert self.open.wait(10)
        return True


def test_turns_are_fair_and_a_full_source_is_refused(monkeypatch):
    """With the thread held, a storm fills its own places only; another's turn comes before the rest of the storm."""
    gate = Gate(monkeypatch)
    threads = HashingThreads(size=1, per_source=3, total=5)
    futures = [threads.verify("storm", b"", "storm0")]
    assert gate.begun.acquire(timeout=10)
    futures += [threads.verify("storm", b"", f"storm{number}") for number in (1, 2, 3)]
    with pytest.raises(Refused):
        threads.verify("storm", b"", "storm4")
    futures.append(threads.verify("alice", b"", "alice"))
    gate.open.set()
    assert all(future.result(10) for future in futures)
    assert gate.order == ["storm0", "storm1", "alice", "storm2", "storm3"]
    threads.close()


def test_a_storm_makes_room_for_others(monkeypatch):
    """With every place taken by one source another is served all the same, and who had to go is told so."""
    gate = Gate(monkeypatch)
    threads = HashingThreads(size=1, per_source=10, total=3)
    futures = [threads.verify("storm", b"", "storm0")]
    assert gate.begun.acquire(timeout=10)
    futures += [threads.verify("storm", b"", f"storm{number}") for number in (1, 2, 3)]
    futures.append(threads.verify("alice", b"", "alice"))
    error = futures.pop(3).exception(10)
    assert isinstance(error, Refused)
    assert error.code == "busy"
    gate.open.set()
    assert all(future.result(10) for future in futures)
    assert gate.order == ["storm0", "storm1", "alice", "storm2"]
    threads.close()


def test_closing_finishes_what_runs_cancels_what_waits_and_takes_no_more(monkeypatch):
    gate = Gate(monkeypatch)
    threads = HashingThreads(size=1)
    running = threads.verify("a", b"", "a")
    assert gate.begun.acquire(timeout=10)
    waiting = threads.verify("b", b"", "b")
    closing = threading.Thread(target=threads.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(10)
    gate.open.set()
    closing.join(10)
    assert not closing.is_alive()
    assert running.result(10) is True
    with pytest.raises(Unavailable):
        threads.verify("here", b"", "")


def test_what_nobody_waits_for_any_more_is_not_computed(monkeypatch):
    gate = Gate(monkeypatch)
    threads = HashingThreads(size=1)
    threads.verify("a", b"", "a")
    assert gate.begun.acquire(timeout=10)
    assert threads.verify("b", b"", "b").cancel()
    last = threads.verify("c", b"", "c")
    gate.open.set()
    assert last.result(10) is True
    assert gate.order == ["a", "c"]
    threads.close()


def niceness(*_):
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere niceness belongs to the process")
def test_hashing_steps_back_behind_everything_else_and_returns(monkeypatch):
    """A login storm does not slow down DNS, and nobody waits for a thread that has little of the processor."""
    monkeypatch.setattr(crypt, "verify", niceness)
    usual = niceness()
    threads = HashingThreads(size=1)
    during = threads.verify("here", b"", "").result(10)
    # Who may not come back (no root, no RLIMIT_NICE) does not go.
    assert during == min(19, usual + 10) if os.geteuid() == 0 else during in {usual, min(19, usual + 10)}
    # Other work with passwords takes the interpreter's lock, and locks of ours.
    assert threads.run("here", niceness).result(10) == usual
    threads.close()


def test_without_the_right_to_return_hashing_does_not_step_back(monkeypatch):
    def refused(which, who, priority):
        if priority < 19 and priority <= usual:
            raise PermissionError
        set_priority(which, who, priority)

    usual, set_priority = niceness(), os.setpriority
    monkeypatch.setattr(os, "setpriority", refused)
    monkeypatch.setattr(crypt, "verify", niceness)
    threads = HashingThreads(size=1)
    assert threads.verify("here", b"", "").result(10) == usual
    threads.close()
