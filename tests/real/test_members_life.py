"""The life of members and of the description they share, as real processes: three masters, a node, no key at hand."""

import json
import shutil
import signal

import pytest
from cluster import Machine, free_port, wait_until
from support.people import PASSWORD, import_people

ZONE = "fellow.aero.org"
#: Not to wait at each start for masters that the test has stopped.
QUICK = ("--boot-wait", "1")


@pytest.fixture(scope="module")
def safe(directory):
    """Return where the cluster's private key is kept: no master has it."""
    return directory / "safe" / "cluster.key"


@pytest.fixture(scope="module")
def running(cluster, directory, safe):
    """Return the cluster with frodo, gamgee, fellowship and a node running; the cluster key is in the safe."""
    frodo = cluster.add_master("frodo", *QUICK)
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", *QUICK)
    fellowship = cluster.add_master("fellowship", *QUICK)
    safe.parent.mkdir()
    shutil.move(frodo.directory / "state" / "cluster.key", safe)
    node = cluster.add_node("r01n07")
    cluster.start(gamgee, fellowship, node)
    import_people(cluster, frodo, directory)
    return cluster


def where(machine: Machine) -> list[str]:
    """Return the options that name a master's state and socket."""
    return ["--state", str(machine.directory / "state"), "--control", str(machine.control)]


def alarms(running, machine) -> str:
    return " ".join(running.status(machine)["alarms"])


def is_removed(running, machine) -> bool:
    """Say whether a master says of itself that it is none any more."""
    return any("member list" in alarm for alarm in running.status(machine)["alarms"])


def version(running, machine) -> int:
    return running.status(machine)["description"]["version"]


def applied(running, machine, text, *options, check=True):
    return running.run("beonss", "apply", "-", *options, "--control", str(machine.control), text=text, check=check)


def described(running, machine, *options) -> dict:
    done = running.run("beonss", "description", "--json", *options, "--control", str(machine.control))
    return json.loads(done.stdout)


def reachable(running, machine, *names) -> bool:
    members = {m["name"]: m["reachable"] for m in running.status(machine)["members"]}
    return all(members.get(name) for name in names)


def knows(machine, user) -> bool:
    return machine.nslcd.user(user) is not None


def add_user(running, machine, name, uid):
    words = ("beonss", "user", "add", name, "--uid", str(uid), "--control", str(machine.control))
    done = running.run(*words, check=False)
    # 3: held by this master alone so far.
    assert done.returncode in {0, 3}, done.stderr


# -- the description


def test_a_new_cluster_publishes_the_file_it_began_with(running, description):
    for machine in running.masters.values():
        document = described(running, machine)
        assert (document["version"], document["source"]) == (1, "cluster")
        assert document["text"] == description.read_text()
    assert described(running, running.masters["gamgee"])["author"] == "master frodo (its file)"


def test_a_dry_run_and_an_unanswered_question_change_nothing(running, description):
    frodo = running.masters["frodo"]
    text = description.read_text().replace("10.5.0.10", "10.5.0.11")
    done = applied(running, frodo, text, "--dry-run")
    assert "~ host" in done.stdout
    assert "gimli" in done.stdout
    done = applied(running, frodo, text, check=False)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert version(running, frodo) == 1


def test_mistakes_are_told_with_their_lines_and_nothing_changes(running, description, directory):
    frodo = running.masters["frodo"]
    bad = directory / "bad.toml"
    bad.write_text(description.read_text().replace("10.5.0.2", "10.5.0.1"))
    done = running.run("beonss", "apply", str(bad), "--yes", "--control", str(frodo.control), check=False)
    assert done.returncode == 1
    assert f"{bad}:" in done.stderr
    assert "nothing was published" in done.stderr
    no_master = description.read_text().replace('["frodo", "gamgee", "fellowship"]', '["gamgee"]')
    done = applied(running, frodo, no_master, "--yes", check=False)
    assert "frodo is not among the masters" in done.stderr
    assert version(running, frodo) == 1


