"""A cache of whole replies, bounded in bytes, with time as an argument.

What is kept is the reply to one question, never single records out of it: a lying server can spoil the names it is
asked for and no others. Replies stay for a while after they have expired, to be served when nobody else answers
(RFC 8767). A question that failed is remembered as well, so that it is not asked again with every query (RFC 9520).

Two queues share the bytes: what was asked for once waits in the first, and moves to the second when it is asked
for again. A flood of names that nobody asks for twice passes through the first and leaves the second alone.
"""

from collections import OrderedDict
from collections.abc import Sized
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

#: Seconds: the longest time that a reply is believed, and a denial (RFC 2308 section 5).
LONGEST_LIFE: Final = 86400
LONGEST_DENIAL: Final = 3600
#: Seconds that a reply is kept after it has expired (RFC 8767 section 5 speaks of one to three days).
STALE_FOR: Final = 86400
#: Seconds that caches may keep what was stale when we sent it (RFC 8767 section 4).
STALE_TTL: Final = 30
#: Seconds that a failure is remembered: the first time, and at most when it goes on failing (RFC 9520 section 3.2).
FIRST_FAILURE, LONGEST_FAILURE = 1.0, 30.0
#: Seconds that an expired reply is served without another try, after one that failed (RFC 8767 section 5).
STALE_RETRY: Final = 5.0
#: Popular replies are renewed in this last part of their life, if that was at least so many seconds.
RENEWED_PART: Final = 0.1
RENEWED_FROM: Final = 10
#: How often a reply must have been asked for to be renewed before it expires.
POPULAR: Final = 2

# What Python needs for an entry beside its bytes.
_OVERHEAD = 900
# The part of the bytes that is for what was asked for once.
_ONCE = 0.25


class Kept(Sized, Protocol):
    """A reply, as the cache needs it; its length is in bytes."""

    @property
    def lifetime(self) -> int | None: ...  # noqa: D102 - seconds; None for one that must not be kept
    @property
    def denies(self) -> bool: ...  # noqa: D102


R = TypeVar("R", bound=Kept)


@dataclass(slots=True)
class Entry(Generic[R]):
    """What is known of one question.

    Attributes:
        reply: the last good one; None if there never was one.
        stored: when it came, seconds.
        expires: until when it is believed.
        failures: tries in a row that failed since then.
        failing: until when the question is not asked again after a failure.
        asked: how often the reply was asked for.
        renewing: it was asked for again before it expires.
        size: bytes that it takes.
    """

    reply: R | None
    stored: float
    expires: float
    failures: int = 0
    failing: float = float("-inf")
    asked: int = 0
    renewing: bool = False
    size: int = 0

    def is_fresh(self, now: float) -> bool:
        """Say whether the reply is believed."""
        return self.reply is not None and now < self.expires

    def age(self, now: float) -> int:
        """Return how many whole seconds ago the reply came."""
        return max(0, int(now - self.stored))

    def should_be_renewed(self, now: float) -> bool:
        """Say, once for each life, whether a popular reply is so near its end that it is time to ask again."""
        life = self.expires - self.stored
        unpopular = self.asked < POPULAR or life < RENEWED_FROM
        if self.renewing or unpopular or now < self.failing or self.expires - now > life * RENEWED_PART:
            return False
        self.renewing = True
        return True


class ReplyCache(Generic[R]):
    """Replies by question.

    Args:
        limit: bytes that it may take in all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._once: OrderedDict[bytes, Entry[R]] = OrderedDict()
        self._again: OrderedDict[bytes, Entry[R]] = OrderedDict()
        self._once_size = self._again_size = 0

    def __len__(self) -> int:
        return len(self._once) + len(self._again)

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return self._once_size + self._again_size

    def find(self, key: bytes, now: float) -> Entry[R] | None:
        """Return what is known of a question, and note that it was asked."""
        entry = self._again.get(key)
        if entry is not None:
            self._again.move_to_end(key)
        elif (entry := self._once.get(key)) is not None:
            self._promote(key, entry)
        else:
            return None
        if entry.reply is not None and now >= entry.expires + STALE_FOR:
            entry.reply = None
        entry.asked += 1
        return entry

    def keep(self, key: bytes, reply: R, now: float) -> None:
        """Keep a good reply in place of what was known; one that must not be kept only ends a failure."""
        life = lifetime(reply)
        if life <= 0:
            self._forget(key)
            return
        former = self._entry(key)
        asked = 0 if former is None else min(former.asked, POPULAR)
        # A reply has to be asked for anew in each life to stay popular.
        entry = Entry(reply, now, now + life, asked=asked // 2)
        self._put(key, entry, len(key) + len(reply) + _OVERHEAD)

    def fail(self, key: bytes, now: float, *, silent: bool = False) -> None:
        """Note that a question could not be answered.

        Args:
            key: the question.
            now: seconds.
            silent: nobody said anything; then the pause does not grow, for when they are back they are back.
        """
        entry = self._entry(key)
        if entry is None:
            entry = Entry[R](None, now, now)
            self._put(key, entry, len(key) + _OVERHEAD)
        entry.failures = 1 if silent else entry.failures + 1
        entry.renewing = False
        pause = min(LONGEST_FAILURE, FIRST_FAILURE * 2.0 ** min(entry.failures - 1, 10))
        entry.failing = now + (max(pause, STALE_RETRY) if entry.reply is not None else pause)

    def _entry(self, key: bytes) -> Entry[R] | None:
        return self._again.get(key) or self._once.get(key)

    def _promote(self, key: bytes, entry: Entry[R]) -> None:
        del self._once[key]
        self._once_size -= entry.size
        self._again[key] = entry
        self._again_size += entry.size
        most = self.limit - int(self.limit * _ONCE)
        while self._again_size > most:
            # The one that was idle longest gets another chance among those that were asked for once.
            old, back = self._again.popitem(last=False)
            self._again_size -= back.size
            self._once[old] = back
            self._once_size += back.size
        self._shrink()

    def _put(self, key: bytes, entry: Entry[R], size: int) -> None:
        known = key in self._again
        self._forget(key)
        entry.size = size
        self._once[key] = entry
        self._once_size += size
        if known:
            self._promote(key, entry)
        self._shrink()

    def _forget(self, key: bytes) -> None:
        if (entry := self._again.pop(key, None)) is not None:
            self._again_size -= entry.size
        elif (entry := self._once.pop(key, None)) is not None:
            self._once_size -= entry.size

    def _shrink(self) -> None:
        while self.size > self.limit and self._once:
            _, gone = self._once.popitem(last=False)
            self._once_size -= gone.size


def lifetime(reply: Kept) -> int:
    """Return how many seconds a reply may be kept, 0 for not at all."""
    return min(reply.lifetime or 0, LONGEST_DENIAL if reply.denies else LONGEST_LIFE)
