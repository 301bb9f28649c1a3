"""Accounts in memory, with the parts of ``beonss.daemon.accounts.state.Accounts`` that other parts use."""

from itertools import count
from types import SimpleNamespace

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import ABSENT, Register, Stamp, covers
from beonss.errors import Refused

HERE, THERE = "1" * 32, "2" * 32


def now(coroutine):
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it waits for something")


class FakeAccounts:
    """Registers in memory, with the parts of Accounts that deliveries use."""

    def __init__(self):
        self.view = AccountView()
        self.rows = {}
        self.vector = {}
        self.incarnation = HERE
        self.notes = {}
        self.puts = 0
        self._listeners = []
        self._numbers = count(1)

    def listen(self, listener):
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def page(self, question, more=None):
        rows = [row for row in self.rows.values() if not covers(question, row.stamp)]
        start = more or 0
        following = start + 2
        last = following >= len(rows)
        return SimpleNamespace(rows=rows[start:following], more=None if last else following)

    async def get(self, name):
        return self.notes.get(name)

    async def put(self, name, value):
        self.puts += 1
        self.notes[name] = value

    def put_changes(self, changes, origin=HERE, author="root@frodo"):
        for change in changes:
            old = self.rows.get(change.key)
            if change.expect is not None and change.expect != (ABSENT if old is None else old.stamp):
                raise Refused("changed-meanwhile", "somebody else was faster")
        rows = []
        for change in changes:
            number = next(self._numbers)
            rows.append(Register(change.key, change.value, Stamp(number, origin, number), author))
            self.vector = {**self.vector, origin: number}
        self.rows.update({row.key: row for row in rows})
        self.view.apply(rows)
        for listener in list(self._listeners):
            listener(rows)
        return rows

    def user(self, name, uid=None, secret="$6$1", **options):
        entry = UserEntry(name, uid or 5000 + len(self.rows), 100, "", "/", "/bin/sh")
        return self.put_changes(intents.create_user(self.view, entry, 1, password=Password(secret), **options))

    async def write(self, changes, author):
        return self.put_changes(changes, author=author)
