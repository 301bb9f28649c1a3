"""What zones with static records answer, rule by rule (RFC 1034 section 4.3.2, 4592, 6672, 6604)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dns_names import Names
from support.overlaid import write_cluster

from beonss.core.names.explain import explain
from beonss.core.zones.overlay import Overlay
from beonss.core.zones.overlay_check import check_overlay
from beonss.core.zones.overlay_zone import OverlaidZones, PartialZones, described_zones
from beonss.core.zones.records import (
    AddressData,
    NameData,
    OpaqueData,
    RecordType,
    ReplyCode,
    SOAData,
    domain,
    folded,
    shown,
)
from beonss.core.zones.zone import Zones
from beonss.store.zonefiles import load_overlay
from beonss.wire.description import parse
from beonss.wire.zonefile import read_zone

T = RecordType
ZONE = "fellow.aero.org"
NODE = ip_address("10.5.2.3")
STRANGER = ip_address("192.0.2.1")
TEXT = """
@               MX 10 mail
                NS ns.elsewhere.example.
                TXT "at the apex"
mail            A 10.5.200.1
                AAAA fd00:5::200:1
_slurmctld._tcp SRV 0 0 6817 frodo
                SRV 1 0 6817 mail
home            CNAME frodo
home2           CNAME home
me              CNAME self
outside         CNAME a.example.com.
broken          CNAME nothing.lab.example.
r01n07          SSHFP 9 9 00
a.b.r01n07      TXT "below a node"
sub             NS ns.sub
                NS gamgee
                DS 1 13 99 00
ns.sub          A 10.5.201.1
*.wild          A 10.5.202.1
real.wild       TXT "here"
x.y.wild        TXT "there"
*.alias         CNAME frodo
old             DNAME lab.example.
1.200.5.10.in-addr.arpa. PTR mail
$ORIGIN lab.example.
@ SOA ns1 root 5 60 60 600 30
  NS ns1
ns1 A 192.0.2.1
web A 192.0.2.2
* TXT "any"
"""


def overlay(text=TEXT):
    records, problems = read_zone(text, "f", origin=domain(ZONE), ttl=3600)
    assert problems == []
    return Overlay(records)


NAMES = Names()
ZONES = OverlaidZones(NAMES, overlay())


def ask(name, kind="A", asker=STRANGER, zones=ZONES):
    return zones.answer(domain(name if name.endswith(".") else f"{name}.{ZONE}"), T[kind], 1, asker)


def shows(records):
    """Write records the way dig does, shortly."""
    lines = []
    for record in records:
        match record.data:
            case AddressData(address):
                data = str(address)
            case NameData(target) | OpaqueData(target=target) if target is not None:
                data = shown(target).removesuffix("." + ZONE)
            case SOAData(primary):
                data = shown(primary)
            case _:
                data = "..."
        kind = T(record.type).name if record.type in T.__members__.values() else record.type
        lines.append(f"{shown(record.name).removesuffix('.' + ZONE)} {kind} {data}")
    return lines


def test_the_static_records_of_this_test_are_without_clash():
    assert [str(problem) for problem in check_overlay(NAMES, overlay())] == []


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        (f"{ZONE}.", "MX", [f"{ZONE} MX mail"]),
        ("mail", "A", ["mail A 10.5.200.1"]),
        ("MAIL", "A", ["MAIL A 10.5.200.1"]),
        ("_slurmctld._tcp", "SRV", ["_slurmctld._tcp SRV frodo", "_slurmctld._tcp SRV mail"]),
        ("home", "A", ["home CNAME frodo", "frodo A 10.5.0.10"]),
        ("home2", "AAAA", ["home2 CNAME home", "home CNAME frodo", "frodo AAAA fd00:5::10"]),
        ("home2", "CNAME", ["home2 CNAME home"]),
        ("outside", "A", ["outside CNAME a.example.com"]),
        ("r01n07", "A", ["r01n07 A 10.5.1.7"]),
        ("anything.wild", "A", ["anything.wild A 10.5.202.1"]),
        ("two.labels.wild", "A", ["two.labels.wild A 10.5.202.1"]),
        ("*.wild", "A", ["*.wild A 10.5.202.1"]),
        ("q.alias", "A", ["q.alias CNAME frodo", "frodo A 10.5.0.10"]),
        ("web.old", "A", ["old DNAME lab.example", "web.old CNAME web.lab.example", "web.lab.example A 192.0.2.2"]),
        ("web.old", "CNAME", ["old DNAME lab.example", "web.old CNAME web.lab.example"]),
        ("old", "DNAME", ["old DNAME lab.example"]),
        ("1.200.5.10.in-addr.arpa.", "PTR", ["1.200.5.10.in-addr.arpa PTR mail"]),
        ("nobody.lab.example.", "TXT", ["nobody.lab.example TXT ..."]),
        ("lab.example.", "SOA", ["lab.example SOA ns1.lab.example"]),
    ],
)  # fmt: skip
def test_what_there_is(name, kind, answer):
    found = ask(name, kind)
    assert (found.code, found.authoritative, shows(found.answer)) == (ReplyCode.NOERROR, True, answer)


@pytest.mark.parametrize(
    ("name", "kind", "code", "apex"),
    [
        ("mail", "TXT", "NOERROR", ZONE),
        ("_tcp", "SRV", "NOERROR", ZONE),
        ("b.r01n07", "A", "NOERROR", ZONE),
        ("r01n07", "MX", "NOERROR", ZONE),
        ("c.r01n07", "A", "NXDOMAIN", ZONE),
        ("r01n08", "SRV", "NOERROR", ZONE),
        ("x.r01n08", "A", "NXDOMAIN", ZONE),
        ("real.wild", "A", "NOERROR", ZONE),
        ("z.real.wild", "A", "NXDOMAIN", ZONE),
        ("y.wild", "A", "NOERROR", ZONE),
        ("q.y.wild", "A", "NXDOMAIN", ZONE),
        ("wild", "A", "NOERROR", ZONE),
        ("anything.wild", "AAAA", "NOERROR", ZONE),
        ("old", "A", "NOERROR", ZONE),
        ("nothing", "A", "NXDOMAIN", ZONE),
        ("ns1.lab.example.", "AAAA", "NOERROR", "lab.example"),
        ("x.ns1.lab.example.", "TXT", "NXDOMAIN", "lab.example"),
        ("200.5.10.in-addr.arpa.", "PTR", "NOERROR", "5.10.in-addr.arpa"),
        ("2.200.5.10.in-addr.arpa.", "PTR", "NXDOMAIN", "5.10.in-addr.arpa"),
    ],
)
def test_what_there_is_not(name, kind, code, apex):
    """Empty non-terminals exist, wildcards stand for names that do not, and denials carry the zone's SOA."""
    found = ask(name, kind)
    assert (found.code.name, found.answer, found.authoritative) == (code, (), True)
    assert [(shown(record.name), record.type) for record in found.authority] == [(apex, T.SOA)]


