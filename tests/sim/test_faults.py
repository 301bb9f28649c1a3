"""The simulation would notice: with a rule broken on purpose, some of a few seeds must fail, and say why."""

from collections.abc import Callable

import pytest
from support.simulator.faults import FAULTS, Patch
from support.simulator.lives import live

#: Seeds within which a fault must be found.
PATIENCE = 200


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_broken_rule_is_found(fault: Callable[[Patch], str], monkeypatch: Patch, logged_errors) -> None:
    """Each fault of the list, one for each invariant at least, is found, and by a check that names it."""
    kind = fault(monkeypatch)
    try:
        with pytest.raises(AssertionError, match=FAULTS[fault]):  # noqa: PT012 - whichever of them finds it
            for seed in range(PATIENCE):
                live(kind, seed)
    finally:
        logged_errors.flush()


def test_every_invariant_has_a_fault() -> None:
    """Invariants 1 to 16 of docs/explanation/what-holds.md are each broken by some fault."""
    assert {int((fault.__doc__ or "").split(":")[0]) for fault in FAULTS} == set(range(1, 17))
