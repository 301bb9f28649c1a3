"""Aliases of ours that lead elsewhere: followed where names elsewhere are looked up, and only there."""

from ipaddress import ip_address, ip_network

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from support.dns_names import Names
from twisted.internet.defer import Deferred

from beonss.core.zones.overlay import Overlay, StaticRecord
from beonss.core.zones.overlay_zone import OverlaidZones
from beonss.core.zones.records import AddressData, NameData, Record, domain
from beonss.core.zones.zone import UnknownZones
from beonss.net.dns.completion import led_home
from beonss.net.dns.server import DNSServer
from beonss.wire.dns import read_query

ZONE = "fellow.aero.org"
CLIENT = "10.5.2.3"


def static(owner, kind, data):
    return StaticRecord(Record(domain(f"{owner}.{ZONE}"), kind, 600, data))


ZONES = OverlaidZones(
    Names(),
    Overlay([
        static("outside", 5, NameData(domain("www.example.com"))),
        static("twice", 5, NameData(domain(f"outside.{ZONE}"))),
        static("inside", 5, NameData(domain(f"srv.{ZONE}"))),
        static("nowhere", 5, NameData(domain(f"nosuch.{ZONE}"))),
        static("loop", 5, NameData(domain(f"loop.{ZONE}"))),
        static("srv", 1, AddressData(ip_address("192.0.2.9"))),
        static("sub", 39, NameData(domain("example.net"))),
        static("given", 2, NameData(domain("ns.example.net"))),
    ]),
)  # fmt: skip


class Elsewhere:
    """A fallback that answers at once, later, or not at all."""

    networks = (ip_network("10.5.0.0/16"),)

    def __init__(self, rcode=0, records=("192.0.2.80",), *, later=False, flags=0, silent=False, more=()):
        self.rcode, self.records, self.later, self.flags, self.silent = rcode, records, later, flags, silent
        self.more = more
        self.asked = []
        self.waiting = None

    def forward(self, query, packet, asker, *, tcp):
        self.asked.append((query.text, query.type, tcp))
        if self.silent:
            self.waiting = Deferred()
            return self.waiting
        asked = dns.message.from_wire(b"\0\1\1\0\0\1\0\0\0\0\0\0" + query.question)
        reply = dns.message.make_response(asked, recursion_available=True)
        reply.set_rcode(self.rcode)
        reply.flags |= self.flags
        for owner, kind, text in self.more:
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", kind, text))
        for text in self.records:
            reply.answer.append(dns.rrset.from_text(asked.question[0].name, 300, "IN", "A", text))
        if not self.later:
            return reply.to_wire()
        self.waiting = Deferred()
        self.reply = reply.to_wire()
        return self.waiting

    def counters(self):
        return {}

    def retire(self):
        pass


def ask(elsewhere, name, kind="A", *, tcp=False, zone=ZONE, **options):
    server = DNSServer(ZONES, fallback=elsewhere)
    packet = dns.message.make_query(f"{name}.{zone}", kind, id=9, **options).to_wire()
    reply = server.respond(packet, CLIENT, tcp=tcp)
    if isinstance(reply, Deferred):
        assert not reply.called
        elsewhere.waiting.callback(None if elsewhere.silent else elsewhere.reply)
        reply = reply.result
    assert isinstance(reply, bytes)
    return dns.message.from_wire(reply)


def said(reply):
    return [(str(rrset.name).partition(".")[0], rrset[0].to_text()) for rrset in reply.answer]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_alias_and_address_stand_in_one_reply(later, tcp):
    elsewhere = Elsewhere(later=later)
    reply = ask(elsewhere, "twice", tcp=tcp)
    assert said(reply) == [("twice", f"outside.{ZONE}."), ("outside", "www.example.com."), ("www", "192.0.2.80")]
    assert (reply.id, reply.rcode()) == (9, 0)
    assert reply.flags & dns.flags.RA
    assert elsewhere.asked == [("www.example.com", 1, True)]


def test_one_made_by_dname_too():
    reply = ask(Elsewhere(), "x.sub")
    assert [rdata for _, rdata in said(reply)] == ["example.net.", "x.example.net.", "192.0.2.80"]


