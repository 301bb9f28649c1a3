"""What the zones answer, rule by rule."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dns_names import RACKS, SLOTS, Names, Thing

from beonss.core.zones.records import (
    AddressData,
    NameData,
    Reason,
    RecordType,
    ReplyCode,
    SOAData,
    TextData,
    domain,
    folded,
    shown,
)
from beonss.core.zones.zone import Answer, Zones, reverse_name, server_text
from beonss.wire.description import parse

T = RecordType
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))
NAMES = Names()
ZONES = Zones(NAMES)
NODE = ip_address("10.5.2.3")
STRANGER = ip_address("192.0.2.1")


def ask(name, qtype=T.A, asker=STRANGER, qclass=1, zones=ZONES) -> Answer:
    return zones.answer(domain(name), qtype, qclass, asker)


def texts(records):
    """Write records the way dig does, without TTL and class."""
    result = []
    for record in records:
        match record.data:
            case AddressData(address):
                data = str(address)
            case NameData(target):
                data = shown(target)
            case SOAData(primary):
                data = shown(primary)
            case TextData(strings):
                data = b" ".join(strings).decode()
        result.append(f"{shown(record.name)} {RecordType(record.type).name} {data}")
    return result


def is_denial(answer, code, apex="fellow.aero.org"):
    return (
        answer.code == code
        and answer.authoritative
        and not answer.answer
        and texts(answer.authority) == [f"{apex} SOA frodo.fellow.aero.org"]
    )


def test_a_node_has_its_addresses_by_family():
    assert texts(ask("r01n07.fellow.aero.org").answer) == ["r01n07.fellow.aero.org A 10.5.1.7"]
    assert texts(ask("r01n07.fellow.aero.org", T.AAAA).answer) == ["r01n07.fellow.aero.org AAAA fd00:5::107"]
    assert ask("r01n07.fellow.aero.org").authoritative


def test_the_owner_keeps_the_case_of_the_question():
    assert texts(ask("R01N07.Fellow.aero.ORG").answer) == ["R01N07.Fellow.aero.ORG A 10.5.1.7"]


@pytest.mark.parametrize("qtype", [T.AAAA, T.PTR, T.TXT, T.CNAME, T.NS, T.SOA, 15, 33, 43, 64, 65, 0, 65280])
def test_other_types_of_an_existing_name_are_no_data(qtype):
    """Also AAAA of a name with only an A, or musl and busybox fail the A lookup as well."""
    assert is_denial(ask("gamgee.fellow.aero.org", qtype), ReplyCode.NOERROR)


@pytest.mark.parametrize("name", ["six", "pdu"])
def test_a_name_without_such_an_address_exists(name):
    assert is_denial(ask(f"{name}.fellow.aero.org"), ReplyCode.NOERROR)


@pytest.mark.parametrize("name", ["r01n09", "r1n7", "x.r01n07", "_tcp.frodo", "r05n01", "a.self", "a.master", "*"])
def test_names_that_do_not_exist(name):
    """Spellings that are not canonical and everything below a node."""
    assert is_denial(ask(f"{name}.fellow.aero.org"), ReplyCode.NXDOMAIN)


@pytest.mark.parametrize("label", [b"r01n07.fellow.aero.org", b"r01n07.", b"\xc5\xbf", b"\xff", b"\0", b"r01n07 "])
def test_labels_are_bytes_and_a_dot_inside_one_divides_nothing(label):
    answer = ZONES.answer((label, *domain(NAMES.zone)), T.A, 1, STRANGER)
    assert is_denial(answer, ReplyCode.NXDOMAIN)


def test_an_alias_points_to_the_name_and_brings_its_records():
    assert texts(ask("WWW.fellow.aero.org").answer) == [
        "WWW.fellow.aero.org CNAME frodo.fellow.aero.org",
        "frodo.fellow.aero.org A 10.5.0.10",
    ]
    assert texts(ask("n6.fellow.aero.org", T.AAAA).answer) == [
        "n6.fellow.aero.org CNAME r01n07.fellow.aero.org",
        "r01n07.fellow.aero.org AAAA fd00:5::107",
    ]


def test_an_alias_alone_and_with_nothing_at_its_end():
    assert len(ask("www.fellow.aero.org", T.CNAME).answer) == 1
    answer = ask("www.fellow.aero.org", T.TXT)
    assert texts(answer.answer) == ["www.fellow.aero.org CNAME frodo.fellow.aero.org"]
    assert texts(answer.authority) == ["fellow.aero.org SOA frodo.fellow.aero.org"]
    assert answer.code == ReplyCode.NOERROR


def test_the_apex_has_soa_and_servers_with_their_addresses():
    answer = ask("fellow.aero.org", T.NS)
    assert texts(answer.answer) == [
        "fellow.aero.org NS frodo.fellow.aero.org",
        "fellow.aero.org NS gamgee.fellow.aero.org",
    ]
    assert texts(answer.additional) == [
        "frodo.fellow.aero.org A 10.5.0.10",
        "frodo.fellow.aero.org AAAA fd00:5::10",
        "gamgee.fellow.aero.org A 10.5.0.20",
    ]
    soa = ask("fellow.aero.org", T.SOA).answer[0]
    assert soa.data == SOAData(
        domain("frodo.fellow.aero.org"), domain("hostmaster.fellow.aero.org"), 7, 3600, 600, 1209600, 300
    )
    assert is_denial(ask("fellow.aero.org", T.A), ReplyCode.NOERROR)


@pytest.mark.parametrize("apex", ["5.10.in-addr.arpa", "5.0.0.0.0.0.d.f.ip6.arpa"])
def test_reverse_zones_have_an_apex_of_their_own(apex):
    assert texts(ask(apex, T.SOA).answer) == [f"{apex} SOA frodo.fellow.aero.org"]
    assert len(ask(apex, T.NS).answer) == 2
    assert is_denial(ask(apex, T.PTR), ReplyCode.NOERROR, apex)


@pytest.mark.parametrize(("ttl", "denial"), [(3600, 300), (60, 60), (0, 0), (2**40, 300)])
def test_a_denial_lives_no_longer_than_minimum(ttl, denial):
    """RFC 2308 section 3; and a TTL never takes more than 31 bits."""
    zones = Zones(Names(ttl=ttl))
    (soa,) = ask("nobody.fellow.aero.org", zones=zones).authority
    assert soa.ttl == denial
    assert ask("fellow.aero.org", T.SOA, zones=zones).answer[0].ttl == min(ttl, 2**31 - 1)
    assert soa.data.minimum == min(ttl, 300)


def test_reverse_names_of_both_families():
    for address in ("10.5.1.7", "fd00:5::107"):
        pointer = ip_address(address).reverse_pointer
        assert texts(ask(pointer.upper(), T.PTR).answer) == [f"{pointer.upper()} PTR r01n07.fellow.aero.org"]
        assert not ask(pointer, T.A).answer


def test_reverse_labels_that_are_no_end_are_empty_but_exist():
    assert is_denial(ask("1.5.10.in-addr.arpa", T.PTR), ReplyCode.NOERROR, "5.10.in-addr.arpa")
    assert is_denial(ask("9.5.10.in-addr.arpa", T.PTR), ReplyCode.NXDOMAIN, "5.10.in-addr.arpa")
    v6 = "5.0.0.0.0.0.d.f.ip6.arpa"
    # The lowest addresses are ::10 and ::66, so 22 zeros in a row have something below them.
    for depth in range(1, 23):
        assert is_denial(ask("0." * depth + v6, T.PTR), ReplyCode.NOERROR, v6)
    assert is_denial(ask("0." * 23 + v6, T.PTR), ReplyCode.NXDOMAIN, v6)
    assert is_denial(ask("1." + v6, T.PTR), ReplyCode.NXDOMAIN, v6)


@pytest.mark.parametrize(
    "name",
    ["01.1.5.10", "256.5.10", "7.01.5.10", "x.5.10", "0.7.1.5.10", "-1.5.10", "1a.5.10", "0x1.5.10", "99.1.5.10"],
)
def test_reverse_names_that_do_not_exist(name):
    """Numbers in another spelling, and names below an address."""
    assert is_denial(ask(f"{name}.in-addr.arpa", T.PTR), ReplyCode.NXDOMAIN, "5.10.in-addr.arpa")


def test_nibbles_are_single_digits_of_any_case():
    six = ip_address("fd00:5::101").reverse_pointer
    assert is_denial(ask("0" + six, T.PTR), ReplyCode.NXDOMAIN, "5.0.0.0.0.0.d.f.ip6.arpa")
    assert is_denial(ask("1." + six, T.PTR), ReplyCode.NXDOMAIN, "5.0.0.0.0.0.d.f.ip6.arpa")
    assert ask(six.upper(), T.PTR).answer


def test_forward_and_reverse_agree_for_every_node():
    for rack in range(1, RACKS + 1):
        for slot in range(1, SLOTS + 1):
            name = f"r{rack:02}n{slot:02}.fellow.aero.org"
            for qtype in (T.A, T.AAAA):
                address = ask(name, qtype).answer[0].data.address
                assert shown(ask(address.reverse_pointer, T.PTR).answer[0].data.target) == name


def test_self_is_who_asks_and_never_for_a_cache():
    answer = ask("self.fellow.aero.org", asker=NODE)
    assert texts(answer.answer) == [
        "self.fellow.aero.org CNAME r02n03.fellow.aero.org",
        "r02n03.fellow.aero.org A 10.5.2.3",
    ]
    assert answer.answer[0].ttl == 0
    assert answer.personal


def test_self_of_a_stranger_exists_but_is_empty_and_not_remembered():
    answer = ask("self.fellow.aero.org")
    assert is_denial(answer, ReplyCode.NOERROR)
    assert answer.authority[0].ttl == 0
    assert answer.personal


def test_master_is_all_masters_nearest_first():
    answer = ask("master.fellow.aero.org", asker=ip_address("10.5.0.20"))
    assert [str(record.data.address) for record in answer.answer] == ["10.5.0.20", "10.5.0.10"]
    assert {record.ttl for record in answer.answer} == {0}
    assert answer.personal
    assert ask("master.fellow.aero.org", T.TXT).authority[0].ttl == 0


@pytest.mark.parametrize(
    "name", ["", "org", "aero.org", "fellow.aero.com", "xfellow.aero.org", "10.in-addr.arpa", "n5"]
)
def test_names_elsewhere_are_refused_with_a_reason(name):
    answer = ask(name)
    assert answer == Answer(ReplyCode.REFUSED, authoritative=False, ours=False, reason=Reason.NOT_AUTHORITATIVE)


def test_any_gets_one_set():
    """RFC 8482: nothing to amplify with."""
    assert texts(ask("frodo.fellow.aero.org", T.ANY).answer) == ["frodo.fellow.aero.org A 10.5.0.10"]
    assert texts(ask("six.fellow.aero.org", T.ANY).answer) == ["six.fellow.aero.org AAAA fd00:5::66"]
    assert texts(ask("n6.fellow.aero.org", T.ANY).answer) == ["n6.fellow.aero.org CNAME r01n07.fellow.aero.org"]
    assert texts(ask("fellow.aero.org", T.ANY).answer) == ["fellow.aero.org SOA frodo.fellow.aero.org"]
    assert len(ask("7.1.5.10.in-addr.arpa", T.ANY).answer) == 1
    assert is_denial(ask("pdu.fellow.aero.org", T.ANY), ReplyCode.NOERROR)


@pytest.mark.parametrize("qtype", [T.AXFR, T.IXFR])
def test_transfers_are_refused_at_an_apex_and_mean_nothing_elsewhere(qtype):
    assert ask("fellow.aero.org", qtype).code == ReplyCode.REFUSED
    assert ask("fellow.aero.org", qtype).ours
    assert ask("frodo.fellow.aero.org", qtype).code == ReplyCode.NOTAUTH


@pytest.mark.parametrize(
    ("qtype", "code"),
    [(T.OPT, "FORMERR"), (T.TSIG, "FORMERR"), (T.TKEY, "NOTIMP"), (T.MAILA, "NOTIMP"), (T.MAILB, "NOTIMP")],
)
def test_types_that_are_never_data(qtype, code):
    assert ask("frodo.fellow.aero.org", qtype).code.name == code


def test_classes():
    assert ask("frodo.fellow.aero.org", qclass=3).code == ReplyCode.REFUSED
    answer = ask("frodo.fellow.aero.org", qclass=255)
    assert answer.answer
    assert not answer.authoritative


def test_the_closest_zone_answers():
    """A reverse zone may lie inside another one."""
    zones = Zones(Names(reverse=["10.0.0.0/8", "10.5.0.0/16", "10.5.1.0/24"]))
    assert texts(ask("99.1.5.10.in-addr.arpa", zones=zones).authority)[0].startswith("1.5.10.in-addr.arpa")
    assert texts(ask("99.2.5.10.in-addr.arpa", zones=zones).authority)[0].startswith("5.10.in-addr.arpa")
    assert is_denial(ask("6.10.in-addr.arpa", zones=zones), ReplyCode.NXDOMAIN, "10.in-addr.arpa")
    assert len(zones.apexes) == 4


def test_a_cluster_without_masters_still_answers():
    zones = Zones(Names(masters=[]))
    assert ask("fellow.aero.org", T.SOA, zones=zones).answer[0].data.primary == domain("fellow.aero.org")
    assert not ask("fellow.aero.org", T.NS, zones=zones).answer
    assert not ask("master.fellow.aero.org", zones=zones).answer


def test_a_serial_keeps_to_32_bits():
    assert ask("fellow.aero.org", T.SOA, zones=Zones(Names(version=2**32 + 5))).answer[0].data.serial == 5


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (IPv4Network("10.5.0.0/16"), "5.10.in-addr.arpa"),
        (IPv4Network("10.5.3.0/24"), "3.5.10.in-addr.arpa"),
        (IPv4Network("0.0.0.0/0"), "in-addr.arpa"),
        (IPv6Network("fd00:5::/32"), "5.0.0.0.0.0.d.f.ip6.arpa"),
        (IPv6Network("fd00::/12"), "0.d.f.ip6.arpa"),
    ],
)
def test_reverse_zone_names(network, name):
    assert shown(reverse_name(network)) == name


def test_a_reverse_zone_must_end_at_a_label():
    with pytest.raises(ValueError, match=r"10\.5\.0\.0/20"):
        reverse_name(IPv4Network("10.5.0.0/20"))


def test_server_text_tells_which_server_this_is_and_nothing_else():
    assert texts(server_text((b"id", b"server"), T.TXT, b"frodo").answer) == ["id.server TXT frodo"]
    assert server_text((b"id", b"server"), T.A, b"frodo") == Answer()
    assert server_text((b"id", b"server"), T.TXT, b"").code == ReplyCode.REFUSED
    assert server_text((b"version", b"bind"), T.TXT, b"frodo").code == ReplyCode.REFUSED


LABELS = st.one_of(
    st.binary(min_size=1, max_size=63),
    st.sampled_from(
        [b"r01n07", b"self", b"master", b"frodo", b"www", b"5", b"10", b"1", b"0", b"a", b"in-addr", b"arpa"]
    ),
)
TAILS = st.sampled_from([(), *ZONES.apexes, domain("in-addr.arpa"), domain("aero.org")])


QUESTIONS = given(
    st.lists(LABELS, max_size=34),
    TAILS,
    st.integers(0, 65535),
    st.integers(0, 255),
    st.sampled_from([NODE, STRANGER, ip_address("fd00:5::101")]),
)


@QUESTIONS
def test_any_question_gets_an_answer_that_follows_the_rules(labels, tail, qtype, qclass, asker):
    follows_the_rules(ZONES, (*labels, *tail), qtype, qclass, asker)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_so_it_is_with_every_example(example):
    zones = Zones(parse(example.read_bytes(), str(example)))

    @QUESTIONS
    def ask_anything(labels, tail, qtype, qclass, asker):
        for end in zones.apexes:
            follows_the_rules(zones, (*labels, *end), qtype, qclass, asker)
        follows_the_rules(zones, (*labels, *tail), qtype, qclass, asker)

    ask_anything()


def follows_the_rules(zones, name, qtype, qclass, asker):
    answer = zones.answer(name, qtype, qclass, asker)
    assert answer.ours or answer.code == ReplyCode.REFUSED
    if answer.code == ReplyCode.NXDOMAIN or (answer.code == ReplyCode.NOERROR and not answer.answer):
        assert [record.type for record in answer.authority] == [T.SOA]
    # Who asks matters only where the answer says so.
    if not answer.personal:
        assert answer == zones.answer(name, qtype, qclass, ip_address("fd00:5::10"))
    # The answer is the same in any case, but for the owner that was asked for.
    upper = zones.answer(tuple(label.upper() for label in name), qtype, qclass, asker)
    assert upper.code == answer.code
    assert [replace(record, name=folded(record.name)) for record in upper.answer] == [
        replace(record, name=folded(record.name)) for record in answer.answer
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_answer_the_same_forward_and_reverse(example):
    """The first thousand names of each: addresses, pointers and aliases agree."""
    naming = parse(example.read_bytes(), str(example))
    zones = Zones(naming)
    for named in islice(naming.names(), 1000):
        owner = f"{named.name}.{naming.zone}"
        for qtype, version in ((T.A, 4), (T.AAAA, 6)):
            found = [record.data.address for record in ask(owner, qtype, zones=zones).answer]
            assert found == [address for address in named.addresses if address.version == version]
        for address in named.addresses:
            (pointer,) = ask(address.reverse_pointer, T.PTR, zones=zones).answer
            assert shown(pointer.data.target) == owner
        for alias in named.aliases:
            assert shown(ask(f"{alias}.{naming.zone}", T.CNAME, zones=zones).answer[0].data.target) == owner


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5))
def test_a_shown_name_is_printable(labels):
    text = shown(tuple(labels))
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


@pytest.mark.parametrize("text", ["a..b", ".a", "x" * 64, "é"])
def test_domain_refuses_what_is_no_name(text):
    with pytest.raises(ValueError):
        domain(text)


def test_one_address_and_many_things():
    """A host with two addresses of a family gets both, in the order of the description."""
    names = Names([Thing("two", (ip_address("10.5.9.2"), ip_address("10.5.9.1")))], masters=[])
    found = Zones(names).answer(domain("two.fellow.aero.org"), T.A, 1, STRANGER).answer
    assert [str(record.data.address) for record in found] == ["10.5.9.2", "10.5.9.1"]
