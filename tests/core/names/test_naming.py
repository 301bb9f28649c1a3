"""The compiled naming of the example clusters: every question others ask of it."""

from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import Path

import pytest

from beonss.core.names.naming import Named, Naming
from beonss.wire.description import parse

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(name: str) -> Naming:
    return parse((EXAMPLES / name).read_bytes(), name)


@pytest.fixture(scope="module")
def fellowship() -> Naming:
    return example("fellowship.toml")


def test_fellowship_has_the_counts_of_the_paper(fellowship: Naming) -> None:
    """151 nodes: 8, 40, 39 and 64 of each processor; three core systems; a terminal server for each rack."""
    racks = [0] * 6
    for named in fellowship.nodes():
        racks[named.coordinates["rack"]] += 1
    assert racks == [0, 8, 40, 39, 32, 32]
    assert fellowship.node_count == 151
    assert [master.name for master in fellowship.masters] == ["frodo", "gamgee", "fellowship"]
    assert (fellowship.zone, fellowship.cluster) == ("fellow.aero.org", "Fellowship")
    assert fellowship.reverse_networks == (ip_network("10.5.0.0/16"),)
    gimlis = [named.name for named in fellowship.names() if named.kind == "derived"]
    assert gimlis == [f"gimli-r0{rack}" for rack in range(1, 6)]


def test_a_node(fellowship: Naming) -> None:
    named = fellowship.find("r01n07")
    assert named == Named(
        "r01n07", (), (ip_address("10.5.1.7"),), "node", 6, "r{rack:02}n{slot:02}", 25, None, {"rack": 1, "slot": 7}
    )
    assert fellowship.find_address(ip_address("10.5.1.7")) == named
    assert fellowship.find_number(6) == named
    assert fellowship.networks_of(6) == (named,)


def test_a_host_and_its_aliases(fellowship: Naming) -> None:
    frodo = fellowship.find("frodo")
    assert frodo is not None
    assert (frodo.kind, frodo.number, frodo.mac, frodo.rule) == ("host", None, "00:e0:81:05:00:01", "hosts.frodo")
    assert fellowship.find("nis") == frodo
    assert fellowship.find_mac("00:E0:81:5:0:1") == frodo
    assert fellowship.find_mac("0-E0-81-5-0-1") == frodo
    assert fellowship.find_mac("00:00:00:00:00:00") is None
    assert fellowship.find_mac("frodo") is None


@pytest.mark.parametrize(
    "spelling",
    ["r01n07", "R01N07", "r01n07.", "r01n07.fellow.aero.org", "R01n07.Fellow.AERO.org.", "r01N07.FELLOW.aero.org"],
)
def test_case_zone_and_final_dot_do_not_matter(fellowship: Naming, spelling: str) -> None:
    named = fellowship.find(spelling)
    assert named is not None
    assert named.name == "r01n07"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "r1n7",
        "r001n07",
        "r01n007",
        "r01n00",
        "r01n09",
        "r06n01",
        "r01n07x",
        "xr01n07",
        "r01n",
        "r#n#",
        "r01n07..",
        "a.r01n07.fellow.aero.org",
        "r01n07.aero.org",
        "fellow.aero.org",
        ".fellow.aero.org",
        "gimli-r6",
        "master",
        "self",
        "r\u0660\u0661n07",
        "r01n07\u0000",
        "\u212aamgee",
        "r" + "9" * 300,
        "r" + "9" * 100 + "n01",
    ],
)
def test_what_is_no_name(fellowship: Naming, name: str) -> None:
    """Other spellings of a number, other scripts' digits, and names outside the zone are not found."""
    assert fellowship.find(name) is None


def test_addresses_of_nothing(fellowship: Naming) -> None:
    for text in [
        "10.5.1.0",
        "10.5.1.9",
        "10.5.255.1",
        "10.6.1.7",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::ffff:10.5.1.7",
    ]:
        assert fellowship.find_address(ip_address(text)) is None


def test_numbers_outside(fellowship: Naming) -> None:
    for number in (-1, 151, 10**20):
        assert fellowship.find_number(number) is None
        assert fellowship.networks_of(number) == ()


def test_occupied_tells_empty_non_terminals_from_nothing(fellowship: Naming) -> None:
    def occupied(low: str, high: str) -> bool:
        return fellowship.occupied(ip_address(low), ip_address(high))

    assert occupied("10.0.0.0", "10.255.255.255")
    assert occupied("10.5.1.0", "10.5.1.255")
    assert occupied("10.5.0.0", "10.5.0.255")
    assert not occupied("10.5.6.0", "10.5.255.255")
    assert not occupied("10.5.1.9", "10.5.1.253")
    assert not occupied("11.0.0.0", "255.255.255.255")
    assert not occupied("::", "ffff::")


