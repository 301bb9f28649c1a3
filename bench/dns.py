"""Compare this DNS server with others on one machine: ``make bench-dns``, or this file with ``--help``.

Each server gets one core and dnsperf another; all serve the same cluster. What counts is the CPU time of the server
per query, which a noisy machine disturbs least; the servers run in turn, several times, and medians and ratios are
shown. Nothing is installed; servers that are not here are left out. See bench/README.md.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

from servers import ALL, FIRST, ZONE, Beonss, Dnsmasq, PureBeonss, Server, Synthrecord
from strain import RATE, strained

HOT_NODES = 10_000
#: Queries per second at which latencies are taken.
CALM_RATE = 10_000
ATTEMPTS = 4
MANY = 1_000_000
MOST = 16_000_000


@dataclass(frozen=True)
class Run:
    """What one run of dnsperf showed.

    Attributes:
        cost: microseconds of the server's CPU per query.
        rate: queries per second.
        lost: queries without an answer.
    """

    cost: float
    rate: float
    lost: int


def dnsperf(server: Server, queries: Path, core: int, *options: str, clients: Sequence[str] = ("127.0.0.1",)) -> Run:
    """Run dnsperf once for each client address, all at the same time.

    With many connections dnsperf now and then ends before it has begun; then it is run again.
    """
    for _ in range(ATTEMPTS):
        before = server.cpu()
        texts = [text for text, _ in outputs(server, queries, core, options, clients)]
        used = server.cpu() - before
        completed = totals(texts, r"Queries completed:\s+(\d+)")
        if len(completed) == len(clients) and sum(completed):
            rate = sum(totals(texts, r"Queries per second:\s+([\d.]+)"))
            return Run(used / sum(completed) * 1e6, rate, int(sum(totals(texts, r"Queries lost:\s+(\d+)"))))
    raise RuntimeError(f"dnsperf does not run to its end against {server.name}:\n" + "\n".join(texts))


def totals(texts: Sequence[str], pattern: str) -> list[float]:
    return [float(match[1]) for match in (re.search(pattern, text) for text in texts) if match]


def outputs(
    server: Server, queries: Path, core: int, options: Sequence[str], clients: Sequence[str]
) -> list[tuple[str, str]]:
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-T", "1", *options]
    running = [
        subprocess.Popen(
            [*command, "-a", client],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads here
        )
        for client in clients
    ]
    return [process.communicate(timeout=600) for process in running]


def latencies(server: Server, queries: Path, core: int, *options: str) -> tuple[float, float]:
    """Return the milliseconds within which 50 % and 99 % of the replies come, at a rate that every server can stand.

    dnsperf tells each one then, which costs it so much that nothing else is measured in this run.
    """
    more = ("-v", "-l", "2", "-Q", str(CALM_RATE))
    ((text, _),) = outputs(server, queries, core, (*options, *more), ("127.0.0.1",))
    found = sorted(float(each) * 1000 for each in re.findall(r"^> .* ([0-9.]+)$", text, re.MULTILINE))
    return (found[len(found) // 2], found[len(found) * 99 // 100]) if found else (float("nan"), float("nan"))


def hot_queries(server: Server, path: Path) -> Path:
    """Write a mix of 60 % A, 25 % PTR, 10 % AAAA (no data) and 5 % names that do not exist."""
    chance = random.Random(4711)
    lines = []
    for _ in range(HOT_NODES):
        number = chance.randrange(server.nodes)
        match chance.random():
            case x if x < 0.60:
                lines.append(f"{server.node(number)} A")
            case x if x < 0.85:
                lines.append(f"{IPv4Address(FIRST + number).reverse_pointer} PTR")
            case x if x < 0.95:
                lines.append(f"{server.node(number)} AAAA")
            case _:
                lines.append(f"x{number}.{ZONE} A")
    path.write_text("\n".join(lines) + "\n")
    return path


def cold_queries(server: Server, path: Path, count: int) -> Path:
    """Write ``count`` of the names once, in random order."""
    numbers = list(range(server.nodes))
    random.Random(4711).shuffle(numbers)
    with path.open("w") as file:
        file.writelines(f"{server.node(number)} A\n" for number in numbers[:count])
    return path


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(["server", *columns]) + " |")
    print("|---|" + "---:|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


class Bench:
    """All measurements, in one directory of their own."""

    def __init__(self, directory: Path, rounds: int, seconds: int, only: Sequence[str]) -> None:
        self.directory = directory
        self.rounds = rounds
        self.seconds = seconds
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.client_core = cores[0], cores[-1]
        self.kinds = [
            kind for kind in ALL if kind.installed() and (not only or any(word in kind.name.lower() for word in only))
        ]
        missing = [kind.name for kind in ALL if not kind.installed()]
        print(f"compared: {', '.join(kind.name for kind in self.kinds)}; not here: {', '.join(missing) or 'none'}")
        print(f"server on core {self.server_core}, dnsperf on core {self.client_core}, {rounds} alternating rounds")

    def place(self, kind: type[Server], what: str) -> Path:
        return self.directory / what / re.sub(r"\W+", "-", kind.name)

    def compare(
        self,
        title: str,
        what: str,
        servers: Sequence[Server],
        queries: dict[str, Path],
        *options: str,
        clients: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        """Run dnsperf against servers in turn, each of which runs all the time but works only when asked."""
        runs: dict[str, list[Run]] = {server.name: [] for server in servers}
        for server in servers:
            dnsperf(server, queries[server.name], self.client_core, "-l", "2", *options, clients=clients)
        for _ in range(self.rounds):
            for server in servers:
                runs[server.name].append(
                    dnsperf(
                        server, queries[server.name], self.client_core, *self.limit(what), *options, clients=clients
                    )
                )
        waits = {server.name: latencies(server, queries[server.name], self.client_core, *options) for server in servers}
        reference = runs.get("NSD") or next(iter(runs.values()))
        rows = []
        for name, each in runs.items():
            ratio = median(run.cost / other.cost for run, other in zip(each, reference, strict=True))
            rows.append(
                [
                    name,
                    f"{median(run.cost for run in each):.2f}",
                    f"{ratio:.2f}",
                    f"{median(run.rate for run in each):,.0f}",
                    f"{waits[name][0]:.2f}",
                    f"{waits[name][1]:.2f}",
                    str(sum(run.lost for run in each)),
                ]
            )
        columns = ["CPU µs/query", "to NSD" if "NSD" in runs else "to first", "queries/s", "p50 ms", "p99 ms", "lost"]
        table(title, columns, rows)

    def limit(self, what: str) -> tuple[str, ...]:
        return ("-n", "1") if what == "cold" else ("-l", str(self.seconds))

    def hot(self) -> None:
        self.all_at_once("hot", HOT_NODES, f"Hot names, UDP: {HOT_NODES:,} nodes", self.kinds, "-c", "10", "-q", "100")

    def tcp(self) -> None:
        title = f"TCP: 100 connections that pipeline, {HOT_NODES:,} nodes"
        # dnsmasq answers each connection in a process of its own, and Knot's modules do not change its TCP.
        kinds = [kind for kind in self.kinds if kind not in (Dnsmasq, Synthrecord)]
        # From four addresses, for no client may have more than 32 connections.
        clients = [f"127.0.0.{number}" for number in range(2, 6)]
        self.all_at_once("tcp", HOT_NODES, title, kinds, "-m", "tcp", "-c", "25", "-q", "250", clients=clients)

    def all_at_once(
        self, what: str, nodes: int, title: str, kinds: Sequence[type[Server]], *options: str, **more: Sequence[str]
    ) -> None:
        servers = [kind(self.place(kind, what), nodes) for kind in kinds]
        try:
            queries = {}
            for server in servers:
                server.start(self.server_core)
                queries[server.name] = hot_queries(server, server.directory / "queries")
            self.compare(title, what, servers, queries, *options, **more)
        finally:
            for server in servers:
                server.stop()

    def cold(self) -> None:
        """Names asked once: each round begins with a fresh process."""
        kinds = [kind for kind in self.kinds if kind is Synthrecord or issubclass(kind, Beonss)]
        runs: dict[str, list[Run]] = {kind.name: [] for kind in kinds}
        for _ in range(self.rounds):
            for kind in kinds:
                server = kind(self.place(kind, "cold"), MANY)
                try:
                    server.start(self.server_core)
                    asked = MANY if kind is not PureBeonss else MANY // 20
                    queries = cold_queries(server, server.directory / "queries", asked)
                    runs[kind.name].append(
                        dnsperf(server, queries, self.client_core, "-n", "1", "-c", "10", "-q", "100")
                    )
                finally:
                    server.stop()
        reference = runs.get(Synthrecord.name) or next(iter(runs.values()))
        rows = [
            [
                name,
                f"{median(run.cost for run in each):.2f}",
                f"{median(run.cost / other.cost for run, other in zip(each, reference, strict=True)):.2f}",
                f"{median(run.rate for run in each):,.0f}",
                str(sum(run.lost for run in each)),
            ]
            for name, each in runs.items()
        ]
        columns = ["CPU µs/query", "to synthrecord", "queries/s", "lost"]
        table(f"Each of {MANY:,} names once, in random order, nothing warmed, UDP", columns, rows)

    def size(self, counts: Sequence[int]) -> None:
        """Time to the first answer and memory, by the number of nodes."""
        rows = []
        for kind in self.kinds:
            cells: list[str] = []
            again: list[str] = []
            for count in counts:
                # Reading so many lines takes others minutes and gigabytes.
                too_many = not issubclass(kind, (Beonss, Synthrecord)) and count > MANY
                if too_many or (kind is Dnsmasq and count > 100_000):
                    cells += ["-", "-"]
                    continue
                server = kind(self.place(kind, f"size-{count}"), count)
                try:
                    times, cpus = [], []
                    for _ in range(3 if issubclass(kind, (Beonss, Synthrecord)) else 1):
                        server.stop()
                        times.append(server.start(self.server_core))
                        cpus.append(server.start_cpu)
                    if issubclass(kind, Beonss):
                        again += self.started_again(server)
                    cells += [f"{median(times):.2f} ({median(cpus):.2f})", f"{server.memory():.1f}"]
                finally:
                    server.stop()
                    shutil.rmtree(server.directory, ignore_errors=True)
            rows.append([kind.name + (", first start" if again else ""), *cells])
            if again:
                rows.append([f"{kind.name}, started again", *again])
        columns = [text for count in counts for text in (f"{count:,}: s to the first answer (of CPU)", "MiB")]
        table("Start and memory by number of nodes", columns, rows)

    def started_again(self, server: Server) -> list[str]:
        """Start it with what it left behind; return the seconds to the first answer, and the memory later."""
        times, cpus = [], []
        for _ in range(3):
            self.settle(server)
            server.stop()
            times.append(server.start(self.server_core, again=True))
            cpus.append(server.start_cpu)
        self.settle(server)
        return [f"{median(times):.2f} ({median(cpus):.2f})", f"{server.memory():.1f}"]

    def settle(self, server: Server) -> None:
        """Wait until it has started as a whole: until it does no more."""
        before = -1.0
        while (used := server.cpu()) - before > 0.02:
            before = used
            time.sleep(1)

    def strain(self) -> None:
        """A steady rate, alone and while zones are transferred and passwords change; all on all cores."""
        server = Strained(self.place(Strained, "strain"), HOT_NODES)
        rows = []
        try:
            server.start(None)
            self.settle(server)
            run = [Path(sys.executable).with_name("beonss"), "user", "add", "strain", "--control", server.control]
            subprocess.run(run, check=True, capture_output=True)
            queries = hot_queries(server, server.directory / "queries")
            for busy in (False, True, False, True):
                found = strained(server, queries, self.seconds, busy=busy)
                if found.failures:
                    raise RuntimeError("; ".join(found.failures))
                rows.append(
                    [
                        "with transfers and changes" if busy else "alone",
                        f"{found.reached:,.0f}",
                        f"{found.p50:.2f}",
                        f"{found.p99:.2f}",
                        f"{found.worst:.2f}",
                        str(found.lost),
                        f"{found.transfers / self.seconds:.1f}",
                        f"{found.changes / self.seconds:.1f}",
                    ]
                )
        finally:
            server.stop()
        columns = ["queries/s", "p50 ms", "p99 ms", "worst ms", "lost", "transfers/s", "passwords/s"]
        table(f"{RATE:,} queries per second over UDP, {HOT_NODES:,} nodes, {server.workers} processes", columns, rows)


class Strained(Beonss):
    """A master that gives its zones away."""

    workers = "2"
    more = '[dns.transfer]\nallow = ["127.0.0.0/8"]\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["hot", "cold", "tcp", "size", "strain", []], help="all without any")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run (default 4)")
    parser.add_argument("--only", action="append", default=[], help="servers whose name holds this word; repeatable")
    parser.add_argument("--keep", type=Path, help="a directory for all files, which stays")
    options = parser.parse_args()
    if shutil.which("dnsperf") is None:
        sys.exit("dnsperf is not installed (apt install dnsperf)")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("one core is too few: the server and dnsperf would take it from each other")
    # Short, because the paths of Unix sockets are.
    with tempfile.TemporaryDirectory(prefix="bd") as temporary:
        directory = options.keep or Path(temporary)
        directory.chmod(0o755)
        bench = Bench(directory, options.rounds, options.seconds, [word.lower() for word in options.only])
        for what in options.what or ["hot", "cold", "tcp", "size", "strain"]:
            if what == "size":
                bench.size((10, MANY, MOST))
            else:
                getattr(bench, what)()


if __name__ == "__main__":
    main()
