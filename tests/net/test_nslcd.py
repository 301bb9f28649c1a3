"""The nslcd socket: one answer per connection, patience with limits, long answers in pieces, places shared."""

import contextlib
import errno
import socket
import stat
import struct
from functools import partial

import pytest
import pytest_twisted
from support.fakes import FakeNames, fellowship
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.internet.threads import deferToThread
from twisted.internet.unix import Port

from beonss.core.accounts.lookup import Lookups, Rules
from beonss.core.accounts.view import AccountView
from beonss.errors import ConfigurationError, Unavailable
from beonss.net.nslcd import PIECE, Limits, NslcdFactory, listen_nslcd
from beonss.net.unixsocket import Peer
from beonss.wire.nslcd import Action
from beonss.wire.nslcd_answer import Answers

ALICE = Peer(7, 5001, 5000)
END = struct.pack(">I", 2)


def i(*numbers):
    return b"".join(struct.pack(">I", number) for number in numbers)


def s(text):
    return i(len(text.encode())) + text.encode()


PASSWD_ALICE = i(2, Action.PASSWD_BYNAME) + s("alice")
LOGIN = s("alice") + s("login") + s("") + s("") + s("")


class Transport(StringTransport):
    """A transport whose end is seen by the protocol at once, as a loopback's nearly is."""

    def __init__(self, peer=ALICE):
        super().__init__()
        self.peer = peer

    def registerProducer(self, producer, streaming):
        """Ask for all of it, as if each piece were read at once."""
        super().registerProducer(producer, streaming)
        while self.producer is not None and not self.disconnected:
            producer.resumeProducing()

    def loseConnection(self):
        super().loseConnection()
        self.protocol.connectionLost()

    def abortConnection(self):
        if not self.disconnected:
            super().abortConnection()
            self.protocol.connectionLost()


class Pam:
    """Answers PAM requests when the test says so."""

    def __init__(self):
        self.asked = []

    async def answer(self, request, peer):
        waiting = Deferred()
        self.asked.append((request, peer, waiting))
        return await waiting


class Gate:
    """A port that says whether it accepts."""

    accepting = True

    def stopReading(self):
        self.accepting = False

    def startReading(self):
        self.accepting = True


class Stage:
    """A factory, a clock, and clients."""

    def __init__(self, *, known=True, rows=None, **limits):
        self.clock = Clock()
        self.pam = Pam()
        view = AccountView((rows or fellowship()).rows)
        self.lookups = Lookups(FakeNames(), view, known=lambda: known, rules=Rules(shadow=True))
        self.port = Gate()
        self.factory = NslcdFactory(
            self.clock, Answers(self.lookups), self.pam, Limits(**limits), lambda transport: transport.peer
        )
        self.factory.listens_on(self.port)

    def connect(self, data=b"", peer=ALICE):
        transport = Transport(peer)
        protocol = self.factory.buildProtocol(None)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if data:
            protocol.dataReceived(data)
        return transport


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    assert not stage.clock.getDelayedCalls()
    assert stage.factory.connections == 0


def test_a_lookup_is_answered_and_the_connection_ends(stage):
    client = stage.connect(PASSWD_ALICE)
    assert client.value().startswith(i(2, Action.PASSWD_BYNAME, 1) + s("alice"))
    assert client.value().endswith(END)
    assert client.disconnecting
    assert stage.factory.counts["PASSWD_BYNAME"] == 1


def test_a_request_may_come_byte_by_byte(stage):
    client = stage.connect()
    for byte in PASSWD_ALICE:
        client.protocol.dataReceived(bytes([byte]))
    assert client.value().endswith(END)


def test_no_such_user_is_an_end_alone(stage):
    assert stage.connect(i(2, Action.PASSWD_BYUID, 77)).value() == i(2, Action.PASSWD_BYUID) + END


def test_what_is_not_known_is_a_close_without_an_answer():
    stage = Stage(known=False)
    client = stage.connect(PASSWD_ALICE)
    assert client.value() == b""
    assert client.disconnecting
    assert stage.factory.counts["unavailable"] == 1


