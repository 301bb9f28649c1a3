"""The port for masters and nodes against strangers: garbage, silence, floods, and plain TLS clients."""

import contextlib
import os
import random
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from support.sync_cluster import FAST, Cluster, Master, all_reachable, running, turn, until
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from beonss.core.cluster.members import invited
from beonss.net.connection import Timing
from beonss.net.sync_port import Caps, plain_address
from beonss.store.keys import Identity, new_identity
from beonss.wire.documents import Token, accept, invite_key, public_bytes
from beonss.wire.frames import MAXIMUM_FIRST_FRAME, FrameReader, frame
from beonss.wire.sync import Hello, Message, Question, Refusal, Request, RosterUpdate, decode, encode


def tls(identity_dir: Path | None = None, maximum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if maximum is not None:
        context.maximum_version = maximum
    if identity_dir is not None:
        identity = new_identity("stranger")
        (identity_dir / "c").write_bytes(identity.certificate)
        (identity_dir / "k").write_bytes(identity.key_pem)
        context.load_cert_chain(identity_dir / "c", identity_dir / "k")
    return context


def converse(master: Master, context: ssl.SSLContext, *data: bytes, seconds: float = 5.0) -> list[Message]:
    """Send bytes over TLS, return the messages that come until the other side closes (or it takes too long)."""
    reader, messages = FrameReader(), []
    with (
        socket.create_connection(master.endpoint, timeout=seconds) as plain,
        context.wrap_socket(plain) as connection,
    ):
        try:
            for part in data:
                connection.sendall(part)
            while received := connection.recv(65536):
                messages += [decode(body) for body in reader.feed(received)]
        except ConnectionError:
            pass
    return messages


def hello(own: Cluster, /, role: str, **changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "role": role, "cluster": own.id, "name": "frodo", "incarnation": "", "boot": "b", "wall": 0,
        "description": "", "software": "0", **changes,
    }  # fmt: skip
    return Hello(**fields)


@ensureDeferred
@pytest.mark.parametrize("role", ["member", "joiner", "node", "master", "king"])
async def test_a_stranger_gets_one_word_in_every_role(role: str, tmp_path: Path) -> None:
    """With or without a key: no list, no names, no rows."""
    async with running("frodo") as cluster:
        frodo = cluster["frodo"]
        for context in (tls(), tls(tmp_path)):
            said = await deferToThread(
                converse, frodo, context, encode(hello(cluster, role)), encode(Question({}, False))
            )
            assert len(said) == 1
            assert isinstance(said[0], Refusal)
            assert said[0].word in {"stranger", "bad-proof"}
            assert cluster["frodo"].name not in said[0].text


@ensureDeferred
async def test_wrong_cluster_version_and_first_words_are_refused() -> None:
    async with running("frodo") as cluster:
        frodo = cluster["frodo"]
        for message, word in (
            (hello(cluster, "node", cluster="0" * 32), "wrong-cluster"),
            (hello(cluster, "node", protocol=99), "protocol-version"),
            (Question({}, False), "protocol"),
            (Request(1, "authenticate", {}), "protocol"),
        ):
            said = await deferToThread(converse, frodo, tls(), encode(message))
            assert [getattr(one, "word", "") for one in said] == [word]


@ensureDeferred
async def test_a_member_s_list_cannot_be_forged_by_a_stranger(tmp_path: Path) -> None:
    """A hello with a list signed by somebody else is a stranger's, and the list is not taken."""
    async with running("frodo") as cluster:
        frodo = cluster["frodo"]
        other = Cluster("frodo")
        forged = hello(cluster, "member", members=other.roster.document)
        said = await deferToThread(converse, frodo, tls(tmp_path), encode(forged))
        assert [getattr(one, "word", "") for one in said] == ["stranger"]
        assert frodo.membership.roster == cluster.roster
        await other.end()


def with_key(context: ssl.SSLContext, identity: Identity, directory: Path) -> ssl.SSLContext:
    (directory / "c").write_bytes(identity.certificate)
    (directory / "k").write_bytes(identity.key_pem)
    context.load_cert_chain(directory / "c", directory / "k")
    return context


@ensureDeferred
async def test_a_machine_that_joined_elsewhere_brings_the_proof_and_an_expired_token_is_none(tmp_path: Path) -> None:
    """The list is signed by the cluster key, the acceptance by the invitation; nobody else has to vouch."""
    async with running("frodo") as cluster:
        frodo = cluster["frodo"]
        now = int(time.time())
        for secret, expires, word in ((b"l" * 16, now - 1, "token-expired"), (b"s" * 16, now + 60, "")):
            key = public_bytes(invite_key(secret))
            newer = cluster.sign(invited(cluster.roster, "gamgee", [], key, expires))
            token = Token(cluster.public, "gamgee", newer.list.number, expires, secret, ())
            identity = new_identity("gamgee")
            acceptance = accept(token, identity.public)
            words = hello(cluster, "member", name="gamgee", members=newer.document, acceptances=(acceptance,))
            context = with_key(tls(), identity, tmp_path)
            said = await deferToThread(converse, frodo, context, encode(words), encode(Question({}, False)) * 2)
            assert getattr(said[0], "word", "") == word
            assert (frodo.membership.roster.name_of(identity.public) == "gamgee") == (word == "")


@ensureDeferred
async def test_garbage_inside_tls_ends_that_connection_only() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    async with running("frodo", "gamgee") as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo = cluster["frodo"]
        for _ in range(15):
            data = chance.randbytes(chance.randrange(4, 300))
            await deferToThread(converse, frodo, tls(), frame(data))
        said = await deferToThread(converse, frodo, tls(), (MAXIMUM_FIRST_FRAME + 1).to_bytes(4, "big"))
        assert [getattr(one, "word", "") for one in said] == ["protocol"]
        await frodo.write("aa", b"1")
        await until(lambda: cluster["gamgee"].read("aa") == b"1", "still serving")
        assert frodo.sync.port.unknown == 0


@ensureDeferred
async def test_garbage_instead_of_tls_and_older_tls_are_refused() -> None:
    async with running("frodo") as cluster:
        frodo = cluster["frodo"]

        def plain(data: bytes) -> bytes:
            with socket.create_connection(frodo.endpoint, timeout=5) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(1000)

        for data in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(500), b""):
            await deferToThread(plain, data)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await deferToThread(converse, frodo, tls(maximum=ssl.TLSVersion.TLSv1_2), b"")
        await until(lambda: not frodo.sync.port.connections, "all gone")


