"""A whole cluster on loopback: real processes, real TLS, files in one directory; for the demo and the tests.

Nothing here knows the daemons' insides: it runs the commands an administrator would run.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outside import Nslcd, Reply, ask_dns
from ports import free_port

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


class ClusterError(Exception):
    """A process did not do what it was started for; the text says what it wrote."""


def wait_until(check: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Ask again and again until ``check`` is true.

    Raises:
        ClusterError: it was not within ``seconds``; connection errors meanwhile count as "not yet".
    """
    deadline = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if check():
                return
            last = None
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            last = error
        time.sleep(0.05)
    raise ClusterError(f"not within {seconds:g} s: {what}" + (f" ({last})" if last else ""))


@dataclass
class Machine:
    """One daemon's process and where it can be reached.

    Attributes:
        arguments: what follows ``twistd -n`` on its command line.
        prefix: a command that runs it (``unshare``, ``faketime``).
    """

    name: str
    directory: Path
    dns: tuple[str, int]
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.directory / "run" / "control"

    @property
    def nslcd(self) -> Nslcd:
        """A client of its nslcd socket."""
        return Nslcd(self.directory / "run" / "nslcd")

    @property
    def log(self) -> Path:
        """What the process wrote."""
        return self.directory / "log"

    def ask(self, name: str, kind: str = "A", **options: bool) -> Reply:
        """Ask its DNS server."""
        return ask_dns(self.dns, name, kind, **options)

    def start(self) -> None:
        """Start the process; it is running, not yet serving, when this returns."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environment},
            )

    def wait_ready(self, zone: str, seconds: float = 30) -> None:
        """Wait until it answers DNS, lookups and its control socket.

        Raises:
            ClusterError: it ended or did not answer in time; the end of its log is in the text.
        """

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise ClusterError(f"{self.name} ended:\n{self.tail()}")
            if not self.control.exists():
                return False
            self.nslcd.user("no-such-user")
            return self.ask(zone, "SOA").rcode == "NOERROR"

        try:
            wait_until(ready, f"{self.name} answers", seconds)
        except ClusterError as error:
            raise ClusterError(f"{error}\n{self.tail()}") from None

    def tail(self, count: int = 30) -> str:
        """Return the last lines of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def send(self, number: int) -> None:
        """Send a signal to the process, without waiting."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """End the process and return its exit code; one that does not end in time is killed.

        Raises:
            ClusterError: it had to be killed.
        """
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ClusterError(f"{self.name} did not stop within {seconds:g} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """Kill the process at once, as a power cut would."""
        self.stop(signal.SIGKILL)


class LoopbackCluster:
    """Masters and nodes of one description, all on 127.0.0.1.

    Attributes:
        directory: everything is under it; keep the path short, socket paths end at 107 bytes.
        description: the cluster description.
        zone: its zone.
    """

    def __init__(self, directory: Path, description: Path, zone: str) -> None:
        self.directory = directory
        self.description = description
        self.zone = zone
        self.masters: dict[str, Machine] = {}
        self.nodes: dict[str, Machine] = {}
        self.sync_ports: dict[str, int] = {}

    @property
    def cluster_key(self) -> Path:
        """The public key that nodes pin."""
        first = next(iter(self.masters.values()))
        return first.directory / "state" / "cluster.pub"

    def run(
        self, *command: str, text: str | None = None, check: bool = True, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the project's commands to its end, within a minute.

        Raises:
            ClusterError: it failed and ``check`` is true; the text holds what it wrote.
        """
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,  # type: ignore[call-overload]
        )
        if check and done.returncode:
            words = " ".join(command)
            raise ClusterError(f"{words} gave exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def add_master(self, name: str, *more: str) -> Machine:
        """Make a master: the first by ``beonss init``, others by invitation and ``beonss join``.

        The process is not started; to join, the first master must be running.
        """
        directory = self.directory / name
        state = directory / "state"
        (directory / "run").mkdir(parents=True)
        sync, dns = free_port(), free_port()
        address = f"127.0.0.1:{sync}"
        if not self.masters:
            self.run("beonss", "init", "--state", str(state), "--name", name, "--address", address)
        else:
            first = next(iter(self.masters.values()))
            invited = self.run(
                "beonss", "invite", name, "--address", address,
                "--state", str(first.directory / "state"), "--control", str(first.control),
            )  # fmt: skip
            token = invited.stdout.strip().splitlines()[-1].strip()
            self.run("beonss", "join", token, "--state", str(state))
        machine = Machine(name, directory, ("127.0.0.1", dns))
        machine.arguments = (
            "master", "--config", str(self.description), "--name", name,
            "--state", str(state), "--runtime", str(directory / "run"),
            "--nslcd", str(directory / "run" / "nslcd"),
            "--dns-listen", f"127.0.0.1:{dns}", "--sync-listen", address,
            # A dozen masters on one small machine: each answers for itself, unless more is asked for.
            "--dns-workers", "0", *more,
        )  # fmt: skip
        self.masters[name] = machine
        self.sync_ports[name] = sync
        return machine

    def add_node(self, name: str, *more: str) -> Machine:
        """Make a node; all it is told is the cluster's key, its name and where the masters are."""
        directory = self.directory / name
        (directory / "run").mkdir(parents=True)
        dns = free_port()
        machine = Machine(name, directory, ("127.0.0.1", dns))
        masters = [word for port in self.sync_ports.values() for word in ("--master", f"127.0.0.1:{port}")]
        machine.arguments = (
            "node", "--cluster-key", str(self.cluster_key), "--name", name,
            "--state", str(directory / "state"), "--runtime", str(directory / "run"),
            "--nslcd", str(directory / "run" / "nslcd"), "--dns-listen", f"127.0.0.1:{dns}", *masters, *more,
        )  # fmt: skip
        self.nodes[name] = machine
        return machine

    def start(self, *machines: Machine) -> None:
        """Start machines and wait until all of them serve."""
        for machine in machines:
            machine.start()
        for machine in machines:
            machine.wait_ready(self.zone)

    def status(self, machine: Machine) -> dict[str, object]:
        """Return what ``beonss status --json`` says there."""
        done = self.run("beonss", "status", "--json", "--control", str(machine.control))
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    def everything(self) -> Iterator[Machine]:
        """Run over all machines."""
        yield from self.masters.values()
        yield from self.nodes.values()

    def stop(self) -> None:
        """Stop whatever still runs."""
        for machine in self.everything():
            with contextlib.suppress(ClusterError):
                machine.stop()