def test_masters_nearest_first() -> None:
    """The asker itself, then those in the closest network they share, else the order of preference."""
    text = (EXAMPLES / "fellowship.toml").read_text()
    text = text.replace('["10.5.0.0/16"]', '["10.5.0.0/16", "10.9.0.0/16"]').replace(
        '"10.5.0.3"', '["10.5.0.3", "10.9.0.3"]'
    )
    naming = parse(text.encode(), "x")

    def order(asker: str | None) -> list[str]:
        return [named.name for named in naming.master_order(ip_address(asker) if asker else None)]

    assert order(None) == ["frodo", "gamgee", "fellowship"]
    assert order("10.5.1.7") == ["frodo", "gamgee", "fellowship"]
    assert order("192.0.2.1") == ["frodo", "gamgee", "fellowship"]
    assert order("10.9.7.7") == ["fellowship", "frodo", "gamgee"]
    assert order("10.5.0.2") == ["gamgee", "frodo", "fellowship"]


def test_self_is_whoever_asks(fellowship: Naming) -> None:
    for address, name in [("10.5.1.7", "r01n07"), ("10.5.0.1", "frodo"), ("10.5.2.254", "gimli-r02")]:
        named = fellowship.self_name(ip_address(address))
        assert named is not None
        assert named.name == name
    assert fellowship.self_name(ip_address("127.0.0.1")) is None


def test_the_netgroup_holds_all_nodes_and_nothing_else(fellowship: Naming) -> None:
    members = fellowship.netgroups()["cluster"]
    assert len(members) == 151
    assert list(islice(members, 2)) == ["r01n01", "r01n02"]
    assert list(members) == list(members)
    assert "R01N07" in members
    assert "frodo" not in members
    assert "gimli-r01" not in members
    assert 3 not in members


def test_scyld_classic() -> None:
    """Numbers from 0 through an address range that crosses octets; a second network with names of its own."""
    naming = example("scyld.toml")
    assert naming.node_count == 384
    assert [str(naming.find(f"n{n}").addresses[0]) for n in (0, 255, 256, 383)] == [  # type: ignore[union-attr]
        "10.54.1.0",
        "10.54.1.255",
        "10.54.2.0",
        "10.54.2.127",
    ]
    other = naming.find("n256-ib")
    assert other is not None
    assert (other.name, other.number, other.network, str(other.addresses[0])) == ("n256-ib", 256, "ib", "10.54.102.0")
    assert naming.find_address(ip_address("10.54.102.0")) == other
    assert [named.name for named in naming.networks_of(256)] == ["n256", "n256-ib"]
    assert "n256-ib" not in naming.netgroups()["cluster"]
    for name in ("n384", "n-1", "n05", ".7"):
        assert naming.find(name) is None


def test_four_equal_machines() -> None:
    """Each is a node and a master; IPv6 beside IPv4."""
    naming = example("supercluster.toml")
    assert [master.name for master in naming.masters] == [named.name for named in naming.nodes()]
    named = naming.find_address(ip_address("2001:db8:90::3"))
    assert named is not None
    assert (named.name, named.addresses) == ("j90-3", (ip_address("192.0.2.93"), ip_address("2001:db8:90::3")))
    order = naming.master_order(ip_address("2001:db8:90::3"))
    assert [each.name for each in order] == ["j90-3", "j90-1", "j90-2", "j90-4"]


def test_aliases_by_number_run_over_all_rules() -> None:
    """The running number counts through rules and blocks in the order of the file, the leftmost coordinate slowest."""
    text = (EXAMPLES / "fellowship.toml").read_text()
    text = text.replace('address = "10.5.{rack}.{slot}"\n', 'address = "10.5.{rack}.{slot}"\naliases = ["n{node}"]\n')
    text += '\n[[nodes]]\nname = "fat{i}"\naliases = ["n{node}"]\naddress = "10.5.0.{i+100}"\nranges = { i = "1-3" }\n'
    naming = parse(text.encode(), "x")
    for number, name in [(0, "r01n01"), (7, "r01n08"), (8, "r02n01"), (150, "r05n32"), (151, "fat1"), (153, "fat3")]:
        named = naming.find(f"n{number}")
        assert named is not None
        assert (named.name, named.aliases, named.number) == (name, (f"n{number}",), number)
        assert naming.find_number(number) == named
    assert naming.find("n154") is None