def test_the_ttl_of_a_denial_is_that_of_its_own_zone():
    assert ask("ns1.lab.example.", "MX").authority[0].ttl == 30


@pytest.mark.parametrize("name", ["sub", "x.sub", "a.b.sub", "ns.sub"])
def test_a_delegation_answers_for_all_below_it(name):
    found = ask(name)
    assert (found.code, found.authoritative, found.answer) == (ReplyCode.NOERROR, False, ())
    assert shows(found.authority) == ["sub NS ns.sub", "sub NS gamgee"]
    assert shows(found.additional) == ["ns.sub A 10.5.201.1", "gamgee A 10.5.0.20"]


def test_of_a_delegation_itself_the_parent_knows_the_signer():
    assert shows(ask("sub", "DS").answer) == ["sub DS ..."]
    assert ask("x.sub", "DS").authoritative is False


def test_a_chain_into_a_name_that_is_not_has_its_code_and_denial():
    """RFC 6604: the RCODE is that of the last name; AA is that of the first."""
    zones = OverlaidZones(NAMES, overlay("a CNAME b\nc CNAME x.sub\nsub NS ns.example.\n"))
    found = ask("a", zones=zones)
    assert (found.code, found.authoritative, len(found.answer), len(found.authority)) == (3, True, 1, 1)
    found = ask("c", zones=zones)
    assert (found.code, found.authoritative, shows(found.authority)) == (0, True, ["sub NS ns.example"])


def test_circles_and_long_chains_end():
    zones = OverlaidZones(
        NAMES, overlay("a CNAME b\nb CNAME a\n" + "".join(f"c{n} CNAME c{n + 1}\n" for n in range(40)))
    )
    assert len(ask("a", zones=zones).answer) == 2
    assert len(ask("c0", zones=zones).answer) == 16


def test_a_dname_that_makes_a_name_too_long_says_so():
    """RFC 6672 section 2.2: YXDOMAIN; one that leads into itself ends there too."""
    zones = OverlaidZones(NAMES, overlay(f"d DNAME {'x' * 60}.d\n"))
    found = ask("a.d", zones=zones)
    assert found.code is ReplyCode.YXDOMAIN
    assert len(found.answer) <= 20


def test_an_alias_of_self_is_personal():
    found = ask("me", asker=NODE)
    assert found.personal
    assert shows(found.answer) == ["me CNAME self", "self CNAME r02n03", "r02n03 A 10.5.2.3"]
    assert ask("me").personal


def test_servers_written_at_the_apex_are_added_to_the_masters():
    found = ask(f"{ZONE}.", "NS")
    assert shows(found.answer) == [f"{ZONE} NS frodo", f"{ZONE} NS gamgee", f"{ZONE} NS ns.elsewhere.example"]
    assert len(found.additional) == 3


