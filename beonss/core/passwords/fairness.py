"""A queue that is fair to those who use it: one turn each, whoever asked how often.

A node that sends a thousand logins at once waits behind itself, not in front of everybody.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from beonss.errors import Refused

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin over sources, first come first served within one.

    Args:
        per_source: entries one source may have waiting.
        total: entries that may wait in all.
    """

    def __init__(self, per_source: int, total: int) -> None:
        self._per_source = per_source
        self._total = total
        self._length = 0
        self._queues: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many entries wait."""
        return self._length

    def put(self, source: Hashable, entry: T) -> None:
        """Add an entry.

        Raises:
            Refused: ``busy``: the source has too many waiting, or there are too many in all.
        """
        queue = self._queues.get(source)
        if self._length >= self._total or (queue is not None and len(queue) >= self._per_source):
            raise Refused("busy", "too many password checks wait already; try again in a moment")
        if queue is None:
            queue = self._queues[source] = deque()
        queue.append(entry)
        self._length += 1

    def get(self) -> T:
        """Take the next entry: the oldest of the source whose turn it is.

        Raises:
            IndexError: nothing waits.
        """
        if not self._queues:
            raise IndexError("nothing waits")
        source, queue = next(iter(self._queues.items()))
        entry = queue.popleft()
        self._length -= 1
        if queue:
            self._queues.move_to_end(source)
        else:
            del self._queues[source]
        return entry
