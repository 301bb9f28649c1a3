"""The DNS servers that are compared: each told to serve the same cluster, from files of its own, on loopback."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from cluster import LoopbackCluster, free_port  # noqa: E402

ZONE = "c.example"
FIRST = int(IPv4Address("10.1.0.1"))
SECONDS = 180


@dataclass
class Server:
    """One server; subclasses know how to configure it.

    Attributes:
        name: what the tables call it.
        program: what must be installed.
        directory: its own.
        nodes: how many nodes the cluster has.
    """

    directory: Path
    nodes: int
    name = ""
    program = ""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    #: Seconds of CPU until the first answer: what a machine with nothing else to do would take.
    start_cpu: float = 0.0

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is not None

    def prepare(self) -> Sequence[str]:
        """Write the configuration; return the command line."""
        raise NotImplementedError

    def node(self, number: int) -> str:
        return f"n{number}.{ZONE}"

    def start(self, core: int | None, *, again: bool = False) -> float:
        """Start it on one core, or where it likes; return the seconds to its first answer.

        Args:
            core: which.
            again: with the files that it left behind.
        """
        if not again:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.port = free_port()
            self.command = [str(word) for word in self.prepare()]
        command = self.command
        command[0] = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin") or command[0]
        with (self.directory / "log").open("wb") as log:
            begun = time.monotonic()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environment},
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads
            )
        query = ask(self.node(self.nodes - 1))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.005)
            while True:
                if self.process.poll() is not None or time.monotonic() - begun > SECONDS:
                    text = (self.directory / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not answer:\n{text}")
                try:
                    client.sendto(query, ("127.0.0.1", self.port))
                    reply = client.recv(4096)
                except OSError:
                    time.sleep(0.002)
                    continue
                if reply[3] & 15 == 0 and reply[7] == 1:
                    seconds = time.monotonic() - begun
                    self.start_cpu = self.cpu()
                    return seconds
                time.sleep(0.002)

    def family(self) -> list[int]:
        """Return the process and its descendants."""
        assert self.process is not None
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError):
                    continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self) -> float:
        """Return the seconds of CPU it has used, all of its threads and children."""
        total = 0
        for pid in self.family():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory(self, *kinds: str) -> float:
        """Return MiB of some kinds of pages (proc(5), smaps), of all its processes.

        Args:
            kinds: default: the proportional set size, which counts shared pages once.
        """
        wanted = tuple(f"{kind}:" for kind in kinds or ("Pss",))
        total = 0
        for pid in self.family():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(wanted):
                    total += int(line.split()[1])
        return total / 1024

    def stop(self) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Beonss(Server):
    """A whole master of this project, with accounts, replication and lookups."""

    name = "beonss"
    program = sys.executable
    #: Processes that answer; "auto" is one for each core that it is given.
    workers = "auto"
    #: More lines of the description.
    more = ""

    def prepare(self) -> Sequence[str]:
        description = self.directory / "cluster.toml"
        description.write_text(
            f'[cluster]\nname = "Bench"\nzone = "{ZONE}"\nnetworks = ["10.0.0.0/8"]\nmasters = ["n0"]\n'
            f'{self.more}[[nodes]]\nname = "n{{node}}"\naddress = "10.1.0.1 + {{node}}"\ncount = {self.nodes}\n'
        )
        shutil.rmtree(self.directory / "cluster", ignore_errors=True)
        cluster = LoopbackCluster(self.directory / "cluster", description, ZONE)
        machine = cluster.add_master("n0", "--dns-workers", self.workers)
        self.control = machine.control
        self.port = machine.dns[1]
        return [
            str(Path(sys.executable).with_name("twistd")),
            "-n",
            "--pidfile=",
            "--reactor=epoll",
            "beonss",
            *machine.arguments,
        ]


class PureBeonss(Beonss):
    """The same without the compiled core."""

    name = "beonss, pure Python"

    def prepare(self) -> Sequence[str]:
        self.environment = {"BEONSS_PURE_PYTHON": "1"}
        return super().prepare()


class ZoneFileServer(Server):
    """A server that reads every name from zone files."""

    def zone_files(self) -> tuple[Path, Path]:
        """Write the forward and the reverse zone, once for all such servers of one size."""
        shared = self.directory.parent / f"zones-{self.nodes}"
        forward, reverse = shared / "forward", shared / "reverse"
        if not reverse.exists():
            shared.mkdir()
            soa = f"@ 3600 IN SOA n0.{ZONE}. hostmaster.{ZONE}. 1 3600 600 1209600 300\n@ 3600 IN NS n0.{ZONE}.\n"
            with forward.open("w") as file:
                file.write(f"$ORIGIN {ZONE}.\n$TTL 3600\n{soa}")
                file.writelines(f"n{number} A {IPv4Address(FIRST + number)}\n" for number in range(self.nodes))
            with reverse.open("w") as file:
                file.write(f"$ORIGIN 10.in-addr.arpa.\n$TTL 3600\n{soa}")
                for number in range(self.nodes):
                    octets = str(IPv4Address(FIRST + number)).split(".")
                    file.write(f"{octets[3]}.{octets[2]}.{octets[1]} PTR n{number}.{ZONE}.\n")
        return forward, reverse


class Nsd(ZoneFileServer):
    name = "NSD"
    program = "nsd"

    def prepare(self) -> Sequence[str]:
        forward, reverse = self.zone_files()
        own = self.directory
        (own / "nsd.conf").write_text(
            f"server:\n server-count: 1\n ip-address: 127.0.0.1@{self.port}\n port: {self.port}\n do-ip6: no\n"
            f' username: ""\n chroot: ""\n zonesdir: "{own}"\n pidfile: "{own}/pid"\n zonelistfile: "{own}/list"\n'
            f' xfrdfile: "{own}/xfrd"\n database: ""\n rrl-ratelimit: 0\n tcp-count: 200\n'
            f" tcp-query-count: 0\nremote-control:\n control-enable: no\n"
            f'zone:\n name: {ZONE}\n zonefile: "{forward}"\n'
            f'zone:\n name: 10.in-addr.arpa\n zonefile: "{reverse}"\n'
        )
        return ["nsd", "-d", "-c", own / "nsd.conf"]


class Knot(ZoneFileServer):
    name = "Knot"
    program = "knotd"
    zones = ""

    def prepare(self) -> Sequence[str]:
        own = self.directory
        (own / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{self.port}\n  rundir: {own}\n  udp-workers: 1\n  tcp-workers: 1\n"
            f"  background-workers: 1\n  tcp-max-clients: 200\nlog:\n- target: stderr\n  any: warning\n"
            f"database:\n  storage: {own}\n{self.zone_lines()}"
        )
        return ["knotd", "-c", own / "knot.conf"]

    def zone_lines(self) -> str:
        forward, reverse = self.zone_files()
        return (
            "template:\n- id: default\n  journal-content: none\n  zonefile-sync: -1\nzone:\n"
            f"- domain: {ZONE}\n  file: {forward}\n- domain: 10.in-addr.arpa\n  file: {reverse}\n"
        )


class Synthrecord(Knot):
    """Knot computing names; in these the whole address is written out."""

    name = "Knot mod-synthrecord"

    def node(self, number: int) -> str:
        return f"n-{str(IPv4Address(FIRST + number)).replace('.', '-')}.{ZONE}"

    def zone_lines(self) -> str:
        for name, origin in (("forward", ZONE), ("reverse", "10.in-addr.arpa")):
            (self.directory / name).write_text(
                f"$ORIGIN {origin}.\n$TTL 3600\n@ SOA n0.{ZONE}. hostmaster.{ZONE}. 1 3600 600 1209600 300\n"
                f"@ NS n0.{ZONE}.\n"
            )
        return (
            "mod-synthrecord:\n- id: f\n  type: forward\n  prefix: n-\n  ttl: 3600\n  network: 10.0.0.0/8\n"
            f"- id: r\n  type: reverse\n  prefix: n-\n  origin: {ZONE}.\n  ttl: 3600\n  network: 10.0.0.0/8\n"
            "template:\n- id: default\n  journal-content: none\n  zonefile-sync: -1\nzone:\n"
            f"- domain: {ZONE}\n  file: {self.directory}/forward\n  module: mod-synthrecord/f\n"
            f"- domain: 10.in-addr.arpa\n  file: {self.directory}/reverse\n  module: mod-synthrecord/r\n"
        )


class Bind(ZoneFileServer):
    name = "BIND"
    program = "named"

    def prepare(self) -> Sequence[str]:
        forward, reverse = self.zone_files()
        own = self.directory
        (own / "named.conf").write_text(
            f'options {{ directory "{own}"; listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};'
            f' pid-file "{own}/pid"; session-keyfile "{own}/key"; recursion no; dnssec-validation no;'
            " minimal-responses yes; tcp-clients 300; }; controls {};\n"
            f'zone "{ZONE}" {{ type primary; file "{forward}"; }};\n'
            f'zone "10.in-addr.arpa" {{ type primary; file "{reverse}"; }};\n'
        )
        return ["named", "-g", "-n", "1", "-4", "-c", own / "named.conf"]


class Dnsmasq(Server):
    name = "dnsmasq"
    program = "dnsmasq"

    def prepare(self) -> Sequence[str]:
        hosts = self.directory / "hosts"
        with hosts.open("w") as file:
            for number in range(self.nodes):
                file.write(f"{IPv4Address(FIRST + number)} n{number}.{ZONE}\n")
        return [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
            f"--addn-hosts={hosts}", f"--local=/{ZONE}/", "--local=/10.in-addr.arpa/", "--local-ttl=3600",
            "--bind-interfaces", "--listen-address=127.0.0.1", f"--port={self.port}", "--log-facility=-",
            f"--pid-file={self.directory}/pid",
        ]  # fmt: skip


def ask(name: str, kind: int = 1) -> bytes:
    """Return a query."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


#: In the order of the tables. dnsmasq's time to start grows with the square of its names.
ALL: tuple[type[Server], ...] = (Beonss, PureBeonss, Nsd, Knot, Synthrecord, Bind, Dnsmasq)
