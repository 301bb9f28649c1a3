"""The compiled core says, byte for byte, what Python says, or leaves it to Python."""

import os
import random
import socket
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import Path

import dns.flags
import dns.message
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dns_names import Names
from support.dns_packets import descriptions, known_names, packets, wire
from support.requires import missing

from beonss.core.names.naming import Naming
from beonss.core.zones.overlay import Overlay, StaticRecord
from beonss.core.zones.overlay_zone import OverlaidZones
from beonss.core.zones.records import AddressData, NameData, Record, SOAData, TextData, domain
from beonss.core.zones.zone import UnknownZones, Zones
from beonss.net.dns import native as dns_native
from beonss.net.dns.native import PURE, compiled_core, packed_networks, why_pure
from beonss.net.dns.server import DNSServer
from beonss.net.dns.udp import listen_udp
from beonss.wire import name_image as name_image_module
from beonss.wire.description import parse
from beonss.wire.name_image import fnv, name_image, shape_key

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))
FELLOWSHIP = parse(next(path for path in EXAMPLES if path.stem == "fellowship").read_bytes(), "fellowship.toml")
STRANGER, SERVED = "192.0.2.77", "192.0.2.129"
NSID = b"frodo"


@pytest.fixture(autouse=True)
def _there() -> None:
    why = why_pure()
    if why is not None and not os.environ.get(PURE):
        missing(f"the compiled core of the DNS server ({why})", "gcc python3-dev, then make native")
    if why is not None:
        pytest.skip(why)


class Elsewhere:
    """A fallback for half of a network; what it is asked for, the core must have left to Python."""

    networks = (ip_network("192.0.2.128/25"),)

    def forward(self, query, packet, asker, *, tcp):
        assert query.recursion_desired
        return b"looked up elsewhere"

    def counters(self):
        return {}

    def retire(self):
        pass


def both(naming: Naming, identity: bytes = NSID, zones: Zones | None = None):
    """Return the compiled core, and a function that answers as Python does alone."""
    zones = zones or Zones(naming)
    core = compiled_core(zones, identity)
    assert core is not None
    server = DNSServer(zones, identity=identity, ready=1, fallback=Elsewhere())
    server.core = None

    def python(packet: bytes, *, tcp: bool, recursion: bool = False) -> bytes | None:
        reply = server.respond(packet, SERVED if recursion else STRANGER, tcp=tcp)
        assert reply is None or isinstance(reply, bytes)
        return reply

    return core, python


def opened(image: bytes, networks: bytes = b""):
    """Return a core of an image."""
    from beonss.net.dns._dns_native import Core  # noqa: PLC0415 - it may not be there

    return Core(image, b"", networks)


def agree(core, python, packet: bytes) -> bool:
    """Fail unless both say the same; say whether the core answered."""
    answered = False
    for tcp, recursion in product((False, True), repeat=2):
        compiled = core.answer(packet, tcp, recursion)
        if compiled is not None:
            answered = True
            assert compiled == python(packet, tcp=tcp, recursion=recursion)
    return answered


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_answers_the_same(path):
    core, python = both(parse(path.read_bytes(), path.name))
    names = known_names(parse(path.read_bytes(), path.name))
    answered = 0

    @settings(max_examples=400)
    @given(packets(names))
    def compare(packet):
        nonlocal answered
        answered += agree(core, python, packet)

    compare()
    assert answered > 50


@settings(max_examples=60)
@given(descriptions(), st.randoms(use_true_random=False), st.data())
def test_any_description_answers_the_same(text, chance, data):
    naming = parse(text.encode(), "drawn")
    core, python = both(naming, b"")
    names = known_names(naming)
    for name in chance.sample(names, min(len(names), 150)):
        for kind in (1, 28, 12, 255):
            assert agree(core, python, b"ab\1\0\0\1\0\0\0\0\0\0" + name + b"\0" + bytes([0, kind, 0, 1])) or True
    for _ in range(10):
        agree(core, python, data.draw(packets(names)))


def static(owner: str, kind: int, data) -> StaticRecord:
    return StaticRecord(Record(domain(owner), kind, 600, data))


