"""What is on the disk after a kill or a power cut at any write or sync of the database (support/simulator/disks.py)."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from support.simulator.disks import CommitsOnDisk, Disk

from beonss.core.replication.registers import Change, Key
from beonss.errors import StoreError
from beonss.store import local, opening

ORIGIN = "a" * 32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path, "disk", Random(1))
    yield disk
    disk.stop("kill")


def write_until_death(disk: Disk, seen: int) -> int:
    """Write until the machine dies; return the number of the last write that was acknowledged."""
    assert disk.database is not None
    while True:
        change = Change(Key(f"object{disk.random.randint(0, 20)}", "entry"), b"x" * 60)
        try:
            seen = disk.database.write([change], 0, "root", ORIGIN)[0].stamp.sequence
        except StoreError:
            assert disk.dead
            return seen


def live_and_die(disk: Disk, deaths: int) -> None:
    number = 0
    for _ in range(deaths):
        found = disk.open("c").known(ORIGIN)
        # One more may be there: written, and cut off before it was acknowledged.
        assert number <= found <= number + 1
        disk.fuse, disk.death = disk.random.randint(1, 40), disk.random.choice(["kill", "power"])
        number = write_until_death(disk, found)


def test_nothing_acknowledged_or_read_is_lost_by_a_death_at_any_step(disk: Disk) -> None:
    """What one process acknowledged, and what the next one found, survives every later kill and power cut."""
    live_and_die(disk, 250)


def test_what_a_killed_process_left_unflushed_is_flushed_before_anybody_reads_it(disk: Disk) -> None:
    """It would be told to peers as durable, and a power cut soon after the start would take it back."""
    lost = 0
    for _ in range(60):
        before = disk.open("c").known(ORIGIN)
        # Dies in the flush of a commit: all is written, nothing of it is safe.
        disk.fuse, disk.death = disk.random.randint(2, 14), "kill"
        acknowledged = write_until_death(disk, before)
        found = disk.open("c").known(ORIGIN)
        disk.stop("power")
        lost += found > acknowledged
        assert disk.open("c").known(ORIGIN) == found
    assert lost, "no death came between the writing and the flush"


@pytest.mark.parametrize("mode", ["OFF", "NORMAL"])
def test_the_disk_tells_a_store_that_does_not_flush(disk: Disk, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has teeth: with less than synchronous=FULL acknowledged writes are lost."""
    configured = opening.open_connection

    def careless(*args: object, **kwargs: object) -> object:
        connection = configured(*args, **kwargs)  # type: ignore[arg-type]
        connection.execute(f"PRAGMA synchronous = {mode}")
        return connection

    monkeypatch.setattr(local, "open_connection", careless)
    with pytest.raises((AssertionError, StoreError)):
        live_and_die(disk, 250)


def test_the_disk_tells_a_store_that_does_not_flush_its_commits(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the file beside the database."""
    monkeypatch.setattr(CommitsOnDisk, "flush", lambda self: None)
    with pytest.raises((AssertionError, StoreError)):
        live_and_die(disk, 250)
