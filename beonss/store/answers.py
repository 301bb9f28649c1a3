"""What a replica has for another: the answers to its questions, in pages, and what is still held for it."""

from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Context, Register
from beonss.store.local import LocalDatabase
from beonss.store.rows import COLUMNS, IS_PUBLIC, to_register

#: Bytes of values after which a page ends, whatever its limit of rows.
PAGE_BYTES = 1 << 20
#: Registers that are looked up at once: for a page of a thousand, half the time of one by one.
ASKED = 64
_ONE = f"SELECT {COLUMNS}, id FROM register WHERE id = ?"  # noqa: S608 - constants
_CHOSEN = f"SELECT {COLUMNS}, id FROM register WHERE id IN ({', '.join(['?'] * ASKED)}) ORDER BY id"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Buffered:
    """The registers that a peer's acknowledged vector does not cover.

    Attributes:
        count: how many.
        objects: ids of the accounts and groups they belong to, each with how many of its registers.
    """

    count: int
    objects: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The rest of an answer: row numbers stay valid, and a row overwritten meanwhile only holds something newer."""

    vector: Context
    rows: "array[int]"
    position: int
    number: int


class AnsweringDatabase(LocalDatabase):
    """The part of :class:`beonss.store.database.Database` that answers other replicas."""

    _vector: dict[str, int]

    def vector(self) -> dict[str, int]:
        """Return what this replica covers: incarnation -> sequence number."""
        return {origin: sequence for origin, sequence in self._vector.items() if sequence}

    @abstractmethod
    def fold(self) -> None:
        """Put all registers into the tables; everything that reads the tables begins with this."""

    def page(
        self, question: Context, more: object | None = None, *, public_only: bool = False, limit: int = 1000
    ) -> Page:
        """Return the next page of the answer to a question.

        The answer is cut with its first page: it holds every register that the question does not cover, or what
        overwrote it since, and ends with the vector of that moment.

        Args:
            question: the asker's vector.
            more: :attr:`Page.more` of the page before; None to begin.
            public_only: leave out what only masters hold.
            limit: rows in a page at most; values of more than 1 MiB together also end a page.
        """
        answer = more if isinstance(more, _Answer) else self._cut(question, public_only=public_only)
        rows: list[Register] = []
        size, position = 0, answer.position
        while position < len(answer.rows) and len(rows) < limit and (not rows or size < PAGE_BYTES):
            chosen = answer.rows[position : position + min(ASKED, limit - len(rows))]
            # Only whole requests, so that there are two statements and not one for each number of rows.
            statement, count = (_CHOSEN, ASKED) if len(chosen) == ASKED else (_ONE, 1)
            cursor = self._connection.execute(statement, chosen[:count])
            for *row, identifier in cursor:
                rows.append(to_register(row))
                size += len(row[2])
                if size >= PAGE_BYTES:
                    position += chosen.index(identifier) + 1
                    break
            else:
                # Also those that are not there any more.
                position += count
            cursor.close()
        if position < len(answer.rows):
            rest = _Answer(answer.vector, answer.rows, position, answer.number + 1)
            return Page(answer.number, rows, None, rest)
        return Page(answer.number, rows, answer.vector)

    def pages(self, question: Context, *, public_only: bool = False, limit: int = 1000) -> Iterator[Page]:
        """Return all pages of the answer to a question, each read when it is asked for."""
        page = self.page(question, public_only=public_only, limit=limit)
        yield page
        while page.more is not None:
            page = self.page(question, page.more, public_only=public_only, limit=limit)
            yield page

    def _cut(self, question: Context, *, public_only: bool) -> _Answer:
        self.fold()
        rows = array("q")
        for origin in self._vector:
            rows.extend(
                row[0]
                for row in self._connection.execute(
                    "SELECT id FROM register WHERE cluster = ? AND origin = ? AND sequence > ?"  # noqa: S608
                    + (f" AND ({IS_PUBLIC})" if public_only else ""),
                    (self.cluster, origin, question.get(origin, 0)),
                )
            )
        return _Answer(self.vector(), array("q", sorted(rows)), 0, 0)

    def buffered(self, vector: Context, *, public_only: bool = False) -> Buffered:
        """Return what is held here for a peer: the registers that the vector it acknowledged does not cover."""
        self.fold()
        objects: dict[str, int] = {}
        for origin in self._vector:
            for name, count in self._connection.execute(
                "SELECT object, count(*) FROM register WHERE cluster = ? AND origin = ? AND sequence > ?"  # noqa: S608
                + (f" AND ({IS_PUBLIC})" if public_only else "")
                + " GROUP BY object",
                (self.cluster, origin, vector.get(origin, 0)),
            ):
                objects[name] = objects.get(name, 0) + count
        return Buffered(sum(objects.values()), objects)
