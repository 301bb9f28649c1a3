"""Commits that stand behind one which can no longer be read: found again, as far as that can be known.

Only the last record can be cut short by a power cut: each is flushed before the next is written. So what is whole
behind one that is not shows that something changed it afterwards - if it is of the same generation, which its bytes do
not say. Whoever asks tells by what is in it: everything of an older generation is in the tables
(:meth:`beonss.store.database.Database._take_behind`). A last record that was changed looks like one that was cut short.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

#: Bytes of a record before its body: its length and its sum.
PREFIX: Final = 8
#: Below 8 MiB, with a body that is an array of two: what all records are.
_START = re.compile(rb"(?=\x00[\x00-\x7f][\x00-\xff]{6}\x92)")
#: Bytes that are added up at most; a file is no longer than 8 MiB, and most bytes begin no record.
_EFFORT = 256 << 20


def record_sum(data: memoryview, position: int, end: int, before: int) -> int:
    """Return the sum of a record: over length and body, carried on from that of the record before."""
    return zlib.crc32(data[position + PREFIX : end], zlib.crc32(data[position : position + 4], before))


def whole_behind(data: bytes, position: int, before: int) -> Iterator[bytes]:
    """Return the bodies of records that were whole once, in order.

    A record is believed if its sum carries on from the unreadable one, as that says it is or as it adds up now, or from
    one that ends where it begins.

    Args:
        data: the file.
        position: of a record that is not whole.
        before: the sum of the record before it.
    """
    view, effort, reached = memoryview(data), _EFFORT, position + 1
    end = position + PREFIX + int.from_bytes(data[position : position + 4], "big")
    first = {int.from_bytes(data[position + 4 : position + PREFIX], "big"), record_sum(view, position, end, before)}
    # The sums that records which may be some say they have, by where they end.
    said: dict[int, int] = {}
    for match in _START.finditer(data, position + 1):
        start = match.start()
        end = start + PREFIX + int.from_bytes(data[start : start + 4], "big")
        if start < reached or end > len(data):
            continue
        stored = int.from_bytes(data[start + 4 : start + PREFIX], "big")
        known = first | {said[start]} if start in said else first
        effort -= len(known) * (end - start)
        if effort < 0:
            return
        if any(record_sum(view, start, end, one) == stored for one in known):
            yield data[start + PREFIX : end]
            reached, first = end, {stored}
        said[end] = stored