# Beside, below and in place of computed names; a delegation, wildcards, zones around, inside and elsewhere.
STATIC = [
    static("fellow.aero.org", 16, TextData((b"hello",))),
    static("r01n01.fellow.aero.org", 16, TextData((b"a node",))),
    static("srv.fellow.aero.org", 1, AddressData(ip_address("192.0.2.9"))),
    static("x.y.z.fellow.aero.org", 16, TextData((b"deep",))),
    static("R01n02.fellow.aero.org", 16, TextData((b"case",))),
    static("*.fellow.aero.org", 16, TextData((b"star",))),
    static("*.w.fellow.aero.org", 1, AddressData(ip_address("192.0.2.8"))),
    static("sub.fellow.aero.org", 2, NameData(domain("ns.example.com"))),
    static("other.fellow.aero.org", 5, NameData(domain("r01n01.fellow.aero.org"))),
    static("200.9.5.10.in-addr.arpa", 12, NameData(domain("srv.fellow.aero.org"))),
    static("1.5.10.in-addr.arpa", 16, TextData((b"rack",))),
    *(
        static(apex, 6, SOAData(domain("a.example"), domain("b.example"), 3, 4, 5, 6, 7))
        for apex in ("example.com", "aero.org", "own.fellow.aero.org", "3.5.10.in-addr.arpa", "arpa")
    ),
    static("www.example.com", 1, AddressData(ip_address("192.0.2.7"))),
]


@settings(max_examples=60)
@given(st.sets(st.sampled_from(STATIC), min_size=1), st.randoms(use_true_random=False), st.data())
def test_static_records_are_left_to_python_and_the_rest_is_the_same(records, chance, data):
    serials = {domain("fellow.aero.org"): 77, domain("5.10.in-addr.arpa"): 78}
    zones = OverlaidZones(FELLOWSHIP, Overlay(records), serials)
    core, python = both(FELLOWSHIP, b"", zones)
    names = known_names(FELLOWSHIP)
    for each in STATIC:
        owner = each.record.name
        names += [wire(list(owner)), wire([b"r01n01", *owner]), wire(list(owner[1:])), wire([b"a", b"b", *owner])]
    answered = 0
    for name in [*chance.sample(names, 100), *names[-4 * len(STATIC) :]]:
        for kind in (1, 12, 16, 6):
            answered += agree(core, python, b"ab\1\0\0\1\0\0\0\0\0\0" + name + b"\0" + bytes([0, kind, 0, 1]))
    assert answered
    for _ in range(10):
        agree(core, python, data.draw(packets(names)))


@settings(max_examples=60)
@given(descriptions(), st.randoms(use_true_random=False))
def test_any_description_has_the_same_names_and_addresses(text, chance):
    """All hosts and derived hosts, nodes by chance; forward, reverse, and beside what is there."""
    naming = parse(text.encode(), "drawn")
    core = compiled_core(Zones(naming), b"")
    assert core is not None
    everybody = list(naming.names())
    for named in chance.sample(everybody, min(len(everybody), 200)):
        value = (named.name.encode(), [address.packed for address in named.addresses])
        for label in (named.name, *named.aliases):
            assert core.find(label.encode()) == value
            for other in (label + "0", "0" + label, label.replace("0", ""), label[:-1]):
                there = naming.find(other) if other else None
                found = core.find(other.encode())
                assert (found and found[0]) == (there and there.name.encode())
        for address in named.addresses:
            assert core.find_address(address.packed) == value
            for beside in (address + 1, address - 1, address + 255, address + 65536):
                there = naming.find_address(beside)
                found = core.find_address(beside.packed)
                assert (found and found[0]) == (there and there.name.encode())


@given(st.binary(max_size=80))
@example(b"n" * 64)
@example(b"\xff")
@example(b"1" * 63)
def test_any_label_is_a_name_in_both_or_in_neither(label):
    core = compiled_core(Zones(FELLOWSHIP), b"")
    assert core is not None
    text = label.lower()
    there = FELLOWSHIP.find(text.decode("ascii")) if text.isascii() and b"." not in text else None
    found = core.find(text)
    assert (found and found[0]) == (there and there.name.encode())


