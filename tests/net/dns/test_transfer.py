"""Transfers and signed questions by a server without sockets: who gets what, in which pieces, at which pace."""

from struct import pack

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
from support.overlaid import ZONE, write_cluster
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from beonss.core.zones.records import domain
from beonss.core.zones.transfer import Edition
from beonss.net.dns.server import DNSServer
from beonss.net.dns.tcp import DNSStreams, StreamLimits
from beonss.net.dns.transfer import MOST_STREAMS, Transfers, ZoneStream
from beonss.store.zonefiles import load_overlay
from beonss.wire.description import parse
from beonss.wire.tsig import Key

SECRET = bytes(range(32))
KEY = Key(domain("ns1.example"), SECRET)
THEIRS = dns.tsig.Key("ns1.example.", SECRET, dns.tsig.HMAC_SHA256)
NOW = 1_800_000_000.0
FRIEND, STRANGER, KEYED = "192.0.2.1", "192.0.2.99", "192.0.2.50"
ALLOW = f'allow = ["{FRIEND}", {{ network = "192.0.2.48/28", key = "ns1.example" }}]\nkey_files = ["k"]'


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """Let dnspython's clock stand at NOW too."""
    monkeypatch.setattr("time.time", lambda: NOW)


class Master:
    """A server with zones that may be transferred, and what its clients say to it."""

    def __init__(self, directory, **options):
        self.directory = directory
        self.clock = Clock()
        self.transfers = Transfers(lambda: NOW, self.clock.seconds)
        self.server = DNSServer(
            Edition(*self.read(**options)).zones, seconds=self.clock.seconds, transfers=self.transfers
        )
        self.streams = DNSStreams(self.server, self.clock, StreamLimits())
        self.load(**options)

    def read(self, **options):
        path = write_cluster(self.directory, transfer=ALLOW, **options)
        naming = parse(path.read_bytes(), str(path))
        return naming, load_overlay(naming, self.directory)

    def load(self, **options):
        edition = Edition(*self.read(**options))
        self.transfers.grants = edition.naming.description.dns.grants
        self.transfers.keys = {KEY.name: KEY}
        self.transfers.publish(edition)
        self.server.replace(edition.zones)

    def udp(self, message, host=FRIEND):
        return self.server.respond(message.to_wire(), host, tcp=False)

    def tcp(self, message, host=FRIEND):
        """Return all messages of the answer."""
        reply = self.server.respond(message.to_wire(), host, tcp=True)
        if not isinstance(reply, ZoneStream):
            return [reply]
        found = []
        while (part := reply.next_message()) is not None:
            found.append(part)
        return found

    def connect(self, host=FRIEND):
        stream = self.streams.buildProtocol(IPv4Address("TCP", host, 40000))
        transport = Transport()
        stream.makeConnection(transport)
        return stream, transport


class Transport(StringTransport):
    """Asks its producer to pause when more than 64 KiB wait."""

    choked = False
    aborted = False

    def write(self, data):
        super().write(data)
        if len(self.value()) > 65536 and not self.choked:
            self.choked = True
            self.producer.pauseProducing()

    def take(self):
        data = self.value()
        self.clear()
        if self.choked:
            self.choked = False
            self.producer.resumeProducing()
        return data

    def abortConnection(self):
        self.aborted = True


def question(kind="AXFR", name=ZONE, serial=None, key=None):
    message = dns.message.make_query(name, kind)
    if serial is not None:
        text = f"{name}. 0 IN SOA a. b. {serial} 0 0 0 0"
        message.authority.append(dns.message.from_text(f"id 1\n;AUTHORITY\n{text}\n").authority[0])
    if key is not None:
        message.use_tsig(key)
    return message


def rcode(wire, **options):
    return dns.rcode.to_text(dns.message.from_wire(wire, **options).rcode())


def soas(parts):
    """Return the serials of the SOA records of an answer, in their order."""
    found = []
    for part in parts:
        message = dns.message.from_wire(part, one_rr_per_rrset=True)
        found += [rrset[0].serial for rrset in message.answer if rrset.rdtype == dns.rdatatype.SOA]
    return found


