"""A master among masters: whom it calls, and who calls it.

Every master calls every other and pulls; so two connections stand between two masters, one asking each way. What a
peer holds is learned from its questions to us, its clock and description from its heartbeats on either.
"""

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss import __version__
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Roster
from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import Context, Stamp
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.replication.acknowledgements import Acknowledgements
from beonss.daemon.replication.membership import Membership
from beonss.daemon.replication.peers import PeerBook, PeerState
from beonss.errors import BeonssError, ConfigurationError, Refused, Unavailable
from beonss.net.asking import ConnectionBroken
from beonss.net.calling import Caller
from beonss.net.connection import Timing
from beonss.net.nodefeed import NodeFeed
from beonss.net.parts import NodeRequests
from beonss.net.pull_turns import PullTurns
from beonss.net.sockets import listening_socket
from beonss.net.sync_client import PullConnection
from beonss.net.sync_port import Caps, SyncPort
from beonss.net.sync_server import ServerConnection
from beonss.net.tls import serving
from beonss.store.keys import Identity
from beonss.wire.documents import sign
from beonss.wire.feed import DescriptionContent, DescriptionDocument
from beonss.wire.sync import Heartbeat, Hello, Refusal, RosterUpdate

#: Bytes of the largest description that fits into a frame.
MAXIMUM_DESCRIPTION = 3 << 20
#: Callers that wait to be taken: after a power cut all nodes come at once.
BACKLOG = 1024
#: Seconds that another master may take to answer a request.
ASKING = 5.0


