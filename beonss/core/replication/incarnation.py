"""Whether a master may go on numbering its writes where it stopped, or has to begin a new life.

Sequence numbers are dense per incarnation and never given twice; a master restored from a backup, cloned or installed
anew would give numbers again that others have seen. So it keeps its incarnation only if everybody who could know better
was asked. (Others learned this the hard way: AD's USN rollback, 389-ds-base#6036.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from beonss.core.replication.registers import Context


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and, for the log, why."""

    keep: bool
    reason: str


def judge(
    incarnation: str | None,
    sequence: int,
    *,
    returned: int = 0,
    recorded_machine: str | None,
    machine: str,
    answers: Mapping[str, Context | None],
    lost: bool = False,
) -> Verdict:
    """Decide at start, before the first write, whether to keep the incarnation.

    Args:
        incarnation: the one on disk, None if there is none.
        sequence: the highest sequence number of it known here at the start.
        returned: the highest that came from others since; rows come before the vector that covers them.
        recorded_machine: the machine id that was stored with it.
        machine: this machine's id now (machine-id(5)).
        answers: for every other current member the vector it told, None where it did not answer.
        lost: whether commits that were durable here, and may have been told, cannot be read any more.
    """
    if incarnation is None:
        return Verdict(False, "this is its first start")
    if lost:
        # Also if no master knows their numbers: nodes may.
        return Verdict(False, "commits that were written here are lost")
    if recorded_machine != machine:
        return Verdict(False, "the state directory came from another machine (its machine id differs)")
    ahead = sorted(name for name, vector in answers.items() if (vector or {}).get(incarnation, 0) > sequence)
    if ahead:
        return Verdict(
            False, f"{', '.join(ahead)} know writes of it that are not here: this state was restored or cloned"
        )
    if returned > sequence:
        return Verdict(False, "writes of it came back that were not here: this state was restored or cloned")
    silent = sorted(name for name, vector in answers.items() if vector is None)
    if silent:
        return Verdict(False, f"{', '.join(silent)} did not answer and might know later writes of it")
    if not answers:
        # A lone master restored from a backup would give its nodes numbers that they have seen already.
        return Verdict(False, "there is no other master that could vouch for it")
    return Verdict(True, "every other master answered and none knows more of it")


def duplicates(mine: tuple[str, str], live: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the incarnations that more than one live machine claims: these machines must stop writing.

    Args:
        mine: this machine's name and incarnation.
        live: (name, incarnation) of each live connection, one per connection and peer; a peer that is connected in
            both directions counts once, so a clone under the *same* name must be passed under another, e.g. with its
            address.

    Returns:
        incarnation -> the names that claim it, sorted.
    """
    claims: dict[str, set[str]] = {}
    for name, incarnation in [mine, *live]:
        claims.setdefault(incarnation, set()).add(name)
    return {incarnation: tuple(sorted(names)) for incarnation, names in claims.items() if len(names) > 1}
