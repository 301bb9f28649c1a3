"""DNS over TCP without a network: a transport in memory and a clock that is set by hand."""

from ipaddress import ip_address, ip_network
from struct import pack

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dns_names import Names
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from beonss.core.zones.zone import Zones
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tcp import DNSStreams, StreamLimits, listen_tcp

LIMITS = StreamLimits(idle=10, stall=5, total=4, per_client=3, message=4096, pipeline=2)


class Transport(StringTransport):
    """Bounded like a real one: a producer is asked to pause when more than ``high`` bytes wait for the client."""

    high = 1 << 20
    aborted = False
    paused = False

    def write(self, data):
        super().write(data)
        if len(self.value()) > self.high and self.producer is not None and not self.paused:
            self.paused = True
            self.producer.pauseProducing()

    def taken(self):
        """Let the client take everything; return it."""
        data = self.value()
        self.clear()
        if self.paused:
            self.paused = False
            self.producer.resumeProducing()
        return data

    def abortConnection(self):
        self.aborted = True


class Cluster:
    """A server, its streams, and clients."""

    def __init__(self, fallback=None, limits=LIMITS):
        self.clock = Clock()
        self.server = DNSServer(Zones(Names()), fallback=fallback, seconds=self.clock.seconds)
        self.streams = DNSStreams(self.server, self.clock, limits)

    def connect(self, host="10.5.2.3"):
        stream = self.streams.buildProtocol(IPv4Address("TCP", host, 40000))
        if stream is None:
            return None, None
        transport = Transport()
        stream.makeConnection(transport)
        return stream, transport

    def lose(self, stream):
        stream.connectionLost(Failure(ConnectionDone()))


def framed(name="frodo.fellow.aero.org", rdtype="A", id_=1):
    wire = dns.message.make_query(name, rdtype, id=id_).to_wire()
    return pack("!H", len(wire)) + wire


def replies(data):
    """Take the stream apart again."""
    found = []
    while data:
        length = int.from_bytes(data[:2], "big")
        found.append(dns.message.from_wire(data[2 : 2 + length]))
        data = data[2 + length :]
    return found


class Later:
    """A fallback that answers when told to."""

    def __init__(self):
        self.waiting = []

    networks = (ip_network("127.0.0.0/8"), ip_network("10.5.0.0/16"), ip_network("::1"))

    def counters(self):
        return {}

    def retire(self):
        pass

    def forward(self, query, packet, asker, *, tcp):
        assert tcp
        deferred = Deferred()
        self.waiting.append((packet, deferred))
        return deferred

    def answer(self, index):
        packet, deferred = self.waiting[index]
        deferred.callback(packet[:2] + b"\x81\x80" + packet[4:])


def test_interfaces():
    stream, _ = Cluster().connect()
    assert verifyObject(IPushProducer, stream)
    assert verifyObject(IHalfCloseableProtocol, stream)


def test_pipelined_queries_are_answered_in_one_go():
    stream, transport = Cluster().connect()
    stream.dataReceived(b"".join(framed(f"r01n0{n}.fellow.aero.org", id_=n) for n in range(1, 9)))
    assert [reply.id for reply in replies(transport.value())] == list(range(1, 9))
    assert not transport.disconnecting


@given(st.lists(st.integers(1, 8), min_size=1, max_size=5), st.data())
def test_the_pace_of_the_bytes_does_not_matter(numbers, data):
    stream, transport = Cluster().connect()
    rest = b"".join(framed(f"r01n0{n}.fellow.aero.org", id_=n) for n in numbers)
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        stream.dataReceived(rest[:count])
        rest = rest[count:]
    assert [reply.id for reply in replies(transport.value())] == numbers


def test_a_malformed_query_gets_formerr_and_the_next_one_its_answer():
    stream, transport = Cluster().connect()
    stream.dataReceived(pack("!H", 14) + b"\0\7\1\0\0\1" + b"\0" * 6 + b"\xc0\x0c" + framed())
    assert [reply.rcode() for reply in replies(transport.value())] == [1, 0]


