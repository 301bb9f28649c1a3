"""The control socket: who may ask what, one request after the other, and what a bad or absent asker can do."""

import os

import pytest
from pytest_twisted import blockon, ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from beonss.errors import ConfigurationError, Refused, StoreError, Unavailable
from beonss.net.control import (
    ControlFactory,
    Limits,
    Operation,
    listen_control,
    peer_credentials,
)
from beonss.store.control import ControlClient
from beonss.wire.control import End, Event, LineBuffer, Request, decode_reply, encode_request


class Asker:
    """One fake connection with chosen credentials."""

    def __init__(self, factory, uid=1000):
        self.transport = StringTransport()
        self.transport.uid = uid
        self.lost = False
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, operation, **parameters):
        self.protocol.dataReceived(encode_request(Request(operation, parameters)))

    def replies(self):
        data = self.transport.value()
        self.transport.clear()
        return [decode_reply(line) for line in LineBuffer().feed(data)]

    def hang_up(self):
        self.protocol.connected = 0
        self.protocol.connectionLost()


class Daemon:
    """A factory with operations of every kind."""

    def __init__(self, **limits):
        self.clock = Clock()
        self.held: Deferred = Deferred()
        self.finished = []
        operations = {
            "echo": Operation(self.echo),
            "root": Operation(self.echo, needs_root=True),
            "hold": Operation(self.hold),
            "watch": Operation(self.hold, cancellable=True),
            "refuse": Operation(self.failing(Refused("wrong-password", "the old password is wrong"))),
            "away": Operation(self.failing(Unavailable("no master answers"))),
            "store": Operation(self.failing(StoreError("disk full"))),
            "bug": Operation(self.failing(ZeroDivisionError("a bug with s3cret in it"))),
            "unsayable": Operation(self.unsayable),
            "long": Operation(self.long),
        }
        self.factory = ControlFactory(
            self.clock,
            operations,
            Limits(**limits),
            credentials=lambda t: (77, t.uid, t.uid),
            owner=990,
            hint=": ask elsewhere",
        )

    def ask(self, uid=1000):
        return Asker(self.factory, uid)

    @staticmethod
    async def echo(parameters, peer, report):
        report("seen", uid=peer.uid)
        return {"got": parameters}

    async def hold(self, parameters, peer, report):
        report("begun")
        await self.held
        report("done")
        self.finished.append(peer.connected)
        return {"code": "kept", "message": "held till now"}

    @staticmethod
    def failing(error):
        async def operation(parameters, peer, report):
            raise error

        return operation

    @staticmethod
    async def unsayable(parameters, peer, report):
        return {"object": object()}

    async def long(self, parameters, peer, report):
        for number in range(3):
            report("part", number=number)
            await peer.drained()
        self.finished.append("long")
        return {}


@pytest.fixture
def daemon():
    return Daemon()


def test_a_request_gets_its_events_and_its_end_and_the_connection_stays(daemon):
    asker = daemon.ask()
    for _ in range(2):
        asker.send("echo", x=1)
        assert asker.replies() == [Event("seen", {"uid": 1000}), End("ok", "", {"got": {"x": 1}})]
    assert not asker.transport.disconnecting


def test_the_end_takes_code_and_message_from_the_result(daemon):
    asker = daemon.ask()
    asker.send("hold")
    daemon.held.callback(None)
    assert asker.replies() == [Event("begun"), Event("done"), End("kept", "held till now")]


@pytest.mark.parametrize(("uid", "code"), [(0, "ok"), (990, "ok"), (1000, "not-root")])
def test_only_root_and_the_owner_by_the_credentials_of_the_socket_may_run_root_operations(daemon, uid, code):
    asker = daemon.ask(uid)
    asker.send("root", uid=0)
    assert asker.replies()[-1].code == code


@pytest.mark.parametrize(
    ("operation", "code", "message"),
    [
        ("refuse", "wrong-password", "the old password is wrong"),
        ("away", "unavailable", "no master answers"),
        ("store", "failed", "disk full"),
        ("nothing", "unknown-operation", "this daemon has no operation 'nothing': ask elsewhere"),
    ],
)
def test_an_error_becomes_the_code_of_the_end(daemon, operation, code, message):
    asker = daemon.ask()
    asker.send(operation)
    assert asker.replies() == [End(code, message)]


@pytest.mark.parametrize("operation", ["bug", "unsayable"])
def test_a_bug_is_logged_told_without_its_contents_and_survived(daemon, operation, logged_errors):
    asker = daemon.ask()
    asker.send(operation)
    (end,) = asker.replies()
    assert end.code == "internal"
    assert "s3cret" not in end.message
    assert len(logged_errors.flush(ZeroDivisionError, ValueError, TypeError)) == 1
    asker.send("echo")
    assert asker.replies()[-1].code == "ok"


def test_requests_sent_ahead_wait_for_the_one_that_runs(daemon):
    asker = daemon.ask()
    asker.send("hold")
    asker.send("echo")
    assert asker.replies() == [Event("begun")]
    daemon.held.callback(None)
    assert [reply.code for reply in asker.replies() if isinstance(reply, End)] == ["kept", "ok"]


@pytest.mark.parametrize("flood", [b'{"op":"echo"}\n' * 5000, b"x" * 65537, b"nonsense\n", b"\xff\x00\n"])
def test_a_flood_or_garbage_ends_the_connection_with_a_word(daemon, flood):
    asker = daemon.ask()
    asker.protocol.dataReceived(flood)
    assert [end.code for end in asker.replies()] == ["malformed"]
    assert asker.transport.disconnecting


