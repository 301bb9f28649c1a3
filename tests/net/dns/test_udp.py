"""DNS over UDP, with real sockets on loopback and a reactor that only takes notes."""

import errno
import socket
from ipaddress import ip_network

import dns.message
import pytest
from support.dns_names import Names
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.zone import Zones
from beonss.net import sockets
from beonss.net.dns import bind as dns_bind
from beonss.net.dns import udp as dns_udp
from beonss.net.dns.bind import BindError, bind_failure, bound_udp_socket, listening_address
from beonss.net.dns.listen import listen_dns
from beonss.net.dns.server import DNSServer
from beonss.net.dns.udp import UDPListener, listen_udp


class Reactor:
    """Notes who wants to read."""

    def __init__(self):
        self.readers = set()

    def addReader(self, reader):
        self.readers.add(reader)

    def removeReader(self, reader):
        self.readers.discard(reader)


class Client:
    """Asks, lets the listener read, and takes replies."""

    def __init__(self, listener, host="127.0.0.1"):
        self.listener = listener
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(5)
        self.server = (listener.getHost().host, listener.getHost().port)

    def send(self, packet):
        self.socket.sendto(packet, self.server)

    def ask(self, name, rdtype="A", **options):
        query = dns.message.make_query(name, rdtype, **options)
        self.send(query.to_wire())
        self.listener.doRead()
        packet, source = self.socket.recvfrom(65535)
        assert source[:2] == self.server
        reply = dns.message.from_wire(packet)
        assert query.is_response(reply)
        return reply


@pytest.fixture
def server():
    return DNSServer(Zones(Names()))


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def listener(server, reactor):
    listener = listen_udp(reactor, server, "127.0.0.1", 0)
    yield listener
    listener.stopListening()


@pytest.fixture
def client(listener):
    client = Client(listener)
    yield client
    client.socket.close()


def test_it_is_a_reader_of_the_reactor(listener, reactor):
    assert verifyObject(IReadDescriptor, listener)
    assert reactor.readers == {listener}
    assert listener.fileno() > 0
    assert listener.getHost().type == "UDP"


def test_queries_are_answered_first_computed_then_ready(client, server):
    for _ in range(3):
        assert client.ask("R01n07.fellow.aero.org").answer[0].to_text() == "R01n07.fellow.aero.org. 3600 IN A 10.5.1.7"
    counters = server.counters()
    assert (counters.udp, counters.ready, counters.codes) == (3, 2, {"NOERROR": 3})


def test_a_turn_of_the_reactor_takes_no_more_than_its_budget(client, listener, server, monkeypatch):
    monkeypatch.setattr(dns_udp, "BUDGET", 10)
    packet = dns.message.make_query("r01n07.fellow.aero.org", "A").to_wire()
    for _ in range(25):
        client.send(packet)
    for total in (10, 20, 25, 25):
        listener.doRead()
        assert server.counters().udp == total


def test_the_reply_leaves_from_the_address_that_was_asked(server, reactor):
    """Also with two addresses on one machine."""
    listeners = [listen_udp(reactor, server, host, 0) for host in ("127.0.0.1", "127.0.0.77")]
    for listener in listeners:
        client = Client(listener)
        assert client.ask("frodo.fellow.aero.org").answer
        client.socket.close()
        listener.stopListening()


def test_ipv6(server, reactor):
    listener = listen_udp(reactor, server, "::1", 0)
    client = Client(listener, "::1")
    assert client.ask("r01n07.fellow.aero.org", "AAAA").answer
    client.socket.close()
    listener.stopListening()


@pytest.mark.parametrize("packet", [b"", b"x", b"\0" * 11, b"\xff" * 512, b"\0\1\x80\0\0\1" + b"\0" * 30])
def test_what_gets_no_reply_does_no_harm(packet, client, listener, server):
    client.send(packet)
    listener.doRead()
    assert server.counters().dropped == 1
    assert client.ask("frodo.fellow.aero.org").answer


def test_a_giant_packet_is_a_malformed_one(client, listener, server):
    query = dns.message.make_query("frodo.fellow.aero.org", "A").to_wire()
    client.send(query + b"x" * 20000)
    listener.doRead()
    assert dns.message.from_wire(client.socket.recv(65535)).rcode() == 1
    assert client.ask("frodo.fellow.aero.org").answer


def test_a_client_that_cannot_be_reached_is_counted(client, listener, server, monkeypatch):
    class Wall:
        """A socket that receives and cannot send."""

        error = OSError(errno.ENETUNREACH, "no way")

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def sendto(self, *_):
            raise self.error

    monkeypatch.setattr(listener, "_socket", Wall(listener._socket))
    packet = dns.message.make_query("frodo.fellow.aero.org", "A").to_wire()
    for _ in range(3):
        client.send(packet)
    listener.doRead()
    monkeypatch.setattr(Wall, "error", BlockingIOError())
    client.send(packet)
    listener.doRead()
    assert server.counters().unsent == 4


def test_an_error_of_ours_or_of_the_system_does_not_end_the_loop(client, listener, server, monkeypatch, logged_errors):
    with monkeypatch.context() as patch:
        patch.setattr(DNSServer, "respond", lambda *_, **__: 1 / 0)
        client.send(b"x" * 20)
        listener.doRead()
    assert logged_errors.flush(ZeroDivisionError)

    class Sick:
        def recvfrom(self, _):
            raise OSError(errno.ENOMEM, "no memory")

        sendto = None

        def __getattr__(self, name):
            return getattr(real, name)

    with monkeypatch.context() as patch:
        real = listener._socket
        patch.setattr(listener, "_socket", Sick())
        listener.doRead()
    logged_errors.flush()
    assert client.ask("frodo.fellow.aero.org").answer


