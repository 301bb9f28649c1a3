"""Whole lives of clusters under every trouble at once, one seed each; SIM_SEEDS=n runs n seeds of each kind."""

import os

import pytest
from support.simulation import YEAR_MS, Simulation, Trouble

SEEDS = int(os.environ.get("SIM_SEEDS", "0"))
SIZES = (2, 3, 2, 4, 3, 5, 2, 7, 3, 4)
#: Seconds within which all masters must be equal once everything healed (the drop of the last question included).
CONVERGENCE = 15.0

KINDS = {
    # kind: (trouble, seeds in the default suite)
    "network": (Trouble(drop=0.2, repeat=0.2, crashes=False), 15),
    "crashes": (Trouble(), 20),
    "bad clock": (Trouble(bad_clock=True), 12),
    "restored": (Trouble(restores=True), 20),
    "installed anew": (Trouble(reinstalls=True, restores=True), 8),
    "cloned": (Trouble(clones=True), 8),
    "rotten": (Trouble(rot=True), 8),
}


def lives() -> list[tuple[str, int]]:
    return [(kind, seed) for kind, (_, count) in KINDS.items() for seed in range(SEEDS or count)]


@pytest.mark.parametrize(("kind", "seed"), lives())
def test_a_cluster_through_trouble_ends_equal_and_loses_nothing(kind: str, seed: int) -> None:
    """Invariants 1-5, 7-10, 14 and 15 of the design hold through partitions, loss, crashes and lost disks."""
    trouble, _ = KINDS[kind]
    cluster = Simulation(seed, SIZES[seed % len(SIZES)], trouble)
    cluster.live(seconds=25, actions=60, misfortunes=6)
    took = cluster.heal()
    cluster.run(5)
    cluster.check()
    assert took <= CONVERGENCE


def test_one_seed_is_one_life() -> None:
    """A failing seed can be run again: nothing in a run depends on anything but its seed."""

    def fate() -> bytes:
        cluster = Simulation(7, 3, Trouble())
        cluster.live(seconds=15, actions=40, misfortunes=4)
        return b"".join(master.disk.digest() for master in cluster.masters.values())

    assert fate() == fate()


def test_a_master_that_was_away_for_a_year_brings_nothing_back() -> None:
    """What was deleted or locked stays so, though it has changes of its own; the backlog for it is bounded."""
    calm = Trouble(drop=0, repeat=0, partitions=False, crashes=False)
    cluster = Simulation(11, 3, calm)
    away = cluster.masters["m0"]
    cluster.live(seconds=20, actions=60, misfortunes=0)
    peers = [frozenset((away.name, other)) for other in cluster.masters if other != away.name]
    cluster.cut.update(peers)
    for _ in range(5):  # its own last changes, which nobody has yet
        cluster.at(cluster.random.uniform(0, 2), lambda: cluster.act(away))
    cluster.run(3)
    cluster.crash(away)
    others = [master for master in cluster.masters.values() if master is not away]
    for master in cluster.masters.values():
        master.skew += YEAR_MS
    for _ in range(600):
        cluster.at(cluster.random.uniform(0, 30), lambda: cluster.act(cluster.random.choice(others)))
    cluster.run(30)
    registers = sum(len(batch) for batch in others[0].disk.registers())
    assert 0 < others[0].disk.buffered(others[0].acks.vector(away.name)).count <= registers
    cluster.start(away)
    assert cluster.heal() <= CONVERGENCE
    cluster.run(5)
    cluster.check()
