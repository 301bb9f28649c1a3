"""Compare this account service with OpenLDAP on one machine: ``make bench-accounts``, or this file with ``--help``.

Three of our masters stand against two slapd in mirror mode (default sync), the same ready-made hashes on both, clients
on UNIX sockets. The two take turns; medians and ratios are shown, for a busy machine slows both. Nothing is
installed; without slapd our side is measured alone. All processes, files and ports are the benchmark's own.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from askers import AnswerError, bind, connected, drive, exchange, line, replace, search, whole_line, whole_message  # noqa: E402
from cluster import LoopbackCluster, Machine, wait_until  # noqa: E402
from openldap import PASSWORD, Pair, person, program  # noqa: E402
from openldap import ROOT as ROOT_DN  # noqa: E402

SALT = "$6$abcdefgh$"
ZONE = "c.example"
NAMES = ("a", "b", "c")
#: The cluster of the tests answers DNS in the daemon itself; a master as it is installed has processes for that.
AS_INSTALLED = ("--dns-workers", "auto")
#: Seconds between two looks for a change.
PAUSE = 0.0002
DESCRIPTION = """
[cluster]
name = "Benchmark"
zone = "c.example"
networks = ["10.9.0.0/24"]
masters = ["a", "b", "c"]
[hosts]
a = "10.9.0.1"
b = "10.9.0.2"
c = "10.9.0.3"
[[nodes]]
name = "n{number}"
address = "10.9.0.{number+10}"
ranges = { number = "0-99" }
"""


def ready_hash(number: int) -> str:
    """Return what looks like a sha512crypt hash, another for each number."""
    return SALT + f"{number:086d}"


class Ours:
    """Three masters with users."""

    name = "beonss"

    def __init__(self, home: Path, users: int, secret: str = "") -> None:
        (home / "c.toml").write_text(DESCRIPTION)
        self.home = home
        self.cluster = LoopbackCluster(home, home / "c.toml", ZONE)
        first = self.cluster.add_master("a", *AS_INSTALLED)
        self.cluster.start(first)
        self.import_seconds = self._import(first, users, secret or ready_hash(0))

    def _import(self, master: Machine, users: int, secret: str) -> float:
        passwd, shadow = self.home / "passwd", self.home / "shadow"
        passwd.write_text(
            "".join(f"user{n}:x:{100_000 + n}:100:A User:/home/user{n}:/bin/bash\n" for n in range(users))
        )
        shadow.write_text("".join(f"user{n}:{secret}:19000:0:99999:7:::\n" for n in range(users)))
        begun = time.perf_counter()
        command = [Path(sys.executable).parent / "beonss", "accounts", "import", "--passwd", passwd, "--shadow", shadow]
        subprocess.run([*command, "--control", master.control], check=True, capture_output=True, timeout=600)
        return time.perf_counter() - begun

    def join_others(self) -> None:
        for name in NAMES[1:]:
            self.cluster.start(self.cluster.add_master(name, *AS_INSTALLED))
        wait_until(lambda: len({self.vector(name) for name in NAMES}) == 1, "all masters are equal", 300)

    @property
    def socket(self) -> Path:
        return self.cluster.masters["a"].control

    whole = staticmethod(whole_line)
    greeting = b""

    def change(self, user: int, number: int) -> bytes:
        return line("accounts.set-hash", name=f"user{user}", hash=ready_hash(number), changed=number)

    def look(self, user: int) -> bytes:
        return line("accounts.show", name=f"user{user}")

    def shows(self, answer: bytes, number: int) -> bool:
        return f'"changed":{number},'.encode() in answer

    def others(self) -> list[Path]:
        return [self.cluster.masters[name].control for name in NAMES[1:] if self.cluster.masters[name].process]

    def vector(self, name: str) -> int:
        """Return how many users a master serves."""
        machine = self.cluster.masters[name]
        with connected(machine.control) as sock:
            answer = exchange(sock, line("status"), whole_line)
        return int(answer.split(b'"users":')[1].split(b",")[0].strip(b"}\n "))

    def processes(self) -> list[int]:
        return [m.process.pid for m in self.cluster.masters.values() if m.process is not None]

    def leave(self) -> None:
        self.cluster.masters["b"].stop()

    def come_back(self) -> Path:
        machine = self.cluster.masters["b"]
        machine.start()
        return machine.control

    def stop(self) -> None:
        self.cluster.stop()


class Theirs(Pair):
    """Two slapd with users."""

    name = "OpenLDAP"
    whole = staticmethod(whole_message)
    greeting = bind(ROOT_DN, PASSWORD)

    @property
    def socket(self) -> Path:
        return self.first.socket

    def change(self, user: int, number: int) -> bytes:
        return replace(person(user), "userPassword", b"{CRYPT}" + ready_hash(number).encode())

    def look(self, user: int) -> bytes:
        return search(person(user), "userPassword")

    def shows(self, answer: bytes, number: int) -> bool:
        return ready_hash(number).encode() in answer

    def others(self) -> list[Path]:
        return [self.second.socket]

    def processes(self) -> list[int]:
        return [one.process.pid for one in (self.first, self.second) if one.process is not None]

    def leave(self) -> None:
        self.second.stop()

    def come_back(self) -> Path:
        self.second.start()
        return self.second.socket


Side = Ours | Theirs


def cpu(side: Side) -> float:
    """Return the seconds of CPU its servers have used."""
    total = 0
    for pid in side.processes():
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith("VmRSS:"):
            return int(text.split()[1]) / 1024
    return 0.0


def wait_for(path: Path, side: Side, user: int, number: int, seconds: float = 300) -> None:
    """Ask a server until it shows a change."""
    deadline = time.perf_counter() + seconds
    while True:
        try:
            with connected(path) as sock:
                if side.greeting:
                    exchange(sock, side.greeting, side.whole)
                while not side.shows(exchange(sock, side.look(user), side.whole), number):
                    time.sleep(0.002)
                    if time.perf_counter() > deadline:
                        raise RuntimeError(f"{side.name}: a change does not arrive")
                return
        except (OSError, AnswerError):
            # It is starting: it may not have read its accounts yet.
            time.sleep(0.002)


class Bench:
    """All measurements."""

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        self.home, self.options = home, options
        self.chance = random.Random(4711)
        self.number = 1

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def run(self) -> None:
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {self.options.users} users")
        sides: list[Side] = []
        try:
            ours = Ours(made(self.home / "o"), self.options.users)
            sides.append(ours)
            ours.join_others()
            if program("slapd") and not self.options.alone:
                sides.append(Theirs(made(self.home / "t"), self.options.users, ready_hash(0)))
                sides[1].start()  # type: ignore[union-attr]
            for part in self.options.parts:
                getattr(self, part)(sides)
        finally:
            for side in sides:
                side.stop()

    def rates(self, sides: Sequence[Side]) -> None:
        for clients in (1, 16):
            rates: dict[str, list[float]] = {side.name: [] for side in sides}
            everywhere: dict[str, list[float]] = {side.name: [] for side in sides}
            costs: dict[str, list[float]] = {side.name: [] for side in sides}
            for _ in range(self.options.rounds):
                for side in sides:
                    number = self.next_number()
                    users = self.chance.sample(range(self.options.users), self.options.changes)
                    work = [[side.change(user, number) for user in users[n::clients]] for n in range(clients)]
                    used, begun = cpu(side), time.perf_counter()
                    seconds = drive(side.socket, side.whole, work, side.greeting)
                    for path in side.others():
                        for client in range(clients):
                            wait_for(path, side, users[client::clients][-1], number)
                    everywhere[side.name].append(len(users) / (time.perf_counter() - begun))
                    rates[side.name].append(len(users) / seconds)
                    costs[side.name].append((cpu(side) - used) / len(users) * 1e6)
            title = f"{clients} client" + "s" * (clients > 1)
            show(f"{title}: changes acknowledged per second", rates, "{:.0f}")
            show(f"{title}: changes per second until all hold them", everywhere, "{:.0f}")
            show(f"{title}: CPU of all servers per change, microseconds", costs, "{:.0f}")

    def visible(self, sides: Sequence[Side]) -> None:
        middles: dict[str, list[float]] = {side.name: [] for side in sides}
        tails: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in range(self.options.rounds):
            for side in sides:
                times = sorted(self._visible(side, 200))
                middles[side.name].append(times[100] * 1000)
                tails[side.name].append(times[198] * 1000)
        show("acknowledged here to visible there, median ms", middles, "{:.2f}")
        show("acknowledged here to visible there, p99 ms", tails, "{:.2f}")

    def _visible(self, side: Side, count: int) -> list[float]:
        found = []
        with connected(side.socket) as here, connected(side.others()[0]) as there:
            for sock in (here, there) if side.greeting else ():
                exchange(sock, side.greeting, side.whole)
            for _ in range(count):
                user, number = self.chance.randrange(self.options.users), self.next_number()
                exchange(here, side.change(user, number), side.whole)
                begun = time.perf_counter()
                while not side.shows(exchange(there, side.look(user), side.whole), number):
                    # Looks without a pause would take half of a server that answers in one thread, and measure
                    # themselves. Both sides get it, and both are found up to so much later.
                    time.sleep(PAUSE)
                found.append(time.perf_counter() - begun)
                time.sleep(0.005)
        return found

    def away(self, sides: Sequence[Side]) -> None:
        times: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in range(min(2, self.options.rounds)):
            for side in sides:
                side.leave()
                number = self.next_number()
                users = self.chance.sample(range(self.options.users), min(10_000, self.options.users))
                work = [[side.change(user, number) for user in users[n::16]] for n in range(16)]
                drive(side.socket, side.whole, work, side.greeting)
                begun = time.perf_counter()
                path = side.come_back()
                for user in users[-16:]:
                    wait_for(path, side, user, number)
                times[side.name].append(time.perf_counter() - begun)
        show("away for 10,000 changes: seconds from its start until equal", times, "{:.2f}")

    def logins(self, sides: Sequence[Side]) -> None:
        ours = sides[0]
        assert isinstance(ours, Ours)
        secret = "plain-and-simple-17"
        made_hash = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=secret, capture_output=True, text=True, check=True
        ).stdout.strip()
        master = ours.cluster.masters["a"]
        work = [[line("accounts.set-hash", name=f"user{n}", hash=made_hash) for n in range(250)]]
        drive(ours.socket, whole_line, work)
        quiet, busy = [], []
        for _ in range(min(3, self.options.rounds)):
            quiet.append(probe(master.dns, threading.Event(), 3.0))
            stop = threading.Event()
            outcome: list[str] = []

            def login(number: int, outcome: list[str] = outcome) -> None:
                try:
                    outcome.append("in" if master.nslcd.login(f"user{number}", secret) else "refused")
                except OSError:
                    # More at once than one source may have waiting: PAM says "try later".
                    outcome.append("turned away")

            def change(number: int, outcome: list[str] = outcome) -> None:
                request = line("change-password", user=f"user{number}", new=f"another-secret-{number}")
                with connected(ours.socket) as sock:
                    exchange(sock, request, lambda b: len(b) if b"\n" in b and b'{"end"' in b else 0)
                outcome.append("changed")

            threads = [threading.Thread(target=login, args=(n,)) for n in range(200)]
            threads += [threading.Thread(target=change, args=(200 + n,)) for n in range(50)]
            begun = time.perf_counter()
            for thread in threads:
                thread.start()

            def ended(threads: list[threading.Thread] = threads, stop: threading.Event = stop) -> None:
                for thread in threads:
                    thread.join()
                stop.set()

            threading.Thread(target=ended).start()
            busy.append(probe(master.dns, stop, 60.0))
            took = time.perf_counter() - begun
            print(
                f"  250 at once took {took:.1f} s: "
                + ", ".join(f"{outcome.count(w)} {w}" for w in sorted(set(outcome)))
            )
        one, two = (statistics.median(times) for times in (quiet, busy))
        print(f"\nDNS p99 on the same master: {one:.2f} ms quiet, {two:.2f} ms with 200 logins and 50 changes")
        print(f"  ratio {two / one:.2f}")

    def large(self, _: Sequence[Side]) -> None:
        count = self.options.large
        ours = Ours(made(self.home / "l"), count)
        try:
            first = ours.cluster.masters["a"]
            assert first.process is not None
            print(f"\n{count} users")
            print(f"  import {ours.import_seconds:.1f} s; then {memory(first.process.pid):.0f} MiB resident")
            first.stop(signal.SIGTERM, 60)
            begun = time.perf_counter()
            first.start()
            first.wait_ready(ZONE, 120)
            wait_until(lambda: ours.vector("a") == count, "all are served", 120)
            print(f"  start {time.perf_counter() - begun:.2f} s; then {memory(first.process.pid):.0f} MiB resident")
            second = ours.cluster.add_master("b", *AS_INSTALLED)
            begun = time.perf_counter()
            second.start()
            second.wait_ready(ZONE, 120)
            wait_until(lambda: ours.vector("b") == count, "the new master is equal", 300)
            assert second.process is not None
            print(f"  an empty master joins in {time.perf_counter() - begun:.1f} s; "
                  f"then {memory(second.process.pid):.0f} MiB resident")  # fmt: skip
        finally:
            ours.stop()


def probe(address: tuple[str, int], stop: threading.Event, seconds: float) -> float:
    """Ask names one by one, in a process of its own; return the p99 in ms."""
    command = [sys.executable, __file__, "--probe", f"{address[0]}:{address[1]}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stop.wait(seconds)
        out, _ = process.communicate(b"\n", timeout=60)
    return float(out)


def probing(address: str) -> None:
    """Ask until something comes on standard input; print the p99 in ms."""
    host, _, port = address.rpartition(":")
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    # Whoever measures must not wait behind those who make the load; only root may say so.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((host, int(port)))
        query = bytes.fromhex("abcd01000001000000000000") + b"\x02n7\x01c\x07example\x00\x00\x01\x00\x01"
        while not ended.is_set():
            begun = time.perf_counter()
            sock.send(query)
            if sock.recv(512)[3] & 15:
                raise RuntimeError("the name is not served")
            times.append(time.perf_counter() - begun)
            time.sleep(0.002)
    times.sort()
    print(times[len(times) * 99 // 100] * 1000)


def show(title: str, found: dict[str, list[float]], form: str) -> None:
    print(f"\n{title}")
    middles = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        all_ = " ".join(form.format(value) for value in values)
        ratio = f"  ratio {middles[name] / middles[Theirs.name]:.2f}" if name != Theirs.name in found else ""
        print(f"  {name:<10}{form.format(middles[name]):>8}   ({all_}){ratio}", flush=True)


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


PARTS: dict[str, Callable[..., None]] = {
    name: getattr(Bench, name) for name in ("rates", "visible", "away", "logins", "large")
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--users", type=int, default=10_000, help="in the comparison (default %(default)s)")
    parser.add_argument("--large", type=int, default=100_000, help="users in the part 'large' (default %(default)s)")
    parser.add_argument("--changes", type=int, default=2000, help="in one run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="in turn (default %(default)s)")
    parser.add_argument("--alone", action="store_true", help="without OpenLDAP")
    parser.add_argument("--directory", help="where databases are made; its disk decides what a flush costs")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probing(options.probe)
        return
    options.parts = options.parts or list(PARTS)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}")
    with tempfile.TemporaryDirectory(prefix="bb", dir=options.directory) as home:
        Bench(Path(home), options).run()


if __name__ == "__main__":
    main()