def test_addresses_that_are_asked_for_next_go_along():
    assert shows(ask("_slurmctld._tcp", "SRV").additional) == [
        "frodo A 10.5.0.10", "frodo AAAA fd00:5::10", "mail A 10.5.200.1", "mail AAAA fd00:5::200:1",
    ]  # fmt: skip


def test_any_gets_one_set_and_another_class_nothing():
    assert len({record.type for record in ask("mail", "ANY").answer}) == 1
    assert ask("home", "ANY").answer[0].type == T.CNAME
    assert ZONES.answer(domain(f"mail.{ZONE}"), T.A, 3, STRANGER).code is ReplyCode.REFUSED
    assert ZONES.answer(domain(f"mail.{ZONE}"), T.A, 255, STRANGER).authoritative is False


def test_a_zone_within_a_zone_is_delegated_by_itself():
    """The inner zone answers with authority, and DS is a question for the outer one."""
    zones = OverlaidZones(NAMES, overlay("in SOA a b 1 2 3 4 5\nin NS ns.in\nns.in A 10.5.3.99\nx.in TXT y\n"))
    assert ask("x.in", "TXT", zones=zones).authoritative
    assert shown(ask("in", "DS", zones=zones).authority[0].name) == ZONE
    assert shown(ask("in", "A", zones=zones).authority[0].name) == f"in.{ZONE}"


LABELS = st.sampled_from(
    [
        b"mail",
        b"home",
        b"r01n07",
        b"r01n08",
        b"frodo",
        b"www",
        b"sub",
        b"wild",
        b"*",
        b"y",
        b"old",
        b"alias",
        b"x",
        b"self",
        b"nothing",
    ]
)
NAME = st.builds(
    lambda labels, zone: (*labels, *domain(zone)),
    st.lists(LABELS, max_size=4),
    st.sampled_from([ZONE, "lab.example", "5.10.in-addr.arpa", "example.com"]),
)


@given(NAME, st.sampled_from([*T, 99, 65280]), st.sampled_from([1, 255, 3]))
def test_every_question_has_an_answer(name, kind, class_):
    """Whatever is asked: no exception, and an answer that has what its code says."""
    found = ZONES.answer(name, kind, class_, NODE)
    if found.code is ReplyCode.NXDOMAIN:
        assert found.authority[0].type == T.SOA
    if found.authoritative and not found.code and not found.answer:
        assert found.authority[0].type == T.SOA


@given(NAME, st.sampled_from(list(T)))
def test_plain_names_answer_as_without_static_records(name, kind):
    """What is_plain says lets a compiled core answer without knowing of static records."""
    if ZONES.is_plain(folded(name)):
        assert ZONES.answer(name, kind, 1, NODE) == Zones(NAMES).answer(name, kind, 1, NODE)


def test_which_names_are_plain():
    def plain(name):
        return ZONES.is_plain(domain(f"{name}.{ZONE}"))

    assert plain("r01n08")
    assert plain("nothing")
    assert plain("x.r01n08")
    assert not plain("r01n07")
    assert not plain("x.r01n07")
    assert not plain("q.wild")
    assert not plain("_tcp")
    assert not ZONES.is_plain(domain("web.lab.example"))
    assert not ZONES.is_plain(domain(ZONE))
    assert not ZONES.all_plain
    assert OverlaidZones(NAMES, Overlay()).all_plain
    assert not OverlaidZones(NAMES, overlay("* A 10.5.9.9\n")).is_plain(domain(f"r01n08.{ZONE}"))


LONG = " ".join(["x" * 250] * 58)
LARGE = "".join(f"a TXT y{n} {LONG}\n" for n in range(5))
CLASHES = {
    "r01n07 A 10.0.0.1": "r01n07.fellow.aero.org has its addresses by the description",
    "r01n07 CNAME frodo": "CNAME would hide r01n07",
    "r01n07 NS frodo": "NS would hide r01n07",
    "r01n07 SOA a b 1 2 3 4 5\nr01n07 NS frodo": "SOA would hide r01n07",
    "n3 TXT x": "n3.fellow.aero.org is an alias of r01n04",
    "www TXT x": "an alias of frodo",
    "self TXT x": "computed for each who asks",
    "master A 10.0.0.1": "computed for each who asks",
    "@ SOA a b 1 2 3 4 5": "[cluster] version is its serial",
    "@ DNAME x.example.": "would hide every name",
    "7.1.5.10.in-addr.arpa. PTR frodo": "leads to r01n07.fellow.aero.org by the description",
    "1.5.10.in-addr.arpa. NS frodo": "would hide addresses",
    "1.5.10.in-addr.arpa. DNAME x.example.": "would hide addresses",
    "x.example. A 10.0.0.1": "lies in no zone of this cluster",
    "a CNAME frodo\na TXT x": "an alias has nothing else",
    "a CNAME frodo\na CNAME gamgee": "there can be only one",
    "a CNAME b\nb CNAME a": "in a circle of aliases",
    "a CNAME r9n9": "r9n9.fellow.aero.org, which does not exist",
    "a MX 1 www": "is an alias, which MX may not lead to; write frodo.fellow.aero.org",
    "a SRV 0 0 1 n3": "write r01n04.fellow.aero.org",
    "*.a NS frodo": "at the wildcard",
    "d DNAME x.example.\na.d TXT x": "whose DNAME sends everything elsewhere",
    "s NS frodo\na.s TXT x": "only addresses as glue",
    "s NS frodo\ns TXT x": "belongs elsewhere",
    "s NS ns.s": "add an A or AAAA record as glue",
    "z.example. SOA a b 1 2 3 4 5": "has no NS record",
    LARGE: "no message could hold",
}  # fmt: skip


