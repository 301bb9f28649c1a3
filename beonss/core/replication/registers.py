"""Registers and their merge: the unit of replication.

A master's account state is a map of *registers*, not a log. Each register is one field of one object
(a user's ``password``, a group's ``member:<id>``) and is overwritten as a whole. Merging two states takes,
register by register, the higher (stamp, origin, sequence): commutative, associative and idempotent, so
duplicates, reordering and replays do no harm (docs/explanation/replication.md).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from beonss.errors import MalformedError


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

#: What :attr:`Change.expect` says when the register must not exist yet.
ABSENT: Final = Stamp(0, "", 0)

#: Bounds of what is stored and relayed; wide enough for any later version, narrow enough to bound a page.
MAX_VALUE: Final = 1 << 20
MAX_TIME: Final = 1 << 62
#: The year 9999 in ms: no clock is believed beyond it, so that stamps never run out of integers.
MAX_WALL: Final = 253_402_300_800_000
MAX_SEQUENCE: Final = 1 << 62
MAX_AUTHOR: Final = 255
#: Incarnations in a vector: each start of a master that cannot be vouched for may add one.
MAX_VECTOR: Final = 1 << 16
#: Incarnations in a register's context, which is only there to show people what was concurrent.
MAX_CONTEXT: Final = 64

_INCARNATION = re.compile(r"[0-9a-f]{32}\Z")
_OBJECT = re.compile(r"[!-~]{1,64}\Z")
_FIELD = re.compile(r"[!-~]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Register:
    """One value of one register, as stored and as sent; unknown fields and values are relayed unread.

    Attributes:
        key: object and field.
        value: canonical JSON (see :mod:`beonss.core.accounts.entries`), opaque to replication. Not shown in a repr: it
        may
            hold a hash.
        stamp: decides a merge.
        author: who made the change, for people (``root@frodo``, ``alice@r01n07``).
        context: the writes this one is known to have overwritten; it tells an overwrite from a concurrent write.
    """

    key: Key
    value: bytes = field(repr=False)
    stamp: Stamp
    author: str = ""
    context: Context = field(default_factory=dict)

    def beats(self, other: "Register") -> bool:
        """Say whether this value replaces ``other`` in a merge.

        The value itself is the last tie-breaker: only a cloned machine can make two values with one stamp, and
        even then all masters must end equal.
        """
        return (self.stamp, self.value) > (other.stamp, other.value)

    def saw(self, other: "Register") -> bool:
        """Say whether the writer of this value had seen ``other`` (it is no concurrent write)."""
        return self.context.get(other.stamp.origin, 0) >= other.stamp.sequence


@dataclass(frozen=True, slots=True)
class Change:
    """A value that a master is asked to write.

    Attributes:
        key: which register.
        value: its new bytes.
        expect: the stamp that the register must still have (:data:`ABSENT`: there must be none), so that a decision
            made on an older value is refused instead of overwriting a newer one; None writes over whatever is there.
    """

    key: Key
    value: bytes = field(repr=False)
    expect: Stamp | None = None


def merged(mine: Register | None, theirs: Register) -> Register:
    """Return the winner of two values of one register."""
    return theirs if mine is None or theirs.beats(mine) else mine


def concurrent(one: Register, other: Register) -> bool:
    """Say whether neither of two different writes to one register had seen the other."""
    return one.stamp != other.stamp and not one.saw(other) and not other.saw(one)


def next_context(*seen: Register) -> dict[str, int]:
    """Return the context of a change that overwrites all of ``seen``.

    It forgets the oldest incarnations by name once it is full; a write of theirs that comes late then counts as
    concurrent, which decides nothing.
    """
    if not seen:
        return {}
    last = joined(*({register.stamp.origin: register.stamp.sequence} for register in seen))
    context = joined(*(register.context for register in seen), last)
    for origin in sorted(context.keys() - last.keys())[: max(0, len(context) - MAX_CONTEXT)]:
        del context[origin]
    return context


def next_time(wall: int, seen: Register | None) -> int:
    """Return the stamp time, in ms, of a change made now over the value that was seen.

    A change made after seeing another always beats it, whatever the clocks say; no other state is
    touched by a bad clock.
    """
    return wall if seen is None else max(wall, seen.stamp.time + 1)


def covers(vector: Context, stamp: Stamp) -> bool:
    """Say whether a replica with ``vector`` holds the write ``stamp``, or one that beats it."""
    return vector.get(stamp.origin, 0) >= stamp.sequence


def includes(vector: Context, other: Context) -> bool:
    """Say whether ``vector`` covers every write that ``other`` covers."""
    return all(vector.get(origin, 0) >= sequence for origin, sequence in other.items())


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


def is_incarnation(text: str) -> bool:
    """Say whether ``text`` is spelled like an incarnation: 32 lower-case hex digits."""
    return _INCARNATION.match(text) is not None


def check_vector(vector: Context) -> None:
    """Refuse a vector that no master can have.

    Raises:
        MalformedError: an origin is no incarnation, or a sequence number is out of range.
    """
    if len(vector) > MAX_VECTOR:
        raise MalformedError(f"a vector names {len(vector)} incarnations; at most {MAX_VECTOR} are believed")
    for origin, sequence in vector.items():
        if not is_incarnation(origin) or not 0 <= sequence <= MAX_SEQUENCE:
            raise MalformedError("a vector holds something that is no incarnation with its sequence number")


def check_register(register: Register) -> None:
    """Refuse a register from outside that cannot be stored; its value is not looked at.

    Raises:
        MalformedError: a part of it is out of its bounds. The text never holds the value.
    """
    key, stamp, author = register.key, register.stamp, register.author
    if not _OBJECT.match(key.object) or not _FIELD.match(key.field):
        raise MalformedError("a register's key is no object and field")
    if not is_incarnation(stamp.origin) or not (0 < stamp.sequence <= MAX_SEQUENCE and 0 <= stamp.time <= MAX_TIME):
        raise MalformedError(f"the stamp of register {key.object}/{key.field} is out of bounds")
    if len(register.value) > MAX_VALUE:
        raise MalformedError(f"the value of register {key.object}/{key.field} has more than {MAX_VALUE} bytes")
    # Nearly all are ASCII and have no context: of those a new master takes 400,000.
    if len(author) > MAX_AUTHOR or not (author.isascii() or _is_text(author)):
        raise MalformedError(f"the author of register {key.object}/{key.field} is too long or no text")
    if register.context:
        if len(register.context) > MAX_CONTEXT:
            raise MalformedError(f"the context of register {key.object}/{key.field} is too long")
        check_vector(register.context)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
