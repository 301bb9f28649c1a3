"""What one target still has to get: accounts with the time of their next try. Pure; time is an argument.

An account waits once, however many of its registers changed, so the backlog is bounded by the number of accounts.
One that the target does not take waits longer each time and holds up no other.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from beonss.core.replication.registers import Key, Register, Stamp
from beonss.core.targets.delivery import Outcome, Verdict, backoff

#: Seconds until a conflict or refusal is looked at again, because somebody may have acted at the target: the first
#: time, and at most.
LOOK_AGAIN = 300.0
LOOK_SELDOM = 3600.0


@dataclass(slots=True)
class Waiting:
    """One account that waits.

    Attributes:
        due: when to try, on the clock of the caller.
        since: wall clock, seconds since the epoch, of the first change that waits.
        fields: fields that changed and their stamps; empty after a restart, which means any.
        attempts: tries in a row that failed.
        verdict: what came of the last try; None before the first.
        text: what the target said.
    """

    due: float
    since: float
    fields: dict[str, Stamp] = field(default_factory=dict)
    attempts: int = 0
    verdict: Verdict | None = None
    text: str = ""


class Backlog:
    """The accounts that wait for a target, and those that are on their way to it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._flying: dict[str, Waiting] = {}
        self._heap: list[tuple[float, str]] = []
        #: Accounts that another account of ours keeps from being delivered, and of those the ones that only go along.
        self._joint: set[str] = set()
        self._company: set[str] = set()

    def __len__(self) -> int:
        """Return how many accounts the target has not confirmed."""
        return len(self._waiting.keys() | self._flying.keys())

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of the accounts that the target has not confirmed."""
        return iter(self._waiting.keys() | self._flying.keys())

    def add(self, rows: Iterable[Register], due: float, wall: float) -> None:
        """Note changes; an account that waits already is tried at the earlier of both times.

        A change clears what was said of the last try: the new value may be taken.
        """
        for row in rows:
            waiting = self.add_object(row.key.object, due, wall)
            waiting.fields[row.key.field] = row.stamp
            waiting.verdict, waiting.text = None, ""

    def add_object(self, object_id: str, due: float, wall: float) -> Waiting:
        """Note that an account has to be delivered, whatever of it changed."""
        waiting = self._waiting.get(object_id)
        if waiting is None:
            waiting = self._waiting[object_id] = Waiting(due, wall)
            heapq.heappush(self._heap, (due, object_id))
        elif due < waiting.due:
            waiting.due = due
            heapq.heappush(self._heap, (due, object_id))
        return waiting

    def hurry(self, now: float) -> None:
        """Try everything that waits again now."""
        for waiting in self._waiting.values():
            waiting.due = min(waiting.due, now)
        self._heap = [(waiting.due, object_id) for object_id, waiting in self._waiting.items()]
        heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """Return when the next account is due, or None if none waits."""
        while self._heap:
            due, object_id = self._heap[0]
            waiting = self._waiting.get(object_id)
            # One that is on its way is put back here when that has ended.
            if waiting is not None and waiting.due == due and object_id not in self._flying:
                return due
            heapq.heappop(self._heap)
        return None

    def take(self, now: float, limit: int | None = None) -> list[str]:
        """Take accounts that are due, in the order of their times; they count as on their way.

        Without a limit, those whose way another account was in go along: only together can two exchange a number.
        """
        taken: list[str] = []
        while limit is None or len(taken) < limit:
            due = self.next_due()
            if due is None or due > now:
                break
            object_id = heapq.heappop(self._heap)[1]
            self._flying[object_id] = self._waiting.pop(object_id)
            taken.append(object_id)
        if taken and limit is None:
            for object_id in sorted(self._joint & self._waiting.keys() - self._flying.keys()):
                self._flying[object_id] = self._waiting.pop(object_id)
                self._company.add(object_id)
                taken.append(object_id)
        return taken

    def settle(self, object_id: str, outcome: Outcome, now: float, chance: float) -> None:
        """Note what came of an account's delivery.

        Args:
            object_id: it was taken.
            outcome: anything but ``delivered`` makes it wait again.
            now: on the clock of the caller.
            chance: random, 0 <= chance < 1; see :func:`beonss.core.targets.delivery.backoff`.
        """
        flown = self._flying.pop(object_id)
        newer = self._waiting.get(object_id)
        (self._joint.add if outcome.joint else self._joint.discard)(object_id)
        early = object_id in self._company
        self._company.discard(object_id)
        if outcome.verdict == "delivered":
            if newer is not None:
                heapq.heappush(self._heap, (newer.due, object_id))
            return
        flown.attempts += not early
        flown.verdict, flown.text = outcome.verdict, outcome.text
        if newer is not None:
            # A change came meanwhile: it is tried at its own time, and the wait grows on if that fails too.
            flown.due = newer.due
            flown.fields.update(newer.fields)
            flown.verdict, flown.text = newer.verdict, newer.text
        elif outcome.verdict == "failed":
            flown.due = now + backoff(flown.attempts, chance)
        elif early:
            # It only went along: its own time stands.
            flown.due = max(flown.due, now)
        else:
            flown.due = now + backoff(flown.attempts, chance, first=LOOK_AGAIN, longest=LOOK_SELDOM)
        self._waiting[object_id] = flown
        heapq.heappush(self._heap, (flown.due, object_id))

    def give_back(self, object_ids: Iterable[str], due: float) -> None:
        """Let accounts that were taken wait again: the target as a whole took nothing."""
        for object_id in object_ids:
            flown = self._flying.pop(object_id)
            self._company.discard(object_id)
            newer = self._waiting.get(object_id)
            if newer is not None:
                flown.fields.update(newer.fields)
            flown.due = due
            self._waiting[object_id] = flown
            heapq.heappush(self._heap, (due, object_id))

    def holds_back(self, key: Key) -> bool:
        """Say whether a change of this register is still to be confirmed."""
        for found in (self._waiting.get(key.object), self._flying.get(key.object)):
            if found is not None and (not found.fields or key.field in found.fields):
                return True
        return False

    def find(self, object_id: str) -> Waiting | None:
        """Return what is known of an account that is not confirmed, or None."""
        return self._waiting.get(object_id) or self._flying.get(object_id)

    def oldest(self) -> float | None:
        """Return the wall clock of the first change that waits, or None."""
        return min((found.since for pool in (self._waiting, self._flying) for found in pool.values()), default=None)

    def stuck(self) -> Iterator[tuple[str, Waiting]]:
        """Yield the accounts whose last try came to nothing, with what was said."""
        for object_id, waiting in self._waiting.items():
            if waiting.verdict is not None:
                yield object_id, waiting
