"""A directory that is killed and comes back, again and again, under a stream of password changes."""

import os
import subprocess

import pytest
from cluster import wait_until
from support.people import PASSWORD, PEOPLE, import_people
from support.requires import missing
from support.slapd import BASE, Slapd
from support.stream import Stream

TARGETS = """
[[target]]
name = "directory"
type = "ldap"
uris = ["{uri}"]
base = "ou=people,{base}"
"""


@pytest.fixture(scope="module")
def slapd(directory):
    home = directory / "slapd"
    home.mkdir()
    server = Slapd(home)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def master(cluster, description, directory, slapd):
    """Return a master that delivers to the directory, with people on both."""
    if os.geteuid() != 0:
        missing("root (only root imports accounts)", "run the tests as root")
    description.write_text(description.read_text() + "\n[accounts]\nhash_cost = 5000\n")
    for name in PEOPLE:
        slapd.user(name)
    (directory / "targets.toml").write_text(TARGETS.format(uri=slapd.local, base=BASE))
    machine = cluster.add_master("frodo", "--targets", str(directory / "targets.toml"))
    cluster.start(machine)
    import_people(cluster, machine, directory)
    return machine


def backlog(cluster, master):
    return next(target["backlog"] for target in cluster.status(master)["targets"])


def test_changes_go_on_and_the_directory_has_the_last_of_each(cluster, master, slapd):
    """Killed with SIGKILL three times, once together with the master; what it missed it gets, and nothing older."""
    wait_until(lambda: backlog(cluster, master) == 0, "the directory has the imported passwords")
    with Stream([master], dict.fromkeys(("sam", "rosie"), PASSWORD)) as stream:
        for turn in range(3):
            before = stream.acknowledged
            slapd.process.kill()
            slapd.process.wait()
            wait_until(lambda before=before: stream.acknowledged >= before + 4, "changes go on without it", 60)
            if turn == 1:
                master.kill()
                master.start()
                master.wait_ready(cluster.zone)
            slapd.process = subprocess.Popen(slapd.process.args, stdout=slapd.log, stderr=slapd.log)
            slapd.wait()
            before = stream.acknowledged
            wait_until(lambda before=before: stream.acknowledged >= before + 2, "changes go on with it", 60)
    assert not stream.errors
    wait_until(lambda: backlog(cluster, master) == 0, "nothing waits for the directory", 60)
    for user, history in stream.histories.items():
        held = {password for password in history.possible if master.nslcd.login(user, password)}
        assert len(held) == 1, stream.outcomes
        assert slapd.lets_in(user, next(iter(held)).encode())
        assert len(slapd.values(user)) == 1, "one value, not one per try"
    assert cluster.status(master)["alarms"] == []
    assert b"Traceback" not in master.log.read_bytes()