@pytest.mark.parametrize("length", [0, 1, 11, 4097, 65535])
def test_a_length_no_query_has_closes_the_connection(length):
    """At once: nobody has to wait for bytes that never come."""
    cluster = Cluster()
    stream, transport = cluster.connect()
    stream.dataReceived(framed() + pack("!H", length) + b"xyz")
    assert len(replies(transport.value())) == 1
    assert transport.disconnecting
    assert cluster.server.counters().dropped == 1
    stream.dataReceived(framed())
    assert len(replies(transport.value())) == 1


def test_a_reply_sent_to_us_is_ignored():
    stream, transport = Cluster().connect()
    packet = framed()
    stream.dataReceived(packet[:4] + b"\x81" + packet[5:])
    assert transport.value() == b""


def test_an_idle_connection_is_closed():
    cluster = Cluster()
    stream, transport = cluster.connect()
    cluster.clock.advance(9)
    stream.dataReceived(framed())
    cluster.clock.advance(9)
    assert not transport.disconnecting
    cluster.clock.advance(1)
    assert transport.disconnecting
    cluster.lose(stream)
    assert cluster.clock.getDelayedCalls() == []


def test_single_bytes_do_not_keep_a_connection_open():
    """The slow loris: only complete queries count."""
    cluster = Cluster()
    stream, transport = cluster.connect()
    for byte in framed()[:10]:
        stream.dataReceived(bytes([byte]))
        cluster.clock.advance(1)
    assert transport.disconnecting


def test_a_closed_connection_that_does_not_go_away_is_cut():
    cluster = Cluster()
    stream, transport = cluster.connect()
    stream.dataReceived(framed())
    cluster.clock.advance(10)
    assert transport.disconnecting
    assert not transport.aborted
    cluster.clock.advance(5)
    assert transport.aborted
    cluster.lose(stream)
    assert cluster.clock.getDelayedCalls() == []


def test_a_client_that_takes_no_replies_is_no_longer_read_and_then_cut():
    cluster = Cluster()
    stream, transport = cluster.connect()
    transport.high = 500
    stream.dataReceived(framed() * 1000)
    written = len(transport.value())
    assert 500 < written < 700
    assert transport.producerState == "paused"
    assert len(stream._buffer) < 1000 * len(framed())
    cluster.clock.advance(4)
    assert len(transport.value()) == written
    cluster.clock.advance(1)
    assert transport.aborted
    assert cluster.server.counters().refused_connections == 1
    cluster.lose(stream)


def test_a_client_that_takes_its_replies_in_the_end_gets_them_all():
    cluster = Cluster()
    stream, transport = cluster.connect()
    transport.high = 500
    stream.dataReceived(framed() * 100)
    got = []
    for _ in range(100):
        cluster.clock.advance(1)
        got += replies(transport.taken())
        if len(got) == 100:
            break
    assert len(got) == 100
    assert transport.producerState == "producing"
    assert not transport.aborted
    assert not transport.disconnecting


def test_a_client_may_close_its_half_and_still_gets_its_replies():
    cluster = Cluster()
    stream, transport = cluster.connect()
    transport.high = 500
    stream.dataReceived(framed() * 20)
    got = replies(transport.taken())
    stream.readConnectionLost()
    while not transport.disconnecting:
        got += replies(transport.taken())
    assert len(got + replies(transport.value())) == 20


def test_half_closed_waits_for_the_fallback():
    later = Later()
    cluster = Cluster(later)
    stream, transport = cluster.connect()
    stream.dataReceived(framed("example.com"))
    stream.readConnectionLost()
    assert not transport.disconnecting
    later.answer(0)
    assert len(replies(transport.value())) == 1
    assert transport.disconnecting


def test_closing_our_half_cuts():
    stream, transport = Cluster().connect()
    stream.writeConnectionLost()
    assert transport.aborted
    stream.stopProducing()


