"""Whole zones against what the zones answer, and differences against whole zones."""

from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.overlaid import STATIC, ZONE, write_cluster

from beonss.core.zones.overlay import Overlay, identity
from beonss.core.zones.records import NameData, RecordType, ReplyCode, SOAData, TextData, domain, folded, shown
from beonss.core.zones.transfer import MOST_DIFFERENT, Edition, catalog, difference
from beonss.core.zones.transfer_serials import Served, choose_serials, is_newer
from beonss.store.zonefiles import load_overlay
from beonss.wire.description import parse

T = RecordType
STRANGER = ip_address("192.0.2.1")
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


def edition(directory, **options):
    path = write_cluster(directory, **options)
    naming = parse(path.read_bytes(), str(path))
    return Edition(naming, load_overlay(naming, directory))


def described(text):
    naming = parse(text.encode(), "f")
    return Edition(naming, Overlay(naming.description.dns.records))


def keys(records):
    return Counter((folded(r.name), int(r.type), r.ttl, identity(r.data)) for r in records)


def agree(made):
    """Show that a transferred zone and its answers are the same, both ways."""
    for apex in made.zones.apexes:
        found = list(made.records(apex))
        counted = keys(found)
        assert max(counted.values(), default=1) == 1
        sets = {}
        for record in found:
            sets.setdefault((folded(record.name), int(record.type)), []).append(record)
        for (name, kind), records in sets.items():
            answer = made.zones.answer(name, kind, 1, STRANGER)
            given = answer.answer if answer.authoritative else (*answer.authority, *answer.additional)
            assert not keys(records) - keys(given), (shown(name), kind)
            if answer.authoritative and kind != T.CNAME:
                assert len([r for r in given if r.type == kind and folded(r.name) == name]) == len(records)


