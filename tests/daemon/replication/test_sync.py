"""Masters among masters, on loopback with real TLS: what arrives, who is refused, what is known of whom."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from support.sync_cluster import FAST, Cluster, Master, all_reachable, running, turn, until
from twisted.internet import reactor
from twisted.logger import formatEvent, globalLogPublisher

from beonss.core.cluster.members import Member, MemberList, removed
from beonss.core.replication.registers import Change, Context, Key, Register, covers
from beonss.daemon.replication import acknowledgements, peers
from beonss.errors import ConfigurationError, Unavailable
from beonss.store.failures import DiskFullError
from beonss.store.keys import new_identity
from beonss.wire.feed import DescriptionContent
from beonss.wire.sync import Compare


def held(cluster: Cluster, object_id: str, value: bytes) -> bool:
    return all(master.read(object_id) == value for master in cluster.masters)


@ensureDeferred
async def test_three_masters_converge() -> None:
    """What is written on one is soon on all, and the writer knows who holds it."""
    async with running("frodo", "gamgee", "fellowship") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo = cluster["frodo"]
        heard: list[str] = []
        cancel = frodo.sync.on_acknowledge(heard.append)
        register = await frodo.write("aa", b"1")
        await until(lambda: held(cluster, "aa", b"1"), "the value everywhere")
        others = ("gamgee", "fellowship")
        await until(lambda: all(frodo.sync.holds(name, register.stamp) for name in others), "held by all")
        assert set(heard) == {"gamgee", "fellowship"}
        cancel()
        await cluster["gamgee"].write("aa", b"2")
        await until(lambda: held(cluster, "aa", b"2"), "the newer value everywhere")
        digests = {(await master.accounts.digest())[1] for master in cluster.masters}
        assert len(digests) == 1


@ensureDeferred
async def test_the_first_answer_of_each_peer_is_told_even_when_it_brings_nothing() -> None:
    """The boot reconciliation waits for these answers."""
    cluster = Cluster("frodo", "gamgee", "fellowship")
    frodo = cluster["frodo"]
    pulled: dict[str, object] = {}
    frodo.sync.on_pulled(pulled.__setitem__)
    try:
        for master in cluster.masters:
            await master.start()
        await until(lambda: set(pulled) == {"gamgee", "fellowship"}, "both answered")
    finally:
        await cluster.end()


@ensureDeferred
async def test_an_absent_master_is_shown_with_the_reason_and_reached_again_when_it_is_back() -> None:
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        await gamgee.stop()
        await until(lambda: "nobody listens" in frodo.sync.peers["gamgee"].last_error, "noticed, and why")
        assert not frodo.sync.peers["gamgee"].reachable
        await gamgee.again()
        await until(lambda: frodo.sync.peers["gamgee"].reachable, "back")
        assert frodo.sync.peers["gamgee"].last_error == ""


@ensureDeferred
async def test_a_master_that_was_away_catches_up_and_until_then_holds_nothing_new() -> None:
    async with running("frodo", "gamgee", "fellowship") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee, _ = cluster.masters
        await gamgee.stop()
        await until(lambda: not frodo.sync.peers["gamgee"].reachable, "noticed")
        since = frodo.sync.peers["gamgee"].since
        register = await frodo.write("bb", b"1")
        await until(lambda: frodo.sync.holds("fellowship", register.stamp), "held by the third")
        assert not frodo.sync.holds("gamgee", register.stamp)
        # The machine where it was changed goes away before gamgee is back: fellowship hands it on.
        await frodo.stop()
        await gamgee.again()
        await until(lambda: gamgee.read("bb") == b"1", "caught up from the third")
        await frodo.again()
        await until(lambda: frodo.sync.holds("gamgee", register.stamp), "acknowledged")
        assert since is not None


@ensureDeferred
async def test_a_large_state_comes_in_pages() -> None:
    """Several thousand registers, some of them large, arrive whole over one connection."""
    cluster = Cluster("frodo", "gamgee")
    frodo, gamgee = cluster.masters
    await frodo.accounts.start()
    changes = [Change(Key(f"{n:04x}", "entry"), b"x" * (300_000 if n % 500 == 0 else 10)) for n in range(3000)]
    await frodo.accounts.write(changes, "root@frodo")
    await frodo.sync.start()
    await gamgee.start()
    try:
        await until(lambda: dict(gamgee.accounts.vector) == dict(frodo.accounts.vector), "all of it")
        assert await gamgee.accounts.digest() == await frodo.accounts.digest()
    finally:
        await cluster.end()


@ensureDeferred
async def test_a_removed_master_is_refused_and_what_it_writes_stays_with_it() -> None:
    async with running("frodo", "gamgee", "fellowship") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee, fellowship = cluster.masters
        newer = cluster.sign(removed(cluster.roster, "gamgee"))
        frodo.membership.offer(newer.document, ())
        await until(lambda: fellowship.membership.roster.list.number == 3, "the list spreads")
        await until(lambda: "gamgee" not in frodo.sync.peers and "gamgee" not in fellowship.sync.peers, "forgotten")
        await until(lambda: gamgee.membership.roster.list.number == 3, "it is told, with the list that shows it")
        assert "removed" in gamgee.sync.alarms
        with pytest.raises(Unavailable, match="no longer in the member list"):
            await gamgee.write("cc", b"1")
        gamgee.accounts.halt("")  # as one that does not listen
        await gamgee.write("cc", b"1")
        await turn(0.5)
        assert frodo.read("cc") is None
        assert fellowship.read("cc") is None


@ensureDeferred
async def test_a_master_that_was_away_while_it_was_removed_is_told_so() -> None:
    async with running("frodo", "gamgee", "fellowship") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee, fellowship = cluster.masters
        await gamgee.stop()
        frodo.membership.offer(cluster.sign(removed(cluster.roster, "gamgee")).document, ())
        await until(lambda: fellowship.membership.roster.list.number == 3, "the list spreads")
        await gamgee.again()
        await until(lambda: frodo.sync.port.counts["removed"], "it is refused")
        await until(lambda: gamgee.membership.roster.list.number == 3, "it is told, with the list that shows it")
        assert "removed" in gamgee.sync.alarms
        with pytest.raises(Unavailable, match="no longer in the member list"):
            await gamgee.write("cc", b"1")
        gamgee.accounts.halt("")  # as one that does not listen
        await gamgee.write("cc", b"1")
        await turn(0.3)
        assert frodo.read("cc") is None


@ensureDeferred
async def test_a_member_list_spreads_to_those_that_were_away() -> None:
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        await gamgee.stop()
        members = (*cluster.roster.list.members, Member("new", b"k" * 32, ()))
        newer = cluster.sign(MemberList(cluster.id, 3, members))
        frodo.membership.offer(newer.document, ())
        await gamgee.again()
        await until(lambda: gamgee.membership.roster.list.number == 3, "the newer list")
        assert gamgee.saved[-1].list.number == 3


@ensureDeferred
async def test_a_machine_under_a_member_s_name_but_with_another_key_is_a_stranger() -> None:
    """It neither reads nor writes, whichever way the connection is made."""
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        await gamgee.stop()
        impostor = Master(cluster, new_identity("gamgee"))
        impostor.membership.offer(cluster.roster.document, ())
        impostor.endpoint = gamgee.endpoint
        impostor.sync.is_member = lambda: True  # type: ignore[method-assign] - it lies
        impostor.listen()
        await impostor.start()
        try:
            await frodo.write("dd", b"1")
            await until(lambda: "key" in frodo.sync.peers["gamgee"].last_error, "frodo calls it and finds another key")
            await until(lambda: frodo.sync.port.counts["stranger"] > 0, "it calls frodo and is refused")
            assert impostor.read("dd") is None
            assert not frodo.sync.peers["gamgee"].reachable
            await until(lambda: "stranger" in impostor.sync.peers["frodo"].last_error, "it is told")
        finally:
            await impostor.stop()
            await impostor.accounts.stop()
        await gamgee.again()
        await until(lambda: gamgee.read("dd") == b"1", "the real one")


@ensureDeferred
async def test_a_copy_of_a_machine_is_found_and_both_stop_writing() -> None:
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        twin = Master(cluster, gamgee.identity)
        twin.membership.offer(cluster.roster.document, ())
        await twin.start()
        try:
            await until(lambda: "duplicate:gamgee" in frodo.sync.alarms, "the alarm")
            await until(lambda: "duplicate" in twin.sync.alarms and "duplicate" in gamgee.sync.alarms, "both are told")
        finally:
            await twin.stop()
            await twin.accounts.stop()


@ensureDeferred
async def test_clocks_and_descriptions_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "DIFFERENCE_GRACE", 0.1)
    texts = {"frodo": "a" * 64, "gamgee": "b" * 64}
    cluster = Cluster("frodo", "gamgee")
    for master in cluster.masters:
        content = DescriptionContent(cluster.id, 1, texts[master.name], b"")
        master.sync._describe = lambda content=content: content
    cluster["gamgee"].sync.wall = lambda: time.time() + 60
    try:
        for master in cluster.masters:
            await master.start()
        frodo = cluster["frodo"]
        await until(lambda: {"clock:gamgee", "description:gamgee"} <= set(frodo.sync.alarms), "the alarms")
        assert "ahead" in frodo.sync.alarms["clock:gamgee"]
        assert abs((frodo.sync.peers["gamgee"].clock_skew_ms or 0) - 60_000) < 2000
        assert frodo.sync.peers["gamgee"].reachable
    finally:
        await cluster.end()


@ensureDeferred
async def test_a_silent_peer_is_given_up_in_time() -> None:
    """A host that vanishes without a word (no FIN) is noticed by its missing heartbeats."""
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        for connection in [*gamgee.sync.port.connections, *(c.connection for c in gamgee.sync._callers.values())]:
            connection._transport.pauseProducing()
            connection._beat.f = lambda: None
        await until(lambda: "silent" in frodo.sync.peers["gamgee"].last_error, "noticed")


@ensureDeferred
async def test_an_answer_that_is_half_here_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for everything again would interrupt the answer on its way, again and again."""
    async with running("frodo", "gamgee", timing=replace(FAST, compare=0.05)) as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster["frodo"], cluster["gamgee"]
        monkeypatch.setattr(gamgee.database, "unfinished", lambda: {"a" * 32: 5})
        for name in ("frodo", "gamgee"):
            calls = cluster[name].sync._callers
            before = {peer: caller.connection for peer, caller in calls.items()}
            await turn(0.4)
            assert {peer: caller.connection for peer, caller in calls.items()} == before
            assert not cluster[name].sync._drifted
        # Also when an older version says so.
        server = next(c for c in frodo.sync.port.connections if c.role == "member")
        said: list[object] = []
        monkeypatch.setattr(server, "send", said.append)
        await server._compare(Compare(dict(gamgee.accounts.vector), b""))
        assert said == []


