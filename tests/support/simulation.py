"""A deterministic cluster of masters: the real database, the real rules, a simulated network, clocks and disasters.

One seed gives one run, always the same. Masters ask each other as over a network that delays, drops, repeats and
reorders; they crash, come back, are restored from old backups, installed anew and cloned; their clocks are wrong. After
every step what must hold at once is checked, and at the end, healed and quiet, what must hold then.
"""

import heapq
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from beonss.core import intents
from beonss.core.accounts import GONE, GroupEntry, Password, UserEntry
from beonss.core.incarnation import duplicates
from beonss.core.reconcile import Boot
from beonss.core.registers import Context, Key, Register
from beonss.core.replication import Acknowledged, Acknowledgements, Page, Pull, drifted
from beonss.core.view import AccountView
from beonss.daemon.accounts import Accounts
from beonss.errors import MalformedError, Refused, Unavailable
from beonss.store.database import Database
from beonss.store.writer import InlineWriter

T = TypeVar("T")
EPOCH_MS = 1_700_000_000_000
YEAR_MS = 365 * 86_400_000
#: What a usual clock may be off, in ms; one master in some runs is off by years.
USUAL_SKEW = 3_000
#: Seconds after which a half answer is adopted here (an hour in life), and a server answers though it has no news.
STALLED = 6.0
HEARTBEAT = 2.0


class InlineReactor:
    """Stands in for the reactor where nothing comes from a thread."""

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        callable(*args, **kwargs)


