"""Simulated time: what happens when, in an order that only the seed decides."""

import heapq
from collections.abc import Callable

from twisted.internet.error import AlreadyCalled, AlreadyCancelled


class Call:
    """Something that will happen (the part of IDelayedCall that is used)."""

    def __init__(self, timeline: "Timeline", time: float, action: Callable[[], object]) -> None:
        self.time = time
        self._timeline = timeline
        self._action: Callable[[], object] | None = action
        self._cancelled = False

    def active(self) -> bool:
        """Say whether it is still to happen."""
        return self._action is not None

    def cancel(self) -> None:
        """Let it not happen."""
        if self._action is None:
            raise AlreadyCancelled if self._cancelled else AlreadyCalled
        self._action, self._cancelled = None, True

    def reset(self, delay: float) -> None:
        """Let it happen so many seconds from now instead."""
        if self._action is None:
            raise AlreadyCancelled if self._cancelled else AlreadyCalled
        self.time = self._timeline.now + max(0.0, delay)
        self._timeline.enter(self)

    def happen(self) -> None:
        """Do it, unless it was cancelled."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Timeline:
    """Everything that is going to happen in a world.

    Attributes:
        now: seconds since it began.
        after: called after each thing that happened.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.after: Callable[[BaseException | None], None] | None = None
        self._calls: list[tuple[float, int, Call]] = []
        self._count = 0

    def at(self, delay: float, action: Callable[[], object]) -> Call:
        """Let something happen after so many seconds."""
        call = Call(self, self.now + max(0.0, delay), action)
        self.enter(call)
        return call

    def enter(self, call: Call) -> None:
        """Have a call happen at its time; where it stood before, it is passed over."""
        self._count += 1
        heapq.heappush(self._calls, (call.time, self._count, call))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            self.now, _, call = heapq.heappop(self._calls)
            if call.time != self.now:
                continue
            try:
                call.happen()
            except Exception as error:
                if self.after is None:
                    raise
                self.after(error)
            else:
                if self.after is not None:
                    self.after(None)
        self.now = end


class ProcessClock:
    """The reactor of one process, as far as its parts look at it; what it still waits for ends with the process.

    ``seconds()`` does not jump, as the daemons' reactor's does not.
    """

    def __init__(self, timeline: Timeline, alive: Callable[[], bool]) -> None:
        self._timeline = timeline
        self._alive = alive

    def seconds(self) -> float:
        """Return seconds that do not jump."""
        return self._timeline.now

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> Call:  # noqa: A002
        """Call something later, if the process lives until then."""
        return self._timeline.at(delay, lambda: callable(*args, **kwargs) if self._alive() else None)

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        """Call it now: there are no threads."""
        callable(*args, **kwargs)
