"""A master whose address in the description changes while it runs: what it says, and what a restart does."""

import shutil
import tempfile
from pathlib import Path

import pytest
from cluster import ROOT
from support.netns import net_cluster

ZONE = "fellow.aero.org"
OLD, NEW = "10.5.0.1", "10.5.0.20"


@pytest.fixture(scope="module")
def cluster():
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    description = directory / "cluster.toml"
    shutil.copy(ROOT / "examples" / "fellowship.toml", description)
    try:
        with net_cluster(directory, description, ZONE, "frodo") as made:
            yield made
    finally:
        shutil.rmtree(directory)


def alarms(cluster):
    return [alarm for alarm in cluster.status(cluster.masters["frodo"])["alarms"] if "DNS is answered" in alarm]


def test_a_new_address_is_told_when_it_is_applied_and_until_the_restart(cluster):
    frodo, host = cluster.masters["frodo"], cluster.network.hosts["frodo"]
    assert alarms(cluster) == []
    host.ip("address", "add", f"{NEW}/16", "dev", "eth0")
    text = cluster.description.read_text()
    moved = cluster.directory / "moved.toml"
    moved.write_text(text.replace(f'"{OLD}"', f'"{NEW}"'))
    done = cluster.run("beonss", "apply", str(moved), "--yes", "--control", str(frodo.control))
    assert f"warning: frodo answers DNS on {NEW} only after it was restarted" in done.stdout
    assert "gamgee answers" not in done.stdout
    assert alarms(cluster) == [
        f"DNS is answered on {NEW}, as the description has it now, after a restart",
        f"DNS is answered on {OLD}, which the description has no more, until a restart",
    ]
    assert frodo.log.read_text().count(f"DNS is answered on {NEW}") == 1
    frodo.stop()
    frodo.dns = (NEW, 53)
    cluster.start(frodo)
    assert frodo.ask(f"frodo.{ZONE}").answers == (f"A {NEW}",)
    assert alarms(cluster) == []