PLAIN = [
    ("r01n07.fellow.aero.org", "A"),
    ("R01N07.Fellow.aero.ORG", "A"),
    ("r01n07.fellow.aero.org", "AAAA"),
    ("r01n07.fellow.aero.org", "ANY"),
    ("r01n07.fellow.aero.org", "TYPE65280"),
    ("nis.fellow.aero.org", "A"),
    ("NIS.fellow.AERO.org", "A"),
    ("nis.fellow.aero.org", "CNAME"),
    ("nis.fellow.aero.org", "MX"),
    ("gimli-r03.fellow.aero.org", "A"),
    ("nosuch.fellow.aero.org", "A"),
    ("x.frodo.fellow.aero.org", "A"),
    ("frodo.fellow.aero.org", "MX"),
    ("fellow.aero.org", "SOA"),
    ("fellow.aero.org", "A"),
    ("5.10.in-addr.arpa", "SOA"),
    ("7.1.5.10.in-addr.arpa", "PTR"),
    ("7.1.5.10.IN-addr.arpa", "ANY"),
    ("7.1.5.10.in-addr.arpa", "A"),
    ("1.5.10.in-addr.arpa", "PTR"),
    ("9.5.10.in-addr.arpa", "PTR"),
    ("07.1.5.10.in-addr.arpa", "PTR"),
    ("www.example.com", "A"),
    (".", "A"),
]


@pytest.mark.parametrize(("name", "rdtype"), PLAIN)
@pytest.mark.parametrize(
    "options", [{}, {"use_edns": 0, "payload": 4096}, {"use_edns": 0, "options": [dns.edns.GenericOption(3, b"")]}]
)
def test_plain_questions_need_no_python(name, rdtype, options):
    """So that a change in either does not silently send everything the slow way."""
    core, python = both(FELLOWSHIP)
    packet = dns.message.make_query(name, rdtype, **options).to_wire()
    assert agree(core, python, packet)


@pytest.mark.parametrize("name", ["self", "MASTER"])
def test_personal_answers_are_left_to_python(name):
    core, _ = both(FELLOWSHIP)
    assert core.answer(dns.message.make_query(f"{name}.fellow.aero.org", "A").to_wire()) is None


@pytest.mark.parametrize("name", ["www.example.com", ".", "printer"])
def test_names_elsewhere_are_left_to_python_for_clients_that_want_them_looked_up(name):
    core, python = both(FELLOWSHIP)
    packet = dns.message.make_query(name, "A").to_wire()
    assert core.answer(packet, False, True) is None
    assert python(packet, tcp=False, recursion=True) == packet[:2] + b"oked up elsewhere"
    modest = dns.message.make_query(name, "A", flags=0).to_wire()
    refused = core.answer(modest, False, True)
    assert refused == python(modest, tcp=False, recursion=True)
    assert dns.message.from_wire(refused).flags & dns.flags.RA


@settings(max_examples=200)
@given(st.lists(st.ip_addresses(v=4).map(lambda a: (a, 32)) | st.ip_addresses(v=6).map(lambda a: (a, 128))), st.data())
def test_networks_for_the_core_are_sorted_and_none_lies_in_another(drawn, data):
    networks = [ip_network((a, data.draw(st.integers(1, size))), strict=False) for a, size in drawn]
    packed = packed_networks(networks)
    back = [
        ip_network((packed[at + 2 : at + (6 if packed[at] == 4 else 18)], packed[at + 1]))
        for at in range(0, len(packed), 18)
    ]
    assert [each.version for each in back] == sorted(each.version for each in back)
    assert not [(a, b) for a in back for b in back if a is not b and a.version == b.version and a.overlaps(b)]
    for network in networks:
        assert any(each.version == network.version and network.subnet_of(each) for each in back)


@pytest.mark.parametrize("networks", [b"x", b"\5\1" + b"\0" * 16, b"\4\41" + b"\0" * 16, b"\6\201" + b"\0" * 16])
def test_a_list_of_networks_that_is_not_sound_is_refused(networks):
    image = name_image(Zones(FELLOWSHIP))
    assert image is not None
    with pytest.raises(ValueError, match="the list of networks"):
        opened(image, networks)


