"""The administrator's command as a target: what it is told, and what its exit code means."""

import json
import stat
import sys
import time

import pytest

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.targets.delivery import GroupState, PermanentTargetError, UserState
from beonss.targets.command import CommandSettings, CommandTarget

USER = UserState(
    "id1",
    "alice",
    UserEntry("alice", 1000, 100, "B\udce9", "/home/alice", "/bin/sh"),
    Password("$6$s$secret", 20000),
    locked=False,
    aging=Aging(0, 99999, 7),
    author="root@frodo",
)


@pytest.fixture
def command(tmp_path):
    def build(body, **options):
        program = tmp_path / "program"
        program.write_text(f"#!{sys.executable} -I\nimport json, os, sys, time\nrest = sys.argv[1:]\n{body}\n")
        program.chmod(stat.S_IRWXU)
        return CommandTarget(CommandSettings("hook", (str(program), str(tmp_path / "out")), **options))

    return build


def told(tmp_path):
    return json.loads((tmp_path / "out").read_text())


SAY = "json.dump([rest[1:], json.load(sys.stdin), sorted(os.environ)], open(rest[0], 'w'))"


def test_a_user_is_told_in_full(command, tmp_path):
    assert command(SAY).deliver([USER])[0].verdict == "delivered"
    arguments, document, environment = told(tmp_path)
    assert arguments == ["set", "user", "alice"]
    assert document == {
        "version": 1,
        "event": "set",
        "kind": "user",
        "id": "id1",
        "name": "alice",
        "author": "root@frodo",
        "uid": 1000,
        "gid": 100,
        "gecos": "B\udce9",
        "home": "/home/alice",
        "shell": "/bin/sh",
        "hash": "$6$s$secret",
        "changed": 20000,
        "locked": False,
        "aging": {"minimum": 0, "maximum": 99999, "warning": 7, "inactive": None, "expires": None},
    }
    assert not set(environment) - {"LANG", "LC_CTYPE", "PATH"}


def test_a_group_and_a_removal(command, tmp_path):
    target = command(SAY)
    target.deliver([GroupState("g1", "hobbits", GroupEntry("hobbits", 1100), ("frodo", "sam"))])
    arguments, document, _ = told(tmp_path)
    assert arguments == ["set", "group", "hobbits"]
    assert (document["gid"], document["members"]) == (1100, ["frodo", "sam"])
    target.deliver([UserState("id1", "alice", None)])
    arguments, document, _ = told(tmp_path)
    assert arguments == ["remove", "user", "alice"]
    assert set(document) == {"version", "event", "kind", "id", "name", "author"}


@pytest.mark.parametrize(
    ("body", "verdict", "text"),
    [
        ("sys.exit(75)", "failed", "tried again later"),
        ("sys.exit(1)", "refused", "ended with code 1"),
        ("sys.exit('no such\\x1b[1m account\\nmore')", "refused", "ended with code 1: no such?[1m account"),
        ("os.kill(os.getpid(), 15)", "failed", "ended by signal 15"),
        ("sys.exit('hash ' + json.load(sys.stdin)['hash'])", "refused", "hash <hidden>"),
    ],
)
def test_what_an_exit_code_means(command, body, verdict, text):
    outcome = command(body).deliver([USER])[0]
    assert (outcome.verdict, text in outcome.text) == (verdict, True), outcome
    assert "secret" not in outcome.text


def test_one_that_hangs_is_killed_with_all_it_started(command, tmp_path):
    body = "import subprocess; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    before = time.monotonic()
    outcome = command(body, timeout=0.5).deliver([USER])[0]
    assert (outcome.verdict, "killed after 0.5 s" in outcome.text) == ("failed", True)
    assert time.monotonic() - before < 30


def test_a_program_that_cannot_be_run_is_said(tmp_path):
    target = CommandTarget(CommandSettings("hook", (str(tmp_path / "missing"),)))
    with pytest.raises(PermanentTargetError, match="cannot be run: No such file"):
        target.deliver([USER])


def test_one_that_reads_nothing_is_no_trouble(command):
    assert command("sys.stdin.close()").deliver([USER])[0].verdict == "delivered"


def test_a_name_is_no_option(command):
    assert command(SAY).deliver([UserState("i", "-rf", None)])[0].verdict == "refused"
