"""init, invite, join, members: what they make, and what they refuse."""

import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pytest_twisted import ensureDeferred
from support.sync_cluster import Cluster, Master, until
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from beonss.admin.main import command
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import founded, invited
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.replication.member_operations import member_operations
from beonss.daemon.replication.membership import Membership
from beonss.errors import BeonssError, ConfigurationError, Refused, Unavailable
from beonss.net.control import ControlFactory, listen_control
from beonss.net.joining import OutcomeUnknown
from beonss.store.audit import AuditLog, read_on
from beonss.store.keys import load_identity, load_private_key, load_roster, new_identity, save_roster
from beonss.store.statedirectory import holding
from beonss.wire.documents import Token, accept, invite_key, public_bytes, read_token, write_members, write_token
from beonss.wire.feed import DescriptionContent


def beonss(*words: Any, text: str | None = None) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], input=text)


def made(tmp_path: Path, name: str = "frodo") -> Path:
    state = tmp_path / name
    done = beonss("init", "--state", state, "--name", name, "--address", "127.0.0.1:7001")
    assert done.exit_code == 0, done.output
    return state


def test_init_makes_a_cluster_whose_private_keys_only_root_reads(tmp_path: Path) -> None:
    state = made(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    private = {"cluster.key", "member.key", "lock"}
    assert modes == {name: 0o600 if name in private else 0o644 for name in modes}
    assert set(modes) == private | {"cluster.pub", "member.crt", "members"}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    roster = load_roster(state)
    assert roster.name_of(load_identity(state).public) == "frodo"
    assert roster.list.members[0].endpoints == (Endpoint("127.0.0.1", 7001),)


def test_init_never_overwrites(tmp_path: Path) -> None:
    state = made(tmp_path)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    again = beonss("init", "--state", state, "--name", "frodo", "--address", "127.0.0.1")
    assert isinstance(again.exception, ConfigurationError)
    assert "already belongs to a master" in str(again.exception)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def test_init_with_an_offline_key_that_exists_leaves_nothing_behind(tmp_path: Path) -> None:
    key = tmp_path / "stick" / "cluster.key"
    key.parent.mkdir()
    key.write_text("something")
    done = beonss("init", "--state", tmp_path / "s", "--name", "a", "--address", "127.0.0.1", "--cluster-key", key)
    assert isinstance(done.exception, ConfigurationError)
    assert key.read_text() == "something"
    assert not (tmp_path / "s").exists()


def test_init_asks_the_description_for_title_and_addresses(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "fellowship.toml"
    state = tmp_path / "s"
    done = beonss("init", "--state", state, "--name", "frodo", "--description", example)
    assert done.exit_code == 0, done.output
    assert load_roster(state).list.members[0].endpoints[0] == Endpoint("10.5.0.1", 7653)
    stranger = beonss("init", "--state", tmp_path / "t", "--name", "sauron", "--description", example)
    assert "no master in the description" in str(stranger.exception)


def test_invite_prints_the_token_alone_on_standard_output(tmp_path: Path) -> None:
    state = made(tmp_path)
    done = beonss("invite", "gamgee", "--address", "127.0.0.1:7002", "--state", state)
    assert done.exit_code == 0, done.output
    token = read_token(done.stdout)
    assert (token.name, token.invited) == ("gamgee", 2)
    assert token.endpoints == (Endpoint("127.0.0.1", 7001),)
    entry = load_roster(state).list.find("gamgee")
    assert entry is not None
    assert entry.invite_key == public_bytes(invite_key(token.secret))
    assert abs(entry.expires - time.time() - 86400) < 60
    assert "gamgee" in beonss("members", "--state", state).output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gamgee", "--address", "0.0.0.0"], "connect to"),
        (["gamgee", "--address", "127.0.0.1", "--valid", "soon"], "duration"),
        (["gam gee", "--address", "127.0.0.1"], "one label"),
        (["frodo", "--address", "127.0.0.1"], "member already"),
        (["gamgee", "--address", "127.0.0.1", "--cluster-key", "/nowhere/cluster.key"], "private key"),
    ],
)
def test_invite_refuses_what_cannot_be(tmp_path: Path, words: list[str], text: str) -> None:
    state = made(tmp_path)
    before = (state / "members").read_bytes()
    done = beonss("invite", *words, "--state", state)
    assert isinstance(done.exception, BeonssError)
    assert text in str(done.exception)
    assert (state / "members").read_bytes() == before


