"""DNS at a steady rate while zones are transferred and passwords change: what clients feel of it.

Used by ``dns.py`` (part ``strain``). The latency is that of a client beside the load, in a process of its own: dnsperf
is too busy to measure its own. Run as a program, this is that client.
"""

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from askers import connected, exchange, line, whole_line
from servers import ZONE, Beonss, ask

#: Queries per second.
RATE = 50_000


@dataclass
class Strain:
    """What else was done meanwhile, and what became of the queries.

    Attributes:
        transfers: whole zones that were taken.
        records_bytes: bytes of them.
        changes: passwords changed.
        reached: queries per second that dnsperf sent.
        lost: queries without an answer.
        p50, p99, worst: milliseconds of the client beside the load.
    """

    transfers: int = 0
    records_bytes: int = 0
    changes: int = 0
    reached: float = 0.0
    lost: int = 0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)


def take_zone(port: int) -> int:
    """Transfer the zone; return its bytes."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.settimeout(60)
        query = ask(ZONE, 252)
        stream.sendall(struct.pack("!H", len(query)) + query)
        total, end = 0, b""
        buffer = b""
        while True:
            while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2], "big"):
                piece = stream.recv(1 << 16)
                if not piece:
                    raise RuntimeError("the transfer broke off")
                buffer += piece
            length = 2 + int.from_bytes(buffer[:2], "big")
            message, buffer = buffer[2:length], buffer[length:]
            if message[3] & 15:
                raise RuntimeError(f"the transfer was refused: RCODE {message[3] & 15}")
            if not total:
                end = soa_numbers(message)
            elif message.endswith(end):
                return total + len(message)
            total += len(message)
            if total == len(message) and message.count(end) > 1 and message.endswith(end):
                return total


def soa_numbers(message: bytes) -> bytes:
    """Return the five numbers of the SOA record with which a transfer begins and ends."""
    place = message.index(b"\0\0\xfc\0\1") + 5
    place += 2 if message[place] >= 0xC0 else message.index(b"\0", place) - place + 1
    (length,) = struct.unpack_from("!H", message, place + 8)
    return message[place + 10 + length - 20 : place + 10 + length]


@contextlib.contextmanager
def again_and_again(what: str, found: Strain, step: "object") -> Iterator[None]:
    """Do something in a thread until the end."""
    ended = threading.Event()

    def work() -> None:
        try:
            while not ended.is_set():
                step()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - told in the table
            found.failures.append(f"{what}: {error}")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def strained(server: Beonss, queries: Path, seconds: int, *, busy: bool) -> Strain:
    """Ask at the rate, with or without the rest."""
    found = Strain()

    def transfer() -> None:
        found.records_bytes += take_zone(server.port)
        found.transfers += 1

    def change() -> None:
        exchange(control, line("change-password", user="strain", new=f"another-secret-{found.changes}"), whole_line)
        found.changes += 1

    with contextlib.ExitStack() as stack:
        if busy:
            control = stack.enter_context(connected(server.control))
            stack.enter_context(again_and_again("transfers", found, transfer))
            stack.enter_context(again_and_again("passwords", found, change))
        probe = subprocess.Popen(
            [sys.executable, __file__, str(server.port), server.node(7)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        done = subprocess.run(
            ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-T", "1", "-c", "20",
             "-q", "2000", "-Q", str(RATE), "-l", str(seconds)],
            capture_output=True, text=True, timeout=seconds + 60, check=False,
        )  # fmt: skip
        times = probe.communicate(b"\n", timeout=60)[0].split()
    found.p50, found.p99, found.worst = (float(each) for each in times)
    found.reached = _number(done.stdout, r"Queries per second:\s+([\d.]+)")
    found.lost = int(_number(done.stdout, r"Queries lost:\s+(\d+)"))
    return found


def _number(text: str, pattern: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"dnsperf does not run to its end:\n{text}")
    return float(match[1])


def main(port: str, name: str) -> None:
    """Ask until something comes on standard input; print the milliseconds of 50 %, 99 % and all."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    # As on a machine of its own: what it waits for is the server, and not its turn.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    query, times = ask(name), []
    while not ended.is_set():
        # A socket for each, so that all processes of the server have their part.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", int(port)))
            begun = time.perf_counter()
            sock.send(query)
            sock.recv(512)
            times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.001)
    times.sort()
    print(times[len(times) // 2], times[len(times) * 99 // 100], times[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
