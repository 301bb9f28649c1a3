"""The log of queries: which are looked at, what is said of each, and who wants to hear of which.

Looking at every query of a busy server costs more than answering it, so one of so many is taken, at gaps drawn by
chance: clients ask in patterns (A, AAAA, A, AAAA), and every thousandth query may always be the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from beonss.core.zones.records import Address

Network = IPv4Network | IPv6Network

#: The most queries that one is taken of.
MOST_EVERY: Final = 1_000_000
#: Lines that one reader gets in a second, and that it may have saved up.
LINES_PER_SECOND: Final = 1000.0
LINES_AT_ONCE: Final = 2000.0
_WORD: Final = 0xFFFFFFFF


def stirred(state: int) -> int:
    """Return the next state of Marsaglia's xorshift generator of 32 bits ("Xorshift RNGs", 2003); never 0.

    Chance, not secrecy. The compiled core draws the same numbers (``native/module.c``).
    """
    state ^= state << 13 & _WORD
    state ^= state >> 17
    return state ^ (state << 5 & _WORD)


class Gaps:
    """Draws how many queries there are from one that is taken to the next: 1 to 2 * every - 1, ``every`` on average.

    Args:
        every: one of so many, 1 to :data:`MOST_EVERY`.
        seed: any number.
    """

    __slots__ = ("_left", "_state", "every")

    def __init__(self, every: int, seed: int) -> None:
        if not 1 <= every <= MOST_EVERY:
            raise ValueError(f"one of {every} queries cannot be taken; 1 to {MOST_EVERY}")
        self.every = every
        self._state = seed & _WORD or 1
        self._left = self._gap()

    def _gap(self) -> int:
        self._state = stirred(self._state)
        return 1 + self._state % (2 * self.every - 1)

    def due(self) -> bool:
        """Count a query, and say whether it is taken."""
        self._left -= 1
        if self._left:
            return False
        self._left = self._gap()
        return True


class Thinning:
    """Takes one of ``every`` queries out of those that stand for several each.

    Args:
        every: as for :class:`Gaps`.
        seed: any number.
    """

    __slots__ = ("_state", "every")

    def __init__(self, every: int, seed: int) -> None:
        self.every = every
        self._state = seed & _WORD or 1

    def takes(self, of: int) -> bool:
        """Say whether a query is taken that was itself taken one of ``of``."""
        if of >= self.every:
            return True
        self._state = stirred(self._state)
        return self._state % self.every < of


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One query and its reply.

    Attributes:
        time: seconds since the epoch.
        client: who asked.
        tcp: whether it came over TCP.
        name: as asked, in the case of the client; None where the packet was no query.
        type: mnemonic or ``TYPE123``; empty without a name.
        class_: likewise, ``CLASS123``.
        flags: of the query: some of ``rd``, ``ad``, ``cd``, ``do``.
        payload: bytes that the client takes over UDP as it said by EDNS; None without EDNS.
        rcode: of the reply, as the header has it; empty where there was none.
        reply_flags: some of ``aa``, ``tc``, ``ra``, ``ad``.
        size: bytes of the reply.
        took: microseconds until the reply was ready, in the compiled core until an average one of those that came
            together was sent; None where it was not measured.
    """

    time: float
    client: Address
    tcp: bool
    name: str | None
    type: str
    class_: str
    flags: tuple[str, ...]
    payload: int | None
    rcode: str
    reply_flags: tuple[str, ...]
    size: int
    took: int | None

    def document(self) -> dict[str, Any]:
        """Return it as it stands in a line of JSON."""
        return {
            "time": round(self.time, 6),
            "client": str(self.client),
            "transport": "tcp" if self.tcp else "udp",
            "name": self.name,
            "type": self.type,
            "class": self.class_,
            "flags": list(self.flags),
            "edns": self.payload,
            "rcode": self.rcode,
            "reply_flags": list(self.reply_flags),
            "size": self.size,
            "took_us": self.took,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which queries somebody wants to hear of; what is empty or None restricts nothing.

    Attributes:
        clients: networks, one of which the client is in.
        name: a pattern of the whole name without its last dot, as of sh(1), case ignored.
        types: mnemonics in upper case.
    """

    clients: Sequence[Network] = ()
    name: str | None = None
    types: frozenset[str] = frozenset()

    def matches(self, record: QueryRecord) -> bool:
        """Say whether it is one of them."""
        if self.types and record.type not in self.types:
            return False
        if self.clients and not any(record.client in network for network in self.clients):
            return False
        if self.name is None:
            return True
        return record.name is not None and fnmatchcase(record.name.lower().rstrip(".") or ".", self.name)


def name_pattern(text: str) -> str:
    """Return a pattern as :class:`Wanted` takes it, of what somebody wrote."""
    return text.lower().rstrip(".") or "."


class Allowance:
    """So many per second and no more, with some saved up (a token bucket).

    Args:
        rate: per second.
        most: saved up.
        now: seconds, of any clock that is never set back.
    """

    __slots__ = ("_had", "_most", "_rate", "_since")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._had = most
        self._since = now

    def take(self, now: float) -> bool:
        """Take one if there is one."""
        self._had = min(self._most, self._had + (now - self._since) * self._rate)
        self._since = now
        if self._had < 1:
            return False
        self._had -= 1
        return True