def test_two_versions_published_apart_the_later_wins_the_other_is_kept_and_no_serial_goes_back(running, description):
    """frodo publishes twice alone, then gamgee once alone: gamgee's is later though its number is lower."""
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    node = running.nodes["r01n07"]
    good = description.read_text()
    gamgee.stop()
    fellowship.stop()
    applied(running, frodo, good.replace("10.5.0.10", "10.5.0.20"), "--yes")
    applied(running, frodo, good.replace("10.5.0.10", "10.5.0.30"), "--yes")
    assert version(running, frodo) == 3
    frodo.stop()
    running.start(gamgee)
    assert version(running, gamgee) == 1
    applied(running, gamgee, good.replace("10.5.0.10", "10.5.0.40"), "--yes")
    assert version(running, gamgee) == 2
    running.start(frodo, fellowship)
    masters = (frodo, gamgee, fellowship)
    wait_until(lambda: {version(running, machine) for machine in masters} == {4}, "all count it as version 4")
    wait_until(lambda: version(running, node) == 4, "the node follows")
    for machine in (*masters, node):
        assert machine.ask(f"gimli.{ZONE}").answers == ("A 10.5.0.40",), machine.name
    wait_until(lambda: "published at the same time" in alarms(running, frodo), "frodo tells of the loser")
    lost = described(running, frodo, "--overruled")
    assert lost["version"] == 3
    assert "10.5.0.30" in lost["text"]
    # Whoever publishes now has seen both.
    applied(running, frodo, good, "--yes")
    wait_until(lambda: {version(running, machine) for machine in (*masters, node)} == {5}, "all follow")
    wait_until(lambda: not any("same time" in alarms(running, machine) for machine in masters), "the alarm ends")
    assert not any(m["description_differs"] for m in running.status(frodo)["members"])


def test_a_master_that_cannot_take_it_keeps_the_old_one_and_says_so(running, description, directory):
    """A zone file is there on frodo alone: gamgee keeps what it has until it gets the file too."""
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    apart = directory / "apart"
    apart.mkdir()
    (apart / "cluster.toml").write_text(description.read_text())
    gamgee.stop()
    gamgee.arguments = [str(apart / "cluster.toml") if w == str(description) else w for w in gamgee.arguments]
    running.start(gamgee)
    zone = directory / "more.zone"
    zone.write_text("www 60 IN A 10.5.0.99\n")
    text = description.read_text() + '\n[dns]\nzone_files = ["more.zone"]\n'
    done = applied(running, frodo, text, "--yes")
    wait_until(lambda: "refused by this master" in alarms(running, gamgee), "gamgee tells that it cannot")
    assert version(running, gamgee) == 5
    assert version(running, frodo) == 6
    assert frodo.ask(f"www.{ZONE}").answers == ("A 10.5.0.99",), done.stdout
    assert gamgee.ask(f"gimli.{ZONE}").answers == ("A 10.5.0.10",)
    wait_until(lambda: "another cluster description" in alarms(running, frodo), "frodo sees that gamgee differs")
    (apart / "more.zone").write_text(zone.read_text())
    assert gamgee.process is not None
    gamgee.process.send_signal(signal.SIGHUP)  # or in some minutes, by itself
    wait_until(lambda: version(running, gamgee) == 6, "gamgee follows when it can")
    assert "refused" not in alarms(running, gamgee)
    applied(running, gamgee, description.read_text(), "--yes")
    wait_until(lambda: version(running, frodo) == 7, "and back")


def test_the_description_survives_restarts_without_its_file(running, description):
    fellowship = running.masters["fellowship"]
    fellowship.stop()
    kept = fellowship.arguments
    fellowship.arguments = ["/nowhere/cluster.toml" if word == str(description) else word for word in kept]
    running.start(fellowship)
    assert version(running, fellowship) == 7
    assert fellowship.ask(f"gimli.{ZONE}").answers == ("A 10.5.0.10",)
    fellowship.stop()
    fellowship.arguments = kept
    running.start(fellowship)


# -- members


def test_without_the_cluster_key_the_membership_is_frozen(running):
    done = running.run("beonss", "members", "remove", "gamgee", *where(running.masters["frodo"]), check=False)
    assert done.returncode == 1
    assert "--cluster-key" in done.stderr


