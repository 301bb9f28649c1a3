"""Sockets for several processes: one port, clients spread over all, and a port in use stays an error."""

import socket
import sys

import pytest

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.activation import Activation
from beonss.net.dns.bind import BindError, bound_tcp_socket, bound_udp_socket
from beonss.net.dns.worker_sockets import bind_places, close_places


@pytest.fixture
def places():
    made = []

    def make(*arguments, **options):
        made.append(bind_places(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        close_places(each)


def names(places):
    return [[(bound.kind, bound.socket.getsockname()[:2]) for bound in place] for place in places]


def arrived(place):
    """Return how many datagrams and connections wait in a place."""
    found = [0, 0]
    for which, bound in enumerate(place):
        while True:
            try:
                if bound.kind == "udp":
                    bound.socket.recv(10)
                else:
                    bound.socket.accept()[0].close()
            except BlockingIOError:
                break
            found[which] += 1
    return found


def test_every_place_has_the_same_addresses(places):
    found = names(places([Endpoint("127.0.0.1", 0), Endpoint("::1", 0)], 3))
    assert found[0] == found[1] == found[2]
    assert [(kind, host) for kind, (host, _) in found[0]] == [
        ("udp", "127.0.0.1"),
        ("tcp", "127.0.0.1"),
        ("udp", "::1"),
        ("tcp", "::1"),
    ]
    assert found[0][0][1] == found[0][1][1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere all places share one socket")
def test_clients_are_spread_and_none_is_lost(places):
    made = places([Endpoint("127.0.0.1", 0)], 3)
    port = made[0][0].socket.getsockname()[1]
    for _ in range(300):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", port))
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    counts = [arrived(place) for place in made]
    for client in clients:
        client.close()
    assert [sum(column) for column in zip(*counts, strict=True)] == [300, 60]
    # Of 300 clients by chance none in one of three places: less than once in 10**50 runs.
    assert all(udp for udp, _ in counts)


@pytest.mark.parametrize("count", [1, 3])
def test_a_port_that_others_of_us_have_is_in_use(places, count):
    """Two daemons that share their port would each get half of the questions, and nobody would know."""
    port = places([Endpoint("127.0.0.1", 0)], 2)[0][0].socket.getsockname()[1]
    with pytest.raises(BindError, match="in use"):
        places([Endpoint("127.0.0.1", port)], count)


@pytest.mark.parametrize("bind", [bound_udp_socket, bound_tcp_socket])
def test_a_port_that_somebody_has_is_in_use_and_nothing_stays_open(places, bind):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="in use"):
            places([Endpoint("127.0.0.2", port), Endpoint("127.0.0.1", port)], 2)
    assert places([Endpoint("127.0.0.2", port), Endpoint("127.0.0.1", port)], 2)


def test_sockets_that_were_handed_over_are_shared(places):
    with bound_udp_socket("127.0.0.1", 0) as udp:
        where = Endpoint("127.0.0.1", udp.getsockname()[1])
        with bound_tcp_socket(*where) as tcp:
            tcp.setblocking(True)
            made = places([where], 2, Activation({where: udp}, {where: tcp}))
    assert [[bound.kind for bound in place] for place in made] == [["udp", "tcp"]] * 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, socket.create_connection(where):
        client.sendto(b"x", where)
        assert arrived(made[1]) == [1, 1]
        assert arrived(made[0]) == [0, 0]
