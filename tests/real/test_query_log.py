"""Queries as they are told by real daemons, answered in processes of their own and in the daemon itself."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from cluster import BIN, ROOT, ClusterError, LoopbackCluster, wait_until
from support.requires import missing

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module", params=["2", "0"], ids=["processes", "alone"])
def cluster(request):
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    # Another user must get to the control socket, if only to be turned away.
    directory.chmod(0o755)
    made = LoopbackCluster(directory, ROOT / "examples" / "fellowship.toml", ZONE)
    try:
        frodo = made.add_master(
            "frodo", "--dns-workers", request.param, "--query-log", str(directory / "q.jsonl"), "--query-sample", "1"
        )
        made.start(frodo)
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


@pytest.fixture
def frodo(cluster):
    return cluster.masters["frodo"]


class Following:
    """A running ``beonss querylog``; it follows all processes when this returns."""

    def __init__(self, machine, *options, control=None):
        self.told = []
        self.process = subprocess.Popen(
            [str(BIN / "beonss"), "querylog", "--json", *options, "--control", str(control or machine.control)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def names(self):
        return [query.get("name") for query in self.told]

    def await_names(self, names, again=lambda: None):
        """Wait until all of these were told."""

        def all_told():
            again()
            return set(names) <= set(self.names())

        wait_until(all_told, f"all of {names} are told")

    def end(self, number=signal.SIGINT):
        """End it as a person does; return the exit code and what it said on standard error."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        code = self.process.wait(30)
        self._reading.join(30)
        with self.process.stderr as errors:
            text = errors.read()
        self.process.stdout.close()
        return code, text


@pytest.fixture
def follow(frodo):
    """Begin to follow, and wait until something was told."""
    running = []

    def start(*options):
        following = Following(frodo, *options)
        running.append(following)
        # The client's port decides which process answers; sixteen in a row that are all told have met each of two.
        asked = 0

        def told():
            nonlocal asked
            before = len(following.told)
            for _ in range(16):
                asked += 1
                frodo.ask(f"frodo.{ZONE}")
            with contextlib.suppress(ClusterError):
                wait_until(lambda: len(following.told) - before >= 16, "all sixteen", 1)
            return len(following.told) - before >= 16

        wait_until(told, "the first queries are told")
        return following

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.ended()


def test_whoever_follows_is_told(frodo, follow):
    """UDP and TCP, plain and personal, names that are there and that are not; each once."""
    following = follow()
    names = [f"r02n{number:02}.{ZONE}" for number in range(1, 31)]
    for name in names:
        frodo.ask(name)
    frodo.ask(f"self.{ZONE}")
    frodo.ask(f"nobody.{ZONE}", "AAAA", tcp=True)
    following.await_names([*names, f"self.{ZONE}", f"nobody.{ZONE}"])
    assert following.end() == (0, "")
    told = [query for query in following.told if query["name"] != f"frodo.{ZONE}"]
    assert sorted(query["name"] for query in told) == sorted([*names, f"self.{ZONE}", f"nobody.{ZONE}"])
    denied = next(query for query in told if query["name"] == f"nobody.{ZONE}")
    assert {name: denied[name] for name in ("rcode", "transport", "type", "client", "reply_flags")} == {
        "rcode": "NXDOMAIN", "transport": "tcp", "type": "AAAA", "client": "127.0.0.1", "reply_flags": ["aa"],
    }  # fmt: skip
    assert all(query["size"] > 12 for query in told)


def test_only_what_is_wanted_is_told(frodo, follow):
    following = follow("--name", "FRODO*", "--type", "a", "--client", "127.0.0.0/8")
    for name, kind in (("frodo", "AAAA"), ("gamgee", "A"), ("frodo", "A")):
        frodo.ask(f"{name}.{ZONE}", kind)
    assert following.end() == (0, "")
    assert {(query["name"], query["type"]) for query in following.told} == {(f"frodo.{ZONE}", "A")}


def test_it_ends_when_it_was_told_to(frodo):
    """A client that nobody has asks nothing."""
    following = Following(frodo, "--for", "0.5", "--client", "192.0.2.1")
    assert following.ended() == (0, "")
    assert following.told == []


def test_an_asker_who_goes_is_forgotten(frodo):
    """More of them, one after the other, than may follow at once."""
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as asker, asker.makefile() as lines:
            asker.settimeout(30)
            asker.connect(str(frodo.control))
            asker.sendall(b'{"op":"querylog"}\n')

            def told(asker=asker):
                frodo.ask(f"frodo.{ZONE}")
                return bool(select.select([asker], [], [], 0)[0])

            wait_until(told, "something is told")
            assert json.loads(lines.readline())["event"] == "query"


def test_one_who_does_not_read_costs_nothing(frodo):
    """The daemon answers on; what was left out is told when the asker reads again."""
    packet = b"\0\1\1\0\0\1\0\0\0\0\0\0\5frodo\6fellow\4aero\3org\0\0\1\0\1"
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        silent.settimeout(30)
        silent.connect(str(frodo.control))
        silent.sendall(b'{"op":"querylog"}\n')
        client.settimeout(10)
        for _ in range(8000):
            client.sendto(packet, frodo.dns)
            client.recv(512)
        with silent.makefile() as lines:
            assert any(json.loads(line).get("queries") for line in lines)


def test_only_root_may_look(frodo):
    """Who asks for what is nobody else's business."""
    if os.geteuid() != 0:
        missing("root", "run as root")
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(30)
        try:
            os.seteuid(65534)
            asker.connect(str(frodo.control))
        finally:
            os.seteuid(0)
        asker.sendall(b'{"op":"querylog"}\n')
        with asker.makefile() as lines:
            assert json.loads(lines.readline())["end"]["code"] == "not-root"


def test_the_permanent_log(cluster, frodo):
    """Every query is there within a moment, and the file may be moved away."""
    file = cluster.directory / "q.jsonl"

    def names():
        return [json.loads(line).get("name") for line in file.read_text().splitlines()] if file.exists() else []

    for turn in ("r03n01", "r03n02"):
        frodo.ask(f"{turn}.{ZONE}")
        wait_until(lambda turn=turn: names().count(f"{turn}.{ZONE}") == 1, f"{turn} is in the file")
        file.rename(file.with_suffix(f".{turn}"))
    assert (file.with_suffix(".r03n02").stat().st_mode & 0o777) == 0o600


def test_a_reload_and_a_new_process_go_on(cluster, frodo, follow):
    """The tap is opened again in whatever answers from then on."""
    following = follow()
    frodo.send(signal.SIGHUP)
    for process in cluster.status(frodo)["dns"]["processes"]:
        os.kill(process["pid"], signal.SIGKILL)
    following.await_names([f"r05n07.{ZONE}"], again=lambda: [frodo.ask(f"r05n07.{ZONE}") for _ in range(8)])
    assert following.end() == (0, "")
