"""One caller of a master: who it is, and what it is served."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from beonss.core.replication.pulling import paced
from beonss.core.replication.registers import Context, includes
from beonss.errors import PeerError, Refused, Unavailable
from beonss.net.connection import Connection
from beonss.wire.registers import parcels
from beonss.wire.sync import (
    PROTOCOL,
    Acknowledge,
    Compare,
    End,
    Event,
    Heartbeat,
    Hello,
    Message,
    Page,
    Question,
    Request,
    RosterUpdate,
)

if TYPE_CHECKING:
    from beonss.net.sync_port import SyncPort

#: Requests that one caller may have open.
REQUESTS = 64


class ServerConnection(Connection):
    """One caller.

    Attributes:
        role: empty until known, then ``member``, ``joiner`` or ``node``.
        name: of the member.
        source: the caller's address.
        hello: what it said of itself.
    """

    def __init__(self, port: "SyncPort", source: str) -> None:
        super().__init__(port.reactor, port.timing)
        self.port = port
        self.desk = port.desk
        self.source = source
        self.role = ""
        self.name = ""
        self.hello: Hello | None = None
        self._vector: Context = {}
        self._answering = False
        self._comparing = False
        self._requests = 0
        self._counted = True
        self._description = ""
        self._fed = float("-inf")
        self._gap = self.timing.gap[0]

    # -- who is it?

    async def received(self, message: Message) -> None:
        """Take a message, by role."""
        if isinstance(message, Hello) and not self.role:
            self._greeted(message)
        elif not self.role or self.role == "joiner":
            raise PeerError("that is not said before the greeting, or after joining")
        elif isinstance(message, Question):
            self._asked(message)
        elif isinstance(message, Acknowledge):
            self._vector = message.vector
            self._acknowledged()
        elif isinstance(message, Compare):
            # Beside what else it says: a first count takes a while. It compares again.
            if not self._comparing:
                self._comparing = True
                self.run(self._compare(message))
        elif isinstance(message, RosterUpdate) and self.role == "member":
            self._offer(message.members, message)
        elif isinstance(message, Request):
            self._request(message)
        else:
            raise PeerError(f"a {self.role} does not say {message.TYPE!r}")

    def _turn_away(self, word: str, text: str = "", retry: float = 0.0) -> None:
        self.port.turned_away(word, self.source)
        # Nobody else may tell a removed master, and until it knows it goes on, and its nodes with it.
        self.refuse(word, text, retry, self.desk.membership.roster.document if word == "removed" else b"")

    def _greeted(self, hello: Hello) -> None:
        self.hello = hello
        try:
            if hello.protocol != PROTOCOL:
                text = f"this master speaks protocol {PROTOCOL}, the caller {hello.protocol}: install one version"
                raise Refused("protocol-version", text)
            if hello.cluster != self.desk.membership.roster.cluster:
                raise Refused("wrong-cluster", "this is a master of another cluster")
            if hello.role == "member":
                self._enter_member(hello)
            elif hello.role == "joiner":
                self._enter_joiner(hello)
            elif hello.role == "node":
                self._enter_node(hello)
            else:
                raise Refused("stranger", "")
        except Refused as refusal:
            retry = 30.0 if refusal.code == "full" else 0.0
            self._turn_away(refusal.code, str(refusal), retry)

    def _enter_member(self, hello: Hello) -> None:
        if self.key is None:
            raise Refused("stranger", "")
        name = self._name_of_caller(self.key, hello)
        if name != hello.name:
            raise PeerError(f"the key of {name} came with another name")
        self.desk.entered(self, name, hello)
        self.name = name
        self._begin("member")
        self._uncount()

    def _name_of_caller(self, key: bytes, hello: Hello) -> str:
        membership = self.desk.membership
        if membership.roster.name_of(key) is None:
            # It may have joined elsewhere, or been invited by a list that we have not seen: the list is signed by the
            # cluster key. Its acceptance is taken as if it were presented here, expiry included: otherwise a
            # token that leaked long ago would open this door.
            try:
                membership.offer(hello.members, ())
            except PeerError:
                raise Refused("stranger", "") from None
            if membership.roster.is_former(key):
                text = "this machine was removed from the member list; to come back it must join"
                raise Refused("removed", text)
            for acceptance in hello.acceptances:
                if acceptance.key == key and membership.roster.name_of(key) is None:
                    membership.admit(acceptance, self.desk.wall())
        if membership.roster.name_of(key) is None:
            raise Refused("stranger", "")
        membership.offer(hello.members, hello.acceptances)
        name = membership.roster.name_of(key)
        if name is None:
            # The list that it brought itself does not hold it any more.
            raise Refused("removed", "this machine was removed from the member list; to come back it must join")
        return name

    def _enter_joiner(self, hello: Hello) -> None:
        if self.key is None or len(hello.acceptances) != 1 or hello.acceptances[0].key != self.key:
            raise Refused("bad-proof", "the joining machine must show the key that it wants to be known by")
        self.desk.membership.admit(hello.acceptances[0], self.desk.wall())
        self._begin("joiner")
        self.describe()

    def _enter_node(self, hello: Hello) -> None:
        if not self.desk.node_allowed(self.source):
            raise Refused("stranger", "")
        if self.port.count("node") >= self.port.caps.nodes:
            raise Refused("full", "this master serves as many nodes as it may; another will")
        self._description = hello.description
        self._begin("node")
        self.describe()

    def _begin(self, role: str) -> None:
        self.role = role
        self.port.unknown -= 1
        self.port.counts[f"{role}-now"] += 1
        self.port.counts[role] += 1
        self.send(self.desk.hello())
        self.establish(node=role == "node")

    def describe(self) -> None:
        """Send a node the description, when it is another than the node's."""
        document = self.desk.description()
        digest = self.desk.heartbeat().description
        if document is not None and digest != self._description:
            self._description = digest
            self.send(document)

    # -- liveness

    def heartbeat(self) -> Heartbeat:
        """Return the master's sign of life."""
        return self.desk.heartbeat()

    def heard(self, beat: Heartbeat) -> None:
        """Pass a member's sign of life on; send our roster to whoever has another."""
        if self.role == "member":
            self.desk.beat(self, self.name, beat)
        roster = self.desk.membership.roster
        if beat.roster != roster.digest:
            self.send(RosterUpdate(roster.document, tuple(roster.acceptances.values())))

    def _offer(self, document: bytes, update: RosterUpdate) -> None:
        self.desk.membership.offer(document, update.acceptances)

    def ended(self) -> None:
        """Give back what the connection held."""
        self.port.connections.discard(self)
        self._uncount()
        if self.role:
            self.port.counts[f"{self.role}-now"] -= 1
        else:
            self.port.unknown -= 1
        if self.role == "member":
            self.desk.left(self, self.name)

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self.port.forget_source(self.source)

    # -- what have you for me?

    def _asked(self, question: Question) -> None:
        if self._answering:
            raise PeerError("a question came before the last one was answered")
        self._answering = True
        self._vector = question.vector
        self._acknowledged()
        self.run(self._answer(question.wait))

    def _acknowledged(self) -> None:
        if self.role == "member":
            assert self.hello is not None
            self.desk.acknowledged(self.name, self.hello.incarnation, self._vector)

    async def _answer(self, wait: bool) -> None:
        if wait:
            await self._news()
        if self.role == "node":
            await self._feed()
        else:
            await self._send_pages()
        self._answering = False

    async def _feed(self) -> None:
        gap = self._fed + self.timing.node_gap - self.reactor.seconds()
        if gap > 0:
            await deferLater(self.reactor, gap, lambda: None)
        self._fed = self.reactor.seconds()
        mine = self.desk.replica.vector
        # Incarnations that we do not know change no answer; without them more nodes ask the same.
        question = {origin: sequence for origin, sequence in self._vector.items() if origin in mine}
        for frame in await self.port.feed.frames(question):
            await self.writable()
            self.send_frame(frame)

    async def _send_pages(self) -> None:
        gap = self._fed + self._gap - self.reactor.seconds()
        if gap > 0:
            await deferLater(self.reactor, gap, lambda: None)
        self._fed = self.reactor.seconds()
        question, number = dict(self._vector), 0
        page = await self.desk.replica.page(question)
        self._gap = paced(self._gap, len(page.rows), self.timing.gap)
        if page.last:
            # Nearly always: and the others who wait get the same.
            frames = self.port.frames(page)
            for frame in frames[:-1]:
                await self.writable()
                self.send_frame(frame)
            await self.writable()
            # The asker may ask again as soon as it has read this.
            self._answering = False
            self.send_frame(frames[-1], prompt=True)
            return
        while True:
            runs = list(parcels(page.rows))
            for index, rows in enumerate(runs):
                await self.writable()
                if page.vector is not None and index == len(runs) - 1:
                    # The asker may ask again as soon as it has read this.
                    self._answering = False
                    self.send(Page(number, rows, page.vector))
                    return
                self.send(Page(number, rows, None))
                number += 1
            page = await self.desk.replica.page(question, page.more)

    async def _news(self) -> None:
        """Wait until there is something for the asker, or for its vector."""
        replica = self.desk.replica
        if self.role == "node":
            # Not for what nodes never get: a password's change wakes no node.
            await replica.changed_since(self._vector, public_only=True)
            return
        while True:
            await replica.changed_since(self._vector)
            if includes(self._vector, replica.vector):
                continue  # it learned that elsewhere meanwhile
            if replica.vector.get(replica.incarnation, 0) > self._vector.get(replica.incarnation, 0):
                return
            # Somebody else's write: the asker is most likely just getting it from its author. What came meanwhile has
            # its own time to arrive there.
            wanted = replica.vector
            await deferLater(self.reactor, self.timing.relay, lambda: None)
            if not includes(self._vector, wanted):
                return

    async def _compare(self, theirs: Compare) -> None:
        """Answer only if we differ although neither has news for the other."""
        public = self.role == "node"
        try:
            mine, digest = await self.desk.replica.digest(public_only=public)
        finally:
            self._comparing = False
        news = self.desk.replica.changed_since(theirs.vector, public_only=public)
        has_news = news.called
        news.addErrback(lambda _: None)
        news.cancel()
        if has_news or not includes(mine, theirs.vector):
            return
        # An empty digest means that an answer is half here: what it says is no drift, and pulling everything again
        # would interrupt the very answer that is on its way.
        if digest and theirs.digest and digest != theirs.digest:
            who = self.name or self.source
            self.log.warn("{who} has drifted from this master: one of them asks for everything again", who=who)
            self.send(Compare(mine, digest))

    # -- what a node asks for its users, and a master for its administrator

    def _request(self, request: Request) -> None:
        table = self.desk.requests if self.role == "node" else self.desk.member_requests
        kind = table.get(request.kind)
        if kind is None:
            self.send(End(request.number, {"message": f"this master knows no {request.kind!r}"}, "unknown-request"))
            return
        if self._requests >= REQUESTS:
            self.send(End(request.number, {"message": f"too many requests at once from this {self.role}"}, "busy"))
            return
        self._requests += 1
        # Who waits for an answer wants to know soon that we live.
        self.send(self.heartbeat())

        def report(data: Mapping[str, Any]) -> None:
            self.send(Event(request.number, data))

        async def act() -> None:
            data: Mapping[str, Any] = {}
            word = ""
            try:
                data = await kind(request.params, self.source, report)
            except Refused as refusal:
                data, word = {"message": str(refusal)}, refusal.code
            except Unavailable as error:
                data, word = {"message": str(error)}, "unavailable"
            finally:
                self._requests -= 1
            self.send(End(request.number, data, word))

        def broken(failure: Failure) -> None:
            self.log.failure("the request {kind} of a {role} failed", failure, kind=request.kind, role=self.role)
            self.send(End(request.number, {"message": "this master failed; its log says why"}, "internal"))

        # Not cancelled with the connection: what was begun for a user is finished.
        Deferred.fromCoroutine(act()).addErrback(broken)