def now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that needs no waiting, and return what it returns."""
    results: list[Any] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert results, "the coroutine is waiting for something"
    return results[0]


@dataclass(eq=False)
class Master:
    name: str
    skew: int
    machine: str
    disk: Database
    up: bool = False
    #: counts the lives of the process: messages of another life are lost with its connections.
    life: int = 0
    accounts: Accounts = field(init=False)
    acks: Acknowledgements = field(init=False)
    boot: Boot = field(init=False)
    pulls: dict[str, tuple[int, Pull]] = field(default_factory=dict)
    waits: dict[str, Deferred[None]] = field(default_factory=dict)
    #: the last question of each asker that was answered: two answers to one question may not mix.
    heard: dict[str, int] = field(default_factory=dict)
    backup: Database | None = None


@dataclass(eq=False)
class Trouble:
    """What may happen in a run."""

    drop: float = 0.1
    repeat: float = 0.1
    partitions: bool = True
    crashes: bool = True
    restores: bool = False
    reinstalls: bool = False
    clones: bool = False
    rot: bool = False
    bad_clock: bool = False


class Simulation:
    def __init__(self, seed: int, masters: int, trouble: Trouble) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.time = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.quiet = False
        self.cut: set[frozenset[str]] = set()
        self.masters: dict[str, Master] = {}
        self.node = Database(":memory:", "c", scope="public")
        self.disks_lost = False
        #: for each register the highest acknowledged write that at least one surviving disk holds
        self.expected: dict[Key, Register] = {}
        self.written: dict[Key, list[tuple[str, Register]]] = {}
        self.numbers: dict[tuple[str, int], Key] = {}
        self.dead: dict[str, set[str]] = {}
        self.healed_fully = 0
        self.adopted = 0
        for number in range(masters):
            name = f"m{number}"
            skew = self.random.randint(-USUAL_SKEW, USUAL_SKEW)
            if trouble.bad_clock and number == 0:
                skew = self.random.choice([YEAR_MS, -YEAR_MS, 50 * YEAR_MS])
            self.masters[name] = Master(name, skew, f"machine-{name}", Database(":memory:", "c"))
        for master in self.masters.values():
            self.at(self.random.random(), lambda master=master: self.start(master))

    # --- time ---------------------------------------------------------------------------------------------------

    def at(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.time + delay, self._count, action))

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        while self._events and self._events[0][0] <= end:
            self.time, _, action = heapq.heappop(self._events)
            action()
        self.time = end

    def wall(self, master: Master) -> int:
        return EPOCH_MS + int(self.time * 1000) + master.skew

    # --- the life of a master -------------------------------------------------------------------------------------

    def start(self, master: Master) -> None:
        if master.up:
            return
        master.up = True
        master.life += 1
        master.pulls, master.waits, master.heard = {}, {}, {}
        master.accounts = Accounts(
            InlineReactor(),  # type: ignore[arg-type]
            InlineWriter(master.disk),
            clock=lambda: self.wall(master),
            new_incarnation=lambda: f"{self.random.getrandbits(128):032x}",
            machine=master.machine,
        )
        now(master.accounts.start())
        master.accounts.listen(lambda rows: self._check_view(master, rows))
        master.accounts._stalled.patience = STALLED
        master.acks = Acknowledgements(now(master.accounts.acknowledged()))
        others = [name for name in self.masters if name != master.name]
        master.boot = Boot(others, self.time)
        for name in others:
            self.ask(master, name, wait=False)
        life = master.life
        self.at(STALLED / 3, lambda: self._adopt(master, life))
        self.at(master.boot.deadline - self.time, lambda: self._boot_over(master, life))

    def _boot_over(self, master: Master, life: int) -> None:
        if master.up and master.life == life:
            master.boot.tick(self.time)
            self._settle(master)

    def _adopt(self, master: Master, life: int) -> None:
        if master.up and master.life == life:
            self.adopted += len(now(master.accounts.adopt_stalled(self.time)))
            self.at(STALLED / 3, lambda: self._adopt(master, life))

    def _settle(self, master: Master) -> None:
        if master.boot.outcome.state != "starting" and not master.accounts.settled:
            now(master.accounts.settle(master.boot.answers()))

    def crash(self, master: Master) -> None:
        """End the process: what is committed stays, connections and memory are gone."""
        if master.up:
            master.up = False
            master.life += 1
            for wait in list(master.waits.values()):
                wait.cancel()

    def come_back(self, master: Master) -> None:
        self.at(self.random.uniform(0.1, 8), lambda: self.start(master))

    def lose_disk(self, master: Master, disk: Database) -> None:
        """Put another disk in; what was only on the old one is lost, and nobody can be blamed for it."""
        self.crash(master)
        self.disks_lost = True
        master.disk = disk
        self.dead.pop(master.name, None)
        self._expect_what_survives()

    def _expect_what_survives(self) -> None:
        for key in list(self.expected):
            held = [found for other in self.masters.values() if (found := other.disk.register(key)) is not None]
            if held:
                best = max(held, key=lambda register: (register.stamp, register.value))
                if self.expected[key].beats(best):
                    self.expected[key] = best
            else:
                del self.expected[key]

    def copy(self, disk: Database) -> Database:
        copied = Database(":memory:", "c")
        disk._connection.backup(copied._connection)
        copied._vector = copied._read_vector()
        return copied

    # --- the network ----------------------------------------------------------------------------------------------

    def send(self, source: Master, target: Master, deliver: Callable[[], None]) -> None:
        lives = (source.life, target.life)

        def arrive() -> None:
            connected = source.up and target.up and (source.life, target.life) == lives
            if connected and frozenset((source.name, target.name)) not in self.cut:
                deliver()

        if not self.quiet and self.random.random() < self.trouble.drop:
            return
        slow = not self.quiet and self.random.random() < 0.1
        # In quiet times the network keeps the order, as a stream does; else long answers would never come through.
        self.at(0.01 if self.quiet else self.random.uniform(0.001, 1.5 if slow else 0.03), arrive)
        if not self.quiet and self.random.random() < self.trouble.repeat:
            self.at(self.random.uniform(0.001, 2.0), arrive)

    def ask(self, master: Master, peer: str, *, wait: bool, everything: bool = False) -> None:
        """Ask a peer; ask again when no page has come for a while."""
        if not master.up or peer not in self.masters:
            return
        self._count += 1
        nonce = self._count
        pull = Pull({} if everything else master.accounts.vector)
        master.pulls[peer] = (nonce, pull)
        server, incarnation = self.masters[peer], master.accounts.incarnation
        # What the asker holds is told from its vector, also when it wants everything again.
        held, life = dict(master.accounts.vector), master.life
        truth = self._contents(master.disk) if self._checks_acknowledgements else {}
        self.send(
            master,
            server,
            lambda: self._on_question(server, master, nonce, pull.question, held, incarnation, truth, wait=wait),
        )
        self.at(3.0, lambda: self._ask_again(master, life, peer, nonce, pull, pull.expected, wait=wait))

    def _ask_again(
        self, master: Master, life: int, peer: str, nonce: int, pull: Pull, seen: int, *, wait: bool
    ) -> None:
        if not master.up or master.life != life or master.pulls.get(peer, (0,))[0] != nonce:
            return
        if pull.expected == seen:
            self.ask(master, peer, wait=wait)
        else:
            self.at(3.0, lambda: self._ask_again(master, life, peer, nonce, pull, pull.expected, wait=wait))

    def _on_question(
        self,
        server: Master,
        asker: Master,
        nonce: int,
        question: Context,
        held: Context,
        incarnation: str,
        truth: dict[Key, Register],
        *,
        wait: bool,
    ) -> None:
        if server.heard.get(asker.name, 0) >= nonce:
            return
        server.heard[asker.name] = nonce
        if server.acks.asked(asker.name, incarnation, held):
            now(server.accounts.acknowledge(asker.name, Acknowledged(incarnation, held)))
        self._check_acknowledgement(server, held, truth)
        old = server.waits.pop(asker.name, None)
        if old is not None:
            old.cancel()
        if not wait:
            self._answer(server, asker, nonce, question, None)
            return
        waiting = server.accounts.changed_since(question)
        server.waits[asker.name] = waiting
        life = server.life
        self.at(HEARTBEAT, lambda: server.life == life and not waiting.called and waiting.callback(None))
        waiting.addCallbacks(
            lambda _: self._answer(server, asker, nonce, question, None),
            lambda failure: failure.trap(CancelledError) and None,
        )

    def _answer(self, server: Master, asker: Master, nonce: int, question: Context, more: object) -> None:
        page = now(server.accounts.page(question, more, limit=self.random.randint(1, 6)))
        state = now(server.accounts.digest())
        life, teller = server.life, server.accounts.incarnation
        self.send(server, asker, lambda: self._on_page(asker, server.name, nonce, page, state, teller))
        if page.more is not None:
            # The next page is read later: the registers change under the answer.
            self.at(
                self.random.uniform(0, 0.05),
                lambda: server.up and server.life == life and self._answer(server, asker, nonce, question, page.more),
            )

    def _on_page(
        self,
        master: Master,
        peer: str,
        nonce: int,
        page: Page,
        state: tuple[Context, bytes],
        teller: str,
    ) -> None:
        if duplicates((master.name, master.accounts.incarnation), [(peer, teller)]) and teller:
            master.accounts.halt("two live masters have one incarnation")
            self.masters[peer].accounts.halt("two live masters have one incarnation")
        current, pull = master.pulls.get(peer, (0, None))
        if pull is None or current != nonce:
            return
        try:
            if not pull.receive(page):
                return
        except MalformedError:
            self.ask(master, peer, wait=False)
            return
        before = {row.key: master.disk.register(row.key) for row in page.rows}
        for won in now(master.accounts.merge(page.rows, page.vector)):
            old = before[won.key]
            assert old is None or won.beats(old), "a register's stamp went down"
            before[won.key] = won
        if pull.done:
            assert page.vector is not None
            master.boot.answered(peer, page.vector, self.time)
            self._settle(master)
            mine = now(master.accounts.digest())
            everything = drifted(mine[0], mine[1], *state)
            self.healed_fully += everything
            self.ask(master, peer, wait=not everything, everything=everything)

    # --- people ---------------------------------------------------------------------------------------------------

    def act(self, on: Master | None = None) -> None:
        """Let somebody change something on some master that takes changes."""
        masters = self.masters.values() if on is None else [on]
        ready = [m for m in masters if m.up and m.boot.outcome.state != "starting"]
        if not ready:
            return
        master = self.random.choice(ready)
        view = master.accounts.view
        try:
            changes = self._intent(master, view)
            seen = {change.key: view.register(change.key) for change in changes}
            rows = now(master.accounts.write(changes, f"root@{master.name}"))
        except (Refused, Unavailable):
            return
        for row in rows:
            old = seen[row.key]
            assert old is None or (row.beats(old) and row.saw(old)), "a change lost to what its writer had seen"
            self._acknowledge(master, row)

    def _intent(self, master: Master, view: AccountView) -> list[Any]:
        pick = self.random
        name = f"u{pick.randint(0, 5)}"
        group = f"g{pick.randint(0, 1)}"
        wall = self.wall(master)
        action = pick.choice(
            ["create"] * 3
            + ["password"] * 5
            + ["lock", "unlock", "shell", "delete", "group", "member", "leave", "drop"]
        )
        if action == "create":
            number = pick.choice([view.next_uid(1000), 1000 + pick.randint(0, 3)])
            entry = UserEntry(name, number, 100, "", "/home", "/bin/sh")
            return intents.create_user(view, entry, wall, locked=pick.random() < 0.2)
        if action == "password":
            return intents.set_password(view, name, Password(f"$6${pick.getrandbits(40):x}", 20000))
        if action in {"lock", "unlock"}:
            return intents.set_lock(view, name, locked=action == "lock")
        if action == "shell":
            user = intents.find_user(view, name).entry
            entry = UserEntry(f"u{pick.randint(0, 5)}", user.uid, user.gid, "", user.home, f"/bin/{pick.randint(0, 9)}")
            return intents.modify_user(view, name, entry)
        if action == "delete":
            return intents.delete_user(view, name)
        if action == "group":
            return intents.create_group(view, GroupEntry(group, pick.choice([100, 101])), wall)
        if action == "drop":
            return intents.delete_group(view, group)
        return (intents.add_member if action == "member" else intents.remove_member)(view, group, name)

    def _acknowledge(self, master: Master, row: Register) -> None:
        known = self.expected.get(row.key)
        if known is None or row.beats(known):
            self.expected[row.key] = row
        self.written.setdefault(row.key, []).append((master.name, row))
        number = (row.stamp.origin, row.stamp.sequence)
        if not (self.trouble.restores or self.trouble.clones):
            assert number not in self.numbers, "one sequence number was given to two writes"
        self.numbers[number] = row.key

    # --- disasters ------------------------------------------------------------------------------------------------

    def misfortune(self) -> None:
        choices: list[Callable[[Master], None]] = []
        if self.trouble.partitions:
            choices += [self._partition] * 3
        if self.trouble.crashes:
            choices += [self._crash_and_return] * 3
        if self.trouble.restores:
            choices += [self._restore] * 4
        if self.trouble.reinstalls:
            choices += [self._reinstall]
        if self.trouble.clones and len(self.masters) < 8 and "clone" not in self.masters:
            choices += [self._clone] * 2
        if self.trouble.rot:
            choices += [self._lose_rows] * 2
        if choices:
            self.random.choice(choices)(self.random.choice(list(self.masters.values())))

    def _partition(self, master: Master) -> None:
        others = [name for name in self.masters if name != master.name]
        pairs = {frozenset((master.name, o)) for o in self.random.sample(others, self.random.randint(1, len(others)))}
        self.cut |= pairs
        self.at(self.random.uniform(0.5, 10), lambda: self.cut.difference_update(pairs))

    def _crash_and_return(self, master: Master) -> None:
        self.crash(master)
        self.come_back(master)

    def _back_up(self, master: Master) -> None:
        master.backup = self.copy(master.disk)

    def _restore(self, master: Master) -> None:
        """Go back to an old disk; at times nobody can be asked what is missing, and people change things at once."""
        if master.backup is None:
            self._back_up(master)
            return
        self.lose_disk(master, self.copy(master.backup))
        if self.random.random() < 0.7:
            pairs = {frozenset((master.name, other)) for other in self.masters if other != master.name}
            self.cut |= pairs
            self.at(9, lambda: self.cut.difference_update(pairs))
        self.start(master)
        for _ in range(8):
            self.at(self.random.uniform(5.1, 8.9), lambda: self.act(master))

    def _lose_rows(self, master: Master) -> None:
        """Let rows vanish silently from a disk, as no rule of ours could bring about."""
        objects = sorted({key.object for key in self.expected})
        if not objects:
            return
        victim = self.random.choice(objects)
        master.disk._connection.execute("DELETE FROM register WHERE object = ?", (victim,))
        master.disk.recount()
        self.disks_lost = True
        self.dead.pop(master.name, None)
        self._expect_what_survives()
        self.crash(master)
        self.come_back(master)

    def _reinstall(self, master: Master) -> None:
        self.lose_disk(master, Database(":memory:", "c"))
        self.come_back(master)

    def _clone(self, master: Master) -> None:
        """Start a second machine from a copy of the disk, machine id included; later somebody throws it away."""
        # The old one asks the new one only after its own restart; the new one asks all at once.
        clone = Master("clone", self.random.randint(-USUAL_SKEW, USUAL_SKEW), master.machine, self.copy(master.disk))
        self.masters["clone"] = clone
        self.start(clone)

        def remove() -> None:
            self.crash(clone)
            self.disks_lost = True
            self.masters.pop("clone", None)
            self._expect_what_survives()
            for other in self.masters.values():
                if other.up:
                    other.acks.forget("clone")
                    other.boot.members_changed([n for n in self.masters if n != other.name], self.time)
                    # The operator restarts the one that stays, once the clone is gone.
                    other.accounts.halt("")

        self.at(self.random.uniform(2, 10), remove)

    # --- what must hold at every step -------------------------------------------------------------------------------

    def _check_view(self, master: Master, rows: Any) -> None:
        dead = self.dead.setdefault(master.name, set())
        dead.update(row.key.object for row in rows if row.key.field == GONE)
        for identifier in dead:
            assert not master.accounts.view.alive(identifier), "something deleted came back"

    def _check_acknowledgement(self, server: Master, held: Context, truth: dict[Key, Register]) -> None:
        """Whatever the server no longer buffers for the asker was on the asker's disk when it said so."""
        if not self._checks_acknowledgements:
            return
        for batch in server.disk.registers():
            for register in batch:
                if held.get(register.stamp.origin, 0) >= register.stamp.sequence:
                    other = truth.get(register.key)
                    held_there = other is not None and not register.beats(other)
                    assert held_there, "left the buffer without being held"

    @property
    def _checks_acknowledgements(self) -> bool:
        # A disk that went back or lost rows holds less than it says until that is noticed.
        return not (self.trouble.clones or self.trouble.restores or self.trouble.reinstalls or self.trouble.rot)

    @staticmethod
    def _contents(disk: Database) -> dict[Key, Register]:
        return {register.key: register for batch in disk.registers() for register in batch}

    # --- a whole run ------------------------------------------------------------------------------------------------

    def live(self, seconds: float, actions: int, misfortunes: int) -> None:
        for _ in range(actions):
            self.at(self.random.uniform(1, seconds), self.act)
        for _ in range(8):
            self.at(self.random.uniform(1, seconds), self.feed_node)
        if self.trouble.restores:
            for master in self.random.sample(list(self.masters.values()), 2):
                self.at(self.random.uniform(2, 6), lambda master=master: self._back_up(master))
                self.at(self.random.uniform(9, seconds), lambda master=master: self._restore(master))
        for _ in range(misfortunes):
            self.at(self.random.uniform(1, seconds), self.misfortune)
        self.run(seconds)

    def heal(self, seconds: float = 30.0) -> float:
        """End all trouble; return after how many seconds all masters were equal."""
        if self.trouble.clones:
            self.run(10)  # until the clone is thrown away
        self.quiet = True
        self.cut.clear()
        for master in self.masters.values():
            self.start(master)
        began = self.time
        while self.time < began + seconds:
            self.run(0.25)
            if len({master.disk.digest() for master in self.masters.values()}) == 1:
                return self.time - began
        raise AssertionError(f"not equal {seconds} s after everything healed")

    def feed_node(self) -> None:
        """Let a node pull from a few masters, as nodes do, in small pages that may break off."""
        for master in self.random.sample(list(self.masters.values()), len(self.masters)):
            for page in master.disk.pages(self.node.vector(), public_only=True, limit=3):
                if not self.quiet and self.random.random() < 0.2:
                    break
                self.node.merge(page.rows, page.vector)

    def check(self) -> None:
        """Check what must hold once everything healed and is quiet."""
        first, *others = self.masters.values()
        final = self._contents(first.disk)
        for key, wanted in self.expected.items():
            held = final.get(key)
            assert held is not None, f"an acknowledged change of {key} was lost"
            assert held == wanted or held.beats(wanted), f"an acknowledged change of {key} was lost"
        reference = AccountView(final.values())
        for master in (first, *others):
            master.disk.recount()
            assert self._contents(master.disk) == final
            view = master.accounts.view
            assert sorted(view.users(), key=lambda u: u.id) == sorted(reference.users(), key=lambda u: u.id)
            assert sorted(view.groups(), key=lambda g: g.id) == sorted(reference.groups(), key=lambda g: g.id)
            assert view.conflicts() == reference.conflicts()
            for peer in (first, *others):
                if peer is not master:
                    assert master.disk.buffered(master.acks.vector(peer.name)).count == 0, "still buffered at the end"
        for key in self.expected:
            if key.field == GONE:
                assert not reference.alive(key.object), "something deleted came back"
        if not (self.trouble.rot or self.trouble.clones):
            assert self.healed_fully == 0, "two masters had equal vectors and unequal registers"
        if not self.disks_lost:
            self.feed_node()
            assert self.node.digest(public_only=True) == first.disk.digest(public_only=True)
        if self.trouble.bad_clock:
            self._check_bad_clock(final)

    def _check_bad_clock(self, final: dict[Key, Register]) -> None:
        latest = EPOCH_MS + int(self.time * 1000) + USUAL_SKEW + 1000
        for key, register in final.items():
            if register.stamp.time > latest:
                writers = {name for name, _ in self.written[key]}
                assert "m0" in writers, "a bad clock reached an account that was never changed on that master"