class Later:
    """A fallback that answers when told to."""

    def __init__(self):
        self.waiting = []

    networks = (ip_network("127.0.0.0/8"), ip_network("192.0.2.0/24"), ip_network("::1"))

    def counters(self):
        return {}

    def retire(self):
        pass

    def forward(self, query, packet, asker, *, tcp):
        self.waiting.append((packet, Deferred()))
        return self.waiting[-1][1]


def test_replies_of_the_fallback_are_sent_when_they_come_but_not_after_the_end(reactor):
    later = Later()
    server = DNSServer(Zones(Names()), fallback=later)
    listener = listen_udp(reactor, server, "127.0.0.1", 0)
    client = Client(listener)
    for name in ("example.com", "example.net", "example.org"):
        client.send(dns.message.make_query(name, "A").to_wire())
    client.send(dns.message.make_query("frodo.fellow.aero.org", "A").to_wire())
    client.send(dns.message.make_query("frodo.fellow.aero.org", "A").to_wire())
    listener.doRead()
    assert dns.message.from_wire(client.socket.recv(65535)).answer
    assert dns.message.from_wire(client.socket.recv(65535)).answer
    packet, waiting = later.waiting[0]
    waiting.callback(packet[:2] + b"\x80\x80" + packet[4:])
    assert client.socket.recv(65535)[:2] == packet[:2]
    later.waiting[1][1].callback(None)
    listener.stopListening()
    later.waiting[2][1].callback(packet)
    client.socket.close()
    assert server.counters().forwarded == 3


def test_stopping_answers_what_has_come_and_frees_the_port(client, listener, reactor):
    client.send(dns.message.make_query("frodo.fellow.aero.org", "A").to_wire())
    host = listener.getHost()
    listener.stopListening()
    listener.stopListening()
    assert dns.message.from_wire(client.socket.recv(65535)).answer
    assert reactor.readers == set()
    assert listener.fileno() == -1
    bound_udp_socket(host.host, host.port).close()


def test_the_reactor_may_give_the_socket_up(listener):
    listener.connectionLost(Failure(OSError()))
    listener.connectionLost(Failure(OSError()))
    assert listener.fileno() == -1


def test_a_port_in_use_is_told_in_words(listener, server, reactor):
    port = listener.getHost().port
    with pytest.raises(BindError, match=rf"port {port} \(UDP\) on 127\.0\.0\.1 is in use by another program; stop it"):
        listen_udp(reactor, server, "127.0.0.1", port)


def test_an_address_that_may_come_later_is_waited_for(server, reactor):
    listener = listen_udp(reactor, server, "192.0.2.1", 0)
    assert listener.getHost().host == "192.0.2.1"
    listener.stopListening()


def test_where_the_system_cannot_wait_for_an_address_it_is_told_in_words(server, reactor, monkeypatch):
    monkeypatch.setattr(sockets.sys, "platform", "freebsd14")
    with pytest.raises(BindError, match=r"192\.0\.2\.1 is not an address of this machine"):
        listen_udp(reactor, server, "192.0.2.1", 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_wildcard_is_refused_for_the_sake_of_the_source_address(host, server, reactor):
    with pytest.raises(BindError, match="once for each address"):
        listen_dns(reactor, server, [Endpoint(host, 0)])


@pytest.mark.parametrize("host", ["localhost", "", "10.5.0", "1.2.3.4.5"])
def test_a_name_is_no_address(host):
    with pytest.raises(BindError, match="not an IP address"):
        listening_address(host)


@pytest.mark.parametrize("host", ["fe80::1%nosuch0", "fe80::1%\0"])
def test_a_scope_that_is_no_interface_is_told(host):
    with pytest.raises(BindError, match="no such interface"):
        bound_udp_socket(host, 0)


def test_a_family_the_machine_does_not_have(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EAFNOSUPPORT, "")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(BindError, match="Address family not supported"):
        bound_udp_socket("::1", 0)


def test_wishes_that_are_denied_do_no_harm(monkeypatch):
    """Big buffers need rights, and other systems have other options."""
    monkeypatch.setattr(dns_bind, "_SO_RCVBUFFORCE", 9999)
    bound_udp_socket("127.0.0.1", 0).close()
    monkeypatch.setattr(dns_bind.os, "uname", lambda: type("Name", (), {"sysname": "FreeBSD"}))
    bound_udp_socket("127.0.0.1", 0).close()


def test_other_reasons():
    assert "CAP_NET_BIND_SERVICE" in str(bind_failure(PermissionError(errno.EACCES, ""), "10.5.0.1", 53, "TCP"))
    assert "No buffer space" in str(bind_failure(OSError(errno.ENOBUFS, ""), "10.5.0.1", 53, "UDP"))
    assert "odd" in str(bind_failure(OSError("odd"), "10.5.0.1", 53, "UDP"))


def test_a_listener_is_made_of_a_socket_that_is_its_own(server, reactor):
    udp = bound_udp_socket("127.0.0.1", 0)
    listener = UDPListener(reactor, server, udp)
    assert reactor.readers == set()
    listener.stopListening()
    assert udp.fileno() == -1
