"""What a master knows of the others: reachable or not, what they hold, their clocks and descriptions; and alarms."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import Context, Stamp, covers
from beonss.wire.sync import Heartbeat, Hello

#: ms of clock difference from which on a person is told; nothing is ever refused for it.
SKEW_ALARM = 5000
#: Seconds for which two masters may serve different descriptions before a person is told: a new one takes a moment to
#: reach, and to be proven by, everybody.
DIFFERENCE_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class PeerState:
    """Another master, as this one sees it.

    Attributes:
        name: its name.
        endpoints: where it listens.
        reachable: whether a connection stands, in either direction.
        since: wall seconds since when that is so; None if it was never reached in this run.
        last_error: what the last failed try said; empty while reachable.
        acknowledged: the vector it last said it holds durably; None if that is not known.
        incarnation: its incarnation; empty until it spoke.
        clock_skew_ms: its clock minus ours, the way over the network included; None until it spoke.
        description_digest: of the description it serves.
        software: its version.
        schemes: what it can hash passwords with and verify; None until it said so.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    reachable: bool = False
    since: float | None = None
    last_error: str = ""
    acknowledged: Context | None = None
    incarnation: str = ""
    clock_skew_ms: int | None = None
    description_digest: str = ""
    software: str = ""
    schemes: tuple[str, ...] | None = None


@dataclass(slots=True)
class _Peer:
    state: PeerState
    #: Of the process that greeted last.
    boot: str = ""
    outgoing: bool = False
    #: Since when it serves another description than we do; None while it does not.
    differs_since: float | None = None
    #: connection -> (when it was made, the boot id of the process that made it)
    incoming: dict[object, tuple[float, str]] = field(default_factory=dict)


