"""What a master makes before it loads the rest of itself: the process from which its DNS processes are forked.

This must be early, while there is one thread and nothing secret in memory, and light, since everything that is
imported here comes before the first answer.
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Final

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.dns.worker_channel import Channel, channel_pair
from beonss.net.dns.worker_forks import fork_off, serve_forks
from beonss.net.dns.worker_sockets import Place, close_places
from beonss.store.privileges import RunAs, give_up

#: Processes that are started if nobody says how many: no cluster needs more answers than so many give.
MOST_USUAL: Final = 8


def usual_workers() -> int:
    """Return how many DNS processes a master has if nobody says: one for each processor it may use, up to 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, MOST_USUAL))


@dataclass(slots=True)
class Prepared:
    """What is there already when the daemon begins to open its ports.

    Attributes:
        forks: a channel to a fork server.
        pid: its process id.
        endpoints: where sockets are bound.
        places: those sockets; None for none.
        early: a channel to the process that answers there until others do; None for none.
    """

    forks: Channel
    pid: int
    endpoints: tuple[Endpoint, ...] = ()
    places: list[Place] | None = None
    early: Channel | None = None

    def take_places(self, endpoints: tuple[Endpoint, ...], count: int) -> list[Place] | None:
        """Return the sockets if they are those that are wanted, and close them otherwise."""
        places, self.places = self.places, None
        if places is None or (self.endpoints == endpoints and len(places) == count):
            return places
        close_places(places)
        if self.early is not None:
            self.early.close()
            self.early = None
        return None


def prepare(run_as: RunAs | None, *, detached: bool) -> Prepared:
    """Fork the process that makes DNS processes.

    Args:
        run_as: the user that this process has become but for what opening ports needs; no child opens any.
        detached: the daemon goes into the background, so nothing must hold its terminal.
    """
    ours, its = channel_pair()

    def child() -> int:
        ours.close()
        _settle(run_as, detached=detached)
        return serve_forks(its)

    pid = fork_off(child)
    its.close()
    return Prepared(ours, pid)


def _settle(run_as: RunAs | None, *, detached: bool) -> None:
    """Give up, in a child, what only the daemon needs."""
    if run_as is not None:
        give_up(run_as)
    if detached:
        with contextlib.suppress(OSError), open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            for standard in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
                if standard is not None:
                    os.dup2(nothing.fileno(), standard.fileno())