def test_ours_overtake_what_the_fallback_looks_up_and_only_so_many_wait():
    """Replies may come out of order (RFC 7766 section 7); a connection has a bounded number of questions open."""
    later = Later()
    cluster = Cluster(later)
    stream, transport = cluster.connect()
    stream.dataReceived(
        framed("a.example", id_=1) + framed(id_=2) + framed("b.example", id_=3) + framed("c.example", id_=4)
    )
    assert [reply.id for reply in replies(transport.taken())] == [2]
    assert len(later.waiting) == 2
    assert transport.producerState == "paused"
    cluster.clock.advance(30)
    assert not transport.disconnecting
    later.answer(1)
    assert len(later.waiting) == 3
    later.answer(0)
    assert [reply.id for reply in replies(transport.taken())] == [3, 1]
    assert transport.producerState == "producing"
    later.answer(2)
    cluster.clock.advance(20)
    assert transport.disconnecting


def test_a_reply_that_comes_too_late_is_for_nobody():
    later = Later()
    cluster = Cluster(later)
    stream, transport = cluster.connect()
    other, closing = cluster.connect()
    stream.dataReceived(framed("a.example"))
    other.dataReceived(framed("b.example"))
    cluster.lose(stream)
    other.close(1)
    later.answer(0)
    later.answer(1)
    assert transport.value() == closing.value() == b""
    stream.close(1)
    stream.abort()


def test_one_client_has_a_limited_number_of_connections():
    cluster = Cluster()
    streams = [cluster.connect()[0] for _ in range(3)]
    assert cluster.connect() == (None, None)
    assert cluster.connect("10.5.2.4")[0] is not None
    cluster.lose(streams[0])
    assert cluster.connect()[0] is not None
    assert cluster.server.counters().connections == 4
    assert cluster.server.counters().refused_connections == 1


def test_beyond_the_limit_the_one_idle_longest_gives_way():
    cluster = Cluster()
    connections = [cluster.connect(f"10.5.2.{n}") for n in range(4)]
    connections[0][0].dataReceived(framed())
    newest, _ = cluster.connect("10.5.2.9")
    assert newest is not None
    assert [transport.aborted for _, transport in connections] == [False, True, False, False]
    cluster.lose(connections[1][0])
    assert cluster.server.counters().connections == 4
    assert cluster.server.counters().refused_connections == 1


def test_who_waits_for_a_reply_does_not_give_way_to_who_idles():
    cluster = Cluster(Later())
    connections = [cluster.connect(f"10.5.2.{n}") for n in range(4)]
    connections[0][0].dataReceived(framed("example.com"))
    for stream, _ in connections[1:]:
        stream.dataReceived(framed())
    cluster.connect("10.5.2.9")
    assert [transport.aborted for _, transport in connections] == [False, True, False, False]


def test_stopping_closes_all_and_tells_when_the_last_is_gone():
    cluster = Cluster()
    connections = [cluster.connect() for _ in range(2)]
    done = []
    cluster.streams.close(1).addCallback(done.append)
    assert all(transport.disconnecting for _, transport in connections)
    cluster.clock.advance(1)
    assert all(transport.aborted for _, transport in connections)
    for stream, _ in connections:
        assert not done
        cluster.lose(stream)
    assert done
    assert cluster.server.counters().connections == 0
    assert cluster.clock.getDelayedCalls() == []


def test_self_over_tcp_is_who_is_connected():
    cluster = Cluster()
    stream, transport = cluster.connect("10.5.4.8")
    stream.dataReceived(framed("self.fellow.aero.org"))
    (reply,) = replies(transport.value())
    assert str(ip_address(reply.answer[1][0].address)) == "10.5.4.8"


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_arbitrary_bytes_end_in_replies_or_a_closed_connection(chunks):
    cluster = Cluster()
    stream, _ = cluster.connect()
    for chunk in chunks:
        stream.dataReceived(chunk)
    assert len(stream._buffer) <= 4096 + 2
    assert cluster.server.counters().failures == 0
    cluster.lose(stream)
    assert cluster.clock.getDelayedCalls() == []


def test_listening_needs_an_address():
    with pytest.raises(Exception, match="not an IP address"):
        listen_tcp(None, DNSServer(Zones(Names())), "localhost", 0)
