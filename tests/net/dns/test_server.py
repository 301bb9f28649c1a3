"""The server between packets and zones: the table of ready answers, fallback, failures, counters."""

from ipaddress import ip_address, ip_network

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dns_names import Names
from twisted.internet.defer import Deferred, fail, succeed

from beonss.core.zones.records import ReplyCode
from beonss.core.zones.zone import Zones
from beonss.errors import ConfigurationError, Unavailable
from beonss.net.dns import server as subject
from beonss.net.dns.server import DNSServer, ReadyAnswers

CLIENT = "10.5.2.3"


def wire(name, rdtype="A", **options):
    options.setdefault("id", 1)
    return dns.message.make_query(name, rdtype, **options).to_wire()


def answer(server, packet, host=CLIENT, *, tcp=False):
    return dns.message.from_wire(server.respond(packet, host, tcp=tcp))


def addresses(reply):
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


class Elsewhere:
    """A fallback that notes what it is asked."""

    def __init__(self, result, allowed=(CLIENT,)):
        self.result = result
        self.networks = [ip_network(host) for host in allowed]
        self.asked = []

    def counters(self):
        return {"asked": len(self.asked)}

    def retire(self):
        pass

    def forward(self, query, packet, asker, *, tcp):
        self.asked.append((query.text, str(asker), tcp))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Broken(Zones):
    """Zones that fail."""

    def answer(self, *question):
        raise ZeroDivisionError("a bug")


def test_ready_answers_differ_in_nothing_but_the_id():
    server = DNSServer(Zones(Names()))
    first = server.respond(wire("r01n07.fellow.aero.org"), CLIENT, tcp=False)
    key = wire("r01n07.fellow.aero.org")[2:]
    assert server.plain.young[key] == first[2:]
    assert first[:2] == b"\0\1"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("self.fellow.aero.org", {}),
        ("master.fellow.aero.org", {}),
        ("www.fellow.aero.org", {"use_edns": 0, "options": [dns.edns.GenericOption(10, b"12345678")]}),
        ("www.fellow.aero.org", {"use_edns": 1}),
    ],
)
def test_what_depends_on_the_asker_or_never_comes_again_is_not_kept(name, options):
    server = DNSServer(Zones(Names()))
    answer(server, wire(name, **options))
    assert len(server.plain) == 0


def test_self_is_each_askers_own_name_whoever_asked_before():
    server = DNSServer(Zones(Names()))
    for _ in range(2):
        assert addresses(answer(server, wire("self.fellow.aero.org"), "10.5.2.3"))[-1] == "10.5.2.3"
        assert addresses(answer(server, wire("self.fellow.aero.org"), "10.5.2.4"))[-1] == "10.5.2.4"
        assert addresses(answer(server, wire("self.fellow.aero.org"), "192.0.2.1")) == []


def test_on_loopback_self_is_this_machine():
    server = DNSServer(Zones(Names()), here=ip_address("10.5.3.1"))
    assert addresses(answer(server, wire("self.fellow.aero.org"), "127.0.0.1"))[-1] == "10.5.3.1"
    assert addresses(answer(server, wire("self.fellow.aero.org"), "::1"))[-1] == "10.5.3.1"
    server.here = None
    assert addresses(answer(server, wire("self.fellow.aero.org"), "127.0.0.1")) == []


def test_a_scoped_address_is_an_address():
    assert answer(DNSServer(Zones(Names())), wire("frodo.fellow.aero.org"), "fe80::1%lo").answer


def test_replacing_the_zones_takes_effect_with_the_next_query():
    server = DNSServer(Zones(Names()))
    assert answer(server, wire("frodo.fellow.aero.org")).answer
    other = Zones(Names(zone="other.example"))
    server.replace(other)
    assert server.zones is other
    assert answer(server, wire("frodo.fellow.aero.org")).rcode() == ReplyCode.REFUSED
    assert answer(server, wire("frodo.other.example")).answer


def test_the_table_is_bounded_and_keeps_what_is_in_use():
    server = DNSServer(Zones(Names()), ready=10)
    hot = wire("r01n07.fellow.aero.org")
    for number in range(200):
        answer(server, wire(f"x{number}.fellow.aero.org"))
        answer(server, hot)
        assert len(server.plain) <= 20
        assert hot[2:] in server.plain.young or hot[2:] in server.plain.old


def test_an_answer_in_use_moves_to_the_young():
    table = ReadyAnswers(1)
    table.keep(b"a", b"1")
    table.keep(b"b", b"2")
    assert table.find(b"a") == b"1"
    assert b"a" in table.young
    assert b"b" in table.old
    assert table.find(b"c") is None


