"""A channel on a reactor: in order, bounded, and its end is noticed once."""

import os

import pytest
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from beonss.errors import MalformedError
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_link import MOST_WAITING, Link


class End:
    """A link, and the other end of its channel."""

    def __init__(self):
        self.reactor = MemoryReactorClock()
        channel, self.other = channel_pair()
        self.heard, self.lost = [], 0
        self.link = Link(self.reactor, channel, self.hear, self.lose, "the other")

    def hear(self, message):
        if message.kind == "bad":
            raise MalformedError("bad")
        if message.kind == "bug":
            raise ZeroDivisionError
        self.heard.append((message.kind, dict(message.fields), message.payload))

    def lose(self):
        self.lost += 1

    def said(self):
        """Return what the other end can read now."""
        found = []
        while True:
            try:
                message = self.other.receive()
            except BlockingIOError:
                return found
            if message is None:
                return [*found, None]
            found.append(message.kind if not message.payload else message.payload)
            message.close()


@pytest.fixture
def end():
    end = End()
    yield end
    end.link.close()
    end.other.close()


def test_it_is_what_a_reactor_wants(end):
    verifyObject(IReadWriteDescriptor, end.link)
    assert end.link in end.reactor.readers
    assert end.link.logPrefix() == "the other"


def test_messages_arrive_and_the_end_is_told_once(end):
    end.other.send("one", b"x", n=1)
    end.other.send("two")
    end.link.doRead()
    assert end.heard == [("one", {"n": 1}, b"x"), ("two", {}, b"")]
    end.other.close()
    end.link.doRead()
    end.link.doRead()
    end.link.connectionLost(Failure(ZeroDivisionError()))
    assert end.lost == 1
    assert end.link not in end.reactor.readers
    assert end.link.fileno() == -1
    end.link.send("after the end")
    assert not end.link.offer("after the end")


def test_who_takes_nothing_for_a_while_gets_it_later_in_order(end):
    count = 0
    while end.link.offer("full", bytes(50_000)):
        count += 1
    reader, writer = os.pipe()
    end.link.send("a", b"1")
    end.link.send("b", b"2", [writer])
    os.close(writer)
    assert not end.link.offer("never")
    assert end.link in end.reactor.writers
    assert len(end.said()) == count
    end.link.doWrite()
    assert end.said() == [b"1", b"2"]
    assert end.link not in end.reactor.writers
    # The descriptor was copied, sent and closed.
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_who_takes_nothing_at_all_is_given_up(end, logged_errors):
    while end.link.offer("full", bytes(50_000)):
        pass
    for _ in range(MOST_WAITING):
        end.link.send("more")
    assert end.lost == 0
    end.link.send("too much")
    assert end.lost == 1


@pytest.mark.parametrize("nonsense", [b"nonsense", b'{"is":"bad"}\n'])
def test_who_sends_nonsense_is_given_up(end, nonsense):
    end.other.send_bytes(nonsense)
    end.link.doRead()
    assert (end.lost, end.heard) == (1, [])


def test_an_error_of_ours_loses_one_message(end, logged_errors):
    end.other.send("bug")
    end.other.send("fine")
    end.link.doRead()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert end.heard == [("fine", {}, b"")]
    assert end.lost == 0


def test_closing_is_not_losing(end):
    end.link.send("last words")
    end.link.close()
    assert end.lost == 0
    assert end.said() == ["last words", None]


def test_who_cannot_be_given_descriptors_is_given_up(end, monkeypatch):
    while end.link.offer("filler", bytes(60_000)):
        pass
    made, first = [], os.dup

    def few(descriptor):
        if made:
            raise OSError(24, "Too many open files")
        made.append(first(descriptor))
        return made[0]

    monkeypatch.setattr(os, "dup", few)
    end.link.send("zones", descriptors=[0, 0])
    assert end.lost == 1
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(made[0])