@ensureDeferred
async def test_silent_drift_is_found_and_healed() -> None:
    """A row that vanished from a disk behind our back comes again, and one that only the drifted master has spreads."""
    async with running("frodo", "gamgee", timing=replace(FAST, compare=0.2)) as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        await frodo.write("aa", b"1")
        await frodo.write("bb", b"2")
        await until(lambda: gamgee.read("bb") == b"2", "both rows")
        await gamgee.accounts.run(lambda db: db._connection.execute("DELETE FROM register WHERE object = 'aa'"))
        gamgee.database.recount()
        assert gamgee.read("aa") is None
        await until(lambda: gamgee.read("aa") == b"1", "it comes again")
        await until(lambda: all_reachable(cluster), "all reachable")


@ensureDeferred
async def test_what_peers_acknowledged_outlives_a_restart() -> None:
    """Else everything would look buffered for an absent master until it comes back."""
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        register = await frodo.write("aa", b"1")
        await until(lambda: frodo.sync.holds("gamgee", register.stamp), "acknowledged")
        await gamgee.stop()
        await frodo.stop()
        await frodo.again()
        assert frodo.sync.holds("gamgee", register.stamp)
        assert not frodo.sync.peers["gamgee"].reachable
        await gamgee.again()


@ensureDeferred
async def test_what_cannot_be_kept_is_told_once_and_tried_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: the log is not filled as well."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(acknowledgements, "REMEMBER", 0.02)
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo = cluster["frodo"]
        keep, tries = frodo.accounts.acknowledge, 0

        async def full(*_: object) -> None:
            nonlocal tries
            tries += 1
            raise DiskFullError("the disk is full")

        frodo.accounts.acknowledge = full  # type: ignore[method-assign]
        globalLogPublisher.addObserver(told.append)
        try:
            register = await frodo.write("aa", b"1")
            await until(lambda: frodo.sync.holds("gamgee", register.stamp), "acknowledged")
            before = tries
            await until(lambda: tries > before + 3, "tried again and again")
            frodo.accounts.acknowledge = keep  # type: ignore[method-assign]
            vector = frodo.accounts.vector
            await until(lambda: getattr(frodo.database.acknowledged().get("gamgee"), "vector", {}) == vector, "kept")
        finally:
            globalLogPublisher.removeObserver(told.append)
        texts = [formatEvent(event) or "" for event in told if event.get("log_failure") is None]
        assert texts.count("keeping what gamgee acknowledged failed: the disk is full") == 1
        assert sum("is kept again" in text for text in texts) <= 1


