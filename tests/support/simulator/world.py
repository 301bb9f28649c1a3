"""A world: masters, their network, their people and their troubles; one seed is one history."""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from beonss.core.cluster.members import Roster
from beonss.core.replication.registers import Key, Register
from beonss.errors import StoreError
from beonss.wire.documents import read_roster
from support.simulator.checks import EPOCH_MS, USUAL_SKEW, Checks
from support.simulator.disasters import YEAR_MS, Disasters
from support.simulator.disks import Disk
from support.simulator.exchange import Exchange
from support.simulator.machine import Machine
from support.simulator.nodes import Node
from support.simulator.office import Office
from support.simulator.people import People
from support.simulator.timeline import Timeline

#: Writes and syncs of a disk after which a machine may die in worlds with power cuts, at most.
LONGEST_FUSE = 200
#: Share of worlds in which digests are counted slice by slice, with changes in between, and how many slices.
COUNTING, SLICES = 0.3, 80
#: Lines of history that a failure shows.
SHOWN = 25


@dataclass(frozen=True)
class Trouble:
    """What may happen in a world.

    Attributes:
        drop, repeat: shares of the messages.
        partitions: of single machines, both ways and one way.
        crashes: processes killed between two events.
        power: machines that die in the middle of a write or sync of their database, killed or without power.
        jumps: clocks that are stepped.
        restores, reinstalls, clones, rot: what happens to disks.
        damage: of single bits in the file of commits.
        joins: masters that join and are removed.
        bad_clock: the first master's clock is off by years.
        people: passwords are changed and verified as by cpasswd and PAM.
        targets: each master delivers to account files, which fail at times.
        nodes: how many memorize what the masters have, and are cut off, killed and without power at times.
        alone: there is one master and will be no other.
    """

    drop: float = 0.1
    repeat: float = 0.1
    partitions: bool = True
    crashes: bool = True
    power: bool = False
    jumps: bool = True
    restores: bool = False
    reinstalls: bool = False
    clones: bool = False
    rot: bool = False
    damage: bool = False
    joins: bool = False
    bad_clock: bool = False
    people: bool = False
    targets: bool = False
    nodes: int = 0
    alone: bool = False


