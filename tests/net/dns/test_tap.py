"""Taking queries for the log: the same ones in C as in Python, and no reply changes."""

import random
import socket
from ipaddress import ip_address, ip_network
from pathlib import Path

import dns.message
import pytest
from support.dns_names import Names
from twisted.internet.defer import Deferred

from beonss.core.zones.query_log import MOST_EVERY, Gaps
from beonss.core.zones.zone import Zones
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tap import QueryTap, packed
from beonss.net.dns.udp import listen_udp
from beonss.wire.description import parse
from beonss.wire.query_sample import record_of

ZONE = "fellow.aero.org"
EXAMPLE = Path(__file__).parents[3] / "examples" / "fellowship.toml"


class Reactor:
    def addReader(self, reader):
        pass

    def removeReader(self, reader):
        pass


class Heard:
    """A sink."""

    def __init__(self):
        self.samples = []
        self.missed = 0

    def __call__(self, samples, missed):
        self.samples += samples
        self.missed += missed

    def names(self):
        return [record_of(each).name.partition(".")[0] for each in self.samples]


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture(params=["compiled", "python"])
def server(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setenv("BEONSS_PURE_PYTHON", "1")
        return DNSServer(Zones(Names()))
    made = DNSServer(Zones(parse(EXAMPLE.read_bytes(), "fellowship.toml")))
    if made.core is None:
        pytest.skip("no compiled core here")
    return made


def asked(server, names, rdtype="A"):
    """Ask over UDP, all at once; return the replies in order."""
    listener = listen_udp(Reactor(), server, "127.0.0.1", 0)
    host = listener.getHost()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        replies = []
        for start in range(0, len(names), 50):
            part = names[start : start + 50]
            for name in part:
                client.sendto(dns.message.make_query(f"{name}.{ZONE}", rdtype).to_wire(), (host.host, host.port))
            listener.doRead()
            listener.doRead()
            replies += [dns.message.from_wire(client.recv(4096)) for _ in part]
    listener.stopListening()
    return replies


def test_every_query_is_told_and_no_reply_changes(server, heard):
    names = [f"r0{n % 4 + 1}n{n % 40 + 1:02}" for n in range(150)] + ["self", "nobody", "frodo"]
    before = [reply.to_text().partition("\n")[2] for reply in asked(server, names)]
    server.watch(QueryTap(1, 7, heard))
    after = [reply.to_text().partition("\n")[2] for reply in asked(server, names)]
    assert after == before
    assert sorted(heard.names()) == sorted(names)
    assert heard.missed == 0
    for each in heard.samples:
        record = record_of(each)
        assert record.client == ip_address("127.0.0.1")
        assert not record.tcp
        assert record.rcode in {"NOERROR", "NXDOMAIN"}
        assert record.size > 12
        assert record.took is not None


def test_the_same_queries_are_taken_in_c_as_in_python(server, heard):
    names = [f"r01n{n % 40 + 1:02}" for n in range(1000)]
    server.watch(QueryTap(7, 4242, heard))
    asked(server, names)
    gaps = Gaps(7, 4242)
    assert heard.names() == [name for name in names if gaps.due()]


def test_what_python_answers_between_is_counted_by_python(heard):
    """In one batch some are the compiled core's and some are not; each counts its own."""
    server = DNSServer(Zones(parse(EXAMPLE.read_bytes(), "fellowship.toml")))
    if server.core is None:
        pytest.skip("no compiled core here")
    chance = random.Random(5)
    names = [chance.choice(["self", "r01n01", "r01n02", "r02n03", "frodo"]) for _ in range(2000)]
    server.watch(QueryTap(3, 99, heard))
    asked(server, names)
    compiled, python = Gaps(3, 99), Gaps(3, 99)
    expected = [name for name in names if name != "self" and compiled.due()]
    mine = [name for name in names if name == "self" and python.due()]
    assert [name for name in heard.names() if name != "self"] == expected
    assert [name for name in heard.names() if name == "self"] == mine


def test_what_has_no_room_is_counted(heard):
    server = DNSServer(Zones(parse(EXAMPLE.read_bytes(), "fellowship.toml")))
    if server.core is None:
        pytest.skip("no compiled core here")
    server.watch(QueryTap(1, 1, heard))
    listener = listen_udp(Reactor(), server, "127.0.0.1", 0)
    host = listener.getHost()
    packet = dns.message.make_query(f"r01n01.{ZONE}", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(200):
            client.sendto(packet, (host.host, host.port))
        listener.doRead()
    listener.stopListening()
    assert (len(heard.samples), heard.missed) == (64, 136)


def test_no_tap_takes_nothing(server, heard):
    tap = QueryTap(1, 1, heard)
    server.watch(tap)
    server.watch(None)
    asked(server, ["r01n01", "self", "frodo"])
    assert (heard.samples, heard.missed) == ([], 0)
    if server.core is not None:
        assert server.core.samples() == ([], 0)


def test_a_reload_goes_on(server, heard):
    server.watch(QueryTap(1, 1, heard))
    server.replace(server.zones)
    asked(server, ["frodo"])
    assert heard.names() == ["frodo"]


def test_where_the_compiled_core_cannot_python_takes_all(server, heard):
    """Other systems than Linux."""

    class Unable(QueryTap):
        def open(self, core):
            return False

    server.watch(Unable(1, 1, heard))
    assert server.core is None
    names = ["frodo", "r01n01", "self"]
    asked(server, names)
    assert heard.names() == names
    compiled = server.counters().compiled
    server.watch(None)
    asked(server, names)
    assert len(heard.samples) == 3
    assert server.counters().compiled >= compiled


def test_tcp(server, heard):
    server.watch(QueryTap(1, 1, heard))
    packet = dns.message.make_query(f"frodo.{ZONE}", "A").to_wire()
    reply = server.respond(packet, "fe80::1%eth0", tcp=True)
    assert dns.message.from_wire(reply).answer
    (sample,) = heard.samples
    assert (sample.tcp, sample.size, sample.reply) == (True, len(reply), reply[:12])
    assert record_of(sample).client == ip_address("fe80::1")


class Later:
    """A fallback that answers later."""

    networks = (ip_network("127.0.0.0/8"),)

    def __init__(self):
        self.waiting = []

    def forward(self, query, packet, asker, *, tcp):
        self.waiting.append((Deferred(), packet))
        return self.waiting[-1][0]

    def counters(self):
        return {}


def test_what_is_forwarded_is_told_when_its_reply_is_there(heard):
    fallback = Later()
    server = DNSServer(Zones(Names()), fallback=fallback)
    server.watch(QueryTap(1, 1, heard))
    packet = dns.message.make_query("example.org", "A").to_wire()
    replies = []
    for _ in range(2):
        server.respond(packet, "127.0.0.1", tcp=False).addCallback(replies.append)
    assert heard.samples == []
    fallback.waiting[0][0].callback(packet[:2] + b"\x81\x83" + packet[4:])
    fallback.waiting[1][0].callback(None)
    assert [record_of(each).rcode for each in heard.samples] == ["NXDOMAIN", ""]
    assert replies[1] is None


def test_packets_that_are_no_queries_are_told(server, heard):
    server.watch(QueryTap(1, 1, heard))
    assert server.respond(b"x", "127.0.0.1", tcp=False) is None
    assert server.respond(b"\0" * 12, "127.0.0.1", tcp=False) is not None
    assert [record_of(each).document()["rcode"] for each in heard.samples] == ["", "FORMERR"]


@pytest.mark.parametrize("host", ["", "nonsense", "1.2.3.4.5"])
def test_an_address_that_is_none(host):
    assert packed(host) == bytes(4)


def test_the_compiled_core_takes_only_numbers_that_make_sense():
    core = DNSServer(Zones(parse(EXAMPLE.read_bytes(), "fellowship.toml"))).core
    if core is None:
        pytest.skip("no compiled core here")
    for wrong in (-1, MOST_EVERY + 1, 2**40, "x"):
        with pytest.raises((ValueError, OverflowError, TypeError)):
            core.sample(wrong)
    for _ in range(3):
        assert core.sample(5, 0) in {True, False}
        assert core.sample(0)
    assert core.samples() == ([], 0)
