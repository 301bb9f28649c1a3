"""cpasswd and a directory with a password policy: changed as the user while he waits, or refused; late masters."""

import os

import pytest
from cluster import wait_until
from support.people import PASSWORD, import_people
from support.requires import missing
from support.slapd import BASE, PPOLICY, Slapd

from beonss.targets.ldapwire import LdapConnection

PEOPLE = f"ou=people,{BASE}"
SECOND, THIRD, FOURTH = "Bag-end-garden-12", "Buckleberry-ferry-19", "eleventy-first-Bday"
TARGET = """
[[target]]
name = "directory"
type = "ldap"
uris = ["{uri}"]
base = "{base}"
bind_dn = "cn=beonss,{top}"
password_file = "{secret}"
starttls = false
mode = "{mode}"
timeout = 2
"""


@pytest.fixture(scope="module")
def slapd(directory):
    if os.geteuid() != 0:
        missing("root (only root imports accounts)", "run the tests as root")
    home = directory / "slapd"
    home.mkdir()
    server = Slapd(home, "moduleload ppolicy", PPOLICY)
    server.add(
        f"dn: cn=policy,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: policy\n"
        "pwdAttribute: userPassword\npwdCheckQuality: 2\npwdMinLength: 6\n"
    )
    server.user("sam")
    with LdapConnection(server.server()) as connection:
        connection.modify_password(f"uid=sam,{PEOPLE}", None, PASSWORD.encode())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def targets(directory, slapd):
    secret = directory / "secret"
    secret.write_text("mellon\n")
    secret.chmod(0o600)

    def write(mode):
        (directory / "targets.toml").write_text(
            TARGET.format(uri=slapd.plain, base=PEOPLE, top=BASE, secret=secret, mode=mode)
        )
        return str(directory / "targets.toml")

    return write


@pytest.fixture(scope="module")
def machines(cluster, directory, targets):
    """Return a master with the directory and a node, where a user has to give the old password."""
    frodo = cluster.add_master("frodo", "--targets", targets("exop"))
    cluster.start(frodo)
    node = cluster.add_node("r01n07")
    cluster.start(node)
    import_people(cluster, frodo, directory)
    return frodo, node


def change(cluster, node, old, new):
    return cluster.run("cpasswd", "sam", "--stdin", "--socket", str(node.control), text=f"{old}\n{new}\n", check=False)


def test_exop_as_the_user_while_he_waits(cluster, machines, slapd):
    done = change(cluster, machines[1], PASSWORD, SECOND)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    assert any("directory" in line and "changed" in line for line in done.stdout.splitlines()), done.stdout
    assert slapd.lets_in("sam", SECOND.encode())
    assert machines[0].nslcd.login("sam", SECOND)


def test_exop_while_the_directory_is_away_is_said_plainly_and_the_next_change_mends_it(cluster, machines, slapd):
    slapd.stop()
    done = change(cluster, machines[1], SECOND, THIRD)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "run cpasswd again" in done.stdout
    assert machines[0].nslcd.login("sam", THIRD)
    slapd.start()
    slapd.wait()
    assert slapd.lets_in("sam", SECOND.encode())
    done = change(cluster, machines[1], THIRD, FOURTH)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    assert slapd.lets_in("sam", FOURTH.encode())


def test_refuse_changes_nothing_where_the_directory_does_not_agree(cluster, machines, slapd, targets):
    targets("refuse")
    frodo, node = machines
    frodo.stop()
    cluster.start(frodo)
    wait_until(lambda: cluster.status(node)["master"], "the node has its master again")
    assert change(cluster, node, FOURTH, SECOND).returncode in {0, 3}
    assert slapd.lets_in("sam", SECOND.encode())
    slapd.stop()
    done = change(cluster, node, SECOND, THIRD)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "nothing was changed" in done.stderr
    assert frodo.nslcd.login("sam", SECOND)
    assert not frodo.nslcd.login("sam", THIRD)
    slapd.start()
    slapd.wait()
    # Somebody set another password there: the directory does not agree.
    with LdapConnection(slapd.server()) as connection:
        connection.modify_password(f"uid=sam,{PEOPLE}", None, b"something else")
    done = change(cluster, node, SECOND, THIRD)
    assert done.returncode == 1, done.stdout + done.stderr
    assert frodo.nslcd.login("sam", SECOND)
    assert slapd.lets_in("sam", b"something else")
    # Root, who does not know the old password, cannot agree for the directory.
    done = cluster.run("cpasswd", "sam", "--stdin", "--socket", str(frodo.control), text=f"{THIRD}\n", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
