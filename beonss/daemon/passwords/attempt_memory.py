"""Password failures that outlive a restart: a guesser does not get a fresh start by it."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.passwords.attempts import Attempts
from beonss.errors import BeonssError, MalformedError, StoreError

#: The note under which they are kept.
NOTE = "password-attempts"
#: Seconds between two times they are kept.
INTERVAL = 60.0


class Notes(Protocol):
    """Where notes are kept; :class:`beonss.daemon.accounts.state.Accounts` is one."""

    async def get(self, name: str) -> bytes | None:
        """Return a note."""

    async def put(self, name: str, value: bytes | None) -> None:
        """Keep a note."""


class AttemptMemory:
    """Keeps the failures now and then; what cannot be kept is remembered until the daemon ends.

    Args:
        reactor: for times; its ``seconds()`` is the clock of ``attempts``.
        notes: where they are kept.
        attempts: the failures.
        wall: seconds since the epoch; what is kept is kept by this clock.
    """

    log = Logger()

    def __init__(self, reactor: Any, notes: Notes, attempts: Attempts, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._notes = notes
        self._attempts = attempts
        self._wall = wall
        self._keeping = LoopingCall(self._keep)
        self._keeping.clock = reactor
        self._kept = b""

    async def start(self) -> None:
        """Take over what was kept before a restart, and begin to keep."""
        try:
            kept = await self._notes.get(NOTE)
            if kept is not None:
                self._attempts.load(kept, float(self._reactor.seconds()), self._ahead())
        except (StoreError, MalformedError):
            self.log.failure("the remembered password failures cannot be read; starting without them")
        self._keeping.start(INTERVAL, now=False).addErrback(
            lambda failure: self.log.failure("keeping password failures stopped", failure)
        )

    async def stop(self) -> None:
        """Keep them once more."""
        if self._keeping.running:
            self._keeping.stop()
        await self._write()

    def _ahead(self) -> float:
        return float(self._wall() - self._reactor.seconds())

    def _keep(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._write())

    async def _write(self) -> None:
        # Whole seconds, or the two clocks would make each dump another.
        data = self._attempts.dump(float(round(self._ahead())))
        if data == self._kept:
            return
        try:
            await self._notes.put(NOTE, data)
            self._kept = data
        except BeonssError:
            self.log.failure("the password failures cannot be kept; they are remembered until the daemon ends")
