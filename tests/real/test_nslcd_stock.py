"""Debian's own libnss-ldapd and libpam-ldapd, unchanged, against our nslcd socket in a process of its own.

getent, id, python's pwd and grp, pamtester and passwd run in a mount namespace where ``/etc`` is private.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.namespace import NSSWITCH, StockModules
from support.requires import missing

import beonss

Start = Callable[..., StockModules]

TESTS = Path(__file__).parents[1]


class Server:
    """A process with our socket; ends with its standard input."""

    def __init__(self, path: Path, *options: str, descriptors: int = 1024) -> None:
        path.parent.mkdir(exist_ok=True)
        command = [
            "prlimit",
            f"--nofile={descriptors}",
            sys.executable,
            "-m",
            "support.nslcd_server",
            str(path),
            *options,
        ]
        self.log = (path.parent.parent / "server.log").open("a+")
        self.process = subprocess.Popen(
            command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self.stop()

    def text(self) -> str:
        """Return its log."""
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> None:
        """End it and take its exit status."""
        self.process.communicate(timeout=20)
        text = self.text()
        self.log.close()
        assert self.process.returncode == 0, text
        assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A directory for servers and private files, with a short name: a socket's path holds 107 bytes."""
    if shutil.which("setpriv") is None:
        missing("the program setpriv", "apt-get install util-linux")
    place = tmp_path_factory.mktemp("nslcd")
    yield place
    # It holds copies of /etc.
    shutil.rmtree(place)


def start_server(place: Path, name: str, *options: str, **private: str) -> Iterator[StockModules]:
    directory = place / name
    (directory / "private").mkdir(parents=True)
    path = directory / "door" / "socket"
    modules = StockModules(directory / "private", path, **private)
    server = Server(path, *options)
    try:
        yield modules
    finally:
        server.stop()


@pytest.fixture(scope="module")
def master(place) -> Iterator[StockModules]:
    yield from start_server(place, "master", "--users", "3000", hosts="10.9.9.9 elsewhere\n")


@pytest.fixture
def fresh(place) -> Iterator[StockModules]:
    """A master of one test's own, for tests that change passwords."""
    yield from start_server(place, f"fresh{len(list(place.iterdir()))}")


@pytest.fixture(scope="module")
def node(place) -> Iterator[StockModules]:
    yield from start_server(place, "node", "--node")


def getent(modules: StockModules, *question: str, **options: int) -> str:
    result = modules.run(["getent", *question], **options)
    assert result.stderr == ""
    assert (result.returncode == 0) == bool(result.stdout)
    return result.stdout


