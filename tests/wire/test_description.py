"""Reading a description: what each option means, and what is said of every kind of mistake."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from beonss.core.names.description import DescriptionError, Problem
from beonss.core.names.naming import MasterSpec, Naming
from beonss.core.names.proof import prove
from beonss.core.names.radix import Budget
from beonss.errors import ConfigurationError
from beonss.wire.description import parse

EXAMPLES = Path(__file__).parents[2] / "examples"

BASE = """\
[cluster]
name = "Test"
zone = "test.example.org"
networks = ["10.5.0.0/16"]
masters = ["frodo"]
[hosts]
frodo = "10.5.0.1"
"""
RULE = """\
[[nodes]]
name = "r{rack:02}n{slot:02}"
address = "10.5.{rack}.{slot}"
ranges = { rack = "1-4", slot = "1-40" }
"""


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(DescriptionError) as caught:
        parse(text.encode(), "test.toml")
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return list(caught.value.problems)


def read(text: str) -> Naming:
    return parse(text.encode(), "test.toml")


# What options mean


def test_every_example_is_sound() -> None:
    for path in sorted(EXAMPLES.glob("*.toml")):
        assert parse(path.read_bytes(), path.name).node_count > 0


def test_defaults() -> None:
    naming = read(BASE + RULE)
    assert (naming.version, naming.ttl, naming.source) == (1, 3600, "test.toml")
    assert naming.masters == (MasterSpec("frodo", (ip_address("10.5.0.1"),), 7653),)
    assert naming.reverse_networks == (ip_network("10.5.0.0/16"),)
    assert naming.settings.node_networks == (ip_network("10.5.0.0/16"),)
    assert (naming.settings.uid_floor, naming.settings.gid_floor) == (1000, 1000)
    assert (naming.settings.hash_scheme, naming.settings.hash_cost) == ("sha512crypt", 100_000)
    assert naming.settings.min_password_length == 8


def test_settings() -> None:
    naming = read(
        BASE
        + RULE
        + """
[access]
networks = ["10.5.0.0/17", "fd00::/64"]
[accounts]
uid_floor = 5000
gid_floor = 6000
hash = "yescrypt"
min_password_length = 12
"""
    )
    settings = naming.settings
    assert settings.node_networks == (ip_network("10.5.0.0/17"), ip_network("fd00::/64"))
    assert (settings.uid_floor, settings.gid_floor, settings.min_password_length) == (5000, 6000, 12)
    assert (settings.hash_scheme, settings.hash_cost) == ("yescrypt", 5)


def test_masters_are_hosts_or_nodes_by_any_of_their_names() -> None:
    text = BASE.replace('["frodo"]', '["nis", { name = "R01N02", port = 7700 }]')
    naming = read(text.replace('"10.5.0.1"', '{ address = "10.5.0.1", aliases = ["nis"] }') + RULE)
    assert [(master.name, master.port) for master in naming.masters] == [("frodo", 7653), ("r01n02", 7700)]


@pytest.mark.parametrize(
    ("networks", "zones"),
    [
        ('"10.0.0.0/8"', ["10.0.0.0/8"]),
        ('"10.5.0.0/22"', ["10.5.0.0/24", "10.5.1.0/24", "10.5.2.0/24", "10.5.3.0/24"]),
        ('"10.5.0.0/16", "fd00:5::/47"', ["10.5.0.0/16", "fd00:5::/48", "fd00:5:1::/48"]),
    ],
)
def test_reverse_zones_follow_from_the_networks(networks: str, zones: list[str]) -> None:
    """Each ends on an octet or a nibble, and together they are exactly the networks."""
    naming = read(BASE.replace('"10.5.0.0/16"', networks))
    assert naming.reverse_networks == tuple(ip_network(zone) for zone in zones)


def test_reverse_zones_as_given() -> None:
    text = BASE.replace('networks = ["10.5.0.0/16"]', 'networks = ["10.5.0.0/26"]\nreverse = ["10.5.0.0/24"]')
    assert read(text).reverse_networks == (ip_network("10.5.0.0/24"),)


def test_padding_of_a_list_is_kept() -> None:
    naming = read(BASE + RULE.replace("{rack:02}n{slot:02}", "{rack}n{slot}").replace('"1-4"', '"01-04"'))
    assert naming.find("r01n7") is not None
    assert naming.find("r1n7") is None


def test_the_digest_is_of_the_meaning() -> None:
    """Comments, spacing, the order of hosts and the file's name do not change it; a number does."""
    one = BASE + 'sam = "10.5.0.2"\n' + RULE
    other = "# hello\n" + BASE.replace("[hosts]\n", '[hosts]\nsam = "10.5.0.2"\n') + RULE.replace("1-4", "1,2,3-4")
    assert read(one).digest == parse(other.encode(), "elsewhere").digest
    assert read(one).digest != read(one.replace("1-40", "1-39")).digest
    assert read(one).digest != read(one.replace("[cluster]", "[cluster]\nversion = 2")).digest