@ensureDeferred
async def test_what_finds_no_room_is_pulled_again_until_it_does() -> None:
    """The log has a line for each try, and no traceback."""
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster["frodo"], cluster["gamgee"]
        merge, tries = gamgee.accounts.merge, 0

        async def full(*_: object) -> None:
            nonlocal tries
            tries += 1
            raise DiskFullError("the disk is full")

        gamgee.accounts.merge = full  # type: ignore[method-assign]
        await frodo.write("aa", b"1")
        await until(lambda: tries > 2, "tried again")
        gamgee.accounts.merge = merge  # type: ignore[method-assign]
        await until(lambda: held(cluster, "aa", b"1"), "the value everywhere")


@ensureDeferred
async def test_a_master_that_calls_itself_is_told_so() -> None:
    """The member list has its address for another's: a mistake that must not look like a copy of the machine."""
    async with running("frodo", "gamgee") as cluster:
        frodo, gamgee = cluster.masters
        await gamgee.stop()
        members = tuple(replace(m, endpoints=(frodo.endpoint,)) for m in cluster.roster.list.members)
        frodo.membership.offer(cluster.sign(replace(cluster.roster.list, number=3, members=members)).document, ())
        await until(lambda: "another key" in frodo.sync.peers["gamgee"].last_error, "noticed")
        assert "duplicate" not in frodo.sync.alarms
        await gamgee.again()


