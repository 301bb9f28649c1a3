"""Zones on their way to another process: what comes out answers what went in."""

import os
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from dns.rdatatype import from_text
from support.overlaid import questions, write_cluster

from beonss.core.zones.overlay_zone import described_zones
from beonss.core.zones.records import RecordClass, domain
from beonss.core.zones.transfer import Edition
from beonss.core.zones.zone import UnknownZones
from beonss.errors import ConfigurationError
from beonss.net.dns.worker_zones import WorkerZones, read_zones, write_zones
from beonss.store.zonefiles import load_overlay
from beonss.wire.description import parse
from beonss.wire.name_image import name_image

EXAMPLES = Path(__file__).parents[3] / "examples"


def passed(zones):
    descriptor = write_zones(zones)
    try:
        first, second = read_zones(descriptor), read_zones(descriptor)
    finally:
        os.close(descriptor)
    assert first.identity == second.identity
    return first


@pytest.mark.parametrize("name", ["fellowship", "scyld", "supercluster"])
def test_the_examples_arrive_whole(name):
    path = EXAMPLES / f"{name}.toml"
    zones = described_zones(parse(path.read_bytes(), str(path)))
    read = passed(WorkerZones(zones, b"me", ip_address("10.5.1.1"), (b"catalog", b"invalid")))
    assert (read.identity, read.here, read.catalog) == (b"me", ip_address("10.5.1.1"), (b"catalog", b"invalid"))
    assert name_image(read.zones) == name_image(zones)


def test_static_records_arrive_whole(tmp_path):
    path = write_cluster(tmp_path)
    naming = parse(path.read_bytes(), str(path))
    zones = Edition(naming, load_overlay(naming, tmp_path)).zones
    read = passed(WorkerZones(zones)).zones
    count = 0
    for name, rdtype in questions():
        asked = (domain(name), int(from_text(rdtype)), RecordClass.IN, ip_address("10.5.1.1"))
        assert read.answer(*asked) == zones.answer(*asked)
        count += 1
    assert count > 1000


def test_a_fallback_is_made_there():
    assert passed(WorkerZones(UnknownZones(), fallback=partial(int, "7"))).fallback() == 7
    assert isinstance(passed(WorkerZones(UnknownZones())).zones, UnknownZones)


def test_another_version_of_the_program_is_told_apart():
    descriptor = write_zones(WorkerZones(UnknownZones()))
    os.pwrite(descriptor, b"X", len(b"beonss zones "))
    with pytest.raises(ConfigurationError, match="restart the daemon"):
        read_zones(descriptor)
    os.close(descriptor)
