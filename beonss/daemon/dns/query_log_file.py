"""The permanent log of queries: one of so many, written to a file that rotates."""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from beonss.core.zones.query_log import QueryRecord, Wanted
from beonss.daemon.dns.query_log import Answering, Follower, QueryLog
from beonss.errors import ConfigurationError, Refused, StoreError
from beonss.store.query_file import QueryFile

#: Seconds between two runs of lines for the file.
INTERVAL = 1.0
#: Lines that wait for it.
MOST_LINES = 10_000


class QueryLogFile:
    """The permanent log: one of so many queries, written to a file once a second, in a thread.

    Args:
        reactor: for times.
        log: the log.
        file: where the lines go.
        every: one of so many queries.
        wall: seconds since the epoch.
        in_thread: runs a blocking function elsewhere.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        log: QueryLog,
        file: QueryFile,
        *,
        every: int,
        wall: Callable[[], float],
        in_thread: Callable[..., Deferred[Any]] = deferToThread,
    ) -> None:
        self._queries = log
        self._file = file
        self._every = every
        self._wall = wall
        self._in_thread = in_thread
        self._lines: list[Mapping[str, Any]] = []
        self._lost = 0
        self._said = 0
        self._follower: Follower | None = None
        self._writing: Deferred[Any] | None = None
        self._turn = LoopingCall(self._flush)
        self._turn.clock = reactor
        #: What is wrong with the file, in words; empty if nothing is.
        self.alarm = ""

    def open(self) -> None:
        """Make sure that the file can be written.

        Raises:
            ConfigurationError: it cannot.
        """
        try:
            self._file.append(())
        except StoreError as error:
            raise ConfigurationError(f"{error}; name another file with --query-log, or make its directory") from None

    def start(self) -> None:
        """Begin to write; nothing happens where the daemon ends already."""
        with suppress(Refused):
            self._follower = self._queries.follow(self._every, Wanted(), self._take, permanent=True)
        if self._follower is not None:
            self._turn.start(INTERVAL, now=False)

    async def stop(self) -> None:
        """Write what waits, and write no more."""
        if self._follower is None:
            return
        self._turn.stop()
        self._follower.close()
        if self._writing is not None:
            await self._writing
        writing = self._flush()
        if writing is not None:
            await writing

    def _take(self, record: QueryRecord) -> bool:
        if len(self._lines) >= MOST_LINES:
            return False
        self._lines.append(record.document())
        return True

    def _flush(self) -> Deferred[Any] | None:
        """Begin to write what waits; the next run waits until this one is written."""
        assert self._follower is not None
        left_out = self._follower.missed + self._lost - self._said
        if self._writing is not None or not (self._lines or left_out):
            return None
        lines, self._lines = self._lines, []
        more = [{"time": round(self._wall(), 6), "dropped": left_out}] if left_out else []
        self._writing = self._in_thread(self._file.append, [*lines, *more])
        self._writing.addCallbacks(self._written, self._failed, callbackArgs=(left_out,), errbackArgs=(len(lines),))
        return self._writing

    def _written(self, _: object, left_out: int) -> None:
        self._writing = None
        self._said += left_out
        self.alarm = ""

    def _failed(self, failure: Any, lost: int) -> None:
        self._writing = None
        self._lost += lost
        if not failure.check(StoreError):
            self.log.failure("the query log lost {lost} lines to an error of ours", failure=failure, lost=lost)
        elif not self.alarm:
            self.log.error("{error}", error=failure.getErrorMessage())
        self.alarm = failure.getErrorMessage()


def query_logs(
    reactor: Any, answering: Answering, path: Path | None, every: int
) -> tuple[QueryLog, QueryLogFile | None]:
    """Return a daemon's log of queries, and its permanent part if it has one.

    Args:
        reactor: the reactor.
        answering: what answers.
        path: the file; None for no permanent log.
        every: one of so many queries goes there.
    """
    log = QueryLog(answering, reactor.seconds, lambda: random.getrandbits(32))
    if path is None:
        return log, None
    return log, QueryLogFile(reactor, log, QueryFile(path), every=every, wall=time.time)
