"""The description on a master: what it starts with, follows, refuses, publishes and never takes back."""

from pathlib import Path

import pytest
from support.fake_accounts import FakeAccounts, now
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from beonss.core.replication.publication import (
    DESCRIPTION,
    KEPT,
    SEED_TIME,
    SERIAL,
    Published,
    Serial,
    decode_published,
    decode_serial,
    encode_published,
    encode_serial,
)
from beonss.core.replication.registers import ABSENT, Register, Stamp
from beonss.daemon.replication import publication
from beonss.daemon.replication.description import first_description, prove
from beonss.daemon.replication.publication import Publication
from beonss.errors import ConfigurationError
from beonss.store.database import Database

THERE = "2" * 32


def text_of(host: int) -> bytes:
    """Return a description in which only the address of one host differs."""
    return (
        '[cluster]\nname = "X"\nzone = "x.example.org"\nnetworks = ["10.5.0.0/16"]\nmasters = ["frodo"]\n'
        f'[hosts]\nfrodo = "10.5.0.1"\nswitch = "10.5.0.{host}"\n'
    ).encode()


def row(text: bytes, version: int, time: int, key=DESCRIPTION) -> Register:
    """Return a description that another master published."""
    return Register(key, encode_published(Published(text, version, "x.toml")), Stamp(time, THERE, time), "root@gamgee")


class Accounts(FakeAccounts):
    """Registers in memory that can be written, and what lost."""

    def __init__(self):
        super().__init__()
        self.lost = []
        self.walls = []

    async def overruled(self):
        return self.lost

    async def write(self, changes, author, wall=None):
        self.walls.append(wall)
        return self.put_changes(changes, author=author)

    def arrive(self, *rows):
        """Merge rows of another master."""
        self.rows |= {each.key: each for each in rows}
        self.view.apply(rows)
        for listener in list(self._listeners):
            listener(rows)


class Machine:
    """A master's publication, with everything around it faked."""

    def __init__(self, tmp_path: Path, text: bytes = text_of(9), ready=lambda: succeed(None)) -> None:
        self.path = tmp_path / "cluster.toml"
        self.path.write_bytes(text)
        self.accounts = Accounts()
        self.taken = []
        self.refuses = ""
        database = Database(":memory:", "c" * 32, durable=False)
        first = first_description(database, self.path)
        database.close()
        self.clock = Clock()
        self.tries = 0
        self.publication = Publication(
            self.clock,
            accounts=self.accounts,
            name="frodo",
            first=first,
            path=self.path,
            check=lambda _: None,
            take=self.take,
            ready=ready,
        )

    def take(self, described):
        self.tries += 1
        if self.refuses and self.refuses.encode() in described.published.text:
            raise ConfigurationError("more.zone: cannot be read")
        self.taken.append(described.published.version)

    def start(self) -> "Machine":
        now(self.publication.start())
        return self

    @property
    def version(self) -> int:
        return self.publication.now.published.version


def test_a_cluster_without_a_description_gets_the_file_with_the_lowest_stamp(tmp_path):
    machine = Machine(tmp_path).start()
    assert decode_published(machine.accounts.rows[DESCRIPTION].value).text == text_of(9)
    assert machine.accounts.walls == [SEED_TIME]
    assert machine.publication.now.source == "cluster"
    assert machine.publication.alarms() == []


def test_nothing_is_written_before_the_others_were_asked(tmp_path):
    asked = Deferred()
    machine = Machine(tmp_path, ready=lambda: asked).start()
    machine.accounts.arrive(row(text_of(7), 5, 1000))
    assert machine.version == 5
    asked.callback(None)
    assert machine.accounts.walls == [], "and then there is one already"
    assert decode_published(machine.accounts.notes[KEPT]).version == 5


def test_what_arrives_is_followed_and_a_file_that_differs_is_told(tmp_path):
    machine = Machine(tmp_path).start()
    machine.accounts.arrive(row(text_of(7), 5, 1000))
    assert machine.version == 5
    assert machine.publication.file_state == "older", "it was in force here: no alarm"
    machine.path.write_bytes(text_of(8))
    machine.publication.reread()
    assert "beonss apply" in machine.publication.alarms()[0]
    machine.path.write_bytes(b"nonsense")
    machine.publication.reread()
    assert "has mistakes" in machine.publication.alarms()[0]
    machine.path.unlink()
    machine.publication.reread()
    assert machine.publication.alarms() == []
    assert machine.version == 5


