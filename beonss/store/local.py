"""The file under the registers: its transactions, and the tables of this machine alone, which are not replicated."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import Context
from beonss.store.failures import UnusableStoreError, translated
from beonss.store.opening import file_system_magic, open_connection

Scope = Literal["all", "public"]
_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class LocalDatabase:
    """One SQLite file of one cluster: blocking, one connection, one thread at a time.

    Each method is one transaction unless it is called inside :meth:`transaction`.

    Args:
        path: the file, or ``:memory:``.
        cluster: the cluster's id; a file of another cluster is refused.
        scope: ``all`` on masters; ``public`` on nodes, whose database refuses hashes.
        durable: flush the disk at each commit.
        magic: for tests: says on what file system a directory is.

    Raises:
        UnusableStoreError, BrokenStoreError: see :func:`beonss.store.opening.open_connection`.
    """

    def __init__(
        self,
        path: Path | str,
        cluster: str,
        *,
        scope: Scope = "all",
        durable: bool = True,
        magic: Callable[[Path], int] = file_system_magic,
    ) -> None:
        self.path = path
        self.cluster = cluster
        self.scope = scope
        # The open transactions, the outermost first: whether SQLite knows of each.
        self._levels: list[bool] = []
        # Whether the outermost put more into the tables than what is durable elsewhere.
        self._stored_anything = False
        self._connection = open_connection(path, durable=durable, magic=magic)
        try:
            self._claim_file()
        except BaseException:
            self._connection.close()
            raise

    def _claim_file(self) -> None:
        with self.transaction():
            for name, mine in (("cluster", self.cluster), ("scope", self.scope)):
                found = self.meta(name)
                if found is None:
                    self.set_meta(name, mine.encode())
                elif found != mine.encode():
                    raise UnusableStoreError(
                        f"{self.path}: belongs to {name} {found.decode(errors='replace')!r}, not to {mine!r}; "
                        "use another state directory, or move the file away if that is no longer wanted"
                    )

    def close(self) -> None:
        """Close the file; the WAL is folded into it."""
        self._connection.close()

    # --- transactions ------------------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; SQLite ends one by itself on some errors (a full disk)."""
        return bool(self._levels) and (not self._levels[0] or self._connection.in_transaction)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one transaction, or a savepoint inside another; an error undoes it and nothing outside it.

        SQLite hears of it when a table is written first (:meth:`_begin`).

        Raises:
            StoreError: for every error of SQLite, translated.
        """
        before = self._remembered()
        levels = self._levels
        depth = len(levels)
        if depth == 0:
            self._stored_anything = False
        levels.append(False)
        try:
            try:
                yield
                if depth == 0:
                    self._complete()
                stored = levels[depth]
                if stored:
                    self._commit(f"RELEASE s{depth}" if depth else "COMMIT")
                del levels[depth:]
                if depth == 0:
                    self._settled(stored=stored)
            except BaseException as error:
                begun = len(levels) > depth and levels[depth]
                dispensable = depth == 0 and self._dispensable(error)
                del levels[depth:]
                self._recall(before)
                if begun and self._connection.in_transaction:
                    undo = (f"ROLLBACK TO s{depth}", f"RELEASE s{depth}") if depth else ("ROLLBACK",)
                    for statement in undo:
                        self._connection.execute(statement)
                if not dispensable:
                    raise
        except sqlite3.Error as error:
            raise translated(error, self.path) from None

    def _begin(self, *, folding: bool = False) -> None:
        """Tell SQLite of all transactions that are open; to be called before a table is written.

        Args:
            folding: what will be written is durable elsewhere.
        """
        self._stored_anything = self._stored_anything or not folding
        for depth, begun in enumerate(self._levels):
            if not begun:
                self._connection.execute(f"SAVEPOINT s{depth}" if depth else "BEGIN IMMEDIATE")
                self._levels[depth] = True

    def fold(self) -> None:
        """Write what is durable elsewhere into the tables."""

    def _dispensable(self, error: BaseException) -> bool:  # noqa: ARG002 - nothing is here
        """Say whether nothing is lost if the outermost transaction, which failed, is undone and called done."""
        return False

    def _complete(self) -> None:
        """Write what was put off until the outermost transaction ends."""

    def _settled(self, *, stored: bool) -> None:
        """Note that the outermost transaction is durable.

        Args:
            stored: SQLite had to commit something.
        """

    def _remembered(self) -> object:
        """Return what is kept in memory of the tables, as it is now, for :meth:`_recall` when they are rolled back."""
        return None

    def _recall(self, before: object) -> None:
        """Set the memory back to what it was."""

    def _commit(self, statement: str) -> None:
        # A method of its own so that tests can make a commit fail as a broken disk would.
        self._connection.execute(statement)

    # --- notes ---

    def meta(self, name: str) -> bytes | None:
        """Return a value of this machine's own: ``incarnation``, ``machine``, ``members``, ``description`` ..."""
        return self._get("meta", name)

    def set_meta(self, name: str, value: bytes | None) -> None:
        """Keep a value of this machine's own; None removes it."""
        self._set("meta", name, value)

    def get(self, name: str) -> bytes | None:
        """Return a note of another part (a delivery's cursor, a rate limit), None if there is none."""
        return self._get("note", name)

    def put(self, name: str, value: bytes | None) -> None:
        """Keep a note of another part under a name of its own; None removes it."""
        self._set("note", name, value)

    def notes(self, prefix: str) -> dict[str, bytes]:
        """Return all notes whose names begin with ``prefix``."""
        rows = self._connection.execute(
            "SELECT name, value FROM note WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
        )
        return dict(rows.fetchall())

    def _get(self, table: str, name: str) -> bytes | None:
        row = self._connection.execute(f"SELECT value FROM {table} WHERE name = ?", (name,)).fetchone()  # noqa: S608
        return None if row is None else bytes(row[0])

    def _set(self, table: str, name: str, value: bytes | None) -> None:
        with self.transaction():
            self._begin()
            if value is None:
                self._connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608 - constants
            else:
                self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (name, value))  # noqa: S608

    def acknowledge(self, peer: str, said: Acknowledged | None) -> None:
        """Keep what a peer last acknowledged; None when it was removed from the member list."""
        with self.transaction():
            self._begin()
            if said is None:
                self._connection.execute(
                    "DELETE FROM acknowledged WHERE cluster = ? AND peer = ?", (self.cluster, peer)
                )
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO acknowledged (cluster, peer, incarnation, vector) VALUES (?, ?, ?, ?)",
                    (self.cluster, peer, said.incarnation, dumped(said.vector)),
                )

    def acknowledged(self) -> dict[str, Acknowledged]:
        """Return what each peer last acknowledged."""
        rows = self._connection.execute(
            "SELECT peer, incarnation, vector FROM acknowledged WHERE cluster = ?", (self.cluster,)
        )
        return {peer: Acknowledged(incarnation, json.loads(vector)) for peer, incarnation, vector in rows}

    def backup(self, path: Path) -> None:
        """Write a copy to a new file, as of now. Restored, it takes a new incarnation by itself.

        Raises:
            StoreError: the file exists already or cannot be written.
        """
        self.fold()
        try:
            self._connection.execute("VACUUM INTO ?", (str(path),))
            path.chmod(0o600)
        except sqlite3.Error as error:
            raise translated(error, path) from None


def dumped(vector: Context) -> str:
    """Return a vector as JSON, the same for equal vectors."""
    if not vector:
        return "{}"
    if len(vector) == 1:
        # Nearly every register that was overwritten: what the line below makes of it, at a fifth of its cost.
        ((origin, sequence),) = vector.items()
        if origin.isascii() and origin.isalnum():
            return f'{{"{origin}":{sequence}}}'
    return _SORTED.encode(dict(vector))