# Mistakes: (text put in place of another or appended, line, option, what is said)

MISTAKES = [
    ("# nothing", "", None, "cluster", "there is no [cluster]"),
    ('name = "Test"', "", 1, "cluster.name", "is missing; add name = ..."),
    ('name = "Test"', "name = 1", 2, "cluster.name", "must be text in quotes"),
    ('name = "Test"', 'name = ""', 2, "cluster.name", "must not be empty"),
    ('name = "Test"', 'nmae = "Test"', 2, "cluster.nmae", "unknown option; did you mean name?"),
    ('name = "Test"', 'name = "Test"\nttl = true', 3, "cluster.ttl", "must be a whole number"),
    ('name = "Test"', 'name = "Test"\nttl = -1', 3, "cluster.ttl", "must be greater than or equal to 0"),
    ('name = "Test"', 'name = "Test"\nversion = 4294967296', 3, "cluster.version", "must be less than 4294967296"),
    ('"test.example.org"', '"test.local"', 3, "cluster.zone", "belongs to multicast DNS"),
    ('"test.example.org"', '"5.10.in-addr.arpa"', 3, "cluster.zone", "has a meaning of its own"),
    ('"test.example.org"', '"a..b"', 3, "cluster.zone", "is no domain name"),
    ('["10.5.0.0/16"]', '"10.5.0.0/16"', 4, "cluster.networks", "must be a list in brackets"),
    ('["10.5.0.0/16"]', "[]", 4, "cluster.networks", "must not be empty"),
    ('"10.5.0.0/16"', '"10.5.0.0"', 4, "cluster.networks[0]", "is no network; write one such as"),
    ('"10.5.0.0/16"', '"10.5.1.0/16"', 4, "cluster.networks[0]", "has bits beyond its prefix; write 10.5.0.0/16"),
    ('"10.5.0.0/16"', '"10.5.0.0/16", "10.5.9.0/24"', 4, "cluster.networks", "overlap; name the larger one alone"),
    ('"10.5.0.0/16"', '"10.5.0.0/26"', 4, "cluster.networks[0]", "add reverse = ['10.5.0.0/24']"),
    ('"10.5.0.0/16"', '"224.0.0.0/8"', 4, "cluster.networks[0]", "is no network of machines"),
    ('["frodo"]', '["frodo"]\nreverse = ["10.5.0.0/23"]', 6, "cluster.reverse[0]", "boundary of an octet"),
    (
        '["frodo"]',
        '["frodo"]\nreverse = ["10.5.0.0/24", "10.6.0.0/16"]',
        6,
        "cluster.reverse",
        "10.6.0.0/16 has no address",
    ),
    ('["frodo"]', "[]", 5, "cluster.masters", "must not be empty"),
    ('["frodo"]', '["bilbo"]', 5, "cluster.masters[0]", "no host or node is called 'bilbo'"),
    ('["frodo"]', '["frodo", "FRODO"]', 5, "cluster.masters[1]", "is a master already"),
    ('["frodo"]', '["frodo", { name = "frodo", prt = 1 }]', 5, "cluster.masters[1].prt", "did you mean port?"),
    ('["frodo"]', "[1]", 5, "cluster.masters[0]", "must be a table"),
    ("[hosts]", "[hots]", 6, "hots", "unknown option; did you mean hosts?"),
    ("[hosts]", "[[hosts]]", 6, "hosts", "must be a table: write [hosts]"),
    ("frodo =", "fro_do =", 7, "hosts.fro_do", "is no host name"),
    ("frodo =", '"a.b" =', 7, "hosts.a.b", "has a dot"),
    ("frodo =", "10 =", 7, "hosts.10", "inet_aton"),
    ("frodo =", "Master =", 7, "hosts.Master", "depends on who asks"),
    ("frodo =", "n-1 =", 7, "hosts.n-1", "depends on who asks"),
    ('"10.5.0.1"', "1", 7, "hosts.frodo", "must be a table"),
    ('"10.5.0.1"', "[]", 7, "hosts.frodo.address", "must not be empty"),
    ('"10.5.0.1"', '"10.5.0"', 7, "hosts.frodo.address", "is no address; write one such as"),
    ('"10.5.0.1"', '"224.0.0.1"', 7, "hosts.frodo.address", "is no address of a machine"),
    ('"10.5.0.1"', '"10.6.0.1"', 7, "hosts.frodo", "is outside cluster.networks"),
    ('"10.5.0.1"', '"10.5.0.0"', 7, "hosts.frodo", "is the address of the network 10.5.0.0/16 itself"),
    ('"10.5.0.1"', '"10.5.255.255"', 7, "hosts.frodo", "is the broadcast address"),
    ('"10.5.0.1"', '{ address = "10.5.0.1", mac = "1:2:3:4:5:6" }', 7, "hosts.frodo.mac", "is no hardware address"),
    ('"10.5.0.1"', '{ address = "10.5.0.1", mac = "01:00:00:00:00:01" }', 7, "hosts.frodo.mac", "is a group address"),
    ('"10.5.0.1"', '{ address = "10.5.0.1", aliases = ["x", "y z"] }', 7, "hosts.frodo.aliases[1]", "is no host name"),
    (
        '"10.5.0.1"',
        '"10.5.0.1"\nsam = "10.5.0.1"',
        8,
        "hosts.sam",
        "10.5.0.1 is an address of hosts.frodo (line 7) already",
    ),
    (
        '"10.5.0.1"',
        '"10.5.0.1"\nsam = { address = "10.5.0.2", aliases = ["Frodo"] }',
        8,
        "hosts.sam",
        "frodo is a name of hosts.frodo (line 7) already",
    ),
    ("[hosts]", '[reserved]\nx = "10.5.0.0/24"\n[hosts]', 9, "hosts.frodo", "10.5.0.1 is reserved for x (line 7)"),
    ("[hosts]", '[reserved]\nx = "10.6.0.0/24"\n[hosts]', 7, "reserved.x", "is outside networks"),
    ("[hosts]", '[reserved]\nx = ["10.5.9.9-10.5.9.1"]\n[hosts]', 7, "reserved.x[0]", "is no range"),
    ("[hosts]", '[accounts]\nhash = "md5"\n[hosts]', 7, "accounts.hash", "must be one of 'sha512crypt' or 'yescrypt'"),
    ("[hosts]", '[accounts]\nhash = "yescrypt"\nhash_cost = 12\n[hosts]', 8, "accounts.hash_cost", "must be 1 to 11"),
    ("[hosts]", "accounts = 3\n[hosts]", 6, "cluster.accounts", "unknown option"),
    # Rules; the rule begins in line 8.
    ("[[nodes]]", "[nodes]", 8, "nodes", "must be an array of tables; write [[nodes]]"),
    ('"r{rack:02}n{slot:02}"', '"r{rack:02"', 9, "nodes[0].name", "without its partner"),
    ('"10.5.{rack}.{slot}"', '"10.5.{rack}"', 10, "nodes[0].address", "has 3 octets"),
    ('"10.5.{rack}.{slot}"', '["10.5.{rack}.{slot}", "x"]', 10, "nodes[0].address[1]", "has 1 octets"),
    ('"1-40"', '"1-4o"', 11, "nodes[0].ranges.slot", "is not a number or a range"),
    ('"1-40"', "1.5", 11, "nodes[0].ranges.slot", "must be text in quotes"),
    ('slot = "1-40"', 'slots = "1-40"', 11, "nodes[0].ranges", "patterns use {slot} but there is no range"),
    ('slot = "1-40"', 'slot = "1-40", x = "1"', 11, "nodes[0].ranges.x", "no pattern uses {x}"),
    (
        'slot = "1-40"',
        'slot = "1-40", node = "1"',
        11,
        "nodes[0].ranges.node",
        "is the running number and has no range",
    ),
    ('slot = "1-40" }', 'slot = "1-40" }\ncount = 3', 12, "nodes[0].count", "both count and ranges"),
    ('{ rack = "1-4", slot = "1-40" }', "[]", 11, "nodes[0].ranges", "must not be empty"),
    ('ranges = { rack = "1-4", slot = "1-40" }', "", 8, "nodes[0]", "add ranges = { rack = ..., slot = ... }"),
    ('"1-4"', '"1-256"', 10, "nodes[0].address", "rack 256 makes 256, which is no octet"),
    ('"10.5.{rack}.{slot}"', '"10.5.{rack-2}.{slot}"', 10, "nodes[0].address", "rack 1 makes -1, which is no octet"),
    (
        '"10.5.{rack}.{slot}"',
        '"10.5.1.{slot}"',
        10,
        "nodes[0].address",
        "would be both rack 1, slot 1 and rack 2, slot 1",
    ),
    (
        '"10.5.{rack}.{slot}"',
        '"10.6.{rack}.{slot}"',
        10,
        "nodes[0].address",
        "10.6.1.1, which is outside cluster.networks",
    ),
    (
        '"10.5.{rack}.{slot}"',
        '"10.5.255.250 + {slot} + 40*{rack}"',
        10,
        "nodes[0].address",
        "is outside cluster.networks",
    ),
    (
        '"10.5.{rack}.{slot}"',
        '"10.5.1.0 + 10*{rack} + {slot}"',
        10,
        "nodes[0].address",
        "10.5.1.21 would be both rack 1, slot 11 and rack 2, slot 1",
    ),
    ('"10.5.{rack}.{slot}"', '"255.255.255.0 + 100*{rack} + {slot}"', 10, "nodes[0].address", "is outside IPv4"),
    (
        '"r{rack:02}n{slot:02}"',
        '"r{rack:02}"',
        9,
        "nodes[0].name",
        "r01 would be both rack 1, slot 1 and rack 1, slot 2",
    ),
    ('"r{rack:02}n{slot:02}"', '"r{rack-2}n{slot}"', 9, "nodes[0].name", "would make the number -1"),
    ('"r{rack:02}n{slot:02}"', '"' + "r" * 62 + '{rack}n{slot}"', 9, "nodes[0].name", "a label has at most 63"),
    ('"1-40" }', '"1-40" }\naliases = ["r0{rack}n{slot:02}"]', 12, "nodes[0].aliases", "would be both"),
    ('"1-40" }', '"1-40" }\naliases = ["master"]', 12, "nodes[0].aliases", "would be both"),
    (
        '{ rack = "1-4", slot = "1-40" }',
        '[{ rack = "1-4", slot = "1-40" },\n{ rack = "4", slot = "9" }]',
        12,
        "nodes[0].ranges",
        "rack 4, slot 9 is described in line 11 already",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[nodes.interfaces.ib]\naddress = "10.5.{rack+9}.{slot}"',
        12,
        "nodes[0].interfaces.ib",
        "needs either suffix",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[nodes.interfaces.ib]\nsuffix = "-"\naddress = "10.5.{rack+9}.{slot}"',
        13,
        "nodes[0].interfaces.ib.suffix",
        "is no end of a host name",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[nodes.interfaces.ib]\nsuffix = "-ib"\naddress = "10.5.{rack+3}.{slot}"',
        14,
        "nodes[0].interfaces.ib.address",
        "10.5.4.1 would be both",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[nodes]]\nname = "n{node}"\naddress = "10.5.9.0 + {node}"',
        12,
        "nodes[1]",
        "nothing says how many nodes",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[nodes]]\nname = "n{node}"\naddress = "10.5.9.0 - 10.5.9.9"\ncount = 9',
        14,
        "nodes[1].address",
        "has 10 addresses for 9 nodes; write a range of 9, up to 10.5.9.8",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[nodes]]\nname = "n{node}"\naddress = "10.5.0.0 - 10.5.0.9"',
        14,
        "nodes[1].address",
        "n160 (node 160, line 12) would be 10.5.0.0, which is the address of the network",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[nodes]]\nname = "n{node}"\naddress = "10.5.4.30 - 10.5.4.50"',
        14,
        "nodes[1].address",
        "10.5.4.30 would be both r04n30 (rack 4, slot 30, line 11) and n160 (node 160, line 12)",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[derived]]\nname = "g{rack}"\naddress = "10.5.{rack}.40"',
        14,
        "derived[0].address",
        "10.5.1.40 would be both r01n40 (rack 1, slot 40, line 11) and g1 (rack 1, line 12)",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[derived]]\nname = "g{row}"\naddress = "10.5.{row}.99"',
        12,
        "derived[0]",
        "no node has a coordinate {row}",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[derived]]\nname = "g"\naddress = "10.5.9.99"',
        12,
        "derived[0]",
        "follows one coordinate of the nodes",
    ),
    (
        '"1-40" }',
        '"1-40" }\n[[derived]]\nname = "g{node}"\naddress = "10.5.9.{node}"\nranges = { x = 1 }',
        12,
        "derived[0]",
        "hosts have no running number",
    ),
    (
        'frodo = "10.5.0.1"',
        'frodo = "10.5.0.1"\nr04n40 = "10.5.0.9"',
        8,
        "hosts.r04n40",
        "would hide the node r04n40 (rack 4, slot 40",
    ),
    (
        'frodo = "10.5.0.1"',
        'frodo = ["10.5.0.1", "10.5.4.40"]',
        7,
        "hosts.frodo",
        "10.5.4.40 is the address of the node r04n40",
    ),
    (
        "[hosts]",
        '[reserved]\ndhcp = "10.5.3.39 - 10.5.3.99"\n[hosts]',
        12,
        "nodes[0].address",
        "r03n39 (rack 3, slot 39, line 13) would be 10.5.3.39, which is reserved for dhcp (line 7)",
    ),
]

