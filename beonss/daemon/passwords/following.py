"""Who has a password change by now: the other masters, and the targets of this one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from beonss.core.passwords.change import Line, State
from beonss.core.replication.registers import Register, Stamp
from beonss.core.targets.delivery import Outcome as Delivered
from beonss.core.targets.delivery import Verdict

Tell = Callable[[Line], None]


class PeerStanding(Protocol):
    """Another master, as far as a change looks at it; :class:`beonss.daemon.replication.sync.PeerState` is one."""

    @property
    def reachable(self) -> bool:
        """Whether it is connected now."""

    @property
    def since(self) -> float | None:
        """Since when that is so, wall seconds."""


class Masters(Protocol):
    """The other masters; :class:`beonss.daemon.replication.sync.Sync` is one."""

    @property
    def peers(self) -> Mapping[str, PeerStanding]:
        """All other masters by name."""

    def holds(self, name: str, stamp: Stamp) -> bool:
        """Say whether a master acknowledged to hold a write durably."""

    def on_acknowledge(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have ``callback`` called when a master acknowledged something new; return what ends that."""


class TargetStanding(Protocol):
    """How an account stands at a target; :class:`beonss.daemon.targets.deliveries.Standing` is one."""

    @property
    def verdict(self) -> Verdict | None:
        """What came of its last delivery; None if there was none yet."""

    @property
    def text(self) -> str:
        """Why it is not delivered; may be empty."""


class Targets(Protocol):
    """The delivery targets of this master; :class:`beonss.daemon.targets.deliveries.Deliveries` is one."""

    def targets(self) -> Sequence[str]:
        """Return their names."""

    def standing(self, target: str, object_id: str) -> TargetStanding:
        """Return how an account stands at a target."""

    def on_progress(self, listener: Callable[[str, frozenset[str]], None]) -> Callable[[], None]:
        """Have ``listener(target, object ids)`` called after each delivery; return what ends that."""


#: Begins a change, as the user, at targets that take it in no other way: (object id, old, new) -> what comes of it,
#: by the target's name; :class:`beonss.daemon.passwords.direct_changes.DirectChanges` is one.
Answers = Mapping[str, "Deferred[Delivered]"]
AsUser = Callable[[str, bytes, bytes], Answers]


class Following:
    """Who has a write by now.

    Args:
        name: of this master.
        written: the register, as committed here.
        masters: the others.
        targets: the delivery targets of this master, or None.
        direct: names of targets that are told as the user; see :meth:`answered`.
        tell: called with the line of each place, each time that what is known of it changes.
    """

    def __init__(
        self,
        name: str,
        written: Register,
        *,
        masters: Masters,
        targets: Targets | None,
        direct: Iterable[str],
        tell: Tell,
    ) -> None:
        self._written = written
        self._masters = masters
        self._targets = targets
        self._tell = tell
        self._last: dict[tuple[str, str], Line] = {}
        # Targets that have tried since: what they said before was about an older value.
        self._tried: set[str] = set()
        # Those that are told as the user: what their ordinary delivery says does not count.
        self._direct: dict[str, TargetStanding | None] = dict.fromkeys(direct)
        self._waiting = {("master", peer) for peer in masters.peers}
        named = targets.targets() if targets is not None else ()
        self._waiting |= {("target", target) for target in (*named, *direct)}
        self._say(Line("master", name, "changed"))

    @property
    def lines(self) -> list[Line]:
        """What each place said last."""
        return list(self._last.values())

    def look(self) -> bool:
        """Tell what became known; return whether there is nothing more to wait for."""
        peers = self._masters.peers
        for kind, name in sorted(self._waiting):
            if kind == "target":
                self._look_at_target(name)
            elif self._masters.holds(name, self._written.stamp):
                self._settle(Line("master", name, "changed"))
            elif name not in peers:
                self._waiting.discard((kind, name))  # removed from the cluster in this moment
            elif not peers[name].reachable:
                self._note(Line("master", name, "buffered", "away", peers[name].since))
        # A place that is away is known as well as it can be; one that is coming is waited for.
        return all(place in self._last for place in self._waiting)

    def give_up(self, patience: float) -> None:
        """Tell of those that said nothing in time."""
        for kind, name in sorted(self._waiting):
            if (kind, name) in self._last:
                continue
            if kind == "master":
                self._note(Line("master", name, "buffered", f"did not confirm it within {patience:g} s"))
            else:
                self._note(Line("target", name, "pending", f"did not take it within {patience:g} s"))

    def progress(self, target: str, objects: frozenset[str]) -> None:
        """Note that a target tried some accounts."""
        if self._written.key.object in objects:
            self._tried.add(target)

    def answered(self, target: str, answer: TargetStanding) -> None:
        """Note what came of a change that a target was told as the user."""
        self._direct[target] = answer

    def _look_at_target(self, name: str) -> None:
        if name in self._direct:
            if (answer := self._direct[name]) is not None:
                state: State = "changed" if answer.verdict == "delivered" else "refused"
                self._settle(Line("target", name, state, "" if state == "changed" else answer.text))
            return
        assert self._targets is not None
        standing = self._targets.standing(name, self._written.key.object)
        if standing.verdict == "delivered":
            self._settle(Line("target", name, "changed"))
        elif standing.verdict in {"refused", "conflict"} and name in self._tried:
            self._settle(Line("target", name, "refused", standing.text))
        elif standing.text and (standing.verdict is None or name in self._tried):
            self._note(Line("target", name, "pending", standing.text))

    def _settle(self, line: Line) -> None:
        self._waiting.discard((line.kind, line.name))
        self._say(line)

    def _note(self, line: Line) -> None:
        if self._last.get((line.kind, line.name)) != line:
            self._say(line)

    def _say(self, line: Line) -> None:
        self._last[line.kind, line.name] = line
        self._tell(line)
