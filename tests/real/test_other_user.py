"""Daemons that are started as root and run as another user: what they refuse, and that nothing of root is left."""

import grp
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from cluster import BIN, ROOT, LoopbackCluster, wait_until
from support.other_user import NAME, UID, give_to_user, is_powerless, public_python

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def cluster():
    prefix, environment = public_python()
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    directory.chmod(0o755)
    made = LoopbackCluster(directory, ROOT / "examples" / "fellowship.toml", ZONE)
    try:
        frodo = made.add_master("frodo", "--dns-workers", "2", "--user", NAME)
        frodo.prefix, frodo.environment = prefix, environment
        # Others may not have it: this is what the power over ports is kept for until they are open.
        low = low_port()
        frodo.dns = ("127.0.0.1", low)
        frodo.arguments = [*frodo.arguments, "--dns-listen", f"127.0.0.1:{low}"]
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


def low_port():
    """Return a port that only root may open, and that nobody has."""
    for port in range(1023, 600, -1):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def frodo(cluster):
    """The master, running."""
    machine = cluster.masters["frodo"]
    give_to_user(machine.directory)
    cluster.start(machine)
    return machine


def refused(machine, *more):
    """Start a daemon that must not start; return the line that it ends with."""
    done = subprocess.run(
        [*machine.prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *machine.arguments, *more],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, cwd=machine.directory,
        env={**os.environ, **machine.environment},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def listing(directory):
    return sorted((str(path), path.lstat().st_uid, path.lstat().st_mtime_ns) for path in directory.rglob("*"))


class TestRefusals:
    """Before anything is started, and without a trace."""

    @pytest.fixture
    def machine(self, cluster):
        machine = cluster.masters["frodo"]
        before = listing(machine.directory)
        yield machine
        assert listing(machine.directory) == before

    def test_a_state_directory_of_root(self, machine):
        told = refused(machine)
        state = machine.directory / "state"
        assert told.startswith(f"beonss: {state} and ")
        assert told.endswith(
            f"belongs to root, not to nobody, as whom this daemon is to run; chown -R nobody: {state}\n"
        )

    def test_a_user_that_does_not_exist(self, machine):
        assert "no-such-user: there is no such user" in refused(machine, "--user", "no-such-user")

    def test_root(self, machine):
        assert "leave --user away" in refused(machine, "--user", "root")


def test_account_files_of_root_are_refused(cluster, tmp_path):
    """Only root may change them; the text says what to do."""
    machine = cluster.masters["frodo"]
    if machine.process is not None:
        machine.stop()
    give_to_user(machine.directory)
    root = cluster.directory / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "shadow").touch()
    targets = cluster.directory / "targets.toml"
    targets.write_text(f'[[target]]\nname = "local"\ntype = "files"\nroot = "{root}"\n')
    told = refused(machine, "--targets", str(targets))
    assert f"{targets}: the target local changes {root / 'etc'}, which only its owner or root may" in told
    assert "start it as root without --user, or take the target out" in told


def test_nothing_of_root_is_left(cluster, frodo):
    """In no thread of no process; and the ports below 1024 are served all the same."""
    assert frodo.ask(f"r01n01.{ZONE}").rcode == "NOERROR"
    assert frodo.ask(f"r01n01.{ZONE}", tcp=True).rcode == "NOERROR"
    processes = [frodo.process.pid, *children(frodo.process.pid)]
    assert len(processes) >= 3
    assert [pid for pid in processes if not is_powerless(pid)] == []
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in processes[1:]}
    assert names == {"beonss-dns", "beonss-dns1", "beonss-dns2"}
    shown = subprocess.run(
        ["ps", "-o", "user=", "-p", str(frodo.process.pid)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == NAME


def children(pid):
    """Return all processes that come from one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def test_everything_works(cluster, frodo):
    """Accounts are made and changed, passwords too, and a reload reloads."""
    control = ("--control", str(frodo.control))
    cluster.run("beonss", "user", "add", "alice", *control)
    cluster.run("cpasswd", "alice", "--stdin", "--socket", str(frodo.control), text="correct horse battery\n")
    assert frodo.nslcd.user("alice") is not None
    cluster.run("beonss", "audit", "--here", *control)
    cluster.run("beonss", "backup", str(cluster.directory / "backup"), *control)
    frodo.send(signal.SIGHUP)
    wait_until(lambda: "reload" not in frodo.tail() and frodo.ask(ZONE, "SOA").rcode == "NOERROR", "it answers")
    assert cluster.status(frodo)["alarms"] == []
    strangers = [path for path in frodo.directory.rglob("*") if path.lstat().st_uid != UID and path != frodo.log]
    assert strangers == []


def test_a_crash_is_survived(cluster, frodo):
    frodo.kill()
    cluster.start(frodo)
    assert frodo.nslcd.user("alice") is not None
    assert [pid for pid in (frodo.process.pid, *children(frodo.process.pid)) if not is_powerless(pid)] == []
    # As twistd ends: by the signal that it was told to end with.
    assert frodo.stop() == -signal.SIGTERM
    cluster.start(frodo)


def test_a_node(cluster, frodo):
    """It makes its state and the directories of its sockets, which only root could."""
    sam = cluster.add_node("r01n02", "--user", NAME, "--group", grp.getgrgid(UID).gr_name)
    sam.prefix, sam.environment = public_python()
    public = cluster.directory / "cluster.pub"
    shutil.copy(cluster.cluster_key, public)
    run = cluster.directory / "run-of-a-node"
    words = list(sam.arguments)
    words[words.index("--cluster-key") + 1] = str(public)
    words[words.index("--nslcd") + 1] = str(run / "socket")
    words[words.index("--runtime") + 1] = str(run)
    sam.arguments = words
    sam.directory.chmod(0o755)
    sam.start()
    try:
        wait_until(lambda: (run / "control").exists() and sam.ask(ZONE, "SOA").rcode == "NOERROR", "the node answers")
        assert is_powerless(sam.process.pid)
        assert run.stat().st_uid == (run / "socket").stat().st_uid == UID
        assert (sam.directory / "state").stat().st_mode & 0o777 == 0o700
    finally:
        assert sam.stop() == -signal.SIGTERM