def test_invite_beside_a_running_master_without_its_socket_changes_nothing(tmp_path: Path) -> None:
    state = made(tmp_path)
    before = (state / "members").read_bytes()
    with holding(state):
        done = beonss(
            "invite", "gamgee", "--address", "127.0.0.1", "--state", state, "--control", tmp_path / "no-socket"
        )
    assert isinstance(done.exception, Unavailable)
    assert "--control" in str(done.exception)
    assert (state / "members").read_bytes() == before


def test_remove_needs_the_key_and_keeps_the_last_master(tmp_path: Path) -> None:
    state = made(tmp_path)
    assert "last master" in str(beonss("members", "remove", "frodo", "--state", state).exception)
    assert "no member" in str(beonss("members", "remove", "bilbo", "--state", state).exception)
    beonss("invite", "gamgee", "--address", "127.0.0.1:7002", "--state", state)
    done = beonss("members", "--state", state, "remove", "gamgee")
    assert done.exit_code == 0, done.output
    assert load_roster(state).list.find("gamgee") is None
    assert load_roster(state).list.number == 3


def test_replacing_the_machine_one_sits_at_needs_force_and_a_running_master(tmp_path: Path) -> None:
    """The others must hear of the new list before the old key is gone."""
    state, number = made(tmp_path), 1
    token = beonss("invite", "gamgee", "--address", "127.0.0.1:7002", "--state", state).stdout
    roster = load_roster(state)
    save_roster(state, replace(roster, acceptances={"gamgee": accept(read_token(token), b"g" * 32)}))
    number = load_roster(state).list.number
    words = ("members", "replace", "FRODO", "--state", state)
    assert "--force" in str(beonss(*words).exception)
    assert "start it first" in str(beonss(*words, "--force").exception)
    assert load_roster(state).list.number == number
    assert beonss("members", "replace", "gamgee", "--state", state).exit_code == 0


def test_rejoining_needs_the_directory(tmp_path: Path) -> None:
    state = made(tmp_path)
    token = beonss("invite", "gamgee", "--address", "127.0.0.1:7002", "--state", state).stdout.strip()
    done = beonss("join", "--rejoin", token, "--state", tmp_path / "g")
    assert isinstance(done.exception, ConfigurationError)
    assert "leave --rejoin out" in str(done.exception)
    assert not (tmp_path / "g").exists()


def test_a_master_may_move_to_another_address(tmp_path: Path) -> None:
    state = made(tmp_path)
    done = beonss("members", "move", "frodo", "--address", "10.5.0.1", "--address", "[fd00::1]:7000", "--state", state)
    assert done.exit_code == 0, done.output
    roster = load_roster(state)
    assert roster.list.members[0].endpoints == (Endpoint("10.5.0.1", 7653), Endpoint("fd00::1", 7000))
    assert roster.name_of(load_identity(state).public) == "frodo"
    nobody = beonss("members", "move", "bilbo", "--address", "10.5.0.1", "--state", state)
    assert "no member" in str(nobody.exception)


def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    state = made(tmp_path)
    (state / "cluster.key").chmod(0o640)
    done = beonss("invite", "gamgee", "--address", "127.0.0.1", "--state", state)
    assert "chmod 600" in str(done.exception)


def test_join_refuses_what_is_no_token(tmp_path: Path) -> None:
    state = made(tmp_path)
    token = beonss("invite", "gamgee", "--address", "127.0.0.1:1", "--state", state).stdout.strip()
    torn = token[:20] + ("y" if token[20] == "x" else "x") + token[21:]
    for text in ("hello", token[:-3], torn):
        done = beonss("join", text, "--state", tmp_path / "g")
        assert isinstance(done.exception, ConfigurationError)
        assert token[20:40] not in str(done.exception)
    assert not (tmp_path / "g").exists()


def test_join_with_no_master_in_reach_leaves_the_directory_free(tmp_path: Path) -> None:
    state = made(tmp_path)
    token = beonss("invite", "gamgee", "--address", "127.0.0.1:2", "--state", state).stdout.strip()
    done = beonss("join", token, "--state", tmp_path / "g", "--via", "127.0.0.1:1")
    assert isinstance(done.exception, Unavailable)
    assert "still good" in str(done.exception)
    assert not (tmp_path / "g").exists()
    (tmp_path / "g").mkdir()
    beonss("join", token, "--state", tmp_path / "g", "--via", "127.0.0.1:1")
    assert list((tmp_path / "g").iterdir()) == [], "the administrator's directory stays, empty as it was"
    assert isinstance(beonss("join", token, "--state", state).exception, ConfigurationError)


