"""The process that answers first: the compiled core alone, and what it cannot answer is kept for the daemon."""

import os
import socket
import subprocess
import sys
import threading

import dns.message
import dns.rcode
import pytest
from support.dns_process import EXAMPLE
from support.requires import missing

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.overlay_zone import described_zones
from beonss.net.dns.native import why_pure
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_early import MOST_WAITING, answer_early, early_core
from beonss.net.dns.worker_sockets import BoundSocket, bind_places, close_places
from beonss.wire.description import parse
from beonss.wire.name_image import name_image

NODE = "r01n02.fellow.aero.org"


@pytest.fixture
def image():
    if why_pure() is not None:
        missing("the compiled core", "gcc")
    return name_image(described_zones(parse(EXAMPLE.read_bytes(), str(EXAMPLE))))


class Early:
    """The process, played by a thread: it must not touch what only a process has, but signals it ignores."""

    def __init__(self, image, monkeypatch):
        monkeypatch.setattr("beonss.net.dns.worker_early.become_process", lambda _: None)
        self.places = bind_places([Endpoint("127.0.0.1", 0)], 2)
        self.port = self.places[0][0].socket.getsockname()[1]
        self.channel, its = channel_pair()
        core = early_core(image, b"id", b"")
        self.codes = []
        # Of its own, as a process has them.
        copies = [[BoundSocket(bound.kind, bound.socket.dup()) for bound in place] for place in self.places]
        self.thread = threading.Thread(target=lambda: self.codes.append(answer_early(its, core, copies)))
        self.thread.start()

    def end(self):
        self.channel.close()
        self.thread.join(30)
        close_places(self.places)


@pytest.fixture
def early(image, monkeypatch):
    early = Early(image, monkeypatch)
    yield early
    early.end()
    assert early.codes == [0]


def test_it_answers_on_all_places_and_tells_what_it_did(early):
    for number in range(40):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.sendto(dns.message.make_query(NODE, "A", id=number).to_wire(), ("127.0.0.1", early.port))
            reply = dns.message.from_wire(client.recv(512))
        assert (reply.id, reply.rcode(), reply.answer[0][0].to_text()) == (number, 0, "10.5.1.2")
    early.channel.send("stop")
    early.channel.wait(10)
    ended = early.channel.receive()
    assert ended.kind == "ended"
    assert dict(ended.fields) == {"udp": 40, "tcp": 0, "compiled": 40, "unsent": 0, "codes": {"NOERROR": 40}}


def test_what_it_cannot_answer_is_given_to_the_daemon_in_the_end(early):
    wires = [dns.message.make_query(name, "A").to_wire() for name in ("self.fellow.aero.org", "master.fellow.aero.org")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(10)
        for wire in [*wires, *[wires[0]] * MOST_WAITING]:
            client.sendto(wire, ("127.0.0.1", early.port))
        # Plain questions are answered meanwhile, whatever waits.
        client.sendto(dns.message.make_query(NODE, "A").to_wire(), ("127.0.0.1", early.port))
        assert dns.message.from_wire(client.recv(512)).rcode() == dns.rcode.NOERROR
        early.channel.send("stop")
        early.channel.wait(10)
        given = []
        while (message := early.channel.receive()).kind == "datagram":
            given.append(message)
    assert message.kind == "ended"
    assert message.fields["udp"] == 1
    assert [each.payload for each in given[:2]] == wires
    assert len(given) == MOST_WAITING
    place = given[0].number("place")
    bound = early.places[place][given[0].number("socket")]
    assert bound.kind == "udp"
    assert bound.socket.getsockname() == ("127.0.0.1", early.port)


def test_it_ends_when_the_daemon_is_gone(early):
    early.channel.close()
    early.thread.join(30)
    assert not early.thread.is_alive()


@pytest.mark.parametrize(
    ("image_of", "networks"), [(lambda image: image[:-1], b""), (lambda image: image, b"x"), (lambda _: b"", b"")]
)
def test_what_the_core_does_not_take_is_no_core(image, image_of, networks):
    assert early_core(image, b"", b"") is not None
    assert early_core(image_of(image), b"", networks) is None


def test_who_wants_no_compiled_core_gets_none(image, monkeypatch):
    monkeypatch.setenv("BEONSS_PURE_PYTHON", "1")
    assert early_core(image, b"", b"") is None


ALWAYS = {"ldap3", "dns", "beonss.store.database", "beonss.targets.settings", "beonss.daemon.accounts.state"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "beonss.daemon.dns.prepared",
            ALWAYS
            | {"twisted.internet", "pydantic", "dnslib", "OpenSSL", "cryptography", "msgpack"}
            | {"beonss.wire.description", "beonss.core.names.naming"},
        ),
        ("beonss.daemon.dns.first_zones", ALWAYS),
    ],
)
def test_what_comes_before_the_first_answer_imports_nothing_large(module, heavy):
    """Half of a second is not much: each of these would take a part of it."""
    code = f"import sys; import {module}; sys.exit(', '.join(sorted({heavy} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
