"""Replies, read back by dnspython, which shares no code with us."""

from ipaddress import ip_address

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dns_names import Names

from beonss.core.zones.records import AddressData, NameData, Reason, Record, RecordType, ReplyCode, TextData, domain
from beonss.core.zones.zone import Answer, Zones, server_text
from beonss.wire.dns import TCP_LIMIT, UDP_LIMIT, read_query, write_reply

ZONES = Zones(Names())
ASKER = ip_address("10.5.2.3")


def query(name, rdtype="A", **options):
    message = dns.message.make_query(name, rdtype, **options)
    return message, message.to_wire()


def reply_to(name, rdtype="A", *, tcp=False, recursion=False, identity=b"", **options):
    message, wire = query(name, rdtype, **options)
    parsed = read_query(wire)
    answer = ZONES.answer(parsed.name, parsed.type, parsed.class_, ASKER)
    written = write_reply(parsed, answer, tcp=tcp, recursion=recursion, identity=identity)
    reply = dns.message.from_wire(written)
    assert message.is_response(reply)
    return reply, written


def test_a_reply_is_authoritative_and_echoes_the_case():
    reply, written = reply_to("R01n07.FELLOW.aero.org")
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD
    assert reply.answer[0].to_text() == "R01n07.FELLOW.aero.org. 3600 IN A 10.5.1.7"
    assert reply.edns == -1
    # The owner is a pointer to the question: that is how it keeps the client's case, and 2 bytes.
    assert len(written) == 12 + len(b"\6R01n07\6FELLOW\4aero\3org\0") + 4 + 16


@pytest.mark.parametrize("flag", [dns.flags.TC, dns.flags.AD, dns.flags.CD, dns.flags.RA, dns.flags.AA, 0x40])
def test_flags_of_the_query_are_not_copied_but_for_rd(flag):
    reply, _ = reply_to("frodo.fellow.aero.org", flags=flag)
    assert reply.flags == dns.flags.QR | dns.flags.AA


def test_ra_is_set_for_whom_names_are_looked_up():
    reply, _ = reply_to("frodo.fellow.aero.org", recursion=True)
    assert reply.flags & dns.flags.RA


@pytest.mark.parametrize("payload", [0, 511, 512, 1232, 65535])
def test_opt_is_answered_with_ours(payload):
    reply, _ = reply_to("frodo.fellow.aero.org", use_edns=0, payload=payload, want_dnssec=True)
    assert (reply.edns, reply.payload, reply.ednsflags, reply.options) == (0, UDP_LIMIT, 0, ())


def test_options_are_never_echoed():
    options = [
        dns.edns.GenericOption(10, b"12345678"),
        dns.edns.GenericOption(65001, b""),
        dns.edns.GenericOption(8, b"\0\1\0\0"),
    ]
    reply, _ = reply_to("frodo.fellow.aero.org", use_edns=0, options=options)
    assert reply.options == ()


def test_nsid_is_given_to_who_asks_where_there_is_one():
    asked = {"use_edns": 0, "options": [dns.edns.GenericOption(3, b"")]}
    reply, _ = reply_to("frodo.fellow.aero.org", identity=b"frodo", **asked)
    assert [(option.otype, option.nsid) for option in reply.options] == [(3, b"frodo")]
    assert reply_to("frodo.fellow.aero.org", **asked)[0].options == ()
    assert reply_to("frodo.fellow.aero.org", identity=b"frodo", use_edns=0)[0].options == ()


def test_a_later_version_is_badvers_without_an_answer():
    reply, _ = reply_to("frodo.fellow.aero.org", use_edns=1)
    assert reply.rcode() == ReplyCode.BADVERS
    assert reply.edns == 0
    assert not reply.answer
    assert len(reply.question) == 1


def test_elsewhere_is_refused_with_the_reason_for_edns_clients():
    reply, _ = reply_to("example.com", use_edns=0)
    assert reply.rcode() == ReplyCode.REFUSED
    assert [option.code for option in reply.options] == [Reason.NOT_AUTHORITATIVE]
    assert not reply.flags & dns.flags.AA
    assert reply_to("example.com")[0].edns == -1


def many(count, owner="frodo.fellow.aero.org"):
    return tuple(
        Record(domain(owner), RecordType.A, 60, AddressData(ip_address(f"10.5.{n // 250}.{n % 250}")))
        for n in range(count)
    )


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 512), ({"use_edns": 0, "payload": 900}, 900), ({"use_edns": 0, "payload": 4096}, 1232)]
)
def test_what_does_not_fit_is_cut_and_says_so(options, limit):
    """A truncated reply keeps question and OPT; the longest reply that fits is not cut."""
    message, wire = query("frodo.fellow.aero.org", **options)
    parsed = read_query(wire)
    sizes = set()
    for count in range(100):
        written = write_reply(parsed, Answer(answer=many(count)))
        reply = dns.message.from_wire(written)
        assert message.is_response(reply)
        assert len(written) <= limit
        assert reply.edns == (0 if options else -1)
        if reply.flags & dns.flags.TC:
            assert not reply.answer
        else:
            assert len(reply.answer[0] if count else ()) == count
            sizes.add(len(written))
    assert limit - max(sizes) < 16


