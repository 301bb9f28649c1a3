"""A DNS process without being one: on the real reactor, with real sockets, the daemon's end in the test's hand."""

import os
import socket
from struct import pack

import dns.message
import dns.query
import pytest
import pytest_twisted
from support.dns_names import Names
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.zone import Zones
from beonss.net.dns.worker import Worker
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_sockets import bind_places, close_places
from beonss.net.dns.worker_zones import WorkerZones, write_zones

NODE = "r01n02.fellow.aero.org"


class Daemon:
    """The daemon's half."""

    def __init__(self):
        self.channel, theirs = channel_pair()
        self.ended = Deferred()
        self.worker = Worker(reactor, theirs, lambda: self.ended.callback(None))
        (self.place,) = bind_places([Endpoint("127.0.0.1", 0)], 1)
        self.port = self.place[0].socket.getsockname()[1]

    def zones(self, number=1, **more):
        descriptor = write_zones(WorkerZones(Zones(Names(version=number)), b"w1", **more))
        self.channel.send("zones", descriptors=[descriptor], number=number)
        os.close(descriptor)

    def listen(self):
        self.channel.send(
            "listen", descriptors=[b.socket.fileno() for b in self.place], kinds=[b.kind for b in self.place], last=True
        )

    async def heard(self, kind):
        """Return the next message of a kind; others are let go."""
        for _ in range(1000):
            try:
                message = self.channel.receive()
            except BlockingIOError:
                await deferLater(reactor, 0.01, lambda: None)
                continue
            assert message is not None, f"the end came before {kind}"
            if message.kind == kind:
                return message
            message.close()
        pytest.fail(f"no {kind}")

    async def ask(self, name=NODE, rdtype="A", **options):
        query = dns.message.make_query(name, rdtype, **options)
        return await deferToThread(dns.query.udp, query, "127.0.0.1", port=self.port, timeout=10)


@pytest.fixture
def daemon():
    daemon = Daemon()
    yield daemon
    close_places([daemon.place])
    daemon.channel.close()
    if not daemon.ended.called:
        pytest_twisted.blockon(daemon.ended)


async def ready(daemon, **more):
    daemon.zones(**more)
    daemon.listen()
    assert (await daemon.heard("serving")).number("number") == 1
    await daemon.heard("listening")


@pytest_twisted.ensureDeferred
async def test_it_answers_and_follows_changes(daemon):
    await ready(daemon)
    assert (await daemon.ask()).answer[0][0].to_text() == "10.5.1.2"
    assert (await daemon.ask("fellow.aero.org", "SOA")).answer[0][0].serial == 1
    daemon.zones(2)
    assert (await daemon.heard("serving")).number("number") == 2
    assert (await daemon.ask("fellow.aero.org", "SOA")).answer[0][0].serial == 2
    tcp = await deferToThread(
        dns.query.tcp, dns.message.make_query(NODE, "A"), "127.0.0.1", port=daemon.port, timeout=10
    )
    assert tcp.answer[0][0].to_text() == "10.5.1.2"
    daemon.channel.send("stop")
    told = (await daemon.heard("ended")).fields
    assert (told["udp"], told["tcp"], told["codes"]) == (3, 1, {"NOERROR": 4})
    await daemon.ended


@pytest_twisted.ensureDeferred
async def test_what_has_arrived_is_answered_before_it_ends(daemon):
    await ready(daemon)
    query = dns.message.make_query(NODE, "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", daemon.port))
        client.settimeout(10)
        for _ in range(50):
            client.send(query)
        daemon.channel.send("stop")
        await daemon.heard("ended")
        for _ in range(50):
            assert client.recv(512)[:2] == query[:2]


@pytest_twisted.ensureDeferred
async def test_it_ends_when_the_daemon_is_gone(daemon):
    await ready(daemon)
    daemon.channel.close()
    await daemon.ended


@pytest.mark.parametrize("words", [("listen", {"kinds": ["udp"]}), ("zones", {"number": 1}), ("zones", {})])
@pytest_twisted.ensureDeferred
async def test_it_ends_when_it_cannot_do_what_it_is_told(daemon, logged_errors, words):
    """The daemon then starts another one, and answers meanwhile; one that lives on would answer out of old zones."""
    kind, fields = words
    await ready(daemon)
    daemon.channel.send(kind, descriptors=[0] if kind == "zones" else [], **fields)
    await daemon.heard("ended")
    assert logged_errors.flush()


@pytest_twisted.ensureDeferred
async def test_questions_for_the_daemon_are_given_to_it_and_counted_there(daemon):
    await ready(daemon, catalog=(b"catalog", b"invalid"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        for name, rdtype in (("fellow.aero.org", "IXFR"), ("x.CATALOG.invalid", "TXT")):
            wire = dns.message.make_query(name, rdtype).to_wire()
            client.sendto(wire, ("127.0.0.1", daemon.port))
            message = await daemon.heard("datagram")
            assert message.payload == wire
            assert (message.number("socket"), tuple(message.fields["peer"])) == (0, client.getsockname())
    daemon.channel.send("stop")
    assert (await daemon.heard("ended")).number("udp") == 0


@pytest_twisted.ensureDeferred
async def test_a_connection_is_given_away_whole_after_what_is_due_was_sent(daemon):
    """Plain questions before the transfer are answered here; it and all that follows travel with the connection."""
    await ready(daemon)
    before, transfer, after = (
        pack("!H", len(wire)) + wire
        for wire in (
            dns.message.make_query(name, rdtype).to_wire()
            for name, rdtype in ((NODE, "A"), ("fellow.aero.org", "AXFR"), (NODE, "AAAA"))
        )
    )
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.settimeout(10)
        client.sendall(before * 3 + transfer + after[:5])
        message = await daemon.heard("connection")
        assert message.payload == transfer + after[:5]
        with socket.socket(fileno=message.take()[0]) as taken:
            taken.setblocking(True)
            taken.settimeout(10)
            assert taken.getpeername() == client.getsockname()
            received = b""
            while received.count(b"\x0a\x05\x01\x02") < 3:
                received += client.recv(4096)
            # The connection lives, both ways.
            client.sendall(after[5:])
            assert taken.recv(100) == after[5:]
            taken.sendall(b"reply")
            assert client.recv(100) == b"reply"
        assert client.recv(100) == b""
    daemon.channel.send("stop")
    assert (await daemon.heard("ended")).number("connections") == 0


@pytest_twisted.ensureDeferred
async def test_a_connection_that_was_closed_halfway_is_given_away_all_the_same(daemon):
    await ready(daemon)
    wire = dns.message.make_query("fellow.aero.org", "AXFR").to_wire()
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(pack("!H", len(wire)) + wire)
        client.shutdown(socket.SHUT_WR)
        message = await daemon.heard("connection")
        assert message.payload[2:] == wire
        message.close()


@pytest_twisted.ensureDeferred
async def test_it_gives_signs_of_life_and_passes_the_log_on(daemon):
    await ready(daemon)
    await daemon.ask()
    while (await daemon.heard("counters")).fields.get("udp") != 1:
        pass
    log = Logger(observer=daemon.worker.observe)
    log.debug("nobody wants to know")
    log.warn("look: {what}", what="here")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.failure("broken")
    first, second = await daemon.heard("log"), await daemon.heard("log")
    assert first.fields == {"level": "warn", "text": "look: here"}
    assert second.fields["level"] == "critical"
    assert "ZeroDivisionError" in second.fields["text"]
