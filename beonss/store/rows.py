"""Registers as rows of a table, and the fingerprints that make up a digest."""

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import lru_cache

from beonss.core.accounts.entries import AGING, LOCK, PUBLIC_FIELDS, PUBLIC_PREFIXES
from beonss.core.replication.registers import Context, Key, Register, Stamp
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


@lru_cache(1024)
def _shared(value: bytes) -> bytes:
    return value


@lru_cache(64)
def _shared_time(time: int) -> int:
    # One import, one time.
    return time


def to_register(row: Sequence[object]) -> Register:
    """Return the register in a row of :data:`COLUMNS`."""
    name, field, value, time, origin, sequence, author, context = row
    if field in _ALIKE:
        value = _shared(bytes(value))  # type: ignore[call-overload]
    return Register(
        # Interned: the same few names stand in a hundred thousand registers that the view keeps.
        Key(sys.intern(str(name)), sys.intern(str(field))),
        bytes(value),  # type: ignore[call-overload]
        Stamp(_shared_time(int(time)), sys.intern(str(origin)), int(sequence)),  # type: ignore[call-overload]
        sys.intern(str(author)),
        _NO_CONTEXT if context == "{}" else json.loads(str(context)),
    )


def to_row(register: Register) -> tuple[str, str, bytes, int, str, int, str, str]:
    """Return a register as a row of :data:`COLUMNS`."""
    return (*register.key, register.value, *register.stamp, register.author, dumped(register.context))


def fingerprint(register: Register) -> int:
    """Return a number that stands for a register.

    Sums of these modulo 2**256 do not depend on the order, and one register can be taken out again.
    """
    text = json.dumps([*register.key, *register.stamp, hashlib.sha256(register.value).hexdigest()])
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
