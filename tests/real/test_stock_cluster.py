"""The stock modules of the distribution on a real node: getent, id, a login and plain passwd against real masters."""

import json
import shutil

import pytest
from cluster import wait_until
from support.namespace import StockModules
from support.people import PASSWORD, import_people
from support.requires import missing

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def running(cluster, directory):
    """Return the cluster with two masters and a node."""
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee")
    node = cluster.add_node("r01n07")
    cluster.start(gamgee, node)
    import_people(cluster, frodo, directory)
    return cluster


@pytest.fixture(scope="module")
def on_node(running, directory):
    """Return the programs of the node, in a mount namespace with a private /etc."""
    place = directory / "stock-node"
    place.mkdir()
    return StockModules(place, running.nodes["r01n07"].nslcd.path)


@pytest.fixture(scope="module")
def on_master(running, directory):
    """Return the programs of a master."""
    place = directory / "stock-master"
    place.mkdir()
    return StockModules(place, running.masters["frodo"].nslcd.path)


def getent(modules, *words):
    return modules.run(["getent", *words]).stdout


def login(modules, user, password):
    if shutil.which("pamtester") is None:
        missing("the program pamtester", "apt-get install pamtester")
    steps = ["authenticate", "acct_mgmt", "open_session", "close_session"]
    return modules.run(["pamtester", "login", user, *steps], input=password + "\n").returncode == 0


def test_lookups_of_every_kind(on_node):
    assert getent(on_node, "passwd", "sam") == "sam:*:2001:2000:Sam:/home/sam:/bin/sh\n"
    assert getent(on_node, "passwd", "2002").startswith("rosie:")
    assert getent(on_node, "group", "gardeners") == "gardeners:*:2100:rosie,sam\n"
    assert getent(on_node, "initgroups", "sam").split() == ["sam", "2100"]
    assert on_node.run(["id", "sam"]).stdout == "uid=2001(sam) gid=2000(hobbits) groups=2000(hobbits),2100(gardeners)\n"
    assert getent(on_node, "ahostsv4", "r02n01").startswith("10.5.2.1 ")
    assert f"r02n01.{ZONE}" in getent(on_node, "hosts", "10.5.2.1")
    assert getent(on_node, "hosts", "self").startswith("10.5.1.7 ")
    assert "(r01n07,,)" in getent(on_node, "netgroup", "cluster")
    assert getent(on_node, "ethers", "frodo") == "0:e0:81:5:0:1 frodo\n"
    assert getent(on_node, "passwd", "no-such-user") == ""
    assert getent(on_node, "shadow", "sam") == ""