def test_hashes_are_for_root(stage):
    request = i(2, Action.SHADOW_BYNAME) + s("alice")
    assert b"$6$" not in stage.connect(request).value()
    assert b"$6$" in stage.connect(request, Peer(1, 0, 0)).value()


def test_nonsense_is_a_close_and_counted(stage):
    client = stage.connect(b"GET / HTTP/1.0\r\n\r\n")
    assert client.value() == b""
    assert client.disconnected
    assert stage.factory.counts["malformed"] == 1


def test_a_client_that_does_not_ask_is_dropped(stage):
    client = stage.connect(PASSWD_ALICE[:-1])
    stage.clock.advance(9.9)
    assert not client.disconnected
    stage.clock.advance(0.2)
    assert client.disconnected
    assert stage.factory.counts["late"] == 1


def test_a_client_without_credentials_is_dropped():
    stage = Stage()

    def unknown(transport):
        raise OSError(errno.ENOPROTOOPT, "not available")

    stage.factory.peer = unknown
    assert stage.connect(PASSWD_ALICE).disconnected
    assert stage.factory.connections == 0


def test_an_error_of_ours_ends_one_connection_and_is_logged(stage, logged_errors):
    stage.lookups.view = None
    client = stage.connect(PASSWD_ALICE)
    assert client.value() == b""
    assert client.disconnecting
    assert len(logged_errors.flush(AttributeError)) == 1


class TestLongAnswers:
    """An enumeration is made at the pace of its reader."""

    @pytest.fixture
    def crowd(self):
        rows = fellowship()
        for number in range(1200):
            rows.user(f"user{number:05}", 10000 + number)
        return Stage(rows=rows)

    @pytest.fixture
    def client(self, crowd):
        client = crowd.connect()
        # Unlike Twisted's own, this one waits for the test before it asks for more.
        client.registerProducer = partial(StringTransport.registerProducer, client)
        client.protocol.dataReceived(i(2, Action.PASSWD_ALL))
        return client

    def test_only_what_is_read_is_made(self, client):
        assert client.value() == b""
        client.producer.resumeProducing()
        assert PIECE <= len(client.value()) < PIECE + 1000
        client.producer.resumeProducing()
        assert 2 * PIECE <= len(client.value()) < 2 * PIECE + 2000
        client.abortConnection()

    def test_the_end_comes_once_and_then_the_close(self, client, crowd):
        for _ in range(20):
            if client.disconnecting:
                break
            client.producer.resumeProducing()
        assert client.value().endswith(END)
        assert client.value().count(b"/home/user") == 1200
        assert not crowd.clock.getDelayedCalls()

    def test_each_piece_read_gives_new_patience(self, client, crowd):
        for _ in range(3):
            client.producer.resumeProducing()
            crowd.clock.advance(59)
        assert not client.disconnected
        crowd.clock.advance(2)
        assert client.disconnected
        assert crowd.factory.connections == 0

    def test_a_reader_that_goes_away_is_forgotten(self, client, crowd):
        client.producer.resumeProducing()
        client.producer.stopProducing()
        client.protocol.connectionLost()
        client.producer.resumeProducing()
        assert crowd.factory.connections == 0
        assert not crowd.clock.getDelayedCalls()

    def test_an_error_in_the_middle_breaks_the_answer_and_is_logged(self, client, crowd, logged_errors):
        def broken():
            yield b"x"
            raise ZeroDivisionError

        client.protocol._pieces = broken()
        client.producer.resumeProducing()
        assert client.disconnected
        assert crowd.factory.counts["broken"] == 1
        assert len(logged_errors.flush(ZeroDivisionError)) == 1


