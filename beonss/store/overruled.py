"""Concurrent writes that lost: kept beside the registers until somebody writes who saw both."""

import sqlite3
from collections.abc import Callable

from beonss.core.accounts.entries import AGING, PASSWORD, is_public
from beonss.core.replication.publication import DESCRIPTION
from beonss.core.replication.registers import Key, Register, concurrent
from beonss.store.rows import COLUMNS, to_register, to_row


class Overruled:
    """The table "overruled" of one cluster; used within the transactions of its database.

    Args:
        connection: the database's.
        cluster: the cluster's id.
    """

    def __init__(self, connection: sqlite3.Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        # Where something may stand: most writes need not look. Keys are never taken out, so that a rollback cannot make
        # it wrong.
        self._contested = {register.key for register in self.all()}

    def all(self) -> list[Register]:
        """Return the last concurrent write that lost of each register, until somebody who saw both writes.

        Of a password nothing is kept but that it was written, when and by whom. The description's register is among
        them, though nodes do not get it.
        """
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM overruled WHERE cluster = ? ORDER BY object, field",  # noqa: S608 - constants
            (self._cluster,),
        )
        return [to_register(row) for row in rows]

    def at(self, key: Key) -> Register | None:
        """Return what stands at a register, if anything does."""
        if key not in self._contested:
            return None
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM overruled WHERE cluster = ? AND object = ? AND field = ?",  # noqa: S608
            (self._cluster, *key),
        ).fetchone()
        return None if row is None else to_register(row)

    def note(self, old: Register, new: Register, begin: Callable[[], None]) -> None:
        """Note the one that loses of two concurrent writes; forget what the winner saw.

        Args:
            old: held so far.
            new: has come.
            begin: is called before the table is written.
        """
        known = self.at(old.key)
        winner, loser = (new, old) if new.beats(old) else (old, new)
        if known is not None and winner.saw(known):
            self.drop(old.key, begin)
        # Hashes that lost are not kept, only that and whose; and the same value written twice is nothing to show.
        field = old.key.field
        shown = is_public(field) or field in {PASSWORD, AGING} or old.key == DESCRIPTION
        if field == PASSWORD:
            loser = Register(loser.key, b"", loser.stamp, loser.author, loser.context)
        if shown and concurrent(old, new) and old.value != new.value:
            self._contested.add(old.key)
            begin()
            self._connection.execute(
                f"INSERT OR REPLACE INTO overruled (cluster, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (self._cluster, *to_row(loser)),
            )

    def drop(self, key: Key, begin: Callable[[], None]) -> None:
        """Forget what stands at a register; ``begin`` as for :meth:`note`."""
        begin()
        self._connection.execute(
            "DELETE FROM overruled WHERE cluster = ? AND object = ? AND field = ?", (self._cluster, *key)
        )
