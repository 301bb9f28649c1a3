"""A master that follows a directory: its users log in, its outage hurts nobody, its shrinking is not believed."""

import os
import subprocess

import pytest
from cluster import wait_until
from passlib.hash import sha512_crypt
from support.requires import missing
from support.slapd import BASE, Slapd

from beonss.store.audit import read_on

WORD = "second-breakfast-77"
SOURCE = """
[[source]]
name = "people"
type = "ldap"
uris = ["{uri}"]
users = "ou=people,{base}"
groups = "{base}"
interval = 0.5
full = 1
missing = "lock"
timeout = 2
"""


@pytest.fixture(scope="module")
def slapd(directory):
    if os.geteuid() != 0:
        missing("root (slapd's own socket tells who we are)", "run the tests as root")
    home = directory / "slapd"
    home.mkdir()
    server = Slapd(home)
    hashed = sha512_crypt.using(rounds=5000).hash(WORD)
    for number in range(12):
        server.add(
            f"dn: uid=hobbit{number},ou=people,{BASE}\nobjectClass: account\nobjectClass: posixAccount\n"
            f"uid: hobbit{number}\ncn: Hobbit {number}\nuidNumber: {2001 + number}\ngidNumber: 2000\n"
            f"homeDirectory: /home/hobbit{number}\nuserPassword: {{CRYPT}}{hashed}\n"
        )
    server.add(f"dn: cn=hobbits,{BASE}\nobjectClass: posixGroup\ncn: hobbits\ngidNumber: 2000\nmemberUid: hobbit1\n")
    yield server
    server.stop()


def alarms(cluster, machine):
    return " ".join(cluster.status(machine)["alarms"])


def test_a_directory_as_the_source_of_a_master(cluster, directory, slapd):
    (directory / "targets.toml").write_text(SOURCE.format(uri=slapd.local, base=BASE))
    master = cluster.add_master("frodo", "--targets", str(directory / "targets.toml"))
    cluster.start(master)
    wait_until(lambda: master.nslcd.user("hobbit11"), "the directory's users are known")
    assert master.nslcd.login("hobbit3", WORD)
    subprocess.run(
        ["ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", slapd.local],
        input=f"dn: uid=hobbit3,ou=people,{BASE}\nchangetype: modify\nadd: loginShell\nloginShell: /bin/ksh\n".encode(),
        check=True,
        capture_output=True,
    )
    wait_until(lambda: master.nslcd.user("hobbit3")[6] == "/bin/ksh", "the shell follows")
    slapd.stop()
    wait_until(lambda: "people" in alarms(cluster, master), "the outage is an alarm")
    assert master.nslcd.login("hobbit3", WORD)
    slapd.start()
    slapd.wait()
    wait_until(lambda: not alarms(cluster, master), "the alarm ends with the outage")
    subprocess.run(
        [
            "ldapdelete", "-Q", "-Y", "EXTERNAL", "-H", slapd.local,
            *(f"uid=hobbit{number},ou=people,{BASE}" for number in range(4, 12)),
        ],
        check=True,
    )  # fmt: skip
    wait_until(lambda: "8 of 12 users" in alarms(cluster, master), "the shrinking is an alarm")
    assert master.nslcd.login("hobbit8", WORD)
    done = cluster.run("beonss", "accounts", "adopt", "--control", str(master.control), "--target", "people", "--all")
    assert "8 accounts are changed" in done.stdout, done.stdout
    wait_until(lambda: not master.nslcd.login("hobbit8", WORD), "who left is locked")
    lines = read_on(master.directory / "state" / "audit.jsonl", None)[0]
    followed = [(line["user"], line["detail"], line["source"]) for line in lines if line["event"] == "follow"]
    assert ("hobbit3", "new", "source people@frodo") in followed
    assert ("hobbit3", "shell", "source people@frodo") in followed
    assert ("hobbit8", "locked, not there any more", "local uid 0") in followed
    assert len(followed) == 12 + 1 + 1 + 8
    wait_until(lambda: not alarms(cluster, master), "no alarm is left")
    assert "Traceback" not in master.log.read_text()
    assert "$6$" not in master.log.read_text()