def test_a_master_whose_key_may_be_known_gets_another_and_keeps_its_data(running, safe):
    """What gamgee wrote while the others refused it arrives when it has its new key."""
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    frodo.stop()
    fellowship.stop()
    add_user(running, gamgee, "rosamunda", 3001)
    gamgee.stop()
    running.start(frodo, fellowship)
    old = (gamgee.directory / "state" / "member.key").read_bytes()
    token = running.run(
        "beonss", "members", "replace", "gamgee", "--cluster-key", str(safe), *where(frodo)
    ).stdout.strip()
    listed = running.run("beonss", "members", "--state", str(frodo.directory / "state")).stdout
    assert "invited" in next(line for line in listed.splitlines() if "gamgee" in line)
    running.start(gamgee)
    wait_until(lambda: is_removed(running, gamgee), "the old key is refused, and says so")
    assert not knows(frodo, "rosamunda")
    gamgee.stop()
    wrong = running.run(
        "beonss", "join", "--rejoin", token, "--state", str(fellowship.directory / "state"), check=False
    )
    assert wrong.returncode == 1
    running.run("beonss", "join", "--rejoin", token, "--state", str(gamgee.directory / "state"))
    assert (gamgee.directory / "state" / "member.key").read_bytes() != old
    assert not list((gamgee.directory / "state").glob("*.new"))
    running.start(gamgee)
    wait_until(lambda: reachable(running, frodo, "gamgee") and reachable(running, gamgee, "fellowship"), "it is back")
    wait_until(lambda: knows(frodo, "rosamunda") and knows(fellowship, "rosamunda"), "what it wrote alone arrives")
    again = running.run("beonss", "join", "--rejoin", token, "--state", str(gamgee.directory / "state"), check=False)
    assert again.returncode == 1, "the running master holds its directory"


def test_the_master_one_sits_at_gets_another_key(running, safe):
    """Where nothing but this machine has the cluster's key: while it runs, so that the others hear of it."""
    frodo = running.masters["frodo"]
    words = ("beonss", "members", "replace", "frodo", "--cluster-key", str(safe), *where(frodo))
    refused = running.run(*words, check=False)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    token = running.run(*words, "--force").stdout.strip()
    wait_until(lambda: is_removed(running, frodo), "it takes no changes")
    frodo.stop()
    running.run("beonss", "join", "--rejoin", token, "--state", str(frodo.directory / "state"))
    running.start(frodo)
    wait_until(lambda: reachable(running, frodo, "gamgee", "fellowship"), "it is back")
    wait_until(lambda: running.status(frodo)["alarms"] == [], "nothing is left to look at")
    used = running.run("beonss", "join", token, "--state", str(frodo.directory / "other"), check=False)
    assert "beonss members replace frodo" in used.stderr


def test_a_database_that_lost_its_bytes_is_no_first_start(running):
    """A master whose database is empty does not start; one whose database is gone fetches everything."""
    gamgee = running.masters["gamgee"]
    gamgee.stop()
    database = gamgee.directory / "state" / "accounts.db"
    kept = database.read_bytes()
    database.write_bytes(b"")
    gamgee.start()
    assert gamgee.process is not None
    assert gamgee.process.wait(30) != 0
    gamgee.process = None
    assert "has no bytes" in gamgee.tail()
    assert database.read_bytes() == b""
    assert kept
    database.unlink()
    running.start(gamgee)
    wait_until(lambda: knows(gamgee, "rosamunda"), "it has everything again")
    wait_until(lambda: reachable(running, gamgee, "frodo", "fellowship"), "and is back")


def test_a_lost_disk_is_replaced_and_a_machine_that_joins_needs_no_file(running, safe, directory):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    gamgee.kill()
    shutil.rmtree(gamgee.directory / "state")
    token = running.run(
        "beonss", "members", "replace", "gamgee", "--cluster-key", str(safe), *where(frodo)
    ).stdout.strip()
    running.run("beonss", "join", token, "--state", str(gamgee.directory / "state"))
    gamgee.arguments = ["/nowhere/cluster.toml" if w.endswith("apart/cluster.toml") else w for w in gamgee.arguments]
    running.start(gamgee)
    assert gamgee.ask(f"gimli.{ZONE}").answers == ("A 10.5.0.10",)
    wait_until(lambda: knows(gamgee, "rosamunda"), "it has everything")
    assert gamgee.nslcd.login("sam", PASSWORD)
    wait_until(lambda: reachable(running, frodo, "gamgee", "fellowship"), "the others see it")
    wait_until(lambda: running.status(frodo)["alarms"] == [], "nothing is left to look at")


