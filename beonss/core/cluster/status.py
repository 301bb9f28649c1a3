"""What a master or node says of itself: one document for people (a table), for programs (JSON) and for tests.

The document is plain data (str, int, bool, None, lists, dicts). Times are seconds since the epoch, durations
seconds, clock skews milliseconds. Fields are added, never renamed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One master as this machine sees it.

    Attributes:
        this: it is the machine that speaks.
        reachable: whether a connection stands and answers.
        since: when it became reachable, or was lost; None if it was never seen.
        buffered: registers held here that it has not acknowledged; None if not known.
        clock_skew_ms: its clock minus ours.
        description_differs: it serves another cluster description.
        error: what the last try to reach it said.
    """

    name: str
    this: bool = False
    reachable: bool = False
    since: float | None = None
    buffered: int | None = None
    clock_skew_ms: int | None = None
    description_differs: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One delivery target: how much it still has to get, and why not yet."""

    name: str
    backlog: int
    since: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole document.

    Attributes:
        role: ``master`` or ``node``.
        boot: master: ``starting``, ``reconciled`` or ``partial``; node: ``empty``, ``memory`` or ``live``.
        missing: masters that did not answer at boot.
        master: node: the master it is connected to.
        memory_age: node: seconds since a live master proved the memory fresh; None if never.
        passwords: master: ``scheme`` that new ones are hashed with, and the one that the cluster ``wants``.
        listening: the addresses that DNS and the sync port are served on; each says ``door``, ``address``, ``port`` and
            ``state``, which is ``listening`` or ``waiting for the address``.
        alarms: what an administrator should look at, in words.
    """

    role: str
    name: str
    cluster: str
    software: str
    boot: str
    uptime: float
    incarnation: str = ""
    missing: Sequence[str] = ()
    master: str | None = None
    memory_age: float | None = None
    description: dict[str, Any] = field(default_factory=dict)
    members: Sequence[MemberStatus] = ()
    targets: Sequence[TargetStatus] = ()
    accounts: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, Any] = field(default_factory=dict)
    dns: dict[str, Any] = field(default_factory=dict)
    listening: Sequence[dict[str, Any]] = ()
    alarms: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def duration(seconds: float) -> str:
    """Write a duration as people say it: the two largest units."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])
