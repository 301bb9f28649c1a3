"""The daemon's side of the process that forks, which the test plays; time is set by hand."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher

from beonss.daemon.dns import worker_forks
from beonss.daemon.dns.worker_forks import AGAIN, DEAD, NEVER, STEADY, Forks, buried
from beonss.net.dns.worker_channel import Channel


class Bench:
    """A daemon's side, and the other ends of its channels, one for each fork server."""

    def __init__(self):
        self.reactor = MemoryReactorClock()
        self.servers = []
        self.full = False
        self.told = []
        self.forks = Forks(self.reactor, None, lambda *told: self.told.append(told), spawn=self.spawn)

    def spawn(self, channel):
        if self.full:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.servers.append(Channel(socket.socket(fileno=os.dup(channel.fileno()))))
        return 0

    def pump(self):
        for reader in list(self.reactor.readers):
            reader.doRead()

    def read(self):
        """Return kind and fields of all that the latest fork server was told, and the channels it was given."""
        found, channels = [], []
        while True:
            try:
                message = self.servers[-1].receive()
            except BlockingIOError:
                return found, channels
            if message is None:
                return [*found, None], channels
            found.append((message.kind, dict(message.fields)))
            channels += message.take()

    def say(self, kind, **fields):
        self.servers[-1].send(kind, **fields)
        self.pump()

    def lose(self):
        self.servers[-1].close()
        self.pump()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.forks.stop()
    for server in bench.servers:
        server.close()


@pytest.fixture
def killed(monkeypatch):
    """Return what would have been killed."""
    found = []
    monkeypatch.setattr(worker_forks.os, "kill", lambda pid, number: found.append((pid, number)))
    return found


def is_open(channel):
    try:
        return channel.receive() is not None
    except BlockingIOError:
        return True


def test_one_that_gives_no_sign_of_life_is_replaced(bench, killed):
    bench.forks._pid = 4321
    bench.say("alive")
    for _ in range(DEAD - 1):
        bench.forks.look()
    bench.say("alive")
    for _ in range(DEAD - 1):
        bench.forks.look()
    assert killed == []
    bench.forks.look()
    assert killed == [(4321, signal.SIGKILL)]
    assert bench.forks.lost == 1
    bench.reactor.advance(AGAIN)
    assert len(bench.servers) == 2


def test_one_that_has_just_been_started_has_time_to_load(bench):
    for _ in range(NEVER - 1):
        bench.forks.look()
    assert bench.forks.lost == 0
    bench.forks.look()
    assert bench.forks.lost == 1


def test_one_that_had_run_for_a_while_is_replaced_at_once_and_others_a_little_later(bench):
    bench.reactor.advance(STEADY)
    bench.lose()
    bench.reactor.advance(0)
    assert len(bench.servers) == 2
    bench.lose()
    bench.reactor.advance(0)
    assert len(bench.servers) == 2
    bench.reactor.advance(AGAIN)
    assert len(bench.servers) == 3


def test_what_is_to_be_made_waits_for_the_next_one(bench):
    """Nobody takes it for a process that ended, and was started too often."""
    bench.lose()
    bench.full = True
    bench.reactor.advance(AGAIN)
    ours = bench.forks.start(5)
    assert is_open(ours)
    bench.full = False
    bench.reactor.advance(AGAIN)
    told, (descriptor,) = bench.read()
    assert told == [("start", {"number": 5})]
    assert is_open(ours)
    os.close(descriptor)
    assert not is_open(ours)
    ours.close()


def test_what_still_waits_at_the_end_is_told_that_nobody_comes(bench):
    bench.lose()
    ours = bench.forks.start(5)
    bench.forks.stop()
    assert not is_open(ours)
    ours.close()
    late = bench.forks.start(6)
    assert not is_open(late)
    late.close()


def test_a_process_of_a_lost_one_is_killed_by_the_daemon_itself_if_it_surely_is_that_process(bench, killed):
    bench.say("started", number=1, pid=1001)
    bench.say("started", number=2, pid=1002)
    bench.say("started", number=3, pid=1003)
    bench.forks.kill(1001)
    assert bench.read() == ([("kill", {"pid": 1001})], [])
    bench.forks.pids.pop(1)
    bench.lose()
    bench.reactor.advance(AGAIN)
    # Its channel is closed: the number may be anybody's by now.
    bench.forks.kill(1003, known=False)
    assert (killed, bench.read()) == ([], ([], []))
    bench.forks.kill(1002)
    assert killed == [(1002, signal.SIGKILL)]
    # The next one has made another process with that number.
    bench.forks.kill(1002)
    assert bench.read() == ([("kill", {"pid": 1002})], [])


def test_one_that_is_stopped_does_not_outlive_the_daemon(bench):
    """Its end is waited for, and then no more."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    bench.forks._pid = child.pid
    ended = bench.forks.stop()
    deadline = time.monotonic() + 30
    while child.poll() is None:
        assert time.monotonic() < deadline
        bench.reactor.advance(worker_forks.LOOK)
    assert ended.called
    assert child.wait() in {-signal.SIGKILL, 0}


def test_burying_tells_whether_it_has_ended():
    reactor = MemoryReactorClock()
    found = []
    buried(reactor, 0).addCallback(found.append)
    buried(reactor, 1).addCallback(found.append)
    assert found == [True, True]
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    buried(reactor, child.pid, 2).addCallback(found.append)
    reactor.pump([worker_forks.LOOK] * 3)
    assert found == [True, True, False]
    child.kill()
    child.wait()


def test_what_the_system_does_not_allow_is_in_the_log(bench):
    found = []
    globalLogPublisher.addObserver(found.append)
    try:
        bench.say("failed", number=5, error="Resource temporarily unavailable")
    finally:
        globalLogPublisher.removeObserver(found.append)
    assert [formatEvent(event) for event in found] == [
        "DNS: the system allows no process 5: Resource temporarily unavailable; allow more processes or open files"
    ]
    assert bench.forks.lost == 0