class TestPam:
    """PAM requests wait for their backend; who asks may go."""

    REQUEST = i(2, Action.PAM_AUTHZ) + LOGIN

    def test_the_answer_is_sent_when_it_comes(self, stage):
        client = stage.connect(self.REQUEST)
        [(request, peer, waiting)] = stage.pam.asked
        assert request.context.user == "alice"
        assert peer == ALICE
        stage.clock.advance(30)
        assert client.value() == b""
        waiting.callback(b"the answer")
        assert client.value() == b"the answer"
        assert client.disconnecting

    def test_a_client_that_left_is_not_answered(self, stage):
        client = stage.connect(self.REQUEST)
        client.protocol.connectionLost()
        stage.pam.asked[0][2].callback(b"the answer")
        assert client.value() == b""

    def test_not_known_is_a_close(self, stage):
        client = stage.connect(self.REQUEST)
        stage.pam.asked[0][2].errback(Unavailable("no accounts"))
        assert client.value() == b""
        assert client.disconnecting

    def test_an_error_of_ours_is_a_close_and_logged(self, stage, logged_errors):
        client = stage.connect(self.REQUEST)
        stage.pam.asked[0][2].errback(ZeroDivisionError())
        assert client.disconnecting
        assert len(logged_errors.flush(ZeroDivisionError)) == 1

    def test_an_error_after_the_client_left_is_logged(self, stage, logged_errors):
        client = stage.connect(self.REQUEST)
        client.protocol.connectionLost()
        stage.pam.asked[0][2].errback(ZeroDivisionError())
        assert len(logged_errors.flush(ZeroDivisionError)) == 1

    def test_without_a_backend_it_is_unavailable(self, stage):
        stage.factory.pam = None
        assert stage.connect(self.REQUEST).disconnecting


class TestPlaces:
    """All places taken: nobody is refused, who keeps one for nothing loses it."""

    def test_accepting_stops_and_goes_on(self):
        stage = Stage(connections=2)
        request = i(2, Action.PAM_AUTHZ) + LOGIN
        first, _ = stage.connect(request), stage.connect(request)
        assert not stage.port.accepting
        stage.clock.advance(5)
        assert not stage.port.accepting
        stage.pam.asked[0][2].callback(b"done")
        assert first.value() == b"done"
        assert stage.port.accepting
        stage.pam.asked[1][2].callback(b"done")
        assert not stage.clock.getDelayedCalls()

    def test_who_does_not_ask_loses_the_place_to_who_comes(self):
        stage = Stage(connections=3)
        old = stage.connect()
        stage.clock.advance(0.5)
        young = stage.connect()
        stage.clock.advance(0.6)
        client = stage.connect(PASSWD_ALICE)
        assert old.disconnected
        assert client.value().endswith(END)
        assert not young.disconnected
        assert stage.port.accepting
        assert stage.factory.counts["evicted"] == 1
        young.abortConnection()

    def test_the_user_with_most_connections_loses_first_and_root_last(self):
        stage = Stage(connections=5)
        root = stage.connect(peer=Peer(1, 0, 0))
        bob = stage.connect(peer=Peer(1, 5002, 5000))
        greedy = [stage.connect() for _ in range(2)]
        stage.clock.advance(2)
        stage.connect()
        assert greedy[0].disconnected
        assert not greedy[1].disconnected
        stage.connect()
        assert greedy[1].disconnected
        stage.connect()
        assert bob.disconnected
        assert not root.disconnected
        stage.factory.stopFactory()
        assert stage.factory.connections == 0

    def test_while_full_those_who_become_slow_are_found(self):
        stage = Stage(connections=2)
        slow = stage.connect()
        other = stage.connect()
        assert not stage.port.accepting
        stage.clock.advance(1.0)
        assert slow.disconnected
        assert stage.port.accepting
        other.abortConnection()
        assert not stage.clock.getDelayedCalls()

    def test_dropping_many_is_logged_once_a_minute(self):
        stage = Stage(connections=2)
        lines = []
        stage.factory.log = type("Log", (), {"warn": lambda self, text, **fields: lines.append(text)})()
        for _ in range(5):
            stage.connect()
            stage.clock.advance(2)
        assert len(lines) == 1
        stage.factory.stopFactory()

    def test_stopping_while_full_leaves_nothing_behind(self):
        stage = Stage(connections=1)
        stage.connect()
        stage.factory.stopFactory()
        assert not stage.clock.getDelayedCalls()
        assert stage.factory.connections == 0

    def test_by_default_half_the_descriptors_may_be_connections(self):
        assert 16 <= Stage().factory.places <= 4096


