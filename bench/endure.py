"""Ten minutes of full load with malformed traffic mixed in: does a master still answer, and is its memory flat?

dnsperf asks as fast as it can over UDP; beside it packets that were changed by chance come over UDP and TCP, whole and
in pieces, connections are left half open, and zones are transferred. Memory (what only the server's processes have)
is taken all the while. The exit code is 1 if the median of the last quarter is more than a tenth above that of the
second one, if a sound question found no answer, or if the server logged an error of its own. See bench/README.md.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

from dns import Strained, hot_queries
from servers import ZONE, Server, ask
from strain import take_zone

#: Seconds between two looks at the memory.
LOOK = 5.0
#: Of the median of the second quarter.
GROWTH = 1.10
SEED = 4711
#: Packets of one turn, so that dnsperf has its share of the processors.
TURN = 200
#: An OPT record for the additional section.
OPTION = b"\0\0\x29\x10\0\0\0\0\0\0\0"


def sound(server: Server) -> list[bytes]:
    """Return queries of every kind, those of dnsperf and rarer ones."""
    names = [
        server.node(1),
        server.node(server.nodes - 1),
        ZONE,
        f"self.{ZONE}",
        "1.0.1.10.in-addr.arpa",
        "elsewhere.example",
    ]
    plain = [ask(name, kind) for name in names for kind in (1, 2, 6, 12, 28, 33, 251, 252, 255, 65280)]
    return plain + [query[:11] + b"\1" + query[12:] + OPTION for query in plain]


def changed(chance: random.Random, known: Sequence[bytes]) -> bytes:
    """Return a packet that is malformed in some way, most of the time."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(0, 600))
    packet = bytearray(chance.choice(known))
    for _ in range(chance.randrange(1, 6)):
        packet[chance.randrange(len(packet))] = chance.choice((0, 0x3F, 0x40, 0xC0, 0xFF, chance.randrange(256)))
    if chance.random() < 0.3:
        del packet[chance.randrange(len(packet)) :]
    if chance.random() < 0.2:
        # Chains of pointers, long names, two OPT records, many questions.
        packet += chance.choice(
            (b"\xc0\x0c" * 200, b"\x3f" + b"a" * 63, packet[12:], b"\0\0\x29\x10\0\0\0\0\0\0\0" * 2)
        )
    return bytes(packet)


def over_udp(port: int, known: Sequence[bytes], ended: Event, count: "Synchronized[int]") -> None:
    """Send malformed packets, a turn every tenth of a second, from changing ports; read some of what comes back."""
    chance = random.Random(SEED)
    while not ended.is_set():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.setblocking(False)
            for _ in range(TURN):
                with contextlib.suppress(OSError):
                    client.send(changed(chance, known))
                with contextlib.suppress(OSError):
                    client.recv(4096)
        count.value += TURN
        ended.wait(0.1)


def over_tcp(port: int, known: Sequence[bytes], ended: Event, count: "Synchronized[int]") -> None:
    """Open connections; send malformed messages whole or without an end; leave some half open for a while."""
    chance = random.Random(SEED + 1)
    idle: list[socket.socket] = []
    while not ended.is_set():
        with contextlib.suppress(OSError):
            stream = socket.create_connection(("127.0.0.1", port), 2)
            stream.settimeout(0.05)
            for _ in range(chance.randrange(1, 20)):
                packet = changed(chance, known)
                claimed = len(packet) if chance.random() < 0.8 else chance.randrange(65536)
                stream.sendall(struct.pack("!H", claimed) + packet)
                count.value += 1
            with contextlib.suppress(TimeoutError):
                stream.recv(65536)
            if chance.random() < 0.3:
                idle.append(stream)
            else:
                stream.close()
        while len(idle) > 50:
            idle.pop(0).close()
        ended.wait(0.01)
    for stream in idle:
        stream.close()


def taking_zones(port: int, ended: Event, count: "Synchronized[int]") -> None:
    """Transfer the zone, one time after the other, with a pause."""
    while not ended.is_set():
        with contextlib.suppress(OSError, RuntimeError):
            take_zone(port)
            count.value += 1
        ended.wait(1.0)


