"""Very many users: import, start, an empty master joining, a node learning; seconds of CPU, wall time and memory.

    python bench/large.py [--users N] [PART ...]

The database is filled without a daemon, unless the part "import" is asked for. On a busy machine only the seconds of
CPU say something, and even they grow by half when another process shares the core; run it on an idle one. Everything is
in a temporary directory, on loopback, and the benchmark's own.
"""

import argparse
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from accounts import DESCRIPTION, ZONE, ready_hash  # noqa: E402
from askers import AnswerError, connected, exchange, line, whole_line  # noqa: E402
from cluster import LoopbackCluster, Machine, wait_until  # noqa: E402

from beonss.core.accounts import intents  # noqa: E402
from beonss.core.accounts.entries import Aging, Password, UserEntry  # noqa: E402
from beonss.core.accounts.view import AccountView  # noqa: E402
from beonss.store.database import Database  # noqa: E402

PARTS = ("import", "start", "join", "node")
#: Users in one commit: as an import makes them.
CHUNK = 250
#: Seconds between two looks whether all is there: they cost the daemon something too.
PAUSE = 0.2
SECONDS = 600


def fill(path: Path, users: int) -> None:
    """Write users into the database of a master that is stopped."""
    with sqlite3.connect(path) as connection:
        cluster = connection.execute("SELECT value FROM meta WHERE name = 'cluster'").fetchone()[0].decode()
    connection.close()
    database = Database(path, cluster, durable=False)
    view = AccountView()
    for start in range(0, users, CHUNK):
        changes = []
        for n in range(start, min(start + CHUNK, users)):
            entry = UserEntry(f"user{n}", 100_000 + n, 100, "A User", f"/home/user{n}", "/bin/bash")
            password, aging = Password(ready_hash(n), 19_000), Aging(0, 99_999, 7)
            changes += intents.create_user(view, entry, 1_700_000_000_000 + n, password=password, aging=aging)
        database.write(changes, 1_700_000_000_000 + start, "root@a", "a" * 32)
    database.close()


def cpu(machine: Machine) -> float:
    """Return the seconds of CPU that a daemon has used; its DNS processes are not counted."""
    assert machine.process is not None
    tasks = Path(f"/proc/{machine.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(machine: Machine) -> str:
    """Return the resident memory of a daemon, and the most it had."""
    assert machine.process is not None
    found = {}
    for text in Path(f"/proc/{machine.process.pid}/status").read_text().splitlines():
        name, _, value = text.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = int(value.split()[0]) / 1024
    return f"{found['VmRSS']:.0f} MiB resident, {found['VmHWM']:.0f} at most"


def served(machine: Machine) -> int:
    """Return how many users a daemon serves; 0 while it does not answer."""
    try:
        with connected(machine.control) as sock:
            answer = exchange(sock, line("status"), whole_line)
        return int(answer.split(b'"users":')[1].split(b",")[0].strip(b"}\n "))
    except (OSError, AnswerError, IndexError):
        return 0


def wait_for(ready: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + SECONDS
    while not ready():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not within {SECONDS} s: {what}")
        time.sleep(PAUSE)


class Run:
    """One cluster and what is measured of it."""

    def __init__(self, home: Path, users: int) -> None:
        self.home, self.users = home, users
        (home / "c.toml").write_text(DESCRIPTION)
        self.cluster = LoopbackCluster(home, home / "c.toml", ZONE)
        self.first = self.cluster.add_master("a")
        self.cluster.start(self.first)

    def imported(self) -> None:
        passwd, shadow = self.home / "passwd", self.home / "shadow"
        numbers = range(self.users)
        passwd.write_text("".join(f"user{n}:x:{100_000 + n}:100:A User:/home/user{n}:/bin/bash\n" for n in numbers))
        shadow.write_text("".join(f"user{n}:{ready_hash(n)}:19000:0:99999:7:::\n" for n in numbers))
        command = [Path(sys.executable).parent / "beonss", "accounts", "import", "--passwd", passwd, "--shadow", shadow]
        used, begun, mine = cpu(self.first), time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = [*command, "--control", self.first.control]
        subprocess.run(done, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - mine.ru_utime - mine.ru_stime
        self.show("import", begun, cpu(self.first) - used, self.first, f" (and {own:.1f} of the command)")

    def filled(self) -> None:
        self.first.stop(signal.SIGTERM, 60)
        fill(self.first.directory / "state" / "accounts.db", self.users)
        self.first.start()
        wait_for(lambda: served(self.first) == self.users, "all are served")

    def start(self) -> None:
        self.restarted("start of a master", self.first)

    def restarted(self, what: str, machine: Machine) -> None:
        machine.stop(signal.SIGTERM, 60)
        begun = time.perf_counter()
        machine.start()
        wait_until(lambda: machine.nslcd.user("user7") is not None, "a user is found", SECONDS)
        self.show(what, begun, cpu(machine), machine)

    def join(self) -> None:
        second = self.cluster.add_master("b")
        used, begun = cpu(self.first), time.perf_counter()
        second.start()
        wait_for(lambda: served(second) == self.users, "the new master is equal")
        own = cpu(self.first) - used
        self.show("an empty master joins", begun, cpu(second), second, f" (and {own:.1f} of the other)")

    def node(self) -> None:
        node = self.cluster.add_node("n1")
        begun = time.perf_counter()
        node.start()
        wait_for(lambda: served(node) == self.users, "the node knows all")
        self.show("an empty node learns", begun, cpu(node), node)
        self.restarted("start of a node", node)

    def show(self, what: str, begun: float, used: float, machine: Machine, more: str = "") -> None:
        wall = time.perf_counter() - begun
        print(f"  {what:<22} {wall:6.1f} s, CPU {used:5.1f} s{more}; {memory(machine)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--users", type=int, default=100_000, help="default %(default)s")
    parser.add_argument("--directory", help="where the databases are made; its disk decides what a flush costs")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    for part in parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}")
    print(f"{options.users} users; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bl", dir=options.directory) as home:
        run = Run(Path(home), options.users)
        try:
            if "import" in parts:
                run.imported()
            else:
                run.filled()
            for part in PARTS[1:]:
                if part in parts:
                    getattr(run, part)()
        finally:
            run.cluster.stop()


if __name__ == "__main__":
    main()