def test_a_list_of_networks_with_ipv4_behind_ipv6_is_refused():
    image = name_image(Zones(FELLOWSHIP))
    assert image is not None
    with pytest.raises(ValueError, match="the list of networks"):
        opened(image, b"\6\0" + b"\0" * 16 + b"\4\0" + b"\0" * 16)


def test_replies_that_do_not_fit_are_left_to_python():
    addresses = ", ".join(f'"10.5.0.{number}"' for number in range(1, 41))
    naming = parse(
        b'[cluster]\nname="X"\nzone="x.example"\nnetworks=["10.5.0.0/16"]\nmasters=["big"]\n[hosts]\nbig = ['
        + addresses.encode()
        + b"]\n",
        "big",
    )
    core, python = both(naming)
    packet = dns.message.make_query("big.x.example", "A", use_edns=False).to_wire()
    assert core.answer(packet) is None
    assert dns.message.from_wire(python(packet, tcp=False)).flags & dns.flags.TC
    assert core.answer(packet, True) == python(packet, tcp=True)


def test_what_is_too_large_for_an_image_makes_python_answer_alone(monkeypatch):
    monkeypatch.setattr(name_image_module, "_ADDRESSES", 0)
    zones = Zones(FELLOWSHIP)
    assert name_image(zones) is None
    assert compiled_core(zones, b"") is None
    assert DNSServer(zones).core is None


def test_names_that_were_not_compiled_make_python_answer_alone():
    assert compiled_core(Zones(Names()), b"") is None
    assert compiled_core(UnknownZones(), b"") is None


def test_the_environment_keeps_the_core_out(monkeypatch):
    monkeypatch.setenv(PURE, "1")
    assert compiled_core(Zones(FELLOWSHIP), b"") is None
    assert PURE in str(why_pure())


def test_another_version_is_not_used(monkeypatch):
    monkeypatch.setattr(dns_native, "VERSION", 99)
    assert "make native" in str(why_pure())


def test_an_image_that_c_refuses_leaves_python_alone(monkeypatch, logged_errors):
    monkeypatch.setattr(dns_native, "name_image", lambda _: b"\0" * 400)
    assert compiled_core(Zones(FELLOWSHIP), b"") is None


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 100, 300, 1000, -8, -1])
def test_an_image_cut_short_is_refused(cut):
    image = name_image(Zones(FELLOWSHIP))
    assert image is not None
    with pytest.raises(ValueError, match="the image of names cannot be used"):
        opened(image[:cut])


def test_an_image_of_another_version_or_order_is_refused():
    image = name_image(Zones(FELLOWSHIP))
    assert image is not None
    for change in (
        b"BEONAMEX" + image[8:],
        image[:8] + image[8:12][::-1] + image[12:],
        image[:12] + b"\xff" + image[13:],
    ):
        with pytest.raises(ValueError, match="another version or byte order"):
            opened(change)


def test_an_image_grows_with_the_description_and_not_with_the_nodes():
    def size(count: int) -> int:
        text = (
            '[cluster]\nname="X"\nzone="x.example"\nnetworks=["10.0.0.0/8"]\nmasters=["n0"]\n'
            f'[[nodes]]\nname="n{{node}}"\naddress="10.0.0.1 + {{node}}"\ncount={count}\n'
        )
        image = name_image(Zones(parse(text.encode(), "x")))
        assert image is not None
        return len(image)

    assert size(16_000_000) - size(10) < 2000


def test_hashes_and_keys_are_those_of_c():
    assert fnv(b"a") == 0xE40C292C
    assert shape_key("r#n#-x", (2, 3)) == b"r\x82n\x83-x"


