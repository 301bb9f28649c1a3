"""Clients of the account benchmark: one loop for our control socket and for LDAP, so that both bear the same cost.

Requests are made before the clock runs; a client sends its next when the answer to its last has come.
"""

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

#: Returns how many bytes at the front of a buffer are one answer, 0 while it is not whole; raises if it says no.
Whole = Callable[[bytes], int]


class AnswerError(Exception):
    """A server refused what it was asked."""


def connected(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(120)
    made.connect(str(path))
    return made


def exchange(sock: socket.socket, request: bytes, whole: Whole) -> bytes:
    """Send one request and return its answer."""
    sock.sendall(request)
    buffer = b""
    while not (length := whole(buffer)):
        piece = sock.recv(65536)
        if not piece:
            raise AnswerError("the server ended the connection")
        buffer += piece
    return buffer[:length]


def drive(path: Path, whole: Whole, work: Sequence[Iterable[bytes]], greeting: bytes = b"") -> float:
    """Have as many clients as there are lists of requests work them off; return the seconds that took."""
    selector = selectors.DefaultSelector()
    clients = [connected(path) for _ in work]
    try:
        for client, requests in zip(clients, work, strict=True):
            if greeting:
                exchange(client, greeting, whole)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, [iter(requests), b""])
        begun = time.perf_counter()
        open_ = 0
        for key in list(selector.get_map().values()):
            open_ += _next(key.fileobj, key.data[0], selector)
        while open_:
            ready = selector.select(120)
            if not ready:
                raise AnswerError("no answer for two minutes")
            for key, _ in ready:
                state = key.data
                state[1] += key.fileobj.recv(65536)  # type: ignore[union-attr]
                if length := whole(state[1]):
                    state[1] = state[1][length:]
                    open_ -= 1
                    open_ += _next(key.fileobj, state[0], selector)
        return time.perf_counter() - begun
    finally:
        selector.close()
        for client in clients:
            client.close()


def _next(sock: object, requests: Iterable[bytes], selector: selectors.BaseSelector) -> int:
    assert isinstance(sock, socket.socket)
    request = next(iter(requests), None)
    if request is None:
        selector.unregister(sock)
        return 0
    sock.send(request)
    return 1


# --- our control socket: lines of JSON -----------------------------------------------------------------------------


def line(operation: str, **parameters: object) -> bytes:
    return json.dumps({"op": operation, **parameters}).encode() + b"\n"


def whole_line(buffer: bytes) -> int:
    if not buffer.endswith(b"\n"):
        return 0
    if b'"code":"ok"' not in buffer:
        raise AnswerError(buffer[:300].decode(errors="replace"))
    return len(buffer)


# --- LDAP (RFC 4511), as little of it as is needed ------------------------------------------------------------------


def _ber(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def _message(operation: bytes) -> bytes:
    return _ber(0x30, b"\x02\x01\x01", operation)


def bind(name: str, password: str) -> bytes:
    return _message(_ber(0x60, b"\x02\x01\x03", _ber(4, name.encode()), _ber(0x80, password.encode())))


def replace(name: str, attribute: str, value: bytes) -> bytes:
    change = _ber(0x30, _ber(4, attribute.encode()), _ber(0x31, _ber(4, value)))
    return _message(_ber(0x66, _ber(4, name.encode()), _ber(0x30, _ber(0x30, b"\x0a\x01\x02", change))))


def search(name: str, attribute: str) -> bytes:
    """Read one entry's attribute."""
    return _message(
        _ber(0x63, _ber(4, name.encode()), b"\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00",
             _ber(0x87, b"objectClass"), _ber(0x30, _ber(4, attribute.encode())))
    )  # fmt: skip


def whole_message(buffer: bytes) -> int:
    """Return the length of all messages up to and with the one that carries a result."""
    position = 0
    while len(buffer) - position > 8:
        length, start = buffer[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, start = int.from_bytes(buffer[start : start + count], "big"), start + count
        if len(buffer) < start + length:
            return 0
        operation = buffer[start + 3]
        position = start + length
        if operation == 0x64:  # an entry found; the result of the search follows
            continue
        result = buffer.find(b"\x0a\x01", start)
        if buffer[result + 2]:
            raise AnswerError(f"LDAP result {buffer[result + 2]}: {buffer[start : start + 200]!r}")
        return position
    return 0