class TestLookups:
    """What NSS tells programs."""

    def test_passwd(self, master):
        line = "alice:*:5001:5000:Alice Liddell:/home/alice:/bin/sh\n"
        assert getent(master, "passwd", "alice") == line
        assert getent(master, "passwd", "5001") == line
        assert getent(master, "passwd", "lümmel").startswith("lümmel:*:5013:5000:Lümmel von")
        assert getent(master, "passwd", "nobody-such") == ""

    def test_local_accounts_and_those_below_the_floor_are_left_to_the_files(self, master):
        assert getent(master, "passwd", "root").startswith("root:x:0:0:")
        assert getent(master, "passwd", "lowly") == ""

    def test_group_and_initgroups(self, master):
        assert getent(master, "group", "chemistry") == "chemistry:*:5100:alice,bob\n"
        assert getent(master, "group", "5100") == "chemistry:*:5100:alice,bob\n"
        assert getent(master, "initgroups", "alice").split() == ["alice", "5100"]
        assert master.run(["id", "-Gn", "alice"]).stdout == "users chemistry\n"

    def test_shadow_is_for_root(self, master):
        assert getent(master, "shadow", "alice") == "alice:$6$salt$alicehash:20000::::::\n"
        assert getent(master, "shadow", "bob").startswith("bob:!$6$")
        assert getent(master, "shadow", "alice", uid=5001) == ""
        assert getent(master, "passwd", "alice", uid=5001) != ""

    def test_a_node_has_no_hashes(self, node):
        assert getent(node, "shadow", "alice") == ""
        assert getent(node, "passwd", "alice") != ""

    @pytest.mark.parametrize("name", ["r01n07", "R01N07.Fellow.aero.org", ".6", "self", "n-2", ".-2"])
    def test_a_node_by_any_name(self, master, name):
        address, canonical, *aliases = getent(master, "hosts", name).split()
        assert (address, canonical) == ("10.5.1.7", "r01n07.fellow.aero.org")
        assert "r01n07" in aliases

    def test_addresses(self, master):
        assert getent(master, "hosts", "10.5.2.3").split()[:3] == ["10.5.2.3", "r02n03.fellow.aero.org", "r02n03"]
        assert getent(master, "hosts", "fd00:5::1").split()[:2] == ["fd00:5::1", "frodo.fellow.aero.org"]
        assert getent(master, "hosts", "10.5.77.1") == ""

    @pytest.mark.parametrize("name", ["master", "n-1", ".-1"])
    def test_master_is_each_of_the_masters(self, master, name):
        assert {line.split()[0] for line in getent(master, "ahostsv4", name).splitlines()} == {"10.5.0.1", "10.5.0.2"}

    def test_getaddrinfo_and_getnameinfo(self, master):
        code = "import socket as s; print(s.gethostbyname('r04n20'), s.getnameinfo(('10.5.4.20', 22), 0)[0])"
        assert master.run([sys.executable, "-c", code]).stdout == "10.5.4.20 r04n20.fellow.aero.org\n"

    def test_a_name_that_is_not_known_to_us_goes_to_the_next_source(self, master):
        assert getent(master, "hosts", "elsewhere").split()[0] == "10.9.9.9"

    def test_netgroup(self, master):
        text = getent(master, "netgroup", "cluster")
        assert "(r01n07.fellow.aero.org,,)" in text
        assert "(r01n07,,)" in text
        assert len(text.split()) == 1 + 160
        assert getent(master, "netgroup", "nothing") == ""

    def test_innetgr(self, master):
        code = "import ctypes as c; l = c.CDLL(None); print([l.innetgr(b'cluster', n, None, None) for n in (%s)])"
        code %= "b'r02n03', b'r02n03.fellow.aero.org', b'r02n33', b'frodo'"
        assert master.run([sys.executable, "-c", code]).stdout == "[1, 1, 0, 0]\n"

    def test_ethers(self, master):
        assert getent(master, "ethers", "switch") == "2:0:0:0:0:9 switch\n"
        assert getent(master, "ethers", "2:0:0:0:0:9") == "2:0:0:0:0:9 switch\n"
        assert getent(master, "ethers", "frodo") == ""

    def test_services_are_left_to_the_files(self, master):
        assert getent(master, "services", "ssh").split() == ["ssh", "22/tcp"]
        assert getent(master, "services", "nothing-such") == ""

    def test_enumerations(self, master):
        names = [line.split(":")[0] for line in getent(master, "passwd").splitlines()]
        assert len(names) == len(set(names))
        assert {"root", "alice", "user000000", "user002999"} <= set(names)
        assert len(getent(master, "shadow").splitlines()) >= 3000
        assert len(getent(master, "hosts").splitlines()) == 2 + 83
        crowd = next(line for line in getent(master, "group").splitlines() if line.startswith("crowd:"))
        assert crowd.count(",") == 2999
        assert getent(master, "group", "crowd") == crowd + "\n"

    def test_many_programs_at_once(self, master):
        script = "for n in $(seq 200); do getent passwd user000$n >/dev/null & done; wait; getent passwd user000100"
        assert master.run(["sh", "-c", script]).stdout.startswith("user000100:")


