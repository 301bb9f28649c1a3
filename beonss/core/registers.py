"""Registers and their merge: the unit of replication.

A master's account state is a map of *registers*, not a log. Each register is one field of one object
(a user's ``password``, a group's ``member:<id>``) and is overwritten as a whole. Merging two states takes,
register by register, the higher (stamp, origin, sequence): commutative, associative and idempotent, so
duplicates, reordering and replays do no harm (docs/explanation/replication.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Key(NamedTuple):
    """Which register: an object's immutable id (32 hex digits) and one of its fields."""

    object: str
    field: str


class Stamp(NamedTuple):
    """The order of two values of one register.

    Attributes:
        time: milliseconds since the epoch on the writer's clock, or one more than the stamp it had seen.
        origin: incarnation of the master that wrote it, 32 hex digits; breaks ties.
        sequence: the writer's sequence number, dense per incarnation, from 1.
    """

    time: int
    origin: str
    sequence: int


#: incarnation -> highest sequence number covered.
Context = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Register:
    """One value of one register, as stored and as sent; unknown fields and values are relayed unread.

    Attributes:
        key: object and field.
        value: canonical JSON (see :mod:`beonss.core.accounts`), opaque to replication.
        stamp: decides a merge.
        author: who made the change, for people (``root@frodo``, ``alice@r01n07``).
        context: the writes this one is known to have overwritten; it tells an overwrite from a concurrent write.
    """

    key: Key
    value: bytes
    stamp: Stamp
    author: str = ""
    context: Context = field(default_factory=dict)

    def beats(self, other: "Register") -> bool:
        """Say whether this value replaces ``other`` in a merge."""
        return self.stamp > other.stamp

    def saw(self, other: "Register") -> bool:
        """Say whether the writer of this value had seen ``other`` (it is no concurrent write)."""
        return self.context.get(other.stamp.origin, 0) >= other.stamp.sequence


def merged(mine: Register | None, theirs: Register) -> Register:
    """Return the winner of two values of one register."""
    return theirs if mine is None or theirs.beats(mine) else mine


def next_time(wall: int, seen: Register | None) -> int:
    """Return the stamp time, in ms, of a change made now over the value that was seen.

    A change made after seeing another always beats it, whatever the clocks say; no other state is
    touched by a bad clock.
    """
    return wall if seen is None else max(wall, seen.stamp.time + 1)


def covers(vector: Context, stamp: Stamp) -> bool:
    """Say whether a replica with ``vector`` holds the write ``stamp``, or one that beats it."""
    return vector.get(stamp.origin, 0) >= stamp.sequence


def joined(*vectors: Context) -> dict[str, int]:
    """Return the least vector that covers all of ``vectors``."""
    result: dict[str, int] = {}
    for vector in vectors:
        for origin, sequence in vector.items():
            if sequence > result.get(origin, 0):
                result[origin] = sequence
    return result


def missing_registers(registers: Iterable[Register], vector: Context) -> list[Register]:
    """Return those of ``registers`` that ``vector`` does not cover: what its owner still has to get."""
    return [register for register in registers if not covers(vector, register.stamp)]
