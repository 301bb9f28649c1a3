"""What a description says to the parts of one master, and that another one replaces it whole."""

from pathlib import Path

import pytest

from beonss.core.replication.publication import Published
from beonss.daemon.in_force import InForce, address_of
from beonss.daemon.replication.description import Described
from beonss.wire.description import parse

EXAMPLE = (Path(__file__).resolve().parents[2] / "examples/fellowship.toml").read_bytes()


def described(text: bytes, version: int = 1) -> Described:
    """Return a description as a master has it that read it from a file."""
    return Described(Published(text, version, "x.toml"), parse(text, "x.toml", version), "file")


@pytest.fixture
def in_force() -> InForce:
    """The Fellowship's, on frodo."""
    return InForce("frodo", described(EXAMPLE))


def test_a_master_finds_itself_or_not(in_force: InForce) -> None:
    assert str(address_of(in_force.spec)) == "10.5.0.1"
    stranger = InForce("sauron", described(EXAMPLE))
    assert (stranger.spec, address_of(stranger.spec)) == (None, None)


@pytest.mark.parametrize(
    ("source", "admitted"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.5.1.1", True),
        ("::ffff:10.5.1.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("gamgee", False),
    ],
)
def test_nodes_come_from_the_networks_of_the_description_or_from_here(
    in_force: InForce, source: str, admitted: bool
) -> None:
    assert in_force.admits_node(source) is admitted


def test_a_node_is_named_by_its_address(in_force: InForce) -> None:
    assert in_force.node_name("10.5.1.7") == "r01n07"
    assert [in_force.node_name(other) for other in ("192.0.2.1", "unix")] == ["192.0.2.1", "unix"]


def test_another_description_replaces_all_of_it(in_force: InForce) -> None:
    text = EXAMPLE + b"\n[accounts]\nuid_floor = 5000\n"
    in_force.take(described(text, 2))
    assert (in_force.rules().uid_floor, in_force.password_settings(3.0).uid_floor) == (5000, 5000)
    assert in_force.password_settings(3.0).boot_patience == 3.0
    content = in_force.content("c" * 32)
    assert (content.version, content.text, content.cluster) == (2, text, "c" * 32)
    assert content.digest == in_force.naming.digest
