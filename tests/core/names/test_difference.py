"""The difference of two descriptions names all that changes, and nothing is enumerated for it."""

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beonss.core.names.boxes import intersection, merged, size, subtract
from beonss.core.names.description import DescriptionError
from beonss.core.names.difference import difference
from beonss.core.names.hostlist import expand
from beonss.core.names.ranges import RangeSet
from beonss.wire.description import parse

HEAD = """
[cluster]
name = "X"
zone = "x.example.org"
networks = ["10.0.0.0/8"]
masters = ["head"]
"""
HOSTS = '[hosts]\nhead = "10.255.0.1"\n'


def described(body: str, hosts: str = HOSTS, head: str = HEAD):
    return parse((head + hosts + body).encode(), "x.toml")


def lines(old: str, new: str) -> list[str]:
    return [re.sub(" +", " ", str(line)) for line in difference(described(old), described(new)).lines]


RULE = '[[nodes]]\nname = "r{rack:02}n{slot:02}"\naddress = "10.5.{rack}.{slot}"\n'


def test_the_same_written_otherwise_is_no_difference():
    one = RULE + 'ranges = { rack = "1-8", slot = "1-40" }\n'
    other = RULE.replace("rack", "shelf").replace("10.5.{shelf}.{slot}", "10.5.0.0 + 256*{shelf} + {slot}")
    assert lines(one, other + 'ranges = { shelf = "1-8", slot = "1-40" }\n') == []
    split = RULE + 'ranges = [{ rack = "1-3", slot = "1-40" }, { rack = "4-8", slot = "1-40" }]\n'
    assert lines(one, split) == []


def test_a_rack_more_and_slots_less_are_ranges():
    one = RULE + 'ranges = { rack = "1-8", slot = "1-40" }\n'
    assert lines(one, RULE + 'ranges = { rack = "1-9", slot = "1-40" }\n') == [
        "+ node r09n[01-40] (40) 10.5.9.1 - 10.5.9.40"
    ]
    got = lines(one, RULE + 'ranges = { rack = "1-8", slot = "1-32" }\n')
    assert got[-1] == "- node r[01-08]n[33-40] (64) 10.5.1.33 - 10.5.8.40"
    assert got[0].startswith("~ number r[01-08]n[01-32] (256)")


def test_an_address_that_moves_is_told_for_all_names_at_once():
    one = RULE + 'ranges = { rack = "1-8", slot = "1-40" }\n'
    assert lines(one, one.replace("10.5.", "10.6.")) == [
        "~ node r[01-08]n[01-40] (320) 10.5.1.1 - 10.5.8.40 -> 10.6.1.1 - 10.6.8.40"
    ]


def test_a_rack_in_front_moves_the_running_numbers():
    one = RULE + 'ranges = { rack = "2-3", slot = "1-4" }\n'
    assert lines(one, one.replace("2-3", "1-3")) == [
        "~ number r[02-03]n[01-04] (8) running numbers move by +4",
        "+ node r01n[01-04] (4) 10.5.1.1 - 10.5.1.4",
    ]


def test_names_by_number_and_aliases():
    rule = '[[nodes]]\nname = "n{node}"\naliases = ["c{node}"]\naddress = "10.5.0.0 - 10.5.0.99"\n'
    got = lines(rule, rule.replace("0.99", "0.119"))
    assert got == [
        "+ node n[100-119] (20) 10.5.0.100 - 10.5.0.119",
        "+ node c[100-119] (20) 10.5.0.100 - 10.5.0.119, alias by c{node}",
    ]


def test_options_hosts_and_records():
    old = described('[dns]\nrecords = ["www A 10.255.0.9"]\n')
    new = described(
        '[dns]\nrecords = ["www A 10.255.0.8"]\n',
        '[hosts]\nhead = { address = "10.255.0.1", aliases = ["nis"] }\nswitch = "10.255.0.2"\n',
        HEAD + "ttl = 60\n",
    )
    got = [(line.mark, line.kind, line.names) for line in difference(old, new).lines]
    assert ("~", "option", "cluster.ttl") in got
    assert ("~", "host", "head") in got
    assert ("+", "host", "switch") in got
    assert [mark for mark, kind, _ in got if kind == "record"] == ["-", "+"]


def test_millions_of_nodes_are_compared_in_no_time():
    rule = '[[nodes]]\nname = "n{node}"\naddress = "10.0.0.1 - 10.127.255.255"\n'
    old, new = described(rule), described(rule.replace("10.127", "10.191"))
    begin = time.perf_counter()
    found = difference(old, new)
    assert time.perf_counter() - begin < 5, "nothing is enumerated"
    assert (found.added, found.removed, found.changed) == (2**22, 0, 0)


# -- against plain enumeration

SPANS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), min_size=1, max_size=2).map(
    lambda spans: ",".join(f"{low}-{low + more}" for low, more in spans)
)
RULES = st.builds(
    lambda name, address, rack, slot: (
        f'[[nodes]]\nname = "{name}"\naddress = "{address}"\nranges = {{ rack = "{rack}", slot = "{slot}" }}\n'
    ),
    st.sampled_from(["r{rack}n{slot}", "r{rack:02}n{slot:02}", "r{rack+1}n{slot}", "n{node}"]),
    st.sampled_from(["10.5.{rack}.{slot}", "10.5.{rack+1}.{slot}", "10.6.0.0 + 64*{rack} + {slot}"]),
    SPANS,
    SPANS,
)


def names_of(naming):
    return {
        name: (named.name, named.addresses, named.kind)
        for named in naming.nodes()
        for name in (named.name, *named.aliases)
    }


@settings(max_examples=60, deadline=None)
@given(RULES, RULES)
def test_whatever_changes_is_told_exactly_where_it_can_be(one, other):
    try:
        old, new = described(one), described(other)
    except DescriptionError:
        assume(False)
    found = difference(old, new)
    told = {mark: set() for mark in "+-~"}
    numbered = set()
    for line in found.lines:
        names = list(expand(line.names))
        assert len(names) == line.count
        (numbered if line.kind == "number" else told[line.mark]).update(names)
    before, after = names_of(old), names_of(new)
    assert told["+"] == after.keys() - before.keys()
    assert told["-"] == before.keys() - after.keys()
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed <= told["~"]
    assert told["~"] <= before.keys() & after.keys()
    numbers = {name for name in before.keys() & after.keys() if old.find(name).number != new.find(name).number}
    assert numbers <= numbered | told["~"]


SETS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=3).map(
    lambda spans: RangeSet((low, low + more) for low, more in spans)
)
BOXES = st.tuples(SETS, SETS)


def points(box):
    return {(x, y) for x in box[0] for y in box[1]}


@given(BOXES, BOXES)
def test_boxes_are_sets_of_points(one, other):
    rest = subtract(one, other)
    assert set().union(*map(points, rest)) == points(one) - points(other)
    assert sum(map(size, rest)) == len(points(one) - points(other))
    both = intersection(one, other)
    assert (points(both) if both else set()) == points(one) & points(other)
    assert set().union(*map(points, merged(rest))) == points(one) - points(other)
    assert sum(map(size, merged(rest))) == sum(map(size, rest))


@pytest.mark.parametrize("zone", ["y.example.org"])
def test_another_zone_renames_everything(zone):
    got = difference(described(""), described("", head=HEAD.replace("x.example.org", zone))).lines
    assert "every name" in str(got[0])
