"""Registers as rows of a table, as cells of the view, and the fingerprints that make up a digest."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from beonss.core.accounts.entries import AGING, LOCK, PUBLIC_FIELDS, PUBLIC_PREFIXES, is_public
from beonss.core.replication.packed import Cells, Source, shared
from beonss.core.replication.registers import Context, Key, Register, Stamp
from beonss.errors import MalformedError
from beonss.store.local import dumped

#: Of the tables "register" and "overruled", in the order of a row.
COLUMNS = "object, field, value, time, origin, sequence, author, context"
#: In SQL what :func:`beonss.core.accounts.entries.is_public` says.
IS_PUBLIC = " OR ".join(
    [f"field IN ({', '.join(repr(f) for f in sorted(PUBLIC_FIELDS))})"]
    + [f"substr(field, 1, {len(prefix)}) = {prefix!r}" for prefix in PUBLIC_PREFIXES]
)
_NO_CONTEXT: Context = {}
#: Fields of which many objects have the same values: the view keeps one of each.
_ALIKE = frozenset({AGING, LOCK})


@lru_cache(64)
def _shared_time(time: int) -> int:
    # One import, one time.
    return time


def to_register(row: Sequence[object]) -> Register:
    """Return the register in a row of :data:`COLUMNS`."""
    name, field, value, time, origin, sequence, author, context = row
    if field in _ALIKE:
        value = shared(bytes(value))  # type: ignore[call-overload]
    return Register(
        # Interned: the same few names stand in a hundred thousand registers that the view keeps.
        Key(sys.intern(str(name)), sys.intern(str(field))),
        bytes(value),  # type: ignore[call-overload]
        Stamp(_shared_time(int(time)), sys.intern(str(origin)), int(sequence)),  # type: ignore[call-overload]
        sys.intern(str(author)),
        _NO_CONTEXT if context == "{}" else json.loads(str(context)),
    )


class Packing:
    """Rows become cells (:mod:`beonss.core.replication.packed`): what a start does 400,000 times, so nothing twice.

    Attributes:
        high: per origin, the highest sequence number of a public register among the rows so far.
        count: of the rows so far.
    """

    def __init__(self) -> None:
        self.high: dict[str, int] = {}
        self.count = 0
        self._sources: dict[tuple[Any, ...], Source] = {}
        # Of each field its one name, and whether nodes get it.
        self._fields: dict[str, tuple[str, bool]] = {}

    def pack(self, batches: Iterable[Sequence[Sequence[Any]]]) -> Iterator[tuple[str, Cells]]:
        """Return the runs of rows of :data:`COLUMNS` that belong to one object each.

        Raises:
            MalformedError: something is in a row that no version of this program writes. No value is in the text.
        """
        fields, high = self._fields, self.high
        current: str | None = None
        cells: list[Any] = []
        last: tuple[Any, ...] = ()
        source: Source | None = None
        top = 0
        for batch in batches:
            self.count += len(batch)
            for identifier, field, value, time, origin, sequence, author, context in batch:
                if identifier != current:
                    if current is not None:
                        yield current, tuple(cells)
                    current, cells = identifier, []
                if type(value) is not bytes or type(sequence) is not int or type(identifier) is not str:
                    raise _odd(identifier, field)
                if source is None or last != (time, origin, author, context):
                    last = (time, origin, author, context)
                    source = self._source(identifier, field, last)
                    top = high.get(origin, 0)
                known = fields.get(field) or self._field(identifier, field)
                if sequence > top and known[1]:
                    top = high[origin] = sequence
                cells += (known[0], shared(value) if field in _ALIKE else value, sequence, source)
        if current is not None:
            yield current, tuple(cells)

    def _source(self, identifier: object, field: object, row: tuple[Any, ...]) -> Source:
        found = self._sources.get(row)
        if found is None:
            time, origin, author, context = row
            seen = _context(context)
            if type(time) is not int or type(origin) is not str or type(author) is not str or seen is None:
                raise _odd(identifier, field)
            found = self._sources[row] = (time, sys.intern(origin), sys.intern(author), seen)
        return found

    def _field(self, identifier: object, field: object) -> tuple[str, bool]:
        if type(field) is not str:
            raise _odd(identifier, field)
        known = (sys.intern(field), is_public(field))
        if ":" not in field and len(self._fields) < 100:
            # Not one for each member of each group.
            self._fields[known[0]] = known
        return known


def _context(text: object) -> Context | None:
    if text == "{}":
        return _NO_CONTEXT
    try:
        seen = json.loads(str(text))
    except (ValueError, RecursionError):
        return None
    good = isinstance(seen, dict) and all(type(number) is int for number in seen.values())
    return seen if good else None


def _odd(identifier: object, field: object) -> MalformedError:
    return MalformedError(f"the register {str(identifier)[:64]}/{str(field)[:64]} holds what this program never writes")


def to_row(register: Register) -> tuple[str, str, bytes, int, str, int, str, str]:
    """Return a register as a row of :data:`COLUMNS`."""
    return (*register.key, register.value, *register.stamp, register.author, dumped(register.context))


def fingerprint(register: Register) -> int:
    """Return a number that stands for a register.

    Sums of these modulo 2**256 do not depend on the order, and one register can be taken out again.
    """
    return fingerprint_of((*register.key, register.value, *register.stamp))


def fingerprint_of(row: tuple[str, str, bytes, int, str, int]) -> int:
    """Return the fingerprint of the register in the first columns of a row of :data:`COLUMNS`."""
    name, field, value, time, origin, sequence = row
    digest = hashlib.sha256(value).hexdigest()
    # What json.dumps makes of the list of these six, at a third of its cost: all masters have to make the same.
    text = f'[{_quoted(name)}, {_quoted(field)}, {time}, {_quoted(origin)}, {sequence}, "{digest}"]'
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def _quoted(text: str) -> str:
    plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else json.dumps(text)
