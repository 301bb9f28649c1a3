"""Edits by hand in account files become changes of the cluster, part by part; what looks like an accident does not."""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.account_life import FakeAudit
from support.fake_accounts import FakeAccounts, now
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.task import Clock

from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.passwords.attempts import Source
from beonss.core.targets.delivery import states_of
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.targets.edits import INTERVAL, Edits, edit_operations
from beonss.errors import MalformedError, Refused
from beonss.targets.files import FilesSettings, FilesTarget

FILES = {
    "passwd": "# kept\nroot:x:0:0:root:/root:/bin/sh\nbackup:x:34:34::/:/bin/false\nlocal:x:1500:100::/:/bin/sh\n",
    "shadow": "root:*:19000:0:99999:7:::\nbackup:*:19000::::::\nlocal:!:19000::::::\n",
    "group": "root:x:0:\nbackup:x:34:\nlocals:x:1500:\n",
    "gshadow": "root:*::\nbackup:*::\nlocals:!::\n",
}
NAMES = ("ann", "bob", "cat", "dan")


class World:
    """Accounts, the files they are delivered to, and somebody with an editor."""

    def __init__(self, root, **options):
        self.etc = root / "etc"
        self.etc.mkdir(parents=True)
        for name, text in FILES.items():
            (self.etc / name).write_text(text)
        self.accounts = FakeAccounts()
        self.clock = Clock()
        self.audit = FakeAudit()
        self.target = FilesTarget(FilesSettings("local", root, root / "journal", **options))
        self.edits = Edits(
            self.clock,
            self.accounts,
            [self.target, object()],
            floors=lambda: SimpleNamespace(uid_floor=1000, gid_floor=1000),
            machine="frodo",
            ready=lambda: succeed(None),
            clock=lambda: 1,
            in_thread=maybeDeferred,
            trail=AuditTrail(self.audit, self.clock.seconds),
        )
        for number, name in enumerate(NAMES):
            entry = UserEntry(name, 2000 + number, 100, name.title(), f"/home/{name}", "/bin/sh")
            self.put(
                intents.create_user(
                    self.view, entry, 1, password=Password(f"$6$s${name}", 20000), aging=Aging(0, 99999, 7)
                )
            )
        self.put(intents.create_group(self.view, GroupEntry("hobbits", 2100), 1))
        self.put(intents.add_member(self.view, "hobbits", "ann"))
        now(self.edits.start())
        self.turn()
        self.deliver()

    @property
    def view(self):
        return self.accounts.view

    def put(self, changes):
        return self.accounts.put_changes(changes)

    def deliver(self):
        everybody = [*self.view.users(), *self.view.groups()]
        states = [state for one in everybody for state in states_of(self.view, one.id)]
        return self.target.deliver(states)

    def turn(self):
        """Let polls come until one saw the same files twice."""
        for _ in range(3):
            self.clock.advance(INTERVAL)

    def write(self, file, old, new):
        path = self.etc / file
        text = path.read_text()
        assert old in text
        # Another inode, as a rename leaves it: the time of the last change may be the same.
        path.rename(path.with_name("old"))
        path.write_text(text.replace(old, new, 1))

    def line(self, file, name):
        found = [line for line in (self.etc / file).read_text().splitlines() if line.startswith(f"{name}:")]
        return found[0] if found else None

    def told(self):
        return " ".join([*self.edits.problems(), *self.target.conflicts()])

    def adopt(self, names):
        return now(self.edits.adopt("local", names))

    def close(self):
        now(self.edits.stop())
        self.target.close()
        assert self.clock.getDelayedCalls() == []


@contextmanager
def world_in(directory, **options):
    world = World(Path(directory), **options)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def world(tmp_path):
    with world_in(tmp_path / "root") as made:
        yield made


