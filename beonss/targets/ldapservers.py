"""Which of several directory servers is asked: in the order of the configuration, but first those that can.

A server that does not answer costs a timeout each time it is asked, one that takes no changes a refusal. Such a one
comes last for a while; then it is tried in its place again, so that everything goes back to the first when it is well.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

#: Seconds for which a server comes last that did not answer, or was busy.
AWAY: Final = 30.0
#: The same for one that says it is a read-only copy: that changes only when somebody changes it.
READ_ONLY: Final = 600.0


class ServerOrder:
    """The order of one configuration's servers; of one thread at a time.

    Args:
        uris: as configured, the preferred first.
        now: a clock that does not jump, in seconds.
    """

    def __init__(self, uris: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        self._uris = tuple(uris)
        self._now = now
        self._until: dict[str, float] = {}

    def uris(self) -> tuple[str, ...]:
        """Return all of them, those to be asked first in front."""
        now = self._now()
        # False before True; sorting is stable.
        return tuple(sorted(self._uris, key=lambda uri: now < self._until.get(uri, now)))

    def put_last(self, uri: str, seconds: float) -> None:
        """Ask a server only after the others for a while."""
        self._until[uri] = self._now() + seconds
