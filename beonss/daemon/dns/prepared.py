"""What a master makes before it loads the rest of itself: the process from which its DNS processes are forked.

This must be early, while there is one thread and nothing secret in memory, and light, since everything that is
imported here comes before the first answer.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.replication.publication import DESCRIPTION, KEPT, SERIAL, Published
from beonss.daemon.replication.standing import foremost
from beonss.daemon.settings import MasterSettings
from beonss.errors import ConfigurationError, MalformedError, StoreError
from beonss.net.activation import GivenSocket
from beonss.net.dns.worker_channel import Channel, channel_pair
from beonss.net.dns.worker_early import answer_early, early_core
from beonss.net.dns.worker_forks import fork_off, serve_forks
from beonss.net.dns.worker_sockets import Place, bind_places, close_places
from beonss.store.firststart import MADE
from beonss.store.garbage import uncollected
from beonss.store.glimpse import glimpse
from beonss.store.kept_core import SERIALS, CoreOf, KeptCore, load_core, serials_digest
from beonss.store.privileges import RunAs, give_up

#: In the state directory: the database of registers.
DATABASE: Final = "accounts.db"
#: Processes that are started if nobody says how many: no cluster needs more answers than so many give.
MOST_USUAL: Final = 8
#: Seconds that the process that answers early has to let its sockets go.
PATIENCE: Final = 5.0


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
        early_pid: its process id.
    """

    forks: Channel
    pid: int
    endpoints: tuple[Endpoint, ...] = ()
    places: list[Place] | None = None
    early: Channel | None = None
    early_pid: int = 0

    def take_places(self, endpoints: tuple[Endpoint, ...], count: int) -> list[Place] | None:
        """Return the sockets if they are those that are wanted; otherwise close them, wherever they are open."""
        places, self.places = self.places, None
        if places is None or (self.endpoints == endpoints and len(places) == count):
            return places
        close_places(places)
        if self.early is not None:
            # Ports that it still had would be in use.
            self.early.finish(PATIENCE)
            self.early = None
            with contextlib.suppress(ChildProcessError):
                # Where twistd went into the background it is no child of ours.
                os.waitpid(self.early_pid, os.WNOHANG)
        return None


def prepare(
    settings: MasterSettings,
    run_as: RunAs | None,
    *,
    detached: bool,
    given: Sequence[GivenSocket] = (),
) -> Prepared:
    """Fork the process that makes DNS processes, and before it, if that can be, one that answers at once.

    Args:
        settings: the command line.
        run_as: the user that this process has become but for what opening ports needs; no child opens any.
        detached: the daemon goes into the background, so nothing must hold its terminal.
        given: sockets that were handed over: then nothing is answered early, for the system has queued what came.
    """
    core = None if given else first_core(settings)
    early = None if core is None else _answer_early(core, settings, run_as, detached=detached)
    ours, its = channel_pair()

    def child() -> int:
        ours.close()
        if early is not None:
            early.channel.close()
            close_places(early.places)
        for each in given:
            # Those for DNS come by their channel; the others are doors to accounts and passwords.
            each.socket.close()
        _settle(run_as, detached=detached)
        return serve_forks(its)

    pid = fork_off(child)
    its.close()
    prepared = Prepared(ours, pid)
    if early is not None:
        prepared.endpoints, prepared.places = early.endpoints, early.places
        prepared.early, prepared.early_pid = early.channel, early.pid
    return prepared


def first_core(settings: MasterSettings) -> KeptCore | None:
    """Return the compiled zones that this run begins with, None if they cannot be told so early.

    Args:
        settings: the command line.
    """
    database = settings.state / DATABASE
    first: Published | None = None
    try:
        if database.exists() or (settings.state / MADE).exists():
            seen = glimpse(database, (DESCRIPTION, SERIAL), (KEPT,))
            first = foremost(seen.find, seen.notes.get(KEPT))
        serials = serials_digest(settings.state / SERIALS)
    except (StoreError, MalformedError):
        # Whoever opens it in a moment says what is wrong.
        return None
    if first is not None:
        kept = kept_core(settings, CoreOf(first.digest, first.version, serials))
        if kept is not None:
            return kept
    with uncollected():
        from beonss.daemon.dns.first_zones import compiled_zones  # noqa: PLC0415 - a fifth of a second

        return compiled_zones(settings, first)


def kept_core(settings: MasterSettings, of: CoreOf) -> KeptCore | None:
    """Return the compiled zones of the last run, if they belong to this, and where they will be served."""
    core = load_core(settings.state)
    if core is None or core.of != of or not core.files.would_be_read(settings.description.parent):
        return None
    return core if settings.dns is None else replace(core, endpoints=settings.dns)


@dataclass(frozen=True, slots=True)
class _Early:
    channel: Channel
    endpoints: tuple[Endpoint, ...]
    places: list[Place]
    pid: int


def _answer_early(kept: KeptCore, settings: MasterSettings, run_as: RunAs | None, *, detached: bool) -> _Early | None:
    core = early_core(kept.image, kept.identity, kept.networks)
    if core is None:
        return None
    count = usual_workers() if settings.dns_workers is None else settings.dns_workers
    try:
        places = bind_places(kept.endpoints, count)
    except ConfigurationError:
        # Tried again, and told, when the daemon opens its ports.
        return None
    ours, its = channel_pair()

    def child() -> int:
        ours.close()
        _settle(run_as, detached=detached)
        return answer_early(its, core, places)

    pid = fork_off(child)
    its.close()
    return _Early(ours, kept.endpoints, places, pid)


def _settle(run_as: RunAs | None, *, detached: bool) -> None:
    """Give up, in a child, what only the daemon needs."""
    if run_as is not None:
        give_up(run_as)
    if detached:
        # What happens to the session of whoever started the daemon is nothing to its children either.
        os.setsid()
        with contextlib.suppress(OSError), open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            for standard in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
                if standard is not None:
                    os.dup2(nothing.fileno(), standard.fileno())