FURTHER = [
    (f"{RULE}ranges_ = 1", 12, "nodes[0].ranges_", "did you mean ranges?"),
    (
        '[[nodes]]\nname = "n{node}"\naddress = "10.5.9.{node}"\nranges = { node = "0-9" }',
        11,
        "nodes[0].ranges.node",
        "is the running number and has no range; write count = N",
    ),
    (
        '[[nodes]]\nname = "n{a}"\naddress = "10.5.9.{a}"\nranges = [{ a = "01-09" },\n{ a = "010-012" }]',
        12,
        "nodes[0].ranges[1].a",
        "a is padded to 3 digits here and to 2 above",
    ),
    (
        '[[nodes]]\nname = "n{a}x{b}"\naddress = "10.5.{a}.{b}"\nranges = { a = "0-9999999999", b = "0-9" }',
        8,
        "nodes[0]",
        "at most 9999999999 can be numbered",
    ),
    (
        '[[nodes]]\nname = "'
        + "x".join(f"n{{c{n}}}" for n in range(9))
        + '"\naddress = "10.5.9.{c0}"\nranges = { '
        + ", ".join(f"c{n} = 1" for n in range(9))
        + " }",
        11,
        "nodes[0].ranges",
        "9 coordinates; at most 8",
    ),
    (
        '[[nodes]]\nname = "n{a}"\naddress = "10.5.9.{a}"\nranges = [' + "{ a = 1 }," * 20_001 + "]",
        8,
        "nodes[0]",
        "too many products",
    ),
    (
        'a = { address = "10.5.1.1", mac = "00:00:00:00:00:01" }\nb = { address = "10.5.1.2", mac = "0-0-0-0-0-1" }',
        9,
        "hosts.b.mac",
        "is no hardware address",
    ),
    (
        (
            'a = { address = "10.5.1.1", mac = "00:00:00:00:00:01" }\n'
            'b = { address = "10.5.1.2", mac = "00-00-00-00-00-01" }'
        ),
        9,
        "hosts.b",
        "00:00:00:00:00:01 is the mac of hosts.a (line 8) already",
    ),
    ('[[nodes]]\nname = "solo"\naddress = "10.5.0.1"', 7, "hosts.frodo", "10.5.0.1 is the address of the node solo"),
    (
        '[[nodes]]\nname = "n{a}x{b}"\naddress = "10.5.9.0 + 3*{a} + 2*{b}"\nranges = { a = "0,2", b = "0,4" }',
        10,
        "nodes[0].address",
        "3 addresses for each a leave no room for the 9 below it; use a larger weight for {a}",
    ),
    (
        '[[nodes]]\nname = "n{a}x{b}"\naddress = "10.5.9.0 + {a} + {b}"\nranges = { a = "0-1", b = "0-1" }',
        10,
        "nodes[0].address",
        "10.5.9.1 would be both",
    ),
    (
        '[[derived]]\nname = "g{a}x{b}"\naddress = "10.5.{a}.{b}"',
        8,
        "derived[0]",
        "not the coordinates a, b; add ranges",
    ),
    (
        '[[nodes]]\nname = "n{i}"\naddress = ["10.5.9.{i}", "10.5.9.{i}"]\nranges = { i = "1-2" }',
        10,
        "nodes[0].address",
        "10.5.9.1 would be both n1 (i 1, line 11) and n1 (i 1, line 11)",
    ),
    (
        (
            '[[nodes]]\nname = "n{i}"\naddress = "10.5.9.{i}"\nranges = { i = "1-9" }\n[[nodes]]\nname = "n1"\n'
            'address = "10.5.8.1"'
        ),
        13,
        "nodes[1].name",
        "n1 would be both n1 (i 1, line 11) and n1 (node 9, line 12)",
    ),
    (
        (
            '[[nodes]]\nname = "n1{i}"\naddress = "10.5.9.{i}"\nranges = { i = "10-19" }\n[[nodes]]\n'
            'name = "n{i}1"\naddress = "10.5.8.{i}"\n'
            'ranges = { i = "10-19" }'
        ),
        13,
        "nodes[1].name",
        "n111 would be both n111 (i 11, line 11) and n111 (i 11, line 15)",
    ),
]


