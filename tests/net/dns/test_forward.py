"""The forwarder over a network that a test holds in its hands: no sockets, no real time."""

import pickle
import resource
from ipaddress import ip_address, ip_network
from itertools import count

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from beonss.core.zones.forwarding import Route, Upstream
from beonss.core.zones.forwarding_plan import Plan
from beonss.core.zones.records import domain
from beonss.net.dns.forward import Forwarder, ForwarderMaker, most_lookups, silent_upstreams
from beonss.net.dns.forward_lookup import MOST_MISMATCHES
from beonss.wire.dns import read_query

CLIENT = ip_address("10.5.2.3")
A, B, C = (Upstream(ip_address(f"192.0.2.{number}")) for number in (1, 2, 3))
NAME = "www.example.com"


class FakeWay:
    """A way that notes what is sent; the test answers."""

    def __init__(self, upstream, received, lost, tcp):
        self.upstream, self.received, self.lost, self.tcp = upstream, received, lost, tcp
        self.sent = []
        self.open = True

    def send(self, packet):
        self.sent.append(packet)

    def close(self):
        self.open = False

    @property
    def query(self):
        return dns.message.from_wire(self.sent[-1])

    def answer(self, *texts, rcode=0, section="answer", flags=0, **changes):
        """Answer with records in text."""
        reply = dns.message.make_response(self.query, recursion_available=True)
        reply.flags |= flags
        reply.set_rcode(rcode)
        for text in texts:
            getattr(reply, section).append(dns.rrset.from_text(*text.split(" ", 4)))
        for name, value in changes.items():
            setattr(reply, name, value)
        self.received(reply.to_wire(max_size=65535))


class Net:
    """All ways, and a forwarder over them."""

    def __init__(self, *routes, most=256, cache=1 << 20):
        self.clock = Clock()
        self.ways = []
        self.broken = False
        numbers = count(1000)
        plan = Plan([ip_network("10.5.0.0/16")], routes or [Route((), (A, B))])
        self.forwarder = Forwarder(
            self.clock, plan, ways=self, new_id=lambda: next(numbers) % 65536, most=most, cache=cache
        )

    def udp(self, upstream, received, lost):
        if self.broken:
            raise OSError(24, "Too many open files")
        self.ways.append(FakeWay(upstream, received, lost, tcp=False))
        return self.ways[-1]

    def tcp(self, upstream, received, lost, seconds):
        self.ways.append(FakeWay(upstream, received, lost, tcp=True))
        return self.ways[-1]

    def ask(self, name=NAME, rdtype="A", *, asker=CLIENT, tcp=False, **options):
        """Ask; return the reply, or what it will be."""
        packet = dns.message.make_query(name, rdtype, **options).to_wire()
        reply = self.forwarder.forward(read_query(packet), packet, asker, tcp=tcp)
        self.clock.advance(0)
        return reply

    @property
    def questions(self):
        """Ways of clients' questions that are open."""
        return [way for way in self.ways if way.open and len(way.sent[-1]) and not is_probe(way)]

    @property
    def probes(self):
        return [way for way in self.ways if way.open and is_probe(way)]

    def open_ways(self):
        return [way for way in self.ways if way.open]

    def counted(self, *names):
        counters = self.forwarder.counters()
        return tuple(counters[name] for name in names)


def is_probe(way):
    return way.query.question[0].rdtype in {dns.rdatatype.NS, dns.rdatatype.SOA}


def message(result):
    """Return a reply, which must be there by now."""
    if isinstance(result, Deferred):
        assert result.called, "there is no reply yet"
        result = result.result
    assert isinstance(result, bytes)
    return dns.message.from_wire(result)


def addresses(result):
    return [rdata.to_text() for rrset in message(result).answer for rdata in rrset]


def reasons(result):
    return [int(option.code) for option in message(result).options if isinstance(option, dns.edns.EDEOption)]


@pytest.fixture
def net():
    net = Net()
    yield net
    net.forwarder.stop()
    assert not net.open_ways()
    assert not [call for call in net.clock.getDelayedCalls() if call.active()]
    counters = net.forwarder.counters()
    assert counters["pending"] == 0
    assert not net.forwarder._by_client
    assert not net.forwarder._by_zone


