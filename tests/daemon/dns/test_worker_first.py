"""The process that answers until all others do: asked to end, and ended where it does not."""

import signal

import pytest
from twisted.internet.testing import MemoryReactorClock

from beonss.daemon.dns import worker_first, worker_forks
from beonss.daemon.dns.worker_first import PATIENCE, FirstProcess
from beonss.net.dns.worker_channel import channel_pair

PID = 4321


class Bench:
    """Such a process as the test plays it."""

    def __init__(self, monkeypatch):
        self.reactor = MemoryReactorClock()
        self.killed, self.ended, self.heard = [], [], []
        self.there = True
        monkeypatch.setattr(worker_first.os, "kill", lambda *words: self.killed.append(words))
        monkeypatch.setattr(worker_forks.os, "waitpid", lambda pid, _: (0 if self.there else pid, 0))
        ours, self.channel = channel_pair()
        self.first = FirstProcess(
            self.reactor, ours, PID, lambda message: self.heard.append(message.kind), lambda: self.ended.append(True)
        )

    def pump(self):
        for reader in list(self.reactor.readers):
            reader.doRead()

    def end(self):
        self.there = False
        self.channel.close()
        self.pump()


@pytest.fixture
def bench(monkeypatch):
    bench = Bench(monkeypatch)
    yield bench
    bench.there = False
    bench.first.close()
    bench.channel.close()


def test_it_is_asked_once_and_ends(bench):
    bench.first.release()
    bench.first.release()
    assert bench.channel.receive().kind == "stop"
    with pytest.raises(BlockingIOError):
        bench.channel.receive()
    bench.channel.send("datagram")
    bench.end()
    assert (bench.heard, bench.ended) == (["datagram"], [True])
    bench.reactor.advance(PATIENCE)
    assert (bench.killed, bench.ended) == ([], [True])


def test_one_that_is_stuck_is_killed_for_it_has_sockets_of_ours(bench):
    bench.first.release()
    bench.reactor.advance(PATIENCE)
    assert bench.killed == [(PID, signal.SIGKILL)]
    assert bench.ended == [True]


def test_nobody_is_killed_who_was_not_asked_to_end(bench):
    bench.reactor.advance(10 * PATIENCE)
    assert (bench.killed, bench.ended) == ([], [])


def test_it_does_not_outlive_the_daemon(bench):
    closed = bench.first.close()
    assert not closed.called
    for _ in range(worker_forks.LOOKS + 1):
        bench.reactor.advance(worker_forks.LOOK)
    assert closed.called
    assert bench.killed == [(PID, signal.SIGKILL)]
    assert bench.ended == []
