"""A few threads that make and verify hashes, with a queue fair to everybody who asks.

Hashing is slow on purpose. It runs here, beside the reactor; libcrypt is called without the interpreter's lock.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from beonss.core.passwords.fairness import FairQueue, busy
from beonss.errors import Unavailable
from beonss.store import crypt

T = TypeVar("T")

#: Of a thread while it hashes, above that of the daemon; nice(2).
NICENESS = 10


def _returnable_niceness() -> int | None:
    """Return the daemon's own niceness if one of its threads may step back from it and return; None otherwise."""
    if not sys.platform.startswith("linux"):
        return None
    found: list[int] = []

    def attempt() -> None:
        me = threading.get_native_id()
        usual = os.getpriority(os.PRIO_PROCESS, me)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, me, min(19, usual + 1))
            os.setpriority(os.PRIO_PROCESS, me, usual)
            found.append(usual)

    # In a thread that ends: one that could not return would stay where it is.
    thread = threading.Thread(target=attempt, name="niceness")
    thread.start()
    thread.join()
    return found[0] if found else None


class HashingThreads:
    """Threads that hash; started at the first use.

    Args:
        size: how many; as many hashes are computed at once. None: as many as there are processors, from 2 to 4.
        per_source: how many may wait for one source: a course that logs in on one login node at nine o'clock.
        total: how many may wait in all.
    """

    def __init__(self, size: int | None = None, per_source: int = 512, total: int = 1024) -> None:
        self._size = max(2, min(4, os.cpu_count() or 2)) if size is None else size
        self._queue: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue(per_source, total)
        self._ready = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._niceness = _returnable_niceness()

    def verify(self, source: str, plain: bytes, hash_: str) -> "Future[bool]":
        """Start :func:`beonss.store.crypt.verify` for a source; its errors come with the future.

        Raises:
            Refused: ``busy``: too many wait.
            Unavailable: the threads were closed.
        """
        return self._submit(source, lambda: self._aside(lambda: crypt.verify(plain, hash_)))

    def hash_password(self, source: str, plain: bytes, scheme: str, cost: int | None, entropy: bytes) -> "Future[str]":
        """Start :func:`beonss.store.crypt.hash_password` for a source; its errors come with the future.

        Raises:
            Refused: ``busy``: too many wait.
            Unavailable: the threads were closed.
        """
        return self._submit(source, lambda: self._aside(lambda: crypt.hash_password(plain, scheme, cost, entropy)))

    def run(self, source: str, work: Callable[[], T]) -> "Future[T]":
        """Start something else that takes a while and handles a password; its errors come with the future.

        Raises:
            Refused: ``busy``: too many wait.
            Unavailable: the threads were closed.
        """
        return self._submit(source, work)

    def close(self) -> None:
        """Cancel what waits, end the threads after what they are at, and wait for them."""
        with self._ready:
            self._closed = True
            while len(self._queue):
                self._queue.get()[0].cancel()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _submit(self, source: str, work: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._ready:
            if self._closed:
                raise Unavailable("the daemon is stopping")
            gone = self._queue.put(source, (future, work))
            if len(self._threads) < self._size:
                thread = threading.Thread(target=self._run, name=f"hashing-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._ready.notify()
        if gone is not None and gone[0].set_running_or_notify_cancel():
            # Somebody with many waiting made room. Outside the lock: whoever hears of it may ask again.
            gone[0].set_exception(busy())
        return future

    def _aside(self, work: Callable[[], T]) -> T:
        """Hash while everything else of the daemon goes first, where a thread may come back from that.

        On Linux niceness belongs to the thread (sched(7)): who waits for a hash waits anyway, DNS need not. But one
        that stays back holds up all others whenever it has the interpreter's lock, so it steps back for the hash only,
        and not at all where it lacks the right to return (CAP_SYS_NICE, or RLIMIT_NICE).
        """
        if self._niceness is None:
            return work()
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, self._niceness + NICENESS))
        try:
            return work()
        finally:
            os.setpriority(os.PRIO_PROCESS, thread, self._niceness)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not len(self._queue):
                    if self._closed:
                        return
                    self._ready.wait()
                future, work = self._queue.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
                # Without its traceback, whose frames hold the password.
                future.set_exception(error.with_traceback(None))
            else:
                future.set_result(result)
            # Until the next piece of work comes, nothing here keeps a password alive.
            del future, work
