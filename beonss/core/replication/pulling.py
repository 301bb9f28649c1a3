"""The rules of pulling: questions, answers in pages, and acknowledgements; without I/O and without a clock.

A replica asks "what have you for me?" with its vector. The answer is cut at one moment of the sender: its pages hold
every register that the question's vector does not cover, and the last page carries the sender's vector of that moment.
Rows may be merged page by page; the vector moves once, with the last page. The next question's vector is the durable
acknowledgement. So nothing has to be remembered about a connection that broke.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from beonss.core.replication.registers import Context, Register, Stamp, covers, includes
from beonss.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer.

    Attributes:
        number: its place in the answer, from 0.
        rows: registers to merge, in no order that matters.
        vector: the sender's vector when the answer was cut; only on the last page, None before.
        more: what to ask the sender's store with for the next page; never sent; None on the last page.
    """

    number: int
    rows: Sequence[Register]
    vector: Context | None
    more: object | None = None

    @property
    def last(self) -> bool:
        """Whether no page follows."""
        return self.vector is not None


class Replica(Protocol):
    """What replication needs of a store; :class:`beonss.store.database.Database` is one."""

    def vector(self) -> Mapping[str, int]:
        """Return what this replica covers."""

    def page(
        self, question: Context, more: object | None = None, *, public_only: bool = False, limit: int = 1000
    ) -> Page:
        """Return the next page of the answer to a question; without ``more`` the answer is cut now."""

    def merge(self, rows: Iterable[Register], vector: Context | None = None) -> Sequence[Register]:
        """Merge rows durably, then move the vector if one is given; return the rows that won."""


class Pull:
    """One question and the pages that answer it, for connections that may lose, repeat or reorder.

    Over a stream the pages come in order and :meth:`receive` never refuses; a stream that breaks ends the pull, and the
    rows merged so far are simply sent again.
    """

    def __init__(self, question: Context) -> None:
        self.question = dict(question)
        self.expected = 0
        self.done = False

    def receive(self, page: Page) -> bool:
        """Say whether ``page`` is the next one and is to be merged, with its vector.

        Returns:
            False for a page that came already; it is ignored.

        Raises:
            MalformedError: a page is missing before this one; the pull has to be given up and asked anew.
        """
        if self.done or page.number < self.expected:
            return False
        if page.number > self.expected:
            raise MalformedError(f"page {page.number} of an answer came where page {self.expected} was due")
        self.expected += 1
        self.done = page.last
        return True


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a peer last said it holds durably, and which life of it said so."""

    incarnation: str
    vector: Context = field(default_factory=dict)


class Acknowledgements:
    """Who holds what, as they last said it. The last word counts, also when it says less than before."""

    def __init__(self, known: Mapping[str, Acknowledged] | None = None) -> None:
        self._peers: dict[str, Acknowledged] = dict(known or {})

    def met(self, peer: str, incarnation: str) -> bool:
        """Note who is behind a name now; True if what another incarnation acknowledged was dropped.

        A machine installed anew holds nothing of what its predecessor had.
        """
        known = self._peers.get(peer)
        if known is not None and known.incarnation == incarnation:
            return False
        self._peers[peer] = Acknowledged(incarnation)
        return known is not None

    def asked(self, peer: str, incarnation: str, vector: Context) -> bool:
        """Note the vector of a peer's question; True if that says something new."""
        new = Acknowledged(incarnation, dict(vector))
        if self._peers.get(peer) == new:
            return False
        self._peers[peer] = new
        return True

    def forget(self, peer: str) -> None:
        """Drop a master that was removed from the member list."""
        self._peers.pop(peer, None)

    def get(self, peer: str) -> Acknowledged | None:
        """Return what a peer last said, or None if it never spoke."""
        return self._peers.get(peer)

    def vector(self, peer: str) -> Context:
        """Return the vector a peer last acknowledged; empty if it never spoke."""
        known = self._peers.get(peer)
        return {} if known is None else known.vector

    def holds(self, peer: str, stamp: Stamp) -> bool:
        """Say whether a peer acknowledged a write, or one that beats it."""
        return covers(self.vector(peer), stamp)

    def holders(self, stamps: Iterable[Stamp], peers: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``peers`` that acknowledged all of ``stamps``."""
        wanted = list(stamps)
        return tuple(peer for peer in peers if all(self.holds(peer, stamp) for stamp in wanted))


class Stalled:
    """Tells which half answers nobody is going to finish: those that have not moved for a while.

    Args:
        patience: seconds; far longer than any master takes to answer again after a broken connection.
    """

    def __init__(self, patience: float = 3600.0) -> None:
        self.patience = patience
        self._since: dict[str, tuple[int, float]] = {}

    def observe(self, now: float, unfinished: Mapping[str, int]) -> frozenset[str]:
        """Note what is unfinished now (origin -> highest number here); return the origins to be adopted."""
        self._since = {
            origin: known if (known := self._since.get(origin)) and known[0] == number else (number, now)
            for origin, number in unfinished.items()
        }
        return frozenset(origin for origin, (_, since) in self._since.items() if now - since >= self.patience)


def has_news(mine: Context, question: Context) -> bool:
    """Say whether a replica has an answer to a question now; else the asker waits.

    Args:
        mine: its vector; for a node's question :func:`public_reach`.
        question: the asker's vector.
    """
    return not includes(question, mine)


def public_reach(high: Mapping[str, int], mine: Context) -> dict[str, int]:
    """Return how far an answer to a node can reach: its question has news above that only.

    A node is not woken for changes that it never gets, nor for rows that no vector covers yet: it would ask again at
    once, for ever.

    Args:
        high: per origin, the highest sequence number of a public register held.
        mine: this replica's vector.
    """
    return {origin: reach for origin, n in high.items() if (reach := min(n, mine.get(origin, 0)))}


def drifted(mine: Context, my_digest: bytes, theirs: Context, their_digest: bytes) -> bool:
    """Say whether two replicas differ although their vectors are equal; a full pull (empty vector) heals it.

    Args:
        mine: this replica's vector.
        my_digest: over its registers at the same moment; empty when it cannot be compared (an answer is half here).
        theirs: the other's vector.
        their_digest: likewise.
    """
    comparable = my_digest and their_digest and includes(mine, theirs) and includes(theirs, mine)
    return bool(comparable) and my_digest != their_digest


def paced(gap: float, registers: int, bounds: tuple[float, float]) -> float:
    """Return how long to wait after an answer before the next one to the same master.

    Each answer costs the other side a turn and a flush, whatever is in it. While changes come faster than answers, they
    are gathered for longer; one that comes alone finds the shortest wait again.

    Args:
        gap: seconds that were waited before this answer.
        registers: in this answer.
        bounds: the shortest and the longest wait, seconds.
    """
    shortest, longest = bounds
    return min(longest, 2 * gap) if registers > 1 else shortest