def test_each_part_of_a_line_becomes_a_change_of_its_own(world):
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann B.:/home/ann:/bin/ksh")
    world.write("shadow", "bob:$6$s$bob:20000:0:99999:7:::", "bob:!$6$s$new:20001:0:90:7:::")
    world.write("group", "hobbits:x:2100:ann", "hobbits:x:2100:bob,cat")
    world.turn()
    ann, bob = world.view.user("ann"), world.view.user("bob")
    assert (ann.entry.gecos, ann.entry.shell, ann.password.hash) == ("Ann B.", "/bin/ksh", "$6$s$ann")
    assert (bob.password.hash, bob.password.changed, bob.locked, bob.aging.maximum) == ("$6$s$new", 20001, True, 90)
    assert world.view.group("hobbits").members == ("bob", "cat")
    assert all(outcome.verdict == "delivered" for outcome in world.deliver())
    assert world.told() == ""
    assert (
        max(row.author for row in world.accounts.rows.values() if row.author != "root@frodo") == "edit of local@frodo"
    )


def test_an_edit_by_hand_is_in_the_audit_log_with_its_words_and_never_a_hash(world):
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann B.:/home/ann:/bin/ksh")
    world.write("shadow", "bob:$6$s$bob:20000:0:99999:7:::", "bob:!$6$s$new:20001:0:90:7:::")
    world.write("group", "hobbits:x:2100:ann", "hobbits:x:2100:bob")
    world.write("passwd", "local:x:1500", "new:x:2050:100::/home/new:/bin/sh\nlocal:x:1500")
    world.write("shadow", "local:!", "new:!:20000::::::\nlocal:!")
    world.turn()
    lines = {(line["object"], line["user"]): line for line in world.audit.lines}
    assert {who: line["detail"] for who, line in lines.items()} == {
        ("user", "ann"): "gecos, shell",
        ("user", "bob"): "password, aging, locked",
        ("user", "new"): "new",
        ("group", "hobbits"): "+bob, -ann",
    }
    for line in lines.values():
        assert (line["event"], line["outcome"]) == ("edit", "changed")
        assert (line["source"], line["author"]) == ("hand edit on frodo", "edit of local@frodo")
    assert "$6$" not in str(world.audit.lines)


def test_who_takes_an_edit_over_is_in_the_audit_log(world):
    world.put(intents.modify_user(world.view, "cat", replace(world.view.user("cat").entry, shell="/bin/csh")))
    world.write("passwd", "Cat:/home/cat:/bin/sh", "Cat:/home/cat:/bin/zsh")
    world.turn()
    world.audit.lines.clear()
    now(world.edits.adopt("local", ["cat"], Source(uid=0)))
    [line] = world.audit.lines
    assert (line["event"], line["user"], line["detail"], line["outcome"]) == ("adopt", "cat", "shell", "changed")
    assert line["source"] == "local uid 0"


def test_a_file_that_is_still_being_written_is_waited_for(world):
    world.clock.advance(INTERVAL)
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann:/home/ann:/bin")
    world.clock.advance(INTERVAL)
    world.write("passwd", ":Ann:/home/ann:/bin", ":Ann:/home/ann:/bin/ksh")
    world.clock.advance(INTERVAL)
    assert world.view.user("ann").entry.shell == "/bin/sh"
    world.clock.advance(INTERVAL)
    assert world.view.user("ann").entry.shell == "/bin/ksh"


def test_base_is_no_longer_the_winner_then_a_person_decides(world):
    old = world.view.user("ann").entry
    world.put(intents.modify_user(world.view, "ann", UserEntry("ann", 2000, 100, old.gecos, "/srv/ann", old.shell)))
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann:/home/ann:/bin/ksh")
    world.turn()
    assert "ann was edited here, and changed in the cluster too" in world.told()
    assert world.view.user("ann").entry.shell == "/bin/sh"
    assert world.adopt(["ann"]).changed == ("user ann: home, shell",)
    assert (world.view.user("ann").entry.shell, world.view.user("ann").entry.home) == ("/bin/ksh", "/home/ann")
    world.deliver()
    world.turn()
    assert world.told() == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("shadow", "ann:$6$s$ann:", "ann::", "empty password"),
        ("passwd", "ann:x:2000:", "ann:x:2999:", "numbers are never changed"),
        ("passwd", "ann:x:2000:100:", "ann:x:2000:0:", "the group of root"),
        ("passwd", "ann:x:", "ann:$6$s$ann:", "pwconv"),
        ("passwd", "ann:x:2000:100:Ann:/home/ann:/bin/sh\n", "", "was taken out"),
        ("shadow", "ann:$6$s$ann:20000:0:99999:7:::\n", "", "was taken out"),
        ("passwd", "ann:x:2000:100:Ann:/home/ann:/bin/sh\n", "ann:x:2000\n", "cannot be read"),
        ("group", "hobbits:x:2100:", "hobbits:x:2101:", "numbers are never changed"),
        ("gshadow", "hobbits:!::ann", "hobbits:!::", "has other members than in"),
        ("group", "hobbits:x:2100:ann", "hobbits:x:2100:ann,local", "no user 'local'"),
    ],
)
def test_what_is_left_alone_and_told(world, file, old, new, why):
    before = dict(world.accounts.rows)
    world.write(file, old, new)
    world.turn()
    assert why in world.told()
    assert world.accounts.rows == before
    world.deliver()
    assert why in world.told() or "left alone" in world.told()
    # Put back by hand: nothing is left of it.
    if new:
        world.write(file, new, old)
    else:
        (world.etc / file).write_text((world.etc / file).read_text() + old)
    world.turn()
    assert world.told() == ""


