"""The registers of one object in little memory: four cells of a tuple for each instead of five Python objects.

A master of 100,000 users holds 400,000 registers and looks at few of them. So they are kept as they came, unread, and
what the registers of one commit have in common - time, origin, author, context - is kept once.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from beonss.core.replication.registers import Context, Key, Register, Stamp

#: What registers of one commit share: time in ms, origin, author, context.
Source = tuple[int, str, str, Context]
#: field, value, sequence, :data:`Source`; then the same of the next register.
Cells = tuple[Any, ...]
#: One register of an object that has many: value, sequence, source.
Cell = tuple[bytes, int, Source]

#: Registers of one object from which on they are looked up by a dict: a group has one for each member.
MANY = 16


T = TypeVar("T")
#: Bytes of the longest value that is remembered with what was read in it: a MiB of hostile bytes is not.
SHORT = 1024


def remembered(size: int) -> Callable[[Callable[[bytes], T]], Callable[[bytes], T]]:
    """Return a decorator that keeps the last ``size`` results of a function of short values."""

    def decorate(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
        cached = lru_cache(size)(function)
        return lambda value: cached(value) if len(value) <= SHORT else function(value)

    return decorate


@remembered(1024)
def shared(value: bytes) -> bytes:
    """Return one and the same object for equal values; for fields that most objects have alike."""
    return value


def cell_at(cells: Cells, field: str) -> int:
    """Return where the cells of a field begin, -1 if there are none."""
    for at in range(0, len(cells), 4):
        if cells[at] == field:
            return at
    return -1


def value_in(cells: Cells, field: str) -> bytes | None:
    """Return the value of a field, None if there is no such register."""
    for at in range(0, len(cells), 4):
        if cells[at] == field:
            value: bytes = cells[at + 1]
            return value
    return None


def source_of(register: Register, like: Source | None = None) -> Source:
    """Return what a register shares with others; ``like`` itself if it is the same."""
    (time, origin, _), author, context = register.stamp, register.author, register.context
    if like is not None and like == (time, origin, author, context):
        return like
    return (time, origin, author, context)


class PackedRegisters:
    """All registers of one object.

    Attributes:
        id: the object's id.
        fields: cells, replaced by others when something changes; or, where there are many, a dict that is changed.
    """

    __slots__ = ("fields", "id")

    def __init__(self, identifier: str, cells: Cells = ()) -> None:
        self.id = identifier
        self.fields: Cells | dict[str, Cell] = cells
        if len(cells) > 4 * MANY:
            self._spread()

    def value(self, field: str) -> bytes | None:
        """Return the value of a field, None if there is no such register."""
        fields = self.fields
        if isinstance(fields, tuple):
            return value_in(fields, field)
        cell = fields.get(field)
        return None if cell is None else cell[0]

    def register(self, field: str) -> Register | None:
        """Return the register of a field."""
        fields = self.fields
        if isinstance(fields, tuple):
            at = cell_at(fields, field)
            return None if at < 0 else _register(self.id, fields[at], *fields[at + 1 : at + 4])
        cell = fields.get(field)
        return None if cell is None else _register(self.id, field, *cell)

    def registers(self) -> Iterator[Register]:
        """Return all registers."""
        return unpacked(self.id, self.cells())

    def names(self) -> tuple[str, ...]:
        """Return the fields of which there are registers."""
        return self.fields[::4] if isinstance(self.fields, tuple) else tuple(self.fields)

    def cells(self) -> Cells:
        """Return all registers as cells."""
        if isinstance(self.fields, tuple):
            return self.fields
        return tuple(part for field, cell in self.fields.items() for part in (field, *cell))

    def take(self, register: Register, like: Source | None = None) -> Source | None:
        """Merge a register of this object in.

        Args:
            register: it.
            like: of the register before it, to be shared.

        Returns:
            its source; None if it loses against the one held, and nothing changed.
        """
        field = register.key.field
        old = self.register(field)
        if old is not None and not register.beats(old):
            return None
        source = source_of(register, like)
        cell = (register.value, register.stamp.sequence, source)
        fields = self.fields
        if not isinstance(fields, tuple):
            fields[field] = cell
        elif old is None:
            self.fields = (*fields, field, *cell)
            if len(self.fields) > 4 * MANY:
                self._spread()
        else:
            at = cell_at(fields, field) + 1
            self.fields = fields[:at] + cell + fields[at + 3 :]
        return source

    def add(self, cells: Cells) -> None:
        """Merge more registers of this object in."""
        fields = self.fields
        if isinstance(fields, tuple) and set(fields[::4]).isdisjoint(cells[::4]):
            self.fields = fields + cells
            if len(self.fields) > 4 * MANY:
                self._spread()
        else:
            for register in unpacked(self.id, cells):
                self.take(register)

    def _spread(self) -> None:
        cells = self.cells()
        self.fields = {cells[at]: cells[at + 1 : at + 4] for at in range(0, len(cells), 4)}


def unpacked(identifier: str, cells: Cells) -> Iterator[Register]:
    """Return the registers in cells."""
    return (_register(identifier, cells[at], *cells[at + 1 : at + 4]) for at in range(0, len(cells), 4))


def _register(identifier: str, field: str, value: bytes, sequence: int, source: Source) -> Register:
    time, origin, author, context = source
    return Register(Key(identifier, field), value, Stamp(time, origin, sequence), author, context)