def test_a_refused_description_is_proven_once_and_tried_again_ever_more_seldom(tmp_path, monkeypatch):
    """Its text gets no better by being read again; the zone files beside it may."""
    proofs = []
    monkeypatch.setattr(publication, "prove", lambda published: proofs.append(published.version) or prove(published))
    machine = Machine(tmp_path).start()
    machine.refuses = "10.5.0.7"
    machine.accounts.arrive(row(text_of(7), 5, 1000))
    assert "more.zone" in machine.publication.alarms()[0]
    machine.tries = 0
    for _ in range(360):
        machine.clock.advance(10)
    assert proofs == [1, 5], "its own, then that of the others"
    assert 10 <= machine.tries <= 20, "an hour"
    machine.refuses = ""
    machine.publication.reread()
    assert machine.version == 5
    assert machine.publication.alarms() == []


def test_a_text_that_this_version_cannot_accept_is_read_once(tmp_path, monkeypatch):
    proofs = []
    monkeypatch.setattr(publication, "prove", lambda published: proofs.append(published.version) or prove(published))
    machine = Machine(tmp_path).start()
    machine.accounts.arrive(row(b"[cluster]\nname = 7\n", 5, 1000))
    for _ in range(100):
        machine.clock.advance(10)
    assert proofs == [1, 5], "its own, then that of the others"
    assert "version 5" in machine.publication.alarms()[0]
    machine.accounts.arrive(row(text_of(7), 6, 2000))
    assert machine.version == 6
    assert machine.publication.alarms() == []


def test_a_winner_with_a_lower_number_counts_as_a_higher_one_everywhere(tmp_path):
    machine = Machine(tmp_path).start()
    machine.accounts.arrive(row(text_of(7), 7, 1000))
    machine.accounts.lost = [row(text_of(7), 7, 1000)]
    machine.accounts.arrive(row(text_of(8), 3, 2000))
    assert machine.version == 8
    serial = decode_serial(machine.accounts.rows[SERIAL].value)
    assert serial == Serial(Published(text_of(8), 3, "x.toml").digest, 8)
    assert "published at the same time" in machine.publication.alarms()[0]
    # One that never had the loser learns the number from that register.
    other = Machine(tmp_path).start()
    other.accounts.arrive(row(text_of(8), 3, 2000), Register(SERIAL, encode_serial(serial), Stamp(1, THERE, 9)))
    assert other.version == 8
    assert other.accounts.walls == [SEED_TIME], "it has nothing to add"


def test_a_serial_that_another_lowered_is_raised_again(tmp_path):
    machine = Machine(tmp_path).start()
    machine.accounts.arrive(row(text_of(7), 7, 1000))
    machine.accounts.arrive(row(text_of(8), 3, 2000))
    assert machine.version == 8
    digest = Published(text_of(8), 3, "x.toml").digest
    machine.accounts.arrive(Register(SERIAL, encode_serial(Serial(digest, 5)), Stamp(9000, THERE, 9)))
    assert machine.version == 8
    assert decode_serial(machine.accounts.rows[SERIAL].value).version == 8


@pytest.mark.parametrize("value", [b"nonsense", b'{"format": 2}', encode_published(Published(b"[cluster]", 6, "x"))])
def test_what_cannot_be_taken_is_an_alarm_and_the_old_one_stays(tmp_path, value):
    machine = Machine(tmp_path).start()
    machine.accounts.arrive(row(text_of(7), 5, 1000))
    machine.accounts.arrive(Register(DESCRIPTION, value, Stamp(2000, THERE, 2000), "root@gamgee"))
    assert machine.version == 5
    (alarm,) = machine.publication.alarms()
    assert "root@gamgee" in alarm
    assert "version 5 stays in force" in alarm
    machine.accounts.arrive(row(text_of(8), 7, 3000))
    assert (machine.version, machine.publication.alarms()) == (7, [])


