"""What holds for every test: nothing logged as an error, and no reactor left dirty.

pytest-twisted looks for neither, so the autouse fixture here does. A test that means to cause a logged error
takes ``logged_errors`` and flushes it, as trial's ``flushLoggedErrors`` does.
"""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pytest_twisted import blockon
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

# Tests are no package (--import-mode=importlib): what they share is imported as ``support.<module>``.
sys.path.insert(0, str(Path(__file__).parent))
# The loopback cluster of the demonstration, and free ports.
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

# A busy machine is slow, not wrong: no test may depend on how long an example took.
settings.register_profile("beonss", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("beonss")

#: Seconds given to the real reactor to finish what a test had already asked it to end (a closing socket).
GRACE = 2.0


class LoggedErrors:
    """The errors that Twisted's log has seen during one test."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        """Keep an event that tells of an error (an ILogObserver)."""
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            self.events.append(event)

    def flush(self, *kinds: type[BaseException]) -> list[dict[str, Any]]:
        """Take away and return the events whose failure is one of ``kinds`` (all events without any)."""
        gc.collect(1)
        taken = [e for e in self.events if not kinds or (e.get("log_failure") and e["log_failure"].check(*kinds))]
        self.events = [event for event in self.events if event not in taken]
        return taken

    def texts(self) -> list[str]:
        """Return the remaining events as text for a person."""
        texts = []
        for event in self.events:
            failure = event.get("log_failure")
            texts.append(formatEvent(event) + ("\n" + failure.getTraceback() if failure is not None else ""))
        return texts


def _selectables(reactor: Any) -> set[Any]:
    internal = getattr(reactor, "_internalReaders", set())
    return {s for s in [*reactor.getReaders(), *reactor.getWriters()] if s not in internal}


def _leftovers(reactor: Any, before: set[Any]) -> list[Any]:
    return [*reactor.getDelayedCalls(), *(_selectables(reactor) - before)]


def _settle(reactor: Any, before: set[Any]) -> list[Any]:
    """Let the real reactor end what it was asked to end; return what stays."""
    for _ in range(int(GRACE / 0.02)):
        if not (left := _leftovers(reactor, before)):
            return []
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.02, turn.callback, None)
        blockon(turn)
    left = _leftovers(reactor, before)
    for call in reactor.getDelayedCalls():
        call.cancel()
    return left


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Fail the test when an error was logged and not flushed, or when the real reactor is left dirty."""
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    before = _selectables(reactor) if reactor is not None else set()
    left: list[Any] = []
    try:
        yield errors
        if reactor is not None:
            left = _settle(reactor, before)
        gc.collect(1)
    finally:
        globalLogPublisher.removeObserver(errors)
    if left:
        pytest.fail("the test left in the reactor:\n" + "\n".join(map(str, left)), pytrace=False)
    if errors.events:
        pytest.fail("logged and not flushed:\n" + "\n".join(errors.texts()), pytrace=False)
