"""DNS servers that ours forwards to: NSD, unbound in front of it, and a hostile one."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
from ports import free_port

from support.requires import missing

#: One zone, the root, so that unbound needs to know of nobody else.
ZONE = """\
. 3600 IN SOA ns.site.example. h.site.example. 1 3600 600 86400 60
. 3600 IN NS ns.site.example.
ns.site.example. 300 IN A 127.0.0.1
www.site.example. 300 IN A 192.0.2.80
www.site.example. 300 IN AAAA 2001:db8::80
alias.site.example. 300 IN CNAME www.site.example.
lost.site.example. 300 IN CNAME nowhere.site.example.
mail.site.example. 300 IN MX 10 www.site.example.
odd.site.example. 300 IN TYPE65280 \\# 6 C00C01020304
svc.site.example. 300 IN HTTPS 1 . alpn=h2
deep.a.b.c.site.example. 300 IN TXT "deep"
*.wild.site.example. 300 IN A 192.0.2.81
short.site.example. 1 IN A 192.0.2.82
80.2.0.192.in-addr.arpa. 300 IN PTR www.site.example.
9.9.198.51.in-addr.arpa. 300 IN PTR www.site.example.
""" + "".join(f'big.site.example. 300 IN TXT "{number} {"x" * 200}"\n' for number in range(40))


def _program(name: str, package: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        missing(f"the program {name}", package)
    return path


class Upstream:
    """A server that can be stopped and started again at the same address."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.command = command
        self.port = port
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.log.parent
            )
        deadline = time.monotonic() + 40
        while True:
            with contextlib.suppress(OSError, dns.exception.DNSException):
                query = dns.message.make_query("www.site.example", "A")
                if dns.query.udp(query, "127.0.0.1", port=self.port, timeout=1).answer:
                    return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nsd(directory: Path) -> Iterator[Upstream]:
    """Run an authoritative server of :data:`ZONE`."""
    path, port = _program("nsd", "nsd"), free_port()
    (directory / "root.zone").write_text(ZONE)
    config = directory / "nsd.conf"
    config.write_text(f"""
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
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: .
    zonefile: "root.zone"
""")
    server = Upstream([path, "-d", "-c", str(config)], port, directory / "nsd.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def unbound(directory: Path, authority: int) -> Iterator[Upstream]:
    """Run a resolver that knows of nobody but the server at port ``authority``."""
    path, port = _program("unbound", "unbound"), free_port()
    config = directory / "unbound.conf"
    config.write_text(f"""
server:
    interface: 127.0.0.1@{port}
    username: ""
    chroot: ""
    directory: "{directory}"
    pidfile: "{directory}/unbound.pid"
    use-syslog: no
    num-threads: 1
    do-not-query-localhost: no
    do-ip6: no
    module-config: "iterator"
    local-zone: "2.0.192.in-addr.arpa" nodefault
    local-zone: "test." nodefault
remote-control:
    control-enable: no
stub-zone:
    name: "."
    stub-addr: 127.0.0.1@{authority}
""")
    server = Upstream([path, "-d", "-c", str(config)], port, directory / "unbound.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


Address = tuple[str, int]
Send = Callable[[bytes], None]


class Hostile:
    """A server that lies, floods, trickles and stays silent, as the first label of a name says.

    What it says in the end is right, but where it stays silent: 192.0.2.99; all lies say 192.0.2.66.
    """

    def __init__(self) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.port: int = self._udp.getsockname()[1]
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self._other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._other.bind(("127.0.0.1", 0))
        self._open = True
        #: Whether it says nothing at all, to nobody.
        self.mute = False
        self._streams: list[socket.socket] = []
        self.asked: list[str] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._open = False
        with contextlib.suppress(OSError):
            # A datagram and a connection to wake the threads.
            self._other.sendto(b"", ("127.0.0.1", self.port))
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        for thread in self._threads:
            thread.join(10)
        for each in (self._udp, self._tcp, self._other, *self._streams):
            each.close()

    def _serve_udp(self) -> None:
        while True:
            packet, peer = self._udp.recvfrom(4096)
            if not self._open:
                return
            if self.mute:
                continue
            with contextlib.suppress(dns.exception.DNSException, OSError):
                self._answer(dns.message.from_wire(packet), peer)

    def _answer(self, query: dns.message.Message, peer: Address) -> None:
        word = query.question[0].name[0].decode().partition("-")[0].lower()
        self.asked.append(str(query.question[0].name).lower())
        truth, lie = self._reply(query, "192.0.2.99").to_wire(), self._reply(query, "192.0.2.66").to_wire()
        number = query.id

        def send(packet: bytes) -> None:
            self._udp.sendto(packet, peer)

        match word:
            case "silent":
                return
            case "id":
                for step in range(1, 20):
                    send(struct.pack("!H", (number + step) & 0xFFFF) + lie[2:])
            case "flood":
                for step in range(1, 400):
                    send(struct.pack("!H", (number + step) & 0xFFFF) + lie[2:])
            case "name":
                other = dns.message.make_query("other.example", "A", id=number)
                send(self._reply(other, "192.0.2.66").to_wire())
            case "junk":
                for junk in (b"", b"x", lie[:-5], lie + b"junk", lie[:12], lie[:2] + b"\xff" * 400):
                    send(junk)
            case "loop":
                send(lie[:2] + b"\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c\0\1\0\1")
                send(lie[:6] + b"\xff\xff" + lie[8:])
            case "port":
                # From another port of the same address: the kernel must keep it away from us.
                for _ in range(5):
                    self._other.sendto(lie, peer)
            case "echo":
                send(query.to_wire())
            case "servfail" | "trickle" | "cut" | "huge":
                reply = dns.message.make_response(query)
                if word == "servfail":
                    reply.set_rcode(dns.rcode.SERVFAIL)
                else:
                    reply.flags |= dns.flags.TC
                send(reply.to_wire())
                return
        send(truth)

    @staticmethod
    def _reply(query: dns.message.Message, address: str) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", address))
        return reply

    def _serve_tcp(self) -> None:
        while True:
            stream, _ = self._tcp.accept()
            if not self._open:
                stream.close()
                return
            self._streams.append(stream)
            with contextlib.suppress(dns.exception.DNSException, OSError, struct.error):
                stream.settimeout(5)
                (length,) = struct.unpack("!H", stream.recv(2))
                query = dns.message.from_wire(stream.recv(length))
                match query.question[0].name[0].decode().partition("-")[0].lower():
                    case "trickle":
                        stream.sendall(b"\xff\xff" + b"\0" * 10)
                    case "cut":
                        stream.sendall(b"\0\x40" + b"\0" * 10)
                        stream.close()
                    case "huge":
                        reply = self._reply(query, "192.0.2.99")
                        for number in range(3000):
                            text = f"192.1.{number >> 8}.{number & 255}"
                            reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", text))
                        whole = reply.to_wire(max_size=65535)
                        stream.sendall(struct.pack("!H", len(whole)) + whole)
                    case _:
                        truth = self._reply(query, "192.0.2.99").to_wire()
                        stream.sendall(struct.pack("!H", len(truth)) + truth)


@contextlib.contextmanager
def hostile() -> Iterator[Hostile]:
    """Run a hostile server."""
    server = Hostile()
    try:
        yield server
    finally:
        server.close()