def test_only_root_may_send_long_lines(daemon):
    asker = daemon.ask(0)
    asker.send("echo", chunk="x" * 4_000_000)
    assert asker.replies()[-1].code == "ok"
    asker.protocol.dataReceived(b"x" * 8_388_609)
    assert [end.code for end in asker.replies()] == ["malformed"]


def test_many_requests_at_once_are_answered_without_recursion(daemon):
    asker = daemon.ask()
    for _ in range(200):
        asker.protocol.dataReceived(b'{"op":"refuse"}\n' * 16)
    assert len(asker.replies()) == 3200


def test_an_asker_that_leaves_stops_only_what_is_cancellable(daemon):
    for operation in ("hold", "watch"):
        asker = daemon.ask()
        asker.send(operation)
        asker.hang_up()
    daemon.held.callback(None)
    assert daemon.finished == [False]  # "hold" went on and saw that nobody listens; "watch" ended
    assert asker.protocol._timer is None


def test_an_idle_connection_is_closed(daemon):
    asker = daemon.ask()
    daemon.clock.advance(59)
    assert not asker.transport.disconnected
    daemon.clock.advance(2)
    assert asker.transport.disconnected


def test_a_running_request_is_never_idle(daemon):
    asker = daemon.ask()
    asker.send("hold")
    daemon.clock.advance(3600)
    assert not asker.transport.disconnected
    daemon.held.callback(None)
    daemon.clock.advance(61)
    assert asker.transport.disconnected


def test_an_asker_that_does_not_read_holds_up_its_answer_and_is_dropped(daemon):
    asker = daemon.ask()
    asker.protocol.pauseProducing()
    asker.send("long")
    assert asker.replies() == [Event("part", {"number": 0})]
    asker.protocol.resumeProducing()
    assert len(asker.replies()) == 3
    assert daemon.finished == ["long"]
    asker.protocol.pauseProducing()
    asker.send("long")
    daemon.clock.advance(61)
    assert asker.transport.disconnected


def test_a_user_may_have_only_so_many_connections_and_root_always_gets_in():
    daemon = Daemon(connections=3, per_user=2)
    first, second, third = daemon.ask(1000), daemon.ask(1000), daemon.ask(1000)
    assert [end.code for end in third.replies()] == ["busy"]
    assert third.transport.disconnecting
    daemon.ask(1001)
    assert [end.code for end in daemon.ask(1002).replies()] == ["busy"]
    assert daemon.ask(0).replies() == []
    first.hang_up()
    third.hang_up()
    assert daemon.ask(1002).replies() == []
    assert second.replies() == []


def test_closing_lets_the_running_request_finish_and_takes_no_more(daemon):
    running, idle = daemon.ask(), daemon.ask()
    running.send("hold")
    running.send("echo")
    daemon.factory.close()
    assert idle.transport.disconnecting
    assert not running.transport.disconnecting
    assert [reply.code for reply in daemon.ask(0).replies()] == ["busy"]
    daemon.held.callback(None)
    assert [reply.code for reply in running.replies() if isinstance(reply, End)] == ["kept"]
    assert running.transport.disconnecting


def test_whom_the_kernel_does_not_name_is_turned_away(daemon, logged_errors):
    def credentials(transport):
        raise OSError

    daemon.factory.credentials = credentials
    asker = daemon.ask()
    assert asker.transport.disconnected
    asker.hang_up()
    assert len(logged_errors.flush(OSError)) == 1


@pytest.fixture
def listening(tmp_path, daemon):
    """A real socket with the daemon's operations behind it."""

    daemon.factory.credentials = peer_credentials
    path = tmp_path / "run" / "control"
    port = listen_control(reactor, path, daemon.factory)
    yield path
    blockon(port.stopListening() or succeed(None))


@ensureDeferred
async def test_over_a_real_socket_the_blocking_client_asks_and_is_told(listening):
    """The blocking client gets events and ends, errors as exceptions; the kernel says who it is; anyone may connect."""
    assert listening.stat().st_mode & 0o777 == 0o666

    def converse():
        events, ends, errors = [], [], []
        with ControlClient(str(listening), timeout=10) as client:
            ends.append(client.ask("echo", {"x": [1]}, events.append))
            ends.append(client.ask("root", {}))
            for operation in ("refuse", "away", "nothing"):
                try:
                    client.ask(operation)
                except (Refused, Unavailable) as error:
                    errors.append(getattr(error, "code", "unavailable"))
        return events, ends, errors

    events, ends, errors = await deferToThread(converse)
    assert events == [Event("seen", {"uid": os.getuid()})]
    assert [end.data for end in ends] == [{"got": {"x": [1]}}, {"got": {}}]
    assert errors == ["wrong-password", "unavailable", "unknown-operation"]


def test_a_second_daemon_cannot_take_the_socket(listening, daemon):

    with pytest.raises(ConfigurationError, match="another daemon"):
        listen_control(reactor, listening, daemon.factory)


def test_a_path_that_cannot_be_is_a_clear_error(tmp_path, daemon):

    for path in (tmp_path / "a" / "b" / "control", tmp_path / ("x" * 200)):
        with pytest.raises(ConfigurationError):
            listen_control(reactor, path, daemon.factory)
