"""A master whose sockets are handed over, as by systemd: it needs no power, loses nothing, and tells how it is."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import dns.message
import pytest
from cluster import BIN, ROOT, LoopbackCluster, wait_until
from outside import Nslcd
from support.other_user import UID, give_to_user, public_python, status_of
from support.requires import missing

ZONE = "fellow.aero.org"
ACTIVATOR = ROOT / "tests" / "support" / "activator.py"


#: Once is enough.
ALONE = pytest.mark.parametrize("cluster", ["0"], ids=["alone"], indirect=True, scope="module")


class Sockets:
    """The sockets that a service manager would keep."""

    def __init__(self, directory):
        self.control, self.nslcd = directory / "control", directory / "nslcd"
        self.made = {
            "udp": self.internet(socket.SOCK_DGRAM, 0), "sync": self.internet(socket.SOCK_STREAM, 0),
            "control": self.unix(self.control), "nslcd": self.unix(self.nslcd),
        }  # fmt: skip
        self.port = self.made["udp"].getsockname()[1]
        self.made["tcp"] = self.internet(socket.SOCK_STREAM, self.port)

    def internet(self, kind, port):
        made = socket.socket(socket.AF_INET, kind)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            made.listen(128)
        return made

    def unix(self, path):
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(path))
        path.chmod(0o666)
        made.listen(128)
        return made

    def words(self, **names):
        """Return what the activator wants to read, and make the sockets pass to it."""
        for each in self.made.values():
            each.set_inheritable(True)
        usual = {"udp": "dns", "tcp": "dns", "sync": "sync", "control": "control", "nslcd": "nslcd"}
        return [f"{name}={self.made[each].fileno()}" for each, name in {**usual, **names}.items() if name is not None]

    def close(self):
        for each in self.made.values():
            each.close()


class Manager:
    """The socket of a service manager, and what it heard."""

    def __init__(self, path):
        self.path = path
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(str(path))
        path.chmod(0o666)
        self.door.setblocking(False)
        self.heard = []

    def hears(self, *texts):
        """Say whether all of these were heard, in this order, since the last time it was so."""
        try:
            while True:
                self.heard += self.door.recv(4096).decode().split("\n")
        except BlockingIOError:
            pass
        heard = iter(self.heard)
        if not all(text in heard for text in texts):
            return False
        self.heard = list(heard)
        return True


@pytest.fixture(scope="module")
def place():
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def sockets(place):
    made = Sockets(place)
    yield made
    made.close()


@pytest.fixture(scope="module")
def manager(place):
    made = Manager(place / "notify")
    yield made
    made.door.close()


@pytest.fixture(scope="module", params=["2", "0"], ids=["processes", "alone"])
def cluster(request, place, sockets):
    made = LoopbackCluster(place / request.param, ROOT / "examples" / "fellowship.toml", ZONE)
    try:
        frodo = made.add_master("frodo", "--dns-workers", request.param)
        words = [*frodo.arguments]
        for option in ("--dns-listen", "--sync-listen"):
            where = words.index(option)
            del words[where : where + 2]
        frodo.arguments = words
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def frodo(cluster, sockets, manager):
    """The master, running as a user without any power from its first instruction."""
    prefix, environment = public_python()
    machine = cluster.masters["frodo"]
    give_to_user(machine.directory)
    machine.dns = ("127.0.0.1", sockets.port)
    machine.prefix = (
        "setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
        prefix[0], str(ACTIVATOR), *sockets.words(), "--", *prefix,
    )  # fmt: skip
    machine.environment = {**environment, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000000"}
    start(machine, sockets)
    return machine


def start(machine, sockets):
    """Start it with all of its descriptors, and wait until it answers."""
    with machine.log.open("ab") as log:
        machine.process = subprocess.Popen(
            [*machine.prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *machine.arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=machine.directory,
            env={**os.environ, **machine.environment}, close_fds=False,
        )  # fmt: skip
    wait_until(lambda: machine.ask(ZONE, "SOA").rcode == "NOERROR", f"it answers\n{machine.tail()}")


def command(*words, sockets, **options):
    return subprocess.run(
        [str(BIN / words[0]), *words[1:], "--control" if words[0] == "beonss" else "--socket", str(sockets.control)],
        capture_output=True, text=True, check=True, timeout=60, **options,
    )  # fmt: skip


def test_every_door_is_served(frodo, sockets, manager):
    """Without any power, on sockets that root could have opened."""
    wait_until(lambda: manager.hears("READY=1", "WATCHDOG=1", "WATCHDOG=1"), "it says that it serves and lives")
    assert all(int(thread["CapPrm"], 16) == 0 for thread in status_of(frodo.process.pid))
    assert frodo.ask(f"r01n01.{ZONE}", tcp=True).rcode == "NOERROR"
    command("beonss", "user", "add", "alice", sockets=sockets)
    command("cpasswd", "alice", "--stdin", sockets=sockets, input="correct horse battery\n")
    assert Nslcd(sockets.nslcd).user("alice") is not None
    told = command("beonss", "status", "--json", sockets=sockets).stdout
    assert f'"port": {sockets.port}' in told
    with socket.create_connection(sockets.made["sync"].getsockname(), timeout=10) as client:
        assert client.getpeername()


def test_dns_processes_have_no_door_but_their_own(cluster, frodo, sockets):
    """Who takes one over has neither the control socket nor those on which passwords come."""
    if not Path("/proc/self/stat").exists():
        missing("the file system /proc")
    doors = {f"socket:[{os.fstat(made.fileno()).st_ino}]": name for name, made in sockets.made.items()}
    opened = {
        named: {doors.get(str(each.readlink())) for each in (entry / "fd").iterdir()} - {None}
        for named, entry in processes(f"{cluster.directory / 'frodo' / 'state'}", "beonss-dns")
    }
    assert opened.keys() == ({"beonss-dns", "beonss-dns1", "beonss-dns2"} if cluster.directory.name == "2" else set())
    assert all(found <= {"udp", "tcp"} for found in opened.values())


def processes(word, beginning):
    """Run over the processes of one daemon with such a name: that, and their directory in /proc."""
    for entry in Path("/proc").iterdir():
        # Those that end meanwhile are not ours.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                name = (entry / "comm").read_text().strip()
                if name.startswith(beginning):
                    yield name, entry


def test_a_reload_is_told(frodo, manager):
    frodo.send(signal.SIGHUP)
    wait_until(lambda: manager.hears("RELOADING=1", "READY=1"), "it says that it has reloaded")


def test_nothing_is_lost_between_two_lives(frodo, sockets, manager):
    """What comes while the daemon is dead waits in sockets that it does not own; the paths stay, too."""
    frodo.kill()
    query = dns.message.make_query(f"r01n03.{ZONE}", "A")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.create_connection(("127.0.0.1", sockets.port), timeout=30) as stream,
        socket.socket(socket.AF_UNIX) as local,
    ):
        client.settimeout(30)
        client.sendto(query.to_wire(), ("127.0.0.1", sockets.port))
        stream.sendall(query.to_wire(prepend_length=True))
        local.settimeout(30)
        local.connect(str(sockets.control))
        local.sendall(b'{"op":"status"}\n')
        start(frodo, sockets)
        assert query.is_response(dns.message.from_wire(client.recv(4096)))
        length = int.from_bytes(stream.recv(2, socket.MSG_WAITALL), "big")
        assert query.is_response(dns.message.from_wire(stream.recv(length, socket.MSG_WAITALL)))
        assert local.recv(10) == b'{"end":{"c'
    wait_until(lambda: manager.hears("READY=1"), "it says that it serves again")
    assert frodo.stop() in {0, -signal.SIGTERM}
    assert manager.hears("STOPPING=1")
    assert sockets.control.is_socket()
    assert sockets.nslcd.is_socket()
    start(frodo, sockets)


def refused(machine, words, environment=()):
    """Start it with other sockets; return what it says when it ends at once."""
    prefix, usual = public_python()
    done = subprocess.run(
        [*prefix, str(ACTIVATOR), *words, "--", *prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss",
         *machine.arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, close_fds=False,
        cwd=machine.directory, env={**os.environ, **usual, **dict(environment)},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@ALONE
def test_what_makes_no_sense_ends_the_start(cluster, frodo, sockets):
    """Half of a pair, a socket that nobody knows, one of the wrong type."""
    if frodo.process is not None:
        frodo.stop()
    assert "add ListenStream=" in refused(frodo, sockets.words(tcp=None))
    assert "nothing here listens there" in refused(frodo, sockets.words(nslcd="www"))
    assert "cannot serve as sync" in refused(frodo, sockets.words(control="sync"))
    assert "a second socket for control" in refused(frodo, sockets.words(nslcd="control"))
    assert sockets.control.is_socket()


@ALONE
def test_systemd_itself_hands_sockets_over(cluster, frodo, sockets, place):
    """The real activator, for a stream: it starts the daemon at the first connection."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        missing("the program systemd-socket-activate", "systemd")
    if frodo.process is not None:
        frodo.stop()
    prefix, environment = public_python()
    control = place / f"by-systemd-{cluster.directory.name}"
    words = ["--fdname=control", f"--listen={control}"]
    words += [f"--setenv={name}={value}" for name, value in environment.items()]
    log = frodo.log.open("ab")
    running = subprocess.Popen(
        [program, *words, *prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *frodo.arguments, "--no-dns"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=frodo.directory,
    )  # fmt: skip
    try:
        wait_until(control.is_socket, "systemd listens")
        done = subprocess.run(
            [str(BIN / "beonss"), "status", "--control", str(control)], capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert (done.returncode, "frodo" in done.stdout) == (0, True), done.stderr + frodo.tail()
    finally:
        running.terminate()
        running.wait(30)
        log.close()