@ensureDeferred
async def test_an_occupied_port_is_named_with_what_to_do() -> None:
    cluster = Cluster("frodo")
    frodo = cluster["frodo"]
    try:
        with pytest.raises(ConfigurationError, match="--sync-listen"):
            frodo.make_sync().listen(frodo.endpoint)
    finally:
        await cluster.end()


@ensureDeferred
async def test_a_removed_master_takes_no_changes_and_a_returned_one_does() -> None:
    """Nobody else would ever have them."""
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        gamgee, whole = cluster["gamgee"], cluster.roster.list
        without = tuple(member for member in whole.members if member.name != "gamgee")
        gamgee.membership.offer(cluster.sign(MemberList(cluster.id, whole.number + 1, without)).document, ())
        with pytest.raises(Unavailable, match="no longer in the member list"):
            await gamgee.write("aa", b"1")
        again = MemberList(cluster.id, whole.number + 2, whole.members)
        gamgee.membership.offer(cluster.sign(again).document, ())
        await gamgee.write("aa", b"1")


@ensureDeferred
async def test_a_stream_of_changes_comes_in_few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written within the gap goes along with the next answer: the other side flushes its disk once for it."""
    async with running("frodo", "gamgee", timing=replace(FAST, gap=(1000.0, 1000.0))) as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo, gamgee = cluster.masters
        # The first answer, at the greeting, begins the gap.
        called = gamgee.sync._callers["frodo"]
        await until(lambda: getattr(called.connection, "_waiting", False), "gamgee has the first answer")
        merged: list[int] = []
        original = gamgee.accounts.merge

        def merge(rows: Sequence[Register], vector: Context | None = None) -> Any:
            merged.append(len(rows))
            return original(rows, vector)

        monkeypatch.setattr(gamgee.accounts, "merge", merge)
        for name in ("aa", "bb", "cc"):
            written = await frodo.write(name, b"1")

        def held_back() -> list[Any]:
            return [call for call in reactor.getDelayedCalls() if call.getTime() - reactor.seconds() > 500]  # type: ignore[attr-defined]

        (answer,) = await until(held_back, "the answer to gamgee waits")
        assert not covers(gamgee.accounts.vector, written.stamp)
        answer.reset(0)
        await until(lambda: covers(gamgee.accounts.vector, written.stamp), "all of it")
        assert merged == [3]
