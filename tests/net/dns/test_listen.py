"""Opening all DNS sockets of a daemon on the real reactor: all or nothing."""

import errno
import socket

import pytest
import pytest_twisted
from support.dns_names import Names
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.zone import Zones
from beonss.net.dns import listen as dns_listen
from beonss.net.dns.bind import BindError, bound_udp_socket
from beonss.net.dns.listen import listen_dns
from beonss.net.dns.server import DNSServer

ANY_PORT = Endpoint("127.0.0.1", 0)


def server():
    return DNSServer(Zones(Names()))


def is_free(host, port):
    """Say whether both transports can be bound."""
    bound_udp_socket(host, port).close()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((host, port))
    return True


@pytest_twisted.ensureDeferred
async def test_both_transports_get_the_same_port_on_each_address():
    listeners = listen_dns(reactor, server(), [ANY_PORT, Endpoint("::1", 0), Endpoint("127.0.0.2", 0)])
    found = [(address.type, address.host, address.port) for address in listeners.addresses]
    await listeners.stopListening()
    assert [each[:2] for each in found] == [
        (transport, host) for host in ("127.0.0.1", "::1", "127.0.0.2") for transport in ("UDP", "TCP")
    ]
    assert [port for *_, port in found[::2]] == [port for *_, port in found[1::2]]
    for _, host, port in found:
        assert is_free(host, port)


@pytest_twisted.ensureDeferred
async def test_where_one_cannot_be_bound_none_stays_open():
    first = listen_dns(reactor, server(), [ANY_PORT])
    port = first.addresses[0].port
    with pytest.raises(BindError, match="in use"):
        listen_dns(reactor, server(), [Endpoint("127.0.0.3", port), Endpoint("127.0.0.1", port)])
    # Twisted closes a TCP port in the next turn.
    await turn()
    assert is_free("127.0.0.3", port)
    await first.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_port_that_only_tcp_cannot_have_is_told():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(BindError, match=rf"port {port} \(TCP\) on 127\.0\.0\.1 is in use"):
            listen_dns(reactor, server(), [Endpoint("127.0.0.1", port)])
        bound_udp_socket("127.0.0.1", port).close()


def test_a_chosen_port_that_tcp_cannot_have_is_chosen_again(monkeypatch):
    """The system chooses for UDP only; somebody else may have the number for TCP."""
    tried = []

    class Port:
        def __init__(self, number):
            self.number = number
            self.open = True

        def getHost(self):
            return type("Address", (), {"host": "127.0.0.1", "port": self.number})

        def stopListening(self):
            self.open = False

    def udp(reactor, server, host, port):
        tried.append(Port(port or 1000 + len(tried)))
        return tried[-1]

    def tcp(reactor, server, host, port, limits):
        if port < 1003:
            raise BindError("in use") from OSError(errno.EADDRINUSE, "")
        return Port(port)

    monkeypatch.setattr(dns_listen, "listen_udp", udp)
    monkeypatch.setattr(dns_listen, "listen_tcp", tcp)
    listeners = listen_dns(None, None, [ANY_PORT])
    assert [address.port for address in listeners.addresses] == [1003, 1003]
    assert [port.open for port in tried] == [False, False, False, True]
    with pytest.raises(BindError):
        listen_dns(None, None, [Endpoint("127.0.0.1", 1001)])


class Client(Protocol):
    """Notes what it is sent, and the end."""

    def __init__(self):
        self.ended = False

    def connectionLost(self, reason=None):
        self.ended = True


@pytest_twisted.ensureDeferred
async def test_stopping_ends_open_connections():
    subject = server()
    listeners = listen_dns(reactor, subject, [ANY_PORT])
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", listeners.addresses[1].port)
    client = await connectProtocol(endpoint, Client())
    for _ in range(500):
        if subject.counters().connections:
            break
        await turn()
    await listeners.stopListening()
    assert subject.counters().connections == 0
    for _ in range(500):
        if client.ended:
            break
        await turn()
    assert client.ended


def turn():
    """Let the reactor turn once or a few times."""
    return deferLater(reactor, 0.01)
