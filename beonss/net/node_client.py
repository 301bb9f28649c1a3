"""A node's connection to a master: feeds, the description, and requests for its users.

A node shows no key. It believes the master because its TLS key stands in the list that the cluster key signed, and
each batch because a member's key signed it.
"""

from typing import Any, Protocol

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Roster
from beonss.core.replication.memorizing import Memorizing
from beonss.core.replication.registers import includes
from beonss.errors import PeerError
from beonss.net.asking import AskingConnection, check_greeting, take_roster
from beonss.net.connection import Timing
from beonss.net.parts import Members, Replica
from beonss.wire.documents import verified
from beonss.wire.feed import Batch, BatchContent, DescriptionContent, DescriptionDocument, Signed
from beonss.wire.sync import Compare, End, Event, Heartbeat, Hello, Message, Refusal, RosterUpdate


class NodeSide(Protocol):
    """What the connection needs of the node (:class:`beonss.daemon.node_link.NodeLink`)."""

    @property
    def membership(self) -> Members:
        """The masters, as the node knows them."""

    @property
    def replica(self) -> Replica:
        """The public registers memorized."""

    def greeting(self) -> Hello:
        """Return what the node says of itself."""

    def heartbeat(self) -> Heartbeat:
        """Return the node's sign of life."""

    def attached(self, connection: "NodeConnection", name: str) -> None:
        """Note that a master serves us."""

    def fresh(self, connection: "NodeConnection") -> None:
        """Note that the memory is what the master had just now."""

    def forlorn(self, connection: "NodeConnection", *, forlorn: bool) -> None:
        """Note whether the only master knows of no account at all, though we do; then ours are kept."""

    def described(self, content: DescriptionContent) -> None:
        """Take the description."""

    def refused(self, refusal: Refusal) -> None:
        """Note that a master turned us away."""


class NodeConnection(AskingConnection):
    """One connection of a node.

    Attributes:
        place: where it is connected to.
        complete: whether a whole answer has come over this connection.
    """

    def __init__(self, reactor: Any, timing: Timing, node: NodeSide, place: Endpoint) -> None:
        super().__init__(reactor, timing, node.replica, public=True)
        self.node = node
        self.place = place
        self.complete = False
        self._answer: int | None = None
        self._memorizing = Memorizing()

    def opened(self) -> None:
        """Greet. What a node says of itself is no secret; who answers is looked at before anything is believed."""
        if self.key is None:
            self.abort("what answers there is no master: it shows no key of ours")
            return
        self.send(self.node.greeting())

    async def received(self, message: Message) -> None:
        """Take a message."""
        if isinstance(message, Refusal):
            self.node.refused(message)
            self.abort(f"refused: {message.word}" + (f": {message.text}" if message.text else ""))
        elif isinstance(message, Hello) and not self.established:
            self._greeted(message)
        elif not self.established:
            raise PeerError("the answer did not begin with a greeting")
        elif isinstance(message, Batch):
            await self._batch(message)
        elif isinstance(message, DescriptionDocument):
            self._description(message)
        elif isinstance(message, Compare):
            self.compared()
        elif isinstance(message, Event | End):
            self.told(message)
        elif isinstance(message, RosterUpdate):
            take_roster(self.node.membership, message)
        else:
            raise PeerError(f"a master does not say {message.TYPE!r} to a node")

    def _greeted(self, hello: Hello) -> None:
        check_greeting(hello, self.node.membership)
        if self.node.membership.roster.name_of(self.key or b"") != hello.name:
            raise PeerError("what answers there is not in the member list that this cluster's key signed")
        self.name = hello.name
        self.establish(node=True)
        self.node.attached(self, hello.name)
        self.ask(wait=False)

    # -- the feed

    def ask(self, *, wait: bool) -> None:
        """Ask."""
        self._memorizing.asked(everything=self.everything, alone=self._is_alone())
        super().ask(wait=wait)
        self._answer = None

    def _is_alone(self) -> bool:
        return len(self.node.membership.roster.joined()) == 1

    async def _batch(self, batch: Batch) -> None:
        roster = self.node.membership.roster
        content = BatchContent.decode(_believed(batch, "batch", roster))
        if content.cluster != roster.cluster:
            raise PeerError("a batch is of another cluster")
        if self._answer is None:
            self._answer = content.answer
        in_order = content.number == self._expected and content.answer == self._answer
        if not in_order or not includes(self._question, content.since):
            raise PeerError("a batch is missing, or answers another question")
        self._expected += 1
        self._waiting = False
        replica, anew = self.node.replica, self._memorizing.anew
        rows = self._memorizing.take(content.rows, content.vector, replica.view, replica.vector, alone=self._is_alone())
        if rows is not None:
            await replica.merge(rows, content.vector)
        step = self._memorizing.next(
            content.vector, replica.view, replica.vector, whole=replica.whole, alone=self._is_alone()
        )
        if step == "again":
            self.log.warn("{name} is the only master and has lost changes that are known here", name=self.name)
            self.everything = True
            self.ask(wait=False)
        elif step == "keep":
            self.node.forlorn(self, forlorn=True)
            self.ask(wait=True)
        elif step == "conform":
            assert anew is not None
            assert content.vector is not None
            await replica.conform(anew, content.vector)
            self._done()
        elif step == "fresh":
            self._done()

    def _done(self) -> None:
        self.complete = True
        self.node.forlorn(self, forlorn=False)
        self.node.fresh(self)
        self.ask(wait=True)

    def _description(self, document: DescriptionDocument) -> None:
        roster = self.node.membership.roster
        content = DescriptionContent.decode(_believed(document, "description", roster))
        if content.cluster != roster.cluster:
            raise PeerError("a description is of another cluster")
        self.node.described(content)

    # -- liveness

    def heartbeat(self) -> Heartbeat:
        """Return the node's sign of life."""
        return self.node.heartbeat()

    def heard(self, beat: Heartbeat) -> None:  # noqa: ARG002 - only that it came matters
        """While our question waits, a sign of life says that there is nothing newer."""
        if self._waiting and self.complete:
            self.node.fresh(self)


def _believed(document: Signed, domain: Any, roster: Roster) -> bytes:
    """Return the payload of a document that a member signed.

    Raises:
        PeerError: none did.
    """
    if roster.name_of(document.signer) is None:
        raise PeerError(f"a {domain} is signed by nobody in the member list")
    if not verified(document.signer, domain, document.payload, document.signature):
        raise PeerError(f"the signature of a {domain} is wrong")
    return document.payload
