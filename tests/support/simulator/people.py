"""Users and administrators: what they change, and how they log in."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from beonss.core.accounts import intents
from beonss.core.accounts.entries import PASSWORD, GroupEntry, Password, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import Source
from beonss.core.replication.registers import Change, Key
from beonss.daemon.passwords.parts import ChangeRequest
from beonss.errors import Refused, Unavailable
from support.simulator.inline import now
from support.simulator.machine import Machine

if TYPE_CHECKING:
    from support.simulator.world import World

#: Refusals after which nothing may have changed and a line must stand in the audit log.
_WRONG = b"Wrong-and-never-used-9"


class People:
    """The people of one world.

    Attributes:
        plain: by hash, what was typed.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.plain: dict[str, bytes] = {}
        self._count = 0

    def act(self, on: Machine | None = None) -> None:
        """Let somebody change something on some master that takes changes."""
        world = self._world
        if world.quiet:
            return
        ready = [m for m in ([on] if on is not None else world.all_machines()) if m.is_booted()]
        if not ready:
            return
        machine = world.random.choice(ready)
        if machine.passwords is not None and world.random.random() < 0.5:
            self._at_the_door(machine)
            return
        view = machine.accounts.view
        try:
            changes = self._intent(machine, view)
        except Refused:
            return
        self._write(machine, changes)

    def _write(self, machine: Machine, changes: list[Change]) -> None:
        world, view = self._world, machine.accounts.view
        seen = {change.key: view.register(change.key) for change in changes}
        world.checks.attempted(machine, seen)
        try:
            rows = now(machine.accounts.write(changes, f"root@{machine.name}"))
        except (Refused, Unavailable):
            return
        for row in rows:
            world.checks.written(machine, row, seen[row.key])

    def _intent(self, machine: Machine, view: AccountView) -> list[Any]:
        pick = self._world.random
        name = f"u{pick.randint(0, 5)}"
        group = f"g{pick.randint(0, 1)}"
        wall = machine.wall_ms()
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

    # --- passwords ---

    def _at_the_door(self, machine: Machine) -> None:
        pick = self._world.random
        users = sorted(user.entry.name for user in machine.accounts.view.users())
        name = pick.choice([*users, "nobody"])
        doors: list[Callable[[Machine, str], None]] = [self.set_by_root, self.change, self.log_in, self.be_refused]
        pick.choice(doors)(machine, name)

    def set_by_root(self, machine: Machine, name: str) -> None:
        """Let root set a password."""
        request = ChangeRequest(name, self._new(), None, self._source(), f"root@{machine.name}", privileged=True)
        self._change(machine, request)

    def change(self, machine: Machine, name: str) -> None:
        """Let a user change the password, if it is known."""
        old = self._typed(machine, name)
        if old is not None:
            self._change(machine, ChangeRequest(name, self._new(), old, self._source(), f"{name}@{machine.name}"))

    def _change(self, machine: Machine, request: ChangeRequest) -> None:
        assert machine.passwords is not None
        world = self._world
        user = machine.accounts.view.user(request.user)
        key = None if user is None else Key(user.id, PASSWORD)
        seen = None if key is None else machine.accounts.view.register(key)
        may = user is not None and (request.privileged or not user.locked)
        if key is not None:
            world.checks.attempted(machine, [key])

        def tell(line: Any) -> None:
            if (line.kind, line.name, line.state) != ("master", machine.name, "changed") or key is None:
                return
            assert may, "a change was not refused"
            row = machine.accounts.view.register(key)
            assert row is not None
            self.plain[json.loads(row.value)["hash"]] = request.new
            world.checks.written(machine, row, seen)

        def refused(failure: Any) -> None:
            failure.trap(Refused, Unavailable)

        Deferred.fromCoroutine(machine.passwords.change(request, tell)).addErrback(refused).addErrback(world.failed)

    def log_in(self, machine: Machine, name: str) -> None:
        """Log in with the right password: the answer is what the view says in this moment."""
        assert machine.passwords is not None
        user, typed = machine.accounts.view.user(name), self._typed(machine, name)
        if user is None or typed is None:
            return
        result = now(machine.passwords.authenticate(name, typed, self._source()))
        if user.locked:
            assert not result.ok, "a locked account was let in"
            assert result.code == "locked", "a refusal is not clear"
        else:
            assert result.ok, "the right password was refused"

    def be_refused(self, machine: Machine, name: str) -> None:
        """Be refused for a reason: clearly, with nothing changed, and an audit line."""
        assert machine.passwords is not None
        assert machine.disk.database is not None
        source = self._source()
        before, lines = machine.disk.database.digest(), self._audit_lines(machine)
        known = machine.accounts.view.user(name) is not None
        code = ""
        if self._world.random.random() < 0.5:
            result = now(machine.passwords.authenticate(name, _WRONG, source))
            assert not result.ok, "a wrong password was not refused"
            code = result.code
        else:
            request = ChangeRequest(name, self._new(), _WRONG, source, f"{name}@{machine.name}")
            told: list[Any] = []
            Deferred.fromCoroutine(machine.passwords.change(request, told.append)).addErrback(
                lambda failure: told.append(failure.value)
            )
            assert [type(one) for one in told] == [Refused], "a wrong old password was not refused"
            code = told[0].code
        wanted = {"wrong-password", "unusable-hash"} if known else {"unknown-user"}
        assert code in wanted, f"a refusal is not clear: {code}"
        assert machine.disk.database.digest() == before, "a refusal changed something"
        assert self._audit_lines(machine) == lines + 1, "a refusal left no audit line"

    def knock_until_slowed(self, machine: Machine, name: str) -> None:
        """Guess until the limit says no, and see that another source is not hindered."""
        assert machine.passwords is not None
        source = self._source()
        codes = [now(machine.passwords.authenticate(name, _WRONG, source)).code for _ in range(8)]
        assert "rate-limited" in codes, "guessing was not slowed down"
        typed, user = self._typed(machine, name), machine.accounts.view.user(name)
        assert typed is not None
        assert user is not None
        other = now(machine.passwords.authenticate(name, typed, self._source()))
        assert other.ok or user.locked, "a stranger locked a user out"

    def _typed(self, machine: Machine, name: str) -> bytes | None:
        user = machine.accounts.view.user(name)
        return None if user is None or user.password is None else self.plain.get(user.password.hash)

    def _new(self) -> bytes:
        secret = f"Typed-{self._world.random.getrandbits(48):012x}-here".encode()
        self._world.checks.secrets.add(secret)
        return secret

    def _source(self) -> Source:
        self._count += 1
        return Source(f"10.5.1.{self._count % 250}", 1000 + self._count)

    def _audit_lines(self, machine: Machine) -> int:
        return machine.audit.read_bytes().count(b"\n") if machine.audit.exists() else 0