class TestAnswers:
    """What clients get."""

    def test_a_reply_travels_with_the_id_and_the_case_of_the_client(self, net):
        result = net.ask("WWW.Example.com", id=77, use_edns=0)
        (way,) = net.questions
        assert (way.upstream, way.query.id, bool(way.query.flags & dns.flags.RD)) == (A, 1000, True)
        way.answer("www.EXAMPLE.com. 300 IN A 192.0.2.80")
        reply = message(result)
        assert (reply.id, str(reply.question[0].name)) == (77, "WWW.Example.com.")
        assert addresses(result) == ["192.0.2.80"]
        assert reply.flags & dns.flags.RA
        assert not reply.flags & dns.flags.AA

    def test_the_second_client_gets_it_from_memory_with_less_time_left(self, net):
        net.ask()
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        net.clock.advance(100.5)
        result = net.ask()
        assert isinstance(result, bytes)
        assert message(result).answer[0].ttl == 200
        assert net.counted("asked", "cached") == (1, 1)

    def test_what_is_asked_meanwhile_waits_for_the_same_lookup(self, net):
        results = [net.ask(id=number) for number in range(1, 20)]
        (way,) = net.questions
        way.answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert [message(result).id for result in results] == list(range(1, 20))
        assert net.counted("asked", "shared") == (1, 18)

    def test_dnssec_and_checking_disabled_are_other_questions(self, net):
        for options in (
            {},
            {"want_dnssec": True},
            {"flags": dns.flags.RD | dns.flags.CD},
            {"flags": dns.flags.RD | dns.flags.CD, "want_dnssec": True},
        ):
            net.ask(**options)
        assert len(net.questions) == 4
        assert [bool(way.query.ednsflags & dns.flags.DO) for way in net.questions] == [False, True, False, True]
        assert [bool(way.query.flags & dns.flags.CD) for way in net.questions] == [False, False, True, True]

    @pytest.mark.parametrize(("options", "authentic"), [
        ({}, False), ({"flags": dns.flags.RD | dns.flags.AD}, True), ({"want_dnssec": True}, True),
    ])  # fmt: skip
    def test_ad_goes_to_those_who_know_it(self, net, options, authentic):
        result = net.ask(**options)
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80", flags=dns.flags.AD)
        assert bool(message(result).flags & dns.flags.AD) == authentic

    def test_a_denial_is_kept_as_long_as_its_soa_says(self, net):
        soa = "example.com. 900 IN SOA ns.example.com. root.example.com. 1 2 3 4 60"
        result = net.ask()
        net.questions[0].answer(soa, rcode=dns.rcode.NXDOMAIN, section="authority")
        assert message(result).rcode() == dns.rcode.NXDOMAIN
        net.clock.advance(50)
        again = message(net.ask())
        assert (again.rcode(), again.authority[0].ttl) == (dns.rcode.NXDOMAIN, 10)
        net.clock.advance(11)
        assert isinstance(net.ask(), Deferred)

    def test_a_denial_without_soa_is_not_kept(self, net):
        result = net.ask()
        net.questions[0].answer(rcode=dns.rcode.NXDOMAIN)
        assert message(result).rcode() == dns.rcode.NXDOMAIN
        assert isinstance(net.ask(), Deferred)

    def test_what_has_no_time_to_live_is_asked_for_each_time(self, net):
        result = net.ask()
        net.questions[0].answer(f"{NAME}. 0 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        assert isinstance(net.ask(), Deferred)

    def test_what_is_popular_is_asked_for_before_it_expires(self, net):
        net.ask()
        net.questions[0].answer(f"{NAME}. 100 IN A 192.0.2.80")
        for _ in range(3):
            net.ask()
        net.clock.advance(95)
        assert isinstance(net.ask(), bytes)
        assert net.counted("renewed") == (1,)
        net.ask()
        (way,) = net.questions
        way.answer(f"{NAME}. 100 IN A 192.0.2.81")
        assert addresses(net.ask()) == ["192.0.2.81"]
        assert net.counted("asked") == (2,)

    def test_what_is_not_popular_is_not(self, net):
        net.ask()
        net.questions[0].answer(f"{NAME}. 100 IN A 192.0.2.80")
        net.clock.advance(95)
        net.ask()
        assert not net.questions

    @pytest.mark.parametrize(("name", "rdtype", "rcode"), [
        ("1.1.168.192.in-addr.arpa", "PTR", "NXDOMAIN"), ("168.192.in-addr.arpa", "SOA", "NOERROR"),
        ("168.192.in-addr.arpa", "NS", "NOERROR"), ("9.9.31.172.in-addr.arpa", "PTR", "NXDOMAIN"),
        ("1.64.100.in-addr.arpa", "PTR", "NXDOMAIN"), ("printer", "A", "NXDOMAIN"), ("printer", "HTTPS", "NXDOMAIN"),
        ("x.local", "A", "NXDOMAIN"), ("x.onion", "A", "NXDOMAIN"), ("localhost", "A", "NOERROR"),
        ("a.localhost", "AAAA", "NOERROR"), ("1.0.0.127.in-addr.arpa", "PTR", "NOERROR"),
        ("x.home.arpa", "A", "NXDOMAIN"),
        ("www.example.com", "AXFR", "REFUSED"), ("www.example.com", "MAILB", "REFUSED"),
        ("www.example.com", "TYPE0", "REFUSED"),
    ])  # fmt: skip
    def test_what_never_leaves(self, net, name, rdtype, rcode):
        result = message(net.ask(name, rdtype))
        assert dns.rcode.to_text(result.rcode()) == rcode
        assert not net.ways
        assert net.counted("kept_here") == (1,)

    @pytest.mark.parametrize(("name", "rdtype"), [
        (".", "NS"), ("com", "DS"), ("com", "DNSKEY"), ("15.172.in-addr.arpa", "PTR"), ("32.172.in-addr.arpa", "PTR"),
        ("8.8.8.8.in-addr.arpa", "PTR"), ("notlocal", "DS"), ("www.example.com", "ANY"), ("a.b", "TYPE65280"),
    ])  # fmt: skip
    def test_what_does(self, net, name, rdtype):
        net.ask(name, rdtype)
        assert len(net.open_ways()) == 1

    def test_routes_by_the_longest_zone(self):
        net = Net(
            Route((), (A,)),
            Route(domain("example.com"), (B,)),
            Route(domain("deep.example.com"), (C,)),
            Route(domain("corp"), (B,)),
            Route(domain("1.168.192.in-addr.arpa"), (C,)),
        )
        names = {
            "x.org": A, "example.com": B, "x.example.com": B, "deep.example.com": C, "a.b.DEEP.example.com": C,
            "corp": B, "x.corp": B, "5.1.168.192.in-addr.arpa": C,
        }  # fmt: skip
        for name, upstream in names.items():
            net.ask(name)
            assert net.ways[-1].upstream == upstream, name
        asked = len(net.ways)
        assert message(net.ask("5.2.168.192.in-addr.arpa", "PTR")).rcode() == dns.rcode.NXDOMAIN
        assert len(net.ways) == asked
        net.forwarder.stop()

    def test_without_a_route_for_everything_other_names_are_refused(self):
        net = Net(Route(domain("example.com"), (B,)))
        assert message(net.ask("x.org")).rcode() == dns.rcode.REFUSED


class TestUpstreams:
    """Upstreams that are slow, dead, wrong or malicious."""

    def test_a_silent_one_costs_half_a_second_and_the_next_answers(self, net):
        result = net.ask()
        net.clock.advance(0.49)
        assert len(net.questions) == 1
        net.clock.advance(0.02)
        assert [way.upstream for way in net.questions] == [A, B]
        net.questions[1].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        net.ask("other.example.com")
        assert [way.upstream for way in net.questions] == [B]

    def test_it_is_asked_first_again_when_it_answers_a_probe(self, net):
        net.ask()
        net.clock.advance(0.51)
        (probe,) = net.probes
        assert probe.upstream == A
        probe.answer()
        net.ask("other.example.com")
        assert net.questions[-1].upstream == A
        assert not net.probes

    def test_one_that_is_late_still_wins_when_it_is_first(self, net):
        result = net.ask()
        net.clock.advance(0.6)
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        assert not net.questions
        assert not net.probes

    def test_nobody_waits_when_all_are_down_until_one_answers_again(self, net):
        net.ask()
        for _ in range(100):
            net.clock.advance(0.1)
        assert net.counted("down", "failed") == (2, 1)
        assert len(silent_upstreams(net.forwarder.counters())) == 1
        before = len(net.ways)
        result = net.ask("other.example.com", use_edns=0)
        assert message(result).rcode() == dns.rcode.SERVFAIL
        assert reasons(result) == [22]
        assert len([way for way in net.ways[before:] if not is_probe(way)]) == 0
        for _ in range(60):
            net.clock.advance(0.1)
            for probe in net.probes:
                if probe.upstream == B:
                    probe.answer(rcode=dns.rcode.SERVFAIL)
        assert net.counted("down") == (1,)
        net.ask("third.example.com")
        assert [way.upstream for way in net.questions] == [B]

    def test_a_lookup_ends_before_resolvers_lose_patience(self, net):
        result = net.ask(use_edns=0)
        for _ in range(41):
            net.clock.advance(0.1)
        assert message(result).rcode() == dns.rcode.SERVFAIL
        assert all(len(way.sent) <= 2 for way in net.ways)

    def test_nobody_listening_there_is_noticed_at_once(self, net):
        result = net.ask()
        net.questions[0].lost("Connection refused")
        assert [way.upstream for way in net.questions] == [B]
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]

    @pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
    def test_one_that_declines_is_passed_over_at_once(self, net, rcode):
        result = net.ask()
        net.questions[0].answer(rcode=rcode)
        assert [way.upstream for way in net.questions] == [B]
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]

    def test_when_all_decline_the_client_is_told_and_the_failure_is_remembered_for_a_moment(self, net):
        result = net.ask(use_edns=0)
        net.questions[0].answer(rcode=dns.rcode.SERVFAIL)
        net.questions[0].answer(rcode=dns.rcode.REFUSED)
        assert message(result).rcode() == dns.rcode.SERVFAIL
        assert not net.questions
        assert reasons(net.ask(use_edns=0)) == [13]
        net.clock.advance(1.1)
        assert isinstance(net.ask(), Deferred)
        assert net.counted("remembered", "failed") == (1, 1)

    def test_one_that_always_does_worse_steps_back(self, net):
        for number in range(4):
            net.ask(f"x{number}.example.com")
            net.questions[0].answer(rcode=dns.rcode.SERVFAIL)
            net.questions[0].answer(f"x{number}.example.com. 300 IN A 192.0.2.80")
        net.ask("x4.example.com")
        assert net.ways[-1].upstream == B
        net.questions[0].answer("x4.example.com. 300 IN A 192.0.2.80")
        net.clock.advance(30)
        net.ask("late.example.com")
        assert net.ways[-1].upstream == A

    def test_a_referral_is_no_answer(self, net):
        result = net.ask()
        net.questions[0].answer("example.com. 300 IN NS ns.example.com.", section="authority")
        assert [way.upstream for way in net.questions] == [B]
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]

    def test_what_is_cut_short_is_asked_for_over_tcp(self, net):
        result = net.ask("big.example.com", "TXT", tcp=True)
        net.questions[0].answer(flags=dns.flags.TC)
        (way,) = net.questions
        assert (way.tcp, way.upstream) == (True, A)
        way.answer(*(f'big.example.com. 300 IN TXT "{"x" * 200}{number}"' for number in range(9)))
        assert len(message(result).answer[0]) == 9
        udp = message(net.ask("big.example.com", "TXT"))
        assert udp.flags & dns.flags.TC
        assert not udp.answer

    def test_tcp_that_fails_leads_to_the_next(self, net):
        result = net.ask()
        net.questions[0].answer(flags=dns.flags.TC)
        net.questions[0].lost("Connection refused")
        assert [way.upstream for way in net.questions] == [B]
        net.questions[0].answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]

    def test_tcp_that_is_silent_leads_to_the_next(self, net):
        net.ask()
        net.questions[0].answer(flags=dns.flags.TC)
        net.clock.advance(2.1)
        assert [(way.upstream, way.tcp) for way in net.questions] == [(A, True), (B, False)]

    def test_one_that_knows_no_edns_is_asked_without(self, net):
        result = net.ask(use_edns=0)
        way = net.questions[0]
        header = way.sent[0][:2] + b"\x80\x01\0\1\0\0\0\0\0\0"
        way.received(header + way.sent[0][12:-11])
        (plain,) = net.questions
        assert (plain.upstream, plain.query.edns) == (A, -1)
        plain.answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        assert message(result).edns == 0
        net.ask("other.example.com")
        assert net.questions[0].query.edns == -1

    def test_a_forged_reply_is_counted_and_changes_nothing(self, net):
        result = net.ask()
        (way,) = net.questions
        good = dns.message.make_response(way.query)
        good.answer.append(dns.rrset.from_text(f"{NAME}.", 300, "IN", "A", "192.0.2.66"))
        for wrong in ({"id": way.query.id ^ 1}, {"name": "www.example.org."}, {"type": "AAAA"}, {"class": "CH"}):
            query = dns.message.make_query(
                wrong.get("name", NAME),
                wrong.get("type", "A"),
                wrong.get("class", "IN"),
                id=wrong.get("id", way.query.id),
            )
            forged = dns.message.make_response(query)
            forged.answer += good.answer
            way.received(forged.to_wire())
        for junk in (b"", b"x", way.sent[0], good.to_wire()[:-3], good.to_wire() + b"x"):
            way.received(junk)
        assert not result.called
        assert net.counted("mismatched") == (9,)
        way.answer(f"{NAME}. 300 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        assert addresses(net.ask()) == ["192.0.2.80"]

    def test_many_forged_replies_lead_to_tcp(self, net):
        net.ask()
        (way,) = net.questions
        for number in range(MOST_MISMATCHES):
            way.received(bytes([number, 255]) + b"\x81\x80" + bytes(8))
        (stream,) = net.questions
        assert (stream.tcp, stream.upstream) == (True, A)
        assert not way.open

    def test_no_more_sockets(self, net):
        net.broken = True
        result = net.ask()
        assert message(result).rcode() == dns.rcode.SERVFAIL
        assert net.counted("unsent") == (2,)


class TestStale:
    """When nobody answers, what was said last."""

    def remember(self, net, *texts, **options):
        net.ask()
        net.questions[0].answer(*(texts or [f"{NAME}. 60 IN A 192.0.2.80"]), **options)
        net.clock.advance(120)

    def test_after_a_while_the_client_gets_what_has_expired_and_the_lookup_goes_on(self, net):
        self.remember(net)
        result = net.ask(use_edns=0)
        net.clock.advance(1.79)
        assert not result.called
        net.clock.advance(0.02)
        assert (addresses(result), message(result).answer[0].ttl, reasons(result)) == (["192.0.2.80"], 30, [3])
        net.questions[0].answer(f"{NAME}. 60 IN A 192.0.2.81")
        assert addresses(net.ask()) == ["192.0.2.81"]
        assert net.counted("stale") == (1,)

    def test_at_once_after_a_try_that_failed(self, net):
        self.remember(net)
        result = net.ask()
        for _ in range(2):
            net.questions[0].answer(rcode=dns.rcode.SERVFAIL)
        assert addresses(result) == ["192.0.2.80"]
        again = net.ask(use_edns=0)
        assert isinstance(again, bytes)
        assert (addresses(again), reasons(again)) == (["192.0.2.80"], [3])

    def test_a_denial_too(self, net):
        soa = "example.com. 60 IN SOA ns.example.com. root.example.com. 1 2 3 4 60"
        self.remember(net, soa, rcode=dns.rcode.NXDOMAIN, section="authority")
        result = net.ask(use_edns=0)
        net.clock.advance(1.9)
        assert (message(result).rcode(), reasons(result)) == (dns.rcode.NXDOMAIN, [19])

    def test_not_after_a_day(self, net):
        self.remember(net)
        net.clock.advance(86400)
        result = net.ask()
        for _ in range(2):
            net.questions[0].answer(rcode=dns.rcode.SERVFAIL)
        assert message(result).rcode() == dns.rcode.SERVFAIL


class TestBounds:
    """What an attacker gets, and what everybody else still gets."""

    def test_random_names_of_one_zone_leave_room_for_others(self):
        net = Net(most=40)
        replies = [net.ask(f"x{number}.victim.example", asker=ip_address("127.0.0.1")) for number in range(100)]
        assert sum(isinstance(reply, Deferred) for reply in replies) == 10
        assert message(replies[-1]).rcode() == dns.rcode.SERVFAIL
        assert net.counted("turned_away") == (90,)
        result = net.ask()
        net.questions[-1].answer(f"{NAME}. 60 IN A 192.0.2.80")
        assert addresses(result) == ["192.0.2.80"]
        net.forwarder.stop()
        assert all(reply.called for reply in replies if isinstance(reply, Deferred))

    def test_one_client_leaves_room_for_others(self):
        net = Net(most=40)
        replies = [net.ask(f"x.zone{number}.example") for number in range(40)]
        assert sum(isinstance(reply, Deferred) for reply in replies) == 10
        assert isinstance(net.ask(asker=ip_address("10.5.2.4")), Deferred)
        net.forwarder.stop()

    def test_all_in_all(self):
        net = Net(most=40)
        replies = [net.ask(f"x.zone{number}.example", asker=CLIENT + number) for number in range(100)]
        assert sum(isinstance(reply, Deferred) for reply in replies) == 40
        assert net.counted("pending") == (40,)
        net.forwarder.stop()
        assert net.counted("pending") == (0,)

    def test_ten_thousand_nodes_that_ask_the_same_cost_one_question(self):
        net = Net()
        replies = [net.ask(asker=CLIENT + number) for number in range(10_000)]
        assert net.counted("asked") == (1,)
        net.questions[0].answer(f"{NAME}. 60 IN A 192.0.2.80")
        assert all(reply.called for reply in replies)

    def test_the_cache_is_bounded_and_what_is_in_use_survives_a_flood(self):
        net = Net(cache=100_000)
        for _ in range(3):
            result = net.ask()
            if isinstance(result, Deferred):
                net.questions[0].answer(f"{NAME}. 3600 IN A 192.0.2.80")
        for number in range(1000):
            net.ask(f"x{number}.victim.example")
            net.questions[0].answer(f"x{number}.victim.example. 3600 IN A 192.0.2.80")
        assert net.counted("bytes")[0] <= 100_000
        assert isinstance(net.ask(), bytes)


@pytest.mark.parametrize(("files", "most"), [(1024, 256), (400, 100), (20, 16), (resource.RLIM_INFINITY, 256)])
def test_few_open_files_mean_few_lookups(monkeypatch, files, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert most_lookups(256) == most


def test_forwarders_of_one_plan_are_made_alike_in_any_process():
    """They travel to DNS processes by pickle, and are compared to see whether anything has changed."""
    plan = Plan([ip_network("10.5.0.0/16")], [Route((), (A, B))])
    maker = pickle.loads(pickle.dumps(ForwarderMaker(plan)))
    assert maker == ForwarderMaker(plan)
    assert maker != ForwarderMaker(Plan([], []))
    assert maker(Clock()).plan == plan


@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS, dns.rcode.BADCOOKIE])
def test_what_upstreams_have_against_our_question_is_no_business_of_the_client(rcode):
    net = Net()
    result = net.ask()
    for _ in range(2):
        way = net.questions[0]
        reply = dns.message.make_response(way.query)
        reply.use_edns(0)
        reply.set_rcode(rcode)
        way.received(reply.to_wire())
    assert message(result).rcode() == dns.rcode.SERVFAIL
    net.forwarder.stop()