async def invitation(master: Master, name: str, valid: int = 3600) -> str:
    """Invite as the command does, with the running test master."""
    secret = bytes(range(16))
    roster = master.membership.roster
    expires = int(time.time()) + valid
    newer = master.cluster.sign(
        invited(roster, name, [Endpoint("127.0.0.1", 9)], public_bytes(invite_key(secret)), expires)
    )
    master.membership.offer(newer.document, ())
    entry = newer.list.find(name)
    assert entry is not None
    return write_token(Token(roster.cluster_key, name, entry.invited, expires, secret, (master.endpoint,)))


@ensureDeferred
async def test_join_makes_a_member_that_all_masters_believe(tmp_path: Path) -> None:
    """The acceptance made on one master reaches the other; the files are those of a master."""
    cluster = Cluster("frodo", "gamgee")
    try:
        for master in cluster.masters:
            await master.start()
        frodo, gamgee = cluster.masters
        token = await invitation(frodo, "fellowship")
        done = await deferToThread(beonss, "join", "-", "--state", tmp_path / "f", text=token + "\n")
        assert done.exit_code == 0, (done.output, done.exception)
        key = load_identity(tmp_path / "f").public
        assert frodo.membership.roster.name_of(key) == "fellowship"
        await until(lambda: gamgee.membership.roster.name_of(key) == "fellowship", "the acceptance spreads")
        assert load_roster(tmp_path / "f").name_of(key) == "fellowship"
        assert not (tmp_path / "f" / "join.pending").exists()
        used = await deferToThread(beonss, "join", token, "--state", tmp_path / "g")
        assert isinstance(used.exception, Refused)
        assert used.exception.code == "token-used"
        assert not (tmp_path / "g").exists()
    finally:
        await cluster.end()


@ensureDeferred
async def test_join_is_refused_with_an_expired_a_foreign_and_an_unknown_token(tmp_path: Path) -> None:
    cluster = Cluster("frodo")
    frodo = cluster["frodo"]
    try:
        await frodo.start()
        expired = await invitation(frodo, "late", valid=-1)
        done = await deferToThread(beonss, "join", expired, "--state", tmp_path / "1")
        assert getattr(done.exception, "code", "") == "token-expired"
        other = Cluster("pippin")
        try:
            foreign = await invitation(other["pippin"], "x")
            done = await deferToThread(beonss, "join", foreign, "--state", tmp_path / "2", "--via", str(frodo.endpoint))
            assert getattr(done.exception, "code", "") == "wrong-cluster"
        finally:
            await other.end()
        token = await invitation(frodo, "gone")
        frodo.membership.offer(
            cluster.sign(founded(cluster.public, cluster.roster.list.members[0])).document, ()
        )  # an older number changes nothing
        await invitation(frodo, "gone")
        done = await deferToThread(beonss, "join", token, "--state", tmp_path / "3")
        assert getattr(done.exception, "code", "") == "unknown-invitation"
    finally:
        await cluster.end()


@ensureDeferred
async def test_join_can_be_repeated_when_the_answer_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("frodo")
    frodo = cluster["frodo"]
    try:
        await frodo.start()
        token = await invitation(frodo, "gamgee")

        def lost(*_: object) -> None:
            raise OutcomeUnknown("cut")

        with monkeypatch.context() as patch:
            patch.setattr("beonss.net.joining._answer", lost)
            done = await deferToThread(beonss, "join", token, "--state", tmp_path / "g")
        assert isinstance(done.exception, Unavailable)
        assert "repeat the same command" in str(done.exception)
        done = await deferToThread(beonss, "join", token, "--state", tmp_path / "g")
        assert done.exit_code == 0, (done.output, done.exception)
    finally:
        await cluster.end()


