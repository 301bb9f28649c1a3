"""What must hold, at every step and at the end; and the ledger of what was acknowledged, which it is held against."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from beonss.core.accounts.entries import AGING, ENTRY, GONE, LOCK, MEMBER_PREFIX, PASSWORD, PRESENT, is_public
from beonss.core.accounts.view import AccountView
from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Key, Register
from support.simulator.machine import Machine
from support.simulator.nodes import Node

if TYPE_CHECKING:
    from support.simulator.world import World

EPOCH_MS = 1_700_000_000_000
#: All fields of an account but memberships.
FIELDS = frozenset({ENTRY, PASSWORD, AGING, LOCK, PRESENT, GONE})
#: What a usual clock may be off, in ms; one master in some runs is off by years.
USUAL_SKEW = 3_000


class Checks:
    """The checks of one world; each failure is an AssertionError whose text names what did not hold.

    Attributes:
        expected: for each register the highest acknowledged write that at least one surviving disk holds.
        disks_lost: whether some disk was lost or set back, so that not everything acknowledged need be there.
        secrets: passwords as people typed them.
        promised: all registers that anybody ever tried to write.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.expected: dict[Key, Register] = {}
        self.disks_lost = False
        self.secrets: set[bytes] = set()
        self.promised: set[Key] = set()
        self._writers: dict[Key, set[str]] = {}
        self._numbers: set[tuple[str, int]] = set()
        self._dead: dict[str, set[str]] = {}
        self._before: dict[Key, Register | None] = {}
        #: of removed masters, by incarnation, the last number that was known when all others knew of the removal
        self._last_words: dict[str, dict[str, int]] = {}

    # --- the ledger ---

    def attempted(self, machine: Machine, keys: Iterable[Key]) -> None:
        """Note that somebody tries to write: a machine that dies then may have it all the same."""
        for key in keys:
            self.promised.add(key)
            self._writers.setdefault(key, set()).add(machine.name)

    def written(self, machine: Machine, row: Register, seen: Register | None) -> None:
        """Note a change that was acknowledged to somebody who had seen a value."""
        assert seen is None or (row.beats(seen) and row.saw(seen)), "a change lost to what its writer had seen"
        known = self.expected.get(row.key)
        if (known is None or row.beats(known)) and machine.name not in self._world.removed:
            self.expected[row.key] = row
        number = (row.stamp.origin, row.stamp.sequence)
        trouble = self._world.trouble
        if not (trouble.restores or trouble.clones or trouble.damage):
            assert number not in self._numbers, "one sequence number was given to two writes"
        self._numbers.add(number)

    def expect_what_survives(self) -> None:
        """After a disk was lost: nobody can be blamed for what was only on it."""
        best: dict[Key, Register] = {}
        for machine in self._world.machines.values():
            for row in self._world.contents(machine).values():
                if row.key not in best or row.beats(best[row.key]):
                    best[row.key] = row
        for key, wanted in list(self.expected.items()):
            if key not in best:
                del self.expected[key]
            elif wanted.beats(best[key]):
                self.expected[key] = best[key]

    def forget_disk(self, machine: Machine) -> None:
        """Note that a machine's disk is lost or set back."""
        self.disks_lost = True
        self._dead.pop(machine.name, None)
        self.expect_what_survives()

    def damaged(self, machine: Machine, before: Mapping[Key, Register], hit: set[Key]) -> None:
        """Check that damage to one commit takes nothing but what was in it.

        Args:
            machine: whose file of commits was changed; it is off.
            before: what it held.
            hit: whose registers were in that commit.
        """
        after = self._world.contents(machine)
        for key, row in before.items():
            assert key in hit or after.get(key) == row, "damage to one commit took another"
        if hit:
            self.forget_disk(machine)

    def roster_set_back(self, machine: Machine) -> None:
        """Note that a machine has an old member list again: it believes whom that names until it meets another."""
        roster = self._world.roster_on_disk(machine)
        for name in list(self._last_words):
            if not roster.is_former(self._world.removed[name].key):
                del self._last_words[name]

    # --- at every step ---

    def committed(self, machine: Machine, rows: Sequence[Register]) -> None:
        """Check the view of a master after a commit."""
        mine = machine.accounts.incarnation
        if any(row.stamp.origin == mine for row in rows):
            machine.incarnations.add(mine)
        dead = self._dead.setdefault(machine.name, set())
        dead.update(row.key.object for row in rows if row.key.field == GONE)
        for identifier in dead:
            assert not machine.accounts.view.alive(identifier), "something deleted came back"

    def truth(self, machine: Machine) -> dict[Key, Register]:
        """Return what a disk holds at the moment of a question."""
        return self._world.contents(machine) if self._checks_acknowledgements else {}

    @property
    def _checks_acknowledgements(self) -> bool:
        # A disk that rots, or two machines that number alike, hold something else than their vectors say.
        return not (self._world.trouble.rot or self._world.trouble.clones)

    def acknowledged(self, server: Machine, asker: Machine, truth: dict[Key, Register]) -> None:
        """Whatever the server no longer buffers for the asker was on the asker's disk when it said so."""
        if not self._checks_acknowledgements or asker.name not in server.peers:
            return
        held = server.peers[asker.name].acknowledged or {}
        for register in self._world.contents(server).values():
            if held.get(register.stamp.origin, 0) >= register.stamp.sequence:
                other = truth.get(register.key)
                held_there = other is not None and not register.beats(other)
                assert held_there, "left the buffer without being held"

    def sent(self, page: Page) -> None:
        """No message between masters holds what somebody typed."""
        for row in page.rows:
            self._look_for_secrets(row.value, "a message between masters")

    def merging(self, machine: Machine, page: Page) -> None:
        """Note what a disk holds before a page is merged."""
        assert machine.disk.database is not None
        self._before = {row.key: machine.disk.database.register(row.key) for row in page.rows}

    def merged(self, machine: Machine, page: Page, won: Iterable[Register]) -> None:
        """Check what a page changed."""
        for row in won:
            old = self._before[row.key]
            assert old is None or row.beats(old), "a register's stamp went down"
            self._before[row.key] = row
        assert machine.disk.database is not None
        if machine.disk.dead:
            # It died after the commit, folding it into the tables: the next process reads what stands there.
            return
        for key, old in self._before.items():
            held = machine.disk.database.register(key)
            went_down = held is None or (old is not None and old.beats(held))
            assert not went_down, "a register's stamp went down"

    def removal_known(self) -> None:
        """Once all remaining masters know of a removal, nothing new of the removed one may appear."""
        world = self._world
        if world.removed.keys() <= self._last_words.keys():
            return
        rosters = [world.roster_on_disk(other) for other in world.machines.values()]
        # Removed, and believed by somebody: what they took of another one while they knew of nothing goes on.
        heard = [
            other for other in world.removed.values() if not all(roster.is_former(other.key) for roster in rosters)
        ]
        rosters += [world.roster_on_disk(other) for other in heard]
        for name, machine in world.removed.items():
            if name in self._last_words or not all(roster.is_former(machine.key) for roster in rosters):
                continue
            last = self._last_words[name] = dict.fromkeys(machine.incarnations, 0)
            for other in [*world.machines.values(), *heard]:
                for row in world.contents(other).values():
                    if row.stamp.origin in last:
                        last[row.stamp.origin] = max(last[row.stamp.origin], row.stamp.sequence)

    def node_is_right(self, node: Node) -> bool:
        """Say whether a node holds what the masters hold, of what is public.

        Where disks were lost it may hold more, and newer (docs/decisions/0027): but not of an only master.
        """
        world = self._world
        master = next(iter(world.machines.values()))
        wanted = {key: row for key, row in world.contents(master).items() if is_public(key.field)}
        held = node.contents()
        if len(world.machines) == 1 and not any(key.field == PRESENT for key in wanted):
            # A master that knows nobody is not believed.
            return True
        if not self.disks_lost or len(world.machines) == 1:
            return held == wanted
        return all(key in held and (held[key] == row or held[key].beats(row)) for key, row in wanted.items())

    # --- at the end ---

    def finally_(self) -> None:
        """Check what must hold once everything healed and is quiet."""
        world = self._world
        first, *others = world.machines.values()
        final = world.contents(first)
        self._check_removed(final)
        for key, wanted in self.expected.items():
            held = final.get(key)
            assert held is not None, f"an acknowledged change of {key} was lost"
            assert held == wanted or held.beats(wanted), f"an acknowledged change of {key} was lost"
        reference = AccountView(final.values())
        for machine in (first, *others):
            assert world.contents(machine) == final, "not equal: registers"
            database = machine.disk.database
            assert database is not None
            assert database.recount() or world.trouble.rot, "the digest kept is not that of the registers"
            view = machine.accounts.view
            wrong = "the view is not that of the registers"
            assert sorted(view.users(), key=lambda u: u.id) == sorted(reference.users(), key=lambda u: u.id), wrong
            assert sorted(view.groups(), key=lambda g: g.id) == sorted(reference.groups(), key=lambda g: g.id), wrong
            assert view.conflicts() == reference.conflicts(), wrong
            for peer in machine.peers.values():
                held = database.buffered(peer.acknowledged or {}).count == 0
                assert held or peer.name not in world.machines, "still buffered at the end"
            # State, not a log: so no backlog is longer than accounts times fields, however often they change.
            fields = {key.field for key in final if not key.field.startswith(MEMBER_PREFIX)}
            assert fields <= FIELDS, "the backlog is not bounded: values are kept that were overwritten"
            assert final.keys() <= self.promised, "there are registers that nobody wrote"
            if machine.files is not None:
                machine.files.check(view)
        for key in self.expected:
            if key.field == GONE:
                assert not reference.alive(key.object), "something deleted came back"
        if not (world.trouble.rot or world.trouble.clones):
            assert world.exchange.healed == 0, "two masters had equal vectors and unequal registers"
        self._check_clocks(final)
        self._check_secrets()

    def _check_clocks(self, final: dict[Key, Register]) -> None:
        """A bad clock reaches only what was changed on its master."""
        if not self._world.trouble.bad_clock:
            return
        latest = EPOCH_MS + int(self._world.timeline.now * 1000) + USUAL_SKEW + 1000
        for key, register in final.items():
            if register.stamp.time > latest:
                assert "m0" in self._writers.get(key, ()), "a bad clock reached what was never changed on that master"

    def _check_removed(self, final: dict[Key, Register]) -> None:
        for name, last in self._last_words.items():
            for row in final.values():
                if row.stamp.origin in self._world.removed[name].incarnations:
                    assert row.stamp.sequence <= last.get(row.stamp.origin, 0), "a removed master wrote"

    def _check_secrets(self) -> None:
        if not self.secrets:
            return
        world = self._world
        for machine in world.machines.values():
            self._look_for_secrets(machine.disk.bytes(), "the database or its WAL")
            if machine.audit.exists():
                self._look_for_secrets(machine.audit.read_bytes(), "the audit log")
            if machine.files is not None:
                self._look_for_secrets(machine.files.bytes(), "the account files or the journal")
        self._look_for_secrets("\n".join(world.log.lines).encode("utf-8", "replace"), "the log")

    def _look_for_secrets(self, data: bytes, where: str) -> None:
        for secret in self.secrets:
            assert secret not in data, f"a password stands in plain in {where}"