@pytest.mark.parametrize(("more", "line", "option", "text"), FURTHER)
def test_mistakes_of_further_parts(more: str, line: int, option: str, text: str) -> None:
    problems = problems_of(BASE + more)
    matching = [problem for problem in problems if text in problem.text]
    assert matching, problems
    assert (matching[0].line, matching[0].option) == (line, option)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Test"', '"\\u001b[31m"'),
        ("[hosts]", '[reserved]\n"\\u001b[31m" = "10.5.0.0/24"\n[hosts]'),
        ("[hosts]", '"\\u001b[31m" = 1\n[hosts]'),
        ("{rack:02}", "{\\u001b[31m}"),
        ('"10.5.{rack}.{slot}"', '"\\u001b[31m"'),
        ('"1-40" }', '"1-40" }\n[nodes.interfaces."\\u001b[31m"]\nsuffix = "-i"\naddress = "10.5.{rack+9}.{slot}"'),
        ("frodo =", '"\\u001b[31m" ='),
    ],
)
def test_control_characters_reach_no_terminal(old: str, new: str) -> None:
    """A description cannot paint, or rewrite, the terminal of whoever checks it."""
    problems = problems_of((BASE + RULE).replace(old, new, 1))
    assert all(str(problem).isprintable() for problem in problems)


