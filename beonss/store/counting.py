"""The part of the database that counts its registers for the digests; the sums are in :mod:`beonss.store.digests`."""

from collections.abc import Sequence
from typing import Final

from beonss.core.replication.registers import Key, Register
from beonss.store.answers import AnsweringDatabase
from beonss.store.digests import COUNTED, Count

#: Rows that are counted at once, some milliseconds.
COUNT_AT_ONCE: Final = 2000


class CountingDatabase(AnsweringDatabase):
    """The part of :class:`beonss.store.database.Database` that tells what it holds in 32 bytes."""

    # What is kept of the digests, and what is counted beside it to be compared.
    _count: Count | None = None
    _recount: Count | None = None

    def digest(self, *, public_only: bool = False) -> bytes:
        """Return 32 bytes that are equal on replicas with equal registers; kept up to date with each write.

        Replicas with equal vectors and no unfinished pull must have equal digests (drift; see
        :func:`beonss.core.replication.pulling.drifted`).
        """
        while self.count_on() is not None:
            pass
        assert self._count is not None
        return self._count.digest(public_only=public_only)

    @property
    def counted(self) -> bool:
        """Whether :meth:`digest` has nothing to count any more."""
        return self._count is not None and self._count.position is None

    def count_on(self, rows: int = COUNT_AT_ONCE) -> int | None:
        """Count on for the digests; return how far that is, None when it is done."""
        self._count = self._counted_on(self._count, rows)
        return self._count.position

    def recount(self) -> bool:
        """Read all registers for the digests anew instead of trusting what was kept; say whether that was right.

        False means that the disk or the memory changed behind our back.
        """
        position, right = self.recount_on()
        while position is not None:
            position, right = self.recount_on()
        return right

    def recount_on(self, rows: int = COUNT_AT_ONCE) -> tuple[int | None, bool]:
        """Do a slice of :meth:`recount`; return how far that is, None at the end, and what it then returns."""
        self._recount = self._counted_on(self._recount, rows)
        if self._recount.position is not None:
            return self._recount.position, True
        kept, self._count, self._recount = self._count, self._recount, None
        return None, kept is None or kept.position is not None or kept == self._count

    def _counted_on(self, count: Count | None, rows: int) -> Count:
        count = count or Count()
        if count.position is None:
            return count
        self.fold()
        found = self._connection.execute(
            f"SELECT {COUNTED} FROM register WHERE id > ? AND +cluster = ? ORDER BY id LIMIT ?",  # noqa: S608
            (count.position, self.cluster, rows),
        ).fetchall()
        return count.on(found, last=len(found) < rows)

    def _changed(self, puts: Sequence[tuple[Register | None, Register]]) -> None:
        """Follow changes, each over the register that was held."""
        if self._count is not None:
            self._count = self._adjusted(self._count, puts)
        if self._recount is not None:
            self._recount = self._adjusted(self._recount, puts)

    def _adjusted(self, count: Count, puts: Sequence[tuple[Register | None, Register]]) -> Count:
        """Return a count after changes; of one that is under way those of rows that it has behind it."""
        for old, new in puts:
            if count.covers(None) or count.covers(self._identifier(new.key)):
                count = count.changed(old, new)
        return count

    def _identifier(self, key: Key) -> int | None:
        found = self._connection.execute(
            "SELECT id FROM register WHERE cluster = ? AND object = ? AND field = ?", (self.cluster, *key)
        ).fetchone()
        return None if found is None else int(found[0])
