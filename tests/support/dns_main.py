"""A DNS server of a description alone, run as a program by :mod:`support.dns_process`.

``python dns_main.py DESCRIPTION HOST[:PORT]...`` prints the port of the first host, which the others get too, and
then answers each line of standard input with a line of JSON: ``counters``; ``load DESCRIPTION``. It ends with its
input.
"""

import json
import sys
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

from beonss.core.endpoints import Endpoint, parse_endpoint
from beonss.core.zone import Zones
from beonss.errors import ConfigurationError
from beonss.net.dns import DNSServer
from beonss.net.dns_listen import DNSListeners, listen_dns
from beonss.wire.description import parse


def zones(name: str) -> Zones:
    """Read a description."""
    return Zones(parse(Path(name).read_bytes(), name))


class Commands(LineReceiver):
    """Standard input and output."""

    delimiter = b"\n"

    def __init__(self, server: DNSServer, listeners: list[DNSListeners]) -> None:
        self.server = server
        self.listeners = listeners

    def lineReceived(self, line: bytes) -> None:
        """Obey."""
        word, _, rest = line.decode().partition(" ")
        if word == "load":
            self.server.replace(zones(rest))
        self.sendLine(json.dumps(asdict(self.server.counters())).encode())

    def connectionLost(self, reason: object = None) -> None:
        """Stop listening, then stop."""
        running: Any = reactor
        stopped = DeferredList([each.stopListening() for each in self.listeners])
        stopped.addBoth(lambda _: running.stop())


def main(description: str, *hosts: str) -> None:
    """Serve until standard input ends."""
    loud = LogLevelFilterPredicate(defaultLogLevel=LogLevel.error)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(textFileLogObserver(sys.stderr), [loud])], redirectStandardIO=False
    )
    server = DNSServer(zones(description), identity=b"test")
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
    stdio.StandardIO(Commands(server, listeners))
    running: Any = reactor
    running.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
