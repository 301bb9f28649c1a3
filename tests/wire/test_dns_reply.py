"""Replies of other servers: read strictly, relayed without a change that is not due."""

from dataclasses import replace

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beonss.core.zones.records import OpaqueData, Reason, domain
from beonss.errors import MalformedError
from beonss.wire.dns_query import read_query
from beonss.wire.dns_relay import probe_question, question_key, relay, upstream_query
from beonss.wire.dns_reply import Reply, answer_records, read_reply, same_question

SOA = "example.com. {ttl} IN SOA ns.example.com. root.example.com. 1 2 3 4 {minimum}"
TEXTS = [
    "www.example.com. 300 IN A 192.0.2.1",
    "www.example.com. 20 IN A 192.0.2.2",
    "www.example.com. 300 IN AAAA 2001:db8::1",
    "www.example.com. 600 IN CNAME web.example.net.",
    "example.com. 300 IN MX 10 mail.example.com.",
    "example.com. 300 IN NS ns.example.com.",
    "_x._tcp.example.com. 300 IN SRV 1 2 3 srv.example.com.",
    'example.com. 300 IN NAPTR 1 1 "u" "sip" "!a!b!" next.example.com.',
    "example.com. 300 IN TYPE65280 \\# 3 C00C00",
    "example.com. 300 IN DNAME example.net.",
    "example.com. 300 IN HTTPS 1 svc.example.com. alpn=h2",
    "example.com. 300 IN RP who.example.com. what.example.com.",
    "example.com. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example.com. AAAA",
    "example.com. 300 IN NSEC b.example.com. A NS",
    SOA.format(ttl=900, minimum=60),
]  # fmt: skip
SECTIONS = ("answer", "authority", "additional")


def query(name="www.example.com", rdtype="A", **options):
    return dns.message.make_query(name, rdtype, **{"id": 7, **options})


def reply_to(asked, *texts, section="answer", rcode=0, flags=0):
    reply = dns.message.make_response(asked, recursion_available=True)
    reply.set_rcode(rcode)
    reply.flags |= flags
    for text in texts:
        getattr(reply, section).append(dns.rrset.from_text(*text.split(" ", 4)))
    return reply


def wire(message):
    return message.to_wire(max_size=65535)


def read(*texts, rdtype="A", **options):
    return read_reply(wire(reply_to(query(rdtype=rdtype), *texts, **options)))


@st.composite
def replies(draw):
    """Replies as dnspython writes them, compressed, with any records in any section."""
    asked = query(
        draw(st.sampled_from(["www.example.com", "example.com", ".", "a.b.c.d.example.com", "WWW.Example.COM"])),
        draw(st.sampled_from(["A", "MX", "ANY", "TYPE65280"])),
        use_edns=draw(st.sampled_from([False, 0])),
        id=draw(st.integers(0, 65535)),
    )
    reply = reply_to(asked, rcode=draw(st.sampled_from([0, 3, 2])), flags=draw(st.sampled_from([0, dns.flags.AA])))
    for section in SECTIONS:
        for text in draw(st.lists(st.sampled_from(TEXTS), max_size=4)):
            getattr(reply, section).append(dns.rrset.from_text(*text.split(" ", 4)))
    if reply.edns >= 0 and draw(st.booleans()):
        reply.use_edns(0, options=[dns.edns.EDEOption(draw(st.integers(0, 30)), "why")])
    return reply


def sections(message):
    """Return the records; names that point to the question have its case, which means nothing."""
    return [
        [(rrset.name, rrset.rdtype, rrset.ttl, sorted(rdata.to_text().lower() for rdata in rrset)) for rrset in section]
        for section in (message.answer, message.authority, message.additional)
    ]