class TestSocket:
    """Draining a socket."""

    @pytest.fixture
    def server(self):
        return DNSServer(Zones(FELLOWSHIP), identity=NSID)

    @pytest.fixture
    def listener(self, server):
        class Reactor:
            def addReader(self, _):
                pass

            removeReader = addReader

        listener = listen_udp(Reactor(), server, "127.0.0.1", 0)
        yield listener
        listener.stopListening()

    @pytest.fixture
    def client(self, listener):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("127.0.0.1", 0))
            client.settimeout(5)
            client.connect((listener.getHost().host, listener.getHost().port))
            yield client

    def test_plain_and_personal_questions_mixed(self, server, listener, client):
        """Each gets its own reply, whoever answered, also within one batch."""
        names = ["r01n01", "self", "r01n02", "master", "nis", "nosuch", "r01n03"] * 30
        queries = {}
        for number, name in enumerate(names):
            query = dns.message.make_query(f"{name}.fellow.aero.org", "A", id=number)
            queries[number] = query
            client.send(query.to_wire())
        for _ in range(len(names)):
            listener.doRead()
        for _ in names:
            reply = dns.message.from_wire(client.recv(4096))
            assert queries.pop(reply.id).is_response(reply)
        counters = server.counters()
        assert (counters.udp, counters.compiled) == (210, 150)
        assert counters.codes == {"NOERROR": 180, "NXDOMAIN": 30}

    @pytest.mark.parametrize(("network", "served"), [
        ("127.0.0.0/8", True), ("127.0.0.1/32", True), ("127.0.0.0/31", True), ("96.0.0.0/3", True),
        ("127.0.0.0/32", False), ("128.0.0.0/1", False), ("::/1", False),
    ])  # fmt: skip
    def test_clients_are_told_apart_by_their_networks(self, network, served):
        """RA is set for those that names elsewhere are looked up for, by the core that drains the socket."""

        class Served(Elsewhere):
            networks = (ip_network("10.0.0.0/8"), ip_network(network), ip_network("fe80::/10"))

        class Reactor:
            def addReader(self, _):
                pass

            removeReader = addReader

        server = DNSServer(Zones(FELLOWSHIP), fallback=Served())
        listener = listen_udp(Reactor(), server, "127.0.0.1", 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", listener.getHost().port))
            for name in ("r01n01.fellow.aero.org", "nosuch.fellow.aero.org"):
                client.send(dns.message.make_query(name, "A").to_wire())
                listener.doRead()
                assert bool(dns.message.from_wire(client.recv(4096)).flags & dns.flags.RA) == served
        assert server.counters().compiled == 2
        listener.stopListening()

    def test_nothing_there(self, listener):
        for _ in range(3):
            listener.doRead()

    @pytest.mark.parametrize("packet", [b"", b"x", b"\xff" * 512, b"\0" * 12])
    def test_malformed_packets_go_to_python(self, packet, server, listener, client):
        client.send(packet)
        listener.doRead()
        counters = server.counters()
        assert (counters.udp, counters.malformed, counters.compiled) == (1, 1, 0)

    def test_a_giant_packet_is_a_malformed_one(self, server, listener, client):
        query = dns.message.make_query("r01n01.fellow.aero.org", "A").to_wire()
        client.send(query + b"x" * 20000)
        listener.doRead()
        assert dns.message.from_wire(client.recv(65535)).rcode() == 1
        assert server.counters().malformed == 1

    def test_the_budget_bounds_a_turn(self, server, listener, client):
        packet = dns.message.make_query("r01n01.fellow.aero.org", "A").to_wire()
        for _ in range(100):
            client.send(packet)
        asked, error = server.core.drain(listener.fileno(), 70)
        assert (asked, error, server.counters().udp) == ([], 0, 70)

    def test_a_closed_socket_is_an_error(self, server, listener):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            fd = other.fileno()
        with pytest.raises(OSError, match="Bad file descriptor"):
            server.core.drain(fd, 10)

    def test_a_reply_that_cannot_be_sent_is_counted_and_the_others_go_out(self, server):
        """A peer with port 0 cannot be reached; nobody else suffers."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending,
        ):
            # Peers of a Unix socket without a name have no address: sending to them fails.
            path = f"\0beonss-test-{os.getpid()}-{random.getrandbits(64):x}"
            receiving.bind(path)
            sending.connect(path)
            sending.send(dns.message.make_query("r01n01.fellow.aero.org", "A").to_wire())
            asked, error = server.core.drain(receiving.fileno(), 10)
        assert asked == []
        assert error
        assert server.counters().unsent == 1

    def test_ipv6_peers_that_python_answers(self, server):
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiving,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sending,
        ):
            receiving.bind(("::1", 0))
            sending.bind(("::1", 0))
            sending.sendto(b"odd", receiving.getsockname())
            asked, _ = server.core.drain(receiving.fileno(), 10)
            assert asked == [(b"odd", sending.getsockname())]

    def test_other_zones_take_over_at_once_and_counters_go_on(self, server, listener, client):
        other = parse(
            b'[cluster]\nname="X"\nzone="fellow.aero.org"\nnetworks=["10.9.0.0/16"]\nmasters=["n0"]\n'
            b'[[nodes]]\nname="n{node}"\naddress="10.9.0.1 - 10.9.0.9"\n',
            "other",
        )
        packet = dns.message.make_query("n3.fellow.aero.org", "A").to_wire()
        codes = []
        for zones in (None, Zones(other), UnknownZones()):
            if zones is not None:
                server.replace(zones)
            client.send(packet)
            listener.doRead()
            codes.append(dns.message.from_wire(client.recv(4096)).rcode())
        assert codes == [3, 0, 2]
        assert server.counters().udp == 3
        assert server.counters().compiled == 2


class TestStream:
    """Answering many messages of a TCP stream at once."""

    @staticmethod
    def framed(*packets: bytes) -> bytes:
        return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)

    def test_it_stops_where_python_must_answer_and_where_a_message_is_not_complete(self):
        core, python = both(FELLOWSHIP)
        plain = dns.message.make_query("r01n01.fellow.aero.org", "A").to_wire()
        absent = dns.message.make_query("nosuch.fellow.aero.org", "A").to_wire()
        personal = dns.message.make_query("self.fellow.aero.org", "A").to_wire()
        data = b"xx" + self.framed(plain, absent, personal, plain)[:-1]
        taken, replies = core.answer_stream(data, 2)
        assert taken == len(self.framed(plain, absent))
        assert replies == self.framed(python(plain, tcp=True), python(absent, tcp=True))
        assert core.answer_stream(bytearray(data), 2 + taken) == (0, b"")
        assert core.answer_stream(data, 2 + taken + len(self.framed(personal))) == (0, b"")
        assert core.counts()[1] == 2

    @pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\0\5abcde", b"\xff\xff", b"\0\x0c" + b"\xff" * 12])
    def test_what_is_no_query_is_left(self, data):
        core, _ = both(FELLOWSHIP)
        assert core.answer_stream(data, 0) == (0, b"")
        assert core.answer_stream(data, 99) == (0, b"")
        assert core.answer_stream(data, -1) == (0, b"")

    def test_one_call_gives_no_more_than_a_client_may_leave_unread(self):
        core, _ = both(FELLOWSHIP)
        query = self.framed(dns.message.make_query("nosuch.fellow.aero.org", "A").to_wire())
        taken, replies = core.answer_stream(query * 1000, 0)
        assert 0 < taken < 1000 * len(query)
        assert taken % len(query) == 0
        assert 16384 <= len(replies) < 16384 + 1234


def test_addresses_at_the_ends_of_their_space():
    """The arithmetic is that of 128 bits without a sign."""
    naming = parse(
        b'[cluster]\nname="X"\nzone="x.example"\nnetworks=["223.255.0.0/16", "fd00::/8"]\nmasters=["n0"]\n'
        b'[[nodes]]\nname="n{node}"\naddress=["223.255.255.1 - 223.255.255.254", '
        b'"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ff02 - fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]\n',
        "ends",
    )
    core, python = both(naming)
    for text in ("223.255.255.254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "223.255.255.1"):
        address = ip_address(text)
        named = naming.find_address(address)
        assert named is not None
        assert core.find_address(address.packed)[0] == named.name.encode()
        for cut in range(34):
            labels = address.reverse_pointer.encode().split(b".")[cut:]
            if len(labels) > 1:
                packet = b"ab\1\0\0\1\0\0\0\0\0\0" + wire(labels) + b"\0\0\x0c\0\1"
                assert agree(core, python, packet)