def test_an_old_password_that_is_back_is_no_edit_and_one_return_of_a_shell_is(world):
    world.put(intents.set_password(world.view, "ann", Password("$6$s$second", 20001)))
    world.deliver()
    world.write("shadow", "ann:$6$s$second:20001", "ann:$6$s$ann:20000")
    world.turn()
    assert "older password" in world.told()
    assert world.view.user("ann").password.hash == "$6$s$second"
    for turn, shell in enumerate(("/bin/ksh", "/bin/sh", "/bin/ksh")):
        world.write("passwd", world.line("passwd", "bob"), f"bob:x:2001:100:Bob:/home/bob:{shell}")
        world.turn()
        world.deliver()
        assert world.view.user("bob").entry.shell == shell, turn
    world.write("passwd", world.line("passwd", "bob"), "bob:x:2001:100:Bob:/home/bob:/bin/sh")
    world.turn()
    assert "goes back and forth" in world.told()
    assert world.view.user("bob").entry.shell == "/bin/ksh"


def test_accounts_that_were_there_stay_the_machines_and_new_ones_are_the_clusters(world):
    assert world.view.user("local") is None
    (world.etc / "passwd").write_text((world.etc / "passwd").read_text() + "eve:x:2500:2500::/home/eve:/bin/sh\n")
    (world.etc / "shadow").write_text((world.etc / "shadow").read_text() + "eve:$6$s$eve:20002:0:99999:7:::\n")
    (world.etc / "group").write_text((world.etc / "group").read_text() + "eve:x:2500:\nnew:x:2501:eve,bob\n")
    world.turn()
    assert world.view.user("eve").password == Password("$6$s$eve", 20002)
    assert world.view.group("new").members == ("bob", "eve")
    before = (world.etc / "passwd").read_text()
    assert all(outcome.verdict == "delivered" for outcome in world.deliver())
    assert (world.etc / "passwd").read_text() == before
    assert world.adopt(["local"]).changed == ("user local: new",)
    assert world.told() == ""


def test_renamed_and_a_member_of_its_groups_under_the_new_name(world):
    world.write("passwd", "ann:x:2000:", "anne:x:2000:")
    world.write("shadow", "ann:$6$s$ann", "anne:$6$s$ann")
    world.write("group", "hobbits:x:2100:ann", "hobbits:x:2100:anne")
    world.write("gshadow", "hobbits:!::ann", "hobbits:!::anne")
    world.turn()
    assert world.view.user("anne").entry.uid == 2000
    assert world.view.group("hobbits").members == ("anne",)
    assert all(outcome.verdict == "delivered" for outcome in world.deliver())
    assert world.line("passwd", "ann") is None
    assert world.told() == ""


def test_many_at_once_stop_everything_until_somebody_decides(world):
    lines = "".join(f"new{number}:x:{3000 + number}:100::/:/bin/sh\n" for number in range(6))
    (world.etc / "passwd").write_text((world.etc / "passwd").read_text() + lines)
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann:/home/ann:/bin/ksh")
    world.turn()
    assert "all at once" in world.told()
    assert world.view.user("new0") is None
    assert world.view.user("ann").entry.shell == "/bin/sh"
    assert world.adopt(["new0"]).changed == ("user new0: new",)
    assert world.view.user("ann").entry.shell == "/bin/sh"
    assert len(world.adopt(None).changed) == 6
    assert world.view.user("ann").entry.shell == "/bin/ksh"
    world.deliver()
    world.turn()
    assert world.told() == ""


