"""The blocking client of the control socket: what it says when the daemon is absent, silent, gone, or no daemon."""

import json
import socket
import threading

import pytest

from beonss.errors import MalformedError, Refused, Unavailable
from beonss.store.control import ControlClient, Interrupted, default_path
from beonss.wire.control import End, Event


class Server:
    """Accepts one connection and does with it what the test says, in a thread."""

    def __init__(self, path):
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = None

    def do(self, action):
        def run():
            connection, _ = self.listener.accept()
            with connection:
                action(connection)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def close(self):
        self.listener.close()
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "control")
    yield server
    server.close()


def replies(*values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def until_closed(connection):
    while connection.recv(65536):
        pass


def test_an_answer_may_come_in_any_pieces(server):
    data = replies({"event": "a"}, {"event": "b", "n": 1}, {"end": {"code": "ok", "message": "done", "x": 1}})

    def action(connection):
        connection.recv(65536)
        for index in range(len(data)):
            connection.sendall(data[index : index + 1])
        until_closed(connection)

    server.do(action)
    events = []
    with ControlClient(server.path, timeout=10) as client:
        assert client.ask("x", {"y": 1}, events.append) == End("ok", "done", {"x": 1})
    assert events == [Event("a"), Event("b", {"n": 1})]


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (replies({"end": {"code": "wrong-password", "message": "no"}}), Refused, "wrong-password"),
        (replies({"end": {"code": "unavailable", "message": "no master"}}), Unavailable, None),
        (b"SSH-2.0-OpenSSH\n", MalformedError, None),
        (b"", Interrupted, None),
        (replies({"event": "a"}), Interrupted, None),
    ],
)
def test_each_bad_end_is_its_own_error(server, answer, error, code):
    def action(connection):
        connection.recv(65536)
        connection.sendall(answer)

    server.do(action)
    with ControlClient(server.path, timeout=10) as client, pytest.raises(error) as caught:
        client.ask("x")
    assert getattr(caught.value, "code", None) == code


def test_a_silent_daemon_is_given_up_after_the_timeout(server):
    server.do(until_closed)
    with (
        ControlClient(server.path, timeout=0.05) as client,
        pytest.raises(Interrupted, match="said nothing"),
    ):
        client.ask("x")


def test_a_daemon_that_takes_no_request_is_given_up(server):
    done = threading.Event()
    server.do(lambda connection: done.wait(10))
    try:
        with ControlClient(server.path, timeout=0.05) as client, pytest.raises(Interrupted, match="took no request"):
            client.ask("x", {"data": "y" * 4_000_000})
    finally:
        done.set()


def test_a_daemon_that_refuses_at_the_door_is_heard_even_if_the_request_could_not_be_sent(server):
    """It says why and closes, without reading: the reason is there to be read."""

    def action(connection):
        connection.sendall(replies({"end": {"code": "busy", "message": "too many connections"}}))

    server.do(action)
    client = ControlClient(server.path, timeout=10)
    client.connect()
    server.thread.join(10)
    with pytest.raises(Refused) as caught:
        client.ask("x")
    assert caught.value.code == "busy"
    client.close()


def test_after_an_error_in_the_callers_own_code_no_answer_is_mixed_up(server):
    def action(connection):
        connection.recv(65536)
        connection.sendall(replies({"event": "a"}, {"end": {"code": "ok"}}))
        until_closed(connection)

    server.do(action)

    def fails(event):
        raise KeyError(event.name)

    client = ControlClient(server.path, timeout=10)
    with pytest.raises(KeyError):
        client.ask("x", {}, fails)
    assert client._socket is None


def test_an_absent_daemon_is_unavailable_in_words_that_help(tmp_path, server):
    for path, words in (
        (tmp_path / "nothing", "there is no socket"),
        (tmp_path / ("x" * 200), "cannot be used"),
        (tmp_path, "nobody listens|cannot be used"),
    ):
        with pytest.raises(Unavailable, match=words):
            ControlClient(str(path)).connect()
    server.listener.close()
    with pytest.raises(Unavailable, match="nobody listens"):
        ControlClient(server.path).connect()


def test_the_environment_names_the_socket(monkeypatch):
    monkeypatch.delenv("BEONSS_CONTROL", raising=False)
    assert default_path() == ControlClient().path == "/run/beonss/control"
    monkeypatch.setenv("BEONSS_CONTROL", "/elsewhere")
    assert default_path() == "/elsewhere"
