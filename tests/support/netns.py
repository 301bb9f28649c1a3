"""Machines of a cluster in network namespaces of their own, on one bridge, with a network that can be broken.

Nothing of the machine is touched: each namespace lives only as long as the process that holds it, which dies with
the tests (prctl(2), PR_SET_PDEATHSIG); no name is left in ``/run/netns``. UNIX sockets are reached from outside as
always, network sockets only through :meth:`Host.inside`.

Packets are lost as on a real network, silently: the sender's neighbour table gets a hardware address that nobody has
(``ip neigh``), one way or both.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cluster import BIN, ClusterError, LoopbackCluster, Machine, wait_until
from outside import Reply, ask_dns

from beonss.store.database import Database
from beonss.store.keys import load_roster
from support.requires import missing

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
#: A hardware address that no machine has: what is sent there is lost.
NOBODY = "02:00:00:00:de:ad"
PREFIX = 16


def _start_holder() -> subprocess.Popen[bytes]:
    """Start a process that keeps a network namespace; it is ready when this returns."""
    for program in ("ip", "unshare", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            missing(f"the program {program}", "apt install iproute2 util-linux")
    if os.geteuid() != 0:
        missing("root", "run as root, for example in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN")
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    with holder.stdout as ready:
        if not ready.read(1):
            holder.wait()
            missing("the right to make network namespaces", "run with CAP_SYS_ADMIN")
    return holder


@dataclass
class Host:
    """One machine on the network.

    Attributes:
        holder: the process that keeps its namespace.
    """

    name: str
    address: str
    holder: subprocess.Popen[bytes]

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command line so that it runs here, and dies with the tests."""
        return ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "setpriv", "--pdeathsig", "KILL")

    def ip(self, *words: str, check: bool = True) -> None:
        """Run ip(8) here."""
        done = subprocess.run([*self.prefix, "ip", *words], capture_output=True, text=True, timeout=20, check=False)
        if check and done.returncode:
            raise ClusterError(f"ip {' '.join(words)} on {self.name}: {done.stderr.strip()}")

    def inside(self, function: Callable[[], T]) -> T:
        """Call a function in a thread whose sockets are in this namespace (setns(2)); return what it returns."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                namespace = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
                try:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(namespace, CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns into {self.name}")
                finally:
                    os.close(namespace)
                results.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, name=f"in {self.name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


class Network:
    """Hosts on one bridge."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self._lost: set[tuple[str, str]] = set()
        self._switch = Host("the switch", "", _start_holder())
        try:
            self._switch.ip("link", "add", "br0", "type", "bridge")
        except ClusterError as error:
            self.close()
            missing(f"bridges in network namespaces ({error})", "a kernel with bridge and veth")
        self._switch.ip("link", "set", "br0", "up")

    def add(self, name: str, address: str) -> Host:
        """Make a machine with one interface."""
        host = self.hosts[name] = Host(name, address, _start_holder())
        port = f"v{len(self.hosts)}"
        self._switch.ip(
            "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(host.holder.pid)
        )  # fmt: skip
        self._switch.ip("link", "set", port, "master", "br0", "up")
        host.ip("link", "set", "lo", "up")
        host.ip("address", "add", f"{address}/{PREFIX}", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")
        return host

    def lose(self, sender: str, receiver: str) -> None:
        """Lose every packet from one machine to another, from now on; the other way stays as it is."""
        self.hosts[sender].ip(
            "neigh", "replace", self.hosts[receiver].address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"
        )
        self._lost.add((sender, receiver))

    def part(self, *groups: tuple[str, ...]) -> None:
        """Lose every packet between machines of different groups, both ways."""
        for group in groups:
            for other in groups:
                if group is not other:
                    for sender in group:
                        for receiver in other:
                            self.lose(sender, receiver)

    def heal(self) -> None:
        """Lose nothing any more."""
        for sender, receiver in sorted(self._lost):
            self.hosts[sender].ip("neigh", "del", self.hosts[receiver].address, "dev", "eth0", check=False)
        self._lost.clear()

    def close(self) -> None:
        """End the holders, and with them the namespaces."""
        for host in [*self.hosts.values(), self._switch]:
            host.holder.kill()
            host.holder.wait()


@dataclass
class NetMachine(Machine):
    """A daemon on a machine of the network."""

    host: Host | None = None

    def ask(self, name: str, kind: str = "A", **options: bool) -> Reply:
        """Ask its DNS server, from the machine itself."""
        assert self.host is not None
        return self.host.inside(lambda: ask_dns(self.dns, name, kind, **options))


class NetCluster(LoopbackCluster):
    """Masters that listen where an administrator would have them: on the addresses of the description.

    Attributes:
        network: the wires; hosts and masters have the same names.
    """

    def __init__(self, directory: Path, description: Path, zone: str, network: Network) -> None:
        super().__init__(directory, description, zone)
        self.network = network

    def add_master(self, name: str, *more: str) -> NetMachine:
        """Make a master and start nothing; the network has a host of that name."""
        directory = self.directory / name
        (directory / "run").mkdir(parents=True)
        host = self.network.hosts[name]
        machine = NetMachine(name, directory, (host.address, 53), prefix=host.prefix, host=host)
        machine.arguments = (
            "master", "--config", str(self.description), "--state", str(directory / "state"),
            "--runtime", str(directory / "run"), "--nslcd", str(directory / "run" / "nslcd"), *more,
        )  # fmt: skip
        if not self.masters:
            self.run("beonss", "init", "--state", str(directory / "state"), "--name", name, "--address", host.address)
        else:
            self.join(machine, next(iter(self.masters.values())))  # type: ignore[arg-type]
        self.masters[name] = machine
        return machine

    def recover(self) -> None:
        """Heal the network, and start again what does not run or runs in another way than at first."""
        self.network.heal()
        for machine in self.masters.values():
            if machine.environment or machine.process is None or machine.process.poll() is not None:
                machine.kill()
                machine.environment = {}
                machine.start()
        for machine in self.masters.values():
            machine.wait_ready(self.zone)
        self.wait_equal()

    def reaches(self, machine: Machine, other: str) -> bool:
        """Say whether a master is connected to another, by its own account."""
        return bool(self.member(machine, other)["reachable"])

    def member(self, machine: Machine, other: str) -> dict[str, Any]:
        """Return what a master's status says of another."""
        members: Any = self.status(machine)["members"]
        return next(dict(member) for member in members if member["name"] == other)

    def wait_equal(self, seconds: float = 30) -> None:
        """Wait until all masters reach each other and nothing is buffered for any."""

        said: list[str] = []

        def equal() -> bool:
            said.clear()
            for machine in self.masters.values():
                members: Any = self.status(machine)["members"]
                said.extend(f"{machine.name}: {m}" for m in members if not m["reachable"] or m["buffered"] != 0)
            return not said

        try:
            wait_until(equal, "every master holds what the others hold", seconds)
        except ClusterError as error:
            tails = [f"--- {machine.name}\n{machine.tail(15)}" for machine in self.masters.values()]
            raise ClusterError("\n".join([str(error), *said, *tails])) from None

    def digests(self) -> set[bytes]:
        """Stop all masters, look at what they hold on disk, start them again; one digest means that all are equal."""
        found = set()
        for machine in self.masters.values():
            machine.stop()
        for machine in self.masters.values():
            state = machine.directory / "state"
            database = Database(state / "accounts.db", load_roster(state).cluster)
            found.add(database.digest())
            database.close()
        for machine in self.masters.values():
            machine.start()
        for machine in self.masters.values():
            machine.wait_ready(self.zone)
        return found

    def change(self, machine: Machine, user: str, password: str) -> subprocess.CompletedProcess[str]:
        """Run cpasswd as root of a master."""
        return self.run("cpasswd", user, "--stdin", "--socket", str(machine.control), text=f"{password}\n", check=False)

    def join(self, machine: NetMachine, inviter: NetMachine) -> None:
        """Invite a machine whose state directory is empty, and let it join."""
        assert machine.host is not None
        invited = self.run(
            "beonss", "invite", machine.name, "--address", machine.host.address,
            "--state", str(inviter.directory / "state"),
            "--cluster-key", str(next(iter(self.masters.values())).directory / "state" / "cluster.key"),
            "--control", str(inviter.control),
        )  # fmt: skip
        token = invited.stdout.strip().splitlines()[-1].strip()
        joined = subprocess.run(
            [*machine.prefix, str(BIN / "beonss"), "join", token, "--state", str(machine.directory / "state")],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if joined.returncode:
            raise ClusterError(f"{machine.name} cannot join:\n{joined.stdout}{joined.stderr}")


@contextlib.contextmanager
def net_cluster(directory: Path, description: Path, zone: str, *names: str) -> Iterator[NetCluster]:
    """Run masters 10.5.0.1, 10.5.0.2, ... of the Fellowship on a network of their own; all end with the block."""
    network = Network()
    try:
        for number, name in enumerate(names, 1):
            network.add(name, f"10.5.0.{number}")
        cluster = NetCluster(directory, description, zone, network)
        try:
            for name in names:
                machine = cluster.add_master(name)
                if name == names[0]:
                    cluster.start(machine)
            for name in names[1:]:
                cluster.masters[name].start()
            for name in names[1:]:
                cluster.masters[name].wait_ready(zone)
            yield cluster
        except BaseException:
            for machine in cluster.everything():
                print(f"--- {machine.name}\n{machine.tail()}", file=sys.stderr)
            raise
        finally:
            cluster.stop()
    finally:
        network.close()
