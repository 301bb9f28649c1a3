"""The DNS processes of a daemon: started, fed, watched, replaced, summed up.

Each has a place (:mod:`beonss.net.dns.worker_sockets`), whose sockets the daemon keeps. While a place has no process
that gives signs of life, the daemon itself answers there: slower, but nothing is lost.
"""

import contextlib
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel

from beonss.daemon.dns.worker_counts import Sums, queries
from beonss.daemon.dns.worker_first import FirstProcess
from beonss.daemon.dns.worker_forks import Forks
from beonss.daemon.dns.worker_places import HeldPlace
from beonss.daemon.dns.worker_restarts import Restarts
from beonss.errors import MalformedError
from beonss.net.dns.counters import DNSCounters
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tap import QueryTap
from beonss.net.dns.tcp import DNSStreams, StreamLimits, TCPListener
from beonss.net.dns.worker_channel import MOST_DESCRIPTORS, Channel, Message
from beonss.net.dns.worker_link import Link
from beonss.net.dns.worker_sockets import Place, close_places
from beonss.net.dns.worker_zones import WorkerZones, write_zones
from beonss.wire.query_sample import unpack

T = TypeVar("T")

log = Logger()

#: Seconds between two looks at the processes.
WATCH: Final = 0.25
#: Looks without a sign of life until the daemon answers in a place as well; a process gives one in each.
QUIET: Final = 8
#: Looks that a process has to begin until the daemon answers in its place, and until it is killed and replaced; so many
#: as the latter it also has to read new zones.
BEGUN: Final = 2
NEVER: Final = 240
#: Looks without a sign of life until a process is killed and replaced.
DEAD: Final = 40
#: Seconds until a process that the system had no room for is tried again.
AGAIN: Final = 2.0
#: Seconds that processes have to end by themselves.
PATIENCE: Final = 3.0
#: Processes that are gone and of which one half is known.
_REMEMBERED: Final = 64
_LEVELS: Final = {level.name: level for level in LogLevel.iterconstants()}


class _Process:
    """One process.

    Attributes:
        number: its own; none comes twice.
        acknowledged: the zones it answers from.
        listening: it serves its sockets.
        silent: looks since its last sign of life.
        looks: before it listened.
        counters: what it last told.
    """

    def __init__(self, number: int, started: float) -> None:
        self.number = number
        self.started = started
        self.link: Link | None = None
        self.acknowledged = 0
        self.listening = False
        self.silent = 0
        self.looks = 0
        self.counters: Mapping[str, Any] = {}
        self.killed = False
        self.gone: Deferred[None] = Deferred()


class _Held(HeldPlace):
    """A place, with its process and the next one's start."""

    process: _Process | None = None
    start: Any = None


