"""Nodes: the store, accounts, member list and rules of memorizing of the product; connections to masters are messages.

What a node knows of users is held against what the master that it hears said: a user that it served is served on,
unless that master does not serve it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from beonss.core.accounts.view import AccountView
from beonss.core.cluster.members import Roster
from beonss.core.replication.memorizing import Memorizing
from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Context, Key, Register, includes
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.node_memory import NodeMemory
from beonss.daemon.replication.membership import Membership
from beonss.errors import BeonssError
from beonss.store.writer import InlineWriter
from support.simulator.disks import Death, Disk
from support.simulator.inline import now
from support.simulator.machine import Machine
from support.simulator.timeline import ProcessClock

if TYPE_CHECKING:
    from support.simulator.world import World

#: Seconds after which a master that has no news says so, after which a node that hears nothing takes another master,
#: and between two comparisons of digests.
HEARTBEAT = 2.0
PATIENCE = 4.0
COMPARING = 3.0


@dataclass(slots=True)
class Link:
    """A connection to one master.

    Attributes:
        everything: the next question is asked as if nothing were held.
        number: of the question under way.
        expected: of its next page.
        question: its vector.
        waiting: whether it may be answered late: then nothing is half here.
        heard: when something came last.
    """

    master: Machine
    everything: bool
    memorizing: Memorizing = field(default_factory=Memorizing)
    number: int = 0
    expected: int = 0
    question: Context = field(default_factory=dict)
    waiting: bool = False
    heard: float = 0.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a master knew at one moment.

    Attributes:
        serves: ids of the users it served.
        holds: its registers.
    """

    serves: set[str]
    holds: Mapping[Key, Register]


