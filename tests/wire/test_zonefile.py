"""Zone-file text: what every line means, every mistake with its line, and any text at all."""

import dns.zone
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.zones.records import NameData, OpaqueData, RecordType, TextData, shown
from beonss.errors import ConfigurationError
from beonss.wire.zonefile import MAX_PROBLEMS, read_zone

ORIGIN = (b"fellow", b"aero", b"org")


def read(text, **options):
    records, problems = read_zone(text, "f", origin=ORIGIN, **{"ttl": 3600} | options)
    assert problems == []
    return [each.record for each in records]


def mistakes(text, **options):
    _, problems = read_zone(text, "f", origin=ORIGIN, **{"ttl": 3600} | options)
    return [(problem.file, problem.line, problem.text) for problem in problems]


def test_names_are_relative_to_the_origin_and_keep_their_case():
    found = read("@ A 10.0.0.1\nWWW A 10.0.0.2\nwww.other. A 10.0.0.3\n$ORIGIN sub\nx A 10.0.0.4\n")
    assert [shown(record.name) for record in found] == [
        "fellow.aero.org", "WWW.fellow.aero.org", "www.other", "x.sub.fellow.aero.org",
    ]  # fmt: skip


def test_a_line_without_name_or_ttl_takes_them_from_before():
    """RFC 1035 section 5.1, RFC 2308 section 4: $TTL, else the last that was written, else what was given."""
    found = read(
        "a 60 A 10.0.0.1\n  A 10.0.0.2\n\n\n  IN 2h A 10.0.0.3\n$TTL 1d\n A 10.0.0.4\nb 5 IN A 10.0.0.5\n", ttl=None
    )
    assert [record.ttl for record in found] == [60, 60, 7200, 86400, 5]
    assert [record.name[0] for record in found] == [b"a", b"a", b"a", b"a", b"b"]


def test_the_soa_gives_a_ttl_where_nothing_else_does():
    found = read("@ SOA ns hostmaster ( 1 ; serial\n 3600 600 86400 300 )\n NS ns\n", ttl=None)
    assert [record.ttl for record in found] == [300, 300]


def test_names_in_data_are_kept_apart_from_bytes():
    """What leads elsewhere knows where to; everything else is the bytes that RFC 3597 calls opaque."""
    found = read(
        'a CNAME b\nc MX 10 Mail\nd SRV 1 2 3 e\nf DNAME g.\nh TYPE65280 \\# 3 01 0203\ni TXT "a b" c\n'
        "j TYPE1 \\# 4 0a000001\nk HTTPS 1 . alpn=h2\nl MX 0 .\n"
    )
    data = {record.name[0]: record.data for record in found}
    assert data[b"a"] == NameData((b"b", *ORIGIN))
    assert data[b"c"] == OpaqueData(b"\0\n\4Mail\6fellow\4aero\3org\0", (b"Mail", *ORIGIN))
    assert data[b"d"].target == (b"e", *ORIGIN)
    assert data[b"f"] == OpaqueData(b"\1g\0", (b"g",))
    assert data[b"h"] == OpaqueData(b"\1\2\3")
    assert data[b"i"] == TextData((b"a b", b"c"))
    assert str(data[b"j"].address) == "10.0.0.1"
    assert data[b"k"].target is None
    assert data[b"l"] == OpaqueData(b"\0\0\0", ())


def test_escaped_bytes_in_names_are_bytes():
    assert read("a\\.b\\255\\032c A 10.0.0.1\n")[0].name[0] == b"a.b\xff c"


def test_every_mistake_is_named_with_its_line():
    text = """good A 10.0.0.1
a BLAH 1
b A 1.2.3
c A
d 99999999999 A 10.0.0.1
e CH TXT x
f AXFR x
g RRSIG A 8 2 3600 20260101000000 20250101000000 1 a. AAAA
$GENERATE 1-3 x A 10.0.0.1
$FOO
$TTL soon
h A 10.0.0.1 10.0.0.2
..  A 10.0.0.1
i TXT "open
good2 A 10.0.0.2
"""
    records, problems = read_zone(text, "f", origin=ORIGIN, ttl=3600, first=101)
    assert [each.record.name[0] for each in records] == [b"good", b"good2"]
    assert [problem.line for problem in problems] == list(range(102, 115))
    said = " ".join(problem.text for problem in problems)
    for words in (
        "TYPE65280",
        "this A record",
        "no TTL",
        "only IN",
        "no type of records",
        "DNSSEC",
        "[[nodes]]",
        "$FOO",
    ):
        assert words in said