@pytest.mark.parametrize(("name", "kind", "options"), [
    ("outside", "CNAME", {}), ("outside", "ANY", {}), ("outside", "A", {"flags": 0}), ("inside", "A", {}),
    ("nowhere", "A", {}), ("loop", "A", {}), ("srv", "A", {}), ("nosuch", "A", {}),
])  # fmt: skip
def test_what_needs_nobody_else_asks_nobody(name, kind, options):
    elsewhere = Elsewhere()
    ask(elsewhere, name, kind, **options)
    assert elsewhere.asked == []


def test_strangers_get_the_alias_alone():
    elsewhere = Elsewhere()
    server = DNSServer(ZONES, fallback=elsewhere)
    reply = server.respond(dns.message.make_query(f"outside.{ZONE}", "A").to_wire(), "192.0.2.1", tcp=False)
    assert said(dns.message.from_wire(reply)) == [("outside", "www.example.com.")]
    assert elsewhere.asked == []


def test_a_name_that_does_not_exist_there():
    reply = ask(Elsewhere(3, ()), "outside")
    assert (reply.rcode(), said(reply)) == (dns.rcode.NXDOMAIN, [("outside", "www.example.com.")])


@pytest.mark.parametrize("elsewhere", [
    Elsewhere(2, ()), Elsewhere(5, ()), Elsewhere(silent=True), Elsewhere(flags=dns.flags.TC, records=()),
    Elsewhere(records=[f"192.0.{number}.1" for number in range(200)]),
], ids=["servfail", "refused", "silent", "truncated", "too many"])  # fmt: skip
def test_what_is_not_known_fails_as_a_whole(elsewhere):
    """An alias without an address would pass for a name that has none."""
    reply = ask(elsewhere, "outside")
    assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])


def test_it_is_kept_for_nobody():
    """The forwarder's cache knows how long each part may be kept."""
    server = DNSServer(ZONES, fallback=Elsewhere())
    packet = dns.message.make_query(f"outside.{ZONE}", "A").to_wire()
    for _ in range(2):
        server.respond(packet, CLIENT, tcp=False)
    assert len(server.fallback.asked) == 2


def test_what_does_not_fit_is_truncated():
    elsewhere = Elsewhere(records=[f"192.0.{number}.1" for number in range(100)])
    reply = ask(elsewhere, "outside")
    assert (bool(reply.flags & dns.flags.TC), reply.answer) == (True, [])
    assert len(ask(elsewhere, "outside", tcp=True).answer[1]) == 100


def test_nothing_about_other_names_gets_into_an_answer_of_ours():
    """A server that is asked for one name could say something of all of ours besides."""
    more = [
        ("b.example.com.", "A", "192.0.2.82"), ("WWW.example.com.", "CNAME", "a.example.com."),
        ("a.example.com.", "CNAME", "B.example.com."), (f"r01n02.{ZONE}.", "A", "203.0.113.66"),
        ("elsewhere.org.", "CNAME", "b.example.com."), ("example.com.", "A", "203.0.113.66"),
        ("example.com.", "DNAME", "example.org."), ("c.example.com.", "DNAME", "example.org."),
    ]  # fmt: skip
    reply = ask(Elsewhere(records=(), more=more), "outside")
    assert {str(rrset.name).lower() for rrset in reply.answer} == {
        f"outside.{ZONE}.", "www.example.com.", "a.example.com.", "b.example.com.", "example.com.",
    }  # fmt: skip
    assert "203.0.113.66" not in reply.to_text()


def test_aliases_that_go_round_end():
    more = [("www.example.com.", "CNAME", "a.example.com."), ("a.example.com.", "CNAME", "www.example.com.")]
    assert len(ask(Elsewhere(records=(), more=more), "outside").answer) == 3