class Node:
    """One node.

    Attributes:
        up: whether its process runs.
        life: counts the processes.
        served: ids of the users it serves, as seen after the last change.
    """

    accounts: Accounts
    membership: Membership

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.up = False
        self.life = 0
        self.disk = Disk(world.directory, name, world.random, scope="public")
        self.memory = NodeMemory(self.disk.path.parent, world.office.public)
        self.served: set[str] = set()
        self._drifted = False
        self._link: Link | None = None
        #: When the master cut the answer, and when it read each of its pages.
        self._said: list[Said] = []

    # --- its process ---

    def start(self) -> None:
        """Start the daemon, unless it runs: everybody known is known at once."""
        if self.up:
            return
        world = self.world
        self.life += 1
        life = self.life
        database = self.disk.open(world.office.cluster)
        self.up = True
        clock = ProcessClock(world.timeline, lambda: self.up and self.life == life)
        self.accounts = Accounts(
            clock,  # type: ignore[arg-type]
            InlineWriter(database),
            clock=world.wall_ms,
            new_incarnation=lambda: "",
        )
        now(self.accounts.start())
        self.membership = Membership(self.memory.roster(), self.memory.keep_roster)
        self._look("a restart")
        self.accounts.listen(lambda _: self._look("an answer"))
        if world.trouble.power and not world.quiet:
            self.disk.fuse = int(world.random.triangular(1, 300, 1))
            self.disk.death = world.random.choice(["kill", "power"])
        self._connect(life)

    def stop(self, death: Death = "kill") -> None:
        """End the process."""
        if self.up:
            self.up = False
            self.life += 1
            self._link = None
            self.disk.stop(death)

    def _look(self, why: str) -> None:
        """Check that nobody who was known is gone without a master's word."""
        serves = {user.id for user in self.accounts.view.users()}
        if self.disk.dead:
            return
        for lost in self.served - serves:
            # After a restart too: what was being merged when the process died may be on the disk.
            said = any(lost not in said.serves for said in self._said)
            assert said or self._displaced(lost), f"a known user was forgotten by the node {self.name} with {why}"
        self.served = serves

    def _displaced(self, lost: str) -> bool:
        """Say whether the node is the first to know of two accounts that got one name or number on masters apart.

        It serves the one that all masters will serve. But what an only master has lost stands in nobody's way, and the
        half of an answer is no reason.
        """
        mine = self.disk.registers()
        for said in [] if self.alone else self._said:
            newest = [row for key, row in said.holds.items() if key not in mine or row.beats(mine[key])]
            view = AccountView([*mine.values(), *newest])
            if lost not in {user.id for user in view.users()}:
                return True
        return False

    # --- the connection; this is what net/node_client.py and daemon/node_link.py do ---

    def _connect(self, life: int) -> None:
        if not self.up or self.life != life:
            return
        world = self.world
        masters = [machine for machine in world.all_machines() if machine.up]
        if self.membership.roster.joined():
            masters = [machine for machine in masters if self.membership.roster.name_of(machine.key)]
        if masters:
            link = self._link = Link(world.random.choice(masters), self._drifted, heard=world.timeline.now)
            world.exchange.send(self, link.master, lambda: self._welcome(link))
            world.timeline.at(COMPARING * world.random.uniform(0.5, 1.5), lambda: self._compare(life, link))
        else:
            self._link = None
        world.timeline.at(PATIENCE, lambda: self._watch(life, self._link))

    def _watch(self, life: int, link: Link | None) -> None:
        """Take another master when this one is silent."""
        if not self.up or self.life != life or link is not self._link:
            return
        if link is None or self.world.timeline.now - link.heard >= PATIENCE:
            self._connect(life)
        else:
            self.world.timeline.at(PATIENCE, lambda: self._watch(life, link))

    def _welcome(self, link: Link) -> None:
        master = link.master
        roster = master.membership.roster
        self.world.exchange.send(master, self, lambda: self._greeted(link, roster))

    def _greeted(self, link: Link, roster: Roster) -> None:
        if link is not self._link or link.number:
            return
        try:
            self.membership.offer(roster.document, roster.acceptances.values())
        except BeonssError:
            return
        if self.membership.roster.name_of(link.master.key) != link.master.name:
            self._connect(self.life)
            return
        self._ask(link, wait=False)

    @property
    def alone(self) -> bool:
        """Whether the member list, as known here, has one master."""
        return len(self.membership.roster.joined()) == 1

    def _ask(self, link: Link, *, wait: bool) -> None:
        link.memorizing.asked(everything=link.everything, alone=self.alone)
        question = link.question = {} if link.everything else dict(self.accounts.vector)
        link.everything = False
        link.number += 1
        link.expected, link.waiting = 0, wait
        number = link.number
        self.world.exchange.send(self, link.master, lambda: self._asked(link, number, question, wait=wait))

    def _asked(self, link: Link, number: int, question: Context, *, wait: bool) -> None:
        server = link.master
        if not wait:
            self._answer(link, number, question, None, None)
            return
        waiting, life = server.accounts.changed_since(question, public_only=True), server.life

        def heartbeat() -> None:
            if server.life == life and not waiting.called:
                waiting.callback(None)

        self.world.timeline.at(HEARTBEAT, heartbeat)
        waiting.addCallback(lambda _: self._answer(link, number, question, None, None))
        waiting.addErrback(lambda failure: None if failure.check(CancelledError) else self.world.failed(failure))

    def _answer(self, link: Link, number: int, question: Context, more: object, cut: Said | None) -> None:
        world, server = self.world, link.master
        said = Said({user.id for user in server.accounts.view.users()}, world.contents(server))
        cut = cut or said
        limit = world.random.randint(1, 6)
        page = now(server.accounts.page(question, more, public_only=True, limit=limit))
        roster = server.membership.roster
        world.exchange.send(server, self, lambda: self._heard(link, number, page, roster, [cut, said]))
        if page.more is not None:
            life = server.life

            def go_on() -> None:
                if server.up and server.life == life:
                    self._answer(link, number, question, page.more, cut)

            world.timeline.at(world.random.uniform(0, 0.05), go_on)

    def _heard(self, link: Link, number: int, page: Page, roster: Roster, said: list[Said]) -> None:
        if link is not self._link or number != link.number:
            return
        self.membership.offer(roster.document, roster.acceptances.values())
        if self.membership.roster.name_of(link.master.key) != link.master.name or page.number != link.expected:
            # A removed master; or a page is missing, and a stream that loses something has ended.
            self._connect(self.life)
            return
        link.expected += 1
        link.heard = self.world.timeline.now
        self._said = said if page.number == 0 else [*self._said, *said]
        anew = link.memorizing.anew
        rows = link.memorizing.take(page.rows, page.vector, self.accounts.view, self.accounts.vector, alone=self.alone)
        if rows is not None:
            now(self.accounts.merge(rows, page.vector))
        step = link.memorizing.next(
            page.vector, self.accounts.view, self.accounts.vector, whole=self.accounts.whole, alone=self.alone
        )
        if step == "again":
            link.everything = True
        elif step == "conform":
            assert anew is not None
            assert page.vector is not None
            now(self.accounts.conform(anew, page.vector))
            self._look("an answer")
        if step in {"conform", "fresh"}:
            self._drifted = False
        if step != "more":
            self._ask(link, wait=step != "again")

    def _compare(self, life: int, link: Link) -> None:
        """Ask whether the master holds the same; the rule is that of net/sync_server.py."""
        if not self.up or self.life != life or link is not self._link:
            return
        self.world.timeline.at(COMPARING, lambda: self._compare(life, link))
        if not link.waiting:
            return
        vector, digest = now(self.accounts.digest(public_only=True))
        self.world.exchange.send(self, link.master, lambda: self._compared(link, vector, digest))

    def _compared(self, link: Link, vector: Context, digest: bytes) -> None:
        server = link.master
        mine, other = now(server.accounts.digest(public_only=True))
        news = server.accounts.changed_since(vector, public_only=True)
        has_news = news.called
        news.addErrback(lambda _: None)
        news.cancel()
        if has_news or not includes(mine, vector) or not digest or not other or digest == other:
            return
        self.world.exchange.send(server, self, lambda: self._differ(link, vector))

    def _differ(self, link: Link, vector: Context) -> None:
        if link is self._link and vector == self.accounts.vector:
            self._drifted = True
            self._connect(self.life)

    # --- at the end ---

    def contents(self) -> dict[Key, Register]:
        """Return what it memorizes."""
        assert self.disk.database is not None
        return {row.key: row for batch in self.disk.database.registers() for row in batch}