def test_a_whole_zone_begins_and_ends_with_its_soa(tmp_path):
    parts = Master(tmp_path, slots=250).tcp(question())
    assert len(parts) > 1
    assert all(len(part) <= 16_000 for part in parts)
    assert soas(parts) == [7, 7]
    for part in parts:
        message = dns.message.from_wire(part)
        assert message.flags & dns.flags.AA
        assert message.question[0].rdtype == dns.rdatatype.AXFR


def test_only_those_who_may_get_zones(tmp_path):
    """By network; by network and key; nobody else, whatever it asks for, and of other zones we know nothing."""
    master = Master(tmp_path)
    assert rcode(master.tcp(question(), STRANGER)[0]) == "REFUSED"
    assert rcode(master.tcp(question(name="other.example"), STRANGER)[0]) == "REFUSED"
    assert rcode(master.tcp(question(), KEYED)[0]) == "REFUSED"
    signed = question(key=THEIRS)
    assert soas_signed(master.tcp(signed, KEYED), signed) == [7, 7]
    assert rcode(master.tcp(question(name="other.example"))[0]) == "NOTAUTH"
    assert rcode(master.tcp(question(name=f"r01n01.{ZONE}"))[0]) == "NOTAUTH"
    assert master.transfers.refused == 3


def soas_signed(parts, message):
    found, context = [], None
    for part in parts:
        reply = dns.message.from_wire(
            part, keyring=message.keyring, request_mac=message.mac, multi=True, tsig_ctx=context, one_rr_per_rrset=True
        )
        assert reply.had_tsig
        context = reply.tsig_ctx
        found += [rrset[0].serial for rrset in reply.answer if rrset.rdtype == dns.rdatatype.SOA]
    return found


def test_a_signed_zone_of_many_messages_is_believed(tmp_path):
    message = question(key=THEIRS)
    parts = Master(tmp_path, slots=250).tcp(message)
    assert len(parts) > 1
    assert all(len(part) <= 16_000 for part in parts)
    assert soas_signed(parts, message) == [7, 7]


def test_an_ordinary_question_that_is_signed_gets_a_signed_answer(tmp_path):
    master = Master(tmp_path)
    for name in (ZONE, f"r01n01.{ZONE}", "example.com"):
        message = question("SOA", name=name, key=THEIRS)
        for reply in (master.udp(message, STRANGER), *master.tcp(message, STRANGER)):
            assert dns.message.from_wire(reply, keyring=message.keyring, request_mac=message.mac).had_tsig


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (dns.tsig.Key("other.", SECRET, dns.tsig.HMAC_SHA256), dns.tsig.PeerBadKey),
        (dns.tsig.Key("ns1.example.", bytes(32), dns.tsig.HMAC_SHA256), dns.tsig.PeerBadSignature),
    ],
)
def test_a_signature_we_do_not_know_gets_an_error_and_nothing_else(tmp_path, key, error):
    message = question(key=key)
    for reply in (Master(tmp_path).udp(message), *Master(tmp_path).tcp(message)):
        with pytest.raises(error):
            dns.message.from_wire(reply, keyring=message.keyring, request_mac=message.mac)


def test_a_request_from_long_ago_is_not_repeated(tmp_path, monkeypatch):
    """A replayed request is too old, which is told with our time, signed."""
    master = Master(tmp_path)
    message = question(key=THEIRS)
    monkeypatch.setattr("time.time", lambda: NOW - 1000)
    (reply,) = master.tcp(message)
    with pytest.raises(dns.tsig.PeerBadTime):
        dns.message.from_wire(reply, keyring=message.keyring, request_mac=message.mac)


def test_what_changed_is_sent_when_both_versions_are_at_hand(tmp_path):
    master = Master(tmp_path)
    master.load(version=8, login="10.5.0.9")
    parts = master.tcp(question("IXFR", serial=7))
    assert soas(parts) == [8, 7, 8, 8]
    assert sum(len(dns.message.from_wire(part, one_rr_per_rrset=True).answer) for part in parts) == 6
    assert (master.transfers.incremental, master.transfers.full) == (1, 0)


