"""A DNS server of a description alone, run as a program by :mod:`support.dns_process`.

``python dns_main.py DESCRIPTION HOST[:PORT]...`` prints the port of the first host, which the others get too, and
then answers each line of standard input with a line of JSON: ``counters``; ``load DESCRIPTION``, which a serial that
did not rise makes ``{"refused": ...}``; ``processes``. It ends with its input. Serials are remembered in the directory
that BEONSS_TEST_STATE names, if any; BEONSS_TEST_WORKERS is the number of processes that answer, 0 if it is not set.
"""

import json
import os
import secrets
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from ports import free_port
from twisted.internet import reactor, stdio
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineReceiver

from beonss.core.cluster.endpoints import Endpoint, parse_endpoint
from beonss.core.names.naming import Naming
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.dns.answering import Answering
from beonss.daemon.dns.served_zones import ServedZones
from beonss.errors import ConfigurationError
from beonss.net.dns.forward import forwarder_of_master
from beonss.net.dns.server import DNSServer
from beonss.net.dns.worker_zones import WorkerZones
from beonss.wire.description import parse


class Commands(LineReceiver):
    """Standard input and output."""

    delimiter = b"\n"

    def __init__(self, zones: ServedZones, server: DNSServer, answering: Answering) -> None:
        self.zones = zones
        self.server = server
        self.answering = answering

    def lineReceived(self, line: bytes) -> None:
        """Obey."""
        word, _, rest = line.decode().partition(" ")
        result: dict[str, Any] = {}
        if word == "load":
            try:
                naming = parse(Path(rest).read_bytes(), rest)
                self.zones.take(self.zones.load(naming), self.server)
                forward(naming, self.server)
                serve(self.answering, self.server, self.zones)
            except ConfigurationError as error:
                result = {"refused": str(error)}
        self.answering.settled().addCallback(lambda _: self.tell(word, result))

    def tell(self, word: str, result: dict[str, Any]) -> None:
        """Answer, once all processes have obeyed."""
        transfers = self.zones.transfers
        result |= asdict(self.answering.counters())
        result |= {"full": transfers.full, "incremental": transfers.incremental, "heard": self.zones.notifier.heard}
        found = {"processes": self.answering.processes(), "alarms": self.answering.alarms()}
        self.sendLine(json.dumps(found if word == "processes" else result).encode())

    def connectionLost(self, reason: object = None) -> None:
        """Stop listening, then stop."""
        running: Any = reactor
        self.zones.stop()
        self.answering.stop().addBoth(lambda _: running.stop())


def serve(answering: Answering, server: DNSServer, zones: ServedZones) -> None:
    """Let processes answer as the server does."""
    answering.serve(WorkerZones(server.zones, b"test", server.here, zones.transfers.catalog))


def forward(naming: Naming, server: DNSServer) -> None:
    """Have the upstreams of a description asked."""
    forwarders = forwarder_of_master(naming)
    server.fall_back_on(None if forwarders is None else forwarders(reactor))


def main(description: str, *hosts: str) -> None:
    """Serve until standard input ends."""
    loud = LogLevelFilterPredicate(defaultLogLevel=LogLevel.error)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(textFileLogObserver(sys.stderr), [loud])], redirectStandardIO=False
    )
    scratch = tempfile.TemporaryDirectory()
    zones = ServedZones(
        reactor,
        description=Path(description),
        state=Path(os.environ.get("BEONSS_TEST_STATE", scratch.name)),
        now=time.time,
        new_id=lambda: secrets.randbits(16),
        sources=[parse_endpoint(host, 0).host for host in hosts],
    )
    server = DNSServer(UnknownZones(), identity=b"test", transfers=zones.transfers)
    naming = parse(Path(description).read_bytes(), description)
    zones.take(zones.load(naming, settled=True), server)
    forward(naming, server)
    first = parse_endpoint(hosts[0], 0)
    try:
        port = first.port or free_port()
        answering = Answering(reactor, server, int(os.environ.get("BEONSS_TEST_WORKERS", "0")))
        answering.listen(
            [Endpoint(endpoint.host, endpoint.port) for endpoint in (parse_endpoint(h, port) for h in hosts)]
        )
    except ConfigurationError as error:
        sys.exit(str(error))
    serve(answering, server, zones)
    print(port, flush=True)
    stdio.StandardIO(Commands(zones, server, answering))
    running: Any = reactor
    running.run()
    scratch.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
