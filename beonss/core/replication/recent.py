"""The latest commits, kept in memory, so that whoever is nearly up to date is answered without reading the disk.

An answer is right if it holds every register that the question's vector does not cover, or one that beats it. Be S the
state before some commit and V its vector, and be every register in S covered by V: whoever asks with a vector that
includes V holds all of S, or better, and lacks at most what was committed since. So the commits since then are the
answer, together with the vector of now. Where a register is held that the vector does not cover (the first pages of
an answer whose last has not come), nothing is remembered.
"""

from collections.abc import Sequence

from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Context, Key, Register, includes

#: Registers, and bytes of their values, remembered at most.
ROWS = 2000
BYTES = 1 << 20


class RecentCommits:
    """What was committed lately, and the answers that follow from it.

    Attributes:
        whole: whether every register held is covered by the vector. Nothing is remembered while it is not.
    """

    def __init__(self) -> None:
        self.whole = False
        # The vector before each commit, and its rows.
        self._commits: list[tuple[Context, Sequence[Register]]] = []
        self._rows = 0
        self._bytes = 0
        self._last: tuple[Context, Context, Page] | None = None

    def add(self, before: Context, rows: Sequence[Register], whole: bool) -> None:
        """Note a commit.

        Args:
            before: the vector before it.
            rows: what it changed.
            whole: whether every register held after it is covered by the vector after it.
        """
        self._last = None
        if not (self.whole and whole):
            self._forget()
            self.whole = whole
            return
        self._commits.append((before, rows))
        self._rows += len(rows)
        self._bytes += sum(len(row.value) for row in rows)
        if self._rows > ROWS or self._bytes > BYTES or len(self._commits) > ROWS:
            # Half of it at once: a list is cut in one go. What alone is too much goes too.
            half = len(self._commits) // 2 if self._rows <= 2 * ROWS and self._bytes <= 2 * BYTES else None
            del self._commits[:half]
            self._rows = sum(len(kept) for _, kept in self._commits)
            self._bytes = sum(len(row.value) for _, kept in self._commits for row in kept)

    def _forget(self) -> None:
        self._commits.clear()
        self._rows = self._bytes = 0
        self._last = None

    def page(self, question: Context, vector: Context, limit: int) -> Page | None:
        """Return the whole answer to a question as one page, or None if the disk has to be asked.

        Args:
            question: the asker's vector.
            vector: ours, as it is now; not changed by anybody later.
            limit: registers in a page at most.
        """
        low, high = 0, len(self._commits)
        # The vectors only grow: find the last commit before which the asker had everything.
        while low < high:
            middle = (low + high) // 2
            if includes(question, self._commits[middle][0]):
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        start = self._commits[low - 1][0]
        if self._last is not None and self._last[0] is start and self._last[1] is vector:
            page = self._last[2]
        else:
            latest: dict[Key, Register] = {}
            for _, rows in self._commits[low - 1 :]:
                for row in rows:
                    latest[row.key] = row
            page = Page(0, tuple(latest.values()), vector)
            # All who wait get the same one, which is then encoded only once.
            self._last = (start, vector, page)
        return page if len(page.rows) <= limit else None
