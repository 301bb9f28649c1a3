"""Samples of queries: arbitrary bytes parse or raise MalformedError, never any other; and what they say."""

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.errors import MalformedError
from beonss.wire.query_sample import MOST_BYTES, QUERY_KEPT, REPLY_KEPT, Sample, pack, record_of, type_word, unpack

SAMPLES = st.builds(
    Sample,
    time=st.floats(0, 1e10),
    client=st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    tcp=st.booleans(),
    query=st.binary(max_size=QUERY_KEPT),
    reply=st.binary(max_size=REPLY_KEPT),
    size=st.integers(0, 65535),
    took=st.none() | st.integers(0, 2**32 - 2),
)


def sample(query, reply=b"", **changes):
    fields = {"time": 5.0, "client": b"\x0a\x05\1\7", "tcp": False, "size": len(reply), "took": None}
    return Sample(query=query[:QUERY_KEPT], reply=reply[:REPLY_KEPT], **{**fields, **changes})


@given(st.binary(max_size=4000))
def test_arbitrary_bytes(data):
    """The invariant: a run of samples or MalformedError."""
    try:
        found = unpack(data)
    except MalformedError:
        return
    assert pack(found) == data
    for each in found:
        record_of(each).document()


@given(st.lists(SAMPLES, max_size=8))
def test_both_ways(samples):
    assert unpack(pack(samples)) == samples


@given(st.lists(SAMPLES, min_size=1, max_size=3), st.data())
def test_one_that_is_cut_or_altered(samples, data):
    run = bytearray(pack(samples))
    place = data.draw(st.integers(0, len(run) - 1))
    run[place] ^= data.draw(st.integers(1, 255))
    try:
        unpack(bytes(run))
        unpack(bytes(run[:place]))
    except MalformedError:
        return


@given(SAMPLES)
def test_a_sample_of_any_bytes_says_something(each):
    document = record_of(each).document()
    assert document["client"] == str(ip_address(each.client))
    assert document["name"] is None or document["name"].isprintable()


def test_what_is_too_much_is_left_out():
    many = [sample(bytes(QUERY_KEPT))] * 5000
    run = pack(many)
    assert len(run) <= MOST_BYTES
    assert 0 < len(unpack(run)) < 5000
    with pytest.raises(MalformedError):
        unpack(run + bytes(MOST_BYTES))


def test_an_endless_run_of_empty_samples_cannot_be():
    """Each has a head of its own, so the number is bounded by the bytes."""
    assert len(unpack(pack([sample(b"")] * 3))) == 3


def test_what_a_query_says():
    query = dns.message.make_query("R01n07.fellow.aero.org", "AAAA", use_edns=0, payload=1400, want_dnssec=True)
    query.flags |= dns.flags.CD
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.flags |= dns.flags.AA | dns.flags.RA
    found = record_of(sample(query.to_wire(), reply.to_wire(), tcp=True, size=99, took=12))
    assert found.document() == {
        "time": 5.0, "client": "10.5.1.7", "transport": "tcp", "name": "R01n07.fellow.aero.org", "type": "AAAA",
        "class": "IN", "flags": ["rd", "cd", "do"], "edns": 1400, "rcode": "NXDOMAIN", "reply_flags": ["aa", "ra"],
        "size": 99, "took_us": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rdtype", "rdclass", "shown"),
    [("HTTPS", "IN", ("HTTPS", "IN")), ("TYPE65280", "IN", ("TYPE65280", "IN")), ("TXT", "CH", ("TXT", "CH")),
     ("A", "CLASS9", ("A", "CLASS9")), ("CAA", "IN", ("CAA", "IN")), ("AXFR", "IN", ("AXFR", "IN"))],
)  # fmt: skip
def test_types_and_classes(rdtype, rdclass, shown):
    found = record_of(sample(dns.message.make_query("x.", rdtype, rdclass).to_wire()))
    assert (found.type, found.class_) == shown


def test_the_longest_name_with_options():
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    query = dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.GenericOption(10, bytes(40))])
    found = record_of(sample(query.to_wire()))
    assert (found.name, found.payload) == (name, query.payload)


def test_the_root():
    assert record_of(sample(dns.message.make_query(".", "NS").to_wire())).name == "."


def test_a_reply_that_never_was():
    found = record_of(sample(b"short"))
    assert (found.name, found.rcode, found.size) == (None, "", 0)


def test_bytes_of_a_name_cannot_paint_a_terminal():
    query = bytearray(dns.message.make_query("evil.example", "A").to_wire())
    query[13] = 0x1B
    assert record_of(sample(bytes(query))).name == r"\027vil.example"


def test_an_unknown_code():
    query = dns.message.make_query("x.", "A").to_wire()
    assert record_of(sample(query, query[:2] + b"\x80\x0f" + bytes(8))).rcode == "RCODE15"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("aaaa", "AAAA"),
        ("TYPE28", "AAAA"),
        ("type65280", "TYPE65280"),
        ("HTTPS", "HTTPS"),
        ("any", "ANY"),
        ("TYPE0", "TYPE0"),
    ],
)
def test_a_type_that_somebody_wrote(text, word):
    assert type_word(text) == word


@given(st.text(max_size=12) | st.from_regex(r"(?i)TYPE[0-9]{1,12}", fullmatch=True))
def test_any_text_is_a_type_or_refused(text):
    try:
        word = type_word(text)
    except MalformedError:
        return
    assert type_word(word) == word


@pytest.mark.parametrize("text", ["FOO", "TYPE65536", "TYPE", "TYPE-1", "", "A ", "TYPE\u0661"])
def test_what_is_no_type_is_refused(text):
    with pytest.raises(MalformedError, match="is no type of records known here; write for example AAAA"):
        type_word(text)