def test_a_transferred_zone_holds_what_is_answered(tmp_path):
    agree(edition(tmp_path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_transferred_as_it_is_answered(path):
    naming = parse(path.read_bytes(), path.name)
    if naming.node_count < 5000:
        agree(Edition(naming, Overlay()))


def test_every_name_of_a_description_is_in_the_transfer(tmp_path):
    made = edition(tmp_path)
    names = {record.name[0].decode() for record in made.records(domain(ZONE)) if len(record.name) == 4}
    for named in made.naming.names():
        assert {named.name, *named.aliases} <= names
    pointers = {r.name for apex in made.zones.apexes for r in made.records(apex) if r.type == T.PTR}
    assert {domain(a.reverse_pointer) for named in made.naming.names() for a in named.addresses} <= pointers


def test_the_order_is_always_the_same(tmp_path):
    one, two = edition(tmp_path), edition(tmp_path)
    for apex in one.zones.apexes:
        assert list(one.records(apex)) == list(two.records(apex))
        assert one.digest(apex) == two.digest(apex)


BASE = """
[cluster]
name = "x"
zone = "c.example"
version = {version}
networks = ["10.0.0.0/8"]
masters = ["m"]
[hosts]
m = {{ address = ["10.1.0.1"{more}], aliases = [{aliases}] }}
[[nodes]]
name = "r{{r}}n{{n}}"
address = "10.1.{{r}}.{{n}}"
ranges = [{{ r = "1-{racks}", n = "1-{slots}" }}, {{ r = "20", n = "1-{last}" }}]
[[nodes]]
name = "x{{node}}"
address = "10.2.3.1 - 10.2.3.{last}"
[dns]
records = '''
a A 10.1.200.{static}
z{static} TXT "x"
'''
"""


def cluster(**changes):
    values = {"version": 1, "more": "", "aliases": "", "racks": 3, "slots": 4, "last": 5, "static": 1}
    return described(BASE.format(**values | changes))


VALUES = st.fixed_dictionaries(
    {"racks": st.integers(1, 4), "slots": st.integers(1, 5), "last": st.integers(1, 6), "static": st.integers(1, 3)}
)


@settings(max_examples=40)
@given(
    VALUES,
    VALUES,
    st.sampled_from([{}, {"aliases": '"k"'}, {"more": ', "10.1.0.9"'}]),
)
def test_the_difference_leads_from_one_version_to_the_other(before, after, host):
    """What a client has, without what went and with what came, is what it would get as a whole."""
    older, newer = cluster(**before), cluster(version=2, **after, **host)
    for apex in newer.zones.apexes:
        removed, added = difference(older, newer, apex)
        old, new = keys(older.records(apex)), keys(newer.records(apex))
        assert not keys(removed) - old
        assert not keys(added) & keys(removed)
        assert old - keys(removed) + keys(added) == new
        assert (older.digest(apex) == newer.digest(apex)) == (old == new) or old == new


LARGE = BASE.replace("10.1.{{r}}.{{n}}", "10.64.0.0 + 65536*{{r}} + {{n}}")


def counted_out(*_):
    raise AssertionError("the nodes of a rule were counted out")


def large(**changes):
    values = {"version": 1, "more": "", "aliases": "", "racks": 15, "slots": 65000, "last": 5, "static": 1}
    return described(LARGE.format(**values | changes))


def test_what_did_not_change_costs_nothing_to_compare(monkeypatch):
    """A million nodes that are the same in both versions are not counted out."""
    older, newer = large(), large(static=2)
    assert older.naming.node_count > 975_000
    monkeypatch.setattr(Edition, "_members", counted_out)
    removed, added = difference(older, newer, domain("c.example"))
    assert (len(removed), len(added)) == (2, 2)


def test_a_difference_that_is_too_large_is_none(monkeypatch):
    older, newer = large(slots=MOST_DIFFERENT), large()
    monkeypatch.setattr(Edition, "_members", counted_out)
    assert difference(older, newer, domain("c.example")) is None


def test_a_catalog_lists_the_zones_by_labels_that_stay():
    """RFC 9432 section 4."""
    members = (domain(ZONE), domain(STATIC))
    found = catalog(domain("catalog.invalid"), members, 7)
    records = [each.record for each in found.records]
    assert {r.data for r in records if r.type == T.PTR} == {NameData(member) for member in members}
    assert [r.data for r in records if r.type == T.TXT] == [TextData((b"2",))]
    assert found.apexes == (domain("catalog.invalid"),)
    again = catalog(domain("catalog.invalid"), members[1:], 8)
    assert {r.name for r in (e.record for e in again.records)} < {r.name for r in records}


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [(2, 1, True), (1, 1, False), (1, 2, False), (0, 2**32 - 1, True), (2**31, 0, False), (2**31 - 1, 0, True)],
)
def test_serials_are_compared_as_secondaries_do(one, other, newer):
    """RFC 1982 section 3.2."""
    assert is_newer(one, other) is newer


def serial(choice, apex="c.example"):
    return choice.served[domain(apex)].serial


def test_serials_follow_the_description_while_it_rises():
    first = choose_serials(cluster(version=5), {})
    assert (serial(first), first.stale) == (5, ())
    second = choose_serials(cluster(version=6, static=2), first.served)
    assert (serial(second), second.stale) == (6, ())


def test_an_unchanged_zone_keeps_its_serial_when_the_version_falls():
    first = choose_serials(cluster(version=5), {})
    assert serial(choose_serials(cluster(version=4), first.served)) == 5


def test_a_changed_zone_under_an_old_serial_gets_the_next_one_and_is_told_of():
    first = choose_serials(cluster(version=5), {})
    second = choose_serials(cluster(version=5, static=2), first.served)
    assert serial(second) == 6
    assert serial(second, "10.in-addr.arpa") == 5
    assert len(second.stale) == 1
    assert "raise [cluster] version to 6 or more" in second.stale[0]
    third = choose_serials(cluster(version=5, static=2), second.served)
    assert (serial(third), third.stale) == (6, ())


def test_without_secondaries_a_change_needs_no_new_serial():
    first = choose_serials(cluster(version=5), {})
    second = choose_serials(cluster(version=5, static=2), first.served, guarded=False)
    assert (serial(second), second.stale) == (5, ())


def test_serials_that_were_chosen_are_served(tmp_path):
    made = edition(tmp_path)
    apex = domain(STATIC)
    again = made.with_serials({apex: 77})
    assert again.serial(apex) == 77
    assert again.zones.answer(apex, T.SOA, 1, STRANGER).answer[0].data.serial == 77
    denial = again.zones.answer(domain("ns1." + STATIC), T.MX, 1, STRANGER)
    assert denial.code is ReplyCode.NOERROR
    assert isinstance(denial.authority[0].data, SOAData)
    assert denial.authority[0].data.serial == 77
    assert Served(1, "x") == Served(1, "x")
