"""What the other masters acknowledged to hold, kept on disk now and then: what is lost of it is only said again."""

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.replication.pulling import Acknowledged
from beonss.errors import StoreError

#: Seconds between two times that it is kept.
REMEMBER = 5.0


class Store(Protocol):
    """Where it is kept; :class:`beonss.daemon.accounts.state.Accounts` is one."""

    async def acknowledged(self) -> Mapping[str, Acknowledged]:
        """Return what is kept, by name."""

    async def acknowledge(self, name: str, said: Acknowledged | None) -> None:
        """Keep what a peer said; None forgets it."""


class Acknowledgements:
    """What each peer acknowledged last.

    Args:
        reactor: for times.
        store: where it is kept; started before :meth:`start`.
    """

    log = Logger()

    def __init__(self, reactor: Any, store: Store) -> None:
        self._store = store
        self._known: dict[str, Acknowledged] = {}
        self._unsaved: set[str] = set()
        self._fails = False
        self._saving = LoopingCall(self._save)
        self._saving.clock = reactor

    async def start(self) -> None:
        """Take over what was kept, and keep what is said from now on."""
        self._known = dict(await self._store.acknowledged())
        self._saving.start(REMEMBER, now=False)

    async def stop(self) -> None:
        """Keep it once more."""
        if self._saving.running:
            self._saving.stop()
            await self._save()

    def of(self, name: str) -> Acknowledged | None:
        """Return what a peer acknowledged, if it ever did."""
        return self._known.get(name)

    def note(self, name: str, said: Acknowledged) -> None:
        """Note what a peer acknowledges now."""
        self._known[name] = said
        self._unsaved.add(name)

    async def forget(self, name: str) -> None:
        """Forget a peer that was removed.

        Raises:
            StoreError: it cannot be forgotten on disk.
        """
        self._known.pop(name, None)
        await self._store.acknowledge(name, None)

    async def _save(self) -> None:
        names, self._unsaved = self._unsaved, set()
        failed = False
        for name in sorted(names):
            said = self._known.get(name)
            if said is None:
                # Removed from the member list since.
                continue
            try:
                await self._store.acknowledge(name, said)
            except Exception as error:  # noqa: BLE001 - the next try has it again
                self._unsaved.add(name)
                if not (failed or self._fails):
                    # Once, until it works again: it is tried every few seconds.
                    self._tell_unsaved(name, error)
                failed = True
        if names:
            if self._fails and not failed:
                self.log.info("what the other masters acknowledge is kept again")
            self._fails = failed

    def _tell_unsaved(self, name: str, error: Exception) -> None:
        if isinstance(error, StoreError):
            self.log.warn("keeping what {name} acknowledged failed: {error}", name=name, error=str(error))
        else:
            self.log.failure("keeping what {name} acknowledged failed", Failure(error), name=name)
