"""Threads of one part's own: what blocks runs there, and what came of it comes back to the reactor's thread."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from beonss.errors import Unavailable

T = TypeVar("T")
#: Runs a blocking function elsewhere: (function, its arguments) -> what it returns or raises.
InThread = Callable[..., "Deferred[Any]"]


class Threads:
    """Some threads; none exists before there is something to do.

    Args:
        reactor: to which results come back.
        most: so many at once.
        name: what the threads are called.
        instead: where to run everything instead; for tests.
    """

    def __init__(self, reactor: Any, most: int, name: str, instead: InThread | None = None) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, most, name=name)
        self._instead = instead
        self._stopped = False

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> "Deferred[Any]":
        """Run a function in one of the threads; return what comes of it, Unavailable after :meth:`stop`."""
        if self._instead is not None:
            return self._instead(function, *arguments, **options)
        if self._stopped:
            return fail(Unavailable("the daemon is stopping"))
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *arguments, **options)

    def stop(self) -> None:
        """Wait for what is under way and end the threads."""
        self._stopped = True
        if self._pool.started:
            self._pool.stop()


def in_reactor(reactor: Any, future: "Future[T]") -> "Deferred[T]":
    """Return what comes of a job in some thread, in the reactor's; cancelling gives the job up if it has not begun."""

    def cancel(deferred: "Deferred[T]") -> None:
        deferred.errback(Failure(CancelledError()))
        future.cancel()

    done: Deferred[T] = Deferred(cancel)

    def finish() -> None:
        if done.called:
            return
        if future.cancelled():
            done.errback(Failure(Unavailable("the daemon is stopping")))
            return
        error = future.exception()
        if error is not None:
            done.errback(Failure(error))
        else:
            done.callback(future.result())

    future.add_done_callback(lambda _: reactor.callFromThread(finish))
    return done
