"""Sockets for addresses that the machine may not have yet."""

import errno
import socket

import pytest

from beonss.net import sockets
from beonss.net.sockets import bound_socket, is_here, listening_socket

#: TEST-NET-1 (RFC 5737): nobody's.
ELSEWHERE = "192.0.2.1"


@pytest.mark.parametrize("host", [ELSEWHERE, "2001:db8::1"])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_an_address_that_is_not_here_can_be_bound(host, kind):
    with bound_socket(host, 0, kind) as bound:
        assert bound.getsockname()[0] == host
        assert not bound.getblocking()
        assert not bound.get_inheritable()


def test_a_system_that_cannot_wait_says_so(monkeypatch):
    monkeypatch.setattr(sockets.sys, "platform", "freebsd14")
    with pytest.raises(OSError, match="assign requested address") as refused:
        bound_socket(ELSEWHERE, 0, socket.SOCK_DGRAM)
    assert refused.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_in_use_is_an_error_wherever_the_address_is(kind):
    for host in ("127.0.0.1", ELSEWHERE):
        with bound_socket(host, 0, kind) as first:
            if kind == socket.SOCK_STREAM:
                first.listen()
            with pytest.raises(OSError, match="in use"):
                bound_socket(host, first.getsockname()[1], kind)


def test_shared_sockets_have_one_port():
    with bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, shared=True) as first:
        port = first.getsockname()[1]
        with bound_socket("127.0.0.1", port, socket.SOCK_DGRAM, shared=True) as second:
            assert second.getsockname() == first.getsockname()
        with pytest.raises(OSError, match="in use"):
            bound_socket("127.0.0.1", port, socket.SOCK_DGRAM)


@pytest.mark.parametrize("both", [False, True])
def test_the_wildcard_of_ipv6_takes_ipv4_only_if_it_should(both):
    with listening_socket("::", 0, 5, both=both) as listening, socket.socket() as client:
        result = client.connect_ex(("127.0.0.1", listening.getsockname()[1]))
        assert result == (0 if both else errno.ECONNREFUSED)


def test_a_listening_socket_takes_connections():
    with (
        listening_socket("127.0.0.1", 0, 5) as listening,
        socket.create_connection(listening.getsockname(), timeout=10) as client,
    ):
        assert client.getpeername() == listening.getsockname()


def test_a_socket_that_cannot_be_had_is_not_left_open(monkeypatch):
    """Neither when binding fails nor when listening does."""
    made = []

    class Noted(socket.socket):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

        def listen(self, backlog):
            raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(sockets.socket, "socket", Noted)
    with pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", 0, 5)
    monkeypatch.setattr(sockets.sys, "platform", "freebsd14")
    with pytest.raises(OSError, match="assign requested address"):
        bound_socket(ELSEWHERE, 0, socket.SOCK_DGRAM)
    assert len(made) == 2
    assert all(each.fileno() == -1 for each in made)


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("0.0.0.0", True), ("frodo.example", True), ("", True),
     (ELSEWHERE, False), ("2001:db8::1", False), ("fe80::1%nosuch0", False)],
)  # fmt: skip
def test_whether_an_address_is_here(host, here):
    assert is_here(host) is here


def test_what_cannot_be_found_out_is_taken_as_here(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(sockets.socket, "socket", refuse)
    assert is_here("127.0.0.1")
