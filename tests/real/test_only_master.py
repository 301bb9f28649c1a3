"""A cluster of one master: it is set back to an old copy, then to nothing; what its node knows, and when it follows."""

import shutil

import pytest
from cluster import wait_until
from support.people import PEOPLE, import_people


@pytest.fixture(scope="module")
def running(cluster, directory):
    """Return the cluster with frodo alone and a node, both running."""
    frodo = cluster.add_master("frodo", "--boot-wait", "1")
    cluster.start(frodo)
    node = cluster.add_node("r01n07")
    cluster.start(node)
    import_people(cluster, frodo, directory)
    return cluster


def beonss(running, *words, check=True):
    return running.run("beonss", *words, "--control", str(running.masters["frodo"].control), check=check)


def shell(node, name):
    user = node.nslcd.user(name)
    return None if user is None else user[-1]


def becomes(node, check, what):
    """Wait until something holds on the node, which knows bilbo all the time."""

    def holds():
        assert node.nslcd.user("bilbo") is not None, "a known user was not known for a moment"
        return check()

    wait_until(holds, what)


def test_a_node_follows_its_only_master_back_to_an_old_copy(running, directory):
    """What was only in the lost disk is nowhere any more; what the copy has is known at every moment."""
    frodo, node = running.masters["frodo"], running.nodes["r01n07"]
    state = frodo.directory / "state"
    frodo.stop()
    shutil.copytree(state, directory / "copy")
    running.start(frodo)
    beonss(running, "user", "add", "rosamunda", "--uid", "3001")
    beonss(running, "user", "modify", "sam", "--shell", "/bin/zsh")
    becomes(node, lambda: shell(node, "sam") == "/bin/zsh" and shell(node, "rosamunda"), "the node follows")
    frodo.stop()
    shutil.rmtree(state)
    shutil.copytree(directory / "copy", state)
    assert shell(node, "rosamunda"), "nobody has said that she is gone"
    running.start(frodo)
    becomes(node, lambda: shell(node, "sam") == "/bin/sh" and shell(node, "rosamunda") is None, "it is as the copy is")
    # The same numbers as before, for something else.
    beonss(running, "user", "add", "daisy", "--uid", "3002")
    beonss(running, "user", "modify", "merry", "--shell", "/bin/ksh")
    becomes(node, lambda: shell(node, "daisy") and shell(node, "merry") == "/bin/ksh", "and follows from there")
    node.stop()
    running.start(node)
    assert shell(node, "daisy")
    assert shell(node, "rosamunda") is None, "it is so on the disk too"


def test_an_only_master_without_its_database_does_not_start(running):
    frodo = running.masters["frodo"]
    frodo.stop()
    for name in ("accounts.db", "accounts.db-wal"):
        (frodo.directory / "state" / name).unlink(missing_ok=True)
    frodo.start()
    assert frodo.process is not None
    assert frodo.process.wait(30) != 0
    frodo.process = None
    assert "accounts.made" in frodo.tail()
    assert not (frodo.directory / "state" / "accounts.db").exists()


def test_a_node_keeps_everybody_when_its_only_master_knows_nobody(running):
    """Most likely an accident; it ends when the master has an account again, and is told meanwhile."""
    frodo, node = running.masters["frodo"], running.nodes["r01n07"]
    (frodo.directory / "state" / "accounts.made").unlink()
    running.start(frodo)
    becomes(node, lambda: any("knows of no account" in a for a in running.status(node)["alarms"]), "the node tells")
    assert all(shell(node, name) for name in PEOPLE)
    beonss(running, "user", "add", "bilbo", "--uid", "2005")
    becomes(node, lambda: shell(node, "sam") is None, "the master has begun again")
    assert not any("knows of no account" in alarm for alarm in running.status(node)["alarms"])
    assert "Traceback" not in "".join(machine.log.read_text() for machine in running.everything())
