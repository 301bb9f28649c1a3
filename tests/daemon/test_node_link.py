"""Nodes on loopback with real TLS: what they get and from whom they take it."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from support.sync_cluster import FAST, Cluster, Master, turn, until
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from beonss.core.accounts.entries import Lock, UserEntry, encode
from beonss.core.cluster.members import Roster, removed
from beonss.core.replication.registers import Key, Register, Stamp
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.node_link import NodeLink
from beonss.daemon.replication.membership import Membership
from beonss.errors import Refused, Unavailable
from beonss.net.connection import Timing
from beonss.net.sync_port import Caps
from beonss.store.database import Database
from beonss.store.writer import InlineWriter
from beonss.wire.documents import empty_roster
from beonss.wire.feed import DescriptionContent

SAM = "5" * 32
PIPPIN = "6" * 32


class Node:
    """A node that pins the cluster's key and is told which masters to try."""

    def __init__(self, cluster: Cluster, *masters: Master, timing: Timing = FAST, patience: float = 2.0) -> None:
        self.database = Database(":memory:", cluster.id, scope="public", durable=False)
        self.accounts = Accounts(
            reactor,
            InlineWriter(self.database),
            clock=lambda: int(time.time() * 1000),
            new_incarnation=lambda: secrets.token_hex(16),
        )
        self.rosters: list[Roster] = []
        self.membership = Membership(empty_roster(cluster.public), self.rosters.append)
        self.descriptions: list[DescriptionContent] = []
        self.masters = list(masters)
        self.link = NodeLink(
            reactor,
            membership=self.membership,
            accounts=self.accounts,
            candidates=lambda: [master.endpoint for master in self.masters],
            description=self.descriptions.append,
            digest=lambda: self.descriptions[-1].digest if self.descriptions else "",
            name="r01n07",
            timing=timing,
            patience=patience,
            limit=10.0,
            spread=0.0,
        )

    async def start(self) -> None:
        await self.accounts.start()
        self.link.start()

    async def end(self) -> None:
        await self.link.stop()
        await self.accounts.stop()

    def read(self, object_id: str, field: str = "entry") -> bytes | None:
        register = self.database.register(Key(object_id, field))
        return None if register is None else register.value


def user(shell: str) -> bytes:
    return encode(UserEntry("sam", 2001, 2001, "", "/home/sam", shell))


