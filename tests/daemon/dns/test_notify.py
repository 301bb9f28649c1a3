"""Notifications: to whom, how often, and what ends them."""

from ipaddress import ip_address

import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from beonss.core.zones.records import Record, RecordType, SOAData, domain
from beonss.core.zones.transfer_access import NotifyTarget
from beonss.daemon.dns.notify import INTERVALS, Notifier
from beonss.wire.tsig import Key

NOW = 1_800_000_000
ONE = NotifyTarget(ip_address("192.0.2.1"), 53, None)
TWO = NotifyTarget(ip_address("2001:db8::1"), 5353, None)
KEY = Key(domain("ns1"), bytes(range(32)))
KEYED = NotifyTarget(ip_address("192.0.2.2"), 53, KEY.name)


class Port:
    def __init__(self, reactor, ear, interface):
        self.reactor, self.ear, self.interface = reactor, ear, interface
        self.closed = False

    def write(self, data, addr):
        self.reactor.sent.append((dns.message.from_wire(data, keyring=self.reactor.keyring), addr, self))

    def stopListening(self):
        self.closed = True


class Reactor(Clock):
    """A clock with UDP sockets that keep what is sent."""

    def __init__(self):
        super().__init__()
        self.sent = []
        self.ports = []
        self.broken = False
        self.absent = set()
        self.keyring = {dns.name.from_text("ns1"): dns.tsig.Key("ns1", KEY.secret, dns.tsig.HMAC_SHA256)}

    def listenUDP(self, port, protocol, interface=""):
        if self.broken or interface in self.absent:
            raise CannotListenError(interface, port, OSError("no"))
        self.ports.append(Port(self, protocol, interface))
        return self.ports[-1]


def soa(name="fellow.aero.org", serial=7):
    data = SOAData(domain("a"), domain("b"), serial, 1, 1, 1, 1)
    return Record(domain(name), RecordType.SOA, 60, data)


@pytest.fixture
def reactor(monkeypatch):
    monkeypatch.setattr("time.time", lambda: float(NOW))
    return Reactor()


@pytest.fixture
def notifier(reactor):
    ids = iter(range(1, 60000))
    return Notifier(reactor, now=lambda: NOW, new_id=lambda: next(ids), sources=["10.5.0.1", "127.0.0.1", "fd00:5::1"])


def reply(reactor, at=-1, code=0, addr=None):
    message, to, port = reactor.sent[at]
    answer = dns.message.make_response(message)
    answer.set_rcode(code)
    port.ear.datagramReceived(answer.to_wire(), addr or to)


def test_every_secondary_is_told_of_every_zone(reactor, notifier):
    notifier.announce([soa(), soa("5.10.in-addr.arpa")], [ONE, TWO], {})
    reactor.advance(0.1)
    assert sorted(to for _, to, _ in reactor.sent) == [("192.0.2.1", 53)] * 2 + [("2001:db8::1", 5353)] * 2
    message = reactor.sent[0][0]
    assert message.opcode() == dns.opcode.NOTIFY
    assert message.question[0].rdtype == dns.rdatatype.SOA
    assert message.answer[0][0].serial == 7
    assert [port.interface for port in reactor.ports] == ["10.5.0.1", "fd00:5::1"]


def test_who_does_not_answer_is_told_again_and_then_left_alone(reactor, notifier):
    notifier.announce([soa()], [ONE], {})
    reactor.pump([1.0] * 400)
    assert len(reactor.sent) == len(INTERVALS)
    assert (notifier.waiting, notifier.given_up) == (0, 1)
    assert not reactor.getDelayedCalls()


def test_an_answer_ends_it(reactor, notifier):
    notifier.announce([soa()], [ONE], {})
    reactor.advance(0)
    reply(reactor)
    assert (notifier.waiting, notifier.heard) == (0, 1)
    assert not reactor.getDelayedCalls()


def test_a_refusal_ends_it_too(reactor, notifier):
    notifier.announce([soa()], [ONE], {})
    reactor.advance(0)
    reply(reactor, code=5)
    assert notifier.waiting == 0


