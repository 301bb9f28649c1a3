"""Rules broken on purpose, at least one for each invariant (docs/explanation/what-holds.md); the checks must find them.

A fault is a function that breaks something with pytest's monkeypatch and returns the kind of life in which it matters.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Password
from beonss.core.accounts.objects import AccountObject
from beonss.core.accounts.view import AccountView
from beonss.core.cluster.members import Member, Roster
from beonss.core.replication import memorizing
from beonss.core.replication.incarnation import Verdict
from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Change, Context, Key, Register
from beonss.daemon.accounts import state as accounts
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.passwords import authority as passwords
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.logins import Logins
from beonss.daemon.passwords.standards import Standards
from beonss.daemon.replication.peers import PeerBook
from beonss.daemon.targets.deliveries import Deliveries
from beonss.net.pull_turns import PullTurns
from beonss.store import commits, database, local
from beonss.store.commits import Commits
from beonss.store.database import Database
from beonss.store.digests import Count
from beonss.targets import files
from support.simulator.disks import CommitsOnDisk

Patch = pytest.MonkeyPatch


def vectors_move_with_every_page(patch: Patch) -> str:
    """1: as if a page could be taken for the whole answer."""
    original = Database.merge

    def merge(self: Database, rows: Iterable[Register], vector: Context | None = None) -> list[Register]:
        rows = list(rows)
        if vector is None:
            vector = {row.stamp.origin: row.stamp.sequence for row in sorted(rows, key=lambda r: r.stamp.sequence)}
        return original(self, rows, vector)

    patch.setattr(Database, "merge", merge)
    return "network"


def only_own_changes_are_delivered(patch: Patch) -> str:
    """2: as if the files of a master needed only what was changed there."""
    original = Deliveries._committed

    def committed(self: Deliveries, rows: Sequence[Register]) -> None:
        original(self, [row for row in rows if row.stamp.origin == self._accounts.incarnation])

    patch.setattr(Deliveries, "_committed", committed)
    return "targets"


def what_was_counted_is_not_looked_at_again(patch: Patch) -> str:
    """2: as if nothing changed while the digests are counted."""
    original = Database._adjusted

    def adjusted(self: Database, count: Count, puts: Sequence[tuple[Register | None, Register]]) -> Count:
        return original(self, count, puts) if count.position is None else count

    patch.setattr(Database, "_adjusted", adjusted)
    return "network"


def the_last_to_arrive_wins(patch: Patch) -> str:
    """3: as if messages came once and in order."""
    patch.setattr(Register, "beats", lambda self, other: (self.stamp, self.value) != (other.stamp, other.value))
    return "network"


def stamps_are_the_wall_clock(patch: Patch) -> str:
    """4: as if the value that was seen did not matter."""
    patch.setattr(database, "next_time", lambda wall, _: wall)
    return "bad clock"


def one_clock_for_all_registers(patch: Patch) -> str:
    """5: a hybrid clock of the whole machine, which one bad clock infects."""
    original = Database._write_one

    def write_one(self: Database, change: Any, wall_ms: int, *rest: Any) -> Register:
        self.fold()
        highest = self._connection.execute("SELECT max(time) FROM register").fetchone()[0] or 0
        return original(self, change, max(wall_ms, highest + 1), *rest)

    patch.setattr(Database, "_write_one", write_one)
    return "bad clock"


def commits_are_not_flushed(patch: Patch) -> str:
    """6: synchronous=NORMAL, as SQLite's manual recommends for the WAL."""
    original = local.open_connection

    def careless(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = original(*args, **kwargs)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    patch.setattr(local, "open_connection", careless)
    return "power"


def commits_are_left_in_the_kernels_cache(patch: Patch) -> str:
    """6: the file of commits is written and not flushed."""
    patch.setattr(CommitsOnDisk, "flush", lambda self: None)
    return "power"


def folded_commits_are_taken_again(patch: Patch) -> str:
    """6: nothing voids the records that were folded: no generation, no cut, no look at what the tables hold."""
    original = Database._recover

    def recover(self: Database, **how: Any) -> None:
        with pytest.MonkeyPatch.context() as blind:
            blind.setattr(self, "register", lambda _: None)
            original(self, **how)

    patch.setattr(database, "os", SimpleNamespace(urandom=bytes))
    patch.setattr(Database, "_recover", recover)
    patch.setattr(Commits, "cut", lambda self: None)
    return "power"


def commits_behind_a_damaged_one_are_given_up(patch: Patch) -> str:
    """6: as if what cannot be read were always the end."""
    patch.setattr(commits, "whole_behind", lambda *_: ())
    return "damaged"


def deletions_are_forgotten(patch: Patch) -> str:
    """7: as if a creation written elsewhere could bring an account back."""
    patch.setattr(AccountObject, "live", property(lambda self: self.presence is not None))
    return "crashes"


def locks_are_forgotten(patch: Patch) -> str:
    """7: as if only the password mattered at a login."""
    original = Logins.account
    patch.setattr(Logins, "account", lambda self, user: replace(original(self, user), locked=False))
    return "targets"


def merging_takes_whatever_comes_from_others(patch: Patch) -> str:
    """8: as if a peer always knew better."""

    patch.setattr(Database, "_wins", lambda self, old, row: old != row)
    return "crashes"


def what_was_acknowledged_never_goes_down(patch: Patch) -> str:
    """9: as if a restored machine still held what its old disk held."""
    original = PeerBook.acknowledged

    def acknowledged(self: PeerBook, name: str, vector: Context) -> bool:
        state = self.states().get(name)
        known = {} if state is None else dict(state.acknowledged or {})
        return original(self, name, {o: max(known.get(o, 0), vector.get(o, 0)) for o in {*known, *vector}})

    patch.setattr(PeerBook, "acknowledged", acknowledged)
    patch.setattr(PeerBook, "met", lambda self, name, hello: False)
    return "restored"


def questions_acknowledge_what_is_not_committed(patch: Patch) -> str:
    """9: the vector in memory moves before the disk has what it covers."""
    original = Accounts.merge

    async def merge(self: Accounts, rows: Iterable[Register], vector: Context | None = None) -> list[Register]:
        won = await original(self, rows, vector)
        self.vector = {
            **self.vector,
            **{row.stamp.origin: max(self.vector.get(row.stamp.origin, 0), row.stamp.sequence + 1) for row in won},
        }
        return won

    patch.setattr(Accounts, "merge", merge)
    return "network"


def incarnations_are_always_kept(patch: Patch) -> str:
    """10: as if a restored disk were the disk it was."""
    patch.setattr(accounts, "judge", lambda incarnation, *_, **__: Verdict(incarnation is not None, ""))
    return "restored"


def nodes_never_forget(patch: Patch) -> str:
    """2: as if a node had no rule for an only master that was set back."""

    original = memorizing.Memorizing.next

    def believed(*words: Any, **options: Any) -> str:
        step = original(*words, **options)
        return "fresh" if step == "again" else step

    patch.setattr(memorizing.Memorizing, "next", believed)
    return "one master"


def nodes_merge_page_by_page(patch: Patch) -> str:
    """2: as if accounts could not exchange their names between two pages of an answer."""
    patch.setattr(memorizing, "TOGETHER", 1)
    return "nodes"


def removed_masters_are_believed(patch: Patch) -> str:
    """11: as if whoever was a member once were one for ever."""
    names: dict[bytes, str] = {}
    members: dict[str, dict[str, Member]] = {}
    name_of, joined = Roster.name_of, Roster.joined

    def known(self: Roster, key: bytes) -> str | None:
        name = name_of(self, key)
        if name is not None:
            names[key] = name
        return names.get(key) if self.is_former(key) else name

    def ever_joined(self: Roster) -> tuple[Member, ...]:
        now = {member.name: member for member in joined(self)}
        ever = members.setdefault(self.cluster, {})
        ever.update(now)
        return tuple(ever.values())

    patch.setattr(Roster, "name_of", known)
    patch.setattr(Roster, "joined", ever_joined)
    # It goes on writing, too.
    patch.setattr(Accounts, "halt", lambda *_: None)
    return "members"


def the_password_is_kept_beside_its_hash(patch: Patch) -> str:
    """12: as if a directory might want the password later."""
    original = passwords.encode
    typed: list[bytes] = []
    hashed = Standards.hashed

    async def remember(self: Standards, request: Any) -> str:
        typed.append(request.new)
        return await hashed(self, request)

    def encode(value: Any) -> bytes:
        data = original(value)
        if isinstance(value, Password) and typed:
            data = json.dumps({**json.loads(data), "typed": typed[-1].decode()}).encode()
        return data

    patch.setattr(Standards, "hashed", remember)
    patch.setattr(passwords, "encode", encode)
    return "people"


def passwords_are_logged(patch: Patch) -> str:
    """12: as if the log were for debugging."""
    original = Passwords._permit

    async def permit(self: Passwords, request: Any, account: Any) -> Any:
        self.log.info("a change of {user}: {new}", user=request.user, new=request.new)
        return await original(self, request, account)

    patch.setattr(Passwords, "_permit", permit)
    return "people"


def files_are_written_in_place(patch: Patch) -> str:
    """13: as if nobody read the file meanwhile."""

    def write(seen: Any, data: bytes) -> None:
        seen.path.write_bytes(data)

    patch.setattr(files, "replace_file", write)
    return "targets"


def every_password_is_kept(patch: Patch) -> str:
    """14: a log instead of a state: the backlog grows with the number of changes."""
    original = intents.set_password

    def set_password(*args: Any) -> list[Change]:
        return [
            replace(change, key=Key(change.key.object, f"password-{len(change.value)}-{id(change)}"), expect=None)
            for change in original(*args)
        ]

    patch.setattr(intents, "set_password", set_password)
    return "network"


def answers_are_mostly_empty(patch: Patch) -> str:
    """15: everything arrives, but nobody can say when."""
    original = Database.page
    calls = iter(range(1 << 30))

    def page(self: Database, question: Context, more: object | None = None, **kwargs: Any) -> Page:
        if more is None and next(calls) % 500:
            return Page(0, [], dict(question))
        return original(self, question, more, **kwargs)

    patch.setattr(Database, "page", page)
    return "network"


def turns_are_not_passed_on(patch: Patch) -> str:
    """15: as if whoever is asked first were the only one to be asked."""

    def end(self: PullTurns, who: object) -> None:
        self._waiting.pop(who, None)
        if who is self._holder:
            self._holder = None
            self._timer.cancel()

    patch.setattr(PullTurns, "end", end)
    return "network"


def any_password_is_right(patch: Patch) -> str:
    """16: as if whoever asks were who he says he is."""

    async def prove(*_: Any) -> None:
        return None

    patch.setattr(Logins, "prove", prove)
    return "people"


def refusals_are_not_audited(patch: Patch) -> str:
    """16: as if only successes were worth a line."""
    original = AuditTrail.record

    def record(self: AuditTrail, *args: Any, **fields: Any) -> None:
        if fields.get("outcome") != "refused":
            original(self, *args, **fields)

    patch.setattr(AuditTrail, "record", record)
    return "people"


def the_view_forgets_who_was_first(patch: Patch) -> str:
    """2: as if each master could decide by itself who owns a name."""
    original = AccountView.apply

    def apply(self: AccountView, rows: Iterable[Register]) -> set[str]:
        rows = list(rows)
        return original(self, rows[:1] if len(rows) > 4 else rows)

    patch.setattr(AccountView, "apply", apply)
    return "crashes"


#: fault: what the checks must say of it (any other failure would be the fault breaking the simulator itself).
FAULTS: dict[Callable[[Patch], str], str] = {
    vectors_move_with_every_page: "left the buffer|not equal|unequal registers",
    only_own_changes_are_delivered: "the files are not equal to the winner|not delivered",
    what_was_counted_is_not_looked_at_again: "the digest kept is not|not equal|unequal registers",
    the_view_forgets_who_was_first: "the view is not that of the registers",
    the_last_to_arrive_wins: "went down|lost|not equal|left the buffer|unequal registers",
    stamps_are_the_wall_clock: "a change lost to what its writer had seen",
    one_clock_for_all_registers: "a bad clock reached",
    commits_are_not_flushed: "was lost|came back|left the buffer|one sequence number|unequal registers|still buffered",
    commits_are_left_in_the_kernels_cache: "was lost|came back|left the buffer|one sequence number|unequal registers",
    folded_commits_are_taken_again: "was lost|came back|left the buffer|unequal registers|taken for damage",
    commits_behind_a_damaged_one_are_given_up: "damage to one commit took another",
    deletions_are_forgotten: "deleted came back",
    locks_are_forgotten: "locked account was let in|a change was not refused",
    merging_takes_whatever_comes_from_others: "went down|not equal|unequal registers|left the buffer|was lost",
    what_was_acknowledged_never_goes_down: "left the buffer",
    questions_acknowledge_what_is_not_committed: "left the buffer|not equal|was lost|unequal registers",
    incarnations_are_always_kept: "left the buffer|unequal registers|was lost|not equal",
    nodes_never_forget: "is not equal to the masters|a known user was forgotten",
    nodes_merge_page_by_page: "a known user was forgotten",
    removed_masters_are_believed: "a removed master wrote",
    the_password_is_kept_beside_its_hash: "a password stands in plain in",
    passwords_are_logged: "a password stands in plain in the log",
    files_are_written_in_place: "was written in place",
    every_password_is_kept: "the backlog is not bounded",
    answers_are_mostly_empty: "after everything healed",
    turns_are_not_passed_on: "after everything healed|still buffered at the end",
    any_password_is_right: "was not refused",
    refusals_are_not_audited: "left no audit line",
}