@given(replies(), st.integers(0, 1000), st.booleans())
def test_a_relayed_reply_says_the_same_with_less_time_left(reply, age, tcp):
    packet = wire(reply)
    parsed = dns.message.from_wire(packet, one_rr_per_rrset=True)
    found = read_reply(packet)
    asked = query(
        str(reply.question[0].name).swapcase(),
        dns.rdatatype.to_text(reply.question[0].rdtype),
        use_edns=0,
        payload=1232,
    )
    relayed = dns.message.from_wire(relay(read_query(asked.to_wire()), found, tcp=tcp, age=age), one_rr_per_rrset=True)
    assert (relayed.id, relayed.question[0].name.to_text()) == (7, asked.question[0].name.to_text())
    assert relayed.rcode() == parsed.rcode()
    assert relayed.flags & dns.flags.RA
    assert not relayed.flags & (dns.flags.AA | dns.flags.TC)
    aged = [
        [(name, rdtype, max(0, ttl - age), data) for name, rdtype, ttl, data in section] for section in sections(parsed)
    ]
    assert sections(relayed) == aged
    assert relayed.options == parsed.options


@given(replies())
def test_unchanged_but_for_the_header_and_opt(reply):
    """Byte for byte, as RFC 5625 asks for."""
    packet = wire(reply)
    found = read_reply(packet)
    asked = query(str(reply.question[0].name), dns.rdatatype.to_text(reply.question[0].rdtype))
    relayed = relay(read_query(asked.to_wire()), found, tcp=True)
    assert packet.startswith(relayed[12:], 12)
    opt = packet[len(relayed) :]
    assert opt == b"" or opt[:3] == b"\0\0\x29"


@given(replies(), st.data())
def test_any_change_parses_or_is_malformed(reply, data):
    """Nothing but MalformedError, whatever comes; what parses can be relayed, aged and taken apart."""
    packet = bytearray(wire(reply))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(packet) - 1))
        packet[at] = data.draw(st.sampled_from([0, 1, 0x0C, 0x29, 0x3F, 0x40, 0xC0, 0xFF]) | st.integers(0, 255))
    check(bytes(packet[: data.draw(st.integers(0, len(packet)) | st.just(len(packet)))]))