def test_a_proof_that_runs_out_of_steps_refuses() -> None:
    """Whatever part of the proof is reached: without steps to compare, nothing is taken for granted."""
    rule = (
        '[[nodes]]\nname = "n{a}{b:02}"\naddress = "10.5.{a}.{b}"\n'
        'ranges = [{ a = "1-9", b = "1-9" }, { a = "1-20", b = "10-19" }]\n'
    )
    naming = read(BASE + rule)
    assert prove(naming) == []
    needed = Budget(1000)
    assert prove(naming, budget=needed) == []
    for steps in range(1000 - needed.left):
        problems = prove(naming, budget=Budget(steps))
        assert problems
        assert all("in time" in problem.text or "cannot be" in problem.text for problem in problems)


def test_a_single_node_needs_no_ranges() -> None:
    naming = read(BASE + '[[nodes]]\nname = "solo"\naddress = ["10.5.0.9", "fd00::9"]\n'.replace(', "fd00::9"', ""))
    assert [named.name for named in naming.nodes()] == ["solo"]
    assert naming.find("solo") == naming.find_number(0) == naming.find_address(ip_address("10.5.0.9"))


def test_a_network_may_have_a_name_pattern_of_its_own() -> None:
    more = (
        '[nodes.interfaces.ib]\nname = "ib{rack}x{slot}"\naliases = ["i{node}"]\naddress = "10.5.{rack+100}.{slot}"\n'
    )
    naming = read(BASE + RULE + more)
    named = naming.find("i7")
    assert named is not None
    assert (named.name, named.network, named.rule, named.line) == ("ib1x8", "ib", "ib{rack}x{slot}", 12)


