"""A process that answers DNS and does nothing else: no accounts, no keys, no privileges.

It is given zones and sockets over its channel (:mod:`beonss.net.dns.worker_channel`), and gives back what only the
daemon answers: signed questions, transfers, questions about the catalog. It ends when the daemon is gone, however that
came about.
"""

import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from twisted.internet import task
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from beonss.core.zones.records import DomainName
from beonss.core.zones.zone import UnknownZones
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tcp import TCPListener, adopt_tcp
from beonss.net.dns.transfer import concerns_secondaries
from beonss.net.dns.udp import UDPListener
from beonss.net.dns.worker_channel import Channel, Message
from beonss.net.dns.worker_link import Link
from beonss.net.dns.worker_process import become_process
from beonss.net.dns.worker_samples import WorkerSamples
from beonss.net.dns.worker_zones import WorkerZones, read_zones
from beonss.wire.dns import Query

log = Logger()

#: Seconds between two signs of life; also how old the counters of a process that was killed may be.
INTERVAL: Final = 0.2
#: Characters of an event for the log.
_LONGEST_EVENT: Final = 8192


class Worker:
    """The process, apart from being one.

    Args:
        reactor: its own.
        channel: to the daemon.
        ended: called once, when everything is closed.
    """

    def __init__(self, reactor: Any, channel: Channel, ended: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._link = Link(reactor, channel, self._received, self.stop, "the daemon")
        self._samples = WorkerSamples(reactor, self._link)
        self._server: DNSServer | None = None
        self._zones: WorkerZones | None = None
        self._listeners: list[UDPListener | TCPListener] = []
        self._stopping = False
        self._telling = task.LoopingCall(self._tell)
        self._telling.clock = reactor
        self._telling.start(INTERVAL, now=False)

    # --- what only the daemon answers ---------------------------------------------------------------------------------

    def concerns(self, query: Query) -> bool:
        """Say whether a question is the daemon's."""
        catalog: DomainName | None = None if self._zones is None else self._zones.catalog
        return concerns_secondaries(query, catalog)

    def datagram(self, packet: bytes, peer: tuple[Any, ...], listener: UDPListener) -> bool:
        """Give a question that came over UDP to the daemon; say whether it takes it."""
        place = self._listeners.index(listener)
        return self._link.offer("datagram", packet, socket=place, peer=list(peer))

    def connection(self, handle: socket.socket, data: bytes) -> bool:
        """Give a TCP connection to the daemon, with what was read of it; say whether it takes it."""
        return self._link.offer("connection", data, [handle.fileno()])

    # --- what the daemon says -----------------------------------------------------------------------------------------

    def _received(self, message: Message) -> None:
        try:
            self._obey(message)
        except Exception:  # noqa: BLE001 - told, and then there is no use in going on
            log.failure("this process cannot do what the daemon says ({kind}), and ends", kind=message.kind)
            self.stop()

    def _obey(self, message: Message) -> None:
        match message.kind:
            case "zones":
                self._take(message)
            case "listen":
                self._listen(message)
            case "sample":
                self._samples.ask(message)
                if self._server is not None:
                    self._server.watch(self._samples.tap)
            case "stop":
                self.stop()
            case kind:
                log.error("the daemon said {kind}, which means nothing to this process", kind=kind)

    def _take(self, message: Message) -> None:
        (descriptor,) = message.descriptors
        zones = read_zones(descriptor)
        if self._server is None:
            self._server = DNSServer(UnknownZones(), identity=zones.identity, elsewhere=self)
            self._server.watch(self._samples.tap)
        former, self._zones = self._zones, zones
        self._server.here = zones.here
        if former is None or former.fallback != zones.fallback:
            self._server.fall_back_on(None if zones.fallback is None else zones.fallback(self._reactor))
        self._server.replace(zones.zones)
        self._link.send("serving", number=message.number("number"))

    def _listen(self, message: Message) -> None:
        assert self._server is not None
        kinds = message.fields["kinds"]
        for kind, descriptor in zip(kinds, message.take(), strict=True):
            bound = socket.socket(fileno=descriptor)
            if kind == "udp":
                listener = UDPListener(self._reactor, self._server, bound)
                listener.startReading()
                self._listeners.append(listener)
            else:
                with bound:
                    self._listeners.append(adopt_tcp(self._reactor, self._server, bound))
        if message.fields["last"]:
            self._link.send("listening")

    def _tell(self) -> None:
        self._link.offer("counters", **self._counters())

    def _counters(self) -> dict[str, Any]:
        if self._server is None:
            return {}
        counters = self._server.counters()
        return {**asdict(counters), "codes": dict(counters.codes), "fallback": dict(counters.fallback)}

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Answer what has arrived, close everything; a second time does no harm."""
        if self._stopping:
            return
        self._stopping = True
        self._telling.stop()
        closing: list[Deferred[Any]] = [listener.stopListening() for listener in self._listeners]
        DeferredList(closing, consumeErrors=True).addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        self._samples.stop()
        self._link.send("ended", **self._counters())
        self._link.close()
        self._ended()

    def observe(self, event: LogEvent) -> None:
        """Pass an event of the log on."""
        level = event.get("log_level")
        if level is None or level < LogLevel.info:
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            text += "\n" + failure.getTraceback()
        # The end tells most.
        self._link.offer("log", level=level.name, text=text[-_LONGEST_EVENT:])


def work(channel: Channel, number: int) -> int:
    """Be a DNS process until the daemon says to end, or is gone.

    Args:
        channel: to the daemon.
        number: which of its processes this is, for ps(1).

    Returns:
        The exit code.
    """
    become_process(f"beonss-dns{number}", terminates=True)
    reactor = _own_reactor()
    worker = Worker(reactor, channel, reactor.stop)
    # Events that the daemon had before it made us are its own.
    born = time.time()

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_time", born) >= born:
            worker.observe(event)

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(worker.stop))
    reactor.run(installSignalHandlers=False)
    return 0


def _own_reactor() -> Any:
    """Return a reactor that shares nothing with that of the process we were forked from."""
    from twisted.internet import main  # noqa: PLC0415 - it would install one on import

    sys.modules.pop("twisted.internet.reactor", None)
    reactor: Any
    try:
        from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415 - not on every system

        reactor = EPollReactor()
    except ImportError:
        from twisted.internet.pollreactor import PollReactor  # noqa: PLC0415

        reactor = PollReactor()
    main.installReactor(reactor)
    # By a clock that nobody sets, as the daemon's (beonss.service.wait_by_monotonic_clock).
    reactor.seconds = time.monotonic
    return reactor
