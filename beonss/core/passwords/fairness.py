"""A queue that is fair to those who use it: one turn each, whoever asked how often.

A node that sends a thousand logins at once waits behind itself, not in front of everybody; and what it has waiting
takes no place from others: where there is no room, the longest queue gives way.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from beonss.errors import Refused

T = TypeVar("T")


def busy() -> Refused:
    """Return what whoever finds no room is told."""
    return Refused("busy", "too many password checks wait already; try again in a moment")


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

    def put(self, source: Hashable, entry: T) -> T | None:
        """Add an entry.

        Returns:
            The entry that had to go for it: the newest of the source that has most waiting, where there was no room
            and that source has at least two more than this one. It is refused as ``busy`` by the caller.

        Raises:
            Refused: ``busy``: the source has too many waiting, or there are too many in all and nobody has more.
        """
        queue = self._queues.get(source)
        waiting = 0 if queue is None else len(queue)
        gone: T | None = None
        if waiting >= self._per_source:
            raise busy()
        if self._length >= self._total:
            longest = max(self._queues.values(), key=len)
            if len(longest) < waiting + 2:
                raise busy()
            gone = longest.pop()
            self._length -= 1
        if queue is None:
            queue = self._queues[source] = deque()
        queue.append(entry)
        self._length += 1
        return gone

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