@pytest.mark.parametrize(("old", "new", "line", "option", "text"), MISTAKES)
def test_each_mistake_names_line_and_option_and_says_what_to_do(
    old: str, new: str, line: int | None, option: str, text: str
) -> None:
    source = BASE + RULE
    problems = problems_of(source.replace(old, new, 1) if line is not None else "")
    matching = [problem for problem in problems if text in problem.text]
    assert matching, problems
    assert (matching[0].line, matching[0].option) == (line or 0, option)
    assert all(problem.file == "test.toml" for problem in problems)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[cluster\n", 1, "not valid TOML"),
        ("[cluster]\nname = \n", 2, "not valid TOML"),
        ("[cluster]\nname = 1\nname = 2\n", 3, "not valid TOML"),
        ('[cluster]\nname = "x\n', 2, "not valid TOML"),
        ("[cluster]\nx = 1\n[cluster]\n", 3, "not valid TOML"),
    ],
)
def test_mistakes_of_syntax_have_a_line(text: str, line: int, said: str) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.option) == (line, "")
    assert said in problem.text


def test_all_mistakes_are_reported_in_one_pass() -> None:
    """Mistakes of shape, of patterns and of the whole are found together, each once, in the order of the file."""
    problems = problems_of(
        """\
[cluster]
name = "Test"
zone = "test.local"
networks = ["10.5.0.0/16"]
masters = ["frodo"]
tll = 3
[hosts]
frodo = "10.5.1.7"
sam = { adress = "10.5.0.9" }
[[nodes]]
name = "r{rack:02}n{slot:02}"
address = "10.5.{rack}.{slot}"
ranges = { rack = "1-4", slot = "1-40" }
[[nodes]]
name = "x{a"
address = "10.5.{a}"
ranges = { a = "5-1" }
[[nodes]]
name = "n{a}"
address = "10.5.4.{a}"
ranges = { a = "40-50" }
"""
    )
    assert [(problem.line, problem.option) for problem in problems] == [
        (3, "cluster.zone"),
        (6, "cluster.tll"),
        (8, "hosts.frodo"),
        (9, "hosts.sam.adress"),
        (15, "nodes[1].name"),
        (16, "nodes[1].address"),
        (17, "nodes[1].ranges.a"),
        (20, "nodes[2].address"),
    ]


