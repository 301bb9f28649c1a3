"""Names elsewhere, looked up through our server: by unbound, by NSD, and in spite of a hostile server."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from ports import free_port
from support.dns_process import EXAMPLE, DNSProcess, dns_process
from support.upstreams import Hostile, Upstream, hostile, nsd, unbound

KINDS = [
    ("www.site.example", "A"), ("www.site.example", "AAAA"), ("WWW.Site.Example", "A"), ("www.site.example", "MX"),
    ("www.site.example", "ANY"), ("alias.site.example", "A"), ("alias.site.example", "CNAME"),
    ("lost.site.example", "A"), ("mail.site.example", "MX"), ("odd.site.example", "TYPE65280"),
    ("svc.site.example", "HTTPS"), ("deep.a.b.c.site.example", "TXT"), ("b.c.site.example", "A"),
    ("x.wild.site.example", "A"), ("no.such.site.example", "A"), ("big.site.example", "TXT"),
    ("9.9.198.51.in-addr.arpa", "PTR"), ("site.example", "SOA"), ("www.site.example", "TYPE64000"),
]  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """NSD."""
    with nsd(tmp_path_factory.mktemp("nsd")) as server:
        yield server


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory, authority: Upstream) -> Iterator[Upstream]:
    """Unbound in front of it."""
    with unbound(tmp_path_factory.mktemp("unbound"), authority.port) as server:
        yield server


@pytest.fixture(scope="module")
def enemy() -> Iterator[Hostile]:
    """The hostile server."""
    with hostile() as server:
        yield server


def described(directory: Path, forward: str) -> Path:
    """Return the Fellowship's description, with upstreams and an alias that leads to them."""
    path = directory / "cluster.toml"
    records = '[dns]\nrecords = "outside CNAME www.site.example.\\nnowhere CNAME no.such.site.example."\n'
    path.write_text(EXAMPLE.read_text() + "\n" + records + "[dns.forward]\n" + forward)
    return path


def at(*ports: int) -> str:
    return "[" + ", ".join(f'{{ address = "127.0.0.1", port = {port} }}' for port in ports) + "]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, resolver: Upstream) -> Iterator[DNSProcess]:
    """Ours, with unbound as its only upstream."""
    directory = tmp_path_factory.mktemp("ours")
    with dns_process(described(directory, f"upstreams = {at(resolver.port)}\n")) as process:
        yield process


def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 20, **options):
    query = dns.message.make_query(name, kind, **{"use_edns": 0, "payload": 1232, **options})
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, "127.0.0.1", port=port, timeout=timeout)


def content(reply: dns.message.Message):
    """Return what a reply says, apart from TTLs and the order of records."""
    return (
        reply.rcode(),
        {(str(rrset.name).lower(), rrset.rdtype, frozenset(rrset)) for rrset in reply.answer},
        {(str(rrset.name).lower(), rrset.rdtype, frozenset(rrset)) for rrset in reply.authority},
    )


def addresses(reply: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset if rrset.rdtype == 1]


def reasons(reply: dns.message.Message) -> list[int]:
    return [int(option.code) for option in reply.options if isinstance(option, dns.edns.EDEOption)]


def fallback(server: DNSProcess) -> dict[str, int]:
    return server.counters()["fallback"]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("tcp", [False, True])
def test_through_us_and_from_unbound_is_the_same(server, resolver, name, kind, tcp):
    """First from unbound, then from memory; over UDP and TCP."""
    theirs = ask(resolver.port, name, kind, tcp=tcp)
    for _ in range(2):
        ours = ask(server.port, name, kind, tcp=tcp)
        assert ours.flags & dns.flags.RA
        assert not ours.flags & dns.flags.AA
        if not tcp and name.startswith("big"):
            assert ours.flags & dns.flags.TC
            assert not ours.answer
        else:
            assert content(ours) == content(theirs)
            assert ours.question == theirs.question


def test_ours_are_still_ours_and_nothing_private_leaves(server):
    before = fallback(server)
    ours = ask(server.port, "r01n07.fellow.aero.org")
    assert (addresses(ours), bool(ours.flags & dns.flags.AA), bool(ours.flags & dns.flags.RA)) == (
        ["10.5.1.7"],
        True,
        True,
    )
    for name in ("printer", "1.1.168.192.in-addr.arpa", "x.local", "1.0.6.10.in-addr.arpa"):
        assert ask(server.port, name).rcode() == dns.rcode.NXDOMAIN
    after = fallback(server)
    assert after["asked"] == before["asked"]
    assert after["kept_here"] == before["kept_here"] + 4


def test_an_alias_of_ours_is_followed(server):
    for tcp in (False, True):
        reply = ask(server.port, "outside.fellow.aero.org", tcp=tcp)
        assert reply.answer[0].to_text().endswith("CNAME www.site.example.")
        assert addresses(reply) == ["192.0.2.80"]
    assert ask(server.port, "nowhere.fellow.aero.org").rcode() == dns.rcode.NXDOMAIN
    plain = ask(server.port, "outside.fellow.aero.org", flags=0)
    assert (len(plain.answer), addresses(plain)) == (1, [])
    assert len(ask(server.port, "outside.fellow.aero.org", "CNAME").answer) == 1


