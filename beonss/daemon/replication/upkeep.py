"""What a master does for its accounts now and then: finish what stalled, see whether the disk still holds it all."""

from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.daemon.accounts.state import Accounts

#: Seconds between two looks; a stalled answer is adopted after an hour
#: (:class:`beonss.core.replication.pulling.Stalled`).
INTERVAL = 600.0
#: Looks between two readings of the whole disk: once a day.
RECOUNT_EVERY = 144


class Upkeep:
    """Looks after the accounts; a failure is logged and the next look comes all the same.

    Args:
        reactor: for the time.
        accounts: what is looked after; started before :meth:`start`.

    Attributes:
        alarm: what a person must look at; empty if nothing.
    """

    log = Logger()

    def __init__(self, reactor: Any, accounts: Accounts) -> None:
        self._reactor = reactor
        self._accounts = accounts
        self._looks = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        self.alarm = ""

    def start(self) -> None:
        """Begin; the first look comes after one interval."""
        self._loop.start(INTERVAL, now=False)

    def stop(self) -> None:
        """End."""
        if self._loop.running:
            self._loop.stop()

    async def _look(self) -> None:
        self._looks += 1
        try:
            await self._accounts.adopt_stalled(self._reactor.seconds())
            if self._looks % RECOUNT_EVERY == 0 and not await self._accounts.recount():
                self.alarm = "the database holds something else than was written to it; check the disk of this machine"
                self.log.critical("accounts: {alarm}", alarm=self.alarm)
        except Exception:  # noqa: BLE001 - a loop logs and lives on
            self.log.failure("looking after the accounts failed")
