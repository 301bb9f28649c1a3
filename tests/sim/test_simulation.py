"""Whole lives of clusters under every trouble at once, one seed each; `make sim SEEDS=n` runs more."""

from pathlib import Path

import pytest
from support.simulator.faults import deletions_are_forgotten
from support.simulator.lives import CONVERGENCE, KINDS, live
from support.simulator.shrinking import shrunk
from support.simulator.world import YEAR_MS, Trouble, World

from beonss.errors import StoreError

#: Lives of each kind in the default suite.
SEEDS = 15


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_through_trouble_end_equal_and_lose_nothing(kind: str, logged_errors) -> None:
    """The invariants of docs/explanation/what-holds.md hold through partitions, loss, crashes and lost disks."""
    for seed in range(SEEDS):
        try:
            live(kind, seed)
        except Exception as error:
            error.add_note(f"run it again: make sim KIND='{kind}' SEED={seed}")
            raise
        # A machine that dies in the middle of a write says so in its log; the world has judged that.
        logged_errors.flush(StoreError)
        if KINDS[kind].damage:
            # That commits were lost is an alarm, whenever that master starts until it writes.
            assert all("lost" in event for event in logged_errors.flush())


#: Lives that once went wrong: kind and seed.
ONCE_WRONG = (
    # Two accounts had to exchange their uids in the account files.
    ("everything", 5013),
    ("targets", 5018),
    # A master restored from before a removal believed the removed one, as long as it met nobody who knew.
    ("everything", 60114),
    # What a removed master took of another one, before it knew of either removal, went on.
    ("members", 80069),
    # Of several that had lost a name at once one was told to a target, and another one stood there.
    ("everything", 50004),
    # A process died between a commit and the delivery of those that it concerned without a row of their own.
    ("everything", 1),
    # A process died folding what it had committed.
    ("people", 20015),
    ("nodes", 11),
    # A removed master that nobody told fed its nodes on.
    ("nodes", 3),
    # A node learned first that two masters, apart, had given one name to two accounts.
    ("nodes", 340),
    # Half an answer of an only master that then lost it; an account that it lost, in the way of one that it has.
    ("one master", 1),
    ("one master", 34),
)


@pytest.mark.parametrize(("kind", "seed"), ONCE_WRONG)
def test_lives_that_once_went_wrong(kind: str, seed: int, logged_errors) -> None:
    """What the simulation found stays found; a seed may come to mean another life, which is one more then."""
    live(kind, seed)
    logged_errors.flush(StoreError)


def test_one_seed_is_one_life(logged_errors) -> None:
    """A failing seed can be run again: nothing in a run depends on anything but its seed."""

    def fate(seed: int) -> tuple[list[bytes], list[str]]:
        with World(seed, 3, KINDS["everything"]) as world:
            world.live(seconds=25, actions=60, misfortunes=6)
            world.heal()
            digests = [m.disk.database.digest() for m in world.machines.values() if m.disk.database]
            return digests, list(world.history)

    for seed in range(4):
        assert fate(seed) == fate(seed)
    logged_errors.flush(StoreError)


def test_a_world_leaves_nothing_behind() -> None:
    """Its directory, its descriptors and its place in the log are gone."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with World(1, 2, KINDS["targets"]) as world:
        world.live(seconds=10, actions=20, misfortunes=0)
        directory = world.directory
        assert directory.is_dir()
    assert not directory.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_a_failure_is_shrunk_to_fewer_events(monkeypatch: pytest.MonkeyPatch, logged_errors) -> None:
    """The program leaves out actions, misfortunes and masters as long as the life still fails."""
    kind = deletions_are_forgotten(monkeypatch)
    seed = next(seed for seed in range(40) if _fails(kind, seed))
    small = shrunk(kind, seed)
    assert small.actions < 60
    assert small.misfortunes < 6
    with pytest.raises(AssertionError, match="deleted came back"):
        small.live()
    logged_errors.flush()


def _fails(kind: str, seed: int) -> bool:
    try:
        live(kind, seed)
    except AssertionError:
        return True
    return False


def test_a_master_that_was_away_for_a_year_brings_nothing_back() -> None:
    """What was deleted or locked stays so, though it has changes of its own; the backlog for it is bounded."""
    calm = Trouble(drop=0, repeat=0, partitions=False, crashes=False, jumps=False)
    with World(11, 3, calm) as world:
        away = world.machines["m0"]
        world.live(seconds=20, actions=60, misfortunes=0)
        world.disasters.isolate(away, 10_000)
        for _ in range(5):  # its own last changes, which nobody has yet
            world.timeline.at(world.random.uniform(0, 2), lambda: world.people.act(away))
        world.run(3)
        away.stop()
        others = [machine for machine in world.machines.values() if machine is not away]
        for machine in world.machines.values():
            machine.skew += YEAR_MS
        for _ in range(600):
            world.timeline.at(world.random.uniform(0, 30), lambda: world.people.act(world.random.choice(others)))
        world.run(30)
        here = others[0]
        assert here.disk.database is not None
        waiting = here.disk.database.buffered(here.peers[away.name].acknowledged).count
        assert 0 < waiting <= len(world.contents(here))
        assert world.heal() <= CONVERGENCE
        world.run(5)
        world.checks.finally_()
