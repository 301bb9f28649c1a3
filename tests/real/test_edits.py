"""Edits behind our back, by the real tools in a mount namespace, become changes on all masters; accidents do not."""

import os
import shutil
import subprocess
from typing import NamedTuple

import pytest
from cluster import wait_until
from support.requires import missing

from beonss.store.control import ControlClient

FIRST, SECOND = "over-hill-under-hill", "Buckleberry-ferry-19"
TARGETS = '[[target]]\nname = "local"\ntype = "files"\nroot = "{root}"\n'
FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nkeeper:x:1777:1777::/home/keeper:/bin/sh\n",
    "shadow": "root:*:19000:0:99999:7:::\nkeeper:!:19000:0:99999:7:::\n",
    "group": "root:x:0:\nusers:x:100:\nkeeper:x:1777:\n",
    "gshadow": "root:*::\nusers:!::\nkeeper:!::\n",
    "login.defs": "ENCRYPT_METHOD SHA512\nUID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nCREATE_HOME no\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\n",
}


class Line(NamedTuple):
    name: str
    password: str
    uid: str
    gid: str
    gecos: str
    home: str
    shell: str


@pytest.fixture(scope="module")
def etc(directory):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root, for a mount namespace", "run the tests as root; apt install util-linux")
    for program in ("usermod", "useradd", "passwd", "chpasswd", "vipw", "gpasswd"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            missing(f"the program {program}", "apt install passwd")
    etc = directory / "root" / "etc"
    etc.mkdir(parents=True)
    for name, text in FILES.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o640 if "shadow" in name else 0o644)
    (etc / "pam.d").mkdir()
    for name in ("passwd", "chpasswd", "other", "test", "chsh", "usermod", "useradd"):
        (etc / "pam.d" / name).write_text(
            "auth required pam_unix.so\naccount required pam_unix.so\npassword required pam_unix.so sha512\n"
            "session required pam_permit.so\n"
        )
    return etc


@pytest.fixture(scope="module")
def masters(cluster, directory, etc):
    """Return two masters; only the first delivers to files."""
    (directory / "targets.toml").write_text(TARGETS.format(root=etc.parent))
    first = cluster.add_master("frodo", "--targets", str(directory / "targets.toml"))
    cluster.start(first)
    second = cluster.add_master("gamgee")
    cluster.start(second)
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=FIRST, capture_output=True, text=True, check=True
    ).stdout.strip()
    names = ["frodo", "sam", "rosie", *(f"hobbit{number}" for number in range(10))]
    (directory / "passwd").write_text(
        "".join(f"{name}:x:{2001 + at}:2000::/home/{name}:/bin/sh\n" for at, name in enumerate(names))
    )
    (directory / "shadow").write_text("".join(f"{name}:{hashed}:19000:0:99999:7:::\n" for name in names))
    (directory / "group").write_text("hobbits:x:2000:frodo,sam\n")
    accounts(cluster, first, "import", *(f"--{word}={directory / word}" for word in ("passwd", "shadow", "group")))
    wait_until(lambda: line(etc, "passwd", "hobbit9"), "the files have everybody")
    wait_until(lambda: second.nslcd.user("hobbit9"), "gamgee knows everybody")
    settled(cluster, first)
    return first, second


def accounts(cluster, machine, *words, check=True):
    return cluster.run("beonss", "accounts", words[0], "--control", str(machine.control), *words[1:], check=check)


def settled(cluster, machine):
    def check():
        return all(one["backlog"] == 0 for one in cluster.status(machine)["targets"])

    wait_until(check, "everything is delivered")


def alarms(cluster, machine):
    return " ".join(cluster.status(machine)["alarms"])


def known(machine, name):
    return Line(*machine.nslcd.user(name))


def members(machine, group):
    with ControlClient(str(machine.control)) as client:
        return client.ask("accounts.show", {"name": group, "kind": "group"}).data["group"]["members"]


def line(etc, file, name):
    for text in (etc / file).read_text().splitlines():
        if text.startswith(f"{name}:"):
            return text
    return ""


