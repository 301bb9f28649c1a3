"""The upstreams of a forwarder: how each is doing, and asking those that fell silent until they answer again."""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from beonss.core.zones.forwarding import Upstream
from beonss.core.zones.forwarding_health import Health, in_order, probe_pause
from beonss.core.zones.forwarding_plan import Probe
from beonss.net.dns.forward_ways import Way, Ways
from beonss.wire.dns_layout import RESPONSE
from beonss.wire.dns_relay import probe_question

log = Logger()

#: Seconds that a probe waits for its answer.
PROBE_WAIT: Final = 1.0
_HEAD: Final = Struct("!HH")


class Upstreams:
    """All upstreams of a forwarder.

    Args:
        reactor: the clock.
        ways: how to reach them.
        probes: everybody there is, and what to ask to find out whether it answers.
        new_id: gives random numbers of 16 bits.

    Attributes:
        healths: how each of them is doing.
        probed: questions that only were to find out whether somebody answers.
    """

    def __init__(self, reactor: Any, ways: Ways, probes: Mapping[Upstream, Probe], new_id: Callable[[], int]) -> None:
        self.reactor = reactor
        self.ways = ways
        self.probes = probes
        self.new_id = new_id
        self._asked: dict[Upstream, _Probing] = {}
        self.healths = {upstream: Health() for upstream in probes}
        self.probed = 0
        self._stopped = False

    def in_order(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        """Return which of some upstreams to ask, in which order; none where all are down."""
        return in_order(upstreams, self.healths, self.reactor.seconds())

    def heard(self, upstream: Upstream, sent: float) -> None:
        """Note an answer to a question that was sent at ``sent``."""
        now = self.reactor.seconds()
        health = self.healths[upstream]
        if health.down:
            log.info("DNS: the upstream {upstream} answers again", upstream=str(upstream))
        health.heard(now, now - sent)
        if (probing := self._asked.pop(upstream, None)) is not None:
            probing.end()

    def missed(self, upstream: Upstream, sent: float) -> None:
        """Note that a question sent at ``sent`` was not answered in time."""
        health = self.healths[upstream]
        was_down = health.down
        if not health.missed(sent, self.reactor.seconds()) or self._stopped:
            return
        if health.down and not was_down:
            log.warn("DNS: the upstream {upstream} does not answer and is not asked for now", upstream=str(upstream))
        if upstream not in self._asked:
            self._asked[upstream] = _Probing(self, upstream)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        probings, self._asked = self._asked, {}
        for probing in probings.values():
            probing.end()


class _Probing:
    """Asks one upstream again and again until it answers."""

    def __init__(self, upstreams: Upstreams, upstream: Upstream) -> None:
        self._upstreams = upstreams
        self._upstream = upstream
        self._id = 0
        self._silences = 0
        self._sent = 0.0
        self._way: Way | None = None
        self._timer: IDelayedCall | None = None
        self._ask()

    def end(self) -> None:
        self._close()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _ask(self) -> None:
        owner, probe = self._upstreams, self._upstreams.probes[self._upstream]
        self._id = owner.new_id()
        self._sent = owner.reactor.seconds()
        self._timer = owner.reactor.callLater(PROBE_WAIT, self._silent)
        try:
            self._way = owner.ways.udp(self._upstream, self._received, lambda _: self._close())
        except OSError:
            return
        owner.probed += 1
        self._way.send(probe_question(self._id, probe.name, probe.type))

    def _received(self, packet: bytes) -> None:
        # Whatever it says, it is there.
        if len(packet) >= _HEAD.size:
            id_, flags = _HEAD.unpack_from(packet)
            if id_ == self._id and flags & RESPONSE:
                self._upstreams.heard(self._upstream, self._sent)

    def _silent(self) -> None:
        self._close()
        self._silences += 1
        owner = self._upstreams
        owner.missed(self._upstream, self._sent)
        self._timer = owner.reactor.callLater(probe_pause(self._silences), self._ask)

    def _close(self) -> None:
        if self._way is not None:
            self._way.close()
            self._way = None
