"""The network between the masters, and how they ask each other over it.

Messages are delayed, dropped, repeated and reordered, as no stream would do; so the rules of pulling have to bear more
than TCP brings. What is asked and answered is decided by the product: :class:`~beonss.core.replication.pulling.Pull`,
:class:`~beonss.daemon.accounts.state.Accounts`, :class:`~beonss.daemon.replication.membership.Membership` and
:class:`~beonss.daemon.replication.peers.PeerBook`; who is asked first by :class:`~beonss.net.pull_turns.PullTurns`. Who
calls whom, and when again, stands here instead of ``beonss.net``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError

from beonss.core.cluster.members import Roster
from beonss.core.replication.pulling import Page, Pull, drifted
from beonss.core.replication.registers import Context, Key, Register
from beonss.errors import BeonssError, MalformedError
from support.simulator.inline import now
from support.simulator.machine import Machine

if TYPE_CHECKING:
    from support.simulator.world import World

#: Seconds after which a server answers though it has no news, and after which an asker that hears nothing asks again.
HEARTBEAT = 2.0
PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Question:
    """What travels with a question.

    Attributes:
        number: tells the answers to two questions apart.
        question: the vector that the answer begins from; empty to get everything.
        held: the asker's vector: its durable acknowledgement.
        truth: what the asker's disk really held then; for the checks only.
    """

    number: int
    question: Context
    held: Context
    incarnation: str
    key: bytes
    roster: Roster
    wait: bool
    truth: dict[Key, Register]


class Party(Protocol):
    """What sends and hears: a master or a node."""

    name: str
    up: bool
    life: int


class Exchange:
    """The network of a world.

    Attributes:
        cut: ordered pairs of names between which nothing arrives; half of a pair is a half-open connection.
        healed: how many full pulls were begun because of drift.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._count = 0
        self.cut: set[tuple[str, str]] = set()
        self.healed = 0

    def send(self, source: Party, target: Party, deliver: Callable[[], None]) -> None:
        """Let a message arrive, or not, or twice, some time later, if both processes live until then."""
        world, lives = self._world, (source.life, target.life)

        def arrive() -> None:
            connected = source.up and target.up and (source.life, target.life) == lives
            if connected and (source.name, target.name) not in self.cut:
                deliver()

        if not world.quiet and world.random.random() < world.trouble.drop:
            return
        slow = not world.quiet and world.random.random() < 0.1
        # In quiet times the network keeps the order, as a stream does; else long answers would never come through.
        world.timeline.at(0.01 if world.quiet else world.random.uniform(0.001, 1.5 if slow else 0.03), arrive)
        if not world.quiet and world.random.random() < world.trouble.repeat:
            world.timeline.at(world.random.uniform(0.001, 2.0), arrive)

    # --- asking ---

    def call(self, machine: Machine, peer: str, *, everything: bool = False) -> None:
        """Open a connection to a peer in place of the one there was; its first question waits for its turn."""
        world = self._world
        machine.turns.end(peer)
        machine.pulls.pop(peer, None)
        if not machine.up or peer not in machine.book:
            return
        self._count += 1
        number, life = self._count, machine.life
        machine.calls[peer] = number
        if self._answers_calls(machine, peer):
            machine.turns.wait(peer).addCallback(
                lambda _: self.ask(machine, peer, wait=False, everything=everything)
            ).addErrback(world.failed)
            return

        def again() -> None:
            if machine.life == life and machine.calls.get(peer) == number:
                self.call(machine, peer, everything=everything)

        world.timeline.at(PATIENCE, again)

    def _answers_calls(self, machine: Machine, peer: str) -> bool:
        """Say whether a connection opens: not to who is down, or cut off both ways; half-open ones do."""
        server = self._world.machines.get(peer) or self._world.removed.get(peer)
        return server is not None and server.up and not {(machine.name, peer), (peer, machine.name)} <= self.cut

    def ask(self, machine: Machine, peer: str, *, wait: bool, everything: bool = False) -> None:
        """Ask a peer; call it again when no page has come for a while."""
        world = self._world
        if not machine.up or peer not in machine.book:
            return
        self._count += 1
        number, life = self._count, machine.life
        pull = Pull({} if everything else machine.accounts.vector)
        machine.pulls[peer] = (number, pull)
        server = world.machines.get(peer) or world.removed.get(peer)
        if server is not None:
            question = Question(
                number,
                pull.question,
                dict(machine.accounts.vector),
                machine.accounts.incarnation,
                machine.key,
                machine.membership.roster,
                wait,
                world.checks.truth(machine),
            )
            self.send(machine, server, lambda: self._on_question(server, machine, question))
        world.timeline.at(PATIENCE, lambda: self._call_again(machine, life, peer, number, pull.expected))

    def _call_again(self, machine: Machine, life: int, peer: str, number: int, seen: int) -> None:
        if not machine.up or machine.life != life:
            return
        current, pull = machine.pulls.get(peer, (0, None))
        if pull is None or current != number:
            return
        if pull.expected == seen:
            self.call(machine, peer)
        else:
            expected = pull.expected
            self._world.timeline.at(PATIENCE, lambda: self._call_again(machine, life, peer, number, expected))

    # --- answering ---

    def _on_question(self, server: Machine, asker: Machine, asked: Question) -> None:
        if server.heard.get(asker.name, 0) >= asked.number:
            return
        server.heard[asker.name] = asked.number
        if not self._believes(server, asker, asked.key, asked.roster):
            if server.membership.roster.is_former(asked.key):
                # It is refused with the list that shows why.
                document = server.membership.roster.document
                self.send(server, asker, lambda: asker.membership.offer(document, ()) and None)
            return
        if server.asked(asker.name, asked.incarnation, asked.held):
            server.accounts.halt("two live masters have one incarnation")
        self._world.checks.acknowledged(server, asker, asked.truth)
        old = server.waits.pop(asker.name, None)
        if old is not None:
            old.cancel()
        if not asked.wait:
            self._answer(server, asker, asked, None)
            return
        waiting = server.accounts.changed_since(asked.question)
        server.waits[asker.name] = waiting
        life = server.life

        def heartbeat() -> None:
            if server.life == life and not waiting.called:
                waiting.callback(None)

        self._world.timeline.at(HEARTBEAT, heartbeat)
        waiting.addCallback(lambda _: self._answer(server, asker, asked, None))
        waiting.addErrback(lambda failure: None if failure.check(CancelledError) else self._world.failed(failure))

    def _answer(self, server: Machine, asker: Machine, asked: Question, more: object) -> None:
        world, life = self._world, server.life
        page = now(server.accounts.page(asked.question, more, limit=world.random.randint(1, 6)))
        state = now(server.accounts.digest())
        teller, roster = server.accounts.incarnation, server.membership.roster
        world.checks.sent(page)
        self.send(server, asker, lambda: self._on_page(asker, server, asked.number, page, state, teller, roster))
        if page.more is not None:

            def go_on() -> None:
                if server.up and server.life == life:
                    self._answer(server, asker, asked, page.more)

            # The next page is read later: the registers change under the answer.
            world.timeline.at(world.random.uniform(0, 0.05), go_on)

    def _on_page(
        self,
        machine: Machine,
        peer: Machine,
        number: int,
        page: Page,
        state: tuple[Context, bytes],
        teller: str,
        roster: Roster,
    ) -> None:
        current, pull = machine.pulls.get(peer.name, (0, None))
        if pull is None or current != number or not self._believes(machine, peer, peer.key, roster):
            return
        if machine.book.met(peer.name, machine._hello_of(peer.name, teller)):
            machine.accounts.halt("two live masters have one incarnation")
        try:
            if not pull.receive(page):
                return
        except MalformedError:
            self.call(machine, peer.name)
            return
        machine.turns.progress(peer.name)
        self._world.checks.merging(machine, page)
        self._world.checks.merged(machine, page, now(machine.accounts.merge(page.rows, page.vector)))
        if not pull.done:
            return
        assert page.vector is not None
        machine.turns.end(peer.name)
        machine.pulled(peer.name, page.vector)
        mine = now(machine.accounts.digest())
        if drifted(mine[0], mine[1], *state):
            self.healed += 1
            self.call(machine, peer.name, everything=True)
        else:
            self.ask(machine, peer.name, wait=True)

    def _believes(self, machine: Machine, other: Machine, key: bytes, roster: Roster) -> bool:
        """Say whether a machine takes another for the member it says it is, by the lists of both."""
        try:
            machine.membership.offer(roster.document, roster.acceptances.values())
        except BeonssError:
            return False
        return machine.membership.roster.name_of(key) == other.name