def test_one_that_is_retired_goes_on_for_those_who_wait_and_asks_nobody_else():
    net = Net()
    result = net.ask()
    net.forwarder.retire()
    net.clock.advance(0.6)
    assert not net.probes
    net.questions[1].answer(f"{NAME}. 60 IN A 192.0.2.80")
    assert addresses(result) == ["192.0.2.80"]
    assert not net.open_ways()
    assert not net.clock.getDelayedCalls()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "decline", "truncate", "junk", "lost", "deny", "wait", "wait"]),
        st.integers(0, 7),
        st.floats(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(ACTIONS)
def test_whatever_happens_every_client_gets_one_reply_in_time_and_nothing_is_left(actions):
    """Any order of questions, replies, refusals, forgeries, lost packets and silence."""
    net = Net(Route((), (A, B)), Route(domain("alone.example"), (C,)), most=8, cache=20_000)
    soa = "example.com. 5 IN SOA ns.example.com. root.example.com. 1 2 3 4 5"
    asked = []
    for action, number, seconds in actions:
        ways = net.questions
        if action == "ask":
            name = f"x{number}.example.com" if number % 2 else f"x{number}.alone.example"
            asked.append((net.clock.seconds(), net.ask(name, use_edns=0)))
        elif action == "wait":
            net.clock.pump([0.1] * round(seconds * 10))
        elif ways:
            way = ways[number % len(ways)]
            owner = way.query.question[0].name
            match action:
                case "answer":
                    way.answer(f"{owner} {number} IN A 192.0.2.80")
                case "decline":
                    way.answer(rcode=dns.rcode.SERVFAIL)
                case "truncate":
                    way.answer(flags=dns.flags.TC)
                case "deny":
                    way.answer(soa, rcode=dns.rcode.NXDOMAIN, section="authority")
                case "junk":
                    way.received(way.sent[0][: number * 4] + b"\xc0")
                case "lost":
                    way.lost("gone")
        for when, reply in asked:
            late = net.clock.seconds() - when > 4.2
            assert isinstance(reply, bytes) or reply.called or not late
        assert len(net.forwarder._lookups) <= 8
        assert net.forwarder.cache.size <= 20_000
    net.clock.pump([0.1] * 45)
    for _, reply in asked:
        assert message(reply).rcode() in {0, 2, 3}
    assert not net.questions
    net.forwarder.stop()
    assert not net.open_ways()
    assert not net.forwarder._by_client
    assert not net.forwarder._by_zone
    assert not net.clock.getDelayedCalls()
