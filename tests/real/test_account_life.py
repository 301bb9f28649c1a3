"""The life of accounts by command, on masters that are real processes: together, apart, and together again."""

import json
import signal

import pytest
from cluster import wait_until
from support.people import PASSWORD

from beonss.store.audit import read_on

UID, GID = 2, 3


@pytest.fixture(scope="module")
def masters(cluster):
    """Return two masters that know each other, and a node."""
    frodo = cluster.add_master("frodo", "--boot-wait", "1")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", "--boot-wait", "1")
    node = cluster.add_node("r01n07")
    cluster.start(gamgee, node)
    return frodo, gamgee


@pytest.fixture
def beonss(cluster):
    """Return what runs ``beonss`` against a machine's daemon; a missing key means that it is refused."""

    def run(machine, *words, code=0):
        done = cluster.run("beonss", *words, "--control", str(machine.control), check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code in {0, 3} else done.stdout + done.stderr

    return run


def set_password(cluster, machine, name):
    done = cluster.run("cpasswd", name, "--stdin", "--socket", str(machine.control), text=f"{PASSWORD}\n", check=False)
    assert done.returncode in {0, 3}, done.stdout + done.stderr


def test_added_here_locked_there_deleted_and_made_again(cluster, masters, beonss):
    frodo, gamgee = masters
    assert "group gardeners has gid 10" in beonss(frodo, "group", "add", "gardeners")
    added = json.loads(
        beonss(frodo, "user", "add", "sam", "-U", "-G", "gardeners", "--gecos", "Samwise Gamgee", "--json")
    )
    assert added["held"] == ["frodo", "gamgee"]
    set_password(cluster, frodo, "sam")
    # A command that ends with 0 was held by the other master already.
    assert gamgee.nslcd.user("sam")[UID] == str(added["uid"])
    assert gamgee.nslcd.login("sam", PASSWORD)
    assert "is locked" in beonss(gamgee, "user", "lock", "sam")
    assert not frodo.nslcd.login("sam", PASSWORD)
    beonss(frodo, "user", "unlock", "sam")
    assert frodo.nslcd.login("sam", PASSWORD)
    beonss(gamgee, "user", "expire", "sam", "--on", "2020-01-01")
    shown = json.loads(beonss(frodo, "user", "show", "sam", "--json"))["user"]
    assert shown["aging"]["expires"] == 18262
    assert shown["groups"] == ["gardeners"]
    beonss(frodo, "user", "delete", "-U", "sam")
    wait_until(lambda: gamgee.nslcd.user("sam") is None, "sam is gone on gamgee")
    assert "was used before" in beonss(gamgee, "user", "add", "sam", "--uid", str(added["uid"]), code=1)
    again = json.loads(beonss(gamgee, "user", "add", "sam", "--json"))
    assert again["uid"] != added["uid"]
    assert again["id"] != added["id"]
    assert not frodo.nslcd.login("sam", PASSWORD), "the password of the deleted one lets nobody in"
    assert json.loads(beonss(frodo, "user", "show", "sam", "--json"))["user"]["groups"] == []
    node = cluster.nodes["r01n07"]
    wait_until(lambda: node.nslcd.user("sam") is not None, "the node knows sam")


def test_refusals_say_who_has_what(masters, beonss):
    frodo, gamgee = masters
    beonss(frodo, "user", "add", "rosie", "--uid", "5004")
    assert beonss(gamgee, "user", "add", "rosie", code=1) == "beonss: user rosie exists (uid 5004)\n"
    assert beonss(gamgee, "user", "add", "x", "--uid", "5004", code=1) == "beonss: uid 5004 belongs to user rosie\n"
    assert "below the cluster's floor" in beonss(gamgee, "user", "add", "x", "--uid", "5", code=1)
    assert "no user 'gollum'" in beonss(gamgee, "user", "lock", "rosie", "gollum", code=1)
    beonss(gamgee, "user", "unlock", "rosie")
    assert "would be done" in beonss(gamgee, "user", "add", "x", "--dry-run")
    assert frodo.nslcd.user("x") is None


def test_the_same_number_and_name_while_apart(cluster, masters, beonss):
    """Chosen numbers differ; those that people choose may collide: shown on both masters alike, and settled."""
    frodo, gamgee = masters
    gamgee.stop()
    mine = json.loads(beonss(frodo, "user", "add", "pippin", "--json", code=3))
    beonss(frodo, "user", "add", "merry", "--uid", "7000", code=3)
    beonss(frodo, "user", "modify", "rosie", "--shell", "/bin/zsh", code=3)
    frodo.stop()
    cluster.start(gamgee)
    theirs = json.loads(beonss(gamgee, "user", "add", "pippin", "--json", code=3))
    assert theirs["uid"] != mine["uid"]
    beonss(gamgee, "user", "add", "bilbo", "--uid", "7000", code=3)
    beonss(gamgee, "user", "modify", "rosie", "--gecos", "Rose", code=3)
    cluster.start(frodo)

    def conflicts(machine):
        done = cluster.run("beonss", "conflicts", "list", "--json", "--control", str(machine.control), check=False)
        return json.loads(done.stdout)["accounts"]

    wait_until(lambda: len(conflicts(frodo)) == 2 and conflicts(frodo) == conflicts(gamgee), "both show the conflicts")
    text = beonss(gamgee, "conflicts", "list", code=1)
    assert "uid 7000" in text
    assert "not served" in text
    name, number = conflicts(frodo)
    assert (name["value"], number["value"]) == ("pippin", 7000)
    # The one made first stands, on both.
    assert {machine.nslcd.user("pippin")[UID] for machine in masters} == {str(mine["uid"])}
    beonss(gamgee, "conflicts", "rename", name["losers"][0][:8], "peregrin")
    beonss(frodo, "conflicts", "renumber", number["losers"][0][:8])
    wait_until(lambda: not conflicts(frodo) and not conflicts(gamgee), "nothing is in conflict any more")
    listed = json.loads(beonss(frodo, "user", "list", "--json"))
    assert listed == json.loads(beonss(gamgee, "user", "list", "--json"))
    numbers = {row["name"]: row["uid"] for row in listed}
    assert numbers["peregrin"] == theirs["uid"]
    assert numbers["bilbo"] != 7000 == numbers["merry"]


def test_a_write_that_lost_is_shown_brought_back_and_gone_on_both(cluster, masters, beonss):
    """Both changed rosie's entry while they were apart; the later one stands, and says against whom."""
    machine, lost = next(
        (machine, one)
        for machine in masters
        for one in json.loads(beonss(machine, "conflicts", "list", "--json"))["overruled"]
        if one["account"].startswith("user rosie")
    )
    assert lost["lost"]["author"] == "root@frodo"
    assert lost["lost"]["value"]["shell"] == "/bin/zsh"
    beonss(machine, "conflicts", "reassert", lost["id"][:8], "--field", "entry")

    def settled():
        entries = [one.nslcd.user("rosie") for one in masters]
        return all(entry is not None and entry[6] == "/bin/zsh" for entry in entries) and not any(
            json.loads(beonss(one, "conflicts", "list", "--json"))["overruled"] for one in masters
        )

    wait_until(settled, "rosie's shell is back on both, and nothing is overruled")


def test_of_two_passwords_set_apart_the_lost_one_is_told_and_dismissed_everywhere(cluster, masters, beonss):
    frodo, gamgee = masters
    gamgee.stop()
    set_password(cluster, frodo, "merry")
    frodo.stop()
    cluster.start(gamgee)
    set_password(cluster, gamgee, "merry")
    cluster.start(frodo)

    def overruled(machine):
        return json.loads(beonss(machine, "conflicts", "list", "--json"))["overruled"]

    wait_until(lambda: overruled(frodo) or overruled(gamgee), "it is known that one lost")
    # Whoever held the one that lost when the other came knows; it goes nowhere else.
    machine, [one] = next((machine, overruled(machine)) for machine in masters if overruled(machine))
    assert (one["field"], one["lost"]["author"]) == ("password", "root@frodo")
    assert one["stands"]["author"] == "root@gamgee"
    assert "$" not in json.dumps(one)
    assert "not kept anywhere" in beonss(machine, "conflicts", "reassert", one["id"][:8], code=1)
    beonss(machine, "conflicts", "dismiss", "--all")
    wait_until(lambda: not overruled(frodo) and not overruled(gamgee), "it is forgotten on both")
    assert gamgee.nslcd.login("merry", PASSWORD)


def test_every_command_left_a_line_in_the_audit_log(masters):
    frodo, gamgee = masters
    lines = [line for machine in masters for line in read_on(machine.directory / "state" / "audit.jsonl", None)[0]]
    found = {(line["event"], line["outcome"]) for line in lines}
    assert found >= {
        ("user-add", "changed"),
        ("user-add", "refused"),
        ("user-lock", "changed"),
        ("user-age", "changed"),
        ("user-delete", "changed"),
        ("group-add", "changed"),
        ("conflicts-rename", "changed"),
        ("conflicts-renumber", "changed"),
    }
    assert frodo.process.poll() is None
    assert gamgee.process.poll() is None


def test_what_a_command_was_told_survives_a_kill(cluster, masters, beonss):
    frodo, gamgee = masters
    gamgee.stop()
    beonss(frodo, "user", "add", "fatty", code=3)
    frodo.stop(signal.SIGKILL)
    cluster.start(frodo)
    assert frodo.nslcd.user("fatty") is not None
    cluster.start(gamgee)
    wait_until(lambda: gamgee.nslcd.user("fatty") is not None, "gamgee gets fatty")
