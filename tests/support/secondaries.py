"""Stock name servers as secondaries of ours: NSD, Knot and BIND, each in a directory of its own."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from ports import free_port

from support.requires import missing

SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A shared key, the secret in base64."""

    name: str
    secret: str


@dataclass(frozen=True, slots=True)
class Secondary:
    """A running secondary."""

    kind: str
    port: int
    log: Path

    def ask(self, name: str, rdtype: str = "SOA") -> dns.message.Message:
        """Ask it over TCP."""
        return dns.query.tcp(dns.message.make_query(name, rdtype), "127.0.0.1", port=self.port, timeout=10)

    def serial(self, zone: str) -> int | None:
        """Return the serial it serves of a zone, None if it has none."""
        try:
            reply = self.ask(zone)
        except (OSError, EOFError, dns.exception.DNSException):
            return None
        if reply.rcode() or not reply.flags & dns.flags.AA:
            return None
        soa = next((rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.SOA), None)
        return None if soa is None else int(soa[0].serial)

    def await_serial(self, zone: str, serial: int) -> None:
        """Wait until it serves this version of a zone."""
        deadline = time.monotonic() + SECONDS
        while (seen := self.serial(zone)) != serial:
            assert time.monotonic() < deadline, f"{self.kind} has {zone} {seen}, not {serial}:\n{self.log.read_text()}"
            time.sleep(0.05)

    def await_gone(self, zone: str) -> None:
        """Wait until it does not serve a zone any more."""
        deadline = time.monotonic() + SECONDS
        while self.serial(zone) is not None:
            assert time.monotonic() < deadline, f"{self.kind} still has {zone}:\n{self.log.read_text()}"
            time.sleep(0.05)


@contextlib.contextmanager
def secondary(
    kind: str,
    directory: Path,
    primary: int,
    zones: Sequence[str],
    *,
    key: TsigKey | None = None,
    port: int | None = None,
    catalog: str | None = None,
) -> Iterator[Secondary]:
    """Run a secondary of the server on 127.0.0.1.

    Args:
        kind: ``nsd``, ``knot`` or ``bind``.
        directory: for its files; must exist.
        primary: port of our server.
        zones: what it gets from us.
        key: signs its questions.
        port: where it listens; None for any.
        catalog: apex of a catalog zone to follow.
    """
    port = port or free_port()
    program, package, write = {
        "nsd": ("nsd", "nsd", _nsd),
        "knot": ("knotd", "knot", _knot),
        "bind": ("named", "bind9", _bind),
    }[kind]
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        missing(f"the program {program}", package)
    config = directory / f"{kind}.conf"
    config.write_text(write(directory, port, primary, zones, key, catalog))
    arguments = {"nsd": ["-d", "-c"], "knot": ["-c"], "bind": ["-g", "-n", "1", "-U", "1", "-c"]}[kind]
    log = directory / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(path), *arguments, str(config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory
        )
    running = Secondary(kind, port, log)
    try:
        yield running
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _nsd(
    directory: Path, port: int, primary: int, zones: Sequence[str], key: TsigKey | None, catalog: str | None
) -> str:
    assert catalog is None, "not known to this NSD"
    name = "NOKEY" if key is None else key.name
    text = f"""
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    zonesdir: "{directory}"
    database: ""
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    xfrdir: "{directory}"
    zonelistfile: "{directory}/zone.list"
    server-count: 1
    tcp-count: 20
    xfrd-reload-timeout: 0
    verbosity: 2
    minimal-responses: no
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""
    if key is not None:
        text += f'key:\n    name: {key.name}\n    algorithm: hmac-sha256\n    secret: "{key.secret}"\n'
    for zone in zones:
        text += f"""
zone:
    name: {zone}
    zonefile: "{zone}.zone"
    request-xfr: 127.0.0.1@{primary} {name}
    allow-notify: 127.0.0.1 {name}
    max-retry-time: 1
"""
    return text


def _knot(
    directory: Path, port: int, primary: int, zones: Sequence[str], key: TsigKey | None, catalog: str | None
) -> str:
    reference = "" if key is None else f"\n    key: {key.name}"
    text = f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: "{directory}"
"""
    if key is not None:
        text += f"key:\n  - id: {key.name}\n    algorithm: hmac-sha256\n    secret: {key.secret}\n"
    text += f"""
remote:
  - id: primary
    address: 127.0.0.1@{primary}{reference}
acl:
  - id: notify
    address: 127.0.0.1{reference}
    action: notify
template:
  - id: default
    storage: "{directory}"
  - id: member
    storage: "{directory}"
    master: primary
    acl: notify
zone:
"""
    for zone in zones:
        text += f"  - domain: {zone}\n    master: primary\n    acl: notify\n"
    if catalog is not None:
        text += f"  - domain: {catalog}\n    master: primary\n    acl: notify\n"
        text += "    catalog-role: interpret\n    catalog-template: member\n"
    return text


def _bind(
    directory: Path, port: int, primary: int, zones: Sequence[str], key: TsigKey | None, catalog: str | None
) -> str:
    reference = "" if key is None else f' key "{key.name}"'
    source = f"primaries port {primary} {{ 127.0.0.1{reference}; }};"
    text = ""
    if key is not None:
        text += f'key "{key.name}" {{ algorithm hmac-sha256; secret "{key.secret}"; }};\n'
    follow = ""
    if catalog is not None:
        follow = f"""
    catalog-zones {{
        zone "{catalog}" default-{source.removesuffix(";")} in-memory yes min-update-interval 1;
    }};"""
    text += f"""
options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    lock-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    minimal-responses no;
    zero-no-soa-ttl no;
    notify no;
    allow-notify {{ 127.0.0.1; }};
    min-refresh-time 1;
    min-retry-time 1;{follow}
}};
controls {{ }};
"""
    for zone in [*zones, *([catalog] if catalog else [])]:
        text += f'zone "{zone}" {{ type secondary; file "{zone}.zone"; {source} }};\n'
    return text