def test_nsd_for_its_own_zone_and_nothing_else(tmp_path, authority):
    """A route to an authoritative server, and none for everything else."""
    text = f'networks = ["192.0.2.0/24"]\n[dns.forward.zones]\n"Site.example." = {at(authority.port)}\n'
    with dns_process(described(tmp_path, text)) as server:
        for name, kind in KINDS:
            ours, theirs = (ask(port, name, kind, tcp=True) for port in (server.port, authority.port))
            if name.endswith("arpa"):
                assert ours.rcode() == dns.rcode.REFUSED
            else:
                assert content(ours) == content(theirs), (name, kind)


def test_a_dead_upstream_is_passed_over(tmp_path, resolver):
    """Nobody listens at the first; the second stays silent; only the first questions notice."""
    with hostile() as silent:
        silent.mute = True
        ports = (free_port(), silent.port, resolver.port)
        with dns_process(described(tmp_path, f"upstreams = {at(*ports)}\n")) as server:
            assert addresses(ask(server.port, "x.wild.site.example")) == ["192.0.2.81"]
            deadline = time.monotonic() + 60
            number = 0
            while True:
                number += 1
                before = fallback(server)
                assert addresses(ask(server.port, f"x{number}.wild.site.example")) == ["192.0.2.81"]
                after = fallback(server)
                if after["asked"] - before["asked"] == 1 and after["down"] == 2:
                    break
                assert time.monotonic() < deadline, after
            assert server.command("counters")["failures"] == 0


def test_when_the_uplink_is_lost_the_last_word_stands_and_then_it_is_back(tmp_path, tmp_path_factory, authority):
    with contextlib.ExitStack() as stack:
        uplink = stack.enter_context(unbound(tmp_path_factory.mktemp("uplink"), authority.port))
        server = stack.enter_context(dns_process(described(tmp_path, f"upstreams = {at(uplink.port)}\n")))
        assert addresses(ask(server.port, "short.site.example")) == ["192.0.2.82"]
        uplink.stop()

        def until(done) -> dns.message.Message:
            deadline = time.monotonic() + 60
            while not done(reply := ask(server.port, "short.site.example")):
                assert time.monotonic() < deadline, reply
                time.sleep(0.05)
            return reply

        stale = until(reasons)
        assert (addresses(stale), reasons(stale), stale.answer[0].ttl <= 30) == (["192.0.2.82"], [3], True)
        unknown = ask(server.port, "www.site.example")
        assert unknown.rcode() == dns.rcode.SERVFAIL
        uplink.start()
        fresh = until(lambda reply: not reasons(reply))
        assert addresses(fresh) == ["192.0.2.82"]
        deadline = time.monotonic() + 60
        while addresses(ask(server.port, "www.site.example")) != ["192.0.2.80"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, enemy: Hostile) -> Iterator[DNSProcess]:
    """Ours, with the hostile server as its only upstream."""
    with dns_process(described(tmp_path_factory.mktemp("attacked"), f"upstreams = {at(enemy.port)}\n")) as process:
        yield process


class TestHostile:
    """An upstream that does all it can."""

    @pytest.mark.parametrize("word", ["plain", "id", "flood", "name", "junk", "loop", "port", "echo"])
    def test_what_is_not_the_reply_changes_nothing(self, attacked, word):
        for number in range(5):
            reply = ask(attacked.port, f"{word}-{number}.example.net")
            assert addresses(reply) == ["192.0.2.99"]
            assert addresses(ask(attacked.port, f"{word}-{number}.example.net")) == ["192.0.2.99"]

    def test_it_is_counted(self, attacked):
        before = fallback(attacked)
        for word in ("id", "flood", "name", "junk"):
            ask(attacked.port, f"{word}-counted.example.net")
        after = fallback(attacked)
        assert after["mismatched"] - before["mismatched"] >= 19 + 50 + 1 + 6
        assert after["malformed"] > before["malformed"]
        assert after["tcp"] > before["tcp"]

    @pytest.mark.parametrize("word", ["silent", "servfail", "trickle", "cut"])
    def test_what_gives_no_answer_is_servfail_in_the_end(self, attacked, word):
        assert ask(attacked.port, f"{word}-1.example.net").rcode() == dns.rcode.SERVFAIL

    def test_sixty_kilobytes_are_relayed(self, attacked):
        reply = ask(attacked.port, "huge-1.example.net", tcp=True)
        assert len(addresses(reply)) == 3001

    def test_a_flood_of_names_that_nobody_answers_leaves_the_rest_alone(self, attacked):
        """Two thousand questions at once, while others are answered, ours and not ours."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            flood.bind(("127.0.0.1", 0))
            flood.connect(("127.0.0.1", attacked.port))
            for number in range(2000):
                flood.send(dns.message.make_query(f"silent-{number}.flooded.example", "A").to_wire())
                if number % 100 == 0:
                    assert addresses(ask(attacked.port, "r01n07.fellow.aero.org")) == ["10.5.1.7"]
                    assert addresses(ask(attacked.port, f"plain-x{number}.example.net")) == ["192.0.2.99"]
            counted = fallback(attacked)
            assert counted["turned_away"] > 1000
            assert counted["pending"] <= 256
        deadline = time.monotonic() + 60
        while fallback(attacked)["pending"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
