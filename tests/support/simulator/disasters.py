"""What goes wrong in a world, and what administrators do to it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from beonss.errors import BeonssError
from support.simulator.checks import USUAL_SKEW
from support.simulator.disks import Disk
from support.simulator.machine import Machine

if TYPE_CHECKING:
    from support.simulator.world import World

YEAR_MS = 365 * 86_400_000
MOST_MASTERS = 7


class Disasters:
    """Troubles of one world; which of them come is in :class:`~support.simulator.world.Trouble`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._count = 0

    def strike(self) -> None:
        """Let something go wrong."""
        trouble, machines = self._world.trouble, list(self._world.machines.values())
        choices: list[Callable[[Machine], None]] = []
        for kind, actions in (
            (trouble.partitions, [self.partition, self.partition, self.half_partition]),
            (trouble.crashes, [self.crash_and_return] * 3),
            (trouble.power, [self.cut_power] * 3),
            (trouble.jumps, [self.jump]),
            (trouble.restores, [self.restore] * 4),
            (trouble.reinstalls, [self.reinstall]),
            (trouble.joins, [self.join, self.remove]),
            (trouble.clones and "clone" not in self._world.machines, [self.clone] * 2),
            (trouble.rot, [self.lose_rows] * 2),
            (trouble.damage, [self.damage] * 12),
            (trouble.targets, [self.lose_target] * 3),
            (trouble.nodes, [self.trouble_a_node] * 4),
        ):
            if kind:
                choices += actions
        if choices and machines:
            self._world.note_and_do(self._world.random.choice(choices), self._world.random.choice(machines))

    # --- the network, processes, power, clocks ---

    def partition(self, machine: Machine) -> None:
        """Cut a machine off from some or all others for a while, both ways."""
        random, cut = self._world.random, self._world.exchange.cut
        others = [name for name in self._world.machines if name != machine.name]
        if not others:
            return
        chosen = random.sample(others, random.randint(1, len(others)))
        pairs = {(machine.name, other) for other in chosen} | {(other, machine.name) for other in chosen}
        cut |= pairs
        self._world.timeline.at(random.uniform(0.5, 10), lambda: cut.difference_update(pairs))

    def half_partition(self, machine: Machine) -> None:
        """Let nothing of a machine arrive, or nothing at it, while the other way works: half-open connections."""
        random, cut = self._world.random, self._world.exchange.cut
        others = [name for name in self._world.machines if name != machine.name]
        outwards = random.random() < 0.5
        pairs = {(machine.name, other) if outwards else (other, machine.name) for other in others}
        cut |= pairs
        self._world.timeline.at(random.uniform(0.5, 10), lambda: cut.difference_update(pairs))

    def trouble_a_node(self, _: Machine) -> None:
        """Kill a node, take its power, or cut it off from all masters for a while."""
        world = self._world
        node, how = world.random.choice(world.nodes), world.random.choice(["kill", "power", "cut"])
        if how == "cut":
            cut = world.exchange.cut
            pairs = {(node.name, name) for name in world.machines} | {(name, node.name) for name in world.machines}
            cut |= pairs
            world.timeline.at(world.random.uniform(0.5, 10), lambda: cut.difference_update(pairs))
            return
        node.stop("kill" if how == "kill" else "power")
        world.timeline.at(world.random.uniform(0.1, 4), node.start)

    def crash_and_return(self, machine: Machine) -> None:
        """Kill the process; it is started again."""
        machine.stop("kill")
        self.come_back(machine)

    def cut_power(self, machine: Machine) -> None:
        """Take the power away; the machine starts again."""
        machine.stop("power")
        self.come_back(machine)

    def come_back(self, machine: Machine) -> None:
        """Start a machine some time later."""
        self._world.timeline.at(self._world.random.uniform(0.1, 8), lambda: self._world.start(machine))

    def jump(self, machine: Machine) -> None:
        """Step a clock."""
        if self._world.trouble.bad_clock and machine.name == "m0":
            machine.skew = self._world.random.choice([YEAR_MS, -YEAR_MS, 50 * YEAR_MS, 0])
        else:
            machine.skew = self._world.random.randint(-USUAL_SKEW, USUAL_SKEW)

    # --- disks ---

    def back_up(self, machine: Machine) -> None:
        """Take a copy of the whole machine."""
        files = {} if machine.files is None else machine.files.snapshot()
        machine.backup = (self._copy(machine), machine.stored_roster, files)

    def restore(self, machine: Machine) -> None:
        """Go back to an old copy; at times nobody can be asked what is missing, and people change things at once."""
        world = self._world
        if machine.backup is None:
            self.back_up(machine)
            return
        machine.stop("kill")
        disk, machine.stored_roster, files = machine.backup
        if machine.files is not None and files:
            machine.files.set_back(files)
        machine.disk = disk.copy(world.directory, self._name(machine))
        world.checks.forget_disk(machine)
        world.checks.roster_set_back(machine)
        if world.random.random() < 0.7:
            self.isolate(machine, 9)
        world.start(machine)
        for _ in range(8):
            world.timeline.at(world.random.uniform(5.1, 8.9), lambda: world.people.act(machine))

    def isolate(self, machine: Machine, seconds: float) -> None:
        """Cut a machine off from all others."""
        cut = self._world.exchange.cut
        others = [name for name in self._world.machines if name != machine.name]
        pairs = {(machine.name, other) for other in others} | {(other, machine.name) for other in others}
        cut |= pairs
        self._world.timeline.at(seconds, lambda: cut.difference_update(pairs))

    def lose_rows(self, machine: Machine) -> None:
        """Let rows vanish silently from a disk, as no rule of ours could bring about."""
        world = self._world
        objects = sorted({key.object for key in world.checks.expected})
        if not objects or not machine.up:
            return
        assert machine.disk.database is not None
        victim = world.random.choice(objects)
        machine.disk.database.fold()
        machine.disk.database._connection.execute("DELETE FROM register WHERE object = ?", (victim,))
        machine.disk.database.recount()
        world.checks.forget_disk(machine)
        self.crash_and_return(machine)

    def damage(self, machine: Machine) -> None:
        """Change a bit in the file of commits, while there is something in it; then the process dies."""
        if not machine.is_booted():
            return
        assert machine.disk.database is not None
        machine.disk.database.fold_rows = 100
        for _ in range(self._world.random.randint(0, 20)):
            self._world.people.act(machine)
        if machine.disk.dead:
            return
        before = dict(self._world.contents(machine))
        keys = machine.disk.damage()
        machine.stop("kill")
        self._world.checks.damaged(machine, before, keys)
        self.come_back(machine)

    def clone(self, machine: Machine) -> None:
        """Start a second machine from a copy of the disk, machine id included; later somebody throws it away."""
        world = self._world
        clone = self._admit("clone", self._copy(machine), machine.machine_id)
        if clone is None:
            return

        def throw_away() -> None:
            clone.stop()
            world.machines.pop("clone", None)
            world.checks.forget_disk(clone)
            world.office.remove("clone")
            self._publish()
            for other in world.machines.values():
                if other.up:
                    # The operator restarts the one that stays, once the clone is gone.
                    other.accounts.halt("")

        world.timeline.at(world.random.uniform(2, 10), throw_away)

    # --- members ---

    def join(self, _: Machine) -> None:
        """Let a new master join."""
        if len(self._world.machines) < MOST_MASTERS:
            self._count += 1
            self._admit(f"j{self._count}", None, f"machine-j{self._count}")

    def remove(self, machine: Machine) -> None:
        """Remove a master from the member list; its process goes on and its users know nothing of it."""
        world = self._world
        if len(world.machines) < 3 or not any(m.up for m in world.machines.values() if m is not machine):
            return
        world.machines.pop(machine.name)
        world.removed[machine.name] = machine
        world.office.remove(machine.name)
        self._publish()
        world.checks.forget_disk(machine)
        for _ in range(10):
            world.timeline.at(world.random.uniform(0, 15), lambda: world.people.act(machine))

    def reinstall(self, machine: Machine) -> None:
        """Lose disk and key of a machine; it is removed and joins again, empty."""
        world = self._world
        if len(world.machines) < 2 or not any(m.up for m in world.machines.values() if m is not machine):
            return
        machine.stop("power")
        world.machines.pop(machine.name)
        world.checks.forget_disk(machine)
        world.office.remove(machine.name)
        self._publish()
        self._admit(machine.name, None, machine.machine_id, skew=machine.skew)

    def _admit(self, name: str, disk: Disk | None, machine_id: str, skew: int | None = None) -> Machine | None:
        world = self._world
        hosts = [machine for machine in world.machines.values() if machine.up]
        if not hosts:
            return None
        host = world.random.choice(hosts)
        key = world.office.new_key()
        acceptance = world.office.invite(name, key)
        host.membership.offer(world.office.roster.document, world.office.roster.acceptances.values())
        host.membership.admit(acceptance, host.wall())
        world.office.heard_of(acceptance)
        skew = world.random.randint(-USUAL_SKEW, USUAL_SKEW) if skew is None else skew
        self._count += 1
        machine = Machine(
            world,
            name,
            key=key,
            skew=skew,
            machine_id=machine_id,
            disk=disk or Disk(world.directory, f"{name}-{self._count}", world.random),
            roster=host.membership.roster,
        )
        world.machines[name] = machine
        world.start(machine)
        return machine

    def _publish(self) -> None:
        """Give the newest list to one master that runs; the others learn of it."""
        world = self._world
        hosts = [machine for machine in world.machines.values() if machine.up]
        if hosts:
            try:
                roster = world.office.roster
                world.random.choice(hosts).membership.offer(roster.document, roster.acceptances.values())
            except BeonssError:
                return

    # --- targets ---

    def lose_target(self, machine: Machine) -> None:
        """Let the files take nothing for a while, or kill the process between two of them."""
        files, random = machine.files, self._world.random
        if files is None:
            return
        if random.random() < 0.4:
            files.kill_after = random.randint(0, 3)
            return
        files.away = True

        def return_() -> None:
            files.away = False

        self._world.timeline.at(random.uniform(0.5, 6), return_)

    def _copy(self, machine: Machine) -> Disk:
        return machine.disk.copy(self._world.directory, self._name(machine))

    def _name(self, machine: Machine) -> str:
        self._count += 1
        return f"{machine.name}-copy-{self._count}"