def test_of_very_many_mistakes_the_first_are_shown() -> None:
    problems = problems_of(BASE + RULE + "[reserved]\n" + "".join(f"x{n} = 1\n" for n in range(1000)))
    assert len(problems) == 101
    assert problems[-1].text == "and 900 more problems; correct these first"
    problems = problems_of(BASE + "".join(f'h{n} = "10.5.0.1"\n' for n in range(1000)) + RULE)
    assert len(problems) == 101


def test_a_bad_cluster_section_does_not_hide_the_rest() -> None:
    problems = problems_of("cluster = 3\n" + "[hosts]\n1 = 1\n")
    assert [problem.option for problem in problems] == ["cluster", "hosts.1", "hosts.1"]


def test_ambiguity_has_a_counterexample_and_lengths_resolve_it() -> None:
    """Adjacent numbers are refused where two readings exist, and taken where their lengths tell them apart."""
    rule = RULE.replace("{rack:02}n{slot:02}", "{rack}{slot}").replace("1-4", "1-12")
    assert any("r111 could be read as" in problem.text for problem in problems_of(BASE + rule))
    assert read(BASE + rule.replace("1-12", "1-9")).find("r911") is not None
    assert read(BASE + rule.replace("{rack}{slot}", "{rack}{slot:03}")).find("r12011") is not None


