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


#: Registers of one answer that are merged together, at most. Two accounts may exchange names between two pages; whoever
#: knew both would know one of them until the second page, or through an outage that begins between them.
TOGETHER = 5000


@dataclass(slots=True)
class Anew:
    """What an answer to a question for everything held so far; nothing of it is merged.

    Attributes:
        stamps: of all its registers.
        rows: those that are not held here, or otherwise; whichever is newer.
    """

    stamps: dict[Key, Stamp] = field(default_factory=dict)
    rows: list[Register] = field(default_factory=list)

    def take(self, rows: Sequence[Register], held: Callable[[Key], Register | None]) -> None:
        """Note a page; ``held`` finds what is held here."""
        for row in rows:
            self.stamps[row.key] = row.stamp
            known = held(row.key)
            if known is None or known.stamp != row.stamp:
                self.rows.append(row)

    @property
    def empty(self) -> bool:
        """Whether the answer knew of no account at all."""
        return not any(key.field == PRESENT for key in self.stamps)


class Memorizing:
    """The answers of one master, over one connection.

    Attributes:
        anew: what is being taken over anew; None while answers are merged.
    """

    def __init__(self) -> None:
        self.anew: Anew | None = None
        self._gathered: list[Register] = []
        self._news = False
        self._kept = False

    def asked(self, *, everything: bool, alone: bool) -> None:
        """Note a question.

        Args:
            everything: it is asked as if nothing were held here.
            alone: the signed member list has one member that has joined.
        """
        self.anew = Anew() if everything and alone else None
        self._gathered, self._news = [], False

    def take(
        self, rows: Sequence[Register], vector: Context | None, view: AccountView, held: Context, *, alone: bool
    ) -> list[Register] | None:
        """Take a page; return what is to be merged now, with ``vector``, or None for nothing.

        Args:
            rows: of the page.
            vector: the master's, with the last page of an answer only.
            view: of the node.
            held: its vector.
            alone: as for :meth:`asked`.
        """
        self._news = self._news or bool(rows)
        if self.anew is not None:
            self.anew.take(rows, view.register)
            return None
        self._gathered += rows
        if vector is None and len(self._gathered) < TOGETHER:
            return None
        gathered, self._gathered = self._gathered, []
        if alone and vector is not None and not includes(vector, held):
            # What the master has lost could stand in the way of what it has now: a name, a uid.
            return None
        return gathered

    def next(self, vector: Context | None, view: AccountView, held: Context, *, whole: bool, alone: bool) -> Step:
        """Decide what follows a page that was taken, and merged if it was to be.

        Args:
            vector: as for :meth:`take`.
            view: of the node, after that.
            held: the node's vector, after that.
            whole: whether that covers everything the node holds; if not, an answer broke off before.
            alone: as for :meth:`asked`.
        """
        if vector is None:
            return "more"
        if self.anew is not None:
            self._kept = self.anew.empty and any(True for _ in view.users())
            return "keep" if self._kept else "conform"
        if alone and not (whole and includes(vector, held)):
            # Once it was kept, only something new is a reason to look again.
            return "again" if self._news or not self._kept else "keep"
        return "fresh"