def test_a_failure_is_servfail_for_that_query_alone_and_logged_sparingly(logged_errors):
    now = 0.0
    server = DNSServer(Broken(Names()), seconds=lambda: now)
    for _ in range(5):
        reply = answer(server, wire("frodo.fellow.aero.org", use_edns=0))
        assert (reply.rcode(), len(reply.question), reply.edns) == (ReplyCode.SERVFAIL, 1, 0)
    now = 11.0
    answer(server, wire("frodo.fellow.aero.org"))
    events = logged_errors.flush(ZeroDivisionError)
    assert [(event["held"], event["name"]) for event in events] == [
        (0, "frodo.fellow.aero.org"),
        (4, "frodo.fellow.aero.org"),
    ]
    assert server.counters().failures == 6
    server.replace(Zones(Names()))
    assert answer(server, wire("frodo.fellow.aero.org")).answer


def test_without_fallback_other_names_are_refused():
    reply = answer(DNSServer(Zones(Names())), wire("example.com"))
    assert reply.rcode() == ReplyCode.REFUSED
    assert not reply.flags & dns.flags.RA


def test_other_names_go_to_the_fallback_for_clients_it_allows():
    elsewhere = Elsewhere(succeed(wire("example.com", id=77)[:2] + b"\x81\x80" + wire("example.com")[4:]))
    server = DNSServer(Zones(Names()), fallback=elsewhere)
    got = []
    server.respond(wire("example.com", id=5), CLIENT, tcp=True).addCallback(got.append)
    assert got[0][:2] == b"\0\5"
    assert elsewhere.asked == [("example.com", CLIENT, True)]
    assert answer(server, wire("example.com"), "10.5.9.9").rcode() == ReplyCode.REFUSED
    assert len(elsewhere.asked) == 1
    assert server.counters().forwarded == 1


def test_ours_are_never_forwarded_nor_what_asks_for_no_recursion():
    elsewhere = Elsewhere(None)
    server = DNSServer(Zones(Names()), fallback=elsewhere)
    assert answer(server, wire("nobody.fellow.aero.org")).rcode() == ReplyCode.NXDOMAIN
    assert answer(server, wire("99.1.5.10.in-addr.arpa", "PTR")).rcode() == ReplyCode.NXDOMAIN
    assert answer(server, wire("example.com", flags=0)).rcode() == ReplyCode.REFUSED
    assert answer(server, wire("example.com", use_edns=1)).rcode() == ReplyCode.BADVERS
    assert elsewhere.asked == []


def test_ra_is_told_to_those_clients_alone_also_from_the_table():
    server = DNSServer(Zones(Names()), fallback=Elsewhere(None))
    for _ in range(2):
        assert answer(server, wire("frodo.fellow.aero.org")).flags & dns.flags.RA
        assert not answer(server, wire("frodo.fellow.aero.org"), "10.5.9.9").flags & dns.flags.RA
    assert server.counters().ready == 2


def test_codes_that_only_a_fallback_gives_have_no_name_of_ours():
    reply = wire("example.com")
    server = DNSServer(Zones(Names()), fallback=Elsewhere(succeed(reply[:2] + b"\x81\x8a" + reply[4:])))
    server.respond(reply, CLIENT, tcp=False)
    assert server.counters().codes == {"RCODE10": 1}


def test_a_fallback_that_fails_is_servfail(logged_errors):
    server = DNSServer(Zones(Names()), fallback=Elsewhere(fail(Unavailable("no master"))))
    got = []
    server.respond(wire("example.com"), CLIENT, tcp=False).addCallback(got.append)
    assert dns.message.from_wire(got[0]).rcode() == ReplyCode.SERVFAIL
    assert logged_errors.flush(Unavailable)


def test_a_fallback_that_stays_silent_sends_nothing():
    server = DNSServer(Zones(Names()), fallback=Elsewhere(succeed(None)))
    got = []
    server.respond(wire("example.com"), CLIENT, tcp=False).addCallback(got.append)
    assert got == [None]
    assert server.counters().dropped == 1


def test_what_a_fallback_knows_comes_at_once_and_under_the_id_of_the_question():
    reply = dns.message.make_response(dns.message.from_wire(wire("example.com"))).to_wire()
    server = DNSServer(Zones(Names()), fallback=Elsewhere(b"xx" + reply[2:]))
    assert server.respond(wire("example.com"), CLIENT, tcp=False) == reply
    assert server.counters().codes == {"NOERROR": 1}
    assert server.counters().fallback == {"asked": 1}


def test_a_fallback_that_raises_is_servfail(logged_errors):
    server = DNSServer(Zones(Names()), fallback=Elsewhere(Unavailable("a bug")))
    reply = answer(server, wire("example.com"))
    assert (reply.rcode(), bool(reply.flags & dns.flags.RA)) == (ReplyCode.SERVFAIL, True)
    assert logged_errors.flush(Unavailable)