def test_plain_passwd_on_a_node_reaches_every_master(running, on_node):
    new = "Party-tree-fireworks-1"
    done = on_node.run(["passwd"], input=f"{PASSWORD}\n{new}\n{new}\n", uid=2001, gid=2000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert login(on_node, "sam", new)
    assert not login(on_node, "sam", PASSWORD)
    for machine in running.masters.values():
        assert machine.nslcd.login("sam", new)


def test_the_root_of_a_node_cannot_set_a_password(on_node):
    done = on_node.run(["passwd", "merry"], input="\nOliphaunt-rhyme-3\nOliphaunt-rhyme-3\n")
    assert done.returncode != 0
    assert login(on_node, "merry", PASSWORD)


def test_the_root_of_a_master_can(on_master, on_node):
    new = "Oliphaunt-rhyme-4"
    done = on_master.run(["passwd", "merry"], input=f"{new}\n{new}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert login(on_node, "merry", new)


def command(running, machine, *words):
    done = running.run("beonss", *words, "--control", str(machine.control), check=False)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    return done.stdout


def standing(modules, user, password):
    """Return what the login's account check says after the password was right."""
    done = modules.run(["pamtester", "login", user, "authenticate", "acct_mgmt"], input=password + "\n")
    return done.returncode == 0, done.stdout + done.stderr


def test_a_password_must_be_changed_at_the_next_login(running, on_node, on_master):
    """Said on one master, asked for on the other and on a node by the stock modules; su(1) goes on as login(1) does."""
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    if shutil.which("pamtester") is None:
        missing("the program pamtester", "apt-get install pamtester")
    assert standing(on_node, "pippin", PASSWORD)[0]
    assert "must change the password" in command(running, gamgee, "user", "expire-password", "pippin")
    wait_until(lambda: not standing(on_master, "pippin", PASSWORD)[0], "frodo knows")
    for modules in (on_master, on_node):
        good, text = standing(modules, "pippin", PASSWORD)
        assert not good
        assert "You must change your password now: an administrator requires it." in text
        assert "Authentication token is no longer valid; new one required" in text
    assert getent(on_master, "shadow", "pippin").split(":")[2] == "0"
    assert "must be changed" in command(running, frodo, "user", "show", "pippin")
    # The old one is asked for once, the new one twice; then the shell.
    new = "Golden-perch-ale-5"
    done = on_node.run(["su", "pippin", "-c", "id -un"], uid=2001, gid=2000, input=f"{PASSWORD}\n{new}\n{new}\n")
    assert done.stdout == "pippin\n", done.stderr
    assert "You must change your password now" in done.stderr
    for modules in (on_master, on_node):
        assert standing(modules, "pippin", new)[0]
        assert not standing(modules, "pippin", PASSWORD)[0]
    assert int(getent(on_master, "shadow", "pippin").split(":")[2]) > 20000


def test_cpasswd_and_passwd_end_it_too_and_an_administrator_can_withdraw_it(running, on_node, on_master):
    frodo = running.masters["frodo"]
    node = running.nodes["r01n07"]
    command(running, frodo, "user", "expire-password", "bilbo")
    first, second = "There-and-back-1", "There-and-back-2"
    done = running.run(
        "cpasswd", "bilbo", "--stdin", "--socket", str(node.control), text=f"{PASSWORD}\n{first}\n", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert standing(on_node, "bilbo", first)[0]
    command(running, frodo, "user", "expire-password", "bilbo")
    assert not standing(on_node, "bilbo", first)[0]
    done = on_master.run(["passwd"], input=f"{first}\n{second}\n{second}\n", uid=2005, gid=2000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert standing(on_node, "bilbo", second)[0]
    command(running, frodo, "user", "expire-password", "bilbo")
    assert not standing(on_node, "bilbo", second)[0]
    command(running, frodo, "user", "expire-password", "--withdraw", "bilbo")
    assert standing(on_node, "bilbo", second)[0]


def test_whoever_comes_as_nobody_is_in_the_audit_log_without_the_name(running, on_node, on_master):
    """People type passwords where a name is asked for."""
    secret = "Mellon-typed-too-early-1"
    for modules in (on_node, on_master):
        done = modules.run(["pamtester", "bare", secret, "authenticate"], input="x\n")
        assert "User not known" in done.stdout + done.stderr
    assert not login(on_node, "root", "wrong")

    def lines():
        told = command(running, running.masters["gamgee"], "audit", "--json", "--user", "(unknown)")
        assert secret not in command(running, running.masters["gamgee"], "audit")
        return [json.loads(line) for line in told.splitlines()]

    wait_until(lambda: len(lines()) == 2, "both are told on the other master")
    assert {line["code"] for line in lines()} == {"unknown-user"}
    places = {line["source"] for line in lines()}
    assert "local uid 0" in places
    assert len(places) == 2


def test_an_administrators_command_on_a_node_says_where_to_run_it(running):
    node = running.nodes["r01n07"]
    for words in (["user", "list"], ["user", "lock", "sam"], ["conflicts", "list"], ["audit"]):
        done = running.run("beonss", *words, "--control", str(node.control), check=False)
        assert done.returncode == 1
        assert "this machine is a node of the cluster; run the command on one of its masters" in done.stderr


def test_with_every_master_down_lookups_go_on(running, on_node):
    for machine in running.masters.values():
        machine.stop()
    assert getent(on_node, "passwd", "rosie").startswith("rosie:*:2002:")
    assert getent(on_node, "hosts", "r01n08").startswith("10.5.1.8 ")
    assert not login(on_node, "rosie", PASSWORD)
    running.start(*running.masters.values())
    assert login(on_node, "rosie", PASSWORD)
