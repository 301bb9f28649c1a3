"""A DNS server of a description alone, run as a program by :mod:`support.dns_process`.

``python dns_main.py DESCRIPTION HOST[:PORT]...`` prints the port of the first host, which the others get too, and
then answers each line of standard input with a line of JSON: ``counters``; ``load DESCRIPTION``, which a serial that
did not rise makes ``{"refused": ...}``. It ends with its input. Serials are remembered in the directory that
BEONSS_TEST_STATE names, if any.
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

from twisted.internet import reactor, stdio
from twisted.internet.defer import DeferredList
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineReceiver

from beonss.core.cluster.endpoints import Endpoint, parse_endpoint
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.dns.served_zones import ServedZones
from beonss.errors import ConfigurationError
from beonss.net.dns.listen import DNSListeners, listen_dns
from beonss.net.dns.server import DNSServer
from beonss.wire.description import parse


class Commands(LineReceiver):
    """Standard input and output."""

    delimiter = b"\n"

    def __init__(self, zones: ServedZones, server: DNSServer, listeners: list[DNSListeners]) -> None:
        self.zones = zones
        self.server = server
        self.listeners = listeners

    def lineReceived(self, line: bytes) -> None:
        """Obey."""
        word, _, rest = line.decode().partition(" ")
        result: dict[str, Any] = {}
        if word == "load":
            try:
                self.zones.take(self.zones.load(parse(Path(rest).read_bytes(), rest)), self.server)
            except ConfigurationError as error:
                result = {"refused": str(error)}
        transfers = self.zones.transfers
        result |= asdict(self.server.counters())
        result |= {"full": transfers.full, "incremental": transfers.incremental, "heard": self.zones.notifier.heard}
        self.sendLine(json.dumps(result).encode())

    def connectionLost(self, reason: object = None) -> None:
        """Stop listening, then stop."""
        running: Any = reactor
        self.zones.stop()
        stopped = DeferredList([each.stopListening() for each in self.listeners])
        stopped.addBoth(lambda _: running.stop())


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
    zones.take(zones.load(parse(Path(description).read_bytes(), description), settled=True), server)
    listeners: list[DNSListeners] = []
    port = 0
    for host in hosts:
        endpoint = parse_endpoint(host, port)
        try:
            listeners.append(listen_dns(reactor, server, [Endpoint(endpoint.host, endpoint.port)]))
        except ConfigurationError as error:
            sys.exit(str(error))
        port = listeners[0].addresses[0].port
    print(port, flush=True)
    stdio.StandardIO(Commands(zones, server, listeners))
    running: Any = reactor
    running.run()
    scratch.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
