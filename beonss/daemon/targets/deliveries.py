"""Deliveries: what was committed here goes on to the targets, each at its own pace, resumed at every start.

Each target has a lane (:mod:`beonss.daemon.targets.lane`). Targets block, so they run in threads of their own.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from beonss.core.replication.registers import Key, Register, Stamp
from beonss.core.targets.concerned import concerned, touched_by
from beonss.core.targets.delivery import Verdict
from beonss.daemon.targets.lane import AccountsLike, Ground, Lane, LaneState, Progress, Target
from beonss.daemon.threads import InThread, Threads

__all__ = ["Deliveries", "LaneState", "Standing", "Target"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one account stands at a target: confirmed, waiting for its first try, or what came of the last."""

    verdict: Verdict | None
    text: str = ""


class Deliveries:
    """Delivers to all targets of this machine.

    Args:
        reactor: for time, and for coming back from threads.
        accounts: where changes come from; also keeps the cursors.
        targets: what they go to; closed by :meth:`stop`.
        chance: returns random numbers, 0 <= x < 1.
        wall: seconds since the epoch.
        in_thread: runs a blocking function elsewhere; None makes a pool of one thread per target.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        accounts: AccountsLike,
        targets: Sequence[Target],
        *,
        chance: Callable[[], float],
        wall: Callable[[], float],
        in_thread: InThread | None = None,
    ) -> None:
        self._accounts = accounts
        self._threads = Threads(reactor, max(1, len(targets)), "beonss-targets", in_thread)
        self._listeners: list[Progress] = []
        ground = Ground(reactor, accounts, self._threads, chance, wall, self._tell)
        self._lanes = {target.name: Lane(target, ground) for target in targets}
        self._contested: frozenset[str] = frozenset()
        self._cancel: Callable[[], None] | None = None

    async def start(self) -> None:
        """Resume every target where its cursor says, and follow changes from now on.

        Raises:
            StoreError: a cursor cannot be read.
        """
        self._contested = self._accounts.view.contested()
        self._cancel = self._accounts.listen(self._committed)
        for lane in self._lanes.values():
            await lane.start()

    async def stop(self) -> None:
        """Wait for what is on its way, keep the cursors, close the targets."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        for lane in self._lanes.values():
            await lane.stop()
        self._threads.stop()
        for lane in self._lanes.values():
            lane.target.close()

    def targets(self) -> tuple[str, ...]:
        """Return the targets' names."""
        return tuple(self._lanes)

    def state(self, target: str) -> LaneState:
        """Return how a target stands.

        Raises:
            KeyError: there is no such target.
        """
        return self._lanes[target].state()

    def states(self) -> list[LaneState]:
        """Return how all targets stand."""
        return [lane.state() for lane in self._lanes.values()]

    def conflicts(self, limit: int | None = None) -> list[str]:
        """Return what stands at the targets that is not ours, one sentence each.

        Args:
            limit: sentences about one target, at most; one more then says how many there are.
        """
        told: list[str] = []
        for lane in self._lanes.values():
            texts = lane.target.conflicts()
            told += texts[:limit]
            if limit is not None and len(texts) > limit:
                told.append(f"{lane.target.name}: {len(texts) - limit} more; see: beonss conflicts")
        return told

    def delivered(self, target: str, key: Key, stamp: Stamp) -> bool:  # noqa: ARG002 - later values replace earlier ones
        """Say whether a target confirmed a change that was committed here, or one that replaced it."""
        return not self._lanes[target].backlog.holds_back(key)

    def standing(self, target: str, object_id: str) -> Standing:
        """Return how one account stands at a target."""
        waiting = self._lanes[target].backlog.find(object_id)
        if waiting is None:
            return Standing("delivered")
        return Standing(waiting.verdict, waiting.text or self._lanes[target].error or "")

    def on_progress(self, listener: Progress) -> Callable[[], None]:
        """Call ``listener(target, object ids)`` after each delivery, whatever came of it; return how to stop."""
        self._listeners.append(listener)

        def cancel() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return cancel

    def reassert(self, target: str, names: Iterable[str] | None, *, shrink: bool = False) -> int:
        """Deliver accounts again, over foreign values too; return how many will be tried.

        Args:
            target: its name.
            names: users and groups; None means every account.
            shrink: allow it to take out many accounts at once.

        Raises:
            KeyError: there is no such target.
        """
        lane = self._lanes[target]
        view = self._accounts.view
        chosen = None if names is None else list(names)
        if chosen is None:
            objects = view.served_ids()
            if lane.target.batch_limit is not None:
                # "All" would end with the first batch.
                chosen = [name for name, _ in view.user_names()] + [group.entry.name for group in view.groups()]
        else:
            found = [lookup(name) for name in chosen for lookup in (view.user, view.group)]
            objects = {one.id for one in found if one is not None}
        lane.target.reassert(chosen, shrink=shrink)
        lane.add_objects(objects | set(lane.backlog))
        return len(objects)

    def again(self, target: str, name: str) -> None:
        """Let a target look at a user again at once, because something was done there beside the deliveries.

        Raises:
            KeyError: there is no such target.
        """
        user = self._accounts.view.user(name)
        if user is not None:
            self._lanes[target].add_objects([user.id], hurry=False)

    def _committed(self, rows: Sequence[Register]) -> None:
        view = self._accounts.view
        further: set[str] = set()
        touched = touched_by(rows)
        if touched:
            # Who owns a name or number may have changed for accounts that have no row here.
            further = concerned(view, touched) | self._contested
            self._contested = view.contested()
        for lane in self._lanes.values():
            lane.add(rows, further)

    def _tell(self, target: str, objects: frozenset[str]) -> None:
        for listener in list(self._listeners):
            try:
                listener(target, objects)
            except Exception:  # noqa: BLE001 - one listener's bug is no reason to stop delivering
                self.log.failure("a listener for deliveries to {target} failed", target=target)