def test_reassert_leaves_new_accounts_to_the_machine(world):
    (world.etc / "passwd").write_text((world.etc / "passwd").read_text() + "twin:x:2000:100::/:/bin/sh\n")
    world.turn()
    assert "twin is not taken over" in world.told()
    world.target.reassert(["twin"])
    world.deliver()
    world.turn()
    assert world.told() == ""


def test_adopting_a_deletion_deletes(world):
    world.write("passwd", "ann:x:2000:100:Ann:/home/ann:/bin/sh\n", "")
    world.write("shadow", "ann:$6$s$ann:20000:0:99999:7:::\n", "")
    world.turn()
    assert world.view.user("ann") is not None
    assert world.adopt(["ann"]).changed == ("user ann: deleted",)
    assert world.view.user("ann") is None


def test_only_reported_where_so_wished(tmp_path):
    with world_in(tmp_path / "root", edits="report") as world:
        world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann:/home/ann:/bin/ksh")
        world.turn()
        assert "edits are only reported here" in world.told()
        [line] = world.audit.lines
        assert (line["event"], line["user"], line["outcome"]) == ("edit", "ann", "refused")
        assert "only reported" in line["detail"]
        assert world.view.user("ann").entry.shell == "/bin/sh"


def test_a_machine_without_its_files_is_a_problem_and_the_loop_lives_on(world, logged_errors):
    (world.etc / "shadow").rename(world.etc / "away")
    world.turn()
    assert "does not exist" in world.told()
    (world.etc / "away").rename(world.etc / "shadow")
    world.write("passwd", ":Ann:/home/ann:/bin/sh", ":Ann:/home/ann:/bin/ksh")
    world.turn()
    assert world.view.user("ann").entry.shell == "/bin/ksh"
    assert world.told() == ""


def test_the_operation_for_administrators(world):
    operation = edit_operations(world.edits)["accounts.adopt"]
    assert operation.needs_root
    answer = now(operation.run({"target": "local", "names": ["local", "nobody-there"]}, SimpleNamespace(uid=0), None))
    assert answer["changed"] == ["user local: new"]
    with pytest.raises(Refused, match="no target 'x'"):
        now(operation.run({"target": "x"}, SimpleNamespace(uid=0), None))
    with pytest.raises(MalformedError):
        now(operation.run({"target": "local", "names": "ann"}, None, None))


edited = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["gecos", "home", "shell", "hash", "days", "lock", "member"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(edited, min_size=1, max_size=3))
def test_any_edits_end_in_the_cluster_as_they_stand_or_are_told(rounds):
    """Afterwards a delivery writes nothing: the cluster wants what stands there, but for what is told."""
    with tempfile.TemporaryDirectory() as directory, world_in(Path(directory, "root")) as world:
        for edits in rounds:
            for name, part, value in edits:
                edit(world, name, part, value)
            world.turn()
            before = {file: (world.etc / file).read_text() for file in FILES if file != "gshadow"}
            outcomes = world.deliver()
            assert {file: (world.etc / file).read_text() for file in before} == before
            assert all(outcome.verdict == "delivered" for outcome in outcomes) or world.told()


def edit(world, name, part, value):
    if part == "member":
        line = world.line("group", "hobbits")
        members = [one for one in line.split(":")[3].split(",") if one]
        members = [one for one in members if one != name] if name in members else [*members, name]
        world.write("group", line, ":".join([*line.split(":")[:3], ",".join(members)]))
        return
    file = "passwd" if part in {"gecos", "home", "shell"} else "shadow"
    line = world.line(file, name)
    fields = line.split(":")
    if part == "lock":
        fields[1] = fields[1][1:] if fields[1].startswith("!") else "!" + fields[1]
    elif part == "hash":
        fields[1] = f"$6$s$edited{value}"
    else:
        fields[{"gecos": 4, "home": 5, "shell": 6, "days": 4}[part]] = f"{value}" if part == "days" else f"/{value}"
    world.write(file, line + "\n", ":".join(fields) + "\n")
