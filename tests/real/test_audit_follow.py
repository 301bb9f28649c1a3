"""``beonss audit --follow``: over rotations of the log, and with readers that are killed."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from cluster import BIN, wait_until


@pytest.fixture(scope="module")
def masters(cluster):
    """Return two masters that reach each other."""
    frodo = cluster.add_master("frodo", "--boot-wait", "1")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", "--boot-wait", "1")
    cluster.start(gamgee)
    for machine in (frodo, gamgee):
        wait_until(lambda machine=machine: reachable(cluster, machine), "they reach each other")
    return frodo, gamgee


def reachable(cluster, machine):
    """Say whether a master reaches all others."""
    return all(member["reachable"] or member["this"] for member in cluster.status(machine)["members"])


class Follower:
    """A process that follows, and what it has told."""

    def __init__(self, machine, *words):
        self.lines = []
        self.process = subprocess.Popen(
            [str(BIN / "beonss"), "audit", "--follow", "--json", *words, "--control", str(machine.control)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    @property
    def groups(self):
        """The names of the groups that were made, as told."""
        return [line["object"].split()[1] for line in self.lines if line.get("object", "").startswith("group g")]

    def end(self, number):
        """Send a signal, unless it has ended; return how it ended."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.thread.join(30)
        self.process.stdout.close()
        return code


def descriptors(machine):
    return len(list(Path(f"/proc/{machine.process.pid}/fd").iterdir()))


def change(cluster, machine, number):
    """Make a change with an audit line of its own on one master."""
    cluster.run("beonss", "group", "add", f"g{number}", "--control", str(machine.control))


def test_each_line_is_told_once_over_rotations_on_both_masters(cluster, masters):
    follower = Follower(masters[0], "--lines", "0")
    try:
        for number in range(50):
            change(cluster, masters[0], number)
            # What was there before it began is not told.
            if follower.groups:
                break
        made = []
        for step in range(100, 112, 2):
            # A rotation comes once a day: what was written since the one before has been read.
            wait_until(lambda made=tuple(made): set(made) <= set(follower.groups), "told in time")
            machine = masters[step // 2 % 2]
            log = machine.directory / "state" / "audit.jsonl"
            change(cluster, machine, step)
            log.replace(log.with_name("audit.jsonl.1"))
            change(cluster, machine, step + 1)
            made += [f"g{step}", f"g{step + 1}"]
        wait_until(lambda: made[-1] in follower.groups, "all is told")
        assert [group for group in follower.groups if int(group[1:]) >= 100] == made
        assert follower.end(signal.SIGINT) == 0
    finally:
        follower.end(signal.SIGKILL)


def test_readers_that_are_killed_or_stopped_leave_nothing_behind(cluster, masters):
    """Nobody remembers who reads: not the master that is asked, nor those it asks."""
    frodo, gamgee = masters
    change(cluster, frodo, 199)
    before = [descriptors(machine) for machine in masters]
    followers = [Follower(frodo) for _ in range(3)]
    try:
        wait_until(lambda: all(follower.lines for follower in followers), "all follow")
        assert descriptors(frodo) >= before[0] + 3
        followers[0].process.send_signal(signal.SIGSTOP)
        change(cluster, gamgee, 200)
        wait_until(lambda: all("g200" in follower.groups for follower in followers[1:]), "the others are told")
        for follower in followers:
            assert follower.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: [descriptors(machine) for machine in masters] <= before, "nothing is held for them")
        again = cluster.run("beonss", "audit", "--json", "--lines", "2", "--control", str(frodo.control))
        assert {json.loads(line)["machine"] for line in again.stdout.splitlines()} == {"frodo", "gamgee"}
    finally:
        for follower in followers:
            follower.end(signal.SIGKILL)