def test_sixteen_million_nodes_are_proven_in_a_few_steps() -> None:
    """What the proof does is counted, not timed: a thousand steps would be too many."""
    text = BASE.replace("10.5.0.0/16", "10.0.0.0/8").replace("10.5.0.1", "10.0.0.255")
    text += """
[[nodes]]
name = "x{a:03}y{b:03}z{c:03}"
aliases = ["n{node}"]
address = "10.{a}.{b}.{c}"
ranges = { a = "0-254", b = "0-255", c = "1-254" }
[[nodes]]
name = "m{node}"
address = "10.255.0.1 + {node}"
count = 10_000
[[derived]]
name = "gimli{b}"
address = "10.1.{b}.255"
"""
    naming = read(text.replace("10.255.0.1 + {node}", "10.255.0.1 - 10.255.39.16"))
    assert naming.node_count == 255 * 256 * 254 + 10_000
    budget = Budget(1000)
    assert prove(naming, budget=budget) == []
    assert naming.find("n16000000") == naming.find_number(16_000_000)


def test_what_cannot_be_proven_in_time_is_refused() -> None:
    """Strides that never meet but interleave for millions of steps are no proof, so they do not load."""
    text = BASE.replace("10.5.0.0/16", "10.0.0.0/8").replace("10.5.0.1", "10.255.0.1")
    text += (
        '[[nodes]]\nname = "a{i}j{j}"\naddress = "10.0.0.2 + 20*{i} + {j}"\nranges = { i = "0-700000", j = "0-1" }\n'
    )
    text += (
        '[[nodes]]\nname = "b{i}j{j}"\naddress = "10.0.0.0 + 15*{i} + {j}"\nranges = { i = "1-900000", j = "0-1" }\n'
    )
    (problem,) = problems_of(text)
    assert problem.option == "nodes[1].address"
    assert "it cannot be shown" in problem.text


def test_thousands_of_racks_of_unequal_size_are_no_burden() -> None:
    """The number of blocks may be large: comparisons grow with it, not with its square."""
    blocks = ",\n".join(f'{{ rack = "{rack}", slot = "1-{100 + rack % 100}" }}' for rack in range(2000))
    text = BASE.replace("10.5.0.0/16", "10.0.0.0/8").replace("10.5.0.1", "10.255.0.1")
    text += (
        f'[[nodes]]\nname = "r{{rack}}n{{slot}}"\naddress = "10.0.0.0 + 256*{{rack}} + {{slot}}"\nranges = [{blocks}]\n'
    )
    naming = read(text)
    budget = Budget(20_000)
    assert prove(naming, budget=budget) == []
    found = naming.find("r1999n199")
    assert found is not None
    assert found.number == naming.node_count - 1
