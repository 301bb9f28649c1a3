"""What a node does with the answers of a master; without I/O.

A node merges what it gets, as masters do, and merging never forgets. That is right while another master may have what
this one has not. Where there is only one, what it has lost (it was restored from an old copy) is nowhere else: the node
asks for everything, as if it held nothing, and then holds exactly what the answer held. The answer comes in pages, and
until the last one everything known stays known. See docs/decisions/0027-nodes-of-a-master-that-forgot.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from beonss.core.accounts.entries import PRESENT
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Context, Key, Register, Stamp, includes

#: ``more``: the answer goes on. ``fresh``: the node holds what the master has. ``again``: ask for everything, to take
#: it over anew. ``conform``: the answer to that is whole, hold exactly what it held. ``keep``: it was whole and held no
#: account, so what is known is kept, and is not what the master has.
Step = Literal["more", "fresh", "again", "conform", "keep"]


@dataclass(slots=True)
class Anew:
    """What an answer to a question for everything held so far.

    Attributes:
        stamps: of all its registers.
        older: those that do not beat what is held here, and yet are what the master has.
    """

    stamps: dict[Key, Stamp] = field(default_factory=dict)
    older: list[Register] = field(default_factory=list)

    def take(self, rows: Sequence[Register], held: Callable[[Key], Register | None]) -> None:
        """Note a page that was merged; ``held`` finds what is held after that."""
        for row in rows:
            self.stamps[row.key] = row.stamp
            known = held(row.key)
            if known is None or known.stamp != row.stamp:
                self.older.append(row)

    @property
    def empty(self) -> bool:
        """Whether the answer knew of no account at all."""
        return not any(key.field == PRESENT for key in self.stamps)


class Memorizing:
    """The answers of one master, over one connection.

    Attributes:
        anew: what is being taken over anew; None while answers are merged only.
    """

    def __init__(self) -> None:
        self.anew: Anew | None = None
        self._kept = False

    def asked(self, *, everything: bool, alone: bool) -> None:
        """Note a question.

        Args:
            everything: it is asked as if nothing were held here.
            alone: the signed member list has one member that has joined.
        """
        self.anew = Anew() if everything and alone else None

    def merged(
        self, rows: Sequence[Register], vector: Context | None, view: AccountView, held: Context, *, alone: bool
    ) -> Step:
        """Decide what follows a page; it was merged, with its vector unless it is taken over anew.

        Args:
            rows: of the page.
            vector: the master's, with the last page of an answer only.
            view: of the node, after the merge.
            held: the node's vector, after the merge.
            alone: as for :meth:`asked`.
        """
        if self.anew is not None:
            self.anew.take(rows, view.register)
            if vector is None:
                return "more"
            self._kept = self.anew.empty and any(True for _ in view.users())
            return "keep" if self._kept else "conform"
        if vector is None:
            return "more"
        if alone and not includes(vector, held):
            # Once it was kept, only something new is a reason to look again.
            return "again" if rows or not self._kept else "keep"
        return "fresh"
