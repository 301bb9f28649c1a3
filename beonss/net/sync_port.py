"""The port for masters, joining machines and nodes: takes callers within bounds, before anything is spent on them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from beonss.core.replication.pulling import Page
from beonss.net.connection import Timing
from beonss.net.nodefeed import NodeFeed
from beonss.net.parts import Desk
from beonss.net.sync_server import ServerConnection
from beonss.wire import sync
from beonss.wire.registers import parcels

#: Seconds between two log lines about strangers from one address.
STRANGER_LOG = 60.0


@dataclass(frozen=True, slots=True)
class Caps:
    """How many connections are taken.

    Attributes:
        unknown: that have not said who they are, in all.
        source: from one address, members not counted.
        nodes: nodes in all.
    """

    unknown: int = 512
    source: int = 64
    nodes: int = 20_000


class SyncPort(Factory):
    """The server side: makes a :class:`ServerConnection` for each caller, within bounds.

    Args:
        reactor: for times.
        desk: the master behind the port.
        feed: what nodes are fed with.
        timing: all times.
        caps: all bounds.

    Attributes:
        counts: connections taken and turned away, by word, for status.
    """

    noisy = False
    log = Logger()

    def __init__(self, reactor: Any, desk: Desk, feed: NodeFeed, timing: Timing, caps: Caps) -> None:
        self.reactor = reactor
        self.desk = desk
        self.feed = feed
        self.timing = timing
        self.caps = caps
        self.counts: Counter[str] = Counter()
        self.connections: set[ServerConnection] = set()
        self.by_source: Counter[str] = Counter()
        self.unknown = 0
        self._told: dict[str, float] = {}
        self._encoded: tuple[Page, list[bytes]] | None = None

    def admits(self, addr: IAddress | None) -> bool:
        """Say whether another connection from this address is taken."""
        source = plain_address(getattr(addr, "host", ""))
        if self.by_source[source] < self.caps.source and self.unknown < self.caps.unknown:
            return True
        self.turned_away("too-many", source)
        return False

    def buildProtocol(self, addr: IAddress | None) -> "ServerConnection":
        """Take a connection."""
        source = plain_address(getattr(addr, "host", ""))
        connection = ServerConnection(self, source)
        connection.factory = self
        self.connections.add(connection)
        self.unknown += 1
        self.by_source[source] += 1
        return connection

    def frames(self, page: Page) -> list[bytes]:
        """Return an answer that is one page as frames; encoded once for all who get the same."""
        if self._encoded is None or self._encoded[0] is not page:
            runs = list(parcels(page.rows))
            last = len(runs) - 1
            frames = [
                sync.encode(sync.Page(number, rows, page.vector if number == last else None))
                for number, rows in enumerate(runs)
            ]
            self._encoded = (page, frames)
        return self._encoded[1]

    def count(self, role: str) -> int:
        """Return how many connections of a role stand."""
        return self.counts[f"{role}-now"]

    def turned_away(self, word: str, source: str) -> None:
        """Count a refusal, and log it unless that address was logged a moment ago."""
        self.counts[word] += 1
        now = self.reactor.seconds()
        if now - self._told.get(source, -STRANGER_LOG) < STRANGER_LOG:
            return
        if len(self._told) >= 1024:
            self._told.clear()
        self._told[source] = now
        self.log.info("sync: {source} was refused: {word}", source=source, word=word)

    def forget_source(self, source: str) -> None:
        """Stop counting a connection against its address."""
        self.by_source[source] -= 1
        if self.by_source[source] <= 0:
            del self.by_source[source]

    def close_all(self, reason: str) -> list[Deferred[str]]:
        """End all connections; return what fires when each is gone."""
        closing = [connection.closed for connection in self.connections]
        for connection in list(self.connections):
            connection.abort(reason)
        return closing


def plain_address(host: str) -> str:
    """Return an address as IPv4 where a dual-stack socket shows it as ``::ffff:a.b.c.d``."""
    return host.removeprefix("::ffff:") if "." in host else host
