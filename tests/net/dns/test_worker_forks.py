"""The process that forks: real processes, which do as little as possible."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.requires import missing

from beonss.errors import ConfigurationError
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_forks import ForkServer as ForkingServer
from beonss.net.dns.worker_forks import fork_off

# Children say that they are there and then do what their number says.
CHILD = """
import os, signal, socket, sys, time
from beonss.net.dns import worker_forks
from beonss.net.dns.worker_channel import Channel
worker_forks.PATIENCE = 0.5
def work(channel, number):
    channel.wait(30)
    channel.send("alive", pid=os.getpid(), group=[os.getppid()])
    if number == 7:
        return 7
    if number == 8:
        raise ZeroDivisionError
    while channel.receive() is not None:
        pass
    if number == 9:
        time.sleep(60)
    return 0
server = worker_forks.ForkServer(Channel(socket.socket(fileno=int(sys.argv[1]))), work)
server.run()
"""


class ForkServer:
    """One that runs, and the daemon's end of its channel."""

    def __init__(self):
        self.channel, its = channel_pair()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(its.fileno())], pass_fds=[its.fileno()], stderr=subprocess.PIPE
        )
        its.close()
        self.channel.wait(30)
        self.channels = []

    def start(self, number):
        """Return a child's channel and process id."""
        ours, its = channel_pair()
        self.channel.send("start", descriptors=[its.fileno()], number=number)
        its.close()
        ours.wait(30)
        message = self.hear()
        assert (message.kind, message.number("number")) == ("started", number)
        self.channels.append(ours)
        alive = ours.receive()
        assert (alive.kind, alive.number("pid")) == ("alive", message.number("pid"))
        return ours, alive.number("pid")

    def hear(self):
        """Return what it says next, besides that it is alive."""
        return next(message for message in iter(self.channel.receive, None) if message.kind != "alive")

    def end(self):
        self.channel.close()
        errors = self.process.communicate(timeout=30)[1]
        assert self.process.returncode == 0, errors
        return errors


@pytest.fixture
def forks():
    server = ForkServer()
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.communicate()
    for channel in (server.channel, *server.channels):
        channel.close()


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_gone(pid):
    deadline = time.monotonic() + 30
    while is_there(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_children_are_made_and_their_end_is_told(forks):
    if not Path("/proc/self/stat").exists():
        missing("the file system /proc")
    for number, status in ((7, 7), (8, 70)):
        _, pid = forks.start(number)
        ended = forks.hear()
        assert (ended.kind, dict(ended.fields)) == ("ended", {"pid": pid, "status": status})
    channel, pid = forks.start(1)
    os.kill(pid, signal.SIGKILL)
    ended = forks.hear()
    assert dict(ended.fields) == {"pid": pid, "status": -9}
    assert channel.receive() is None
    assert b"ZeroDivisionError" in forks.end()


def test_only_children_are_killed(forks):
    channel, pid = forks.start(9)
    forks.channel.send("kill", pid=os.getpid())
    forks.channel.send("kill", pid=1)
    forks.channel.send("kill", pid=pid)
    assert dict(forks.hear().fields) == {"pid": pid, "status": -9}
    assert channel.receive() is None
    # Now the number may be anybody's.
    forks.channel.send("kill", pid=pid)
    forks.start(1)
    assert forks.end() == b""


def test_no_child_is_left_when_the_daemon_is_gone_not_even_a_stuck_one(forks):
    """The channels of all are closed at the same time, as the kernel does when the daemon is killed."""
    channels = [forks.start(number) for number in (1, 2, 9)]
    for channel, _ in channels:
        channel.close()
    forks.end()
    for _, pid in channels:
        await_gone(pid)


def test_it_gives_signs_of_life_though_nobody_asks_for_anything(forks):
    assert [forks.channel.receive().kind for _ in range(2)] == ["alive", "alive"]


def test_nonsense_ends_it(forks):
    _, pid = forks.start(1)
    forks.channel.send_bytes(b"nonsense")
    forks.process.communicate(timeout=30)
    await_gone(pid)


def test_a_child_has_none_of_its_siblings_channels(forks):
    """Or the daemon's end of one would stay open after the daemon."""
    channels = [forks.start(number) for number in (1, 2, 3)]
    for channel, pid in channels:
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        assert sum(name.startswith("socket:") for name in opened) == 1
        channel.close()
    forks.end()


def test_the_real_one_starts_by_itself():
    """As a program: it loads, makes a process that answers the channel, and ends with it."""
    ours, its = channel_pair()
    process = subprocess.Popen(
        [sys.executable, "-m", "beonss.net.dns.worker_forks", str(its.fileno())], pass_fds=[its.fileno()]
    )
    its.close()
    ours.wait(60)
    channel, other = channel_pair()
    ours.send("start", descriptors=[other.fileno()], number=5)
    other.close()
    while (message := ours.receive()).kind == "alive":
        pass
    pid = message.number("pid")
    channel.wait(60)
    assert channel.receive().kind == "counters"
    with contextlib.suppress(OSError):
        assert Path(f"/proc/{pid}/comm").read_text() == "beonss-dns5\n"
    channel.close()
    while (message := ours.receive()).kind == "alive":
        pass
    assert dict(message.fields) == {"pid": pid, "status": 0}
    ours.close()
    assert process.wait(timeout=30) == 0


def test_where_no_more_processes_are_allowed_it_says_so_and_lives_on(monkeypatch):
    """The channel is closed, as if a process had ended at once; the same where there is no room for the channel."""

    def fork():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    ours, its = channel_pair()
    server = ForkingServer(its, lambda channel, number: 0)
    channel, other = channel_pair()
    try:
        ours.send("start", descriptors=[other.fileno()], number=5)
        other.close()
        ours.send("start", number=6)
        assert server._obey()
        channel.wait(10)
        assert channel.receive() is None
        told = [ours.receive() for _ in range(2)]
        assert [(each.kind, each.number("number")) for each in told] == [("failed", 5), ("failed", 6)]
        assert told[0].fields["error"] == os.strerror(errno.EAGAIN)
        assert told[1].fields["error"] == os.strerror(errno.EMFILE)
    finally:
        for each in (ours, its, channel, server._signals, server._waker):
            each.close()


def test_where_no_more_processes_are_allowed_the_start_says_so(monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(ConfigurationError, match=r"no process can be made for DNS: .*--dns-workers 0"):
        fork_off(lambda: 0)
