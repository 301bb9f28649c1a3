"""What both kinds of callers do alike: ask, and now and then compare what they hold with the master they ask."""

import random
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from beonss.core.registers import Context
from beonss.errors import PeerError, Refused
from beonss.net.connection import Connection, Timing
from beonss.net.parts import Members, Replica
from beonss.wire.sync import PROTOCOL, Compare, Hello, Question, RosterUpdate


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
    """

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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Compare no more."""
        if self._comparing.running:
            self._comparing.stop()
        super().connectionLost(reason)


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
