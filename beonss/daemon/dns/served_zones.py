"""The zones of a running master: read, put in force, offered to secondaries, and announced.

:meth:`ServedZones.load` reads and decides and changes nothing; :meth:`ServedZones.take` puts what it returned in force.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from beonss.core.names.naming import Naming
from beonss.core.zones.records import DomainName
from beonss.core.zones.transfer import Edition
from beonss.core.zones.transfer_serials import Served
from beonss.daemon.dns.loaded_zones import Loaded, load_zones
from beonss.daemon.dns.notify import Notifier
from beonss.errors import StoreError
from beonss.net.dns.server import DNSServer
from beonss.net.dns.transfer import Transfers
from beonss.store.kept_core import NO_FILES, SERIALS
from beonss.store.serials import load_serials, save_serials
from beonss.store.zonefiles import ZoneTexts

log = Logger()


class ServedZones:
    """The zones of a master.

    Args:
        reactor: the reactor.
        description: path of the description; zone files and keys are relative to its directory.
        state: directory where serials are remembered.
        now: seconds since the epoch.
        new_id: gives a random number of 16 bits.
        sources: addresses of ours that secondaries know.

    Attributes:
        transfers: for the DNS server.
        notifier: tells secondaries.
        alarms: what an administrator must be told of the zones in force.
        refused: why those that were read last are not in force; empty when they are.
        files: the zone files of those in force.

    Raises:
        StoreError: what was remembered cannot be read.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        description: Path,
        state: Path,
        now: Callable[[], float],
        new_id: Callable[[], int],
        sources: Sequence[str] = (),
    ) -> None:
        self._directory = description.parent
        self._path = state / SERIALS
        self._served: Mapping[DomainName, Served] = load_serials(self._path)
        self.transfers = Transfers(now, reactor.seconds)
        self.notifier = Notifier(reactor, now=now, new_id=new_id, sources=sources)
        self.alarms: list[str] = []
        self.refused = ""
        self.files = NO_FILES
        self._texts = ZoneTexts()
        self._edition: Edition | None = None

    def load(self, naming: Naming, *, settled: bool = False) -> Loaded:
        """Read what belongs to a description and choose the serials; see :func:`.loaded_zones.load_zones`."""
        return load_zones(naming, self._directory, self._served, settled=settled, texts=self._texts)

    def changes(self, loaded: Loaded) -> bool:
        """Say whether zones or keys differ from those in force."""
        if loaded.keys != self.transfers.keys:
            return True
        former = {} if self._edition is None else self._served
        return {apex: former.get(apex) for apex in loaded.served} != dict(loaded.served)

    def take(self, loaded: Loaded, server: DNSServer) -> None:
        """Put zones in force: answer out of them, offer them to secondaries and tell those.

        Args:
            loaded: by :meth:`load`.
            server: answers out of them from now on.
        """
        edition, settings = loaded.edition, loaded.edition.naming.description.dns
        former = self._edition
        changed = [
            apex
            for apex in edition.zones.apexes
            if former is None or former.zones.soa(apex) is None or former.serial(apex) != edition.serial(apex)
        ]
        self._edition = edition
        self.files = loaded.files
        self.alarms = list(loaded.alarms)
        self._remember(loaded.served)
        for alarm in loaded.alarms:
            log.error("DNS: {alarm}", alarm=alarm)
        self.transfers.grants = settings.grants
        self.transfers.keys = loaded.keys
        self.transfers.catalog = settings.catalog
        self.transfers.publish(edition)
        server.replace(edition.zones)
        self.notifier.announce([edition.soa(apex) for apex in changed], settings.notify, loaded.keys)

    def problems(self) -> list[str]:
        """Return what an administrator should look at."""
        return [
            *self.alarms,
            *([f"the description is refused, the old one stays: {self.refused}"] if self.refused else []),
        ]

    def stop(self) -> None:
        """Tell nobody anything any more."""
        self.notifier.stop()

    def _remember(self, served: Mapping[DomainName, Served]) -> None:
        # A zone that is gone for a while must not come back with an older serial.
        merged = {**self._served, **served}
        if merged == self._served:
            return
        self._served = merged
        try:
            save_serials(self._path, merged)
        except StoreError as error:
            self.alarms.append(f"serials of zones cannot be remembered: {error}")
            log.error("DNS: the serials of zones cannot be remembered: {error}", error=str(error))
