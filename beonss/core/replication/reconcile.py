"""The state of a master while it boots: who was asked what they hold for it, and who has answered.

Names and sync are served from the first instant, all masters may boot together; only logins and password changes wait
for the outcome, at most for the patience given.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from beonss.core.replication.registers import Context

PATIENCE = 5.0

State = Literal["starting", "reconciled", "partial"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a boot stands.

    Attributes:
        state: ``starting``; ``reconciled``: everything that every other master held is here; ``partial``: the time was
            up before that.
        missing: who did not answer, sorted; after a ``partial`` boot it shrinks as they do.
        finished: when it left ``starting``, in the caller's seconds; None before.
    """

    state: State
    missing: tuple[str, ...]
    finished: float | None


class Boot:
    """One boot, from the first question to the outcome. Times are seconds of any one clock that does not jump.

    Args:
        members: the names of all other current masters.
        now: when the boot began.
        patience: seconds after which logins no longer wait.
    """

    def __init__(self, members: Iterable[str], now: float, patience: float = PATIENCE) -> None:
        self.deadline = now + patience
        self._waiting = set(members)
        self._vectors: dict[str, Context | None] = dict.fromkeys(self._waiting)
        self._finished: float | None = None
        self._decide(now)

    def told(self, name: str, vector: Context, now: float) -> bool:
        """Note what vector a master told; True if it knows a later state than any answer said before."""
        if name not in self._vectors:
            return False
        known, self._vectors[name] = self._vectors[name], dict(vector)
        self._decide(now)
        return known != vector

    def answered(self, name: str, vector: Context, now: float) -> None:
        """Note that the last page of a master's answer is committed here; ``vector`` is what it carried."""
        if name in self._vectors:
            self._vectors[name] = dict(vector)
        self._waiting.discard(name)
        self._decide(now)

    def members_changed(self, members: Iterable[str], now: float) -> None:
        """Follow a newer member list: who was removed is no longer waited for, who is new is."""
        current = set(members)
        if self._finished is None:
            self._waiting |= current - set(self._vectors)
        self._waiting &= current
        self._vectors = {name: self._vectors.get(name) for name in current}
        self._decide(now)

    def tick(self, now: float) -> None:
        """Let the time pass; to be called at :attr:`deadline`."""
        self._decide(now)

    def answers(self) -> dict[str, Context | None]:
        """Return what each other member told, None where it told nothing.

        It is what :func:`beonss.core.replication.incarnation.judge` asks for.
        """
        return dict(self._vectors)

    @property
    def outcome(self) -> Outcome:
        """How it stands."""
        missing = tuple(sorted(self._waiting))
        if self._finished is None:
            return Outcome("starting", missing, None)
        return Outcome("partial" if missing else "reconciled", missing, self._finished)

    def _decide(self, now: float) -> None:
        if self._finished is None and (not self._waiting or now >= self.deadline):
            self._finished = now
