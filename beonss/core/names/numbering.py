"""Numbering rules: patterns over named coordinates that turn a place into a name and an address, and back.

A rule such as ``r{rack:02}n{slot:02}`` <-> ``10.5.{rack}.{slot}`` holds its nodes as *blocks*: products of
ranges (rack 2-3, slot 1-40). Nothing is kept per node; a node is its index in its rule, an index is a tuple
of coordinates by mixed radix, and each pattern is arithmetic on that tuple.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from beonss.core.names.patterns import NODE, AddressPattern, NamePattern
from beonss.core.names.ranges import Block, RangeSet


@dataclass(frozen=True)
class Interface:
    """One network of a rule: its names there and its addresses.

    Attributes:
        label: the network's name in the description; empty for the rule's first.
        name: the canonical name.
        aliases: further names of the same addresses.
        addresses: one pattern for each address of a name.
        line: where it is described.
        option: its place in the file (``nodes[0].interfaces.ib``).
        lines: where its ``name``, ``aliases``, ``address`` and ``count`` stand.
    """

    label: str
    name: NamePattern
    aliases: tuple[NamePattern, ...]
    addresses: tuple[AddressPattern, ...]
    line: int
    option: str
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A numbering rule with everything computed that does not depend on a single node.

    Attributes:
        kind: whether its members are nodes or hosts derived from them.
        interfaces: the first has the name of the node itself.
        blocks: by coordinates, in the order of the running number.
        start: running number of its first node (0 for derived hosts, whose index is never shown).
        line: where it begins in the file.
        option: ``nodes[0]``.
    """

    kind: Literal["node", "derived"]
    interfaces: tuple[Interface, ...]
    blocks: tuple[Block, ...]
    start: int
    line: int
    option: str

    @cached_property
    def size(self) -> int:
        """How many members it has."""
        return self.blocks[-1].first + self.blocks[-1].size

    @cached_property
    def counted(self) -> Block:
        """All members as one block of the running number."""
        return Block((NODE,), (RangeSet.between(self.start, self.start + self.size - 1),), 0, self.line)

    @cached_property
    def _firsts(self) -> list[int]:
        return [block.first for block in self.blocks]

    def block(self, index: int) -> Block:
        """Return the block of the member with this index."""
        return self.blocks[bisect_right(self._firsts, index) - 1]

    def values(self, index: int) -> dict[str, int]:
        """Return the coordinates, ``node`` included, of the member with this index."""
        values = self.block(index).values(index)
        values[NODE] = self.start + index
        return values

    def spread(self, pattern: NamePattern | AddressPattern) -> Sequence[Block]:
        """Return the blocks over which a pattern is arithmetic: by the running number or by coordinates."""
        return (self.counted,) if pattern.by_number else self.blocks