@pytest.mark.parametrize("text", CLASHES, ids=lambda text: text[:30])
def test_clashes_are_named(text):
    found = check_overlay(NAMES, overlay(text + "\n"))
    assert any(CLASHES[text] in problem.text for problem in found), found
    assert all(problem.line and problem.file == "f" for problem in found)


@pytest.mark.parametrize(
    "text",
    [
        "r01n07 SSHFP 9 9 00\n_22._tcp.r01n07 TLSA 3 9 9 00\n",
        "a A 10.5.1.7\n",
        "a.b.c TXT x\n",
        "0/26.9.5.10.in-addr.arpa. NS ns.example.\n",
        "9.5.10.in-addr.arpa. NS ns.example.\n",
        "* TXT x\n",
        "a CNAME www\n",
        "a MX 0 .\n",
    ],
)
def test_what_may_stand_beside_computed_names(text):
    assert check_overlay(NAMES, overlay(text)) == []


def test_the_cluster_of_the_real_tests_is_sound(tmp_path):
    path = write_cluster(tmp_path)
    naming = parse(path.read_bytes(), str(path))
    assert len(load_overlay(naming, tmp_path).records) >= 50


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("r01n07", "A", "NOERROR"),
        ("r01n08", "AAAA", "NOERROR"),
        ("gamgee", "AAAA", "NOERROR"),
        ("r01n08", "MX", "SERVFAIL"),
        ("nothing", "A", "SERVFAIL"),
        ("nothing", "AAAA", "SERVFAIL"),
        ("mail", "A", "NOERROR"),
        ("mail", "MX", "SERVFAIL"),
        ("home", "AAAA", "NOERROR"),
        ("_tcp", "A", "SERVFAIL"),
        ("self", "A", "NOERROR"),
        (f"{ZONE}.", "A", "SERVFAIL"),
        (f"{ZONE}.", "SOA", "NOERROR"),
        ("7.1.5.10.in-addr.arpa.", "PTR", "NOERROR"),
        ("9.99.5.10.in-addr.arpa.", "PTR", "SERVFAIL"),
        ("x.sub", "A", "NOERROR"),
        ("www.example.com.", "A", "REFUSED"),
    ],
)
def test_a_node_denies_nothing_that_may_stand_in_a_zone_file_of_its_masters(name, kind, code):
    """Caches must never learn a lie; what is computed is certain, and no other type of an address is."""
    assert ask(name, kind, zones=PartialZones(NAMES, overlay())).code.name == code


def test_a_node_denies_what_is_not_where_no_zone_file_is_named(tmp_path):
    path = write_cluster(tmp_path)
    naming = parse(path.read_bytes(), "f")
    assert ask("nothing", zones=described_zones(naming)).code is ReplyCode.SERVFAIL
    naming = parse(path.read_bytes().replace(b"zone_files", b"#"), "f")
    assert ask("nothing", zones=described_zones(naming)).code is ReplyCode.NXDOMAIN


def test_static_names_are_explained_with_their_lines(tmp_path):
    path = write_cluster(tmp_path)
    naming = parse(path.read_bytes(), "cluster.toml")
    found = explain(naming, "_slurmctld._tcp")
    assert found.found
    assert found.facts[0] == ("static SRV", "[dns] records (cluster.toml:29)")
    assert found.answers[0].answers[0] == f"_slurmctld._tcp.{ZONE} 3600 SRV 0 0 6817 frodo.{ZONE}"
    assert explain(naming, f"odd.{ZONE}").answers[0].answers == (f"odd.{ZONE} 3600 TYPE65280 \\# 4 0a000001",)
    for name in ("mail", "deep.down.here", "sub", "home", "old", f"outside.{ZONE}."):
        assert explain(naming, name).found
    assert not explain(naming, "down.here").found
    assert not explain(naming, "a..b").found