def test_additional_records_give_way_without_tc():
    _, wire = query("frodo.fellow.aero.org")
    written = write_reply(read_query(wire), Answer(answer=many(10), additional=many(30, "gamgee.fellow.aero.org")))
    reply = dns.message.from_wire(written)
    assert not reply.flags & dns.flags.TC
    assert not reply.additional
    assert len(reply.answer[0]) == 10


def test_over_tcp_nothing_is_cut_and_names_stay_readable_beyond_the_reach_of_pointers():
    """Compression pointers have 14 bits: behind 16 KiB names are written out."""
    owners = [f"r{n:05}.fellow.aero.org" for n in range(1500)]
    records = tuple(Record(domain(owner), RecordType.CNAME, 60, NameData(domain("x" + owner))) for owner in owners)
    _, wire = query("frodo.fellow.aero.org")
    written = write_reply(read_query(wire), Answer(answer=records), tcp=True)
    assert 0x4000 < len(written) <= TCP_LIMIT
    reply = dns.message.from_wire(written)
    assert [rrset.name.to_text(omit_final_dot=True) for rrset in reply.answer] == owners
    assert [rrset[0].target.to_text(omit_final_dot=True) for rrset in reply.answer] == ["x" + owner for owner in owners]


def test_even_tcp_has_an_end():
    _, wire = query("frodo.fellow.aero.org")
    reply = dns.message.from_wire(write_reply(read_query(wire), Answer(answer=many(5000)), tcp=True))
    assert reply.flags & dns.flags.TC


def test_server_text_is_of_class_ch():
    message = dns.message.make_query("id.server", "TXT", "CH")
    parsed = read_query(message.to_wire())
    reply = dns.message.from_wire(write_reply(parsed, server_text(parsed.name, parsed.type, b'fr"odo\xff')))
    assert reply.answer[0].to_text() == 'id.server. 0 CH TXT "fr\\"odo\\255"'


def test_text_of_many_strings():
    _, wire = query("frodo.fellow.aero.org", "TXT")
    record = Record(domain("frodo.fellow.aero.org"), RecordType.TXT, 1, TextData((b"a", b"", b"b" * 255)))
    reply = dns.message.from_wire(write_reply(read_query(wire), Answer(answer=(record,))))
    assert reply.answer[0][0].strings == (b"a", b"", b"b" * 255)


def test_class_any_is_answered_in_class_in():
    message = dns.message.make_query("frodo.fellow.aero.org", "A", "ANY")
    parsed = read_query(message.to_wire())
    written = write_reply(parsed, ZONES.answer(parsed.name, parsed.type, parsed.class_, ASKER))
    reply = dns.message.from_wire(written)
    assert reply.answer[0].to_text() == "frodo.fellow.aero.org. 3600 IN A 10.5.0.10"


LABEL = st.one_of(
    st.binary(min_size=1, max_size=63),
    st.sampled_from([b"r01N07", b"self", b"MASTER", b"frodo", b"www", b"n6", b"5", b"10", b"1", b"in-addr", b"arpa"]),
)
NAME = st.builds(
    lambda labels, tail: dns.name.Name([*labels, *tail, b""]),
    st.lists(LABEL, max_size=3),
    st.sampled_from([(), *ZONES.apexes, domain("7.1.5.10.IN-addr.ARPA"), domain("WWW.fellow.AERO.org")]),
)


@given(
    NAME,
    st.one_of(st.sampled_from([1, 2, 5, 6, 12, 28, 255]), st.integers(1, 65535)),
    st.sampled_from([1, 255]),
    st.one_of(st.none(), st.tuples(st.integers(0, 2), st.integers(0, 65535), st.integers(0, 0xFFFF))),
    st.booleans(),
)
def test_every_reply_to_any_question_is_read_by_dnspython(name, rdtype, rdclass, edns, tcp):
    """The question comes back as it was written, OPT exactly when one was sent, nothing is too long."""
    if rdtype in (41, 249, 250):
        return  # dnspython cannot ask these
    options = {} if edns is None else {"use_edns": edns[0], "payload": edns[1], "ednsflags": edns[2] & 0xFFFF}
    message = dns.message.make_query(name, rdtype, rdclass, **options)
    wire = message.to_wire()
    parsed = read_query(wire)
    answer = ZONES.answer(parsed.name, parsed.type, parsed.class_, ASKER)
    written = write_reply(parsed, answer, tcp=tcp)
    reply = dns.message.from_wire(written, one_rr_per_rrset=True)
    assert reply.id == message.id
    assert message.is_response(reply)
    assert written[12 : 12 + len(parsed.question)] == parsed.question
    assert reply.flags & 0xFFF0 & ~(dns.flags.AA | dns.flags.TC) == dns.flags.QR | dns.flags.RD
    assert (reply.edns == 0) == (edns is not None)
    assert len(written) <= (TCP_LIMIT if tcp else min(UDP_LIMIT, max(512, edns[1] if edns else 0)))
    if edns is not None and edns[0] > 0:
        assert reply.rcode() == ReplyCode.BADVERS
    else:
        assert reply.rcode() == answer.code
        assert len(reply.answer) == len(answer.answer)
    for rrset in reply.answer[:1]:
        assert rrset.name.labels == name.labels


def test_dnspython_parses_names_that_share_nothing():
    _, wire = query("x.example.com")
    record = Record((), RecordType.NS, 5, NameData(()))
    reply = dns.message.from_wire(write_reply(read_query(wire), Answer(answer=(record,))))
    assert reply.answer[0].to_text() == ". 5 IN NS ."