def test_another_fallback_holds_from_the_next_query_on():
    """Also for ready answers and the compiled core: the RA bit is part of both."""
    server = DNSServer(Zones(Names()))
    for fallback, recursion in [(None, False), (Elsewhere(None), True), (Elsewhere(None, ["192.0.2.0/28"]), False)]:
        server.fall_back_on(fallback)
        for _ in range(2):
            reply = answer(server, wire("frodo.fellow.aero.org"))
            assert (bool(reply.answer), bool(reply.flags & dns.flags.RA)) == (True, recursion)


def test_lookups_elsewhere_are_bounded_and_ours_go_on(monkeypatch):
    monkeypatch.setattr(subject, "MOST_FORWARDED", 2)
    elsewhere = Elsewhere(None)
    server = DNSServer(Zones(Names()), fallback=elsewhere)
    waiting = []
    for _ in range(2):
        elsewhere.result = Deferred()
        waiting.append(elsewhere.result)
        server.respond(wire("example.com"), CLIENT, tcp=False)
    assert answer(server, wire("example.com")).rcode() == ReplyCode.SERVFAIL
    assert answer(server, wire("frodo.fellow.aero.org")).answer
    waiting.pop().callback(None)
    elsewhere.result = Deferred()
    assert isinstance(server.respond(wire("example.com"), CLIENT, tcp=False), Deferred)


def test_the_list_of_known_clients_is_bounded():
    server = DNSServer(Zones(Names()), fallback=Elsewhere(None), ready=4)
    for number in range(20):
        answer(server, wire("frodo.fellow.aero.org"), f"192.0.2.{number}")
    assert len(server._allowed) <= 4


def test_counters_tell_what_happened():
    server = DNSServer(Zones(Names()))
    for _ in range(3):
        answer(server, wire("frodo.fellow.aero.org"))
    answer(server, wire("nobody.fellow.aero.org"), tcp=True)
    answer(server, wire("frodo.fellow.aero.org", use_edns=1))
    server.respond(b"x", CLIENT, tcp=False)
    server.respond(wire("frodo.fellow.aero.org")[:-1], CLIENT, tcp=False)
    counters = server.counters()
    assert (counters.queries, counters.udp, counters.tcp) == (7, 6, 1)
    assert counters.codes == {"NOERROR": 3, "NXDOMAIN": 1, "BADVERS": 1, "FORMERR": 1}
    assert (counters.malformed, counters.dropped, counters.ready, counters.table) == (2, 1, 2, 1)


def test_truncation_is_counted_and_never_kept():
    names = Names(masters=[])
    names.by_name["frodo"] = type("Many", (), {"name": "frodo", "addresses": [ip_address(n) for n in range(1, 200)]})
    server = DNSServer(Zones(names))
    for _ in range(2):
        assert answer(server, wire("frodo.fellow.aero.org")).flags & dns.flags.TC
    assert (server.counters().truncated, len(server.plain)) == (2, 0)
    assert len(addresses(answer(server, wire("frodo.fellow.aero.org"), tcp=True))) == 199


def test_an_identity_must_fit():
    with pytest.raises(ConfigurationError, match="129 bytes"):
        DNSServer(Zones(Names()), identity=b"x" * 129)
    server = DNSServer(Zones(Names()), identity=b"x" * 128)
    longest = ".".join(["y" * 63] * 3 + ["z" * 61])
    asked = {"use_edns": 0, "payload": 512, "options": [dns.edns.GenericOption(3, b"")]}
    assert len(server.respond(wire(longest, **asked), CLIENT, tcp=False)) <= 512
    assert addresses(answer(server, dns.message.make_query("ID.server", "TXT", "CH").to_wire())) == [
        '"' + "x" * 128 + '"'
    ]


QUERIES = [
    wire("r01n07.fellow.aero.org"),
    wire("SELF.fellow.aero.org", "AAAA", use_edns=0),
    wire("7.1.5.10.in-addr.arpa", "PTR", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")]),
    wire("fellow.aero.org", "NS"),
]
SHARED = DNSServer(Zones(Names()), ready=64)


@given(
    st.sampled_from(QUERIES), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.booleans()
)
def test_mutated_packets_get_one_reply_or_none_and_the_server_lives(packet, changes, tcp):
    """The same packet gets the same reply from the table as it gets computed anew."""
    mutated = bytearray(packet)
    for place, value in changes:
        mutated[place % len(mutated)] = value
    mutated = bytes(mutated)
    first = SHARED.respond(mutated, CLIENT, tcp=tcp)
    assert first is None or (first[:2] == mutated[:2] and first[2] & 0x80)
    assert SHARED.respond(mutated, CLIENT, tcp=tcp) == first
    assert DNSServer(Zones(Names())).respond(mutated, CLIENT, tcp=tcp) == first
    assert SHARED.counters().failures == 0
