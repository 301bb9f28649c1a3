"""Garbage at every door of running masters, for a bounded time: the next sound question is answered, nothing fails."""

import contextlib
import json
import random
import socket
import ssl
import struct
import time

import pytest
from outside import ask_dns
from support.people import import_people

ZONE = "fellow.aero.org"
#: Seconds at each door.
BUDGET = 3.0
SEED = 20030401


@pytest.fixture(scope="module")
def running(net):
    import_people(net, net.masters["frodo"], net.directory)
    net.logged = {name: machine.log.stat().st_size for name, machine in net.masters.items()}
    yield net
    net.recover()


def pieces(chance, sound):
    """Yield random bytes, and sound messages with a few bytes changed, cut or repeated."""
    while True:
        if chance.random() < 0.3:
            yield chance.randbytes(chance.randrange(1, 400))
            continue
        data = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(0, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        yield bytes(data) * chance.choice((1, 1, 1, 2, 50))


def throw(connect, sound, seed):
    """Connect and send, again and again; read what comes, which may be nothing. Return how often."""
    chance = random.Random(seed)
    count, end = 0, time.monotonic() + BUDGET
    for data in pieces(chance, sound):
        if time.monotonic() > end:
            return count
        with contextlib.suppress(OSError), contextlib.closing(connect()) as door:
            # Most packets get no answer; a connection gets at least its end.
            door.settimeout(1.0 if door.type == socket.SOCK_STREAM else 0.02)
            door.sendall(data)
            if door.type == socket.SOCK_STREAM:
                with contextlib.suppress(OSError):
                    door.shutdown(socket.SHUT_WR)
                while door.recv(65536):
                    pass
        count += 1
    return count


def unix(path):
    def connect():
        door = socket.socket(socket.AF_UNIX)
        door.connect(str(path))
        return door

    return connect


def string(text):
    return struct.pack("!i", len(text)) + text


NSLCD = [struct.pack("!2i", 2, action) + string(b"sam") for action in (0x00080001, 0x00050001, 0x000A0001, 0x00090001)]
NSLCD += [struct.pack("!2i", 2, 0x000D0001) + b"".join(map(string, (b"sam", b"login", b"", b"", b"tty1", b"guess")))]
OPERATIONS = ("status", "password-terms", "change-password", "accounts.terms", "accounts.import", "no-such-thing")
CONTROL = [
    json.dumps({"op": name, "user": "sam", "new": 5, "old": None, "users": [{}], "groups": 7}).encode() + b"\n"
    for name in OPERATIONS
]
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x06r01n07\x06fellow\x04aero\x03org\x00\x00\x01\x00\x01"
QUERY += b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
#: [type, fields] in MessagePack, with its length before it.
FRAMES = [struct.pack("!I", len(body)) + body for body in (b"\x92\xa5hello\x80", b"\x92\xa8question\x81\xa4wait\xc3")]


def still_sound(running):
    """Ask sound questions at every door; nothing was logged that is an error of ours."""
    for machine in running.masters.values():
        assert machine.nslcd.user("sam") is not None
        assert machine.ask(f"r01n07.{ZONE}").answers == ("A 10.5.1.7",)
        assert machine.process.poll() is None
        log = machine.log.read_bytes()[running.logged[machine.name] :]
        for word in (b"Traceback", b"Unhandled", b"#error", b"#critical"):
            assert word not in log, machine.tail()
    running.wait_equal()


def test_the_local_sockets(running):
    frodo = running.masters["frodo"]
    assert throw(unix(frodo.nslcd.path), NSLCD, SEED) > 20
    assert throw(unix(frodo.control), CONTROL, SEED) > 20
    still_sound(running)


def test_the_network_ports(running):
    """From another machine of the cluster: DNS over UDP and TCP, the port of the masters bare and inside TLS."""
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    address = frodo.host.address
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def udp():
        door = socket.socket(type=socket.SOCK_DGRAM)
        door.connect((address, 53))
        return door

    def tcp(port):
        return lambda: socket.create_connection((address, port), 2)

    def tls():
        return context.wrap_socket(socket.create_connection((address, 7653), 2))

    doors = [(udp, [QUERY]), (tcp(53), [struct.pack("!H", len(QUERY)) + QUERY]), (tcp(7653), FRAMES), (tls, FRAMES)]
    for connect, sound in doors:
        assert gamgee.host.inside(lambda connect=connect, sound=sound: throw(connect, sound, SEED)) > 3
    assert gamgee.host.inside(lambda: ask_dns((address, 53), f"r01n07.{ZONE}", tcp=True)).rcode == "NOERROR"
    still_sound(running)
