"""What NSS is told: computed hosts, accounts with guards, and "not known" kept apart from "no such"."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import FakeNamed, FakeNames, Rows, fellowship

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging
from beonss.core.accounts.lookup import Host, LocalNames, Lookups, Rules, Triple
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register, Stamp
from beonss.errors import Unavailable
from beonss.wire.description import parse


@pytest.fixture
def lookups():
    return Lookups(FakeNames(), AccountView(fellowship().rows), asker=IPv4Address("10.5.1.7"), rules=Rules(shadow=True))


def names(users):
    return sorted(user.entry.name for user in users)


def test_users_by_name_number_and_all(lookups):
    assert lookups.user("alice").entry.uid == 5001
    assert lookups.user_by_uid(5002).entry.name == "bob"
    assert lookups.user("nobody") is None
    assert names(lookups.users()) == ["alice", "bob", "carol"]


def test_accounts_below_the_floor_are_not_served(lookups):
    assert lookups.user("lowly") is None
    assert lookups.user_by_uid(500) is None
    assert lookups.group("wheelish") is None
    assert names(lookups.groups()) == ["chemistry", "users"]
    assert names(lookups.groups_of("alice")) == ["chemistry"]


def test_names_and_numbers_of_local_files_are_not_served(lookups):
    lookups.local = LocalNames([("alice", 1000), ("debian", 5003)], [("chem", 5100)])
    assert lookups.user("alice") is None
    assert lookups.user_by_uid(5001) is None
    assert lookups.user("carol") is None
    assert lookups.groups_of("alice") == ()
    assert names(lookups.users()) == ["bob"]
    assert lookups.group("chemistry") is None
    assert names(lookups.groups()) == ["users"]


def test_the_same_account_in_local_files_is_still_served(lookups):
    lookups.local = LocalNames([("alice", 5001)], [("users", 5000)])
    assert lookups.user("alice") is not None
    assert lookups.group_by_gid(5000) is not None


def test_what_is_kept_back_is_told_with_the_reason(lookups):
    lookups.local = LocalNames([("debian", 5003)], [("chem", 5100)])
    told = {(each.kind, each.name): each.reason for each in lookups.kept_back()}
    assert told.keys() == {("user", "lowly"), ("user", "carol"), ("group", "wheelish"), ("group", "chemistry")}
    assert "below 1000" in told["user", "lowly"]
    assert "/etc/passwd" in told["user", "carol"]
    assert "/etc/group" in told["group", "chemistry"]


def test_groups_of_a_user_that_is_not_served_are_none(lookups):
    assert lookups.groups_of("root") == ()
    assert lookups.groups_of("lowly") == ()


def test_an_empty_memory_is_unavailable_not_empty():
    lookups = Lookups(None, AccountView(), known=lambda: False)
    for ask in (
        lambda: lookups.user("alice"),
        lambda: lookups.user_by_uid(1),
        lookups.users,
        lambda: lookups.group("g"),
        lambda: lookups.group_by_gid(1),
        lookups.groups,
        lambda: lookups.groups_of("alice"),
        lambda: lookups.shadow("alice"),
        lambda: lookups.host("n0"),
        lambda: lookups.host_by_address(IPv4Address("10.5.1.7")),
        lookups.hosts,
        lambda: lookups.netgroup("cluster"),
        lookups.netgroups,
        lambda: lookups.ether("switch"),
        lookups.ethers,
        lambda: lookups.ether_by_address(bytes(6)),
    ):
        with pytest.raises(Unavailable):
            ask()


def test_shadow_has_the_ageing_as_it_was_said():
    """What ``beonss user age`` and ``expire`` write is what shadow(5) shows; an empty field where there is no limit."""
    view = AccountView(fellowship().rows)
    (change,) = intents.set_aging(view, "alice", Aging(minimum=1, maximum=90, warning=7, expires=20000))
    view.apply([Register(change.key, change.value, Stamp(1 << 40, "e" * 32, 1))])
    found = Lookups(None, view, rules=Rules(shadow=True)).shadow("alice")
    assert (found.minimum, found.maximum, found.warning, found.inactive, found.expires) == (1, 90, 7, None, 20000)


def test_shadow_shows_locks_and_never_an_empty_password():
    view = AccountView(fellowship().rows)
    lookups = Lookups(None, view, rules=Rules(shadow=True))
    assert lookups.shadow("alice").hash == "$6$salt$alicehash"
    assert lookups.shadow("bob").hash == "!$6$salt$bobhash"
    assert lookups.shadow("carol").hash == "*"
    assert lookups.shadow("nobody") is None
    assert len(list(lookups.shadows())) == 3
    lookups.rules = Rules(shadow=False)
    assert lookups.shadow("alice") is None
    assert list(lookups.shadows()) == []


R01N07 = Host("r01n07.fellow.aero.org", ("r01n07",), (IPv4Address("10.5.1.7"),))


@pytest.mark.parametrize(
    "name", ["r01n07", "R01N07", "r01n07.fellow.aero.org", "r01n07.Fellow.Aero.ORG.", "r01n07.fellow.aero.org."]
)
def test_a_node_by_its_names(lookups, name):
    assert lookups.host(name) == R01N07


@pytest.mark.parametrize("name", ["r01n07.", "r1n7", "r01n07.example.org", "", ".", ".07", ".-3", "n-3", ".99999"])
def test_other_spellings_are_no_host(lookups, name):
    assert lookups.host(name) is None


@pytest.mark.parametrize("name", ["self", "n-2", ".-2", "self.fellow.aero.org"])
def test_self_is_this_machine(lookups, name):
    assert lookups.host(name) == Host(R01N07.name, ("r01n07", "self"), R01N07.addresses)


def test_self_needs_to_know_where_it_is(lookups):
    lookups.asker = None
    with pytest.raises(Unavailable):
        lookups.host("self")
    lookups.asker = IPv4Address("192.0.2.1")
    assert lookups.host("self") is None


@pytest.mark.parametrize("name", ["master", "n-1", ".-1", "master.fellow.aero.org"])
def test_master_is_all_masters_in_order(lookups, name):
    wanted = (IPv4Address("10.5.0.1"), IPv6Address("fd00:5::1"), IPv4Address("10.5.0.2"))
    assert lookups.host(name) == Host("master.fellow.aero.org", ("master",), wanted)


def test_a_node_by_scylds_number(lookups):
    assert lookups.host(".6") == Host(R01N07.name, ("r01n07", ".6"), R01N07.addresses)


def test_an_alias(lookups):
    assert lookups.host("www").name == "frodo.fellow.aero.org"
    assert lookups.host("frodo").aliases == ("frodo", "www")


def test_addresses_answer_what_was_asked(lookups):
    assert lookups.host_by_address(IPv4Address("10.5.1.7")) == R01N07
    assert lookups.host_by_address(IPv6Address("fd00:5::1")).addresses == (IPv6Address("fd00:5::1"),)
    mapped = IPv6Address("::ffff:10.5.1.7")
    assert lookups.host_by_address(mapped) == Host(R01N07.name, R01N07.aliases, (mapped,))
    assert lookups.host_by_address(IPv4Address("192.0.2.1")) is None


def test_all_hosts(lookups):
    assert len(list(lookups.hosts())) == 83


def test_ethers(lookups):
    assert lookups.ether("switch").address == bytes([2, 0, 0, 0, 0, 9])
    assert lookups.ether("frodo") is None
    assert lookups.ether("nothing") is None
    assert lookups.ether_by_address(bytes([2, 0, 0, 0, 0, 9])).name == "switch"
    assert lookups.ether_by_address(bytes(6)) is None
    assert [ether.name for ether in lookups.ethers()] == ["switch"]


def test_the_cluster_netgroup_has_each_node_in_full_and_short(lookups):
    triples = lookups.netgroup("cluster")
    assert next(triples) == Triple("r01n01.fellow.aero.org")
    assert next(triples) == Triple("r01n01")
    assert len(list(triples)) == 158
    assert lookups.netgroup("other") is None
    assert list(lookups.netgroups()) == ["cluster"]


def test_letters_that_only_look_like_ours_are_not_ours(lookups):
    lookups.names.machines["kelvin"] = FakeNamed("kelvin", ())
    assert lookups.host("KELVIN") is not None
    assert lookups.host("\u212aelvin") is None


@given(st.text(max_size=40) | st.from_regex(r"[.n-]{0,3}[0-9]{0,12}(\.fellow\.aero\.org)?\.?", fullmatch=True))
def test_any_name_can_be_asked_for(name):
    lookups = Lookups(FakeNames(1, 3), AccountView(), asker=IPv4Address("10.5.1.1"))
    found = lookups.host(name)
    assert found is None or found.addresses
    lookups.user(name)
    lookups.ether(name)
    lookups.netgroup(name)


def test_a_description_without_masters_has_no_host_master(lookups):
    lookups.names.master_order = lambda asker: ()
    assert lookups.host("master") is None


@pytest.mark.parametrize("mac", ["nonsense", "00:00", "00:11:22:33:44:55:66"])
def test_what_is_no_ethernet_address_is_not_served(lookups, mac):
    lookups.names.machines["odd"] = FakeNamed("odd", (), mac=mac)
    assert lookups.ether("odd") is None


def test_enumerations_share_one_snapshot_until_something_changes(lookups):
    before, again = lookups.users(), lookups.users()
    snapshot = lookups.view._now
    next(before), next(again)
    rows = Rows()
    rows.user("dave", 5004)
    rows.group("late", 5200)
    groups = lookups.groups()
    lookups.view.apply(rows.rows)
    assert "dave" in names(lookups.users())
    assert lookups.view._now is not snapshot
    assert "dave" not in names(before)
    assert "late" not in names(groups)
    assert "late" in names(lookups.groups())


def test_a_change_of_accounts_is_seen_at_once(lookups):
    rows = Rows()
    rows.user("dave", 5004)
    lookups.view.apply(rows.rows)
    assert lookups.user("dave") is not None


class TestFellowship:
    """The same with the compiled description of the examples."""

    @pytest.fixture
    def compiled(self):
        path = Path(__file__).parents[3] / "examples" / "fellowship.toml"
        return Lookups(parse(path.read_bytes(), path.name), AccountView(), asker=IPv4Address("10.5.1.7"))

    def test_names_and_addresses_agree(self, compiled):
        node = compiled.host("r01n07")
        assert node == Host("r01n07.fellow.aero.org", ("r01n07",), (IPv4Address("10.5.1.7"),))
        assert compiled.host_by_address(IPv4Address("10.5.1.7")) == node
        assert compiled.host("self").name == node.name
        assert compiled.host(".0").addresses == (IPv4Address("10.5.1.1"),)
        assert compiled.host(".6").name == node.name
        for name in ("r1n7", "r01n07.", "r01n07.r01n07", ".06"):
            assert compiled.host(name) is None

    def test_all_hosts_are_found_by_what_they_are_called(self, compiled):
        hosts = list(compiled.hosts())
        assert len(hosts) > 151
        for host in hosts:
            assert compiled.host(host.name).addresses == host.addresses
            for alias in host.aliases:
                assert compiled.host(alias).name == host.name

    def test_the_cluster_is_a_netgroup_of_nodes(self, compiled):
        triples = list(compiled.netgroup("cluster"))
        assert len(triples) == 2 * compiled.names.node_count
        assert {triple.host for triple in triples} >= {"r01n07", "r01n07.fellow.aero.org"}
        assert "frodo" not in {triple.host for triple in triples}

    def test_the_masters_have_addresses(self, compiled):
        assert compiled.host("master").addresses

    def test_ethers_go_both_ways(self, compiled):
        for ether in compiled.ethers():
            assert compiled.ether(ether.name) == ether
            assert compiled.ether_by_address(ether.address) == ether


@pytest.mark.parametrize("floor", [0, 40, 5003, 5020, 6000])
def test_what_is_kept_back_of_many_is_found_without_looking_at_all(floor):
    """Both ways tell the same: through those that can be meant, and through all."""
    rows = Rows()
    for number in range(60):
        rows.user(f"u{number}", (30 if number < 9 else 5000) + number)
    view = AccountView(rows.rows)
    local = LocalNames([("u3", 33), ("u7", 90), ("root", 0), ("other", 5015), ("u20", 31)], [("g", 5003)])
    lookups = Lookups(None, view, local=local, rules=Rules(floor, floor))
    told = {(kept.name, kept.number, kept.reason) for kept in lookups.kept_back()}
    assert (local.user_count + floor < 60) == (floor < 55)
    expected = {
        (user.entry.name, user.entry.uid)
        for user in view.users()
        if user.entry.uid < floor or local.own_user(user.entry.name, user.entry.uid)
    }
    assert {(name, number) for name, number, _ in told} == expected
    assert len(expected) >= 4