# A real socket ---------------------------------------------------------------------------------------------------


def factory_of(reactor):
    return NslcdFactory(reactor, Answers(Lookups(FakeNames(), AccountView(fellowship().rows))))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "nslcd" / "socket"


@pytest.fixture
def listening(path):
    from twisted.internet import reactor  # noqa: PLC0415 - pytest-twisted installs it

    port = listen_nslcd(reactor, path, factory_of(reactor))
    yield reactor
    pytest_twisted.blockon(port.stopListening())
    assert not path.exists()


def converse(path, data):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(data)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


@pytest_twisted.ensureDeferred
async def test_everybody_may_ask_a_real_socket(path, listening):
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o755 == 0o755
    assert (await deferToThread(converse, path, PASSWD_ALICE)).endswith(END)
    hosts = await deferToThread(converse, path, i(2, Action.HOST_ALL))
    assert hosts.count(b".fellow.aero.org") == 83
    assert hosts.endswith(END)


@pytest.fixture
def small(path):
    """A socket with room for 8."""
    from twisted.internet import reactor  # noqa: PLC0415 - pytest-twisted installs it

    factory = NslcdFactory(reactor, factory_of(reactor).answers, limits=Limits(connections=8, grace=0.1))
    port = listen_nslcd(reactor, path, factory)
    yield factory
    pytest_twisted.blockon(port.stopListening())


@pytest_twisted.ensureDeferred
async def test_no_more_are_accepted_than_there_are_places(path, small):
    most = 0
    enter = small.enter

    def watched(connection):
        nonlocal most
        enter(connection)
        most = max(most, small.connections)

    small.enter = watched
    with contextlib.ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        answers = [deferToThread(converse, path, PASSWD_ALICE) for _ in range(5)]
        for answer in answers:
            assert (await answer).endswith(END)
    assert most <= 9


@pytest_twisted.ensureDeferred
async def test_a_socket_that_is_answered_is_left_alone(path, listening):
    with pytest.raises(ConfigurationError, match="another daemon listens"):
        listen_nslcd(listening, path, factory_of(listening))
    assert (await deferToThread(converse, path, PASSWD_ALICE)).endswith(END)


@pytest.fixture
def left_behind(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest_twisted.ensureDeferred
async def test_a_socket_left_behind_is_replaced(left_behind, listening, path):
    assert (await deferToThread(converse, path, PASSWD_ALICE)).endswith(END)


@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_in_the_middle_harms_nobody(path, listening):
    def hang_up():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(i(2, Action.HOST_ALL))
            client.recv(10)

    for _ in range(5):
        await deferToThread(hang_up)
    assert (await deferToThread(converse, path, PASSWD_ALICE)).endswith(END)


def test_what_is_no_socket_is_left_alone(path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="no socket"):
        listen_nslcd(MemoryReactorClock(), path, factory_of(Clock()))
    assert path.read_text() == "precious"


def test_a_port_that_cannot_be_had_is_said(path, monkeypatch):
    def refuse(port):
        raise CannotListenError(None, port._bindPath, OSError(errno.EACCES, "Permission denied"))

    monkeypatch.setattr(Port, "startListening", refuse)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        listen_nslcd(MemoryReactorClock(), path, factory_of(Clock()))


@pytest.mark.parametrize(("where", "text"), [("missing/two/socket", "missing/two"), ("x" * 120, "too long")])
def test_an_impossible_path_is_said(tmp_path, where, text):
    with pytest.raises(ConfigurationError, match=text):
        listen_nslcd(MemoryReactorClock(), tmp_path / where, factory_of(Clock()))