class TestUnknown:
    """Not known now is never told as "there is no such thing"."""

    NSSWITCH = NSSWITCH.replace("hosts: files ldap", "hosts: ldap [NOTFOUND=return] files")

    def ask(self, modules):
        return [getent(modules, "hosts", name) != "" for name in ("frodo", "elsewhere")]

    def test_the_next_source_is_asked_when_we_do_not_know(self, place):
        hosts = "10.9.9.9 elsewhere\n10.9.9.8 frodo\n"
        directory = place / "unknown"
        (directory / "private").mkdir(parents=True)
        (directory / "door").mkdir()
        path = directory / "door" / "socket"
        modules = StockModules(directory / "private", path, hosts=hosts, nsswitch=self.NSSWITCH)
        assert self.ask(modules) == [True, True], "no daemon: unavailable"
        server = Server(path, "--empty")
        assert self.ask(modules) == [True, True], "a daemon without memory: unavailable"
        assert modules.run(["pamtester", "bare", "alice", "authenticate"], input="x\n").returncode != 0
        server.stop()
        server = Server(path)
        assert self.ask(modules) == [True, False], "a daemon that knows: no such host"
        assert getent(modules, "ahosts", "r01n07"), "no IPv6 address is not no host"
        server.stop()


def test_idle_clients_keep_nobody_out(place):
    """With room for 32 clients and 60 that never ask, a lookup waits for a moment and is answered."""
    directory = place / "crowded"
    (directory / "private").mkdir(parents=True)
    path = directory / "door" / "socket"
    modules = StockModules(directory / "private", path)
    server = Server(path, descriptors=64)
    with contextlib.ExitStack() as idle:
        for _ in range(60):
            client = idle.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(path))
        for _ in range(3):
            assert getent(modules, "passwd", "alice") != ""
    server.stop()
    assert "places are taken" in (directory / "server.log").read_text()


def test_the_daemon_can_be_kept_from_asking_itself(master):
    code = (
        "import pwd; from beonss.net.ownlookups import disable_own_lookups as off;"
        "print(pwd.getpwnam('alice').pw_uid, off(), [p for p in pwd.getpwall() if p.pw_name == 'alice'])"
    )
    result = master.run([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(beonss.__file__).parents[1])})
    assert result.stdout == "5001 True []\n", result.stderr


def pamtester(modules: StockModules, service: str, user: str, *operations: str, text: str = "sesame\n"):
    if shutil.which("pamtester") is None:
        missing("the program pamtester", "apt-get install pamtester")
    result = modules.run(["pamtester", service, user, *operations], input=text)
    return result.returncode == 0, result.stdout + result.stderr


class TestLogin:
    """Logins through pam_ldap, in Debian's own stack and alone."""

    def test_a_whole_login(self, master):
        steps = ["authenticate", "acct_mgmt", "open_session", "close_session"]
        good, text = pamtester(master, "login", "alice", *steps)
        assert good, text
        assert "successfully opened a session" in text

    def test_a_wrong_password(self, master):
        assert pamtester(master, "login", "alice", "authenticate", text="x\n") == (
            False,
            "Password: pamtester: Authentication failure\n",
        )

    def test_an_unknown_user(self, master):
        good, text = pamtester(master, "bare", "nobody-such", "authenticate")
        assert not good
        assert "User not known" in text

    def test_local_users_are_none_of_ours(self, master):
        good, text = pamtester(master, "bare", "root", "authenticate")
        assert not good
        assert "User not known" in text
        assert pamtester(master, "login", "root", "acct_mgmt", "open_session")[0]

    def test_a_locked_account(self, master):
        good, text = pamtester(master, "login", "bob", "acct_mgmt")
        assert not good
        assert "This account is locked" in text

    def test_an_expired_account(self, master):
        good, text = pamtester(master, "login", "expired", "acct_mgmt")
        assert not good
        assert "expired 400 days ago" in text

    def test_a_password_that_ends_soon_is_said(self, master):
        good, text = pamtester(master, "login", "warned", "authenticate", "acct_mgmt")
        assert good
        assert "within 2 days" in text

    def test_an_old_password_must_be_changed_and_its_owner_is_not_asked_for_it_twice(self, fresh):
        good, text = pamtester(fresh, "login", "aged", "authenticate", "acct_mgmt")
        assert not good
        assert "You must change your password now: it was due 410 days ago." in text
        # su(1) goes on as login(1) does: the new password twice, the old one not again.
        result = fresh.run(["su", "aged", "-c", "id -un"], uid=5001, gid=5000, input="sesame\nbrandnew1\nbrandnew1\n")
        assert result.stdout == "aged\n", result.stderr
        assert "LDAP Password" not in result.stderr
        assert pamtester(fresh, "login", "aged", "authenticate", "acct_mgmt", text="brandnew1\n")[0]

    def test_no_master_is_not_a_refusal(self, master):
        shutil.copy(master.etc / "pam.d" / "bare", master.etc / "pam.d" / "away")
        good, text = pamtester(master, "away", "alice", "authenticate")
        assert not good
        assert "cannot retrieve authentication info" in text