def test_answers_of_others_and_noise_mean_nothing(reactor, notifier):
    notifier.announce([soa()], [ONE], {})
    reactor.advance(0)
    reply(reactor, addr=("192.0.2.9", 53))
    reply(reactor, addr=("192.0.2.1", 54))
    ear = reactor.ports[0].ear
    for noise in (b"", b"\0\1", reactor.sent[0][0].to_wire(), bytes(12)):
        ear.datagramReceived(noise, ("192.0.2.1", 53))
    assert notifier.waiting == 1
    reactor.advance(INTERVALS[0])
    reply(reactor, at=0)
    assert notifier.waiting == 1
    reply(reactor)
    assert notifier.waiting == 0


def test_a_newer_version_takes_the_place_of_the_older_one(reactor, notifier):
    notifier.announce([soa(serial=7)], [ONE, TWO], {})
    notifier.announce([soa(serial=8)], [ONE], {})
    reactor.advance(0.1)
    assert [(message.answer[0][0].serial, to) for message, to, _ in reactor.sent] == [(8, ("192.0.2.1", 53))]


def test_who_is_no_secondary_any_more_is_told_nothing(reactor, notifier):
    notifier.announce([soa()], [ONE], {})
    notifier.announce([], [], {})
    reactor.advance(100)
    assert reactor.sent == []


def test_messages_are_signed_where_a_key_is_named(reactor, notifier):
    notifier.announce([soa()], [KEYED], {KEY.name: KEY})
    reactor.advance(0)
    assert reactor.sent[0][0].had_tsig


def test_a_socket_that_cannot_be_had_is_tried_again(reactor, notifier):
    reactor.broken = True
    notifier.announce([soa()], [ONE], {})
    reactor.advance(0)
    reactor.broken = False
    reactor.advance(INTERVALS[0])
    assert len(reactor.sent) == 1


def test_after_the_end_nothing_is_left(reactor, notifier):
    notifier.announce([soa()], [ONE, TWO], {})
    reactor.advance(0.1)
    notifier.stop()
    assert all(port.closed for port in reactor.ports)
    assert not reactor.getDelayedCalls()


@pytest.mark.parametrize(("target", "absent", "expected"), [
    ("192.0.2.1", (), "10.5.0.1"), ("127.0.0.2", (), "127.0.0.1"), ("192.0.2.1", ("10.5.0.1",), "10.6.0.1"),
    ("2001:db8::1", (), "fd00:5::1"), ("fe80::2", (), "fe80::1%eth0"), ("::1", (), "fd00:5::1"),
    ("2001:db8::1", ("fd00:5::1",), None),
])  # fmt: skip
def test_it_is_sent_from_an_address_that_gets_there(reactor, target, absent, expected):
    """Whatever the order of the options: nothing leaves the machine from its loopback address."""
    sources = ["127.0.0.1", "10.5.0.1", "10.6.0.1", "fe80::1%eth0", "fd00:5::1"]
    notifier = Notifier(reactor, now=lambda: NOW, new_id=lambda: 5, sources=sources)
    reactor.absent.update(absent)
    notifier.announce([soa()], [NotifyTarget(ip_address(target), 53, None)], {})
    reactor.advance(0)
    assert [port.interface for _, _, port in reactor.sent] == ([] if expected is None else [expected])
    # It comes in the meantime.
    reactor.absent.clear()
    reactor.advance(INTERVALS[0])
    assert reactor.sent[-1][2].interface == (absent[0] if absent else expected)
    notifier.stop()


def test_where_only_loopback_is_known_the_system_chooses(reactor):
    notifier = Notifier(reactor, now=lambda: NOW, new_id=lambda: 5, sources=["127.0.0.1", "::1"])
    notifier.announce([soa()], [ONE, TWO], {})
    reactor.pump([0, 1])
    assert [port.interface for port in reactor.ports] == ["0.0.0.0", "::"]
    notifier.stop()