def test_what_a_zone_file_keeps_from_being_taken_is_taken_when_that_is_mended(tmp_path):
    machine = Machine(tmp_path).start()
    machine.refuses = "10.5.0.7"
    machine.accounts.arrive(row(text_of(7), 5, 1000))
    assert machine.version == 1
    assert "more.zone" in machine.publication.alarms()[0]
    machine.refuses = ""
    machine.publication.follow()
    assert (machine.version, machine.publication.alarms()) == (5, [])


def test_what_is_published_is_proven_and_numbered_first(tmp_path):
    machine = Machine(tmp_path).start()
    published, naming, raised = machine.publication.checked(text_of(7), "x.toml")
    assert (published.version, naming.version, raised) == (2, 2, False)
    higher = text_of(7).replace(b'name = "X"', b'name = "X"\nversion = 40')
    published, _, raised = machine.publication.checked(higher, "x.toml")
    assert (published.version, raised) == (40, True)
    with pytest.raises(ConfigurationError, match=r"x\.toml"):
        machine.publication.checked(b"nonsense", "x.toml")
    stamp = machine.accounts.rows[DESCRIPTION].stamp
    now(machine.publication.publish(published, "root@frodo", stamp))
    assert machine.accounts.rows[DESCRIPTION].author == "root@frodo"


def test_a_full_disk_is_tried_again(tmp_path):
    machine = Machine(tmp_path)
    write, machine.accounts.write = machine.accounts.write, None

    async def full(*_args):
        raise ConfigurationError("no space left")

    machine.accounts.write = full
    machine.start()
    assert machine.publication.now.source == "file"
    machine.accounts.write = write
    machine.publication._looking.clock.advance(11)
    machine.accounts.arrive(machine.accounts.rows[DESCRIPTION])
    assert machine.publication.now.source == "cluster"
    machine.publication.stop()


class TestStart:
    """What a master begins with."""

    @pytest.fixture
    def database(self):
        """Return an empty database."""
        database = Database(":memory:", "c" * 32, durable=False)
        yield database
        database.close()

    def test_the_file_only_where_there_is_nothing_else(self, database, tmp_path):
        path = tmp_path / "cluster.toml"
        path.write_bytes(text_of(9))
        assert first_description(database, path).source == "file"
        database.put(KEPT, encode_published(Published(text_of(7), 4, "x")))
        first = first_description(database, path)
        assert (first.source, first.published.version) == ("kept", 4)
        database.merge([row(text_of(8), 6, 1000)])
        first = first_description(database, path)
        assert (first.source, first.published.version, first.naming.version) == ("cluster", 6, 6)

    def test_no_serial_goes_back_over_a_restart(self, database, tmp_path):
        database.put(KEPT, encode_published(Published(text_of(8), 9, "x")))
        database.merge([row(text_of(8), 6, 1000)])
        assert first_description(database, tmp_path / "none").published.version == 9
        database.put(KEPT, encode_published(Published(text_of(7), 9, "x")))
        assert first_description(database, tmp_path / "none").published.version == 10

    def test_one_that_is_refused_leaves_the_one_kept(self, database, tmp_path):
        database.merge([Register(DESCRIPTION, b'{"format": 2}', Stamp(1, THERE, 1))])
        with pytest.raises(ConfigurationError, match="no text"):
            first_description(database, tmp_path / "none")
        database.put(KEPT, encode_published(Published(text_of(7), 4, "x")))
        assert first_description(database, tmp_path / "none").source == "kept"

    def test_the_loser_of_two_is_kept_by_the_store(self, database):
        database.merge([row(text_of(7), 4, 1000)])
        other = Register(DESCRIPTION, encode_published(Published(text_of(8), 4, "x")), Stamp(2000, "3" * 32, 1))
        database.merge([other])
        (lost,) = database.overruled()
        assert decode_published(lost.value).text == text_of(7)
        assert prove(decode_published(lost.value)).version == 4
        assert database.register(DESCRIPTION).stamp != ABSENT
