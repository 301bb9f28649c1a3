"""When a DNS process that ended is started again, and what an administrator is told of it. Time is an argument."""

from collections import deque
from typing import Final

#: Seconds that a process must have run for its end to count as the first one.
STEADY: Final = 10.0
#: So many ends in a row cost nothing, for a start costs milliseconds.
FREE: Final = 3
#: Seconds until the next start after those that follow.
DELAYS: Final = (0.5, 2.0, 5.0, 10.0)
#: Seconds that the end of a process stays an alarm.
REMEMBERED: Final = 600.0


class Restarts:
    """The ends of one process after another in the same place.

    Attributes:
        count: how many ended without being told to.
    """

    def __init__(self) -> None:
        self.count = 0
        self._row = 0
        self._ends: deque[float] = deque(maxlen=100)
        self._reason = ""

    def delay(self, now: float, started: float) -> float:
        """Note that a process ended; return the seconds until it is started again.

        Args:
            now: seconds on a monotonic clock.
            started: when it was started.
        """
        self._row = 0 if now - started >= STEADY else self._row + 1
        self.count += 1
        self._ends.append(now)
        self._reason = ""
        return 0.0 if self._row <= FREE else DELAYS[min(self._row - FREE, len(DELAYS)) - 1]

    def explain(self, reason: str) -> None:
        """Say why the last one ended."""
        self._reason = reason

    def alarm(self, now: float) -> str | None:
        """Return what to tell of the last minutes, None for nothing."""
        recent = sum(1 for end in self._ends if now - end < REMEMBERED)
        if not recent:
            return None
        times = "once" if recent == 1 else f"{recent} times" if recent < 100 else "100 times or more"
        minutes = int(REMEMBERED / 60)
        return f"ended {times} in the last {minutes} minutes{f' (last by {self._reason})' if self._reason else ''}"
