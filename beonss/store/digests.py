"""Fingerprints added up, slice by slice, while the registers go on changing.

Rows are counted in the order of their ids, which stay when a row is overwritten and only grow (schema/v1.sql). So a
change of a row that was counted changes the sum at once, and all others are counted as they are when it is their turn.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from beonss.core.accounts.entries import is_public
from beonss.core.replication.registers import Register
from beonss.store.rows import fingerprint, fingerprint_of

#: What the rows of a slice consist of, their id last.
COUNTED: Final = "object, field, value, time, origin, sequence, id"


@dataclass(frozen=True, slots=True)
class Count:
    """A count of all registers, begun or done.

    Attributes:
        whole: the sum of the fingerprints of all rows so far.
        public: of those that nodes hold.
        position: the highest id that was counted; None: all were.
    """

    whole: int = 0
    public: int = 0
    position: int | None = 0

    def on(self, rows: Iterable[tuple[str, str, bytes, int, str, int, int]], *, last: bool) -> "Count":
        """Count on.

        Args:
            rows: the next ones by id, as :data:`COUNTED` says.
            last: whether there are no more.
        """
        whole, public, position = self.whole, self.public, self.position or 0
        for row in rows:
            number = fingerprint_of(row[:6])
            whole += number
            if is_public(row[1]):
                public += number
            position = row[6]
        return Count(whole, public, None if last else position)

    def covers(self, identifier: int | None) -> bool:
        """Say whether a row was counted.

        Args:
            identifier: its id; None for one that is not in the table yet, whose id will be above all others.
        """
        return self.position is None or (identifier is not None and identifier <= self.position)

    def changed(self, old: Register | None, new: Register) -> "Count":
        """Put a register in the place of one that was counted, or add one."""
        delta = fingerprint(new) - (0 if old is None else fingerprint(old))
        return Count(self.whole + delta, self.public + delta * is_public(new.key.field), self.position)

    def digest(self, *, public_only: bool) -> bytes:
        """Return 32 bytes that stand for all registers; to be asked for when all were counted."""
        assert self.position is None
        return ((self.public if public_only else self.whole) % (1 << 256)).to_bytes(32, "big")