def inside(etc, script, text=""):
    """Run a script where our files are /etc."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f"mount --bind {etc} /etc\nPATH=$PATH:/usr/sbin\n{script}"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_shell_and_a_name_changed_by_usermod(cluster, masters, etc):
    inside(etc, "usermod -s /bin/bash -c 'Frodo Baggins' frodo")
    wait_until(lambda: known(masters[1], "frodo").shell == "/bin/bash", "gamgee has the shell")
    assert known(masters[1], "frodo").gecos == "Frodo Baggins"
    settled(cluster, masters[0])
    assert "frodo" not in alarms(cluster, masters[0])


def test_a_password_changed_by_passwd_lets_its_owner_in_everywhere(cluster, masters, etc):
    inside(etc, "passwd sam", f"{SECOND}\n{SECOND}\n")
    wait_until(lambda: masters[1].nslcd.login("sam", SECOND), "gamgee lets sam in")
    assert not masters[1].nslcd.login("sam", FIRST)


def test_a_password_changed_by_cpasswd_lets_its_owner_in_by_the_stock_pam_stack(cluster, masters, etc):
    if shutil.which("pamtester") is None:
        missing("the program pamtester", "apt install pamtester")
    third = "eleventy-first-Bday"
    done = cluster.run("cpasswd", "sam", "--stdin", "--socket", str(masters[1].control), text=f"{third}\n", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    settled(cluster, masters[0])
    pam = "pamtester test sam authenticate acct_mgmt"
    wait_until(lambda: "success" in inside(etc, f"{pam} 2>&1 || true", third + "\n"), "pam_unix lets sam in")
    assert "successfully" not in inside(etc, f"{pam} 2>&1 || true", SECOND + "\n")


def test_locked_and_unlocked_by_usermod(cluster, masters, etc):
    inside(etc, "usermod -L rosie")
    wait_until(lambda: not masters[1].nslcd.login("rosie", FIRST), "rosie is locked")
    inside(etc, "usermod -U rosie")
    wait_until(lambda: masters[1].nslcd.login("rosie", FIRST), "rosie is unlocked")
    settled(cluster, masters[0])


def test_a_user_and_a_group_made_by_useradd_and_groupadd(cluster, masters, etc):
    inside(
        etc,
        "groupadd -g 2500 gardeners; useradd -M -u 2600 -g gardeners -G hobbits gaffer; chpasswd",
        f"gaffer:{FIRST}\n",
    )
    wait_until(lambda: masters[1].nslcd.user("gaffer"), "gamgee knows gaffer")
    assert known(masters[1], "gaffer").gid == "2500"
    wait_until(lambda: masters[1].nslcd.login("gaffer", FIRST), "gaffer may log in")
    wait_until(lambda: "gaffer" in line(etc, "group", "hobbits"), "gaffer is a hobbit")
    wait_until(lambda: "gaffer" in members(masters[1], "hobbits"), "gamgee knows that")
    settled(cluster, masters[0])
    # Whoever was there before us stays the machine's own.
    assert masters[1].nslcd.user("keeper") is None


def test_an_editor_as_vipw_runs_it(cluster, masters, etc):
    inside(etc, "EDITOR='sed -i s,/home/hobbit1:,/srv/hobbit1:,' vipw")
    wait_until(lambda: known(masters[1], "hobbit1").home == "/srv/hobbit1", "gamgee has the home")


def test_renamed_by_usermod(cluster, masters, etc):
    inside(etc, "usermod -l mad-baggins hobbit2")
    wait_until(lambda: masters[1].nslcd.user("mad-baggins"), "gamgee knows the new name")
    assert masters[1].nslcd.user("hobbit2") is None
    assert known(masters[1], "mad-baggins").uid == "2006"
    settled(cluster, masters[0])


def test_one_taken_out_is_an_alarm_until_adopted_or_reasserted(cluster, masters, etc):
    inside(etc, "userdel hobbit3; userdel hobbit4")
    wait_until(lambda: "hobbit3 was taken out" in alarms(cluster, masters[0]), "the deletion is an alarm")
    assert masters[1].nslcd.user("hobbit3")
    accounts(cluster, masters[0], "adopt", "--target", "local", "hobbit3")
    wait_until(lambda: masters[1].nslcd.user("hobbit3") is None, "hobbit3 is deleted everywhere")
    accounts(cluster, masters[0], "reassert", "--target", "local", "hobbit4")
    wait_until(lambda: line(etc, "passwd", "hobbit4") and line(etc, "shadow", "hobbit4"), "hobbit4 is back")
    wait_until(lambda: not alarms(cluster, masters[0]), "no alarm is left")


def test_a_local_account_is_made_the_clusters_when_asked(cluster, masters, etc):
    accounts(cluster, masters[0], "adopt", "--target", "local", "keeper")
    wait_until(lambda: masters[1].nslcd.user("keeper"), "gamgee knows keeper")


def test_a_restored_etc_stops_everything_until_somebody_decides(cluster, masters, etc):
    settled(cluster, masters[0])
    kept = {name: (etc / name).read_text() for name in ("passwd", "shadow", "group", "gshadow")}
    (etc / "passwd").write_text(kept["passwd"].replace(":/home/", ":/old/"))
    wait_until(lambda: "all at once" in alarms(cluster, masters[0]), "it is an alarm")
    assert known(masters[1], "hobbit5").home == "/home/hobbit5"
    accounts(cluster, masters[0], "reassert", "--target", "local", "--all")
    wait_until(lambda: (etc / "passwd").read_text() == kept["passwd"], "our files are back")
    wait_until(lambda: not alarms(cluster, masters[0]), "no alarm is left")


def test_an_old_password_that_comes_back_is_no_edit(cluster, masters, etc):
    settled(cluster, masters[0])
    old = line(etc, "shadow", "hobbit6")
    cluster.run("cpasswd", "hobbit6", "--stdin", "--socket", str(masters[1].control), text=f"{SECOND}\n", check=False)
    wait_until(lambda: line(etc, "shadow", "hobbit6") != old, "the new password is delivered")
    settled(cluster, masters[0])
    shadow = etc / "shadow"
    shadow.write_text(shadow.read_text().replace(line(etc, "shadow", "hobbit6"), old))
    wait_until(lambda: "older password" in alarms(cluster, masters[0]), "it is an alarm")
    assert masters[1].nslcd.login("hobbit6", SECOND)
    accounts(cluster, masters[0], "reassert", "--target", "local", "hobbit6")
    wait_until(lambda: line(etc, "shadow", "hobbit6") != old, "the new one is back")


def test_edits_while_the_daemon_was_down_are_found_at_its_start(cluster, masters, etc):
    settled(cluster, masters[0])
    masters[0].kill()
    inside(etc, "usermod -s /bin/ksh hobbit7; useradd -M -u 2700 -g 2000 late")
    cluster.start(masters[0])
    wait_until(lambda: known(masters[1], "hobbit7").shell == "/bin/ksh", "gamgee has the shell")
    wait_until(lambda: masters[1].nslcd.user("late"), "gamgee knows the new one")
    assert "Traceback" not in masters[0].log.read_text()
    assert "$6$" not in masters[0].log.read_text()