@given(st.binary(max_size=400).map(lambda body: b"\0\7\x81\x80\0\1" + body))
@example(b"")
@example(b"\0\7\x81\x80\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
def test_any_bytes_parse_or_are_malformed(packet):
    check(packet)


def check(packet):
    try:
        found = read_reply(packet)
    except MalformedError:
        return
    assert isinstance(found, Reply)
    labels = b"".join(bytes([len(label)]) + label for label in found.name) + b"\0"
    assert found.question[:-4] == labels
    asked = read_query(b"\0\7\1\0\0\1\0\0\0\0\0\0" + found.question)
    for tcp in (False, True):
        relayed = relay(asked, found, tcp=tcp, age=5)
        assert len(relayed) <= (65535 if tcp else 512)
        if tcp and not found.truncated:
            again = read_reply(relayed)
            assert (again.code & 15, again.counts) == (found.code & 15, found.counts)
    try:
        records = answer_records(found)
    except MalformedError:
        return
    assert len(records) == found.counts[0]


#: A reply about the root with one record in the answer, and one with one OPT record.
OPENED = b"\0\7\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1%s"
LAST = b"\0\7\x81\x80\0\1\0\0\0\0\0\1\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0%s"


@pytest.mark.parametrize(("packet", "why"), [
    (b"\0" * 11, "shorter"), (b"\0\7\1\0" + bytes(8), "no reply"), (b"\0\7\xa9\x80" + bytes(8), "no reply"),
    (b"\0\7\x81\x80" + bytes(8), "0 questions"), (b"\0\7\x81\x80\0\2" + bytes(6) + b"\0\0\1\0\1", "2 questions"),
    (b"\0\7\x81\x80\0\1" + bytes(6) + b"\0\0\1\0", "cut short"),
    (b"\0\7\x81\x80\0\1" + bytes(6) + b"\x40\0\1\0\1", "type 01"),
    (b"\0\7\x81\x80\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1", "does not point back"),
    (b"\0\7\x81\x80\0\1\xff\xff\xff\xff\xff\xff\0\0\1\0\1", "more records than it can hold"),
    (b"\0\7\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1" + b"\0\0\1\0\1\0\0\0\1\0\3abc", "an address of 3 bytes"),
    (b"\0\7\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1" + b"\0\0\5\0\1\0\0\0\1\0\2\0\0", "does not end where"),
    (b"\0\7\x81\x80\0\1\0\1\0\0\0\0\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0\0\0", "outside the additional"),
    (b"\0\7\x81\x80\0\1\0\0\0\0\0\2\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, "two OPT"),
    (b"\0\7\x81\x80\0\1\0\0\0\0\0\1\0\0\1\0\1" + b"\1a\0\0\x29\4\0\0\0\0\0\0\0", "not at the root"),
    (b"\0\7\x81\x80\0\1\0\0\0\0\0\0\0\0\1\0\1x", "1 bytes follow"),
    (OPENED % b"\0\0\5\0\1\0\0\0\1\0\0", "data is cut short"),
    (OPENED % (b"\0\0\5\0\1\0\0\0\1\1\x01" + (b"\x3f" + b"a" * 63) * 4 + b"\0"), "longer than 255"),
    (OPENED % (b"\0\0\5\0\1\0\0\0\1\0\4\2ab"), "cut short"),
    (LAST % b"\0\1\0\0\5abc", "data is cut short|option"), (LAST % b"\0\3\0\x0f\0", "option is cut short"),
    (LAST % b"\0\5\0\x0f\0\2x", "option's data is cut short"),
])  # fmt: skip
def test_what_is_malformed(packet, why):
    with pytest.raises(MalformedError, match=why):
        read_reply(packet)


def test_a_message_of_pointers_costs_little():
    """Sixty kilobytes of records whose names are chains of pointers into each other."""
    record = b"\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    packet = bytearray(b"\0\7\x81\x80\0\1" + b"\0" * 6 + b"\1a\0\0\1\0\1")
    last = 12
    count = 0
    while len(packet) < 16000:
        here = len(packet)
        packet += bytes([0xC0 | last >> 8, last & 255]) + record
        last = here
        count += 1
    packet[6:8] = count.to_bytes(2, "big")
    assert read_reply(bytes(packet)).counts == (count, 0, 0)
    # Pointers into data that nobody knows are followed at most 64 times.
    body = bytearray(b"\0\7\x81\x80\0\1" + b"\0" * 6 + b"\0\0\1\0\1" + b"\0\xff\0\0\1\0\0\0\1\0\3\1a\0")
    target = len(body) - 3
    for _ in range(65):
        body += bytes([0xC0, target]) + record
    body[6:8] = (66).to_bytes(2, "big")
    with pytest.raises(MalformedError, match="too many compression pointers"):
        read_reply(bytes(body))


def test_how_long_it_may_be_believed():
    assert read(*TEXTS[:2]).lifetime == 20
    assert read(TEXTS[0], SOA.format(ttl=1, minimum=1), section="authority").lifetime == 1
    denial = read(SOA.format(ttl=900, minimum=60), section="authority", rcode=3)
    assert (denial.lifetime, denial.denies, denial.code) == (60, True, 3)
    assert read(SOA.format(ttl=30, minimum=60), section="authority").lifetime == 30
    assert read(rcode=3).lifetime is None
    assert read().lifetime is None
    assert read(TEXTS[3], rcode=3).lifetime is None
    dangling = read(TEXTS[3])
    assert (dangling.lifetime, dangling.alias, dangling.denies) == (600, domain("web.example.net"), True)
    asked = query()
    both = reply_to(asked, TEXTS[3])
    both.authority.append(dns.rrset.from_text(*SOA.format(ttl=900, minimum=60).split(" ", 4)))
    found = read_reply(wire(both))
    assert (found.lifetime, found.alias) == (60, None)


def test_a_ttl_with_the_highest_bit_is_none():
    packet = bytearray(wire(reply_to(query(), TEXTS[0])))
    at = packet.index(b"\0\0\1\x2c")
    packet[at : at + 4] = b"\x80\0\1\x2c"
    found = read_reply(bytes(packet))
    assert found.lifetime == 0
    relayed = dns.message.from_wire(relay(read_query(query().to_wire()), found))
    assert relayed.answer[0].ttl == 0


def test_a_referral():
    assert read("example.com. 300 IN NS ns.example.com.", section="authority").refers
    assert not read("example.com. 300 IN NS ns.example.com.", section="authority", flags=dns.flags.AA).refers
    assert not read(SOA.format(ttl=1, minimum=1), section="authority").refers


def test_what_follows_opt_is_left_out():
    asked = query(use_edns=0)
    reply = reply_to(asked, TEXTS[0])
    packet = bytearray(wire(reply))
    packet += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    packet[11] = 2
    found = read_reply(bytes(packet))
    assert (found.counts, len(found.ttls)) == ((1, 0, 0), 1)
    assert addresses(relay(read_query(asked.to_wire()), found)) == ["192.0.2.1"]


def addresses(packet):
    return [rdata.to_text() for rrset in dns.message.from_wire(packet).answer for rdata in rrset]


def test_what_does_not_fit_loses_additional_records_then_all():
    asked = query(rdtype="TXT")
    reply = reply_to(asked, *(f'www.example.com. 300 IN TXT "{number}{"x" * 100}"' for number in range(4)))
    for number in range(10):
        reply.additional.append(dns.rrset.from_text(f"n{number}.example.com.", 300, "IN", "A", "192.0.2.9"))
    found = read_reply(wire(reply))
    small = dns.message.from_wire(relay(read_query(asked.to_wire()), found))
    assert (len(small.answer[0]), small.additional, bool(small.flags & dns.flags.TC)) == (4, [], False)
    reply.answer[0].add(dns.rdata.from_text("IN", "TXT", f'"{"y" * 200}"'))
    found = read_reply(wire(reply))
    none = dns.message.from_wire(relay(read_query(asked.to_wire()), found))
    assert (none.answer, bool(none.flags & dns.flags.TC), none.question) == ([], True, asked.question)
    whole = dns.message.from_wire(relay(read_query(asked.to_wire()), found, tcp=True))
    assert (len(whole.answer[0]), len(whole.additional)) == (5, 10)
    roomy = query(rdtype="TXT", use_edns=0, payload=4096)
    assert len(dns.message.from_wire(relay(read_query(roomy.to_wire()), found)).answer[0]) == 5


def test_a_reason_of_ours_stands_in_place_of_theirs():
    asked = query(use_edns=0)
    reply = reply_to(asked, TEXTS[0])
    reply.use_edns(0, options=[dns.edns.EDEOption(22, "them")])
    found = read_reply(wire(reply))
    ours = dns.message.from_wire(relay(read_query(asked.to_wire()), found, reason=Reason.STALE))
    assert [option.code for option in ours.options] == [3]
    plain = dns.message.from_wire(relay(read_query(query().to_wire()), found, reason=Reason.STALE))
    assert plain.edns == -1


def test_records_are_taken_apart_with_their_names_in_full():
    packet = wire(reply_to(query("example.com", "ANY"), *TEXTS))
    records = answer_records(read_reply(packet), age=100)
    assert len(records) == len(TEXTS)
    parsed = dns.message.from_wire(packet, one_rr_per_rrset=True)
    for record, rrset in zip(records, parsed.answer, strict=True):
        assert record.name == tuple(rrset.name.labels[:-1])
        assert isinstance(record.data, OpaqueData)
        assert (record.type, record.ttl) == (rrset.rdtype, max(0, rrset.ttl - 100))
        assert record.data.data == rrset[0].to_wire()


def test_too_many_records_are_not_taken_apart():
    reply = reply_to(query())
    for number in range(129):
        reply.answer.append(dns.rrset.from_text("www.example.com.", 300, "IN", "A", f"192.0.2.{number}"))
    with pytest.raises(MalformedError, match="more than 128"):
        answer_records(read_reply(wire(reply)))


def test_which_question_it_answers():
    found = read(TEXTS[0])
    assert same_question(found, domain("www.example.com"), 1, 1)
    assert same_question(replace(found, name=domain("WWW.example.com")), domain("www.example.com"), 1, 1)
    for name, type_, class_ in (("example.com", 1, 1), ("www.example.com", 28, 1), ("www.example.com", 1, 3)):
        assert not same_question(found, domain(name), type_, class_)


class TestQuestions:
    """What goes to other servers."""

    @pytest.mark.parametrize("dnssec", [False, True])
    @pytest.mark.parametrize("unchecked", [False, True])
    def test_wishes_go_along_and_nothing_else(self, dnssec, unchecked):
        asked = query("WWW.example.com", want_dnssec=dnssec, options=[dns.edns.GenericOption(10, b"12345678")])
        asked.flags |= dns.flags.CD if unchecked else 0
        sent = dns.message.from_wire(upstream_query(513, read_query(asked.to_wire())))
        assert (sent.id, sent.question[0].name.to_text()) == (513, "WWW.example.com.")
        assert bool(sent.ednsflags & dns.flags.DO) == dnssec
        assert bool(sent.flags & dns.flags.CD) == unchecked
        assert sent.flags & dns.flags.RD
        assert (sent.options, sent.payload) == ((), 1232)

    def test_without_edns(self):
        sent = dns.message.from_wire(upstream_query(1, read_query(query(use_edns=0).to_wire()), edns=False))
        assert sent.edns == -1

    def test_a_probe(self):
        probe = dns.message.from_wire(probe_question(9, domain("example.com"), 6))
        assert (probe.id, probe.question[0].to_text()) == (9, "example.com. IN SOA")

    def test_the_same_question_has_the_same_key(self):
        def key(**options):
            asked = query(**{key: value for key, value in options.items() if key != "cd"})
            asked.flags |= dns.flags.CD if "cd" in options else 0
            return question_key(read_query(asked.to_wire()))

        assert key() == key(name="WWW.Example.com") == key(use_edns=0, payload=4096) == key(id=9)
        others = [key(), key(name="example.com"), key(rdtype="AAAA"), key(want_dnssec=True), key(cd=True)]
        assert len(set(others)) == 5


def test_an_opt_of_a_later_version_is_not_judged():
    """What its data look like belongs to that version; the code tells that it is not ours."""
    found = read_reply(b"\0\7\x81\x80\0\1\0\0\0\0\0\1\0\0\1\0\1" + b"\0\0\x29\4\0\1\1\0\0\0\1x")
    assert (found.edns, found.code, found.reason) == (True, 16, b"")


def test_pointers_make_no_name_longer_than_255_bytes():
    label = b"\x3f" + b"a" * 63
    body = bytearray(b"\0\7\x81\x80\0\1\0\1\0\0\0\0" + label * 3 + b"\0\0\1\0\1")
    body += label + b"\xc0\x0c" + b"\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    with pytest.raises(MalformedError, match="longer than 255"):
        read_reply(bytes(body))


@pytest.mark.parametrize("data", [b"\x3fab", b"\x40a", b"\xc0", b"\xc0\xff", b"\xc0\x05"])
def test_a_pointer_into_unknown_data_that_is_no_name(data):
    body = bytearray(b"\0\7\x81\x80\0\1\0\2\0\0\0\0\0\0\1\0\1")
    body += b"\0\0\xff\0\1\0\0\0\1" + len(data).to_bytes(2, "big") + data
    at = len(body) - len(data)
    body += bytes([0xC0, at]) + b"\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    with pytest.raises(MalformedError):
        read_reply(bytes(body))


def test_a_pointer_to_data_that_is_a_name_is_good():
    body = b"\0\7\x81\x80\0\1\0\2\0\0\0\0\0\0\1\0\1" + b"\0\0\xff\0\1\0\0\0\1\0\3\1a\0"
    at = len(body) - 3
    body += bytes([0xC0, at]) + b"\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"
    assert [record.name for record in answer_records(read_reply(body))] == [(), (b"a",)]
