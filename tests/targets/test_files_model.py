"""Deliveries, human edits and crashes in any order: nothing of others is lost, and in the end all is as wanted."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.accounts.entries import Aging, Password, UserEntry
from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError, UserState
from beonss.targets import files as files_module
from beonss.targets.files import FilesSettings, FilesTarget

MACHINE = {
    "passwd": "# a comment\nroot:x:0:0:root:/root:/bin/sh\nbackup:x:34:34::/:/bin/false\n+::::::\n",
    "shadow": "root:*:19000:0:99999:7:::\nbackup:*:19000::::::\n",
    "group": "root:x:0:\n",
}
NAMES = ("u0", "u1", "u2")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(NAMES), st.integers(1, 4)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("edit"), st.sampled_from(NAMES), st.integers(5, 6)),
        st.tuples(st.just("take out"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("crash"), st.sampled_from(["shadow", "passwd"]), st.integers(1, 4)),
    ),
    max_size=12,
)


def state(name, version):
    number = int(name[1:])
    if not version:
        return UserState(f"id{number}", name, None)
    entry = UserEntry(name, 5000 + number, 100, f"v{version}", f"/home/{name}", "/bin/sh")
    return UserState(f"id{number}", name, entry, Password(f"$6$v{version}", 20000), aging=Aging(0, 99999, 7))


class World:
    def __init__(self, root):
        self.root = root
        self.etc = root / "etc"
        self.etc.mkdir()
        for name, text in MACHINE.items():
            (self.etc / name).write_text(text)
        self.wanted = dict.fromkeys(NAMES, 0)
        self.theirs = {}
        self.delivered = set()
        self.target = None
        self.restart()

    def restart(self):
        if self.target is not None:
            self.target.close()
        self.target = FilesTarget(FilesSettings("local", self.root, self.root / "journal"))

    def line(self, file, name):
        lines = [line for line in (self.etc / file).read_text().splitlines() if line.startswith(f"{name}:")]
        assert len(lines) <= 1
        return lines[0] if lines else None

    def edit(self, name, version):
        """Let a human change, add or take out a line of shadow."""
        shadow = self.etc / "shadow"
        rest = "".join(line + "\n" for line in shadow.read_text().splitlines() if not line.startswith(f"{name}:"))
        line = f"{name}:$6$v{version}:20000::::::" if version else None
        shadow.write_text(rest + (line + "\n" if line else ""))
        self.theirs[name] = line

    def deliver(self, *names):
        self.target.reassert([], shrink=True)
        try:
            outcomes = self.target.deliver([state(name, self.wanted[name]) for name in names])
        except TemporaryTargetError:
            return
        for name, outcome in zip(names, outcomes, strict=True):
            if name in self.theirs and outcome.verdict == "delivered":
                # Only because it is as wanted by chance: both want it gone.
                assert self.line("shadow", name) == self.theirs.pop(name)
                assert self.wanted[name] == 0
            if outcome.verdict == "delivered":
                (self.delivered.add if self.wanted[name] else self.delivered.discard)(name)

    def check(self):
        for name, text in MACHINE.items():
            found = (self.etc / name).read_text()
            assert all(line in found.splitlines() for line in text.splitlines())
        for name, line in self.theirs.items():
            assert self.line("shadow", name) == line


@settings(max_examples=25, deadline=None)
@given(steps)
def test_any_history(history):
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        for step, name, version in history:
            if step in {"set", "remove"}:
                world.wanted[name] = version
                world.deliver(name)
            elif step == "crash":
                crash(world, name, version)
            elif step == "edit" or name in world.delivered:
                # What was never delivered and is taken out is as it was before us: no edit.
                world.edit(name, version)
            world.check()
        world.deliver(*NAMES)
        world.check()
        # The edits are given up: then the files are exactly as wanted.
        world.target.reassert(NAMES, shrink=True)
        outcomes = world.target.deliver([state(name, world.wanted[name]) for name in NAMES])
        assert {outcome.verdict for outcome in outcomes} == {"delivered"}
        for name in NAMES:
            version = world.wanted[name]
            shadow, passwd = world.line("shadow", name), world.line("passwd", name)
            assert (shadow is None, passwd is None) == (not version, not version)
            if version:
                assert shadow.split(":")[1] == f"$6$v{version}"
                assert f":v{version}:" in passwd
        assert world.target.conflicts() == []
        world.target.close()


def crash(world, file, version):
    """Let a delivery to everybody die after a file was replaced and before that was noted."""
    real = files_module.replace_file

    def die(seen, data):
        real(seen, data)
        if seen.path.name == file:
            raise TemporaryTargetError("died")

    for name in NAMES:
        world.wanted[name] = version
    files_module.replace_file = die
    try:
        world.deliver(*NAMES)
    except PermanentTargetError:
        raise AssertionError("three accounts are not many") from None
    finally:
        files_module.replace_file = real
    world.restart()