class Both:
    """A cluster whose masters take nodes from loopback, and a node; for `async with`."""

    def __init__(self, *names: str, requests: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.cluster = Cluster(*names, node_allowed=lambda source: source == "127.0.0.1", requests=requests, **options)
        self.nodes: list[Node] = []

    async def __aenter__(self) -> "Both":
        for master in self.cluster.masters:
            await master.start()
        return self

    async def node(self, *masters: Master, **options: Any) -> Node:
        node = Node(self.cluster, *(masters or self.cluster.masters), **options)
        self.nodes.append(node)
        await node.start()
        return node

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.end()
        await self.cluster.end()


@ensureDeferred
async def test_a_node_gets_public_registers_and_no_others() -> None:
    """First state and changes arrive; hashes never do; freshness is proven; it starts with the cluster's key alone."""
    async with Both("frodo", "gamgee") as both:
        frodo = both.cluster["frodo"]
        await frodo.write(SAM, user("/bin/sh"))
        await frodo.write(SAM, json.dumps({"hash": "$6$secret", "changed": 1}).encode(), "password")
        node = await both.node()
        await until(lambda: node.read(SAM) == user("/bin/sh"), "the first state")
        assert node.link.connected == "frodo"
        await until(lambda: node.link.age is not None and node.link.age < 1, "proven fresh")
        await both.cluster["gamgee"].write(SAM, user("/bin/zsh"))
        await frodo.write(SAM, encode(Lock(True)), "lock")
        await until(lambda: node.read(SAM) == user("/bin/zsh") and node.read(SAM, "lock"), "changes")
        assert node.read(SAM, "password") is None
        assert [roster.list.number for roster in node.rosters] == [2]


@ensureDeferred
async def test_a_password_s_change_does_not_wake_nodes() -> None:
    async with Both("frodo") as both:
        frodo = both.cluster["frodo"]
        node = await both.node()
        await until(lambda: node.link.age is not None, "connected")
        cut = frodo.sync.port.feed.cut
        await frodo.write(SAM, json.dumps({"hash": "$6$secret", "changed": 1}).encode(), "password")
        await turn(0.3)
        assert frodo.sync.port.feed.cut == cut


@ensureDeferred
async def test_one_answer_serves_all_nodes_that_ask_the_same() -> None:
    async with Both("frodo") as both:
        frodo = both.cluster["frodo"]
        nodes = [await both.node() for _ in range(5)]
        await until(lambda: all(node.link.age is not None for node in nodes), "all connected")
        cut = frodo.sync.port.feed.cut
        await frodo.write(SAM, user("/bin/sh"))
        await until(lambda: all(node.read(SAM) for node in nodes), "all have it")
        assert frodo.sync.port.feed.cut == cut + 1


@ensureDeferred
async def test_a_node_goes_on_with_the_next_master_and_keeps_what_it_has_without_any() -> None:
    async with Both("frodo", "gamgee") as both:
        frodo, gamgee = both.cluster.masters
        await frodo.write(SAM, user("/bin/sh"))
        node = await both.node(frodo, gamgee)
        await until(lambda: node.read(SAM), "the first state")
        await until(lambda: gamgee.read(SAM), "the other master has it")
        await frodo.stop()
        await until(lambda: node.link.connected == "gamgee", "the next master")
        await gamgee.write(SAM, user("/bin/zsh"))
        await until(lambda: node.read(SAM) == user("/bin/zsh"), "fed by it")
        await gamgee.stop()
        await until(lambda: node.link.connected is None, "alone")
        assert node.read(SAM) == user("/bin/zsh")
        assert node.link.age is not None
        assert node.link.last_error
        await frodo.again()
        await until(lambda: node.link.connected == "frodo", "back")


@ensureDeferred
async def test_the_description_comes_signed_when_it_is_another() -> None:
    async with Both("frodo") as both:
        frodo = both.cluster["frodo"]
        current = [DescriptionContent(both.cluster.id, 1, "d1", b"one")]
        frodo.sync._describe = lambda: current[0]
        node = await both.node()
        await until(lambda: [d.text for d in node.descriptions] == [b"one"], "the description")
        current[0] = DescriptionContent(both.cluster.id, 2, "d2", b"two")
        frodo.sync.description_changed()
        await until(lambda: [d.text for d in node.descriptions] == [b"one", b"two"], "the next one")
        assert node.descriptions[-1].version == 2


@ensureDeferred
async def test_a_node_takes_nothing_from_a_master_of_another_cluster() -> None:
    """It pins one key: whoever is not in a list signed by it is no master."""
    async with Both("frodo") as other, Both("gandalf") as own:
        await other.cluster["frodo"].write(SAM, user("/bin/evil"))
        node = await own.node(other.cluster["frodo"])
        await until(lambda: "another cluster" in node.link.last_error, "refused")
        # It lies about its cluster: its list is still not signed by the key that the node pins.
        other.cluster["frodo"].sync.membership.roster = Roster(
            other.cluster.public, own.cluster.roster.list, other.cluster.roster.document
        )
        await until(lambda: "signed" in node.link.last_error, "its list is not believed")
        assert node.read(SAM) is None
        assert node.link.connected is None


@ensureDeferred
async def test_a_removed_master_cannot_feed_a_node_that_knows() -> None:
    async with Both("frodo", "gamgee") as both:
        frodo, gamgee = both.cluster.masters
        node = await both.node(gamgee)
        await until(lambda: node.link.connected == "gamgee", "connected")
        newer = both.cluster.sign(removed(both.cluster.roster, "gamgee"))
        node.membership.offer(newer.document, ())
        frodo.membership.offer(newer.document, ())
        gamgee.sync.membership.roster = both.cluster.masters[0].membership.roster
        await until(lambda: node.link.connected is None, "left")
        gamgee.sync.is_member = lambda: True  # type: ignore[method-assign]
        await turn(0.2)
        assert node.link.connected is None


@ensureDeferred
async def test_strangers_by_address_and_too_many_nodes_are_turned_away() -> None:
    cluster = Cluster("frodo", node_allowed=lambda _: False)
    try:
        await cluster["frodo"].start()
        node = Node(cluster, cluster["frodo"])
        await node.start()
        try:
            await until(lambda: "stranger" in node.link.last_error, "refused")
            assert node.membership.roster.list.number == 0
        finally:
            await node.end()
    finally:
        await cluster.end()
    async with Both("frodo", caps=Caps(nodes=1)) as both:
        first = await both.node()
        await until(lambda: first.link.connected, "the first")
        second = await both.node()
        await until(lambda: "full" in second.link.last_error, "the second")


async def authenticate(params: Mapping[str, Any], source: str, report: Any) -> Mapping[str, Any]:
    if params["user"] == "nobody":
        raise Refused("unknown-user", "there is no such user")
    report({"seen": source})
    return {"ok": params["password"] == b"secret", "by": "frodo"}


@ensureDeferred
async def test_requests_are_answered_with_events_and_refusals() -> None:
    async with Both("frodo", requests={"authenticate": authenticate}) as both:
        node = await both.node()
        events: list[Mapping[str, Any]] = []
        answer = await node.link.ask("authenticate", {"user": "sam", "password": b"secret"}, events.append)
        assert answer == {"ok": True, "by": "frodo"}
        assert events == [{"seen": "127.0.0.1"}]
        with pytest.raises(Refused) as refused:
            await node.link.ask("authenticate", {"user": "nobody", "password": b""})
        assert refused.value.code == "unknown-user"
        with pytest.raises(Refused) as refused:
            await node.link.ask("dance", {})
        assert refused.value.code == "unknown-request"


@ensureDeferred
async def test_without_a_master_a_request_is_unavailable_in_time() -> None:
    cluster = Cluster("frodo")
    node = Node(cluster, patience=0.2)
    await node.start()
    try:
        with pytest.raises(Unavailable):
            await node.link.ask("authenticate", {})
    finally:
        await node.end()
        await cluster.end()


@ensureDeferred
async def test_a_login_is_put_to_the_next_master_a_change_is_not() -> None:
    """When the connection breaks with a change under way, the user is told that the outcome is not known."""
    stuck: list[Deferred[Any]] = []

    async def never(params: Mapping[str, Any], source: str, report: Any) -> Mapping[str, Any]:
        stuck.append(Deferred())
        return await stuck[-1]

    async def at_once(params: Mapping[str, Any], source: str, report: Any) -> Mapping[str, Any]:
        return {"ok": True}

    async with Both("frodo", "gamgee") as both:
        frodo, gamgee = both.cluster.masters
        frodo.sync.requests = {"authenticate": never, "change-password": never}
        gamgee.sync.requests = {"authenticate": at_once, "change-password": at_once}
        node = await both.node(frodo, gamgee)
        await until(lambda: node.link.connected == "frodo", "connected")
        login = node.link.ask("authenticate", {})
        change = node.link.ask("change-password", {})
        change.addErrback(lambda failure: failure.value)
        await until(lambda: len(stuck) == 2, "both under way")
        await frodo.stop()
        assert await login == {"ok": True}
        error = await change
        assert isinstance(error, Refused)
        assert error.code == "unknown-outcome"
        for deferred in stuck:
            deferred.callback({})


@ensureDeferred
async def test_a_failure_in_a_request_is_logged_and_says_nothing_of_it(logged_errors: Any) -> None:
    async def broken(params: Mapping[str, Any], source: str, report: Any) -> Mapping[str, Any]:
        raise RuntimeError("a bug")

    async with Both("frodo", requests={"authenticate": broken}) as both:
        node = await both.node()
        with pytest.raises(Unavailable) as unavailable:
            await node.link.ask("authenticate", {"password": b"secret"})
        assert "a bug" not in str(unavailable.value)
        assert len(logged_errors.flush(RuntimeError)) == 1


@ensureDeferred
async def test_a_node_s_silent_drift_is_found_and_healed() -> None:
    """Although its vector never equals a master's: private registers have numbers too."""
    async with Both("frodo", timing=replace(FAST, compare=0.2)) as both:
        frodo = both.cluster["frodo"]
        await frodo.write(SAM, user("/bin/sh"))
        await frodo.write(SAM, json.dumps({"hash": "$6$secret", "changed": 1}).encode(), "password")
        node = await both.node(timing=replace(FAST, compare=0.2))
        await until(lambda: node.read(SAM), "the first state")
        await frodo.write(SAM, json.dumps({"hash": "$6$other", "changed": 2}).encode(), "password")
        await node.accounts.run(lambda db: db._connection.execute("DELETE FROM register"))
        node.database.recount()
        assert node.read(SAM) is None
        await until(lambda: node.read(SAM) == user("/bin/sh"), "it comes again")
        await until(lambda: node.link.age is not None and node.link.connected, "fresh again")


@ensureDeferred
async def test_what_the_only_master_lost_is_forgotten_though_its_numbers_were_used_again() -> None:
    """The master was set back while the node was away, and wrote on until its vector covers the node's."""
    async with Both("frodo", timing=replace(FAST, compare=0.2)) as both:
        frodo = both.cluster["frodo"]
        node = await both.node(timing=replace(FAST, compare=0.2))
        await frodo.write(SAM, user("/bin/sh"))
        await frodo.write(PIPPIN, user("/bin/sh"))
        await until(lambda: node.read(PIPPIN), "both are known")
        frodo_life = frodo.accounts.incarnation
        # As if both had been written before the copy that was put back, and pippin's place taken by another since.
        stamp = Stamp(1, frodo_life, frodo.accounts.vector[frodo_life])
        other = Register(Key("7" * 32, "entry"), user("/bin/zsh"), stamp)

        def set_back(database: Database) -> None:
            database._connection.execute("DELETE FROM register WHERE object = ?", (PIPPIN,))
            database.merge([other])
            database.recount()

        await frodo.accounts.run(set_back)
        frodo.sync.port.feed._kept.clear()  # another process would have none
        await until(lambda: node.read("7" * 32) and node.read(PIPPIN) is None, "it holds what the master holds")
        assert node.read(SAM) == user("/bin/sh")
        mine = await node.accounts.digest(public_only=True)
        assert mine == await frodo.accounts.digest(public_only=True)


@ensureDeferred
async def test_a_node_goes_back_to_the_best_master_when_it_is_there_again() -> None:
    async with Both("frodo", "gamgee") as both:
        frodo, gamgee = both.cluster.masters
        node = await both.node(frodo, gamgee, timing=replace(FAST, reconsider=0.3))
        await until(lambda: node.link.connected == "frodo", "the best")
        await frodo.stop()
        await until(lambda: node.link.connected == "gamgee", "the next")
        await frodo.again()
        await until(lambda: node.link.connected == "frodo", "back")
        await turn(0.5)
        assert node.link.connected == "frodo"


@ensureDeferred
async def test_a_description_too_large_for_a_frame_is_an_alarm_and_not_a_loop() -> None:
    async with Both("frodo") as both:
        frodo = both.cluster["frodo"]
        frodo.sync._describe = lambda: DescriptionContent(both.cluster.id, 1, "d1", b"x" * (4 << 20))
        node = await both.node()
        await until(lambda: node.link.age is not None, "fed all the same")
        assert "description-size" in frodo.sync.alarms
        assert node.descriptions == []