class Sync:
    """Exchange with the other masters, and the port that serves them and the nodes.

    Args:
        reactor: for sockets and times.
        identity: who we are.
        membership: the member list.
        accounts: the registers; started before :meth:`start`.
        description: gives the description in force, or None.
        requests: what nodes may ask for.
        member_requests: what other masters may ask for.
        node_allowed: says whether a node may connect from an address (loopback should be).
        timing: all times of the protocol.
        caps: bounds of the port.
        duplicate: called with a text when a second machine lives with our key or our incarnation; the default
            halts writing.
        wall: this machine's clock, seconds since the epoch. The reactor's own time is only for waiting.
        schemes: what this machine can hash passwords with and verify.

    Attributes:
        book: what is known of the others, and alarms.
        boot_id: this start of the process.
        turns: whom to ask first.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        identity: Identity,
        membership: Membership,
        accounts: Accounts,
        description: Callable[[], DescriptionContent | None] = lambda: None,
        requests: NodeRequests | None = None,
        member_requests: NodeRequests | None = None,
        node_allowed: Callable[[str], bool] = lambda _: False,
        timing: Timing | None = None,
        caps: Caps | None = None,
        duplicate: Callable[[str], None] | None = None,
        wall: Callable[[], float] = time.time,
        schemes: tuple[str, ...] | None = None,
    ) -> None:
        self.reactor = reactor
        self.identity = identity
        self.membership = membership
        self.replica = accounts
        self.turns = PullTurns(reactor)
        self.requests: NodeRequests = requests if requests is not None else {}
        self.member_requests: NodeRequests = member_requests if member_requests is not None else {}
        self.node_allowed = node_allowed
        self.timing = timing or Timing()
        self.wall = wall
        self._schemes = schemes
        self.boot_id = secrets.token_hex(16)
        self.book = PeerBook(self.wall, lambda: accounts.incarnation, self.digest, reactor.seconds)
        self._describe = description
        self._signed: tuple[str, DescriptionDocument] | None = None
        self._duplicate = duplicate or accounts.halt
        self._callers: dict[str, Caller] = {}
        self._acknowledgements = Acknowledgements(reactor, accounts)
        self._drifted: set[str] = set()
        self._acknowledge_listeners: list[Callable[[str], None]] = []
        self._pulled_listeners: list[Callable[[str, Context], None]] = []
        self._ports: list[IListeningPort] = []
        self._unlisten: list[Callable[[], None]] = []
        self._running = False
        #: Whether this machine was a member when that was last looked at.
        self._stands = True
        feed = NodeFeed(identity, membership.roster.cluster, accounts)
        self.port = SyncPort(reactor, self, feed, self.timing, caps or Caps())

    # -- life

    def listen(self, endpoint: Endpoint, given: socket.socket | None = None) -> IListeningPort:
        """Open the port on one address.

        Args:
            endpoint: where.
            given: a socket that was handed over and listens there already; it is copied.

        Raises:
            ConfigurationError: it cannot be bound; the text says what to do.
        """
        if given is not None:
            return self._adopt(given)
        try:
            bound = listening_socket(endpoint.host, endpoint.port, BACKLOG, both=True)
        except OSError as error:
            raise ConfigurationError(
                f"the port for masters and nodes, {endpoint}, cannot be opened: {error.strerror}; end the program "
                f"that holds it, or choose another address with --sync-listen"
            ) from None
        with bound:
            return self._adopt(bound)

    def _adopt(self, bound: socket.socket) -> IListeningPort:
        factory = serving(self.identity, self.port, self.reactor, self.port.admits)
        port: IListeningPort = self.reactor.adoptStreamPort(bound.fileno(), bound.family, factory)
        self._ports.append(port)
        return port

    async def start(self) -> None:
        """Begin to call the other masters."""
        await self._acknowledgements.start()
        self._running = True
        self._unlisten.append(self.membership.listen(self._roster_changed))
        self._unlisten.append(self.replica.listen(self._moved))
        self._roster_changed(self.membership.roster)

    async def stop(self) -> None:
        """Close the port and every connection; accounts are stopped after this."""
        self._running = False
        for cancel in self._unlisten:
            cancel()
        self._unlisten.clear()
        waiting: list[Deferred[Any]] = [Deferred.fromCoroutine(caller.stop()) for caller in self._callers.values()]
        waiting += [d for port in self._ports if isinstance(d := port.stopListening(), Deferred)]
        waiting += self.port.close_all("stopping")
        self._ports.clear()
        await DeferredList(waiting, consumeErrors=True)
        await self._acknowledgements.stop()

    def _moved(self, _rows: object) -> None:
        for caller in self._callers.values():
            if isinstance(caller.connection, PullConnection):
                caller.connection.moved()

    def description_changed(self) -> None:
        """Hand the new description to all connected nodes; compare it with the other masters'."""
        for connection in list(self.port.connections):
            if connection.role == "node":
                connection.describe()
        # At once, or until the next sign of life each master takes the others for having the old one.
        called = [caller.connection for caller in self._callers.values()]
        for each in [*(c for c in self.port.connections if c.role == "member"), *called]:
            if each is not None and each.established:
                each.send(self.heartbeat())
        self.book.look_at_all()

    # -- what others ask of us

    @property
    def peers(self) -> Mapping[str, PeerState]:
        """All other masters that have joined, by name."""
        return self.book.states()

    @property
    def alarms(self) -> Mapping[str, str]:
        """What a person must look at in the exchange: word -> text; the member list has its own."""
        self.book.look_at_all()
        return dict(self.book.alarms)

    def ask(self, name: str, kind: str, params: Mapping[str, Any]) -> "Deferred[Mapping[str, Any]]":
        """Have another master do something; one of what its ``member_requests`` names.

        Returns:
            its answer; fails with Refused, or Unavailable where it cannot be asked now.
        """
        caller = self._callers.get(name)
        connection = None if caller is None else caller.connection
        if not isinstance(connection, PullConnection) or not connection.established:
            return fail(Unavailable(f"{name} cannot be reached"))
        answer = connection.request(kind, params, lambda _: None)
        answer.addTimeout(ASKING, self.reactor)
        return answer.addErrback(_unavailable, name)

    def holds(self, name: str, stamp: Stamp) -> bool:
        """Say whether a peer acknowledged to hold this write durably, or one that beats it."""
        return self.book.holds(name, stamp)

    def on_acknowledge(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have ``callback`` called with a peer's name when it acknowledged something new; return what ends that."""
        return _listening(self._acknowledge_listeners, callback)

    def on_pulled(self, callback: Callable[[str, Context], None]) -> Callable[[], None]:
        """Have ``callback`` called with (peer, its vector) each time we hold all that a peer held."""
        return _listening(self._pulled_listeners, callback)

    def is_member(self) -> bool:
        """Say whether this machine itself is still in the member list."""
        return self.membership.roster.key_of(self.identity.name) == self.identity.public

    # -- what we say

    def hello(self, role: str = "master") -> Hello:
        """Return our greeting, in either role."""
        roster = self.membership.roster
        return Hello(
            role=role,
            cluster=roster.cluster,
            name=self.identity.name,
            incarnation=self.replica.incarnation,
            boot=self.boot_id,
            wall=int(self.wall() * 1000),
            description=self.digest(),
            software=__version__,
            members=roster.document,
            acceptances=tuple(roster.acceptances.values()),
            schemes=self._schemes,
        )

    def heartbeat(self) -> Heartbeat:
        """Return our sign of life."""
        return Heartbeat(int(self.wall() * 1000), self.membership.roster.digest, self.digest())

    def digest(self) -> str:
        """Return the digest of our description; empty without one."""
        content = self._describe()
        return "" if content is None else content.digest

    def description(self) -> DescriptionDocument | None:
        """Return the description, signed once per version."""
        content = self._describe()
        if content is None:
            return None
        if len(content.text) > MAXIMUM_DESCRIPTION:
            text = f"the description is larger than {MAXIMUM_DESCRIPTION >> 20} MiB: nodes do not get it"
            self.book.alarm("description-size", text)
            return None
        if self._signed is None or self._signed[0] != content.digest:
            payload = content.encode()
            signature = sign(self.identity.key, "description", payload)
            self._signed = (content.digest, DescriptionDocument(payload, self.identity.public, signature))
        return self._signed[1]

    # -- whom we call

    def _stand(self, *, member: bool) -> None:
        """Take no changes while this machine is no member: nobody else would ever have them."""
        text = "" if member else "this machine is no longer in the member list"
        if member != self._stands:
            self._stands = member
            self.replica.halt(text)
        self.book.alarm("removed", text)

    def _others(self, roster: Roster) -> set[str]:
        if not self.is_member():
            return set()
        return {member.name for member in roster.joined()} - {self.identity.name}

    def _roster_changed(self, roster: Roster) -> None:
        if not self._running:
            return
        self._stand(member=self.is_member())
        others = self._others(roster)
        for name in set(self._callers) - others:
            self.log.info("{name} is no longer a member", name=name)
            self.book.remove(name)
            Deferred.fromCoroutine(self._callers.pop(name).stop()).addErrback(self._report, "ending a call")
            forgotten = Deferred.fromCoroutine(self._acknowledgements.forget(name))
            forgotten.addErrback(self._report, "forgetting a peer")
        for member in roster.joined():
            if member.name not in others:
                continue
            if member.name in self._callers:
                self.book.moved(member.name, member.endpoints)
                continue
            self.book.add(member.name, member.endpoints, self._acknowledgements.of(member.name))
            self._callers[member.name] = self._caller(member.name)
            self._callers[member.name].start()
        for connection in list(self.port.connections):
            # Whoever is no longer who it was when it came (removed, or its name has another key) goes.
            if connection.role == "member" and roster.name_of(connection.key or b"") != connection.name:
                text = "this machine was removed from the member list"
                connection.refuse("removed", text, members=roster.document)
        self._spread(roster)

    def _spread(self, roster: Roster) -> None:
        """Hand a new roster to everybody at once; whoever misses it asks by its heartbeat."""
        update = RosterUpdate(roster.document, tuple(roster.acceptances.values()))
        called = [caller.connection for caller in self._callers.values()]
        for connection in [*self.port.connections, *called]:
            if connection is not None and connection.established:
                connection.send(update)

    def _caller(self, name: str) -> Caller:
        def places() -> tuple[Endpoint, ...]:
            member = self.membership.roster.list.find(name)
            return () if member is None else member.endpoints

        def make(_: Endpoint) -> PullConnection:
            connection = PullConnection(self.reactor, self.timing, self, name)
            connection.everything = name in self._drifted
            connection.closed.addCallback(ended, connection)
            return connection

        def ended(reason: str, connection: PullConnection) -> str:
            if connection.drifted:
                self._drifted.add(name)
                self.log.warn("this master has drifted from {name}: asking it for everything", name=name)
            return reason

        return Caller(
            self.reactor,
            identity=self.identity,
            timing=self.timing,
            places=places,
            make=make,
            gone=lambda reason: self.book.called(name, False, reason),
        )

    def _report(self, failure: Any, what: str) -> None:
        self.log.failure("{what} failed", failure, what=what)

    # -- our server side (Desk)

    def entered(self, connection: ServerConnection, name: str, hello: Hello) -> None:
        """Note that a member connected to us.

        Raises:
            Refused: it is ourselves, a copy of ourselves, or we are not running.
        """
        if name == self.identity.name:
            if hello.boot == self.boot_id:
                raise Refused("yourself", "this master called itself: the member list has its address for another")
            text = f"a second machine runs with the key of {name}: one is a copy of the other; stop and reinstall one"
            self._duplicated(text)
            raise Refused("duplicate", text)
        if name not in self.book or not self._running:
            raise Refused("not-yet", "this master is starting or stopping")
        self.book.came(name, connection, hello.boot, self.reactor.seconds())
        self._met(name, hello)
        if not self.book.is_called(name):
            self._callers[name].wake()

    def left(self, connection: ServerConnection, name: str) -> None:
        """Note that its connection is gone."""
        self.book.went(name, connection, connection.reason)

    def beat(self, connection: ServerConnection, name: str, beat: Heartbeat) -> None:
        """Note a sign of life; two machines that live on with one key are found here."""
        self.book.beat(name, beat)
        twin = self.book.twin(name, connection, self.reactor.seconds(), self.timing.dead)
        if isinstance(twin, ServerConnection):
            text = f"two machines live with the key of {name}: one is a copy of the other; stop and reinstall one"
            self.book.alarm(f"duplicate:{name}", text)
            connection.refuse("duplicate", text)
            twin.refuse("duplicate", text)

    def acknowledged(self, name: str, incarnation: str, vector: Context) -> None:
        """Note what a member holds durably."""
        if not self.book.acknowledged(name, vector):
            return
        self._acknowledgements.note(name, Acknowledged(incarnation, dict(vector)))
        for callback in list(self._acknowledge_listeners):
            callback(name)

    # -- our calling side (Asker)

    def reached(self, name: str, hello: Hello) -> None:
        """Note that a member answered our call."""
        self.book.called(name, True)
        self._met(name, hello)

    def _met(self, name: str, hello: Hello) -> None:
        if self.book.met(name, hello):
            self._duplicated(f"{name} writes with our own incarnation: one machine is a copy of the other")

    def pulse(self, name: str, beat: Heartbeat) -> None:
        """Note its sign of life."""
        self.book.beat(name, beat)

    def pulled(self, name: str, vector: Context) -> None:
        """Note that we hold all that it held; the others are told where that moved our vector without new rows."""
        self._moved(())
        self._drifted.discard(name)
        for callback in list(self._pulled_listeners):
            callback(name, vector)

    def refused(self, name: str, refusal: Refusal) -> None:
        """Note that it turned us away."""
        if refusal.word == "duplicate":
            self._duplicated(f"{name} says: {refusal.text}")
        elif refusal.word == "removed":
            if refusal.members:
                # Signed by the cluster key: then it is so, and the nodes that are served here are told too.
                try:
                    self.membership.offer(refusal.members, ())
                except BeonssError as error:
                    self.log.warn("{name} refuses this master with a wrong list: {error}", name=name, error=str(error))
            self.book.alarm("removed", f"{name} says that this machine was removed from the member list")

    def _duplicated(self, text: str) -> None:
        self.book.alarm("duplicate", text)
        self._duplicate(text)


def _listening(listeners: list[Any], callback: Any) -> Callable[[], None]:
    listeners.append(callback)

    def cancel() -> None:
        if callback in listeners:
            listeners.remove(callback)

    return cancel


def _unavailable(failure: Failure, name: str) -> Any:
    if failure.check(ConnectionBroken, TooLate):
        raise Unavailable(f"{name} did not answer: {failure.getErrorMessage() or 'in time'}")
    return failure