@ensureDeferred
async def test_who_says_nothing_is_cut_off(tmp_path: Path) -> None:
    """Before the handshake, and after it."""
    async with running("frodo", timing=Timing(handshake=0.2)) as cluster:
        frodo = cluster["frodo"]

        def silent() -> bytes:
            with socket.create_connection(frodo.endpoint, timeout=5) as connection:
                return connection.recv(100)

        with contextlib.suppress(ConnectionError):
            assert await deferToThread(silent) == b""
        assert await deferToThread(converse, frodo, tls()) == []
        await until(lambda: not frodo.sync.port.connections, "all gone")


@ensureDeferred
async def test_connections_from_one_address_are_bounded_and_members_do_not_count() -> None:
    async with running("frodo", "gamgee", caps=Caps(source=3), timing=FAST) as cluster:
        await until(lambda: all_reachable(cluster), "all reachable")
        frodo = cluster["frodo"]
        opened = [socket.create_connection(frodo.endpoint, timeout=5) for _ in range(5)]
        try:
            await until(lambda: frodo.sync.port.counts["too-many"] == 2, "two turned away")
        finally:
            for connection in opened:
                connection.close()
        await until(lambda: frodo.sync.port.unknown == 0, "forgotten")
        assert not frodo.sync.port.by_source


@ensureDeferred
async def test_a_node_may_only_say_what_a_node_says() -> None:
    """It cannot hand us a member list, and not ask a second question before the first is answered."""
    async with running("frodo", node_allowed=lambda _: True) as cluster:
        frodo = cluster["frodo"]
        greeting = encode(hello(cluster, "node"))
        said = await deferToThread(converse, frodo, tls(), greeting, encode(RosterUpdate(b"", ())))
        assert getattr(said[-1], "word", "") == "protocol"
        twice = encode(Question({}, True)) * 2
        said = await deferToThread(converse, frodo, tls(), greeting, twice)
        assert getattr(said[-1], "word", "") == "protocol"


@ensureDeferred
async def test_a_peer_that_sends_faster_than_we_work_is_slowed_down() -> None:
    """The inbox is bounded: the socket is not read while messages wait."""
    gate: Deferred[None] = Deferred()

    async def slow(params: Any, source: str, report: Any) -> Any:
        await gate
        return {}

    async with running("frodo", node_allowed=lambda _: True, requests={"slow": slow}) as cluster:
        frodo = cluster["frodo"]
        with socket.create_connection(frodo.endpoint, timeout=5) as plain:
            connection = await deferToThread(tls().wrap_socket, plain)
            requests = b"".join(encode(Request(number, "slow", {})) for number in range(100))
            await deferToThread(connection.sendall, encode(hello(cluster, "node")) + requests)
            await until(lambda: any(c._requests for c in frodo.sync.port.connections), "requests")
            await turn(0.1)
            (served,) = frodo.sync.port.connections
            assert served._requests <= 64
            gate.callback(None)
            await until(lambda: served._requests == 0, "all answered")
            connection.close()


def test_addresses_of_dual_stack_sockets_are_plain() -> None:
    assert plain_address("::ffff:10.5.1.7") == "10.5.1.7"
    assert plain_address("fd00:5::1") == "fd00:5::1"
