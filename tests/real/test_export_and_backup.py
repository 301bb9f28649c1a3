"""Nobody is locked in, and a lost disk is not the end: exports and backups of masters that are real processes."""

import json
import signal
import subprocess

import pytest
from cluster import LoopbackCluster, wait_until
from support.people import PASSWORD, PEOPLE, import_people
from support.slapd import BASE, Slapd

from beonss.store.audit import read_on


@pytest.fixture(scope="module")
def masters(cluster, directory):
    """Return two masters with people, one of whom is locked and one of whom ages."""
    frodo = cluster.add_master("frodo", "--boot-wait", "1")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee", "--boot-wait", "1")
    cluster.start(gamgee)
    import_people(cluster, frodo, directory)
    for words in (
        ("user", "lock", "pippin"),
        ("user", "age", "merry", "--maximum", "90", "--warning", "14"),
        ("user", "modify", "bilbo", "--gecos", "Bilbo Beutlin, Höhle"),
    ):
        cluster.run("beonss", *words, "--control", str(frodo.control))
    return frodo, gamgee


def export(cluster, machine, *words, code=0):
    done = cluster.run("beonss", "export", *words, "--control", str(machine.control), check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def texts(directory):
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_an_export_imported_into_a_new_cluster_and_exported_again_is_the_same(cluster, masters, directory, description):
    frodo, gamgee = masters
    out = directory / "out"
    assert "5 users and 2 groups" in export(cluster, frodo, "--passwd", str(out))
    wait_until(lambda: gamgee.nslcd.user("bilbo")[4].startswith("Bilbo Beutlin"), "gamgee has it all")
    export(cluster, gamgee, "--passwd", str(directory / "out2"))
    assert texts(directory / "out2") == texts(out)
    assert "exists; nothing was written" in export(cluster, frodo, "--passwd", str(out), code=1)
    export(cluster, frodo, "--passwd", str(out), "--overwrite")
    (directory / "b").mkdir()
    other = LoopbackCluster(directory / "b", description, cluster.zone)
    try:
        lone = other.add_master("frodo")
        other.start(lone)
        files = [word for name in ("passwd", "group", "shadow") for word in (f"--{name}", str(out / name))]
        other.run("beonss", "accounts", "import", *files, "--control", str(lone.control))
        export(other, lone, "--passwd", str(directory / "again"))
        assert texts(directory / "again") == texts(out)
        assert lone.nslcd.login("sam", PASSWORD)
        assert not lone.nslcd.login("pippin", PASSWORD)
    finally:
        other.stop()


def test_without_hashes_there_are_none(cluster, masters, directory):
    frodo, _ = masters
    export(cluster, frodo, "--passwd", str(directory / "bare"), "--no-hashes")
    assert "$6$" not in "".join(texts(directory / "bare").values())
    export(cluster, frodo, "--ldif", str(directory / "bare.ldif"), "--base", BASE, "--no-hashes")
    assert "userPassword" not in (directory / "bare.ldif").read_text().replace("userPassword: {CRYPT}!*", "")


def test_ldif_of_rfc2307bis_loads_too_and_can_be_read_back(cluster, masters, directory, tmp_path):
    frodo, _ = masters
    path = directory / "bis.ldif"
    cluster.run("beonss", "group", "add", "nobody-in-it", "--control", str(frodo.control), check=False)
    export(cluster, frodo, "--ldif", str(path), "--base", BASE, "--containers", "--schema", "rfc2307bis")
    slapd = Slapd(tmp_path, bis=True)
    try:
        add = ["ldapadd", "-c", "-Q", "-Y", "EXTERNAL", "-H", slapd.local, "-f", str(path)]
        done = subprocess.run(add, capture_output=True, text=True, check=False)
        assert done.stderr.count("ldap_add:") == 1, done.stderr
        assert "Already exists" in done.stderr
        words = ["--ldap", slapd.local, "--users", f"ou=people,{BASE}", "--groups", f"ou=groups,{BASE}"]
        words += ["--schema", "rfc2307bis", "--dry-run", "--control", str(frodo.control)]
        told = cluster.run("beonss", "accounts", "import", *words, check=False).stdout
        # A full name that is not ASCII stands in cn, without what follows its comma.
        assert "changed: user bilbo (gecos)" in told
        assert f"users: 0 would be created, 1 would be changed, {len(PEOPLE) - 1} unchanged" in told, told
        assert "groups: 0 would be created, 0 would be changed, 3 unchanged" in told
        assert "unknown member" not in told
    finally:
        slapd.stop()
        cluster.run("beonss", "group", "delete", "nobody-in-it", "--control", str(frodo.control), check=False)


def test_ldif_loads_into_a_real_directory_and_lets_people_in(cluster, masters, directory, tmp_path):
    frodo, _ = masters
    path = directory / "out.ldif"
    export(cluster, frodo, "--ldif", str(path), "--base", BASE, "--groups", f"ou=groups,{BASE}")
    with_containers = directory / "whole.ldif"
    export(cluster, frodo, "--ldif", str(with_containers), "--base", BASE, "--containers")
    slapd = Slapd(tmp_path)
    try:
        # The test's directory has ou=people already: "-c" goes on where an entry exists.
        done = subprocess.run(
            ["ldapadd", "-c", "-Q", "-Y", "EXTERNAL", "-H", slapd.local, "-f", str(with_containers)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.count("ldap_add:") == 1, done.stderr
        assert "Already exists" in done.stderr
        for name, uid in PEOPLE.items():
            assert slapd.values(name, "uidNumber") == (str(uid).encode(),)
        assert slapd.values("merry", "shadowMax") == (b"90",)
        assert slapd.values("bilbo", "description")[0].decode() == "Bilbo Beutlin, Höhle"
        found = subprocess.run(
            [
                "ldapsearch",
                "-LLL",
                "-Q",
                "-Y",
                "EXTERNAL",
                "-H",
                slapd.local,
                "-b",
                BASE,
                "(cn=gardeners)",
                "memberUid",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "memberUid: sam" in found.stdout
        assert slapd.lets_in("sam", PASSWORD)
        assert not slapd.lets_in("sam", "wrong")
        assert not slapd.lets_in("pippin", PASSWORD), "a locked user stays locked"
    finally:
        slapd.stop()


def test_a_restored_master_is_a_new_incarnation_and_loses_nothing_that_others_hold(cluster, masters, directory):
    """Backed up, changed, killed, its disk lost: it comes back with the backup and takes the rest from the other."""
    frodo, gamgee = masters
    path = directory / "frodo.backup"
    done = cluster.run("beonss", "backup", str(path), "--control", str(frodo.control))
    assert "5 users, 2 groups" in done.stdout
    assert "private key is not in it" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    before = incarnation(cluster, gamgee, "frodo")
    cluster.run("beonss", "user", "add", "rory", "--uid", "9001", "--control", str(frodo.control))
    state = frodo.directory / "state"
    refused = cluster.run("beonss", "restore", str(path), "--state", str(state), check=False)
    assert refused.returncode == 1
    assert "already belongs to a master" in refused.stderr
    frodo.kill()
    state.rename(directory / "lost")
    checked = cluster.run("beonss", "restore", str(path), "--check")
    assert checked.stdout.splitlines()[0] == done.stdout.splitlines()[0]
    cluster.run("beonss", "restore", str(path), "--state", str(state))
    cluster.start(frodo)
    wait_until(lambda: frodo.nslcd.user("rory") is not None, "frodo gets what it lost")
    assert frodo.nslcd.login("sam", PASSWORD)
    cluster.run("beonss", "user", "add", "gorbadoc", "--control", str(frodo.control))
    assert gamgee.nslcd.user("gorbadoc") is not None
    assert incarnation(cluster, gamgee, "frodo") != before
    assert "new incarnation" in frodo.log.read_text()
    same_state(cluster, masters)


def test_a_backup_of_a_stopped_master_restores_a_lone_one(cluster, masters, directory):
    """Nobody else answers: what is in the backup is served, changes can be made, and spread later."""
    frodo, gamgee = masters
    path = directory / "gamgee.backup"
    running = cluster.run("beonss", "backup", str(path), "--state", str(gamgee.directory / "state"), check=False)
    assert running.returncode == 1
    assert "leave out --state" in running.stderr
    gamgee.stop()
    cluster.run("beonss", "backup", str(path), "--state", str(gamgee.directory / "state"))
    offline = directory / "offline"
    cluster.run("beonss", "export", "--passwd", str(offline), "--state", str(gamgee.directory / "state"))
    assert "rory:x:9001:" in (offline / "passwd").read_text()
    frodo.stop()
    (gamgee.directory / "state").rename(directory / "lost2")
    cluster.run("beonss", "restore", str(path), "--state", str(gamgee.directory / "state"))
    cluster.start(gamgee)
    assert gamgee.nslcd.login("sam", PASSWORD)
    done = cluster.run("beonss", "user", "delete", "rory", "--control", str(gamgee.control), check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    gamgee.stop(signal.SIGKILL)
    cluster.start(frodo, gamgee)
    wait_until(lambda: frodo.nslcd.user("rory") is None, "the deletion spreads")
    same_state(cluster, masters)


def test_exports_and_backups_are_audited(cluster, masters, directory):
    frodo, _ = masters
    export(cluster, frodo, "--passwd", str(directory / "audited"))
    cluster.run("beonss", "backup", str(directory / "audited.backup"), "--control", str(frodo.control))
    lines, _ = read_on(frodo.directory / "state" / "audit.jsonl", None)
    told = [(line["event"], line["author"]) for line in lines if line["event"] in {"export", "backup"}]
    assert told[-2:] == [("export", "root@frodo"), ("backup", "root@frodo")]


def incarnation(cluster, machine, name):
    """Return the incarnations that have written on a machine's behalf, as a backup of another machine shows."""
    path = machine.directory / "probe"
    cluster.run("beonss", "backup", str(path), "--overwrite", "--control", str(machine.control))
    lines = subprocess.run(["gzip", "-dc", str(path)], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [json.loads(line)["register"] for line in lines if line.startswith('{"register"')]
    return {row[4] for row in rows if row[6] == f"root@{name}"}


def same_state(cluster, masters):
    """Wait until both masters hold the same, and nothing waits for anybody."""

    def quiet():
        stands = [cluster.status(machine) for machine in masters]
        waiting = [member.get("buffered") or 0 for one in stands for member in one["members"]]
        return not any(waiting)

    wait_until(quiet, "everything is everywhere")
    one, other = (
        json.loads(cluster.run("beonss", "user", "list", "--json", "--control", str(machine.control)).stdout)
        for machine in masters
    )
    assert one == other