@ensureDeferred
async def test_join_brings_the_description_and_leaves_one_that_is_there(tmp_path: Path) -> None:
    cluster = Cluster("frodo")
    frodo = cluster["frodo"]
    frodo.sync._describe = lambda: DescriptionContent(cluster.id, 7, "d", b"[cluster]\n")
    try:
        await frodo.start()
        for name in ("gamgee", "pippin"):
            token = await invitation(frodo, name)
            words = ["join", token, "--state", tmp_path / name, "--description", tmp_path / "cluster.toml"]
            done = await deferToThread(beonss, *words)
            assert done.exit_code == 0, (done.output, done.exception)
            assert (tmp_path / "cluster.toml").read_bytes() == b"[cluster]\n"
            assert ("version 7" in done.output) == (name == "gamgee")
            assert ("left as it is" in done.output) == (name == "pippin")
        # A master without a description says so.
        frodo.sync._describe = lambda: None
        token = await invitation(frodo, "merry")
        words = ["join", token, "--state", tmp_path / "merry", "--description", tmp_path / "other.toml"]
        done = await deferToThread(beonss, *words)
        assert "serves no description" in done.output
    finally:
        await cluster.end()


@ensureDeferred
async def test_join_does_not_believe_a_server_that_is_no_master(tmp_path: Path) -> None:
    """It knows the whole list, and says "welcome"; but its key is not in it."""
    cluster = Cluster("frodo")
    impostor = Master(cluster, new_identity("frodo"))
    impostor.membership.offer(cluster.roster.document, ())
    impostor.listen()
    try:
        token = await invitation(impostor, "gamgee")
        done = await deferToThread(beonss, "join", token, "--state", tmp_path / "g")
        assert isinstance(done.exception, Unavailable)
        assert "not in the member list" in str(done.exception)
        assert not (tmp_path / "g").exists()
    finally:
        await impostor.stop()
        await cluster.end()


@ensureDeferred
async def test_join_goes_on_to_the_next_master_when_one_has_not_heard_of_it(tmp_path: Path) -> None:
    cluster = Cluster("frodo", "gamgee")
    frodo, gamgee = cluster.masters
    try:
        token = await invitation(frodo, "merry")  # the two are not connected: gamgee has the old list
        via = ["--via", "127.0.0.1:1", "--via", gamgee.endpoint, "--via", frodo.endpoint]
        done = await deferToThread(beonss, "join", token, "--state", tmp_path / "m", *via)
        assert done.exit_code == 0, (done.output, done.exception)
        assert "frodo accepted it" in done.output
    finally:
        await cluster.end()


@ensureDeferred
async def test_invite_and_remove_beside_a_running_master(tmp_path: Path) -> None:
    """The list goes through its control socket; one that another signing overtook is not called done."""
    state = made(tmp_path)
    membership = Membership(load_roster(state), lambda changed: save_roster(state, changed))
    path = tmp_path / "control"
    audit = AuditLog(tmp_path / "audit.jsonl", time.time, "frodo")
    operations = member_operations(membership, AuditTrail(audit, time.monotonic), "frodo")
    port = listen_control(reactor, path, ControlFactory(reactor, operations))
    try:
        with holding(state):
            words = ["--address", "127.0.0.1:7002", "--state", state, "--control", path]
            done = await deferToThread(beonss, "invite", "gamgee", *words)
            assert done.exit_code == 0, (done.output, done.exception)
            assert membership.roster.list.find("gamgee") is not None
            stale = state.parent / "stale"
            shutil.copytree(state, stale)
            done = await deferToThread(beonss, "members", "remove", "gamgee", "--state", state, "--control", path)
            assert done.exit_code == 0, (done.output, done.exception)
            assert load_roster(state).list.number == 3
            with holding(stale):
                words = ["--address", "127.0.0.1:7003", "--state", stale, "--control", path]
                (stale / "members").write_bytes((tmp_path / "frodo" / "members").read_bytes())
                membership.offer(
                    write_members(replace(load_roster(stale).list, number=9), load_private_key(stale / "cluster.key")),
                    (),
                )
                done = await deferToThread(beonss, "invite", "pippin", *words)
            assert isinstance(done.exception, ConfigurationError)
            assert "did not take" in str(done.exception)
            assert membership.roster.list.find("pippin") is None
        told = [(line["event"], line["author"], line["detail"]) for line in read_on(audit.path, None)[0]]
        assert told == [
            ("members", "root@frodo", "list 2: frodo, gamgee"),
            ("members", "root@frodo", "list 3: frodo"),
        ]
    finally:
        await port.stopListening()
