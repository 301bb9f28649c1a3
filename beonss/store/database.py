"""The registers of one cluster on one machine, in one SQLite file: blocking, one connection, one thread.

Writes stamp and number in the transaction that makes them; a merge moves the vector only with what it covers. See
schema/v1.sql for the tables and :mod:`beonss.store.writer` for the thread that owns a database in a daemon.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from beonss.core.accounts.entries import is_public
from beonss.core.replication.packed import Cells
from beonss.core.replication.registers import (
    ABSENT,
    MAX_TIME,
    MAX_VALUE,
    MAX_WALL,
    Change,
    Context,
    Key,
    Register,
    Stamp,
    check_register,
    check_vector,
    is_incarnation,
    next_context,
    next_time,
)
from beonss.errors import MalformedError, Refused, StoreError
from beonss.store.answers import ASKED
from beonss.store.commits import GENERATION_BYTES, CommitFile, Commits, DiskFile, read_commit
from beonss.store.conforming import conform
from beonss.store.counting import CountingDatabase
from beonss.store.failures import BrokenStoreError, DiskFullError, UnusableStoreError, translated
from beonss.store.local import Scope
from beonss.store.opening import file_system_magic
from beonss.store.overruled import Overruled
from beonss.store.rows import COLUMNS, Packing, to_register, to_row
from beonss.store.unfolded import Unfolded
from beonss.wire.packing import pack
from beonss.wire.registers import register_to_plain

_HELD = (
    f"WITH wanted (o, f) AS (VALUES {', '.join(['(?, ?)'] * ASKED)})"  # noqa: S608 - constants
    # "CROSS": those that are wanted are looked up, not all looked through.
    f" SELECT {COLUMNS} FROM wanted CROSS JOIN register ON cluster = ? AND object = o AND field = f"
)
#: Registers beside the tables from which on a commit folds them in.
FOLD_ROWS = 2000
#: A commit of so many registers goes into the tables itself.
FOLD_AT_ONCE = 256
#: Rows in one statement: the interpreter's lock changes hands once for each statement. SQLite 3.34 takes 32,766 values.
_ROWS_TOGETHER = 100
_UPSERT = (
    f"INSERT INTO register (cluster, {COLUMNS}) VALUES {{}}"  # noqa: S608 - constants
    " ON CONFLICT (cluster, object, field) DO UPDATE SET value = excluded.value, time = excluded.time,"
    " origin = excluded.origin, sequence = excluded.sequence, author = excluded.author,"
    " context = excluded.context"
)
#: The note that commits were lost, with a text for people.
LOST = "lost"
_LOST = (
    "{path}: a commit in it was damaged after it was written (at byte {position}); {behind} behind it could be read. "
    "What the other masters have of it comes back by itself. Changes that were made on this master in its last seconds "
    "and that no other master had may be missing: look at `beonss audit`, and make them again. "
    "Check the disk of this machine (the kernel's log says more)"
)
_UPSERT_ONE = _UPSERT.format("(?, ?, ?, ?, ?, ?, ?, ?, ?)")
_UPSERT_TOGETHER = _UPSERT.format(", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * _ROWS_TOGETHER))


class Database(CountingDatabase):
    """A cluster's registers on this machine; implements :class:`beonss.core.replication.pulling.Replica`.

    Takes the arguments of :class:`~beonss.store.local.LocalDatabase`, is as little thread-safe, and two more:

    Args:
        quick: make commits of registers durable in a file beside the database and fold them into its tables now and
            then (:mod:`beonss.store.commits`): for a daemon, which commits often. What such a file holds is
            taken in in any case.
        commit_file: opens that file (an argument for tests).
    """

    def __init__(
        self,
        path: Path | str,
        cluster: str,
        *,
        scope: Scope = "all",
        durable: bool = True,
        magic: Callable[[Path], int] = file_system_magic,
        quick: bool = False,
        commit_file: Callable[[Path], CommitFile] = DiskFile,
    ) -> None:
        #: Registers beside the tables from which on a commit folds them in.
        self.fold_rows = FOLD_ROWS
        self._unfolded = Unfolded()
        self._commits: Commits | None = None
        # Whether the file of commits or the WAL may hold values that were replaced.
        self._traces = False
        # How much was put there before the transaction that is under way.
        self._puts_before = 0
        # Named in the tables by the transaction that is under way.
        self._generation: bytes | None = None
        self._vector: dict[str, int] = {}
        # What the table "vector" holds, and what is durable in it or in the file of commits: it is written once for
        # each commit, however many jobs moved it.
        self._stored_vector: dict[str, int] = {}
        self._durable_vector: dict[str, int] = {}
        # The incarnation written with, and its highest number; None when that has to be looked up.
        self._written: tuple[str, int] | None = None
        try:
            super().__init__(path, cluster, scope=scope, durable=durable, magic=magic)
            self._open(quick=quick and durable, commit_file=commit_file)
        except DiskFullError:
            raise DiskFullError(
                f"{path}: the disk is full, and a start needs some room to put the latest changes into the tables. "
                "Nothing was changed, and nothing is lost; free some space there and start again"
            ) from None

    def _open(self, *, quick: bool, commit_file: Callable[[Path], CommitFile]) -> None:
        self._vector = self._read_vector()
        self._stored_vector = self._durable_vector = dict(self._vector)
        self._overruled = Overruled(self._connection, self.cluster)
        try:
            self._recover(quick=quick, commit_file=commit_file)
        except BaseException:
            self._connection.close()
            raise

    # --- commits that are not in the tables yet ----------------------------------------------------------------------

    def _recover(self, *, quick: bool, commit_file: Callable[[Path], CommitFile]) -> None:
        """Take in what the last process left in the file of commits."""
        generation = self.meta("commits")
        if self.path == ":memory:" or not (quick or generation is not None):
            return
        path = Path(f"{self.path}-commits")
        commits = Commits(commit_file(path), path)
        try:
            with self.transaction():
                found = commits.read(generation)
                for body in found.whole:
                    rows, vector = read_commit(body, path)
                    # The tables hold what is older, unless a version wrote there that knows no such file.
                    self._take_newer(rows)
                    self._move_vector(vector)
                if behind := self._take_behind(found.behind, path):
                    # Kept until there is another incarnation: the numbers of what is missing were told.
                    self.set_meta(LOST, _LOST.format(path=path, position=found.position, behind=behind).encode())
                # Durable in the tables before anybody hears of it; with another generation the records are void.
                self._begin()
                if quick:
                    self._commits = commits
                else:
                    self._connection.execute("DELETE FROM meta WHERE name = 'commits'")
            commits.cut()
        except BaseException:
            self._commits = None
            commits.close()
            raise
        if not quick:
            commits.close()

    def _take_newer(self, rows: Iterable[Register]) -> bool:
        """Take in those that beat what is held; say whether there were any."""
        newer = False
        for row in rows:
            held = self.register(row.key)
            if held is None or row.beats(held):
                self._unfolded.put(row)
                newer = True
        return newer

    def _take_behind(self, bodies: Iterable[bytes], path: Path) -> int:
        """Take in commits behind one that cannot be read; return how many.

        Those of an older generation hold nothing new, as all of it is in the tables; with the first of them this ends.
        The vector does not move: it would cover what is missing. So the rows are like those of half an answer
        (:meth:`unfinished`): whoever has the rest sends it, or they are adopted.
        """
        count = 0
        for body in bodies:
            try:
                rows, vector = read_commit(body, path)
            except UnusableStoreError:
                break
            if not self._take_newer(rows) and all(self._vector.get(o, 0) >= n for o, n in vector.items()):
                break
            self._move_vector({row.stamp.origin: 0 for row in rows})
            count += 1
        return count

    @property
    def unfolded(self) -> int:
        """How many registers are durable beside the tables, to be folded when there is time."""
        return len(self._unfolded)

    @property
    def restless(self) -> bool:
        """Whether :meth:`rest` would do something."""
        return self._traces or self._vector != self._stored_vector

    def rest(self) -> None:
        """Use a quiet moment: put everything into the tables, and leave no replaced hash in the files beside them.

        Raises:
            StoreError: there is no room just now; nothing is lost.
        """
        self._store_all()
        if not self._traces:
            return
        if self._commits is not None:
            self._commits.cut()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from None
        self._traces = False

    def _store_all(self) -> None:
        if self._unfolded or self._vector != self._stored_vector:
            with self.transaction():
                self._begin()

    def fold(self) -> None:
        """Put all registers into the tables; everything that reads the tables begins with this."""
        if self._unfolded:
            with self.transaction():
                self._fold_rows()

    def _fold_rows(self) -> None:
        if not self._unfolded:
            return
        # Inside a job, what is read next may be read all the same where there is no room to keep it so.
        self._begin(folding=len(self._levels) > 1)
        rows = [(self.cluster, *to_row(row)) for row in self._unfolded.take()]
        whole = len(rows) - len(rows) % _ROWS_TOGETHER
        for start in range(0, whole, _ROWS_TOGETHER):
            together = rows[start : start + _ROWS_TOGETHER]
            self._connection.execute(_UPSERT_TOGETHER, [value for row in together for value in row])
        self._connection.executemany(_UPSERT_ONE, rows[whole:])

    def _into_tables(self) -> None:
        """Have SQLite commit all that is not in the tables yet; the records of this generation are void then."""
        moved = [(self.cluster, *item) for item in self._vector.items() if self._stored_vector.get(item[0]) != item[1]]
        if not (self._levels[0] or self._unfolded or moved):
            return
        self._begin(folding=True)
        self._fold_rows()
        self._connection.executemany(
            "INSERT INTO vector (cluster, origin, sequence) VALUES (?, ?, ?)"
            " ON CONFLICT (cluster, origin) DO UPDATE SET sequence = excluded.sequence",
            moved,
        )
        if self._commits is not None:
            # Also where the file is empty: a copy of the database from before this takes no record from after it.
            self._generation = os.urandom(GENERATION_BYTES)
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('commits', ?)", (self._generation,))

    def _complete(self) -> None:
        commits, changed = self._commits, self._unfolded.mark
        if self._levels[0] or commits is None or changed >= FOLD_AT_ONCE or len(self._unfolded) > self.fold_rows:
            self._into_tables()
            return
        moved = {origin: n for origin, n in self._vector.items() if self._durable_vector.get(origin) != n}
        if changed or moved:
            body = pack([[register_to_plain(row) for row in self._unfolded.changed()], moved])
            if commits.has_room(body):
                commits.append(body)
            else:
                # Also the same few registers, changed again and again without a pause, end up here.
                self._into_tables()

    def _dispensable(self, error: BaseException) -> bool:
        """Say so of a job that only read, on a full disk: the tables were brought up to date for it alone."""
        return (
            getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            and not self._stored_anything
            and self._unfolded.puts == self._puts_before
            and self._vector == self._durable_vector
        )

    def _settled(self, *, stored: bool) -> None:
        self._traces = self._traces or self._unfolded.mark > 0
        self._unfolded.settle()
        if self._durable_vector != self._vector:
            self._durable_vector = dict(self._vector)
        if stored:
            self._stored_vector = self._durable_vector
            if self._generation is not None and self._commits is not None:
                self._commits.begin(self._generation)
            self._generation = None

    def close(self) -> None:
        """Put everything into the tables and close the files; the WAL is folded into the database's."""
        try:
            self._store_all()
        finally:
            commits, self._commits = self._commits, None
            if commits is not None:
                if not self._unfolded:
                    commits.cut()
                commits.close()
            super().close()

    def _remembered(self) -> object:
        if not self._levels:
            self._puts_before = self._unfolded.puts
        return dict(self._vector), self._count, self._recount, self._written, self._unfolded.mark

    def _recall(self, before: object) -> None:
        assert isinstance(before, tuple)
        # Also the own number: looked up instead, it would have the next change fold, which needs more room.
        self._vector, self._count, self._recount, self._written, mark = before
        self._unfolded.undo(mark)
        self._generation = None

    # --- registers ---------------------------------------------------------------------------------------------------

    def known(self, incarnation: str) -> int:
        """Return the highest sequence number of an incarnation seen here, 0 if none.

        It may be above the vector: the rows of an unfinished answer are here before the vector that covers them.
        """
        self.fold()
        highest = self._connection.execute(
            "SELECT max(sequence) FROM register WHERE cluster = ? AND origin = ?", (self.cluster, incarnation)
        ).fetchone()[0]
        return max(highest or 0, self._vector.get(incarnation, 0))

    def register(self, key: Key) -> Register | None:
        """Return one register."""
        found = self._unfolded.rows.get(key)
        if found is not None:
            return found
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM register WHERE cluster = ? AND object = ? AND field = ?",  # noqa: S608 - constants
            (self.cluster, *key),
        ).fetchone()
        return None if row is None else to_register(row)

    def registers(self, batch: int = 5000) -> Iterator[list[Register]]:
        """Return all registers in batches, for the start; writes between two batches are seen or not."""
        last = 0
        while True:
            self.fold()
            rows = self._connection.execute(
                # "+": not by an index of the cluster, which is all there is; that would sort everything for each batch.
                f"SELECT {COLUMNS}, id FROM register WHERE id > ? AND +cluster = ? ORDER BY id LIMIT ?",  # noqa: S608
                (last, self.cluster, batch),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][-1]
            yield [to_register(row[:-1]) for row in rows]

    def packed(self, packing: Packing) -> Iterator[tuple[str, Cells]]:
        """Return the registers of all objects, as :meth:`beonss.core.accounts.view.AccountView.load` takes them.

        In one go, as one job; those of one object most often stand together.

        Raises:
            BrokenStoreError: a row holds what this program never writes.
        """
        self.fold()
        cursor = self._connection.execute(
            f"SELECT {COLUMNS} FROM register WHERE +cluster = ? ORDER BY id",  # noqa: S608 - constants
            (self.cluster,),
        )
        # So few that they are still in the processor's cache when they are packed: half the time of 5000.
        batches = iter(lambda: cursor.fetchmany(256), [])
        try:
            yield from packing.pack(batches)
        except MalformedError as error:
            raise BrokenStoreError(
                f"{self.path}: {error}: it was changed by hand or by another program, and is left as it is. "
                "Move it away and let this machine fetch its state from another master, or restore a backup"
            ) from None
        except sqlite3.Error as error:
            raise translated(error, self.path) from None

    def write(self, changes: Sequence[Change], wall_ms: int, author: str, incarnation: str) -> list[Register]:
        """Write changes made on this machine, all or none; return them stamped and numbered.

        Args:
            changes: in the order of their sequence numbers.
            wall_ms: this machine's clock, ms since the epoch.
            author: for people; what is no text in it is escaped.
            incarnation: of this machine; see :mod:`beonss.core.replication.incarnation`.

        Raises:
            Refused: ``changed-meanwhile``: a register is not as the change expects; ``too-big``.
            StoreError: it could not be written.
        """
        if not is_incarnation(incarnation):
            raise StoreError(f"{self.path}: {incarnation!r} is no incarnation; nothing was written")
        author = author.encode("utf-8", "backslashreplace").decode()[:255]
        with self.transaction():
            known = self._written
            sequence = known[1] if known is not None and known[0] == incarnation else self.known(incarnation)
            held = self._held([change.key for change in changes])
            written: list[Register] = []
            puts: list[tuple[Register | None, Register]] = []
            for change in changes:
                sequence += 1
                old = held.get(change.key)
                new = self._write_one(change, wall_ms, author, Stamp(0, incarnation, sequence), old)
                written.append(new)
                puts.append((old, new))
                held[change.key] = new
            self._put(puts)
            if written:
                self._move_vector({incarnation: sequence})
            self._written = (incarnation, sequence)
        return written

    def write_or_refuse(
        self, changes: Sequence[Change], wall_ms: int, author: str, incarnation: str
    ) -> list[Register] | Refused | StoreError:
        """Write as :meth:`write` does; return why not where that concerns this write alone. For many in one job.

        Raises:
            StoreError: the writes before it in the same job are undone as well.
        """
        try:
            return self.write(changes, wall_ms, author, incarnation)
        except Refused as refusal:
            return refusal
        except StoreError as error:
            if isinstance(error, BrokenStoreError) or not self.in_transaction:
                raise
            return error

    def _write_one(self, change: Change, wall_ms: int, author: str, number: Stamp, old: Register | None) -> Register:
        """Return the register that a change makes of the one held; ``number`` is its stamp without the time."""
        key = change.key
        if len(change.value) > MAX_VALUE:
            raise Refused("too-big", f"a value of {len(change.value)} bytes; at most {MAX_VALUE} are stored")
        if change.expect is not None and change.expect != (ABSENT if old is None else old.stamp):
            raise Refused(
                "changed-meanwhile", "somebody else changed the same entry in this moment; look at it and try again"
            )
        time = next_time(min(max(wall_ms, 0), MAX_WALL), old)
        if time > MAX_TIME:
            raise StoreError(f"register {key.object}/{key.field} has the highest possible stamp and cannot be written")
        loser = self._overruled.at(key)
        context = next_context(*(seen for seen in (old, loser) if seen is not None))
        if loser is not None:
            self._overruled.drop(key, self._begin)
        return Register(key, change.value, number._replace(time=time), author, context)

    def merge(self, rows: Iterable[Register], vector: Context | None = None) -> list[Register]:
        """Merge a page of another replica's answer; return the rows that won.

        Args:
            rows: stored and relayed also where this version cannot read them.
            vector: the sender's, with the last page only; this replica's then covers it too, in the same transaction.

        Raises:
            MalformedError: a row cannot be what a master sent; nothing of the page was merged.
            StoreError: it could not be written.
        """
        rows = list(rows)
        for row in rows:
            check_register(row)
            if self.scope == "public" and not is_public(row.key.field):
                raise MalformedError(f"a peer sent this node a register that only masters hold ({row.key.field!r})")
        if vector is not None:
            check_vector(vector)
        if not rows and vector is not None and all(self._vector.get(o, 0) >= n for o, n in vector.items()):
            return []
        with self.transaction():
            held = self._held([row.key for row in rows])
            puts: list[tuple[Register | None, Register]] = []
            for row in rows:
                old = held.get(row.key)
                if self._wins(old, row):
                    puts.append((old, row))
                    held[row.key] = row
            self._put(puts)
            self._move_vector({row.stamp.origin: 0 for row in rows})
            if vector is not None:
                self._move_vector(vector)
            self._look_up_own(rows, vector or {})
        return [row for _, row in puts]

    def _look_up_own(self, rows: Sequence[Register], vector: Context) -> None:
        """Forget the own highest number where a peer knows a higher one (a restored or cloned machine)."""
        if self._written is not None:
            mine, highest = self._written
            if vector.get(mine, 0) > highest or any(
                row.stamp.origin == mine and row.stamp.sequence > highest for row in rows
            ):
                self._written = None

    def _wins(self, old: Register | None, row: Register) -> bool:
        """Say whether a register that came replaces the one held; a concurrent one that loses is noted."""
        if old is None:
            return True
        if self.scope == "all":
            self._overruled.note(old, row, self._begin)
        return row.beats(old)

    def _held(self, keys: Sequence[Key]) -> dict[Key, Register]:
        """Return those registers that are here."""
        held: dict[Key, Register] = {}
        whole = len(keys) - len(keys) % ASKED
        for start in range(0, whole, ASKED):
            names = [name for key in keys[start : start + ASKED] for name in key]
            for row in self._connection.execute(_HELD, (*names, self.cluster)):
                register = to_register(row)
                held[register.key] = register
        unfolded = self._unfolded.rows
        if unfolded:
            held.update((key, unfolded[key]) for key in keys[:whole] if key in unfolded)
        for key in keys[whole:]:
            found = self.register(key)
            if found is not None:
                held[key] = found
        return held

    def _put(self, puts: Sequence[tuple[Register | None, Register]]) -> None:
        """Store registers, each over the one that is held so far."""
        for _, new in puts:
            self._unfolded.put(new)
        self._changed(puts)

    def _move_vector(self, vector: Context) -> None:
        for origin, sequence in vector.items():
            if self._vector.get(origin, -1) < sequence:
                self._vector[origin] = sequence

    def _read_vector(self) -> dict[str, int]:
        return dict(
            self._connection.execute(
                "SELECT origin, sequence FROM vector WHERE cluster = ?", (self.cluster,)
            ).fetchall()
        )

    def overruled(self) -> list[Register]:
        """Return the last concurrent write that lost of each register (:mod:`beonss.store.overruled`)."""
        return self._overruled.all()

    # --- all of them ------------------------------------------------------------------------------------------------

    def unfinished(self) -> dict[str, int]:
        """Return the origins of which rows are here that the vector does not cover (yet), with the highest number.

        They came with the first pages of an answer whose last page has not come.
        """
        highest = {origin: self.known(origin) for origin in self._vector}
        return {origin: number for origin, number in highest.items() if number > self._vector[origin]}

    def adopt(self, origins: Iterable[str], incarnation: str) -> list[Register]:
        """Write again, as this machine's own, the rows of ``origins`` that no vector will ever cover; return them.

        They are what an interrupted answer left here of a master that then lost its disk: nobody numbers on where it
        stopped, so they would be sent with every answer and count as buffered for ever. Value and author stay.
        """
        adopted: list[Register] = []
        with self.transaction():
            sequence = self.known(incarnation)
            self.fold()
            for origin in origins:
                for row in self._connection.execute(
                    f"SELECT {COLUMNS} FROM register"  # noqa: S608 - constants
                    " WHERE cluster = ? AND origin = ? AND sequence > ? ORDER BY sequence",
                    (self.cluster, origin, self._vector.get(origin, 0)),
                ).fetchall():
                    old = to_register(row)
                    sequence += 1
                    stamp = Stamp(next_time(0, old), incarnation, sequence)
                    adopted.append(Register(old.key, old.value, stamp, old.author, next_context(old)))
                    self._put([(old, adopted[-1])])
            if adopted:
                self._move_vector({incarnation: sequence})
            self._written = (incarnation, sequence)
        return adopted

    def conform(self, stamps: Mapping[Key, Stamp], rows: Iterable[Register], vector: Context) -> None:
        """Hold exactly what another replica's answer held; see :mod:`beonss.store.conforming`."""
        check_vector(vector)
        with self.transaction():
            self._begin()
            # Written again with the transaction, whole.
            self._stored_vector, self._vector = {}, {}
            conform(self._connection, self.cluster, self.registers(), stamps, rows)
            self._move_vector({stamp.origin: 0 for stamp in stamps.values()})
            self._move_vector(vector)
            self._count = self._recount = self._written = None
