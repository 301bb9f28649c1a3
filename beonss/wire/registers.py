"""Registers on the wire, for masters and for nodes alike."""

from collections.abc import Iterable, Iterator
from typing import Any

from beonss.core.replication.registers import Key, Register, Stamp
from beonss.errors import MalformedError
from beonss.wire.packing import vector

#: Rows are packed until a page has about so many bytes.
PAGE_BYTES = 512 << 10
#: No page has more rows.
MAXIMUM_ROWS = 1 << 16


def register_to_plain(register: Register) -> list[Any]:
    """Return a register as a MessagePack array."""
    stamp = register.stamp
    return [
        register.key.object,
        register.key.field,
        register.value,
        stamp.time,
        stamp.origin,
        stamp.sequence,
        register.author,
        dict(register.context),
    ]


def register_from_plain(item: Any) -> Register:
    """Read a register; fields that a newer version may append are ignored.

    Raises:
        MalformedError: it is none.
    """
    if isinstance(item, list) and len(item) >= 8:
        identity, name, value, time, origin, sequence, author, context = item[:8]
        if (
            (isinstance(identity, str) and isinstance(name, str) and isinstance(value, bytes))
            and (type(time) is int and 0 <= time < 1 << 63 and isinstance(origin, str) and len(origin) <= 64)
            and (type(sequence) is int and 0 <= sequence < 1 << 63 and isinstance(author, str))
        ):
            stamp = Stamp(time, origin, sequence)
            return Register(Key(identity, name), value, stamp, author, vector(context, "register"))
    raise MalformedError("a register from a peer has a wrong shape")


def registers_from_plain(items: list[Any]) -> tuple[Register, ...]:
    """Read several registers; raises as :func:`register_from_plain`."""
    return tuple(register_from_plain(item) for item in items)


def parcels(rows: Iterable[Register], target: int = PAGE_BYTES) -> Iterator[tuple[Register, ...]]:
    """Cut rows into runs of about ``target`` bytes, so no frame passes its limit; at least one run, perhaps empty."""
    run: list[Register] = []
    size = 0
    for row in rows:
        # Texts of four-byte characters, stamps, sequence and context: an upper bound is good enough.
        cost = len(row.value) + 4 * (len(row.key.field) + len(row.author)) + 64 + 48 * (1 + len(row.context))
        if run and size + cost > target:
            yield tuple(run)
            run, size = [], 0
        run.append(row)
        size += cost
    yield tuple(run)