class Log:
    """The daemons' log: failures are kept to be raised, lines to be looked through."""

    def __init__(self, *, keep_lines: bool) -> None:
        self.lines: list[str] = []
        self.failures: list[Failure] = []
        self._keep_lines = keep_lines

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event (an ILogObserver)."""
        failure = event.get("log_failure")
        if failure is not None:
            self.failures.append(failure)
        if self._keep_lines:
            self.lines.append(formatEvent(event) + ("" if failure is None else failure.getTraceback()))


class World:
    """One world; a context manager, which leaves nothing behind.

    Args:
        seed: decides everything.
        masters: how many there are in the beginning.
        trouble: what may happen.

    Attributes:
        machines: the members of the cluster, by name.
        removed: machines that were removed from it and go on.
        quiet: the network is good and nothing goes wrong any more.
    """

    def __init__(self, seed: int, masters: int, trouble: Trouble) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.quiet = False
        self.timeline = Timeline()
        self.timeline.after = self._after
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(prefix="beonss-sim-", dir=memory if memory.is_dir() else None))
        self.log = Log(keep_lines=trouble.people)
        globalLogPublisher.addObserver(self.log)
        self.history: deque[str] = deque(maxlen=SHOWN)
        self.office = Office(self.random)
        self.checks = Checks(self)
        self.exchange = Exchange(self)
        self.people = People(self)
        self.disasters = Disasters(self)
        self.machines: dict[str, Machine] = {}
        self.removed: dict[str, Machine] = {}
        self.nodes = [Node(self, f"n{number}") for number in range(trouble.nodes)]
        for node in self.nodes:
            self.timeline.at(self.random.uniform(0, 3), node.start)
        self._failed: list[BaseException] = []
        # Its own: whoever counts nothing lives as before.
        self._counting = Random(f"counting {seed}")
        members = [(f"m{number}", self.office.new_key()) for number in range(masters)]
        self.office.found(members)
        for name, key in members:
            skew = self.random.randint(-USUAL_SKEW, USUAL_SKEW)
            if trouble.bad_clock and name == "m0":
                skew = self.random.choice([YEAR_MS, -YEAR_MS, 50 * YEAR_MS])
            machine = self.machines[name] = Machine(
                self,
                name,
                key=key,
                skew=skew,
                machine_id=f"machine-{name}",
                disk=Disk(self.directory, name, self.random),
                roster=self.office.roster,
            )
            self.timeline.at(self.random.random(), lambda machine=machine: self.start(machine))

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        globalLogPublisher.removeObserver(self.log)
        for machine in [*self.all_machines(), *self.nodes]:
            machine.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        if error is not None:
            error.add_note("what happened last:\n  " + "\n  ".join(self.history))

    # --- time ---

    def wall_ms(self) -> int:
        """Return the true time, ms since the epoch."""
        return EPOCH_MS + int(self.timeline.now * 1000)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run(seconds)

    def failed(self, failure: Failure) -> None:
        """Take an error that came out of a Deferred."""
        self._failed.append(failure.value)

    def _after(self, error: BaseException | None) -> None:
        """Tell the errors of machines that just died from all others, which end the run."""
        died = [one for one in [*self.all_machines(), *self.nodes] if one.up and one.disk.dead]
        errors = [*([] if error is None else [error]), *self._failed, *(f.value for f in self.log.failures)]
        self._failed.clear()
        self.log.failures.clear()
        for one in errors:
            if not (died and isinstance(one, StoreError)):
                raise one
        for machine in died:
            self.note(f"{machine.name} dies in the middle of a write ({machine.disk.death})")
            machine.stop(machine.disk.death)
            if isinstance(machine, Node):
                self.timeline.at(self.random.uniform(0.1, 4), machine.start)
            else:
                self.disasters.come_back(machine)
        if self.removed:
            self.checks.removal_known()

    # --- history ---

    def note(self, text: str) -> None:
        """Remember what happened."""
        self.history.append(f"{self.timeline.now:8.3f} {text}")

    def note_and_do(self, action: Callable[[Machine], None], machine: Machine) -> None:
        """Let something happen to a machine, and remember it."""
        self.note(f"{action.__name__} {machine.name}")
        action(machine)

    # --- machines ---

    def all_machines(self) -> list[Machine]:
        """Return all that exist, the removed ones too."""
        return [*self.machines.values(), *self.removed.values()]

    def start(self, machine: Machine) -> None:
        """Start a machine's process, unless it runs or the machine is gone."""
        if machine in self.all_machines() and not machine.up:
            self.note(f"{machine.name} starts")
            machine.start()

    def arm(self, machine: Machine) -> None:
        """Let a machine that just started die in the middle of one of its next writes."""
        if self.trouble.power and not self.quiet:
            machine.disk.fuse = int(self.random.triangular(1, LONGEST_FUSE, 1))
            machine.disk.death = self.random.choice(["kill", "power"])

    def contents(self, machine: Machine) -> dict[Key, Register]:
        """Return all registers on a disk, also of a machine that is off."""
        database = machine.disk.database
        if machine.up and database is not None and not machine.disk.dead:
            # Asked for at every question: read again only after something was written.
            state = (machine.disk.life, database._connection.total_changes, database._unfolded.puts)
            if machine.seen is None or machine.seen[0] is not database or machine.seen[1] != state:
                machine.seen = (database, state, machine.disk.registers())
            return machine.seen[2]
        copied = machine.disk.copy(self.directory, f"{machine.disk.path.parent.name}-look")
        database = copied.open(self.office.cluster)
        found = {row.key: row for batch in database.registers() for row in batch}
        copied.stop("kill")
        return found

    def roster_on_disk(self, machine: Machine) -> Roster:
        """Return the member list that a machine holds."""
        return machine.membership.roster if machine.up else read_roster(machine.stored_roster, self.office.public)

    # --- a life ---

    def live(self, seconds: float, actions: int, misfortunes: int) -> None:
        """Let people change things while things go wrong."""
        for _ in range(actions):
            self.timeline.at(self.random.uniform(0, seconds), self.people.act)
        if self.trouble.restores:
            for machine in self.random.sample(list(self.machines.values()), min(2, len(self.machines))):
                self.timeline.at(self.random.uniform(2, 6), lambda machine=machine: self.disasters.back_up(machine))
                self.timeline.at(self.random.uniform(9, seconds), lambda m=machine: self._restore(m))
        for _ in range(SLICES if self._counting.random() < COUNTING else 0):
            self.timeline.at(self._counting.uniform(0, seconds), self._count_on)
        for _ in range(misfortunes):
            self.timeline.at(self.random.uniform(1, seconds), self.disasters.strike)
        self.run(seconds)

    def _count_on(self) -> None:
        """Count a slice of somebody's registers for the digests, as a daemon with many of them does between jobs."""
        one = self._counting.choice([*self.all_machines(), *self.nodes])
        if one.up and one.disk.database is not None:
            database, rows = one.disk.database, self._counting.randint(1, 5)
            if not database.counted:
                database.count_on(rows)
            right = database.recount_on(rows)[1]
            assert right or self.trouble.rot, "the digest kept is not that of the registers"

    def _restore(self, machine: Machine) -> None:
        if self.machines.get(machine.name) is machine:
            self.note_and_do(self.disasters.restore, machine)

    def heal(self, seconds: float = 30.0) -> float:
        """End all trouble; return after how many seconds all masters were equal."""
        if self.trouble.clones:
            self.run(10)  # until the clone is thrown away
        self.note("everything heals")
        self.quiet = True
        self.exchange.cut.clear()
        for machine in self.all_machines():
            machine.disk.fuse = None
            if machine.files is not None:
                machine.files.away, machine.files.kill_after = False, None
            self.start(machine)
        for node in self.nodes:
            node.disk.fuse = None
            node.start()
        self.disasters._publish()
        began = self.timeline.now
        while self.timeline.now < began + seconds:
            self.run(0.25)
            running = [machine for machine in self.machines.values() if machine.up]
            states = {(m.disk.database.digest(), m.membership.roster.digest) for m in running if m.disk.database}
            if len(running) == len(self.machines) and len(states) == 1:
                self.note("all are equal")
                return self.timeline.now - began
        raise AssertionError(f"not equal {seconds:g} s after everything healed")

    def settle_nodes(self, seconds: float) -> None:
        """Wait until all nodes hold what the masters hold."""
        end = self.timeline.now + seconds
        while self.timeline.now < end and not all(self.checks.node_is_right(node) for node in self.nodes):
            self.run(0.5)
        for node in self.nodes:
            assert self.checks.node_is_right(node), f"the node {node.name} is not equal to the masters"

    def settle_targets(self, seconds: float) -> None:
        """Wait until the targets have everything, doing what an administrator would be asked to do."""
        end = self.timeline.now + seconds
        while self.timeline.now < end:
            self.run(1)
            lanes = [m.deliveries for m in self.machines.values() if m.deliveries is not None]
            for lane in lanes:
                if any("would be taken out at once" in text for _, text in lane.state("files").stuck):
                    lane.reassert("files", None, shrink=True)
            if all(len(lane._lanes["files"].backlog) == 0 for lane in lanes):
                return
        for machine in self.machines.values():
            if machine.deliveries is not None:
                self.note(f"{machine.name}: {machine.deliveries.state('files')}")
        raise AssertionError(f"not delivered {seconds:g} s after everything healed")