def test_a_cloned_master_is_noticed_and_both_stop_writing(running, directory):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    gamgee.stop()
    copy = directory / "copy"
    (copy / "run").mkdir(parents=True)
    shutil.copytree(gamgee.directory / "state", copy / "state")
    running.start(gamgee)
    sync, dns = free_port(), free_port()
    clone = Machine("copy", copy, ("127.0.0.1", dns))
    clone.arguments = (
        "master", "--config", "/nowhere", "--state", str(copy / "state"), "--runtime", str(copy / "run"),
        "--nslcd", str(copy / "run" / "nslcd"), "--dns-listen", f"127.0.0.1:{dns}",
        "--sync-listen", f"127.0.0.1:{sync}",
    )  # fmt: skip
    try:
        running.start(clone)
        wait_until(lambda: "copy of the other" in alarms(running, frodo), "frodo tells that there are two", 60)
        wait_until(lambda: "copy of the other" in alarms(running, clone), "the clone is told", 60)
    finally:
        clone.stop()
    gamgee.stop()
    frodo.stop()
    running.start(frodo, gamgee)
    wait_until(lambda: reachable(running, frodo, "gamgee"), "one alone is believed again")
    add_user(running, gamgee, "elanor", 3002)
    wait_until(lambda: knows(frodo, "elanor"), "and writes")


def test_a_removed_master_is_refused_and_its_rows_stand(running, safe):
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    add_user(running, fellowship, "daisy", 3003)
    wait_until(lambda: knows(frodo, "daisy") and knows(gamgee, "daisy"), "all have what fellowship wrote")
    running.run("beonss", "members", "remove", "fellowship", "--cluster-key", str(safe), *where(frodo))
    wait_until(lambda: is_removed(running, fellowship), "fellowship is told")
    for machine in (frodo, gamgee):
        names = {m["name"] for m in running.status(machine)["members"]}
        assert names == {"frodo", "gamgee"}
        assert knows(machine, "daisy")
    running.run("beonss", "user", "add", "mallory", "--uid", "3999", "--control", str(fellowship.control), check=False)
    fellowship.stop()
    assert not knows(frodo, "mallory")
    assert not knows(gamgee, "mallory")
    # Two masters only: each still sees the other, and takes changes alone.
    gamgee.stop()
    add_user(running, frodo, "marigold", 3004)
    running.start(gamgee)
    wait_until(lambda: knows(gamgee, "marigold"), "the other catches up")


def test_a_removed_master_joins_again_on_a_new_disk(running, safe):
    frodo, fellowship = running.masters["frodo"], running.masters["fellowship"]
    shutil.rmtree(fellowship.directory / "state")
    address = f"127.0.0.1:{running.sync_ports['fellowship']}"
    token = running.run(
        "beonss", "invite", "fellowship", "--address", address, "--cluster-key", str(safe), *where(frodo)
    ).stdout.strip()
    running.run("beonss", "join", token, "--state", str(fellowship.directory / "state"))
    running.start(fellowship)
    wait_until(lambda: knows(fellowship, "marigold") and knows(fellowship, "daisy"), "it has everything")
    assert not knows(fellowship, "mallory")
    wait_until(lambda: reachable(running, fellowship, "frodo", "gamgee"), "it sees both")


def test_the_last_master_leaves_only_by_force(running, safe):
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    for machine in (gamgee, fellowship):
        running.run("beonss", "members", "remove", machine.name, "--cluster-key", str(safe), *where(frodo))
        machine.stop()
    done = running.run("beonss", "members", "remove", "frodo", "--cluster-key", str(safe), *where(frodo), check=False)
    assert done.returncode == 1
    assert "last master" in done.stderr
    assert knows(frodo, "sam")
    running.run("beonss", "members", "remove", "frodo", "--force", "--cluster-key", str(safe), *where(frodo))
    wait_until(lambda: is_removed(running, frodo), "it says so")
    assert frodo.ask(f"r01n07.{ZONE}").answers == ("A 10.5.1.7",)
    assert "Traceback" not in "".join(machine.log.read_text() for machine in running.everything())