class DNSWorkers:
    """All DNS processes of a daemon.

    Args:
        reactor: the reactor.
        server: the daemon's own, which answers what processes give away, and where there is none.
        places: the sockets of each; closed at the end.
        channel: to a fork server; None to start one.
        pid: of that fork server.
        forks: makes the :class:`Forks`; tests put another in its place.
    """

    def __init__(
        self,
        reactor: Any,
        server: DNSServer,
        places: Sequence[Place],
        channel: Channel | None = None,
        *,
        pid: int = 0,
        forks: Callable[..., Any] = Forks,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._places = places
        self._streams = DNSStreams(server, IReactorTime(reactor), StreamLimits())
        self._held = [_Held(reactor, server, self._streams, place) for place in places]
        self._sums = Sums()
        self._numbers = 0
        self._zones_number = 0
        self._zones: WorkerZones | None = None
        self._zones_file: int | None = None
        self._tap: QueryTap | None = None
        self._stopping = False
        self._settled: list[tuple[int, Deferred[None]]] = []
        self._early: FirstProcess | None = None
        # Of processes that are gone: in which place, until it is told how they ended; or the other way round.
        self._gone: OrderedDict[int, Restarts] = OrderedDict()
        self._reasons: OrderedDict[int, str] = OrderedDict()
        self._watching = LoopingCall(self._watch)
        self._watching.clock = reactor
        self._forks = forks(reactor, channel, self._told_end, pid)

    # --- what the daemon says -------------------------------------------------------------------------------------

    def serve(self, zones: WorkerZones) -> None:
        """Answer out of these zones from now on; the first time this starts the processes."""
        if self._zones_number:
            # It knows only those that the daemon began with.
            self._release_early()
        self._zones = zones
        self._zones_number += 1
        # First this, so that there is room for the next one.
        self._close_zones()
        try:
            self._zones_file = write_zones(zones)
        except OSError as error:
            log.error("DNS: processes cannot be given new zones now, so none answers: {error}", error=str(error))
        for held in self._held:
            if held.process is not None and self._zones_file is not None:
                self._send_zones(held.process)
            elif held.process is not None:
                # It must not go on with the former ones; the next one is started as soon as there is room.
                self._kill(held, held.process)
        if not self._watching.running:
            for held in self._held:
                self._start(held)
            self._watching.start(WATCH, now=False)

    def watch(self, tap: QueryTap | None) -> None:
        """Have every process take some queries for the log from now on, or none; the daemon's server is apart."""
        self._tap = tap
        for process in self._alive():
            self._send_sample(process)

    def settled(self) -> Deferred[None]:
        """Fire when every process that lives answers out of the newest zones."""
        if self._is_settled(self._zones_number):
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._settled.append((self._zones_number, waiting))
        return waiting

    def adopt_early(self, channel: Channel, pid: int) -> None:
        """Take over from a process that answers until all others do (:mod:`beonss.net.dns.worker_early`)."""
        process = _Process(0, self._reactor.seconds())

        def received(message: Message) -> None:
            if message.kind == "datagram":
                self._held[message.number("place")].answer(message)
            else:
                self._received(self._held[0], process, message)

        def ended() -> None:
            self._sums.keep(process.counters)
            self._early = None

        self._early = FirstProcess(self._reactor, channel, pid, received, ended)

    def stop(self) -> Deferred[Any]:
        """End all processes once they have answered what arrived, and close the sockets; fires when that is done."""
        self._stopping = True
        if self._watching.running:
            self._watching.stop()
        self._release_early()
        going = []
        for held in self._held:
            if held.start is not None and held.start.active():
                held.start.cancel()
            if held.process is not None and held.process.link is not None:
                held.process.link.send("stop")
                going.append(held.process.gone)
        late = self._reactor.callLater(PATIENCE, self._kill_all)
        return DeferredList(going).addCallback(lambda _: self._stopped(late))

    # --- what others ask ------------------------------------------------------------------------------------------

    def counters(self) -> DNSCounters:
        """Return what all processes have done, those that are gone and the daemon itself included.

        What a process did in the last fifth of a second before it was killed is not in it.
        """
        return self._sums.total(self._server.counters(), [process.counters for process in self._alive()])

    def processes(self) -> list[dict[str, Any]]:
        """Return how each place stands, as plain data for the status."""
        return [
            {
                "pid": None if held.process is None else self._forks.pids.get(held.process.number),
                "answering": held.process is not None and held.process.listening and not held.standing_in,
                "restarts": held.restarts.count,
                "queries": 0 if held.process is None else queries(held.process.counters),
            }
            for held in self._held
        ]

    def alarms(self) -> list[str]:
        """Return what an administrator should look at."""
        now = self._reactor.seconds()
        texts = []
        for place, held in enumerate(self._held, 1):
            ended = held.restarts.alarm(now)
            if ended is not None:
                texts.append(f"DNS process {place} of {len(self._held)} {ended}; see the log")
            if held.standing_in:
                texts.append(f"DNS process {place} of {len(self._held)} does not answer; this daemon does in its place")
        return texts

    # --- processes ------------------------------------------------------------------------------------------------

    def _start(self, held: _Held) -> None:
        self._numbers += 1
        process = _Process(self._numbers, self._reactor.seconds())
        try:
            if self._zones_file is None:
                assert self._zones is not None
                self._zones_file = write_zones(self._zones)
            channel = self._forks.start(process.number)
        except OSError as error:
            # Too many open files, most likely: the place stays without, and the daemon answers there.
            log.error("DNS: a process cannot be started now: {error}", error=str(error))
            held.start = self._reactor.callLater(AGAIN, self._start, held)
            return
        held.process = process
        process.link = link = Link(
            self._reactor,
            channel,
            lambda message: self._received(held, process, message),
            lambda: self._lost(held, process),
            f"DNS process {process.number}",
        )
        self._send_zones(process)
        if self._tap is not None:
            self._send_sample(process)
        for first in range(0, len(held.sockets), MOST_DESCRIPTORS):
            part = held.sockets[first : first + MOST_DESCRIPTORS]
            link.send(
                "listen",
                descriptors=[bound.socket.fileno() for bound in part],
                kinds=[bound.kind for bound in part],
                last=first + MOST_DESCRIPTORS >= len(held.sockets),
            )

    def _send_zones(self, process: _Process) -> None:
        assert self._zones_file is not None
        if process.link is not None:
            process.link.send("zones", descriptors=[self._zones_file], number=self._zones_number)

    def _send_sample(self, process: _Process) -> None:
        every, seed = (0, 0) if self._tap is None else (self._tap.every, self._tap.seed + process.number)
        if process.link is not None:
            process.link.send("sample", every=every, seed=seed)

    def _received(self, held: _Held, process: _Process, message: Message) -> None:
        process.silent = 0
        match message.kind:
            case "counters" | "ended":
                process.counters = message.fields
            case "datagram":
                held.answer(message)
            case "connection":
                self._take_connection(message)
            case "serving":
                process.acknowledged = message.number("number")
                self._fire_settled()
            case "listening":
                process.listening = True
                self._stand_in(held, False)
                if all(other.process is not None and other.process.listening for other in self._held):
                    self._release_early()
            case "samples":
                if self._tap is not None:
                    self._tap.arrived(unpack(message.payload), message.number("missed"))
            case "log":
                _log(process.number, message)
            case kind:
                raise MalformedError(f"there is no message {kind!r}")

    def _lost(self, held: _Held, process: _Process) -> None:
        process.link = None
        held.process = None
        self._sums.keep(process.counters)
        process.counters = {}
        process.gone.callback(None)
        self._fire_settled()
        if self._stopping:
            return
        delay = held.restarts.delay(self._reactor.seconds(), process.started)
        pid = self._forks.pids.pop(process.number, None)
        if process.killed:
            held.restarts.explain("our hand: it gave no sign of life")
        elif pid is not None:
            # If it only closed its channel it is of no use either.
            self._forks.kill(pid, known=False)
            if pid in self._reasons:
                held.restarts.explain(self._reasons.pop(pid))
            else:
                _remember(self._gone, pid, held.restarts)
        log.error(
            "DNS: process {number} has ended; another one is started {when}",
            number=process.number,
            when="at once" if not delay else f"in {delay:g} s",
        )
        if delay:
            held.start = self._reactor.callLater(delay, self._start, held)
        else:
            self._start(held)

    def _told_end(self, pid: int, status: int) -> None:
        """Note how a process ended; that it did was found out before, or will be."""
        reason = f"signal {-status}" if status < 0 else f"exit code {status}"
        restarts = self._gone.pop(pid, None)
        if restarts is not None:
            restarts.explain(reason)
        else:
            _remember(self._reasons, pid, reason)

    def _watch(self) -> None:
        self._forks.look()
        for held in self._held:
            process = held.process
            if process is None:
                self._stand_in(held, True)
                continue
            process.silent += 1
            process.looks += not process.listening
            if process.silent >= QUIET or (not process.listening and process.looks >= BEGUN):
                self._stand_in(held, True)
            elif process.listening:
                self._stand_in(held, False)
            # While it reads zones, which may hold a quarter of a million static records, it says nothing.
            patience = DEAD if process.acknowledged >= self._zones_number else NEVER
            if (process.silent >= patience or process.looks >= NEVER) and not process.killed:
                log.error("DNS: process {number} gives no sign of life and is killed", number=process.number)
                self._kill(held, process)

    def _kill(self, held: _Held, process: _Process) -> None:
        process.killed = True
        pid = self._forks.pids.get(process.number)
        if pid is not None:
            self._forks.kill(pid)
        if process.link is not None:
            process.link.close()
            self._lost(held, process)

    def _stand_in(self, held: _Held, needed: bool) -> None:
        if not self._stopping:
            held.stand_in(needed)

    def _take_connection(self, message: Message) -> None:
        if not message.descriptors:
            # The system had none left for us: this client is turned away, and the process is not to blame.
            self._server.counts.refused_connections += 1
            return
        if len(message.descriptors) != 1:
            raise MalformedError("a connection with several descriptors")
        with socket.socket(fileno=message.take()[0]) as taken, contextlib.suppress(OSError):
            # It may have been closed by the client meanwhile.
            taken.setblocking(False)
            transport = self._reactor.adoptStreamConnection(taken.fileno(), taken.family, self._streams)
            if transport is not None and message.payload:
                transport.protocol.dataReceived(message.payload)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _alive(self) -> list[_Process]:
        return [held.process for held in self._held if held.process is not None]

    def _is_settled(self, number: int) -> bool:
        return all(process.acknowledged >= number for process in self._alive())

    def _fire_settled(self) -> None:
        waiting, self._settled = self._settled, []
        for number, deferred in waiting:
            if self._is_settled(number):
                deferred.callback(None)
            else:
                self._settled.append((number, deferred))

    def _release_early(self) -> None:
        if self._early is not None:
            self._early.release()

    def _kill_all(self) -> None:
        for held in self._held:
            if held.process is not None:
                self._kill(held, held.process)

    def _stopped(self, late: Any) -> Deferred[Any]:
        if late.active():
            late.cancel()
        closing: list[Deferred[Any]] = [self._forks.stop()]
        if self._early is not None:
            closing.append(self._early.close())
        closing += [held.close() for held in self._held]
        closing.append(self._streams.close(TCPListener.GRACE))
        close_places(self._places)
        self._close_zones()
        return DeferredList(closing)

    def _close_zones(self) -> None:
        if self._zones_file is not None:
            os.close(self._zones_file)
            self._zones_file = None


def _remember(where: OrderedDict[int, T], pid: int, what: T) -> None:
    where[pid] = what
    if len(where) > _REMEMBERED:
        where.popitem(last=False)


def _log(number: int, message: Message) -> None:
    level = _LEVELS.get(str(message.fields.get("level")), LogLevel.info)
    log.emit(level, "DNS process {number}: {text}", number=number, text=str(message.fields.get("text")))
