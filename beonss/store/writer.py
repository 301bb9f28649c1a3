"""The thread that owns the database: jobs in, results out after their commit, many jobs to one commit.

A commit costs a flush of the disk; jobs that arrive while one is under way share the next. Each job runs in a savepoint
of its own, so one that is refused undoes nothing of the others.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from beonss.errors import StoreError
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError

T = TypeVar("T")


class _UndoneError(StoreError):
    """SQLite ended a transaction by itself."""


#: Jobs in one commit at most; bounds how long the first of them waits for the others.
MAX_GROUP = 256
#: Seconds without a job after which commits are folded into the tables, and what they replaced goes from the disk.
IDLE = 1.0


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[Database], T]
    future: "Future[T]"
    result: T | None = None
    error: BaseException | None = None

    def resolve(self) -> None:
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


class Writer:
    """Runs jobs on a database in a thread of its own, in the order they come.

    Args:
        database: owned by the writer from now on; closed by it.
        fatal: called once, in the writer's thread, when the disk or the file cannot be trusted any more. The process
            has to end; until it does, every job fails and nothing is written.
    """

    def __init__(self, database: Database, fatal: Callable[[BrokenStoreError], None]) -> None:
        self._database = database
        self._fatal = fatal
        self._broken: StoreError | None = None
        self._queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="beonss-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Database], T]) -> "Future[T]":
        """Run ``work(database)`` in the thread; the future has its result when it is durable.

        ``work`` may run a second time, from a clean state, if the commit that it shared failed; it must do nothing but
        call the database. Futures are resolved in the order of the jobs. A future cannot be cancelled.

        Raises:
            StoreError: the writer was closed.
        """
        job = _Job(work, Future())
        job.future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                raise StoreError("the database is closed: the daemon is stopping")
            self._queue.put(job)
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Finish all jobs that were submitted, then close the database; wait for that at most ``timeout`` seconds."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            group, more = self._next_group()
            if group:
                self._commit(group)
            if not more:
                break
        self._database.close()

    def _next_group(self) -> tuple[list[_Job[Any]], bool]:
        group: list[_Job[Any]] = []
        item = self._next()
        while item is not None:
            group.append(item)
            if len(group) == MAX_GROUP:
                return group, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _next(self) -> _Job[Any] | None:
        if self._database.restless and self._broken is None:
            try:
                return self._queue.get(timeout=IDLE)
            except queue.Empty:
                self._rest()
        return self._queue.get()

    def _rest(self) -> None:
        """Use the quiet to bring the tables up to date."""
        try:
            self._database.rest()
        except BrokenStoreError as error:
            self._break(error)
        except StoreError:
            # No room just now: it is durable where it is.
            pass

    def _commit(self, group: list[_Job[Any]]) -> None:
        if self._broken is None:
            self._attempt(group)
        if self._broken is not None:
            for job in group:
                job.result, job.error = None, self._broken
        for job in group:
            job.resolve()

    def _attempt(self, group: list[_Job[Any]]) -> None:
        """Run all jobs in one transaction; if that fails as a whole, each in a transaction of its own."""
        if self._broken is not None:
            return
        try:
            with self._database.transaction():
                for job in group:
                    self._perform(job)
                    if not self._database.in_transaction:
                        # SQLite undid the transaction (a full disk): what ran before this job is gone too.
                        raise _UndoneError("the database gave up a transaction; nothing of it was written")
        except BrokenStoreError as error:
            self._break(error)
        except StoreError as error:
            if len(group) > 1:
                for job in group:
                    self._attempt([job])
            elif not (isinstance(error, _UndoneError) and group[0].error is not None):
                group[0].result, group[0].error = None, error

    def _perform(self, job: _Job[Any]) -> None:
        job.result = job.error = None
        try:
            with self._database.transaction():
                job.result = job.work(self._database)
        except BrokenStoreError:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever submitted the job
            job.error = error

    def _break(self, error: BrokenStoreError) -> None:
        if self._broken is None:
            self._broken = error
            self._fatal(error)


class InlineWriter:
    """The same jobs without a thread: each is done, and committed alone, when it is submitted. For tools and tests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, work: Callable[[Database], T]) -> "Future[T]":
        """Run ``work(database)`` now and return a future that is done."""
        future: Future[T] = Future()
        try:
            with self._database.transaction():
                result = work(self._database)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever submitted the job
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def close(self, timeout: float | None = None) -> None:  # noqa: ARG002 - the same method as Writer's
        """Close the database."""
        self._database.close()


#: Either of the two.
Jobs = Writer | InlineWriter
