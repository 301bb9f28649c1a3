"""The DNS of a master: its zones, who answers out of them, where names elsewhere are looked up, and the query log."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.names.naming import Address, Naming
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.dns.answering import Answering
from beonss.daemon.dns.first_zones import usual_endpoints
from beonss.daemon.dns.prepared import Prepared, usual_workers
from beonss.daemon.dns.query_log_file import query_logs
from beonss.daemon.dns.served_zones import ServedZones
from beonss.daemon.settings import MasterSettings
from beonss.errors import ConfigurationError
from beonss.net.activation import Activation
from beonss.net.dns.forward import Forwarder, ForwarderMaker, forwarder_of_master, silent_upstreams
from beonss.net.dns.server import DNSServer
from beonss.net.dns.worker_zones import WorkerZones
from beonss.store.kept_core import SERIALS, CoreOf, serials_digest


class MasterDNS:
    """What a master does as a DNS server.

    Args:
        reactor: the reactor.
        settings: the command line.
        name: of this master.
        naming: the description to begin with.
        text: of the description.
        here: the address that ``master`` and ``self`` mean on this machine.
        endpoints: where to answer.
        prepared: what was begun already; None where the master itself answers.

    Attributes:
        endpoints: where it answers.
        zones: the zones of the description in force.
        answering: who answers.
        queries: who follows the queries.

    Raises:
        ConfigurationError: a zone file or key that the description names cannot be used here.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: MasterSettings,
        *,
        name: str,
        naming: Naming,
        text: bytes,
        here: Address | None,
        endpoints: Sequence[Endpoint],
        prepared: Prepared | None,
    ) -> None:
        self._reactor = reactor
        self._state = settings.state
        self._name = name
        self._naming, self._text = naming, text
        self._started = False
        self._asked = settings.dns
        # It answers where the description says, as of its start.
        self._as_described = False
        self.endpoints = tuple(endpoints)
        self.zones = ServedZones(
            reactor,
            description=settings.description,
            state=settings.state,
            now=time.time,
            new_id=lambda: secrets.randbits(16),
            sources=[endpoint.host for endpoint in endpoints],
        )
        self._first = self.zones.load(naming, settled=True)
        self._identity = name.encode("ascii")
        self._server = DNSServer(UnknownZones(), identity=self._identity, here=here, transfers=self.zones.transfers)
        self._forwarder: Forwarder | None = None
        self._forwarders: ForwarderMaker | None = None
        self._forward()
        workers = settings.dns_workers if settings.dns_workers is not None else usual_workers()
        self.answering = Answering(reactor, self._server, workers, prepared)
        self.queries, self._file = query_logs(reactor, self.answering, settings.query_log, settings.query_sample)

    def open(self, given: Activation) -> None:
        """Take the sockets and answer.

        Raises:
            ConfigurationError: a socket or the file of the query log cannot be had.
        """
        if self._file is not None:
            self._file.open()
        self.zones.take(self._first, self._server)
        self._as_described = self._asked is None and not given.dns_udp
        self.answering.listen(self.endpoints, given)
        self._serve()

    def start(self) -> None:
        """Begin what can wait until everything else has begun."""
        self._started = True
        if self._file is not None:
            self._file.start()
        self._keep_core()

    def check(self, naming: Naming) -> None:
        """See whether a description could be served.

        Raises:
            ConfigurationError: a zone file or key that it names cannot be used here.
        """
        self.zones.load(naming)

    def take(self, naming: Naming, text: bytes, here: Address | None) -> None:
        """Put a description in force.

        Raises:
            ConfigurationError: a zone file that it names cannot be used here; the old one stays.
        """
        zones = self.zones.load(naming, settled=True)
        self.zones.refused = ""
        self._naming, self._text = naming, text
        self.zones.take(zones, self._server)
        for moved in self._moved():
            self.log.warn("DNS: {moved}", moved=moved)
        self._server.here = here
        self._forward()
        self._serve()

    async def reload(self) -> None:
        """Read the zone files and keys again; what cannot be used is told, and the old ones stay in force."""
        try:
            zones = self.zones.load(self._naming)
        except ConfigurationError as error:
            self.zones.refused = str(error)
            self.log.error("the zones are refused, the old ones stay in force: {error}", error=str(error))
            return
        self.zones.refused = ""
        if self.zones.changes(zones):
            self.zones.take(zones, self._server)
            self._serve()
            await self.answering.settled()
            self.log.info("reload: the zones have changed")

    async def stop(self) -> None:
        """Answer what was asked, and close everything; who follows the queries ends with the control socket."""
        if self._file is not None:
            await self._file.stop()
        await self.answering.stop()
        self.zones.stop()
        if self._forwarder is not None:
            self._forwarder.stop()

    def alarms(self) -> list[str]:
        """Return what an administrator should look at."""
        alarms = [*self.zones.problems(), *self.answering.alarms(), *self._moved()]
        if self._file is not None and self._file.alarm:
            alarms.append(self._file.alarm)
        return alarms + silent_upstreams(self.answering.counters().fallback)

    def _moved(self) -> list[str]:
        """Return what is not as described, because sockets are opened at the start alone."""
        if not self._as_described:
            return []
        wanted, bound = usual_endpoints(self._naming, self._name), self.endpoints
        coming = ", ".join(each.host for each in wanted if each not in bound)
        going = ", ".join(each.host for each in bound if each not in wanted)
        return [
            *([f"DNS is answered on {coming}, as the description has it now, after a restart"] if coming else []),
            *([f"DNS is answered on {going}, which the description has no more, until a restart"] if going else []),
        ]

    def _forward(self) -> None:
        """Have the upstreams of the description asked about names that are not ours."""
        forwarders = forwarder_of_master(self._naming)
        if forwarders == self._forwarders:
            return
        self._forwarders = forwarders
        self._forwarder = None if forwarders is None else forwarders(self._reactor)
        self._server.fall_back_on(self._forwarder)

    def _serve(self) -> None:
        """Let the DNS processes answer as our own server does."""
        server, catalog = self._server, self.zones.transfers.catalog
        self.answering.serve(WorkerZones(server.zones, self._identity, server.here, catalog, self._forwarders))
        if self._started:
            self._keep_core()

    def _keep_core(self) -> None:
        """Keep the names for the next start."""
        serials = serials_digest(self._state / SERIALS)
        of = CoreOf(hashlib.sha256(self._text).hexdigest(), self._naming.version, serials)
        self.answering.keep(self._state, of, usual_endpoints(self._naming, self._name), self.zones.files)