class TestHome:
    """Aliases of others that lead into a zone of ours."""

    ALIAS = ("www.example.com.", "CNAME", f"R01n02.{ZONE}.")

    @pytest.mark.parametrize("later", [False, True])
    @pytest.mark.parametrize("tcp", [False, True])
    @pytest.mark.parametrize("rcode", [0, 3])
    def test_what_we_know_stands_beside_them(self, later, tcp, rcode):
        """Whether the other server knows nothing of our zone, or denies it."""
        reply = ask(Elsewhere(rcode, (), more=[self.ALIAS], later=later), "www", zone="Example.com", tcp=tcp)
        assert (reply.id, reply.rcode()) == (9, 0)
        assert reply.flags & (dns.flags.AA | dns.flags.RA) == dns.flags.RA
        assert said(reply) == [("www", f"R01n02.{ZONE}."), ("R01n02", "10.5.1.2")]

    def test_what_others_say_of_our_names_is_not_believed(self):
        more = [self.ALIAS, (f"r01n02.{ZONE}.", "A", "203.0.113.66")]
        reply = ask(Elsewhere(0, (), more=more), "www", zone="example.com")
        assert said(reply) == [("www", f"R01n02.{ZONE}."), ("R01n02", "10.5.1.2")]

    def test_nor_in_an_answer_that_begins_with_an_alias_of_ours(self):
        more = [self.ALIAS, (f"r01n02.{ZONE}.", "A", "203.0.113.66")]
        reply = ask(Elsewhere(0, (), more=more), "outside")
        assert [name for name, _ in said(reply)] == ["outside", "www", "R01n02"]
        assert said(reply)[2] == ("R01n02", "10.5.1.2")

    def test_over_several_aliases_in_any_order(self):
        more = [
            ("b.example.com.", "CNAME", f"r01n02.{ZONE}."), ("www.example.com.", "CNAME", "A.example.com."),
            ("a.example.com.", "CNAME", "b.example.com."), ("c.example.com.", "CNAME", "b.example.com."),
        ]  # fmt: skip
        reply = ask(Elsewhere(0, (), more=more), "www", zone="example.com")
        assert [name.lower() for name, _ in said(reply)] == ["b", "www", "a", "r01n02"]

    def test_what_we_deny_is_denied(self):
        more = [("www.example.com.", "CNAME", f"nosuch.{ZONE}.")]
        reply = ask(Elsewhere(0, (), more=more), "www", zone="example.com")
        assert (reply.rcode(), len(reply.answer)) == (dns.rcode.NXDOMAIN, 1)
        assert [str(rrset.name) for rrset in reply.authority] == [f"{ZONE}."]
        reply = ask(Elsewhere(3, (), more=[self.ALIAS]), "www", "TXT", zone="example.com")
        assert (reply.rcode(), len(reply.answer), len(reply.authority)) == (dns.rcode.NOERROR, 1, 1)

    @pytest.mark.parametrize(("kind", "target"), [
        ("CNAME", f"r01n02.{ZONE}."), ("A", f"x.given.{ZONE}."), ("A", f"outside.{ZONE}."), ("A", "fellow.example."),
    ])  # fmt: skip
    def test_where_we_know_no_more_it_stays_as_it_was(self, kind, target):
        """The alias was asked for; a name that we delegate, one that leads away again, one with the same labels."""
        more = [("www.example.com.", "CNAME", target)]
        reply = ask(Elsewhere(3, (), more=more), "www", kind, zone="example.com")
        assert (reply.rcode(), said(reply)) == (dns.rcode.NXDOMAIN, [("www", target)])

    def test_failures_are_passed_on(self):
        reply = ask(Elsewhere(2, (), more=[self.ALIAS]), "www", zone="example.com")
        assert reply.rcode() == dns.rcode.SERVFAIL

    def test_nothing_is_made_of_what_cannot_be_read(self):
        """As far as a reply that is as bad would be passed on at all."""
        query = read_query(dns.message.make_query("www.example.com", "A").to_wire())
        made = dns.message.make_response(dns.message.make_query("www.example.com", "A"))
        made.answer.append(dns.rrset.from_text(self.ALIAS[0], 300, "IN", *self.ALIAS[1:]))
        wire = made.to_wire()
        asker = ip_address(CLIENT)
        assert led_home(ZONES, query, wire, asker) is not None
        assert led_home(ZONES, query, wire[:-1], asker) is None
        assert led_home(UnknownZones(), query, wire, asker) is None
