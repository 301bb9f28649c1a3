"""Two masters and one directory through an outage and a partition: the newer password stands, whoever comes late."""

import os

import pytest
from cluster import wait_until
from support.people import PASSWORD, import_people
from support.requires import missing
from support.slapd import BASE, Slapd

OLDER, NEWER = "Bag-end-garden-12", "Buckleberry-ferry-19"
TARGET = '[[target]]\nname = "directory"\ntype = "ldap"\nuris = ["{uri}"]\nbase = "ou=people,{base}"\n'


@pytest.fixture(scope="module")
def slapd(directory):
    if os.geteuid() != 0:
        missing("root (only root imports accounts)", "run the tests as root")
    home = directory / "slapd"
    home.mkdir()
    server = Slapd(home)
    server.user("sam")
    yield server
    server.stop()


def change(cluster, machine, new):
    return cluster.run("cpasswd", "sam", "--stdin", "--socket", str(machine.control), text=f"{new}\n", check=False)


def test_a_master_that_was_parted_delivers_late_and_harms_nothing(cluster, directory, slapd):
    (directory / "targets.toml").write_text(TARGET.format(uri=slapd.local, base=BASE))
    options = ("--targets", str(directory / "targets.toml"), "--boot-wait", "0.5")
    frodo = cluster.add_master("frodo", *options)
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", *options)
    cluster.start(gamgee)
    import_people(cluster, frodo, directory)
    wait_until(lambda: slapd.lets_in("sam", PASSWORD.encode()), "the directory has sam's first password")
    # Parted, and the directory is away: each changes the password on its own, gamgee later.
    slapd.stop()
    gamgee.stop()
    assert change(cluster, frodo, OLDER).returncode == 3
    frodo.kill()
    cluster.start(gamgee)
    assert change(cluster, gamgee, NEWER).returncode == 3
    slapd.start()
    slapd.wait()
    wait_until(lambda: slapd.lets_in("sam", NEWER.encode()), "the directory has the newer password", 60)
    gamgee.stop()
    # Now the one with the older change, alone: it does not know of the newer, and must not write.
    cluster.start(frodo)
    wait_until(lambda: "set by somebody else" in " ".join(cluster.status(frodo)["alarms"]), "frodo leaves it")
    assert slapd.lets_in("sam", NEWER.encode())
    cluster.start(gamgee)
    wait_until(lambda: not cluster.status(frodo)["alarms"], "frodo sees that it is the cluster's", 60)
    assert slapd.lets_in("sam", NEWER.encode())
    assert frodo.nslcd.login("sam", NEWER)
    assert not frodo.nslcd.login("sam", OLDER)
