"""The side that asks: a master pulling from another, and what a node's side shares with it."""

from typing import Any, Protocol

from beonss.core.replication.registers import Context
from beonss.errors import PeerError
from beonss.net.asking import AskingConnection, check_greeting, take_roster
from beonss.net.connection import Timing
from beonss.net.parts import Members, Replica
from beonss.net.pull_turns import PullTurns
from beonss.wire.sync import Acknowledge, Compare, End, Event, Heartbeat, Hello, Message, Page, Refusal, RosterUpdate

#: Seconds to gather moves of our vector before telling them.
GATHER = 0.05


class Asker(Protocol):
    """What the asking side tells the master it belongs to (:class:`beonss.daemon.replication.sync.Sync`)."""

    @property
    def membership(self) -> Members:
        """The member list."""

    @property
    def replica(self) -> Replica:
        """The registers held here."""

    @property
    def turns(self) -> PullTurns:
        """Whom to ask first."""

    def hello(self, role: str) -> Hello:
        """Return our greeting, the roster in it."""

    def heartbeat(self) -> Heartbeat:
        """Return our sign of life."""

    def reached(self, name: str, hello: Hello) -> None:
        """Note that a member answered our call."""

    def pulse(self, name: str, beat: Heartbeat) -> None:
        """Note its sign of life."""

    def pulled(self, name: str, vector: Context) -> None:
        """Note that we hold all that it held, ``vector``."""

    def refused(self, name: str, refusal: Refusal) -> None:
        """Note that it turned us away."""


class PullConnection(AskingConnection):
    """A master asks another: what have you for me?

    Args:
        reactor: for times.
        timing: all times.
        asker: the master we are.
        name: whom we call; believed by the key that the member list gives for it.
    """

    def __init__(self, reactor: Any, timing: Timing, asker: Asker, name: str) -> None:
        super().__init__(reactor, timing, asker.replica, public=False)
        self.asker = asker
        self.name = name
        self._told: Context = {}
        self._gathering: Any = None

    def opened(self) -> None:
        """Greet the other side if it is who we called; a stranger is told nothing."""
        wanted = self.asker.membership.roster.key_of(self.name)
        if wanted is None or self.key != wanted:
            self.abort(f"what answers there is not {self.name}: it has another key")
            return
        self.send(self.asker.hello("member"))

    async def received(self, message: Message) -> None:
        """Take a message."""
        if isinstance(message, Refusal):
            self.asker.refused(self.name, message)
            self.abort(f"refused: {message.word}" + (f": {message.text}" if message.text else ""))
        elif isinstance(message, Hello) and not self.established:
            self._greeted(message)
        elif not self.established:
            raise PeerError("the answer did not begin with a greeting")
        elif isinstance(message, Page):
            await self._page(message)
        elif isinstance(message, RosterUpdate):
            take_roster(self.asker.membership, message)
        elif isinstance(message, Compare):
            self.compared()
        elif isinstance(message, Event | End):
            self.told(message)
        else:
            raise PeerError(f"a master does not say {message.TYPE!r} to another")

    def _greeted(self, hello: Hello) -> None:
        check_greeting(hello, self.asker.membership)
        if hello.name != self.name:
            raise PeerError(f"{self.name} calls itself {hello.name}")
        self.establish()
        self.asker.reached(self.name, hello)
        self.asker.turns.wait(self).addCallback(lambda _: self.ask(wait=False))

    def ask(self, *, wait: bool) -> None:
        """Ask, and remember what that acknowledged."""
        super().ask(wait=wait)
        self._told = self._question

    async def _page(self, page: Page) -> None:
        if page.number != self._expected:
            raise PeerError(f"page {page.number} came where page {self._expected} was due")
        self._expected += 1
        self.asker.turns.progress(self)
        await self.asker.replica.merge(page.rows, page.vector)
        if page.vector is not None:
            self.asker.turns.end(self)
            self.asker.pulled(self.name, page.vector)
            self.ask(wait=True)

    def moved(self) -> None:
        """Our vector moved because of somebody else: tell it soon, once for several moves."""
        if self.established and self._gathering is None:
            self._gathering = self.reactor.callLater(GATHER, self._tell)

    def _tell(self) -> None:
        self._gathering = None
        vector = dict(self.asker.replica.vector)
        if vector != self._told:
            self._told = vector
            self.send(Acknowledge(vector))

    def heartbeat(self) -> Heartbeat:
        """Return our sign of life."""
        return self.asker.heartbeat()

    def heard(self, beat: Heartbeat) -> None:
        """Pass it on; send our roster to whoever has another."""
        self.asker.pulse(self.name, beat)
        roster = self.asker.membership.roster
        if beat.roster != roster.digest:
            self.send(RosterUpdate(roster.document, tuple(roster.acceptances.values())))

    def ended(self) -> None:
        """Tell nobody anything more, and let others ask."""
        self.asker.turns.end(self)
        if self._gathering is not None and self._gathering.active():
            self._gathering.cancel()