@pytest.mark.parametrize(("serial", "found"), [(8, [8]), (9, [8]), (7, [8, 7, 8, 8]), (6, [8, 8])])
def test_an_incremental_question_is_answered_by_what_the_client_has(tmp_path, serial, found):
    """The same or a later version: one SOA; one that is not at hand: the whole zone (RFC 1995 section 4)."""
    master = Master(tmp_path)
    master.load(version=8, login="10.5.0.9")
    assert soas(master.tcp(question("IXFR", serial=serial))) == found


def test_over_udp_a_small_difference_or_else_one_record(tmp_path):
    """RFC 1995 section 2: what does not fit is asked for again over TCP."""
    master = Master(tmp_path)
    master.load(version=8, login="10.5.0.9")
    assert soas([master.udp(question("IXFR", serial=7))]) == [8, 7, 8, 8]
    assert soas([master.udp(question("IXFR", serial=1))]) == [8]
    master.load(version=9, slots=250)
    assert soas([master.udp(question("IXFR", serial=8))]) == [9]
    assert rcode(master.udp(question())) == "FORMERR"
    assert rcode(master.udp(question("IXFR"))) == "FORMERR"


def test_a_transfer_waits_for_its_client_and_lets_others_go_on(tmp_path):
    master = Master(tmp_path, slots=250)
    stream, transport = master.connect()
    wire = question().to_wire()
    after = dns.message.make_query(f"r01n01.{ZONE}", "A").to_wire()
    stream.dataReceived(pack("!H", len(wire)) + wire + pack("!H", len(after)) + after)
    received = b""
    turns = 0
    while turns < 200 and not (received and not stream.busy):
        master.clock.advance(0)
        turns += 1
        assert len(transport.value()) < 65536 + 20_000
        if transport.choked:
            before = len(transport.value())
            master.clock.advance(1)
            assert len(transport.value()) == before
        received += transport.take()
    parts = []
    while received:
        size = int.from_bytes(received[:2], "big")
        parts.append(received[2 : 2 + size])
        received = received[2 + size :]
    assert soas(parts[:-1]) == [7, 7]
    assert dns.message.from_wire(parts[-1]).answer


def test_a_client_that_goes_or_stalls_frees_its_place(tmp_path):
    master = Master(tmp_path, slots=250)
    wire = question().to_wire()
    for at in range(MOST_STREAMS + 3):
        stream, transport = master.connect(f"192.0.2.{1}")
        stream.dataReceived(pack("!H", len(wire)) + wire)
        master.clock.advance(0)
        if at % 2:
            stream.connectionLost(Failure(ConnectionDone()))
        else:
            for _ in range(60):
                master.clock.advance(1)
            assert transport.aborted or not stream.busy
            stream.connectionLost(Failure(ConnectionDone()))
    assert soas(master.tcp(question())) == [7, 7]


def test_there_is_a_limit_to_transfers_at_a_time(tmp_path):
    master = Master(tmp_path, slots=250)
    wire = question().to_wire()
    streams = [master.server.respond(wire, FRIEND, tcp=True) for _ in range(MOST_STREAMS)]
    assert rcode(master.server.respond(wire, FRIEND, tcp=True)) == "SERVFAIL"
    for stream in streams:
        stream.close()
        stream.close()
    assert isinstance(master.server.respond(wire, FRIEND, tcp=True), ZoneStream)


def test_a_zone_that_breaks_while_it_is_made_is_not_taken_for_whole(tmp_path, monkeypatch, logged_errors):
    """The connection is cut, so that the secondary keeps what it has."""
    master = Master(tmp_path)
    stream, transport = master.connect()

    def broken(self):
        raise RuntimeError("a bug")

    monkeypatch.setattr(ZoneStream, "next_message", broken)
    wire = question().to_wire()
    stream.dataReceived(pack("!H", len(wire)) + wire)
    master.clock.advance(0)
    assert transport.aborted
    assert len(logged_errors.flush(RuntimeError)) == 1
