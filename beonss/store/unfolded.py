"""Registers that are durable in the file of commits and not yet in the database's tables, with a way back."""

from collections.abc import Mapping

from beonss.core.replication.registers import Key, Register

_Undo = tuple[Key | None, Register | dict[Key, Register] | None]


class Unfolded:
    """The latest registers by key; what was done since a mark can be undone.

    Attributes:
        puts: how often one was put here.
    """

    def __init__(self) -> None:
        self.puts = 0
        self._rows: dict[Key, Register] = {}
        # A key with what stood there before; without a key, all that was taken.
        self._log: list[_Undo] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Mapping[Key, Register]:
        """All of them."""
        return self._rows

    def put(self, row: Register) -> None:
        """Add or replace a register."""
        self.puts += 1
        self._log.append((row.key, self._rows.get(row.key)))
        self._rows[row.key] = row

    def take(self) -> list[Register]:
        """Return all and hold none: they go into the tables now."""
        taken = self._rows
        self._log.append((None, taken))
        self._rows = {}
        return list(taken.values())

    def changed(self) -> list[Register]:
        """Return what was put since the last :meth:`settle` and still stands here."""
        return [self._rows[key] for key in dict.fromkeys(key for key, _ in self._log) if key in self._rows]

    @property
    def mark(self) -> int:
        """A moment, for :meth:`undo`."""
        return len(self._log)

    def undo(self, mark: int) -> None:
        """Go back to a moment since the last :meth:`settle`."""
        while len(self._log) > mark:
            key, before = self._log.pop()
            if key is None:
                assert isinstance(before, dict)
                self._rows = before
            elif before is None:
                del self._rows[key]
            else:
                assert isinstance(before, Register)
                self._rows[key] = before

    def settle(self) -> None:
        """There is no way back any more: it is durable."""
        self._log.clear()
