"""A master that delivers: cpasswd to account files, a directory and a command, through outages of each."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from cluster import wait_until
from support.requires import missing
from support.slapd import BASE, Slapd

FIRST, SECOND, THIRD = "over-hill-under-hill", "Buckleberry-ferry-19", "eleventy-first-Bday"

TARGETS = """
[[target]]
name = "local"
type = "files"
root = "{root}"
edits = "report"

[[target]]
name = "directory"
type = "ldap"
uris = ["{uri}"]
base = "ou=people,{base}"

[[target]]
name = "hook"
type = "command"
argv = ["{python}", "-I", "{hook}", "{out}"]
"""

HOOK = """
import json, os, sys
if os.path.exists(sys.argv[1] + ".away"):
    sys.exit(75)
told = json.load(sys.stdin)
with open(sys.argv[1], "a") as out:
    print(told["event"], told["kind"], told["name"], bool(told.get("hash")), file=out)
"""


@pytest.fixture(scope="module")
def slapd(directory):
    home = directory / "slapd"
    home.mkdir()
    server = Slapd(home)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def machine(cluster, directory, slapd):
    """Return a master with three targets and two users imported."""
    if os.geteuid() != 0:
        missing("root (only root imports accounts)", "run the tests as root")
    if shutil.which("openssl") is None:
        missing("the program openssl", "apt install openssl")
    etc = directory / "root" / "etc"
    etc.mkdir(parents=True)
    for name, text in (
        ("passwd", "# kept\nroot:x:0:0:root:/root:/bin/sh\n"),
        ("shadow", "root:*:19000:0:99999:7:::\n"),
        ("group", "root:x:0:\n"),
        ("gshadow", "root:*::\n"),
    ):
        (etc / name).write_text(text)
    (directory / "hook.py").write_text(HOOK)
    (directory / "targets.toml").write_text(
        TARGETS.format(
            root=etc.parent,
            uri=slapd.local,
            base=BASE,
            python=sys.executable,
            hook=directory / "hook.py",
            out=directory / "hook.out",
        )
    )
    slapd.user("frodo")
    master = cluster.add_master("frodo", "--targets", str(directory / "targets.toml"))
    cluster.start(master)
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=FIRST, capture_output=True, text=True, check=True
    ).stdout.strip()
    (directory / "passwd").write_text(
        "frodo:x:2001:2000:Frodo:/home/frodo:/bin/sh\nsam:x:2002:2000:Sam:/home/sam:/bin/sh\n"
    )
    (directory / "shadow").write_text(f"frodo:{hashed}:19000:0:99999:7:::\nsam:{hashed}:19000:0:99999:7:::\n")
    (directory / "group").write_text("hobbits:x:2000:frodo,sam\n")
    accounts(cluster, master, "import", *(f"--{word}={directory / word}" for word in ("passwd", "shadow", "group")))
    return master


def user(cluster, machine, *words):
    return cluster.run("beonss", "user", words[0], "--control", str(machine.control), *words[1:])


def accounts(cluster, machine, *words, check=True):
    return cluster.run("beonss", "accounts", words[0], "--control", str(machine.control), *words[1:], check=check)


def change(cluster, machine, new):
    return cluster.run("cpasswd", "frodo", "--stdin", "--socket", str(machine.control), text=f"{new}\n", check=False)


def shadow_line(directory, name):
    for line in (directory / "root" / "etc" / "shadow").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line
    return ""


def target(cluster, machine, name):
    return next(one for one in cluster.status(machine)["targets"] if one["name"] == name)


def test_an_import_reaches_all_targets(cluster, machine, directory, slapd):
    wait_until(lambda: slapd.lets_in("frodo", FIRST.encode()), "the directory lets frodo in")
    wait_until(lambda: shadow_line(directory, "sam"), "sam is in the shadow file")
    wait_until(lambda: "set user sam True" in (directory / "hook.out").read_text(), "the hook heard of sam")
    etc = directory / "root" / "etc"
    assert (etc / "passwd").read_text().startswith("# kept\nroot:x:0:0:root:/root:/bin/sh\n")
    assert "frodo:x:2001:2000:Frodo:/home/frodo:/bin/sh\n" in (etc / "passwd").read_text()
    assert "hobbits:x:2000:frodo,sam\n" in (etc / "group").read_text()


def test_one_that_the_directory_does_not_know_is_told_and_stops_nobody(cluster, machine):
    wait_until(lambda: "no entry for sam" in (target(cluster, machine, "directory")["error"] or ""), "sam is told")
    assert "no entry for sam" in user(cluster, machine, "show", "sam").stdout


def test_cpasswd_says_when_each_target_has_it(cluster, machine, directory, slapd):
    done = change(cluster, machine, SECOND)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    for name in ("local", "directory", "hook"):
        assert any(name in line and "changed" in line for line in done.stdout.splitlines()), done.stdout
    assert slapd.lets_in("frodo", SECOND.encode())
    assert not slapd.lets_in("frodo", FIRST.encode())
    hashed = shadow_line(directory, "frodo").split(":")[1]
    salted = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", hashed.split("$")[-2], "-stdin"],
        input=SECOND,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    # openssl knows no other number of rounds than the default: compare only where that was used.
    assert hashed.startswith("$6$")
    assert "rounds=" in hashed or salted == hashed
    assert machine.nslcd.login("frodo", SECOND)


def test_a_target_that_is_away_catches_up_even_over_a_crash(cluster, machine, directory, slapd):
    away = directory / "hook.out.away"
    away.write_text("")
    before = (directory / "hook.out").read_text().count("set user frodo")
    done = change(cluster, machine, THIRD)
    assert "hook" in done.stdout
    assert slapd.lets_in("frodo", THIRD.encode())
    assert target(cluster, machine, "hook")["backlog"] == 1
    machine.kill()
    away.unlink()
    cluster.start(machine)
    wait_until(
        lambda: (directory / "hook.out").read_text().count("set user frodo") > before, "the hook heard of frodo again"
    )
    wait_until(lambda: target(cluster, machine, "hook")["backlog"] == 0, "nothing waits for the hook")


def test_an_edit_by_hand_is_an_alarm_until_it_is_reasserted(cluster, machine, directory):
    shadow = directory / "root" / "etc" / "shadow"
    ours = shadow_line(directory, "frodo")
    theirs = ours.replace("$6$", "$6$0")
    shadow.write_text(shadow.read_text().replace(ours, theirs))
    wait_until(lambda: any("frodo" in alarm for alarm in cluster.status(machine)["alarms"]), "the edit is an alarm")
    user(cluster, machine, "lock", "frodo")
    assert shadow_line(directory, "frodo") == theirs
    assert cluster.run("beonss", "conflicts", "list", "--control", str(machine.control), check=False).returncode == 1
    accounts(cluster, machine, "reassert", "--target", "local", "frodo")
    wait_until(lambda: shadow_line(directory, "frodo").startswith("frodo:!$6$"), "frodo is locked in shadow")
    user(cluster, machine, "unlock", "frodo")
    wait_until(lambda: shadow_line(directory, "frodo") == ours, "frodo is unlocked in shadow")


def test_a_deleted_user_goes_from_the_files(cluster, machine, directory):
    user(cluster, machine, "delete", "sam")
    wait_until(lambda: not shadow_line(directory, "sam"), "sam is gone from shadow")
    etc = directory / "root" / "etc"
    wait_until(lambda: "hobbits:x:2000:frodo\n" in (etc / "group").read_text(), "sam is gone from the group")
    wait_until(lambda: "remove user sam False" in (directory / "hook.out").read_text(), "the hook heard of it")
    assert "sam" not in "".join((etc / name).read_text() for name in ("passwd", "group", "gshadow"))


def test_the_daemon_ends_by_itself_and_logged_no_hash(machine):
    # twistd ends itself by the signal it got, after everything was stopped.
    assert machine.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
    log = machine.log.read_text()
    assert "$6$" not in log
    assert "Traceback" not in log
