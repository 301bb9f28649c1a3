"""The simulation would notice: with a rule broken on purpose, some of a few seeds must fail."""

from collections.abc import Callable, Iterable

import pytest
from support.simulation import Simulation, Trouble

from beonss.core.incarnation import Verdict
from beonss.core.objects import AccountObject
from beonss.core.registers import Context, Register
from beonss.daemon import accounts
from beonss.store import database
from beonss.store.database import Database

#: What its checks say; any other failure would be the mutation breaking the simulation itself.
FINDINGS = "left the buffer|unequal registers|lost to what|deleted came back|was lost|not equal|went down"


def vectors_move_with_every_page(patch: pytest.MonkeyPatch) -> Trouble:
    """As if a page could be taken for the whole answer."""
    original = Database.merge

    def merge(self: Database, rows: Iterable[Register], vector: Context | None = None) -> list[Register]:
        rows = list(rows)
        if vector is None:
            vector = {row.stamp.origin: row.stamp.sequence for row in sorted(rows, key=lambda r: r.stamp.sequence)}
        return original(self, rows, vector)

    patch.setattr(Database, "merge", merge)
    return Trouble()


def stamps_are_the_wall_clock(patch: pytest.MonkeyPatch) -> Trouble:
    """As if the value that was seen did not matter."""
    patch.setattr(database, "next_time", lambda wall, _: wall)
    return Trouble(bad_clock=True)


def incarnations_are_always_kept(patch: pytest.MonkeyPatch) -> Trouble:
    """As if a restored disk were the disk it was."""
    patch.setattr(accounts, "judge", lambda incarnation, *_, **__: Verdict(incarnation is not None, ""))
    return Trouble(restores=True)


def deletions_are_forgotten(patch: pytest.MonkeyPatch) -> Trouble:
    """As if a creation written elsewhere could bring an account back."""
    patch.setattr(AccountObject, "live", property(lambda self: self.presence is not None))
    return Trouble()


@pytest.mark.parametrize(
    "broken",
    [
        vectors_move_with_every_page,
        stamps_are_the_wall_clock,
        incarnations_are_always_kept,
        deletions_are_forgotten,
    ],
)
def test_a_broken_rule_is_found(
    broken: Callable[[pytest.MonkeyPatch], Trouble], monkeypatch: pytest.MonkeyPatch, logged_errors
) -> None:
    trouble = broken(monkeypatch)

    def live(seed: int) -> None:
        cluster = Simulation(seed, 2 + seed % 4, trouble)
        cluster.live(seconds=25, actions=60, misfortunes=6)
        cluster.heal()
        cluster.run(5)
        cluster.check()

    with pytest.raises(AssertionError, match=FINDINGS):  # noqa: PT012 - whichever of them finds it
        for seed in range(40):
            live(seed)
    logged_errors.flush()
