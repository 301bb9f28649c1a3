"""Answering DNS for a daemon: in processes of its own, or in the daemon itself."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.dns.prepared import Prepared
from beonss.daemon.dns.workers import DNSWorkers
from beonss.errors import StoreError
from beonss.net.activation import NOTHING, Activation
from beonss.net.dns.counters import DNSCounters
from beonss.net.dns.listen import DNSListeners, listen_dns, log_start
from beonss.net.dns.native import packed_networks, why_pure
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tap import QueryTap
from beonss.net.dns.worker_sockets import bind_places
from beonss.net.dns.worker_zones import WorkerZones
from beonss.store.kept_core import CoreOf, FilesRead, KeptCore, save_core
from beonss.wire.name_image import name_image

log = Logger()


class Answering:
    """What answers DNS for a daemon.

    Args:
        reactor: the reactor.
        server: the daemon's own, which answers what processes do not.
        workers: how many processes; 0 for none.
        prepared: what there is already.

    Attributes:
        workers: the processes; None where the daemon itself answers.
    """

    def __init__(self, reactor: Any, server: DNSServer, workers: int, prepared: Prepared | None = None) -> None:
        self._reactor = reactor
        self._server = server
        self._count = workers
        self._prepared = prepared
        self._listeners: DNSListeners | None = None
        self._identity = b""
        self.workers: DNSWorkers | None = None

    def listen(self, endpoints: Iterable[Endpoint], given: Activation = NOTHING) -> None:
        """Take the sockets.

        Args:
            endpoints: IP addresses of this machine, no wildcards, and ports.
            given: sockets that were handed over.

        Raises:
            BindError: one cannot be had.
        """
        wanted = tuple(endpoints)
        if not self._count or not wanted:
            self._listeners = listen_dns(self._reactor, self._server, wanted, given=given)
            return
        prepared = self._prepared
        places = None if prepared is None else prepared.take_places(wanted, self._count)
        if places is None:
            places = bind_places(wanted, self._count, given)
        self.workers = DNSWorkers(
            self._reactor,
            self._server,
            places,
            None if prepared is None else prepared.forks,
            pid=0 if prepared is None else prepared.pid,
        )
        if prepared is not None and prepared.early is not None:
            self.workers.adopt_early(prepared.early, prepared.early_pid)
        log_start(bound.socket.getsockname()[:2] for bound in places[0] if bound.kind == "udp")
        log.info("DNS: {count} processes answer", count=self._count)

    def serve(self, zones: WorkerZones) -> None:
        """Answer out of these zones; the daemon's own server has them already."""
        self._identity = zones.identity
        if self.workers is not None:
            self.workers.serve(zones)

    def watch(self, tap: QueryTap | None) -> None:
        """Have some queries taken for the log, wherever they are answered; none with None."""
        self._server.watch(tap)
        if self.workers is not None:
            self.workers.watch(tap)

    def keep(self, state: Path, of: CoreOf, endpoints: tuple[Endpoint, ...], files: FilesRead) -> None:
        """Keep what is served for the next start, which then answers before anything is loaded.

        Args:
            state: the state directory.
            of: what it belongs to.
            endpoints: where the next start answers if its command line does not say; not where this run does.
            files: the zone files that it was made of.
        """
        kept = None
        if self.workers is not None and why_pure() is None:
            zones, fallback = self._server.zones, self._server.fallback
            image = None if isinstance(zones, UnknownZones) else name_image(zones)
            if image is not None:
                networks = b"" if fallback is None else packed_networks(fallback.networks)
                kept = KeptCore(of, endpoints, image, self._identity, networks, files)
        try:
            save_core(state, kept)
        except StoreError as error:
            log.warn("DNS: the next start will take longer: {error}", error=str(error))

    def settled(self) -> Deferred[None]:
        """Fire when everything answers out of the newest zones."""
        return succeed(None) if self.workers is None else self.workers.settled()

    def counters(self) -> DNSCounters:
        """Return what was done in all."""
        return self._server.counters() if self.workers is None else self.workers.counters()

    def processes(self) -> list[dict[str, Any]]:
        """Return how each process stands, for the status."""
        return [] if self.workers is None else self.workers.processes()

    def alarms(self) -> list[str]:
        """Return what an administrator should look at."""
        return [] if self.workers is None else self.workers.alarms()

    def stop(self) -> Deferred[Any]:
        """Stop to answer; fires when all is closed."""
        if self.workers is not None:
            return self.workers.stop()
        return succeed(None) if self._listeners is None else self._listeners.stopListening()
