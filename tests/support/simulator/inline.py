"""Stand-ins for threads: what would come from one is done at once."""

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from beonss.store import crypt

T = TypeVar("T")


class InlineReactor:
    """Stands in for the reactor where nothing comes from a thread."""

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        callable(*args, **kwargs)


def now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that needs no waiting, and return what it returns."""
    results: list[Any] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert results, "the coroutine is waiting for something"
    return results[0]


class InlineHashing:
    """The real libcrypt without the threads of :class:`beonss.store.hashing.HashingThreads`."""

    def verify(self, source: str, plain: bytes, hash_: str) -> "Future[bool]":
        """Verify now."""
        return _done(lambda: crypt.verify(plain, hash_))

    def hash_password(self, source: str, plain: bytes, scheme: str, cost: int | None, entropy: bytes) -> "Future[str]":
        """Hash now."""
        return _done(lambda: crypt.hash_password(plain, scheme, cost, entropy))

    def close(self) -> None:
        """Nothing is to be ended."""


def _done(work: Callable[[], T]) -> "Future[T]":
    future: Future[T] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future
