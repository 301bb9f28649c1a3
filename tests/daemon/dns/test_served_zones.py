"""The zones of a master from file to answer: what is put in force, refused, remembered and announced."""

import pytest
from support.overlaid import STATIC, ZONE, write_cluster
from twisted.internet.task import Clock

from beonss.core.zones.records import RecordType, domain
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.dns.notify import Notifier
from beonss.daemon.dns.served_zones import SERIALS, ServedZones
from beonss.errors import ConfigurationError
from beonss.net.dns.server import DNSServer
from beonss.wire.description import parse

T = RecordType
TRANSFER = 'allow = ["192.0.2.1"]\nnotify = ["192.0.2.1"]\n'
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="


class Master:
    """The zones of a master and its server; a new one on the same directory is a restart."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.told = []
        monkeypatch.setattr(
            Notifier, "announce", lambda _, soas, targets, keys: self.told.append((list(soas), targets))
        )
        self.zones = ServedZones(
            Clock(), description=directory / "cluster.toml", state=directory, now=lambda: 0.0, new_id=lambda: 1
        )
        self.server = DNSServer(UnknownZones(), transfers=self.zones.transfers)

    def read(self, **options):
        path = write_cluster(self.directory, **{"transfer": TRANSFER} | options)
        return parse(path.read_bytes(), str(path))

    def load(self, *, settled=False, **options):
        return self.zones.load(self.read(**options), settled=settled)

    def take(self, loaded):
        self.zones.take(loaded, self.server)

    def serial(self, apex=ZONE):
        return self.server.zones.soa(domain(apex)).data.serial


@pytest.fixture
def start(tmp_path, monkeypatch):
    return lambda: Master(tmp_path, monkeypatch)


def test_loading_changes_nothing_and_taking_everything(start):
    master = start()
    loaded = master.load()
    assert isinstance(master.server.zones, UnknownZones)
    assert master.zones.changes(loaded)
    master.take(loaded)
    assert (master.serial(), master.serial(STATIC)) == (7, 2026112201)
    assert not master.zones.changes(master.load())
    assert [len(soas) for soas, _ in master.told] == [4]


def test_only_zones_whose_serial_rose_are_announced(start):
    master = start()
    master.take(master.load())
    master.take(master.load(serial=2026112202))
    soas, targets = master.told[-1]
    assert [soa.name for soa in soas] == [domain(STATIC)]
    assert [str(target) for target in targets] == ["192.0.2.1:53"]


def test_a_change_without_a_higher_serial_is_refused_and_nothing_changes(start):
    master = start()
    master.take(master.load())
    with pytest.raises(ConfigurationError, match=r"raise \[cluster\] version to 8 or more"):
        master.load(login="10.5.0.50")
    assert master.serial() == 7
    master.zones.refused = "why"
    assert "why" in master.zones.problems()[0]


def test_a_change_that_is_settled_gets_the_next_serial_and_an_alarm(start):
    """After a restart too, the serial is not lower than what secondaries have."""
    master = start()
    master.take(master.load())
    again = start()
    again.take(again.load(settled=True, login="10.5.0.50"))
    assert again.serial() == 8
    assert "is not higher than 7" in again.zones.problems()[0]
    third = start()
    third.take(third.load(settled=True, login="10.5.0.50"))
    assert third.serial() == 8


def test_a_changed_key_is_a_change(start, tmp_path):
    master = start()
    transfer = TRANSFER + 'key_files = ["keys"]\n'
    (tmp_path / "keys").write_text(f'key a {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    (tmp_path / "keys").chmod(0o600)
    master.take(master.load(transfer=transfer))
    assert not master.zones.changes(master.load(transfer=transfer))
    (tmp_path / "keys").write_text(f'key b {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    loaded = master.load(transfer=transfer)
    assert master.zones.changes(loaded)
    master.take(loaded)
    assert list(master.zones.transfers.keys) == [(b"b",)]


def test_the_catalog_lists_every_other_zone(start):
    master = start()
    master.take(master.load(transfer=TRANSFER + 'catalog = "catalog.invalid"\n'))
    apex = domain("catalog.invalid")
    edition = master.zones.transfers.current
    assert edition is not None
    listed = [record.data.target for record in edition.records(apex) if record.type == T.PTR]
    assert set(listed) == set(edition.zones.apexes) - {apex}
    assert len(listed) == 4


def test_serials_that_cannot_be_remembered_are_an_alarm_and_not_the_end(start, tmp_path):
    master = start()
    (tmp_path / SERIALS).mkdir()
    master.take(master.load())
    assert master.serial() == 7
    assert "cannot be remembered" in master.zones.problems()[0]
