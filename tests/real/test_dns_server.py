"""The DNS server as a process, asked by dig and by dnspython over real sockets."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.zone
import pytest
from support.dns_process import CHECKOUT, EXAMPLE, dns_command, dns_process
from support.requires import missing

from beonss.wire.description import parse

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def server():
    with dns_process(hosts=("127.0.0.1", "127.0.0.53")) as running:
        yield running


@pytest.fixture(scope="module")
def dig(server):
    program = shutil.which("dig")
    if program is None:
        missing("the program dig", "bind9-dnsutils")

    def run(*arguments, host="127.0.0.1"):
        command = [program, f"@{host}", "-p", str(server.port), "+time=5", "+tries=1", "+nocookie", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    return run


def test_dig_finds_a_node_forward_and_reverse(dig):
    assert dig("+short", f"r01n07.{ZONE}") == "10.5.1.7\n"
    assert dig("+short", "-x", "10.5.1.7") == f"r01n07.{ZONE}.\n"


@pytest.mark.parametrize(
    "options", [[], ["+tcp"], ["+noedns"], ["+bufsize=512"], ["+bufsize=65535"], ["+dnssec"], ["+cookie"]]
)
def test_dig_is_content_with_every_way_to_ask(dig, options):
    """No warning about the message, whatever its flags and EDNS options."""
    output = dig(*options, "+norecurse", f"R01n07.{ZONE}")
    assert "status: NOERROR" in output
    assert "flags: qr aa;" in output
    assert f"R01n07.{ZONE}.\t3600\tIN\tA\t10.5.1.7" in output
    assert "WARNING" not in output.upper()
    assert ("EDNS: version: 0, flags:; udp: 1232" in output) == ("+noedns" not in options)


def test_dig_sees_every_kind_of_denial(dig):
    for name, kind, status in [
        (f"r01n07.{ZONE}", "AAAA", "NOERROR"),
        (f"r01n07.{ZONE}", "HTTPS", "NOERROR"),
        (f"r01n07.{ZONE}", "TYPE65280", "NOERROR"),
        ("1.5.10.in-addr.arpa", "PTR", "NOERROR"),
        (f"r1n7.{ZONE}", "A", "NXDOMAIN"),
        (f"x.r01n07.{ZONE}", "A", "NXDOMAIN"),
        ("250.9.5.10.in-addr.arpa", "PTR", "NXDOMAIN"),
    ]:
        output = dig(name, kind)
        assert f"status: {status}" in output, (name, kind)
        assert "ANSWER: 0, AUTHORITY: 1" in output, (name, kind)
        assert f"\t300\tIN\tSOA\tfrodo.{ZONE}." in output, (name, kind)
    assert "status: REFUSED" in dig("example.com")
    assert "EDE: 20 (Not Authoritative)" in dig("example.com")


def test_dig_gets_badvers_and_goes_back(dig):
    assert "status: BADVERS" in dig("+edns=1", "+noednsnegotiation", f"frodo.{ZONE}")
    assert "status: NOERROR" in dig("+edns=1", f"frodo.{ZONE}")


def test_dig_sees_servers_and_identity(dig):
    assert dig("+short", ZONE, "NS").split() == [f"{name}.{ZONE}." for name in ("frodo", "gamgee", "fellowship")]
    assert dig("+short", ZONE, "SOA").split()[:2] == [f"frodo.{ZONE}.", f"hostmaster.{ZONE}."]
    assert dig("+short", "5.10.in-addr.arpa", "NS") == dig("+short", ZONE, "NS")
    assert '("test")' in dig("+nsid", f"frodo.{ZONE}")
    assert dig("+short", "CH", "TXT", "id.server") == '"test"\n'
    assert "status: REFUSED" in dig("CH", "TXT", "version.bind")


def test_dig_is_refused_a_transfer(dig):
    assert "Transfer failed" in dig(ZONE, "AXFR")


def test_dig_sees_unknown_operations_and_flags(dig):
    assert "status: NOTIMP" in dig("+opcode=2", f"frodo.{ZONE}")
    output = dig("+zflag", "+adflag", "+cdflag", "+ednsflags=0x1234", "+ednsopt=65001:abcd", f"frodo.{ZONE}")
    assert "flags: qr aa rd;" in output
    assert "MBZ" not in output
    assert "65001" not in output.partition("HEADER")[2]


def test_each_address_answers_for_itself(dig):
    assert "SERVER: 127.0.0.53#" in dig(f"frodo.{ZONE}", host="127.0.0.53")


def test_every_name_of_the_description_resolves_both_ways(server):
    """Every host and node, by its name, its aliases and its addresses: the whole example through the wire."""
    naming = parse(EXAMPLE.read_bytes(), str(EXAMPLE))
    count = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        for named in naming.names():
            for name in (named.name, *named.aliases):
                reply = exchange(stream, f"{name}.{ZONE}", "A")
                found = {rdata.address for rrset in reply.answer if rrset.rdtype == 1 for rdata in rrset}
                assert found == {str(a) for a in named.addresses if a.version == 4}
            for address in named.addresses:
                reply = exchange(stream, address.reverse_pointer, "PTR")
                assert str(reply.answer[0][0].target) == f"{named.name}.{ZONE}."
                count += 1
    assert count >= naming.node_count


def exchange(stream, name, rdtype):
    query = dns.message.make_query(name, rdtype)
    dns.query.send_tcp(stream, query)
    reply, _ = dns.query.receive_tcp(stream)
    assert query.is_response(reply)
    return reply


def test_pipelined_queries_come_back_each_once(server):
    queries = [dns.message.make_query(f"r01n0{n % 7 + 1}.{ZONE}", "A") for n in range(500)]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        data = b"".join(len(query.to_wire()).to_bytes(2, "big") + query.to_wire() for query in queries)
        sender = threading.Thread(target=stream.sendall, args=(data,))
        sender.start()
        for query in queries:
            reply, _ = dns.query.receive_tcp(stream)
            assert query.is_response(reply)
        sender.join()


def test_a_client_that_ends_its_half_gets_all_replies_and_an_end(server):
    packet = dns.message.make_query(f"frodo.{ZONE}", "A").to_wire(prepend_length=True)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.sendall(packet * 3000)
        stream.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := stream.recv(65536):
            received += chunk
    assert len(received) % 3000 == 0
    assert received.count(b"\x0a\x05\0") >= 3000


def test_a_client_that_only_sends_cannot_hold_memory(server):
    """It is stopped by its own full buffers while others go on."""
    packet = dns.message.make_query(ZONE, "NS").to_wire(prepend_length=True)
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", server.port))
        stream.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and sent < 200_000_000:
            try:
                sent += stream.send(packet * 1000)
            except BlockingIOError:
                ask_udp(server, f"frodo.{ZONE}")
            except ConnectionError:
                break
        assert sent < 50_000_000


def ask_udp(server, name, rdtype="A"):
    return dns.query.udp(dns.message.make_query(name, rdtype), "127.0.0.1", timeout=10, port=server.port)


@pytest.mark.parametrize("length", [b"\xff\xff", b"\0\0", b"\0\5"])
def test_a_length_that_is_a_lie_ends_the_connection_alone(server, length):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.sendall(length + b"hello")
        with contextlib.suppress(ConnectionResetError):
            assert stream.recv(100) == b""
    assert ask_udp(server, f"frodo.{ZONE}").answer


def test_mutated_packets_do_not_disturb_it(server):
    """A thousand packets, each wrong in another place, and then the right answer."""
    packet = bytearray(dns.message.make_query(f"r01n07.{ZONE}", "A", use_edns=0).to_wire())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for place in range(2, len(packet)):
            for value in (0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF):
                wrong = packet.copy()
                wrong[place] = value
                client.sendto(wrong, ("127.0.0.1", server.port))
            client.sendto(packet[:place], ("127.0.0.1", server.port))
        chain = bytes(packet) + b"".join((0xC00C + 2 * n).to_bytes(2, "big") for n in range(1000))
        client.sendto(chain, ("127.0.0.1", server.port))
    assert ask_udp(server, f"r01n07.{ZONE}").answer
    assert server.counters()["failures"] == 0


def test_connections_beyond_the_limit_are_turned_away_and_others_are_served(server):
    streams = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(40)]
    try:
        served = 0
        for stream in streams:
            try:
                served += bool(exchange(stream, f"frodo.{ZONE}", "A").answer)
            except (EOFError, ConnectionError):
                continue
        assert served == 32
        assert ask_udp(server, f"frodo.{ZONE}").answer
        with socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=("127.0.0.9", 0)) as other:
            assert exchange(other, f"frodo.{ZONE}", "A").answer
    finally:
        for stream in streams:
            stream.close()


def test_a_reload_loses_no_query(tmp_path):
    """While a client asks without pause, the description is replaced twenty times; every reply is right."""
    newer = tmp_path / "newer.toml"
    text = EXAMPLE.read_text()
    assert text.count(f'"{ZONE}"') == 1
    newer.write_text(text.replace(f'"{ZONE}"', '"other.example"'))
    with dns_process() as server:
        stop = threading.Event()
        codes = {"NOERROR": 0, "REFUSED": 0}
        errors = []

        def ask():
            try:
                while not stop.is_set():
                    reply = ask_udp(server, f"r01n07.{ZONE}")
                    codes[dns.rcode.to_text(reply.rcode())] += 1
            except Exception as error:
                errors.append(error)

        client = threading.Thread(target=ask)
        client.start()
        try:
            for turn in range(20):
                wanted = codes.copy()
                server.command(f"load {EXAMPLE if turn % 2 else newer}")
                kind = "NOERROR" if turn % 2 else "REFUSED"
                deadline = time.monotonic() + 10
                while codes[kind] == wanted[kind] and not errors and time.monotonic() < deadline:
                    time.sleep(0.001)
        finally:
            stop.set()
            client.join()
        assert errors == []
        assert min(codes.values()) >= 10


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_port_in_use_ends_the_start_with_one_clear_line(transport):
    """Binding fails for UDP or for TCP alone; nothing stays half open."""
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if transport == "TCP":
            holder.listen()
        port = holder.getsockname()[1]
        ended = subprocess.run(
            dns_command(EXAMPLE, f"127.0.0.1:{port}"),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
            cwd=CHECKOUT,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        f"port {port} ({transport}) on 127.0.0.1 is in use by another program; stop it or pass --dns-listen"
    )
    assert ended.stderr.count("\n") == 1
