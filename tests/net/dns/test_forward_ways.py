"""The ways to an upstream over real sockets of this machine."""

import contextlib
import socket
import struct
from ipaddress import ip_address

import pytest
import pytest_twisted
from ports import free_port
from twisted.internet import reactor as running
from twisted.internet.defer import Deferred

from beonss.core.zones.forwarding import Upstream
from beonss.net.dns.forward_ways import RealWays

HOSTS = ["127.0.0.1", "::1"]


@pytest.fixture
def reactor():
    """The reactor of these tests is the real one."""
    return running


async def turn():
    """Let the reactor have a turn."""
    deferred = Deferred()
    running.callLater(0.001, deferred.callback, None)
    await deferred


async def until(call, *arguments):
    """Try a call on a socket that does not block until it succeeds."""
    for _ in range(10_000):
        with contextlib.suppress(BlockingIOError):
            return call(*arguments)
        await turn()
    raise AssertionError("nothing came")


async def accepted(listening):
    """Return the next connection; it does not block."""
    listening.setblocking(False)
    stream, _ = await until(listening.accept)
    stream.setblocking(False)
    return stream


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.fixture(params=HOSTS)
def peer(request):
    """A bound UDP socket, and a listening TCP socket at the same port."""
    host = request.param
    with contextlib.ExitStack() as stack:
        try:
            udp = stack.enter_context(socket.socket(family(host), socket.SOCK_DGRAM))
            udp.bind((host, free_port(host) if host == "127.0.0.1" else 0))
        except OSError:
            pytest.skip("no IPv6 on this machine")
        tcp = stack.enter_context(socket.create_server((host, udp.getsockname()[1]), family=family(host)))
        for each in (udp, tcp):
            each.settimeout(10)
        yield Upstream(ip_address(host), udp.getsockname()[1]), udp, tcp


class Ears:
    """Hears what a way has to say."""

    def __init__(self):
        self.packets = []
        self.next = Deferred()
        self.lost = Deferred()

    def received(self, packet):
        self.packets.append(packet)
        if not self.next.called:
            self.next.callback(packet)


@pytest_twisted.ensureDeferred
async def test_udp_takes_what_comes_from_there_and_nothing_else(reactor, peer):
    upstream, udp, _ = peer
    ears = Ears()
    way = RealWays(reactor).udp(upstream, ears.received, ears.lost.callback)
    way.send(b"question")
    packet, client = udp.recvfrom(100)
    assert packet == b"question"
    with socket.socket(udp.family, socket.SOCK_DGRAM) as stranger:
        stranger.bind((str(upstream.address), 0))
        stranger.sendto(b"forged", client)
        udp.sendto(b"answer", client)
        assert await ears.next == b"answer"
    way.send(b"again")
    assert udp.recvfrom(100) == (b"again", client)
    way.close()
    way.close()
    assert ears.packets == [b"answer"]
    assert way.fileno() == -1


@pytest_twisted.ensureDeferred
async def test_each_question_has_a_port_of_its_own(reactor, peer):
    upstream, udp, _ = peer
    ways = [RealWays(reactor).udp(upstream, print, print) for _ in range(20)]
    ports = set()
    for way in ways:
        way.send(b"x")
        ports.add(udp.recvfrom(100)[1][1])
        way.close()
    assert len(ports) == 20


@pytest.mark.parametrize("host", HOSTS)
@pytest_twisted.ensureDeferred
async def test_nobody_there_is_told_at_once(reactor, host):
    upstream = Upstream(ip_address(host), free_port())
    for kind in ("udp", "tcp"):
        ears = Ears()
        ways = RealWays(reactor)
        if kind == "udp":
            way = ways.udp(upstream, ears.received, ears.lost.callback)
        else:
            way = ways.tcp(upstream, ears.received, ears.lost.callback, 20.0)
        way.send(b"question")
        assert "refused" in (await ears.lost)
        way.close()


@pytest_twisted.ensureDeferred
async def test_tcp_asks_once_and_takes_the_reply_in_pieces(reactor, peer):
    upstream, _, tcp = peer
    ears = Ears()
    way = RealWays(reactor).tcp(upstream, ears.received, ears.lost.callback, 20.0)
    way.send(b"question")
    stream = await accepted(tcp)
    with stream:
        assert await until(stream.recv, 100) == struct.pack("!H", 8) + b"question"
        for piece in (b"\0", b"\6ans", b"wer", b"\0\3new"):
            stream.sendall(piece)
        assert await ears.next == b"answer"
    assert ears.packets == [b"answer"]
    assert not ears.lost.called


@pytest_twisted.ensureDeferred
async def test_tcp_that_ends_early_is_lost_and_one_that_was_closed_says_nothing(reactor, peer):
    upstream, _, tcp = peer
    ears = Ears()
    RealWays(reactor).tcp(upstream, ears.received, ears.lost.callback, 20.0).send(b"question")
    stream = await accepted(tcp)
    stream.sendall(b"\0\6ans")
    stream.close()
    assert await ears.lost
    quiet = Ears()
    way = RealWays(reactor).tcp(upstream, quiet.received, quiet.lost.callback, 20.0)
    way.close()
    way.close()
    for _ in range(20):
        await turn()
    assert not quiet.lost.called


@pytest_twisted.ensureDeferred
async def test_an_error_in_whoever_listens_ends_nothing(reactor, peer, logged_errors):
    upstream, udp, _ = peer
    ears = Ears()

    def received(packet):
        ears.received(packet)
        if packet == b"bad":
            raise ZeroDivisionError("a bug")

    way = RealWays(reactor).udp(upstream, received, ears.lost.callback)
    way.send(b"question")
    _, client = udp.recvfrom(100)
    udp.sendto(b"bad", client)
    await ears.next
    ears.next = Deferred()
    udp.sendto(b"good", client)
    assert await ears.next == b"good"
    assert logged_errors.flush(ZeroDivisionError)
    way.close()
