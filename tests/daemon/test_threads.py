"""Threads of one part: begun when needed, ended with it, replaceable in tests."""

import threading

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from beonss.daemon.threads import Threads
from beonss.errors import Unavailable


def test_nothing_is_begun_before_there_is_something_to_do() -> None:
    before = threading.active_count()
    threads = Threads(None, 3, "idle")
    assert threading.active_count() == before
    threads.stop()
    assert threading.active_count() == before


@ensureDeferred
async def test_a_function_runs_elsewhere_and_its_result_comes_back() -> None:
    threads = Threads(reactor, 1, "part")

    def run(word: str, *, twice: bool) -> tuple[str, bool]:
        return word * 2 if twice else word, threading.current_thread() is threading.main_thread()

    def fails() -> None:
        raise ValueError("the reason")

    try:
        assert await threads(run, "a", twice=True) == ("aa", False)
        with pytest.raises(ValueError, match="the reason"):
            await threads(fails)
    finally:
        threads.stop()
    with pytest.raises(Unavailable):
        await threads(run, "a", twice=False)


def test_a_test_runs_it_where_it_likes() -> None:
    threads = Threads(None, 1, "instead", lambda function, *arguments: succeed(function(*arguments)))
    done: Deferred[int] = threads(int, "7")
    assert done.result == 7
    threads.stop()
