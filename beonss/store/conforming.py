"""Holding exactly what another replica's answer to a question for everything held: less, and older, included.

Merging never does that; a node does it when its only master was set back (docs/decisions/0027).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from beonss.core.replication.registers import Key, Register, Stamp, check_register
from beonss.store.rows import COLUMNS, to_row


def conform(
    connection: sqlite3.Connection,
    cluster: str,
    held: Iterable[Sequence[Register]],
    stamps: Mapping[Key, Stamp],
    rows: Iterable[Register],
) -> None:
    """Change the tables of a cluster's registers, in the transaction that is under way; its vector is gone then.

    Args:
        connection: to the database.
        cluster: its id.
        held: all registers that are there, in batches.
        stamps: of all registers of the answer; what else is there goes.
        rows: those of them that are not there, or otherwise; also those that do not beat what is there.

    Raises:
        MalformedError: a row cannot be what a master sent.
    """
    # What came twice counts as it came last.
    wanted = {row.key: row for row in rows if stamps.get(row.key) == row.stamp}
    for row in wanted.values():
        check_register(row)
    gone = [(cluster, *row.key) for batch in held for row in batch if stamps.get(row.key) != row.stamp]
    connection.executemany("DELETE FROM register WHERE cluster = ? AND object = ? AND field = ?", gone)
    connection.executemany(
        f"INSERT INTO register (cluster, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
        [(cluster, *to_row(row)) for row in wanted.values()],
    )
    connection.execute("DELETE FROM overruled WHERE cluster = ?", (cluster,))
    connection.execute("DELETE FROM vector WHERE cluster = ?", (cluster,))
