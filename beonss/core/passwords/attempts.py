"""Slowing down those who guess passwords, without letting them lock anybody out.

What is counted are failures of one user name *from one source*; a stranger's failures elsewhere cost the user
nothing. After some free failures each further one doubles the time during which that pair is refused unheard.
A place (a node, this machine) has a second, wider limit against trying many names; whoever logged in from there
before is not held to it. Failures fade with time. Time is an argument, in seconds; any clock that does not run
backwards by much will do.
"""

import json
import math
from collections import OrderedDict
from dataclasses import dataclass, field

from beonss.errors import MalformedError, Refused

#: The place of programs on the machine itself.
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a password was typed.

    Attributes:
        place: :data:`LOCAL`, or the address of the node that relays.
        uid: who runs the program that asks, as the kernel says; None where nobody can tell.
        remote: the host that the program says its user sits at (PAM_RHOST); believed only of root's programs.
    """

    place: str = LOCAL
    uid: int | None = None
    remote: str = ""

    def __str__(self) -> str:
        """Return it for an audit line."""
        who = "" if self.uid is None else f" uid {self.uid}"
        return f"{self.place}{who}{' from ' + self.remote if self.remote else ''}"

    @property
    def shared(self) -> bool:
        """Whether it cannot tell persons apart: su(1) and the console are root's programs, whoever types there."""
        return not self.uid and not self.remote

    @property
    def key(self) -> str:
        """What failures are counted under; a user's program cannot make it up."""
        remote = self.remote if not self.uid else ""
        return json.dumps([self.place, self.uid, remote])


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """How guessing is slowed down.

    Attributes:
        free: failures of a user from a source without any wait.
        longest: the longest wait, in seconds, for a user and source.
        shared_longest: the same where the source cannot tell persons apart, so that a stranger at the same console
            costs the user little.
        half_life: seconds in which half of the failures are forgotten.
        place_free: failures from a place without any wait.
        place_longest: the longest wait, in seconds, for a place.
        place_half_life: seconds in which half of a place's failures are forgotten.
        entries: how many pairs, and how many places, are remembered; then the longest unused go.
    """

    free: int = 5
    longest: float = 300.0
    shared_longest: float = 10.0
    half_life: float = 3600.0
    place_free: int = 200
    place_longest: float = 10.0
    place_half_life: float = 60.0
    entries: int = 100_000


@dataclass(slots=True)
class _Count:
    failures: float = 0.0
    updated: float = 0.0
    until: float = 0.0
    running: int = 0
    # Held to the place's limit or not: known from a success that is remembered as long as this entry.
    known: bool = False

    def fade(self, now: float, half_life: float) -> None:
        elapsed = max(0.0, now - self.updated)
        self.failures *= 0.5 ** (elapsed / half_life)
        self.updated = now

    def fail(self, now: float, free: int, longest: float) -> None:
        self.failures += 1
        excess = self.failures - free
        if excess > 0:
            self.until = now + min(longest, 2.0 ** min(excess - 1, 30))


@dataclass(slots=True)
class Attempts:
    """The failures that are remembered, and who has to wait for them."""

    limits: AttemptLimits = field(default_factory=AttemptLimits)
    _pairs: "OrderedDict[tuple[str, str], _Count]" = field(default_factory=OrderedDict)
    _places: "OrderedDict[str, _Count]" = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        """Return how many pairs of user and source are remembered."""
        return len(self._pairs)

    def wait(self, user: str, source: Source, now: float) -> float:
        """Return for how many seconds an attempt would be refused unheard; 0 for not at all."""
        pair = self._pairs.get((user, source.key))
        place = self._places.get(source.place)
        wait = 0.0 if pair is None else min(pair.until - now, self._longest(source))
        if place is not None and not (pair is not None and pair.known):
            wait = max(wait, min(place.until - now, self.limits.place_longest))
        if wait <= 0 and pair is not None and not pair.known and pair.running >= self.limits.free:
            # As many at once as may fail: more would be guesses that no failure has slowed down yet.
            return 1.0
        return max(0.0, wait)

    def begin(self, user: str, source: Source, now: float) -> None:
        """Note that a password is about to be verified; :meth:`end` has to follow.

        Raises:
            Refused: ``rate-limited``, with the wait in the message. Nothing has to follow then.
        """
        wait = self.wait(user, source, now)
        if wait > 0:
            raise Refused("rate-limited", f"too many wrong passwords; wait {max(1, round(wait))} s and try again")
        self._pair(user, source).running += 1

    def end(self, user: str, source: Source, now: float, right: bool | None) -> None:
        """Note how it went: the password was right, wrong, or (None) could not be verified."""
        pair = self._pair(user, source)
        pair.running = max(0, pair.running - 1)
        if right is None:
            return
        if right:
            pair.failures, pair.until, pair.known, pair.updated = 0.0, 0.0, True, now
            return
        limits = self.limits
        pair.fade(now, limits.half_life)
        pair.fail(now, limits.free, self._longest(source))
        place = self._places.setdefault(source.place, _Count(updated=now))
        self._places.move_to_end(source.place)
        place.fade(now, limits.place_half_life)
        place.fail(now, limits.place_free, limits.place_longest)
        while len(self._places) > limits.entries:
            self._places.popitem(last=False)

    def dump(self, ahead: float = 0.0) -> bytes:
        """Return what should outlive a restart: the pairs, never a password.

        Args:
            ahead: the wall clock minus the clock of ``now``, in seconds; times are kept by the wall clock, because
                the other begins anew with each start of the machine.
        """
        rows = [
            [
                user,
                source,
                round(count.failures, 3),
                round(count.updated + ahead, 3),
                round(count.until + ahead, 3),
                count.known,
            ]
            for (user, source), count in self._pairs.items()
            if count.failures or count.known
        ]
        return json.dumps(rows, separators=(",", ":")).encode("ascii")

    def load(self, data: bytes, now: float, ahead: float = 0.0) -> None:
        """Take over what :meth:`dump` returned before a restart.

        Args:
            data: from :meth:`dump`.
            now: the clock of all other calls.
            ahead: as for :meth:`dump`.

        Raises:
            MalformedError: the bytes are nothing that it returned; nothing was taken over.
        """
        pairs: list[tuple[tuple[str, str], _Count]] = []
        try:
            rows = json.loads(data)
            for user, source, failures, updated, until, known in rows:
                if not all(map(math.isfinite, (failures, updated, until))):
                    raise ValueError
                # A clock that was set back must not make anybody wait for longer than the longest wait.
                count = _Count(
                    failures=max(0.0, min(float(failures), 1e6)),
                    updated=min(float(updated) - ahead, now),
                    until=min(float(until) - ahead, now + self.limits.longest),
                    known=known is True,
                )
                pairs.append(((str(user), str(source)), count))
        except (ValueError, TypeError, RecursionError, OverflowError):
            raise MalformedError("the remembered password failures are unreadable; starting without them") from None
        self._pairs.update(pairs[-self.limits.entries :])

    def _longest(self, source: Source) -> float:
        return self.limits.shared_longest if source.shared else self.limits.longest

    def _pair(self, user: str, source: Source) -> _Count:
        key = (user, source.key)
        count = self._pairs.get(key)
        if count is None:
            count = self._pairs[key] = _Count()
            if len(self._pairs) > self.limits.entries:
                self._pairs.popitem(last=False)
        else:
            self._pairs.move_to_end(key)
        return count
