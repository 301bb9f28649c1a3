"""One master: a machine with a disk, and on it a process made of the daemon's own parts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from beonss.core.cluster.members import Roster
from beonss.core.replication.pulling import Acknowledged, Pull
from beonss.core.replication.registers import Context, Key, Register
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.daemon.replication.acknowledgements import Acknowledgements
from beonss.daemon.replication.booting import Booting
from beonss.daemon.replication.membership import Membership
from beonss.daemon.replication.peers import PeerBook
from beonss.daemon.targets.deliveries import Deliveries
from beonss.errors import StoreError
from beonss.net.pull_turns import PullTurns
from beonss.store.audit import AuditLog
from beonss.store.database import Database
from beonss.store.writer import InlineWriter
from beonss.wire.documents import read_roster, write_roster
from beonss.wire.sync import Hello
from support.simulator.disks import Death, Disk
from support.simulator.inline import InlineHashing, now
from support.simulator.targets import FlakyFiles
from support.simulator.timeline import ProcessClock

if TYPE_CHECKING:
    from support.simulator.world import World

#: Seconds after which a half answer is adopted here (an hour in life).
STALLED = 6.0
#: The cheapest that the scheme allows: a simulation hashes thousands.
CHEAP_HASHES = PasswordSettings(scheme="sha256crypt", cost=5000, patience=2.0)


class Machine:
    """One master.

    Args:
        world: where it stands.
        name: in the member list.
        key: its public key; nothing is signed with it here.
        skew: of its clock, ms.
        machine_id: machine-id(5).
        disk: its database.
        roster: the member list that it holds; kept on its disk, of which the model is a file written as a whole.

    Attributes:
        up: whether its process runs.
        life: counts the processes: messages of another life are lost with its connections.
        turns: whom it asks first.
        calls: by peer, the number of the last connection to it.
        pulls: by peer, the number of the last question and its answer.
        waits: by asker, the question that waits here.
        heard: by asker, the last question answered: two answers to one question may not mix.
    """

    accounts: Accounts
    acknowledgements: Acknowledgements
    book: PeerBook
    booting: Booting
    membership: Membership
    turns: PullTurns
    passwords: Passwords | None
    deliveries: Deliveries | None

    def __init__(
        self, world: "World", name: str, *, key: bytes, skew: int, machine_id: str, disk: Disk, roster: Roster
    ) -> None:
        self.world = world
        self.name = name
        self.key = key
        self.skew = skew
        self.machine_id = machine_id
        self.disk = disk
        self.stored_roster = write_roster(roster)
        self.up = False
        self.life = 0
        self.backup: tuple[Disk, bytes, dict[str, tuple[bytes, int]]] | None = None
        self.calls: dict[str, int] = {}
        self.pulls: dict[str, tuple[int, Pull]] = {}
        self.waits: dict[str, Deferred[None]] = {}
        self.heard: dict[str, int] = {}
        #: every incarnation that ever wrote here
        self.incarnations: set[str] = set()
        self.files: FlakyFiles | None = None
        #: what the checks last read from the database, and when
        self.seen: tuple[Database, tuple[int, int, int], dict[Key, Register]] | None = None
        self.audit: Path = world.directory / f"audit-{name}-{key.hex()[:6]}.jsonl"
        self._pulled: list[Callable[[str, Context], None]] = []
        self._told: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        return f"Machine({self.name})"

    # --- its clock ---

    def wall_ms(self) -> int:
        """Return what its clock shows, ms since the epoch."""
        return self.world.wall_ms() + self.skew

    def wall(self) -> float:
        """Return what its clock shows, seconds since the epoch."""
        return self.wall_ms() / 1000

    # --- its process ---

    def start(self) -> None:
        """Start the daemon, unless it runs."""
        if self.up:
            return
        world = self.world
        self.life += 1
        life = self.life
        self.calls, self.pulls, self.waits, self.heard = {}, {}, {}, {}
        self._pulled, self._told = [], []
        database = self.disk.open(world.office.cluster)
        self.up = True
        world.arm(self)
        clock = ProcessClock(world.timeline, lambda: self.up and self.life == life)
        self.accounts = Accounts(
            clock,  # type: ignore[arg-type]
            InlineWriter(database),
            clock=self.wall_ms,
            new_incarnation=lambda: f"{world.random.getrandbits(128):032x}",
            machine=self.machine_id,
        )
        self.turns = PullTurns(clock)
        now(self.accounts.start())
        self.accounts._stalled.patience = STALLED
        self.accounts.listen(lambda rows: world.checks.committed(self, rows))
        self.membership = Membership(read_roster(self.stored_roster, world.office.public), self._keep_roster)
        self.book = PeerBook(self.wall, lambda: self.accounts.incarnation, lambda: "", clock.seconds)
        self.acknowledgements = Acknowledgements(clock, self.accounts)
        now(self.acknowledgements.start())
        self._follow_members(self.membership.roster, call=False)
        self.membership.listen(self._follow_members)
        self.booting = Booting(
            clock, name=self.name, pulls=self, membership=self.membership, accounts=self.accounts, patience=5.0
        )
        self.booting.start()
        self._start_targets(clock)
        self._start_passwords(clock)
        world.timeline.at(STALLED / 3, lambda: self._adopt(life))
        others = list(self.peers)
        for name in world.random.sample(others, len(others)):
            world.exchange.call(self, name)

    def _start_targets(self, clock: ProcessClock) -> None:
        self.deliveries = None
        if not self.world.trouble.targets:
            return
        if self.files is None:
            self.files = FlakyFiles(self.world, self)
        self.deliveries = Deliveries(
            clock,
            self.accounts,
            [self.files.target()],
            chance=self.world.random.random,
            wall=self.wall,
            in_thread=self.files.in_thread,
        )
        now(self.deliveries.start())

    def _start_passwords(self, clock: ProcessClock) -> None:
        self.passwords = None
        if not self.world.trouble.people:
            return
        self.passwords = Passwords(
            clock,
            accounts=self.accounts,
            masters=self,
            hashing=InlineHashing(),  # type: ignore[arg-type]
            audit=AuditLog(self.audit, self.wall, self.name),
            name=self.name,
            settings=CHEAP_HASHES,
            targets=self.deliveries,
            ready=self.booting.ready,
            random=self.world.random.randbytes,
            wall=self.wall,
        )
        now(self.passwords.start())

    def stop(self, death: Death = "kill") -> None:
        """End the process: what is on the disk stays, connections and memory are gone."""
        if not self.up:
            return
        self.up = False
        self.life += 1
        for wait in list(self.waits.values()):
            wait.cancel()
        if self.files is not None:
            self.files.end()
        self.disk.stop(death)

    def is_booted(self) -> bool:
        """Say whether it takes changes from people."""
        return self.up and self.booting.outcome.state != "starting"

    def _adopt(self, life: int) -> None:
        if self.up and self.life == life:
            now(self.accounts.adopt_stalled(self.world.timeline.now))
            self.world.timeline.at(STALLED / 3, lambda: self._adopt(life))

    # --- the other masters; this is what daemon/replication/sync.py does where it keeps the book ---

    @property
    def peers(self) -> Any:
        """What is known of the others (:class:`beonss.daemon.passwords.following.Masters`)."""
        return self.book.states()

    def holds(self, name: str, stamp: Any) -> bool:
        """Say whether a peer acknowledged a write."""
        return self.book.holds(name, stamp)

    def on_acknowledge(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have ``callback`` called when a peer acknowledged something new."""
        return _listening(self._told, callback)

    def on_pulled(self, callback: Callable[[str, Context], None]) -> Callable[[], None]:
        """Have ``callback`` called when everything that a peer held is here."""
        return _listening(self._pulled, callback)

    def pulled(self, name: str, vector: Context) -> None:
        """Tell that everything that a peer held is here."""
        for callback in list(self._pulled):
            callback(name, vector)

    def asked(self, name: str, incarnation: str, vector: Context) -> bool:
        """Note what a peer's question acknowledges; True if it writes with our own incarnation."""
        twin = self.book.met(name, self._hello_of(name, incarnation))
        if self.book.acknowledged(name, vector):
            self.acknowledgements.note(name, Acknowledged(incarnation, dict(vector)))
            for callback in list(self._told):
                callback(name)
        return twin

    def _hello_of(self, name: str, incarnation: str) -> Hello:
        roster = self.membership.roster
        return Hello("member", roster.cluster, name, incarnation, "", self.wall_ms(), "", "", b"", ())

    def _keep_roster(self, roster: Roster) -> None:
        if self.disk.dead:
            raise StoreError("the disk is dead")
        self.stored_roster = write_roster(roster)

    def _follow_members(self, roster: Roster, *, call: bool = True) -> None:
        """Keep the book of the others, and call who is new."""
        names = {member.name for member in roster.joined()} - {self.name}
        if roster.key_of(self.name) != self.key:
            names = set()
            self.accounts.halt("this machine is no longer in the member list")
        for name in set(self.book.names()) - names:
            self.book.remove(name)
            self.pulls.pop(name, None)
            self.calls.pop(name, None)
            self.turns.end(name)
            now(self.acknowledgements.forget(name))
        for name in sorted(names - set(self.book.names())):
            self.book.add(name, (), self.acknowledgements.of(name))
            if call:
                self.world.exchange.call(self, name)


def _listening(listeners: list[Any], callback: Any) -> Callable[[], None]:
    listeners.append(callback)

    def cancel() -> None:
        if callback in listeners:
            listeners.remove(callback)

    return cancel
