"""What both kinds of callers do alike: ask what there is for them, compare now and then, and have things done."""

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from beonss.core.replication.registers import Context
from beonss.errors import BeonssError, PeerError, Refused, Unavailable
from beonss.net.connection import Connection, Timing
from beonss.net.parts import Members, Replica
from beonss.wire.sync import PROTOCOL, Compare, End, Event, Hello, Question, Request, RosterUpdate

OnEvent = Callable[[Mapping[str, Any]], None]


class ConnectionBroken(BeonssError):  # noqa: N818 - what happened
    """The connection ended before a request was answered."""


class AskingConnection(Connection):
    """A connection on which we ask "what have you for me?".

    Args:
        reactor: for times.
        timing: all times.
        replica: what we hold.
        public: whether we are a node.

    Attributes:
        everything: the first question is asked as if we held nothing: we had drifted.
        drifted: the master found that we hold something else than it: the next connection asks for everything.
        name: of the master, once it is believed.
    """

    name = ""

    def __init__(self, reactor: Any, timing: Timing, replica: Replica, *, public: bool) -> None:
        super().__init__(reactor, timing)
        self.everything = False
        self.drifted = False
        self._replica = replica
        self._public = public
        self._question: Context = {}
        self._waiting = False
        self._expected = 0
        self._compared: Context | None = None
        self._numbers = itertools.count(1)
        self._requests: dict[int, tuple[Deferred[Mapping[str, Any]], OnEvent]] = {}
        self._comparing = LoopingCall(self._compare)
        self._comparing.clock = reactor

    def ask(self, *, wait: bool) -> None:
        """Ask; the vector acknowledges what we hold durably."""
        self._question = {} if self.everything else dict(self._replica.vector)
        self.everything = False
        self._expected = 0
        self._waiting = wait
        self.send(Question(self._question, wait))
        if not self._comparing.running:
            # Not all at once after a master's restart.
            self._comparing.start(self.timing.compare * (0.5 + random.random()), now=False)  # noqa: S311 - no secret

    def _compare(self) -> None:
        if self._waiting and self.established and not self.congested:
            self.run(self._send_compare())

    async def _send_compare(self) -> None:
        vector, digest = await self._replica.digest(public_only=self._public)
        if not digest:
            # An answer is half here: there is nothing to compare yet.
            return
        self._compared = vector
        self.send(Compare(vector, digest))

    def compared(self) -> None:
        """The master says that we differ: unless something moved meanwhile, begin anew with everything."""
        if self._compared == self._replica.vector:
            self.drifted = True
            self.abort("this machine holds other values than that master: asking for everything again")

    # -- requests

    def request(self, kind: str, params: Mapping[str, Any], on_event: OnEvent) -> "Deferred[Mapping[str, Any]]":
        """Ask the master to do something.

        Returns:
            the data of the end. Fails with Refused, Unavailable or :class:`ConnectionBroken`. If it is cancelled the
            answer is not waited for; what the master began it finishes.
        """
        number = next(self._numbers)
        deferred: Deferred[Mapping[str, Any]] = Deferred(lambda _: self._requests.pop(number, None) and None)
        if not self.established:
            deferred.errback(ConnectionBroken(self.reason or "not connected"))
            return deferred
        self._requests[number] = (deferred, on_event)
        self.send(Request(number, kind, params))
        self.expect()
        return deferred

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._requests)

    def told(self, message: Event | End) -> None:
        """Pass on what the master says about a request."""
        found = self._requests.get(message.number)
        if found is None:
            return  # cancelled
        deferred, on_event = found
        if isinstance(message, Event):
            try:
                on_event(message.data)
            except Exception:  # noqa: BLE001 - a fault of the asker's is no reason to lose the connection
                self.log.failure("an event of a request could not be passed on")
            return
        del self._requests[message.number]
        if not message.refusal:
            deferred.callback(message.data)
            return
        text = message.data.get("message")
        text = text if isinstance(text, str) else message.refusal
        if message.refusal in {"unavailable", "internal"}:
            deferred.errback(Unavailable(f"{self.name}: {text}"))
        else:
            deferred.errback(Refused(message.refusal, text))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Compare no more; fail what was not answered."""
        if self._comparing.running:
            self._comparing.stop()
        super().connectionLost(reason)
        requests, self._requests = self._requests, {}
        for deferred, _ in requests.values():
            if not deferred.called:
                deferred.errback(ConnectionBroken(self.reason))


def take_roster(membership: Members, update: RosterUpdate | Hello) -> None:
    """Merge the roster in a message.

    Raises:
        PeerError: it is not what it says it is.
    """
    try:
        membership.offer(update.members, update.acceptances)
    except Refused as refusal:
        raise PeerError(str(refusal)) from None


def check_greeting(hello: Hello, membership: Members) -> None:
    """Take the greeting of a master, the roster in it included.

    Raises:
        PeerError: it speaks another protocol, belongs to another cluster, or shows a wrong signature.
    """
    if hello.protocol != PROTOCOL:
        raise PeerError(f"it speaks protocol {hello.protocol}, this machine {PROTOCOL}: install one version")
    if hello.role != "master" or hello.cluster != membership.roster.cluster:
        raise PeerError("it is no master of this cluster")
    take_roster(membership, hello)
