"""Masters on loopback for tests: real TLS and the real reactor, databases in memory, short times."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Member, MemberList, Roster, cluster_id
from beonss.core.replication.registers import Change, Key, Register
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.replication.membership import Membership
from beonss.daemon.replication.sync import Sync
from beonss.net.connection import Timing
from beonss.store.database import Database
from beonss.store.keys import Identity, new_cluster_key, new_identity
from beonss.store.writer import InlineWriter
from beonss.wire.documents import public_bytes, write_members
from beonss.wire.frames import MAXIMUM_FRAME, FrameReader
from beonss.wire.sync import Message, decode

FAST = Timing(
    connect=2.0,
    handshake=2.0,
    heartbeat=0.1,
    dead=0.8,
    node_heartbeat=0.1,
    node_dead=0.8,
    stalled=5.0,
    backoff=(0.02, 0.2),
    relay=0.05,
    node_gap=0.05,
)


async def until(condition: Callable[[], Any], what: str, seconds: float = 15.0) -> Any:
    """Wait until ``condition`` holds; fail with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        await turn(0.01)
    return value


async def turn(seconds: float) -> None:
    """Let the reactor run for a while, to show that something does *not* happen."""
    await deferLater(reactor, seconds, lambda: None)


class Master:
    """One master, with its own list and database."""

    def __init__(self, cluster: "Cluster", identity: Identity, **options: Any) -> None:
        self.cluster = cluster
        self.identity = identity
        self.name = identity.name
        self.options = {"timing": FAST, **options}
        self.saved: list[Roster] = []
        self.database = Database(":memory:", cluster.id, durable=False)
        self.accounts = Accounts(
            reactor,
            InlineWriter(self.database),
            clock=lambda: int(time.time() * 1000),
            new_incarnation=lambda: secrets.token_hex(16),
            machine=self.name,
        )
        self.membership = Membership(cluster.roster, self.saved.append)
        self.sync = self.make_sync()
        self.endpoint = Endpoint("127.0.0.1", 0)

    def make_sync(self) -> Sync:
        """Make the exchange; again after a stop."""
        return Sync(reactor, identity=self.identity, membership=self.membership, accounts=self.accounts, **self.options)

    def listen(self) -> Endpoint:
        """Open the port."""
        port = self.sync.listen(self.endpoint)
        self.endpoint = Endpoint("127.0.0.1", port.getHost().port)
        return self.endpoint

    async def start(self) -> None:
        """Read the accounts and begin to call."""
        await self.accounts.start()
        await self.sync.start()

    async def stop(self) -> None:
        """End everything but the database."""
        await self.sync.stop()

    async def again(self) -> None:
        """Start after a stop, on the same port."""
        self.sync = self.make_sync()
        self.listen()
        await self.sync.start()

    async def write(self, object_id: str, value: bytes, field: str = "entry") -> Register:
        """Make a change here."""
        return (await self.accounts.write([Change(Key(object_id, field), value)], f"root@{self.name}"))[0]

    def read(self, object_id: str, field: str = "entry") -> bytes | None:
        """Return a value held here."""
        register = self.database.register(Key(object_id, field))
        return None if register is None else register.value


class Cluster:
    """Some masters with one member list, all listening before anybody calls."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.key = new_cluster_key()
        self.public = public_bytes(self.key)
        self.id = cluster_id(self.public)
        identities = [new_identity(name) for name in names]
        self.sign(MemberList(self.id, 1, tuple(Member(i.name, i.public, ()) for i in identities)))
        self.masters = [Master(self, identity, **options) for identity in identities]
        endpoints = [master.listen() for master in self.masters]
        members = tuple(Member(i.name, i.public, (e,)) for i, e in zip(identities, endpoints, strict=True))
        self.sign(MemberList(self.id, 2, members))
        for master in self.masters:
            master.membership.offer(self.roster.document, ())

    def sign(self, members: MemberList) -> Roster:
        """Sign a list; masters made after this have it."""
        self.roster = Roster(self.public, members, write_members(members, self.key))
        return self.roster

    async def end(self) -> None:
        """Stop everything."""
        for master in self.masters:
            await master.stop()
            await master.accounts.stop()

    def __getitem__(self, name: str) -> Master:
        return next(master for master in self.masters if master.name == name)


@asynccontextmanager
async def running(*names: str, **options: Any) -> AsyncIterator[Cluster]:
    """Run a cluster of masters that all see each other."""
    cluster = Cluster(*names, **options)
    try:
        for master in cluster.masters:
            await master.start()
        yield cluster
    finally:
        await cluster.end()


def all_reachable(cluster: Cluster) -> bool:
    """Say whether everybody is connected to everybody, in both directions."""
    others = len(cluster.masters) - 1
    return all(
        len(m.sync.peers) == others
        and all(m.sync.book.is_called(name) for name in m.sync.peers)
        and sum(1 for c in m.sync.port.connections if c.role == "member" and c.established) == others
        for m in cluster.masters
    )


class KeyedTransport(StringTransport):
    """A TLS transport in memory whose other side proved to own a key."""

    aborted = False

    def __init__(self, key: Ed25519PublicKey | None) -> None:
        super().__init__()
        self._key = key
        self._frames = FrameReader(MAXIMUM_FRAME)

    def getHandle(self) -> Any:
        return self

    def get_peer_certificate(self, as_cryptography: bool = False) -> Any:
        return None if self._key is None else self

    def public_key(self) -> Ed25519PublicKey | None:
        return self._key

    def abortConnection(self) -> None:
        self.aborted = True

    def said(self) -> list[Message]:
        """Return and forget what was written."""
        data = self.value()
        self.clear()
        return [decode(body) for body in self._frames.feed(data)]
