"""What a DNS process hands over of the queries it has taken: in runs, soon, bounded."""

import pytest
from twisted.internet.task import Clock

from beonss.core.zones.query_log import MOST_EVERY
from beonss.errors import MalformedError
from beonss.net.dns.worker_channel import LONGEST, Message
from beonss.net.dns.worker_samples import DELAY, RUN, WorkerSamples
from beonss.wire.query_sample import QUERY_KEPT, Sample, unpack

ONE = Sample(5.0, bytes(16), True, bytes(QUERY_KEPT), bytes(12), 60, 9)


class Link:
    """Takes messages, or does not."""

    def __init__(self):
        self.sent = []
        self.takes = True

    def offer(self, kind, payload=b"", descriptors=(), **fields):
        assert len(payload) + 200 < LONGEST
        if self.takes:
            self.sent.append((kind, len(unpack(payload)), fields))
        return self.takes


def message(**fields):
    return Message("sample", fields)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def link():
    return Link()


@pytest.fixture
def samples(clock, link):
    made = WorkerSamples(clock, link)
    made.ask(message(every=1, seed=7))
    return made


def test_a_moment_later(samples, clock, link):
    samples.tap.arrived([ONE], 0)
    samples.tap.arrived([ONE], 2)
    assert link.sent == []
    clock.advance(DELAY)
    assert link.sent == [("samples", 2, {"missed": 2})]
    clock.advance(10)
    assert len(link.sent) == 1
    assert clock.getDelayedCalls() == []


def test_a_run_is_long_enough(samples, clock, link):
    samples.tap.arrived([ONE] * 3, 0)
    samples.tap.arrived([ONE] * RUN, 0)
    assert link.sent == [("samples", RUN, {"missed": 3})]
    assert clock.getDelayedCalls() == []


def test_what_the_daemon_does_not_take_is_counted(samples, clock, link):
    link.takes = False
    samples.tap.arrived([ONE] * 5, 1)
    clock.advance(DELAY)
    link.takes = True
    samples.tap.arrived([ONE], 0)
    clock.advance(DELAY)
    assert link.sent == [("samples", 1, {"missed": 6})]


def test_the_end_hands_over(samples, clock, link):
    samples.tap.arrived([ONE], 0)
    samples.stop()
    assert link.sent == [("samples", 1, {"missed": 0})]
    assert samples.tap is None
    assert clock.getDelayedCalls() == []


def test_no_more(samples):
    samples.ask(message(every=0, seed=0))
    assert samples.tap is None


@pytest.mark.parametrize("fields", [{}, {"every": -1, "seed": 1}, {"every": MOST_EVERY + 1, "seed": 1}, {"every": 1}])
def test_a_message_that_makes_no_sense(samples, fields):
    with pytest.raises(MalformedError):
        samples.ask(message(**fields))
