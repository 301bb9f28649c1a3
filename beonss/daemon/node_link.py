"""A node among masters: one connection to the best that answers, the next when it fails.

The link feeds the node's memory, hands over the description, keeps the member list, and carries requests of the node's
users. It knows how fresh the memory is proven to be.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss import __version__
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Roster
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.replication.membership import Membership
from beonss.errors import Refused, Unavailable
from beonss.net.asking import ConnectionBroken, OnEvent
from beonss.net.calling import Caller, answers
from beonss.net.connection import Timing
from beonss.net.node_client import NodeConnection
from beonss.wire.feed import DescriptionContent
from beonss.wire.sync import Heartbeat, Hello, Refusal

#: Requests after which something may have changed: when the connection breaks, nobody knows.
CHANGING = frozenset({"change-password"})

#: Seconds that a node stays where it is after the best master said that it is full.
FULL_FOR = 3600.0


class NodeLink:
    """A node's link to the masters.

    Args:
        reactor: for sockets and times.
        membership: the masters as known; begins with :func:`beonss.wire.documents.empty_roster` on a new node.
        accounts: the public registers memorized; started before :meth:`start`.
        candidates: gives the masters to try, best first; asked anew for each round.
        description: called with a description that is not in force here and that a master signed.
        digest: gives the digest of the description in force; empty without one.
        name: of this node, for the masters' people; may be empty.
        timing: all times of the protocol.
        patience: seconds that a request waits for a master to be reached.
        limit: seconds that a request may take in all.
        spread: seconds over which nodes that start at once spread their first call.
        uniform: gives numbers in [0, 1).
        wall: this machine's clock, seconds since the epoch. The reactor's own time is only for waiting.

    Attributes:
        connected: name of the master that serves us, or None.
        since: wall seconds since when that is so; None if never.
        last_error: what the last failed try said; empty while connected.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        membership: Membership,
        accounts: Accounts,
        candidates: Callable[[], Sequence[Endpoint]],
        description: Callable[[DescriptionContent], None],
        digest: Callable[[], str],
        name: str = "",
        timing: Timing | None = None,
        patience: float = 5.0,
        limit: float = 60.0,
        spread: float = 0.5,
        uniform: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.reactor = reactor
        self.membership = membership
        self.replica = accounts
        self.name = name
        self.timing = timing or Timing()
        self.connected: str | None = None
        self.since: float | None = None
        self.last_error = ""
        #: What an administrator must look at in what the master says; empty without.
        self.problem = ""
        self._candidates = candidates
        self._describe = description
        self._digest = digest
        self._patience = patience
        self._limit = limit
        self._spread = spread
        self._uniform = uniform
        self._wall = wall
        self._drifted = False
        self._proven: float | None = None
        self._connection: NodeConnection | None = None
        self._waiters: list[Deferred[NodeConnection]] = []
        self._fresh_listeners: list[Callable[[], None]] = []
        self._starting: Any = None
        self._reconsidering = LoopingCall(self._reconsider)
        self._reconsidering.clock = reactor
        self._probe: Deferred[None] | None = None
        self._content_until = 0.0
        self._unlisten: Callable[[], None] = lambda: None
        self._caller = Caller(
            reactor,
            identity=None,
            timing=self.timing,
            places=candidates,
            make=self._make,
            gone=self._gone,
            uniform=uniform,
        )

    # -- life

    def start(self) -> None:
        """Begin to look for a master."""
        self._unlisten = self.membership.listen(self._roster_changed)
        self._reconsidering.start(self.timing.reconsider * (0.5 + self._uniform()), now=False)
        self._starting = self.reactor.callLater(self._spread * self._uniform(), self._caller.start)

    async def stop(self) -> None:
        """Let go of the master."""
        self._unlisten()
        if self._reconsidering.running:
            self._reconsidering.stop()
        if self._probe is not None:
            self._probe.cancel()
        if self._starting is not None and self._starting.active():
            self._starting.cancel()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(Unavailable("this node is stopping"))
        await self._caller.stop()
        self._detached()

    def wake(self) -> None:
        """Try again now: the network or the candidates changed."""
        self._caller.wake()

    def _reconsider(self) -> None:
        """Go back to the best master when it is there again: or all nodes stay with the last one that was."""
        if self._probe is None and self.reactor.seconds() >= self._content_until:
            self._probe = Deferred.fromCoroutine(self._look_for_better())
            self._probe.addBoth(self._looked)

    async def _look_for_better(self) -> None:
        places, connection = self._candidates(), self._connection
        if connection is None or connection.busy or not places or connection.place == places[0]:
            return
        if await answers(self.reactor, places[0], self.timing.connect) and not connection.busy:
            connection.abort(f"the master at {places[0]} is back and comes first")

    def _looked(self, result: Any) -> None:
        self._probe = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("looking for a better master failed", result)

    # -- freshness

    @property
    def proven(self) -> float | None:
        """Wall seconds of the last proof, in this run, that the memory is what a live master has; None without one."""
        return self._proven

    @property
    def age(self) -> float | None:
        """Seconds since the last proof; None without one."""
        return None if self._proven is None else max(0.0, self._wall() - self._proven)

    def on_fresh(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called at each proof of freshness; return what ends that."""
        self._fresh_listeners.append(callback)

        def cancel() -> None:
            if callback in self._fresh_listeners:
                self._fresh_listeners.remove(callback)

        return cancel

    # -- requests

    def ask(
        self, kind: str, params: Mapping[str, Any], on_event: OnEvent = lambda _: None
    ) -> "Deferred[Mapping[str, Any]]":
        """Have a master do something for a user of this node.

        Where nothing can have changed, a request that a failing master left open is put to the next one.

        Returns:
            the result. Fails with Refused (``unknown-outcome``: the connection broke, and it may have been done) or
            Unavailable (no master answers; nothing was changed).
        """
        return Deferred.fromCoroutine(self._ask(kind, params, on_event))

    async def _ask(self, kind: str, params: Mapping[str, Any], on_event: OnEvent) -> Mapping[str, Any]:
        deadline = self.reactor.seconds() + self._limit
        reason = ""
        while (left := deadline - self.reactor.seconds()) > 0:
            connection = await self._master(min(self._patience, left))
            try:
                answer = connection.request(kind, params, on_event)
                answer.addTimeout(max(0.1, deadline - self.reactor.seconds()), self.reactor)
                return await answer
            except (ConnectionBroken, TooLate) as error:
                reason = str(error) or "it did not answer"
                if kind in CHANGING:
                    raise Refused(
                        "unknown-outcome",
                        f"the master {connection.name} did not answer to the end ({reason}); whether the change was "
                        f"made is not known: try the new password, then the old one",
                    ) from None
        raise Unavailable(f"no master answered in {self._limit:g} s: {reason}")

    async def _master(self, seconds: float) -> NodeConnection:
        if self._connection is not None and self._connection.established:
            return self._connection
        waiter: Deferred[NodeConnection] = Deferred()
        self._waiters.append(waiter)
        waiter.addTimeout(seconds, self.reactor)
        self._caller.wake()
        try:
            return await waiter
        except TooLate:
            raise Unavailable(f"no master can be reached: {self.last_error or 'none is known'}") from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    # -- the connection's side (NodeSide)

    def _make(self, place: Endpoint) -> NodeConnection:
        connection = NodeConnection(self.reactor, self.timing, self, place)
        connection.everything = self._drifted
        return connection

    def greeting(self) -> Hello:
        """Return what the node says of itself."""
        return Hello(
            role="node",
            cluster=self.membership.roster.cluster,
            name=self.name,
            incarnation="",
            boot="",
            wall=int(self._wall() * 1000),
            description=self._digest(),
            software=__version__,
        )

    def heartbeat(self) -> Heartbeat:
        """Return the node's sign of life."""
        return Heartbeat(int(self._wall() * 1000), self.membership.roster.digest, self._digest())

    def attached(self, connection: NodeConnection, name: str) -> None:
        """Note that a master serves us."""
        self._connection = connection
        self.connected = name
        self.since = self._wall()
        self.last_error = ""
        self.log.info("connected to the master {name}", name=name)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(connection)

    def fresh(self, connection: NodeConnection) -> None:
        """Note that the memory is what the master had just now."""
        if connection is self._connection:
            self._drifted = False
            self._proven = self._wall()
            for callback in list(self._fresh_listeners):
                callback()

    def forlorn(self, connection: NodeConnection, *, forlorn: bool) -> None:
        """Note whether the only master knows of no account at all, though we do."""
        if connection is self._connection:
            self.problem = (
                f"{connection.name}, the only master, knows of no account; what is memorized here is kept. Restore a "
                f"backup there (beonss restore); if the cluster has begun again without accounts, this ends with the "
                f"first one made"
                if forlorn
                else ""
            )
            if forlorn:
                self.log.error("{text}", text=self.problem)

    def described(self, content: DescriptionContent) -> None:
        """Take the description."""
        if content.digest == self._digest():
            return
        try:
            self._describe(content)
        except Exception:  # noqa: BLE001 - the old description stays in force, and the feed goes on
            self.log.failure("the description that {name} serves could not be taken", name=self.connected)

    def refused(self, refusal: Refusal) -> None:
        """Note that a master turned us away; a full one says when to come again."""
        if refusal.word == "full":
            self._content_until = self.reactor.seconds() + FULL_FOR
        if refusal.retry:
            self._caller.later(min(refusal.retry / 1000, 600.0))

    def _roster_changed(self, roster: Roster) -> None:
        connection = self._connection
        if connection is not None and roster.name_of(connection.key or b"") != connection.name:
            connection.abort(f"{connection.name} was removed from the member list")

    def _gone(self, reason: str) -> None:
        if self.connected is not None:
            self.log.warn("lost the master {name}: {reason}", name=self.connected, reason=reason)
        self.last_error = reason
        self._drifted |= self._connection is not None and self._connection.drifted
        self._detached()

    def _detached(self) -> None:
        if self.connected is not None:
            self.since = self._wall()
        self._connection = None
        self.connected = None
