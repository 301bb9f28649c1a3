"""Lists of host names as Slurm writes them (``r[01-04]n[01-40],frodo``), made one by one, never as a whole."""

import re
from collections.abc import Iterator

from beonss.core.names.numbering import Rule
from beonss.core.names.patterns import Field, NamePattern
from beonss.core.names.ranges import Block, RangeError, RangeSet, parse_list

#: Bracket groups in one name; a cluster has racks, slots and perhaps two more.
MAX_GROUPS = 8
#: A list typed by a person, or by a scheduler for a job of many nodes.
MAX_LENGTH = 1 << 20

_ITEM = re.compile(r"(?:[^\[\],\s]|\[[^\[\]]*\])+", re.ASCII)
_GROUP = re.compile(r"\[([^\[\]]*)\]")


def expand(text: str) -> Iterator[str]:
    """Yield the names of a list, in its order; the whole list is checked before the first.

    Raises:
        RangeError: it is no such list.
    """
    if len(text) > MAX_LENGTH:
        raise RangeError(f"a list of {len(text)} characters is too long; at most {MAX_LENGTH} are read")
    items = [_read(item) for item in _split(text)]
    return (name for item in items for name in _names(*item))


def _split(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            raise RangeError(f"{text[at : at + 40]!r} is no host list; write one such as r[01-04]n[01-40],frodo")
        yield match[0]
        at = match.end()
        following = re.compile(r"\s*,\s*|\s*$").match(text, at)
        if following is None:
            raise RangeError(f"{text[at : at + 40]!r} does not continue the list; put commas between names")
        at = following.end()


def _read(item: str) -> tuple[list[str], list[tuple[RangeSet, int]]]:
    texts = _GROUP.split(item)
    groups = [parse_list(each) for each in texts[1::2]]
    if len(groups) > MAX_GROUPS:
        raise RangeError(f"{item[:40]!r} has {len(groups)} bracket lists; at most {MAX_GROUPS} are read")
    return texts[0::2], groups


def _names(literals: list[str], groups: list[tuple[RangeSet, int]]) -> Iterator[str]:
    if not groups:
        yield literals[0]
        return
    # The first group varies slowest; itertools.product would keep every range in memory.
    (values, width), *rest = groups
    for value in values:
        head = literals[0] + str(value).zfill(width)
        yield from _names([head + literals[1], *literals[2:]], rest)


def fold(rule: Rule) -> list[str]:
    """Return the names of a rule's members as lists, one for each block, without enumerating any."""
    pattern = rule.interfaces[0].name
    return [folded(pattern, block) for block in rule.spread(pattern)]


def folded(pattern: NamePattern, block: Block) -> str:
    """Return the names one pattern gives one block, as one list."""
    text = ""
    for part in pattern.parts:
        if isinstance(part, Field):
            values = block.sets[block.coordinates.index(part.coordinate)].shifted(part.offset)
            spans = (_span(low, high, part.width) for low, high in values.spans)
            shown = ",".join(spans)
            text += shown if values.size == 1 else f"[{shown}]"
        else:
            text += part
    return text


def _span(low: int, high: int, width: int) -> str:
    first, last = str(low).zfill(width), str(high).zfill(width)
    return first if low == high else f"{first}-{last}"


__all__ = ["expand", "fold", "folded"]