class PeerBook:
    """The other masters, by name.

    Args:
        wall: this machine's clock, seconds since the epoch.
        incarnation: gives ours.
        digest: gives the digest of our description; empty without one.
        seconds: a clock that nobody sets.

    Attributes:
        alarms: what a person must look at, by word (``clock:frodo``).
    """

    log = Logger()

    def __init__(
        self,
        wall: Callable[[], float],
        incarnation: Callable[[], str],
        digest: Callable[[], str],
        seconds: Callable[[], float],
    ) -> None:
        self._wall = wall
        self._incarnation = incarnation
        self._digest = digest
        self._seconds = seconds
        self._peers: dict[str, _Peer] = {}
        self.alarms: dict[str, str] = {}

    def add(self, name: str, endpoints: tuple[Endpoint, ...], said: Acknowledged | None) -> None:
        """Note a member, and what it acknowledged before this start."""
        state = PeerState(name, endpoints)
        if said is not None:
            state = replace(state, acknowledged=said.vector, incarnation=said.incarnation)
        self._peers[name] = _Peer(state)

    def moved(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Note where a member listens now."""
        self._peers[name].state = replace(self._peers[name].state, endpoints=endpoints)

    def remove(self, name: str) -> None:
        """Forget a master that is no member any more, and its alarms."""
        self._peers.pop(name, None)
        for word in [word for word in self.alarms if word.endswith(f":{name}")]:
            del self.alarms[word]

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def states(self) -> dict[str, PeerState]:
        """Return what is known of each."""
        return {name: peer.state for name, peer in self._peers.items()}

    def holds(self, name: str, stamp: Stamp) -> bool:
        """Say whether a peer acknowledged to hold this write durably, or one that beats it."""
        peer = self._peers.get(name)
        return peer is not None and peer.state.acknowledged is not None and covers(peer.state.acknowledged, stamp)

    # -- connections

    def called(self, name: str, stands: bool, reason: str = "") -> None:
        """Note that our connection to a peer stands, or why not."""
        if name in self._peers:
            self._peers[name].outgoing = stands
            self._weigh(name, reason)

    def is_called(self, name: str) -> bool:
        """Say whether our connection to a peer stands."""
        return name in self._peers and self._peers[name].outgoing

    def came(self, name: str, connection: object, boot: str, now: float) -> None:
        """Note that a peer's connection to us stands."""
        self._peers[name].incoming[connection] = (now, boot)
        self._weigh(name)

    def went(self, name: str, connection: object, reason: str) -> None:
        """Note that it is gone."""
        if name in self._peers and self._peers[name].incoming.pop(connection, None) is not None:
            self._weigh(name, reason)

    def twin(self, name: str, connection: object, now: float, grace: float) -> object | None:
        """Return a newer connection of *another* process with this peer's key, while this one still speaks.

        A process that was replaced is silent soon; one that still speaks ``grace`` seconds after the newer one came is
        another machine.
        """
        mine = self._peers[name].incoming.get(connection) if name in self._peers else None
        if mine is None:
            return None
        for other, (made, boot) in self._peers[name].incoming.items():
            if boot != mine[1] and made >= mine[0] and now - made > grace:
                return other
        return None

    def _weigh(self, name: str, reason: str = "") -> None:
        peer = self._peers[name]
        state = peer.state
        reachable = peer.outgoing or bool(peer.incoming)
        if reachable != state.reachable:
            error = "" if reachable else reason
            peer.state = replace(state, reachable=reachable, since=self._wall(), last_error=error)
            if reachable:
                self.log.info("{name} is reachable", name=name)
            else:
                self.log.warn("{name} is not reachable: {reason}", name=name, reason=reason)
        elif not reachable and reason:
            peer.state = replace(state, last_error=reason)

    # -- what they say

    def met(self, name: str, hello: Hello) -> bool:
        """Note a greeting; say whether that machine writes with *our* incarnation."""
        if name not in self._peers:
            return False
        peer = self._peers[name]
        state = replace(
            peer.state, description_digest=hello.description, software=hello.software, schemes=hello.schemes
        )
        if hello.incarnation != state.incarnation:
            # Another life of that machine: what its old one acknowledged says nothing about this disk. A process that
            # took a new incarnation while it runs has the disk it had; it would not say again what it said.
            same = bool(peer.boot) and hello.boot == peer.boot
            state = replace(state, incarnation=hello.incarnation, acknowledged=state.acknowledged if same else None)
        peer.boot = hello.boot
        peer.state = replace(state, clock_skew_ms=self._skew(hello.wall))
        self.look(name)
        return bool(hello.incarnation) and hello.incarnation == self._incarnation()

    def beat(self, name: str, beat: Heartbeat) -> None:
        """Note a sign of life."""
        if name in self._peers:
            peer = self._peers[name]
            skew = self._skew(beat.wall)
            peer.state = replace(peer.state, clock_skew_ms=skew, description_digest=beat.description)
            self.look(name)

    def acknowledged(self, name: str, vector: Context) -> bool:
        """Note what a peer holds durably; the last word counts, also when it says less. True if it is news."""
        if name not in self._peers or self._peers[name].state.acknowledged == vector:
            return False
        self._peers[name].state = replace(self._peers[name].state, acknowledged=dict(vector))
        return True

    def _skew(self, theirs: int) -> int:
        return theirs - int(self._wall() * 1000)

    # -- alarms

    def look(self, name: str) -> None:
        """Compare a peer's clock and description with ours."""
        peer = self._peers[name]
        state = peer.state
        skew = state.clock_skew_ms or 0
        side = "ahead of" if skew > 0 else "behind"
        text = f"the clock of {name} is more than {SKEW_ALARM // 1000} s {side} ours: set both by NTP"
        self._set(f"clock:{name}", text if abs(skew) > SKEW_ALARM else "")
        ours = self._digest()
        differs = bool(state.description_digest and ours and state.description_digest != ours)
        if not differs:
            peer.differs_since = None
        elif peer.differs_since is None:
            peer.differs_since = self._seconds()
        lasting = peer.differs_since is not None and self._seconds() - peer.differs_since >= DIFFERENCE_GRACE
        text = f"{name} serves another cluster description than this machine: one of the two says in its status why"
        self._set(f"description:{name}", text if lasting else "")

    def look_at_all(self) -> None:
        """Compare all peers with us, because we changed."""
        for name in self._peers:
            self.look(name)

    def alarm(self, word: str, text: str) -> None:
        """Raise an alarm."""
        self._set(word, text)

    def _set(self, word: str, text: str) -> None:
        if text:
            if word not in self.alarms:
                self.log.warn("alarm {word}: {text}", word=word, text=text)
            self.alarms[word] = text
        else:
            self.alarms.pop(word, None)

    def names(self) -> Iterable[str]:
        """Return the names of all others."""
        return tuple(self._peers)