def asked_soundly(server: Server) -> float | None:
    """Ask a sound question; return the milliseconds to its answer, None when there is none in three tries."""
    query = ask(server.node(7))
    for _ in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect(("127.0.0.1", server.port))
            begun = time.perf_counter()
            with contextlib.suppress(OSError):
                client.send(query)
                reply = client.recv(4096)
                if reply[3] & 15 == 0 and reply[7] == 1:
                    return (time.perf_counter() - begun) * 1000
    return None


def endured(server: Server, seconds: float) -> int:
    """Put the server under load for so long; print what happened and return the exit code."""
    queries = hot_queries(server, server.directory / "queries")
    ended = multiprocessing.Event()
    counts = [multiprocessing.Value("q", 0) for _ in range(3)]
    known = sound(server)
    others = [
        multiprocessing.Process(target=over_udp, args=(server.port, known, ended, counts[0])),
        multiprocessing.Process(target=over_tcp, args=(server.port, known, ended, counts[1])),
        multiprocessing.Process(target=taking_zones, args=(server.port, ended, counts[2])),
    ]
    for other in others:
        other.start()
    load = subprocess.Popen(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-T", "1", "-l", str(int(seconds))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    memory: list[float] = []
    waits: list[float] = []
    unanswered = 0
    try:
        while load.poll() is None:
            took = asked_soundly(server)
            if took is None:
                unanswered += 1
            else:
                waits.append(took)
            # Unlike Pss, what only these processes have does not change with what else runs.
            memory.append(server.memory("Private_Clean", "Private_Dirty"))
            print(f"\r{len(memory) * LOOK:5.0f} s  {memory[-1]:.1f} MiB ", end="", file=sys.stderr, flush=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                load.wait(LOOK)
    finally:
        ended.set()
        load.kill()
        for other in others:
            other.join(30)
    print(file=sys.stderr)
    text = load.communicate()[0]
    quarter = max(1, len(memory) // 4)
    second, last = median(memory[quarter : 2 * quarter] or memory), median(memory[-quarter:])
    log = (server.directory / "log").read_text(errors="replace")
    errors = [line for line in log.splitlines() if re.search(r"Traceback|Unhandled|#error|#critical", line)]
    rate = re.search(r"Queries per second:\s+([\d.]+)", text)
    lost = re.search(r"Queries lost:\s+(\d+)", text)
    waits.sort()
    print(f"sound queries      {float(rate[1]) if rate else 0:,.0f} per second, {lost[1] if lost else '?'} lost")
    print(
        f"malformed          {counts[0].value:,} over UDP, {counts[1].value:,} over TCP; {counts[2].value:,} transfers"
    )
    if waits:
        print(f"a client beside    {waits[len(waits) // 2]:.1f} ms median, {waits[-1]:.1f} ms worst of {len(waits)}")
    print(
        f"memory             {memory[0]:.1f} MiB at first, {second:.1f} in the second quarter, {last:.1f} in the last"
    )
    print(f"ratio              {last / second:.3f} (at most {GROWTH})")
    for line in errors[:5]:
        print(f"logged: {line}")
    if unanswered:
        print(f"{unanswered} sound questions found no answer")
    return int(last / second > GROWTH or bool(unanswered) or bool(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long (default 600)")
    parser.add_argument("--nodes", type=int, default=10_000, help="of the cluster (default 10000)")
    options = parser.parse_args()
    # Short, because the paths of Unix sockets are.
    with tempfile.TemporaryDirectory(prefix="be") as temporary:
        Path(temporary).chmod(0o755)
        server = Strained(Path(temporary) / "s", options.nodes)
        try:
            server.start(None)
            code = endured(server, options.seconds)
            alive = server.process is not None and server.process.poll() is None
        finally:
            server.stop()
    if not alive:
        print("the server ended")
    sys.exit(code if alive else 1)


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) < 2:
        print("with one core, the load takes the server's time", file=sys.stderr)
    main()