class TestPasswd:
    """The passwd(1) of the distribution changes the cluster's password."""

    def test_a_user_changes_the_password(self, fresh):
        result = fresh.run(["passwd"], input="sesame\nopen-sesame\nopen-sesame\n", uid=5001, gid=5000)
        assert result.returncode == 0, result.stderr
        assert "password updated successfully" in result.stderr
        assert pamtester(fresh, "login", "alice", "authenticate", text="open-sesame\n")[0]
        assert not pamtester(fresh, "login", "alice", "authenticate")[0]

    def test_a_wrong_old_password_changes_nothing(self, fresh):
        result = fresh.run(["passwd"], input="wrong\nopen-sesame\nopen-sesame\n", uid=5001, gid=5000)
        assert result.returncode != 0
        assert "password unchanged" in result.stderr
        assert pamtester(fresh, "login", "alice", "authenticate")[0]

    def test_a_refused_new_password_is_explained(self, fresh):
        result = fresh.run(["passwd"], input="sesame\nabc\nabc\n", uid=5001, gid=5000)
        assert result.returncode != 0
        assert "too short for this cluster" in result.stderr

    def test_root_of_a_master_needs_no_old_password(self, fresh):
        result = fresh.run(["passwd", "alice"], input="from-root\nfrom-root\n")
        assert result.returncode == 0, result.stderr
        assert pamtester(fresh, "login", "alice", "authenticate", text="from-root\n")[0]

    def test_root_of_a_node_does(self, node):
        result = node.run(["passwd", "alice"], input="\nfrom-root\nfrom-root\n")
        assert result.returncode != 0
        result = node.run(["passwd", "alice"], input="administrator\nfrom-root\nfrom-root\n")
        assert result.returncode != 0
        assert "administrator password" in result.stderr
        assert "password unchanged" in result.stderr
        assert pamtester(node, "login", "alice", "authenticate")[0]

    def test_a_user_of_a_node_changes_it_with_the_old_one(self, node):
        result = node.run(["passwd"], input="sesame\nfrom-node\nfrom-node\n", uid=5003, gid=5100)
        assert result.returncode == 0, result.stderr
        assert pamtester(node, "login", "carol", "authenticate", text="from-node\n")[0]

    def test_a_local_user_is_changed_in_the_files(self, fresh):
        shadow = fresh.etc / "shadow"
        with (fresh.etc / "passwd").open("a") as file:
            file.write("locally:x:1900:1900::/:/bin/sh\n")
        with shadow.open("a") as file:
            file.write("locally:*:19000:0:99999:7:::\n")
        result = fresh.run(["passwd", "locally"], input="only-here-9\nonly-here-9\n")
        assert result.returncode == 0, result.stderr
        assert "locally:$" in shadow.read_text()


def test_the_machine_itself_is_untouched(master):
    """The private /etc is private: nothing of it shows outside."""
    marker = "beonss-test.conf"
    assert (master.etc / "ld.so.conf.d" / marker).exists()
    assert not (Path("/etc/ld.so.conf.d") / marker).exists()
    mounted = Path("/proc/self/mounts").read_text()
    assert str(master.directory) not in mounted
