"""What a master does with what is broken: a clear word, an exit code, and nothing lost."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from cluster import BIN, ROOT, wait_until
from support.people import PASSWORD, import_people
from support.registers import row
from support.requires import missing

from beonss.core.replication.registers import Change
from beonss.daemon.node_memory import NodeMemory
from beonss.store.database import Database
from beonss.store.keys import load_cluster_public, load_roster


@pytest.fixture(scope="module")
def frodo(cluster, directory):
    """Return a master that has run with users and is stopped."""
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    import_people(cluster, frodo, directory)
    frodo.stop()
    return frodo


@pytest.fixture
def state(frodo, tmp_path):
    """Return a copy of the master's state directory to do damage to."""
    copy = tmp_path / "state"
    shutil.copytree(frodo.directory / "state", copy)
    copy.chmod(0o700)
    return copy


@pytest.fixture
def founded(cluster, tmp_path):
    """Return the state directory of a new cluster that has no description yet."""
    state = tmp_path / "founded"
    cluster.run("beonss", "init", "--state", str(state), "--name", "frodo", "--address", "127.0.0.1:1")
    return state


def start(frodo, *prefix, state=None, config=None):
    """Start the master to its end, which must come by itself."""
    words = list(map(str, frodo.arguments))
    for option, value in (("--state", state), ("--config", config)):
        if value is not None:
            words[words.index(option) + 1] = str(value)
    done = subprocess.run(
        [*prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *words],
        cwd=frodo.directory, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def fill(path):
    """Write into a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                for _ in range(4096):
                    file.write(bytes(size))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cluster\n", ":1:"),
        ("", "cluster"),
        ("[cluster]\nname = 7\n", "name"),
        ('[cluster]\nname = "x"\nzone = "x.example"\ncolour = "red"\n', "colour"),
        ("\x00\x01\x02", "TOML"),
    ],
)
def test_a_broken_description(frodo, founded, tmp_path, text, says):
    config = tmp_path / "broken.toml"
    config.write_text(text)
    said = start(frodo, config=config, state=founded)
    assert "broken.toml" in said
    assert says in said


def test_a_description_that_is_not_there(frodo, founded, tmp_path):
    assert "no-such.toml" in start(frodo, config=tmp_path / "no-such.toml", state=founded)


def test_a_cluster_that_has_a_description_starts_without_the_file(cluster, frodo, tmp_path):
    """What is in force is in the database; a file that was damaged since is an alarm and stops nobody."""
    config = tmp_path / "broken.toml"
    config.write_text("[cluster\n")
    saved = frodo.arguments
    words = list(map(str, saved))
    words[words.index("--config") + 1] = str(config)
    frodo.arguments = words
    try:
        cluster.start(frodo)
        assert frodo.ask("r01n07.fellow.aero.org").answers == ("A 10.5.1.7",)
        assert any("broken.toml" in alarm for alarm in cluster.status(frodo)["alarms"])
    finally:
        frodo.stop()
        frodo.arguments = saved


@pytest.mark.parametrize("damage", ["truncated", "garbage", "holes"])
def test_a_damaged_database_is_left_as_it_is(frodo, state, damage):
    database = state / "accounts.db"
    data = database.read_bytes()
    if damage == "truncated":
        bad = data[: len(data) // 2]
    elif damage == "garbage":
        bad = b"all that is gold does not glitter\n" * 500
    else:
        bad = data[:4096] + b"\xa5" * (len(data) - 8192) + data[-4096:]
    for path in state.glob("accounts.db-*"):
        path.unlink()
    database.write_bytes(bad)
    said = start(frodo, state=state)
    assert "accounts.db" in said
    assert database.read_bytes() == bad


def test_a_commit_that_was_damaged_is_an_alarm_and_those_behind_it_are_served(cluster, frodo, state):
    """After a kill, a bit of the file of commits is another: what is behind it stands all the same."""
    database = Database(state / "accounts.db", frodo_cluster(state), quick=True)
    before = database.meta("incarnation")
    entries = [row for batch in database.registers() for row in batch if row.key.field == "entry"][:3]
    for entry in entries:
        changed = entry.value.replace(b"/home/", b"/homes/")
        assert changed != entry.value
        database.write([Change(entry.key, changed)], 2, "root@frodo", before.decode())
    database._connection.close()
    commits = state / "accounts.db-commits"
    data = bytearray(commits.read_bytes())
    data[data.index(entries[1].key.object.encode())] ^= 1
    commits.write_bytes(data)
    saved = frodo.arguments
    words = list(map(str, saved))
    words[words.index("--state") + 1] = str(state)
    frodo.arguments = words
    try:
        cluster.start(frodo)
        alarms = [alarm for alarm in cluster.status(frodo)["alarms"] if "accounts.db-commits" in alarm]
        assert len(alarms) == 1
        assert "1 behind it could be read" in alarms[0]
    finally:
        frodo.stop()
        frodo.arguments = saved
    again = Database(state / "accounts.db", frodo_cluster(state))
    held = [b"/homes/" in again.register(entry.key).value for entry in entries]
    assert held == [True, False, True]
    assert again.meta("incarnation") != before
    assert again.meta("lost") is None
    again.close()


def frodo_cluster(state):
    """Return the id of the cluster of a state directory."""
    return load_roster(state).cluster


def test_a_fifo_in_the_place_of_the_commits_is_refused_at_once(frodo, state):
    (state / "accounts.db-commits").unlink()
    os.mkfifo(state / "accounts.db-commits")
    said = start(frodo, state=state)
    assert "accounts.db-commits: is no regular file" in said
    assert "kernel" not in said


def test_a_node_whose_memory_was_changed_by_hand_begins_anew(cluster, frodo):
    """Nobody repairs a node: it ends, with the reason, and the start after that one serves."""
    node = cluster.add_node("odd")
    state = node.directory / "state"
    state.mkdir(mode=0o700)
    path = state / "memory.db"
    roster = NodeMemory(state, load_cluster_public(cluster.cluster_key)).roster()
    database = Database(path, roster.cluster, scope="public")
    database.merge([row("f" * 32, "entry", b"{}")])
    database.close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE register SET value = CAST(value AS TEXT)")
    connection.close()
    try:
        assert "changed by hand" in start(node)
        assert list(state.glob("memory.db.damaged-*"))
        node.start()
        wait_until(node.control.exists, "the node runs")
    finally:
        node.stop()
        del cluster.nodes["odd"]


def test_a_row_that_was_changed_by_hand_is_told(frodo, state):
    """SQLite has nothing against a value that is text; no version of ours writes one."""
    connection = sqlite3.connect(state / "accounts.db")
    with connection:
        connection.execute("UPDATE register SET value = CAST(value AS TEXT) WHERE field = 'password'")
    connection.close()
    said = start(frodo, state=state)
    assert "/password" in said
    assert "changed by hand" in said
    assert "$6$" not in said


def test_an_empty_or_strange_state_directory(frodo, tmp_path):
    assert "beonss init" in start(frodo, state=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "beonss join" in start(frodo, state=tmp_path / "empty")


def test_a_private_key_that_others_may_read(frodo, state):
    (state / "member.key").chmod(0o644)
    assert "chmod 600" in start(frodo, state=state)


def test_a_member_list_that_was_tampered_with(frodo, state):
    members = state / "members"
    data = bytearray(members.read_bytes())
    data[len(data) // 2] ^= 1
    members.write_bytes(data)
    assert "members" in start(frodo, state=state)


def test_a_state_directory_in_use(cluster, frodo):
    cluster.start(frodo)
    try:
        assert "in use" in start(frodo)
    finally:
        frodo.stop()


def test_a_read_only_state_directory(frodo, state):
    if os.geteuid() != 0:
        missing("root (to mount read-only)", "run as root")
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    said = start(frodo, "unshare", "--mount", "sh", "-c", script, str(state), state=state)
    assert str(state) in said
    assert "read-only" in said.lower() or "cannot" in said.lower()


def test_a_full_disk_refuses_changes_and_loses_nothing(cluster, frodo, state):
    if os.geteuid() != 0:
        missing("root (to mount a small file system)", "run as root")
    words = list(map(str, frodo.arguments))
    words[words.index("--state") + 1] = str(state)
    script = (
        'cp -a "$0" "$0.kept" && mount -t tmpfs -o size=2m,mode=700 tmpfs "$0" && cp -a "$0.kept/." "$0" && exec "$@"'
    )
    saved = frodo.arguments
    frodo.arguments, frodo.prefix = words, ("unshare", "--mount", "sh", "-c", script, str(state))
    try:
        cluster.start(frodo)
        inside = Path(f"/proc/{frodo.process.pid}/root{state}")
        fill(inside / "ballast")
        refused = False
        for number in range(200):
            done = cluster.run(
                "cpasswd", "sam", "--stdin", "--socket", str(frodo.control),
                text=f"Full-of-mushrooms-{number}\n", check=False,
            )  # fmt: skip
            if done.returncode:
                refused = True
                break
        assert refused, "a full disk never refused anything"
        assert "Traceback" not in done.stdout + done.stderr
        held = PASSWORD if number == 0 else f"Full-of-mushrooms-{number - 1}"
        assert frodo.nslcd.login("sam", held), "the last acknowledged password holds"
        assert frodo.nslcd.user("sam") is not None
        assert any("the disk is full" in alarm for alarm in cluster.status(frodo)["alarms"])
        (inside / "ballast").unlink()
        if frodo.process.poll() is None:
            wait_until(
                lambda: not cluster.run(
                    "cpasswd", "sam", "--stdin", "--socket", str(frodo.control),
                    text="Room-at-last-1\n", check=False,
                ).returncode,
                "with room again, changes are taken",
            )  # fmt: skip
            assert frodo.nslcd.login("sam", "Room-at-last-1")
            assert not any("disk is full" in alarm for alarm in cluster.status(frodo)["alarms"])
    finally:
        frodo.stop()
        frodo.arguments, frodo.prefix = saved, ()


def test_the_examples_are_sound(cluster):
    for path in sorted((ROOT / "examples").glob("*.toml")):
        cluster.run("beonss", "check", str(path))
