"""A master that is stopped in the middle of its answer: the others are asked, and nobody waits for it."""

import json
import signal

import pytest
from cluster import wait_until
from support.people import import_people

from beonss.errors import BeonssError
from beonss.store.control import ControlClient

PEOPLE = {f"u{number}": 3000 + number for number in range(4000)}


@pytest.fixture(scope="module")
def masters(cluster, directory):
    """Return two masters with so many users that an answer with all of them takes a while."""
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    import_people(cluster, frodo, directory, PEOPLE)
    gamgee = cluster.add_master("gamgee")
    cluster.start(gamgee)
    wait_until(lambda: users(gamgee) == len(PEOPLE), "both have all")
    return frodo, gamgee


def status(machine):
    """Return the status, asked without a process, or nothing if nobody answers yet."""
    try:
        with ControlClient(str(machine.control), timeout=10) as client:
            return client.ask("status").data
    except (BeonssError, OSError):
        return {}


def users(machine):
    return status(machine).get("accounts", {}).get("users", 0)


@pytest.mark.parametrize("number", [0, 1])
def test_a_new_master_gets_everything_from_the_other_one(cluster, masters, number):
    """Whichever of the two was asked first."""
    stopped = masters[number]
    new = cluster.add_master(f"new{number}")
    new.start()
    wait_until(lambda: users(new) > 0, "an answer has begun to come in")
    stopped.send(signal.SIGSTOP)
    try:
        wait_until(lambda: users(new) == len(PEOPLE), "everything is there without it")
        wait_until(lambda: status(new)["boot"] != "starting", "logins do not wait for it")
        if status(new)["boot"] == "partial":
            assert stopped.name in status(new)["missing"]
        # What others change meanwhile comes as ever.
        assert not locked(cluster, new, f"u{number}")
        word = cluster.run(
            "beonss", "user", "lock", f"u{number}", "--control", str(masters[1 - number].control), check=False
        )
        assert word.returncode in {0, 3}, word.stderr
        wait_until(lambda: status(new)["boot"] and locked(cluster, new, f"u{number}"), "the news of others comes")
    finally:
        stopped.send(signal.SIGCONT)
    wait_until(lambda: status(new)["boot"] == "reconciled", "it has answered too")
    wait_until(lambda: all(m["this"] or m["reachable"] for m in status(new)["members"]), "all are reached")
    wait_until(lambda: not any(m["buffered"] for m in status(masters[0])["members"]), "all have all")


def locked(cluster, machine, name):
    shown = cluster.run("beonss", "user", "show", name, "--json", "--control", str(machine.control))
    return json.loads(shown.stdout)["user"]["state"] == "locked"
