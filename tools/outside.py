"""Looks at a running master or node from outside: raw sockets, and none of the project's own code.

What is believed here was seen on the wire. The protocols are spoken as their documents say (RFC 1035; nslcd
protocol version 2), from first principles, so that a mistake in the project's own readers cannot hide itself.
"""

import contextlib
import secrets
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "AAAA": 28}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
#: _pam_types.h of Linux-PAM; the nslcd protocol uses its numbers.
PAM_AUTHINFO_UNAVAIL = 9
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class Reply:
    """What a DNS server said."""

    rcode: str
    authoritative: bool
    answers: tuple[str, ...]


def _read_name(packet: bytes, offset: int) -> tuple[str, int]:
    labels, end, hops = [], None, 0
    while (length := packet[offset]) != 0:
        if length >= 0xC0:
            end = end or offset + 2
            offset = struct.unpack_from("!H", packet, offset)[0] & 0x3FFF
            hops += 1
            if hops > 20:
                raise ValueError("compression loop")
            continue
        labels.append(packet[offset + 1 : offset + 1 + length].decode("latin-1"))
        offset += length + 1
    return ".".join(labels) + ".", end or offset + 1


def ask_dns(address: tuple[str, int], name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 3) -> Reply:
    """Ask one question over UDP or TCP and return what came back.

    Raises:
        OSError: nothing came back in time, or nobody listens.
    """
    number = secrets.randbelow(65536)
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"
    query = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + question + struct.pack("!2H", TYPES[kind], 1)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        if tcp:
            sock.sendall(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", _receive(sock, 2))
            packet = _receive(sock, length)
        else:
            sock.send(query)
            packet = sock.recv(65535)
    got, flags, questions, count, _, _ = struct.unpack_from("!6H", packet)
    if got != number or not flags & 0x8000:
        raise ValueError("that is no reply to this question")
    offset = 12
    for _ in range(questions):
        offset = _read_name(packet, offset)[1] + 4
    answers = []
    for _ in range(count):
        _, offset = _read_name(packet, offset)
        rtype, _, _, length = struct.unpack_from("!HHIH", packet, offset)
        offset += 10
        data = packet[offset : offset + length]
        if rtype in {1, 28}:
            text = str(ip_address(data))
        elif rtype in {2, 5, 12}:
            text = _read_name(packet, offset)[0]
        else:
            text = data.hex()
        answers.append(f"{TYPE_NAMES.get(rtype, rtype)} {text}")
        offset += length
    return Reply(RCODES.get(flags & 15, str(flags & 15)), bool(flags & 0x0400), tuple(answers))


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError(f"closed after {len(data)} of {count} bytes")
        data += piece
    return data


class Nslcd:
    """Asks a socket of the nslcd protocol, version 2, as the C library's module would."""

    def __init__(self, path: Path, timeout: float = 20) -> None:
        self.path = path
        self.timeout = timeout

    def _exchange(self, action: int, parameters: bytes) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(str(self.path))
            sock.sendall(struct.pack("!2i", 2, action) + parameters)
            if _receive(sock, 8) != struct.pack("!2i", 2, action):
                raise ValueError("that is not the nslcd protocol")
        except BaseException:
            sock.close()
            raise
        return sock

    @staticmethod
    def _string(text: str) -> bytes:
        data = text.encode()
        return struct.pack("!i", len(data)) + data

    @staticmethod
    def _read_string(sock: socket.socket) -> str:
        (length,) = struct.unpack("!i", _receive(sock, 4))
        return _receive(sock, length).decode()

    @staticmethod
    def _read_number(sock: socket.socket) -> int:
        return int(struct.unpack("!i", _receive(sock, 4))[0])

    def user(self, name: str) -> tuple[str, ...] | None:
        """Return (name, password field, uid, gid, gecos, home, shell), or None if there is no such user.

        Raises:
            OSError: the daemon could not say (what NSS calls UNAVAIL).
        """
        with contextlib.closing(self._exchange(0x00080001, self._string(name))) as sock:
            if self._read_number(sock) == 2:
                return None
            found = [self._read_string(sock), self._read_string(sock)]
            found += [str(self._read_number(sock)), str(self._read_number(sock))]
            found += [self._read_string(sock) for _ in range(3)]
            return tuple(found)

    def host(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        """Return (canonical name, addresses), or None if there is no such host.

        Raises:
            OSError: the daemon could not say.
        """
        with contextlib.closing(self._exchange(0x00050001, self._string(name))) as sock:
            if self._read_number(sock) == 2:
                return None
            canonical = self._read_string(sock)
            for _ in range(self._read_number(sock)):
                self._read_string(sock)
            addresses = []
            for _ in range(self._read_number(sock)):
                self._read_number(sock)
                addresses.append(str(ip_address(_receive(sock, self._read_number(sock)))))
            return canonical, tuple(addresses)

    def login(self, user: str, password: str) -> bool:
        """Say whether PAM would let this user in with this password.

        Raises:
            OSError: the daemon could not say.
        """
        parameters = b"".join(self._string(text) for text in (user, "login", "", "", "tty1", password))
        with contextlib.closing(self._exchange(0x000D0001, parameters)) as sock:
            if self._read_number(sock) == 2:
                return False
            code = self._read_number(sock)
            if code == PAM_AUTHINFO_UNAVAIL:
                raise ConnectionError("the daemon cannot verify passwords now (PAM_AUTHINFO_UNAVAIL)")
            return code == 0
