"""Names elsewhere in a whole cluster: a node asks its masters, the masters ask unbound; DNS processes included."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from cluster import LoopbackCluster, Machine, wait_until
from support.upstreams import Upstream, nsd, unbound

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """Unbound with NSD behind it."""
    with contextlib.ExitStack() as stack:
        authority = stack.enter_context(nsd(tmp_path_factory.mktemp("nsd")))
        yield stack.enter_context(unbound(tmp_path_factory.mktemp("unbound"), authority.port))


def write(description: Path, version: int, forward: str) -> None:
    """Write the description anew, with a zone file that only masters can read."""
    text = description.read_text().partition("\n# forwarding")[0].replace("version  = 1\n", "")
    (description.parent / "more.zone").write_text("printer A 10.5.0.77\n")
    dns_part = f"""
# forwarding {version}
[dns]
zone_files = ["more.zone"]
records = "outside CNAME www.site.example."
"""
    description.write_text(text + dns_part + forward)


def upstream(port: int) -> str:
    return f'[dns.forward]\nupstreams = {{ address = "127.0.0.1", port = {port} }}\n'


@pytest.fixture(scope="module")
def running(cluster: LoopbackCluster, description: Path, resolver: Upstream) -> LoopbackCluster:
    """Return a master that answers in its own process, one with two processes for that, and a node that knows both."""
    write(description, 1, upstream(resolver.port))
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", "--dns-workers", "2")
    to = [word for machine in (gamgee, frodo) for word in ("--forward-to", f"127.0.0.1:{machine.dns[1]}")]
    node = cluster.add_node("r01n07", *to)
    cluster.start(gamgee, node)
    return cluster


def ask(machine: Machine, name: str, kind: str = "A", **options) -> dns.message.Message:
    return dns.query.udp(
        dns.message.make_query(name, kind, **options), *machine.dns[:1], port=machine.dns[1], timeout=20
    )


def addresses(reply: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset if rrset.rdtype == 1]


def test_every_door_resolves_names_elsewhere(running):
    for machine in running.everything():
        reply = ask(machine, "www.site.example")
        assert (addresses(reply), bool(reply.flags & dns.flags.RA)) == (["192.0.2.80"], True)
        assert addresses(ask(machine, f"outside.{ZONE}")) == ["192.0.2.80"]
        assert addresses(ask(machine, f"r01n07.{ZONE}")) == ["10.5.1.7"]
        assert ask(machine, "no.such.site.example").rcode() == dns.rcode.NXDOMAIN
        assert ask(machine, "printer").rcode() == dns.rcode.NXDOMAIN


def test_a_node_asks_for_what_only_masters_know(running):
    """Names in zone files, and denials that only who has those files can give."""
    node = running.nodes["r01n07"]
    assert addresses(ask(node, f"printer.{ZONE}")) == ["10.5.0.77"]
    assert ask(node, f"nosuch.{ZONE}").rcode() == dns.rcode.NXDOMAIN
    assert ask(node, f"printer.{ZONE}", flags=0).rcode() == dns.rcode.SERVFAIL


def test_a_node_goes_on_when_its_first_master_is_gone(running):
    node, gamgee = running.nodes["r01n07"], running.masters["gamgee"]
    gamgee.kill()
    assert addresses(ask(node, "mail.wild.site.example")) == ["192.0.2.81"]
    running.start(gamgee)


def test_the_status_tells(running):
    counted = running.status(running.nodes["r01n07"])["dns"]["fallback"]
    assert counted["asked"] > 0
    assert counted["upstreams"] == 2
    assert running.status(running.masters["frodo"])["dns"]["fallback"]["asked"] > 0


def test_other_upstreams_come_into_force_with_a_description(running, description, resolver):
    """First none at all, then the former ones again: everywhere, without a restart."""
    frodo = running.masters["frodo"]
    for version, text, code in ((2, "", dns.rcode.REFUSED), (3, upstream(resolver.port), dns.rcode.NOERROR)):
        write(description, version, text)
        running.run("beonss", "apply", str(description), "--yes", "--control", str(frodo.control))
        for machine in running.everything():
            wait_until(lambda at=machine, rcode=code: ask(at, "alias.site.example").rcode() == rcode, machine.name)
