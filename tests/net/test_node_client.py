"""A node's connection against a master that lies: nothing unsigned, incomplete or foreign is taken."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.sync_cluster import FAST, KeyedTransport
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from beonss.core.accounts.view import AccountView
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Member, MemberList, Roster, cluster_id
from beonss.core.replication.registers import Key, Register, Stamp
from beonss.daemon.replication.membership import Membership
from beonss.errors import Refused, Unavailable
from beonss.net.asking import ConnectionBroken
from beonss.net.node_client import NodeConnection
from beonss.wire.documents import empty_roster, public_bytes, sign, write_members
from beonss.wire.feed import Batch, BatchContent, DescriptionContent, DescriptionDocument
from beonss.wire.sync import (
    Acknowledge,
    End,
    Event,
    Heartbeat,
    Hello,
    Message,
    Page,
    Question,
    Refusal,
    Request,
    RosterUpdate,
    encode,
)

CLUSTER_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
FRODO = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
GOLLUM = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
PUBLIC = public_bytes(CLUSTER_KEY)
CLUSTER = cluster_id(PUBLIC)
LIST = MemberList(CLUSTER, 3, (Member("frodo", public_bytes(FRODO), ()),))
DOCUMENT = write_members(LIST, CLUSTER_KEY)
LIFE = "a" * 32
ROW = Register(Key("5" * 32, "entry"), b"{}", Stamp(1, LIFE, 1))


class Memory:
    """What the node holds; merges are noted."""

    incarnation = ""
    whole = True

    def __init__(self) -> None:
        self.vector: dict[str, int] = {}
        self.rows: list[Register] = []
        self.view = AccountView()
        self.conformed: list[Any] = []

    async def conform(self, anew: Any, vector: Any) -> None:
        self.conformed.append((anew, vector))
        self.vector = dict(vector)

    async def merge(self, rows: Any, vector: Any = None) -> None:
        self.rows += rows
        self.view.apply(rows)
        self.vector = {**(vector or {}), **self.vector} | {
            origin: max(number, self.vector.get(origin, 0)) for origin, number in (vector or {}).items()
        }


class Side:
    """The node that the connection belongs to, and the master at the other end."""

    def __init__(self, key: Ed25519PrivateKey | None = FRODO) -> None:
        self.clock = Clock()
        self.replica = Memory()
        self.membership = Membership(empty_roster(PUBLIC), lambda _: None)
        self.descriptions: list[DescriptionContent] = []
        self.masters: list[str] = []
        self.proofs = 0
        self.forlorn_said = False
        self.refusals: list[str] = []
        self.transport = KeyedTransport(None if key is None else key.public_key())
        self.connection = NodeConnection(self.clock, FAST, self, Endpoint("10.5.0.1", 7653))
        self.connection.makeConnection(self.transport)
        self.connection.handshakeCompleted()
        self.reasons: list[str] = []
        self.connection.closed.addCallback(self.reasons.append)

    def greeting(self) -> Hello:
        return Hello("node", CLUSTER, "r01n07", "", "", 0, "", "1")

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(0, "", "")

    def attached(self, connection: NodeConnection, name: str) -> None:
        self.masters.append(name)

    def fresh(self, connection: NodeConnection) -> None:
        self.proofs += 1

    def forlorn(self, connection: NodeConnection, *, forlorn: bool) -> None:
        self.forlorn_said = forlorn

    def described(self, content: DescriptionContent) -> None:
        self.descriptions.append(content)

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal.word)

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.connection.dataReceived(encode(message))

    def end(self) -> list[str]:
        self.connection.connectionLost(Failure(ConnectionLost()))
        assert not self.clock.getDelayedCalls()
        return self.reasons

    @property
    def cut(self) -> bool:
        return self.transport.disconnecting or self.transport.aborted


def hello(**changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "role": "master", "cluster": CLUSTER, "name": "frodo", "incarnation": LIFE, "boot": "b", "wall": 0,
        "description": "", "software": "1", "members": DOCUMENT, **changes,
    }  # fmt: skip
    return Hello(**fields)


def batch(key: Ed25519PrivateKey = FRODO, domain: Any = "batch", **changes: Any) -> Batch:
    fields: dict[str, Any] = {
        "cluster": CLUSTER, "since": {}, "answer": 7, "number": 0, "rows": (ROW,), "vector": {LIFE: 1}, **changes,
    }  # fmt: skip
    payload = BatchContent(**fields).encode()
    return Batch(payload, public_bytes(key), sign(key, domain, payload))


def greeted() -> Side:
    side = Side()
    side.hear(hello())
    assert side.masters == ["frodo"]
    side.transport.said()
    return side


def test_a_node_greets_asks_merges_and_asks_again() -> None:
    side = Side()
    side.hear(hello())
    assert [type(message) for message in side.transport.said()] == [Hello, Heartbeat, Question]
    side.hear(batch(vector=None), batch(number=1, rows=()))
    assert side.replica.rows == [ROW]
    assert side.transport.said() == [Question({LIFE: 1}, True)]
    assert side.proofs == 1
    side.hear(Heartbeat(0, "", ""))
    assert side.proofs == 2
    assert side.membership.roster.list == LIST
    side.end()


@pytest.mark.parametrize(
    ("key", "greeting", "reason"),
    [
        (FRODO, hello(members=write_members(LIST, GOLLUM)), "not signed"),
        (GOLLUM, hello(), "not in the member list"),
        (FRODO, hello(name="gamgee"), "not in the member list"),
        (FRODO, hello(members=b""), "not in the member list"),
        (FRODO, hello(cluster="0" * 32), "no master of this cluster"),
        (FRODO, hello(role="node"), "no master of this cluster"),
        (FRODO, hello(protocol=2), "install one version"),
    ],
)
def test_who_cannot_prove_to_be_a_master_is_left(key: Ed25519PrivateKey, greeting: Hello, reason: str) -> None:
    side = Side(key)
    side.hear(greeting)
    assert side.cut
    assert side.masters == []
    assert reason in side.end()[0]


def test_a_server_without_a_key_is_told_nothing() -> None:
    side = Side(None)
    assert side.transport.aborted
    assert side.transport.said() == []
    side.end()


@pytest.mark.parametrize(
    "wrong",
    [
        batch(key=GOLLUM),
        batch(domain="description"),
        Batch(batch().payload, public_bytes(FRODO), b"s" * 64),
        batch(cluster="0" * 32),
        batch(number=1),
        batch(since={LIFE: 9}),
    ],
)
def test_a_batch_that_is_forged_foreign_or_out_of_order_ends_the_connection(wrong: Batch) -> None:
    side = greeted()
    side.hear(wrong)
    assert side.cut
    assert side.replica.rows == []
    assert side.replica.vector == {}
    side.end()


def test_what_the_only_master_has_lost_is_given_up_with_a_whole_answer_and_not_before() -> None:
    side = greeted()
    side.replica.vector = {LIFE: 5}
    side.hear(batch())
    assert side.transport.said() == [Question({}, False)]
    assert (side.proofs, side.replica.conformed) == (0, [])
    presence = Register(Key("5" * 32, "present"), b"{}", Stamp(1, LIFE, 2))
    side.hear(batch(answer=8, vector=None))
    assert side.replica.conformed == []
    side.hear(batch(answer=8, number=1, rows=(presence,), vector={LIFE: 2}))
    ((anew, vector),) = side.replica.conformed
    assert (set(anew.stamps), vector) == ({ROW.key, presence.key}, {LIFE: 2})
    assert side.transport.said() == [Question({LIFE: 2}, True)]
    assert (side.proofs, side.forlorn_said) == (1, False)
    side.end()


def test_pages_of_two_answers_cannot_be_mixed() -> None:
    """A page that was held back must not be covered by the vector of another answer."""
    side = greeted()
    side.hear(batch(vector=None), batch(number=1, answer=8))
    assert side.cut
    assert side.replica.vector == {}
    side.end()


def test_a_master_without_anything_newer_gives_no_proof_before_a_whole_answer() -> None:
    side = greeted()
    side.hear(Heartbeat(0, "", ""), batch(vector=None), Heartbeat(0, "", ""))
    assert side.proofs == 0
    side.end()


def test_only_a_signed_description_of_this_cluster_is_taken() -> None:
    content = DescriptionContent(CLUSTER, 2, "d2", b"text")
    payload = content.encode()
    side = greeted()
    side.hear(DescriptionDocument(payload, public_bytes(FRODO), sign(FRODO, "description", payload)))
    assert side.descriptions == [content]
    side.hear(DescriptionDocument(payload, public_bytes(FRODO), sign(FRODO, "batch", payload)))
    assert side.cut
    side.end()
    foreign = DescriptionContent("0" * 32, 2, "d2", b"text").encode()
    other = greeted()
    other.hear(DescriptionDocument(foreign, public_bytes(FRODO), sign(FRODO, "description", foreign)))
    assert other.cut
    assert other.descriptions == []
    other.end()


@pytest.mark.parametrize("message", [Page(0, (), {}), Question({}, True), Acknowledge({}), Request(1, "x", {})])
def test_what_a_master_does_not_say_to_a_node_ends_the_connection(message: Message) -> None:
    side = greeted()
    side.hear(message)
    assert side.cut
    side.end()
    early = Side()
    early.hear(message)
    assert early.cut
    early.end()


def test_refusals_are_passed_on() -> None:
    side = Side()
    side.hear(Refusal("full", "come later", 30_000))
    assert side.refusals == ["full"]
    assert side.end() == ["refused: full: come later"]


def test_a_newer_list_is_taken_and_an_unsigned_one_is_not() -> None:
    newer = MemberList(CLUSTER, 4, LIST.members)
    side = greeted()
    side.hear(RosterUpdate(write_members(newer, CLUSTER_KEY), ()))
    assert side.membership.roster.list.number == 4
    side.hear(RosterUpdate(write_members(MemberList(CLUSTER, 5, ()), GOLLUM), ()))
    assert side.membership.roster.list.number == 4
    assert side.cut
    side.end()


def failure_of(deferred: Deferred[Any]) -> BaseException:
    failures: list[Failure] = []
    deferred.addErrback(failures.append)
    return failures[0].value


def test_requests_get_their_own_answers() -> None:
    side = greeted()
    events: list[Any] = []
    first = side.connection.request("a", {}, events.append)
    second = side.connection.request("b", {"x": 1}, events.append)
    said = side.transport.said()
    assert said == [Request(1, "a", {}), Request(2, "b", {"x": 1})]
    assert side.connection.busy
    side.hear(Event(2, {"n": 1}), End(2, {"done": True}), End(99, {}), Event(98, {}))
    results: list[Any] = []
    second.addCallback(results.append)
    assert results == [{"done": True}]
    assert events == [{"n": 1}]
    side.hear(End(1, {"message": "no"}, "wrong-password"))
    error = failure_of(first)
    assert isinstance(error, Refused)
    assert (error.code, str(error)) == ("wrong-password", "no")
    assert not side.connection.busy
    side.end()


def test_requests_end_with_the_connection_and_do_not_begin_after_it() -> None:
    side = greeted()
    open_one = side.connection.request("a", {}, print)
    cancelled = side.connection.request("b", {}, print)
    cancelled.addErrback(lambda _: None)
    cancelled.cancel()
    third = side.connection.request("c", {}, print)
    side.hear(End(3, {"message": 5}, "unavailable"))
    assert isinstance(failure_of(third), Unavailable)
    side.end()
    assert isinstance(failure_of(open_one), ConnectionBroken)
    assert isinstance(failure_of(side.connection.request("d", {}, print)), ConnectionBroken)


def test_a_roster_of_nobody_believes_nobody() -> None:
    assert Roster(PUBLIC, MemberList(CLUSTER, 0, ()), b"").name_of(public_bytes(FRODO)) is None
