"""The operations on single accounts, on accounts in memory and with other masters that a test has acknowledge."""

import json
from types import SimpleNamespace

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from beonss.core.accounts.lookup import LocalNames
from beonss.daemon.accounts.changes import AccountChanges
from beonss.daemon.accounts.conflicts import ConflictOperations
from beonss.daemon.accounts.life import AccountLife
from beonss.daemon.accounts.operations import account_operations
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.targets.deliveries import Standing
from support.fake_accounts import FakeAccounts


async def nothing():
    """Wait for nothing."""


class FakeMasters:
    """Other masters; each acknowledges when the test says so."""

    def __init__(self):
        self.peers = {}
        self.holding = set()
        self.callbacks = []

    def add(self, name, *, reachable=True):
        self.peers[name] = SimpleNamespace(reachable=reachable, since=0.0)

    def holds(self, name, stamp):
        return name in self.holding

    def on_acknowledge(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def acknowledge(self, name):
        self.holding.add(name)
        for callback in list(self.callbacks):
            callback(name)


class FakeAudit:
    """An audit log in memory."""

    def __init__(self):
        self.lines = []

    def record(self, event, **fields):
        self.lines.append({"event": event, **fields})

    def record_all(self, event, lines):
        self.lines += [{"event": event, **fields} for fields in lines]


class LifeBench:
    """A master's operations."""

    def __init__(self, name="frodo", members=("frodo",)):
        self.clock = Clock()
        self.accounts = FakeAccounts()
        self.accounts.overruled_rows = []

        async def overruled():
            return self.accounts.overruled_rows

        self.accounts.overruled = overruled
        self.masters = FakeMasters()
        self.audit = FakeAudit()
        self.floors = SimpleNamespace(uid_floor=1000, gid_floor=1000)
        self.local = LocalNames()
        self.foreign = []
        self.ready = succeed
        trail = AuditTrail(self.audit, self.clock.seconds)
        changes = AccountChanges(
            self.clock,
            accounts=self.accounts,
            masters=self.masters,
            ready=lambda: self.ready(None),
            trail=trail,
            machine=name,
        )
        life = AccountLife(
            changes,
            floors=lambda: self.floors,
            members=lambda: members,
            local=lambda: self.local,
            machine=name,
            clock=lambda: 5,
        )
        conflicts = ConflictOperations(
            self.accounts, changes, life, foreign=lambda: self.foreign, floors=lambda: self.floors
        )
        deliveries = SimpleNamespace(targets=lambda: ("local",), standing=lambda *_: Standing(None), conflicts=list)
        self.table = {
            **account_operations(self.accounts, deliveries, lambda: self.floors, name, trail=trail, turn=changes.turn),
            **life.table(),
            **conflicts.table(),
        }
        self.told = []

    def begin(self, operation, **parameters):
        """Begin an operation; return the Deferred of its answer."""
        assert self.table[operation].needs_root
        peer = SimpleNamespace(uid=0, drained=nothing)

        def report(event, **data):
            self.told.append(json.dumps(data))

        running = Deferred.fromCoroutine(self.table[operation].run(parameters, peer, report))
        running.addCallback(lambda answer: self.told.append(json.dumps(answer)) or answer)
        return running

    def ask(self, operation, **parameters):
        """Run an operation that waits for nothing; return its answer, or raise."""
        results = []
        self.begin(operation, **parameters).addBoth(results.append)
        assert results, "it waits for something"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]
