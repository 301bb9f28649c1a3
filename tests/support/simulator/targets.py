"""The account files of a machine as its target: the real FilesTarget on a directory in memory, made to fail."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from beonss.core.accounts.view import AccountView
from beonss.core.targets.delivery import Outcome, State, TemporaryTargetError, shadow_hash
from beonss.targets import files
from beonss.targets.files import FilesSettings, FilesTarget

if TYPE_CHECKING:
    from support.simulator.machine import Machine
    from support.simulator.world import World

FLOOR = 1000
GID_FLOOR = 100
START = {
    "passwd": ("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\n", 0o644),
    "shadow": ("root:$5$root$hash:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", 0o640),
    "group": ("root:x:0:\ndaemon:x:1:\n", 0o644),
    "gshadow": ("root:*::\ndaemon:*::\n", 0o640),
}


class _Killed(BaseException):
    """The process was killed in the middle of a delivery."""


class FlakyFiles:
    """The files of one machine; they outlive its process.

    Attributes:
        away: every delivery fails, as when the disk is full.
        kill_after: the process dies after replacing so many more files; None: never.
    """

    def __init__(self, world: "World", machine: "Machine") -> None:
        self._world = world
        self._machine = machine
        self.root = world.directory / f"files-{machine.name}-{machine.key.hex()[:6]}"
        self.away = False
        self.kill_after: int | None = None
        self._target: FilesTarget | None = None
        etc = self.root / "etc"
        etc.mkdir(parents=True)
        for name, (text, mode) in START.items():
            (etc / name).write_text(text)
            (etc / name).chmod(mode)

    def target(self) -> "FlakyTarget":
        """Return the target of a new process."""
        settings = FilesSettings("files", self.root, self.root / "journal", FLOOR, GID_FLOOR, 0.5)
        self._target = FilesTarget(settings, flush=lambda: None)
        return FlakyTarget(self, self._target)

    def end(self) -> None:
        """Close what the ended process had open."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        """Run a delivery a little later; its process may be gone by then, or end in the middle of it."""
        done: Deferred[Any] = Deferred()
        machine, life = self._machine, self._machine.life

        def run() -> None:
            if not machine.up or machine.life != life:
                return
            try:
                result = function(*arguments)
            except _Killed:
                self._world.disasters.crash_and_return(machine)
            except Exception:
                done.errback(Failure())
            else:
                done.callback(result)

        self._world.timeline.at(self._world.random.uniform(0.001, 0.2), run)
        return done

    def deliver(self, target: FilesTarget, states: Sequence[State]) -> list[Outcome]:
        """Deliver, looking at each replacement of a file as its readers would."""
        if self.away:
            raise TemporaryTargetError("the files cannot be written now")
        replace = files.replace_file

        def watched(seen: Any, data: bytes) -> None:
            if self.kill_after is not None:
                self.kill_after -= 1
                if self.kill_after < 0:
                    self.kill_after = None
                    raise _Killed
            before = seen.path.stat()
            replace(seen, data)
            after = seen.path.stat()
            # Written in place, a reader could see half of it; renamed, it is another file.
            assert before.st_ino != after.st_ino, "a file that others read was written in place"
            assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid), "a file has another owner or mode"
            self.look()

        files.replace_file = watched
        try:
            return target.deliver(states)
        finally:
            files.replace_file = replace

    def look(self) -> None:
        """Check what readers need at every moment: all files there and whole, root in them."""
        for name, (text, _) in START.items():
            data = (self.root / "etc" / name).read_text()
            root = text.split("\n", 1)[0]
            assert data.endswith("\n"), f"readers saw half of {name}"
            assert root in data.split("\n"), f"readers saw a {name} without root"

    def check(self, view: AccountView) -> None:
        """Check that the files say what the view says, and nothing else above the floors."""
        self.look()
        passwd, shadow, group, _ = ({line[0]: line for line in self._lines(name)} for name in START)
        ours = {name for name, line in passwd.items() if int(line[2]) >= FLOOR}
        users = {user.entry.name: user for user in view.users()}
        assert ours == users.keys(), f"the files are not equal to the winner: users {sorted(ours ^ users.keys())}"
        for name, user in users.items():
            entry = user.entry
            wanted = [name, "x", str(entry.uid), str(entry.gid), entry.gecos, entry.home, entry.shell]
            assert passwd[name] == wanted, "the files are not equal to the winner: passwd"
            hashed = shadow_hash(user.password, user.locked)
            assert shadow[name][1] == hashed, "the files are not equal to the winner: shadow"
        groups = {one.entry.name: one for one in view.groups()}
        assert {name for name, line in group.items() if int(line[2]) >= GID_FLOOR} == groups.keys(), (
            "the files are not equal to the winner: groups"
        )
        for name, one in groups.items():
            assert int(group[name][2]) == one.entry.gid, "the files are not equal to the winner: gid"
            assert sorted(filter(None, group[name][3].split(","))) == sorted(one.members), (
                "the files are not equal to the winner: members"
            )

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """Return the files, as a backup of the machine holds them: by name, bytes and mode."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(p.relative_to(self.root)): (p.read_bytes(), p.stat().st_mode & 0o7777) for p in found}

    def set_back(self, snapshot: dict[str, tuple[bytes, int]]) -> None:
        """Put the files of a backup in the place of these."""
        for path in [path for path in self.root.rglob("*") if path.is_file()]:
            path.unlink()
        for name, (data, mode) in snapshot.items():
            (self.root / name).write_bytes(data)
            (self.root / name).chmod(mode)

    def bytes(self) -> bytes:
        """Return everything under the root, for looking for what must not be there."""
        return b"".join(path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file())

    def _lines(self, name: str) -> list[list[str]]:
        return [line.split(":") for line in (self.root / "etc" / name).read_text().splitlines()]


class FlakyTarget:
    """What the deliveries see: the real target, except where the files are made to fail."""

    kind = "files"
    shared = False
    batch_limit: int | None = None

    def __init__(self, flaky: FlakyFiles, target: FilesTarget) -> None:
        self.name = target.name
        self._flaky = flaky
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def deliver(self, states: Sequence[State]) -> list[Outcome]:
        """Deliver, or fail."""
        return self._flaky.deliver(self._target, states)
