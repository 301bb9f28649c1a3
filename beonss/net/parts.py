"""What the sync protocol needs from the rest of a master, as interfaces: net knows no daemon."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from beonss.core.accounts.view import AccountView
from beonss.core.cluster.members import Acceptance, Roster
from beonss.core.replication.memorizing import Anew
from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Context, Register
from beonss.wire.feed import DescriptionDocument
from beonss.wire.sync import Heartbeat, Hello

#: Tells the asking node that something became known.
Report = Callable[[Mapping[str, Any]], None]
#: Does what a node asked for: (params, source address of the node, report) -> result. Raises Refused or Unavailable.
NodeRequest = Callable[[Mapping[str, Any], str, Report], Awaitable[Mapping[str, Any]]]
NodeRequests = Mapping[str, NodeRequest]


class Members(Protocol):
    """The member list as held here (:class:`beonss.daemon.replication.membership.Membership`)."""

    roster: Roster

    def offer(self, document: bytes, acceptances: Iterable[Acceptance]) -> bool:
        """Take what another machine holds; say whether anything was new."""

    def admit(self, acceptance: Acceptance, now: float) -> None:
        """Let a machine in that presents its token, or raise Refused."""


class Replica(Protocol):
    """The registers held here, as far as replication looks at them."""

    @property
    def incarnation(self) -> str:
        """Our incarnation, 32 hex digits; empty on a node."""

    @property
    def vector(self) -> Context:
        """What we hold durably."""

    async def page(
        self, question: Context, more: object | None = None, *, public_only: bool = False, limit: int = 1000
    ) -> Page:
        """Return the next page of the answer to a question; without ``more`` the answer is cut now."""

    def changed_since(self, question: Context, *, public_only: bool = False) -> "Deferred[None]":
        """Fire when there is an answer to ``question``; may be cancelled."""

    async def merge(self, rows: Iterable[Register], vector: Context | None = None) -> object:
        """Take rows durably; the vector holds with the last page only."""

    async def conform(self, anew: Anew, vector: Context) -> None:
        """Hold exactly what an answer to a question for everything held."""

    @property
    def whole(self) -> bool:
        """Whether the vector covers everything held: no answer is half here."""

    @property
    def view(self) -> AccountView:
        """What the registers mean."""

    async def digest(self, *, public_only: bool = False) -> tuple[Mapping[str, int], bytes]:
        """Return the vector and the digest of all registers, both of one moment."""


class Desk(Protocol):
    """What a master's server side asks of the master (:class:`beonss.daemon.replication.sync.Sync`)."""

    @property
    def membership(self) -> Members:
        """The member list."""

    @property
    def replica(self) -> Replica:
        """The registers held here."""

    @property
    def member_requests(self) -> NodeRequests:
        """What other masters may ask for, by kind."""

    @property
    def requests(self) -> NodeRequests:
        """What nodes may ask for."""

    def hello(self, role: str = "master") -> Hello:
        """Return our greeting, the roster in it."""

    def heartbeat(self) -> Heartbeat:
        """Return our sign of life."""

    @property
    def node_allowed(self) -> Callable[[str], bool]:
        """Says whether a node may connect from an address."""

    def description(self) -> DescriptionDocument | None:
        """Return the signed description for nodes."""

    @property
    def wall(self) -> Callable[[], float]:
        """Gives this machine's clock, seconds since the epoch."""

    def entered(self, connection: Any, name: str, hello: Hello) -> None:
        """Note that a member connected to us; raises Refused to turn it away."""

    def left(self, connection: Any, name: str) -> None:
        """Note that its connection is gone."""

    def beat(self, connection: Any, name: str, beat: Heartbeat) -> None:
        """Note a member's sign of life."""

    def acknowledged(self, name: str, incarnation: str, vector: Context) -> None:
        """Note what a member holds durably."""
