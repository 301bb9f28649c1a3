"""What a master with zone files keeps for its next start: used if it is what would be computed, and else left alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from cluster import wait_until
from support.requires import missing

from beonss.daemon.dns.first_zones import compiled_zones
from beonss.daemon.dns.prepared import first_core
from beonss.daemon.settings import MasterSettings
from beonss.net.dns.native import why_pure

NAME = "extra.fellow.aero.org"


@pytest.fixture(scope="module")
def frodo(cluster, description):
    """Return a master that has run once with a zone file that includes another one."""
    if why_pure() is not None:
        missing("the compiled core", "gcc, make native")
    description.write_text(description.read_text() + '\n[dns]\nzone_files = ["static.zone"]\n')
    (description.parent / "static.zone").write_text("$INCLUDE more.zone\n")
    (description.parent / "more.zone").write_text("extra A 10.5.200.1\n")
    machine = cluster.add_master("frodo", "--dns-workers", "1")
    run(cluster, machine)
    return machine


def run(cluster, machine):
    """Start it, wait until it has kept its zones, and end it; return what it said of a name."""

    def starts():
        return machine.log.read_text().count("of Fellowship serves") if machine.log.exists() else 0

    before = starts()
    cluster.start(machine)
    wait_until(lambda: starts() > before, "all of it has started")
    answers = machine.ask(NAME).answers
    machine.stop()
    return answers


def begin(cluster, machine):
    """Return what the next start of it begins with."""
    state = machine.directory / "state"
    settings = MasterSettings(
        description=Path(cluster.description), name=None, state=state, runtime=state, nslcd=None, targets=None,
        boot_wait=1, dns=None, sync=(),
    )  # fmt: skip
    return first_core(settings), settings


def test_it_begins_with_what_it_kept_which_is_what_would_be_computed(cluster, frodo):
    found, settings = begin(cluster, frodo)
    assert len(found.of.digest) == 64
    assert [Path(path).name for path, _ in found.files.digests] == ["static.zone", "more.zone"]
    computed = compiled_zones(settings, None)
    assert computed == replace(found, of=computed.of, files=computed.files)


def test_after_a_change_of_an_included_file_it_computes_the_zones_anew(cluster, frodo):
    before, _ = begin(cluster, frodo)
    more = cluster.description.parent / "more.zone"
    more.write_text("extra A 10.5.200.2\nanother A 10.5.200.3\n")
    found, _ = begin(cluster, frodo)
    assert (found.of.digest, found.image == before.image) == ("", False)
    assert run(cluster, frodo) == ("A 10.5.200.2",)
    again, _ = begin(cluster, frodo)
    assert len(again.of.digest) == 64
    assert again.image == found.image