def test_a_parenthesis_that_never_closes_is_one_mistake():
    assert [line for _, line, _ in mistakes("a A 10.0.0.1\nb A ( 10.0.0.2\nc A 10.0.0.3\n")] == [2]


def test_without_any_ttl_it_says_what_to_write():
    assert mistakes("a A 10.0.0.1\n", ttl=None) == [("f", 1, "no TTL; write $TTL 1h above the first record")]


def test_the_first_record_needs_a_name():
    assert "no name" in mistakes("  A 10.0.0.1\n")[0][2]


FILES = {
    "one": "x A 10.0.0.1\n$INCLUDE two\ny A 10.0.0.2\n",
    "two": "$ORIGIN deep\nz A 10.0.0.3\n",
    "self": "$INCLUDE self\n",
}


def include(name, within):
    if name not in FILES:
        raise ConfigurationError(f"{name}: cannot be read: no such file")
    return FILES[name], f"dir/{name}"


def test_included_files_are_read_in_place_with_their_own_lines():
    """RFC 1035 section 5.1: a change of origin within the file does not outlast it."""
    records, problems = read_zone("$INCLUDE one sub\nq A 10.0.0.4\n", "f", origin=ORIGIN, ttl=60, include=include)
    assert problems == []
    assert [(shown(each.record.name), each.file, each.line) for each in records] == [
        ("x.sub.fellow.aero.org", "dir/one", 1),
        ("z.deep.sub.fellow.aero.org", "dir/two", 2),
        ("y.sub.fellow.aero.org", "dir/one", 3),
        ("q.fellow.aero.org", "f", 2),
    ]


def test_files_that_are_missing_or_go_in_circles_are_named():
    assert mistakes("\n$INCLUDE none\n", include=include)[0][1:] == (
        2,
        "none: cannot be read: no such file",
    )
    assert "circle" in mistakes("$INCLUDE self\n", include=include)[0][2]
    assert "travels to the nodes" in mistakes("$INCLUDE one\n")[0][2]


def test_after_many_mistakes_the_rest_is_not_read():
    assert len(mistakes("a BLAH\n" * 1000)) == MAX_PROBLEMS


def test_dnspython_reads_a_large_file_to_the_same_records():
    """The whole of its reader against our use of its parts."""
    text = "$TTL 300\n@ SOA a b 1 2 3 4 5\n@ NS a\n" + "".join(
        f"h{n} A 10.0.{n // 250}.{n % 250}\n" for n in range(500)
    )
    ours = {(shown(record.name), record.ttl, record.type) for record in read(text)}
    zone = dns.zone.from_text(text, "fellow.aero.org", relativize=False)
    theirs = {(n.to_text(True), s.ttl, int(s.rdtype)) for n, s in zone.iterate_rdatasets()}
    assert ours == theirs


WORDS = st.sampled_from([
    "a", "@", "b.", "*", "$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE", "1h", "60", "IN", "CH", "A", "AAAA", "MX", "TXT",
    "SRV", "NAPTR", "SVCB", "LOC", "\\#", "4", "0a000001", "10.0.0.1", "::1", "(", ")", '"', '"x"', ";", "\n", "\n\n",
    "\r", "\\", "\\255", "\\300", "é", "TYPE0", "TYPE255", "TYPE65535", "APL", "GPOS", "IPSECKEY", "WKS", "CERT",
    "OPT", "TSIG", ".", "..", "\0", "a" * 64,
])  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=30).map(" ".join)))
def test_any_text_gives_records_and_problems_and_no_error(text):
    """Never any exception, whatever the text; every record is one that can be sent."""
    records, problems = read_zone(text, "f", origin=ORIGIN, ttl=60, include=include)
    lines = text.count("\n") + text.count("\r") + 1
    for each in records:
        assert 0 < each.record.type <= 65535
        assert each.record.type not in (RecordType.OPT, RecordType.TSIG, RecordType.ANY)
        assert sum(len(label) + 1 for label in each.record.name) < 255
        assert 0 <= each.record.ttl < 2**31
    for problem in problems:
        assert problem.text
        assert problem.file != "f" or 1 <= problem.line <= lines
