"""A steady stream of questions over UDP, each of which must be answered: what is lost is counted."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence

import dns.message


class QueryStream:
    """Asks from many sockets, so that all processes of a server have their part, and waits for every reply.

    Args:
        port: of the server, on 127.0.0.1.
        name: what is asked, type A.
        rate: questions per second, about.
        sockets: how many clients.

    Attributes:
        sent: questions asked.
        lost: those without a reply within ``patience`` seconds of the end.
        codes: replies by RCODE.
    """

    patience = 20.0

    def __init__(self, port: int, name: str, rate: int = 1000, sockets: int = 32) -> None:
        self.port = port
        self._query = dns.message.make_query(name, "A", id=0).to_wire()[2:]
        self._pause = 10 / rate
        self._clients: Sequence[socket.socket] = [
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)
        ]
        self._waiting: set[tuple[int, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0
        self.lost = 0
        self.codes: dict[int, int] = {}

    def __enter__(self) -> "QueryStream":
        for client in self._clients:
            client.connect(("127.0.0.1", self.port))
            client.setblocking(False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients:
            client.close()
        self.lost = len(self._waiting)

    def _run(self) -> None:
        while not self._stop.is_set():
            for _ in range(10):
                number = self.sent % len(self._clients)
                id_ = self.sent // len(self._clients) & 0xFFFF
                with contextlib.suppress(ConnectionRefusedError):
                    self._clients[number].send(id_.to_bytes(2, "big") + self._query)
                self._waiting.add((number, id_))
                self.sent += 1
            self._take()
            self._stop.wait(self._pause)
        end = time.monotonic() + self.patience
        while self._waiting and time.monotonic() < end:
            self._take()
            time.sleep(0.01)

    def _take(self) -> None:
        for number, client in enumerate(self._clients):
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                while True:
                    reply = client.recv(4096)
                    self._waiting.discard((number, int.from_bytes(reply[:2], "big")))
                    self.codes[reply[3] & 15] = self.codes.get(reply[3] & 15, 0) + 1
