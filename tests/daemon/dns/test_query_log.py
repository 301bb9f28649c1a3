"""Who follows the queries, and what each gets: bounded, counted, and nothing where nobody follows."""

from ipaddress import ip_network

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from beonss.core.zones.query_log import Wanted
from beonss.daemon.dns import query_log
from beonss.daemon.dns.query_log import ALIVE, QueryLog, query_log_operation
from beonss.errors import MalformedError, Refused
from beonss.wire.query_sample import Sample, record_of


def query(name="r01n01", kind=1, client=b"\x0a\x05\1\7"):
    labels = b"".join(bytes([len(label)]) + label for label in [name.encode(), b"example"])
    packet = bytes(4) + b"\0\1" + bytes(6) + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"
    return Sample(5.0, client, False, packet, packet[:2] + b"\x84\0" + bytes(8), 60, 9)


class Answering:
    """Notes the taps it gets."""

    def __init__(self):
        self.taps = []

    def watch(self, tap):
        self.taps.append(tap)

    @property
    def tap(self):
        return self.taps[-1] if self.taps else None


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def answering():
    return Answering()


@pytest.fixture
def log(answering, clock):
    return QueryLog(answering, clock.seconds, lambda: 7)


def follow(log, every=1, wanted=None):
    got = []
    follower = log.follow(every, wanted or Wanted(), lambda record: not got.append(record))
    return follower, got


class TestTap:
    """There is one tap for all who follow, and none for nobody."""

    def test_it_comes_and_goes(self, log, answering):
        assert answering.taps == []
        first, _ = follow(log, 100)
        assert answering.tap.every == 100
        second, _ = follow(log, 10)
        assert answering.tap.every == 10
        third, _ = follow(log, 50)
        assert len(answering.taps) == 2
        second.close()
        second.close()
        assert answering.tap.every == 50
        first.close()
        third.close()
        assert answering.tap is None

    def test_each_gets_its_share(self, log):
        """One who wants all and one who wants one of ten look at the same samples."""
        _, every = follow(log, 1)
        _, some = follow(log, 10)
        for _ in range(1500):
            log.deliver([query()], 0)
        assert len(every) == 1500
        assert 100 < len(some) < 200

    def test_no_more_than_a_few_follow(self, log):
        followers = [follow(log)[0] for _ in range(8)]
        with pytest.raises(Refused, match="8 follow the queries already"):
            follow(log)
        followers[0].close()
        follow(log)

    def test_the_end(self, log, answering):
        follower, _ = follow(log)
        log.stop()
        assert follower.ended.called
        assert answering.tap is None
        with pytest.raises(Refused):
            follow(log)


class TestBounds:
    """What is left out is counted."""

    def test_what_had_no_room_where_it_was_taken(self, log):
        follower, got = follow(log)
        log.deliver([query()], 41)
        assert (len(got), follower.told, follower.missed) == (1, 1, 41)

    def test_lines_per_second(self, log, clock):
        follower, got = follow(log)
        for _ in range(5000):
            log.deliver([query()], 0)
        assert len(got) == follower.told == 2000
        assert follower.missed == 3000
        clock.advance(1)
        log.deliver([query()] * 1500, 0)
        assert len(got) == 3000

    def test_looks_per_second(self, log, monkeypatch):
        """A filter that nothing passes must not cost without end."""
        looked = []
        monkeypatch.setattr(query_log, "record_of", lambda sample: (looked.append(1), record_of(sample))[1])
        follower, got = follow(log, wanted=Wanted(types=frozenset({"NONE"})))
        for _ in range(100):
            log.deliver([query()] * 64, 0)
        assert (len(looked), got) == (query_log.LOOKS_AT_ONCE, [])
        assert follower.missed == 6400 - query_log.LOOKS_AT_ONCE

    def test_what_is_not_wanted_is_not_missed(self, log):
        follower, got = follow(log, wanted=Wanted([ip_network("10.9.0.0/16")]))
        log.deliver([query(), query(client=b"\x0a\x09\0\1")], 0)
        assert (len(got), follower.missed) == (1, 0)


class Peer:
    """An asker who may stop to read."""

    def __init__(self):
        self.waiter = None

    def drained(self):
        return succeed(None) if self.waiter is None else self.waiter


class TestOperation:
    """What beonss querylog talks to."""

    @pytest.fixture
    def asker(self, clock, log):
        class Asker:
            def __init__(self):
                self.peer = Peer()

            def ask(self, **parameters):
                operation = query_log_operation(clock, log)["querylog"]
                assert operation.needs_root
                assert operation.cancellable
                self.events, self.ends = [], []
                running = Deferred.fromCoroutine(
                    operation.run(parameters, self.peer, lambda event, /, **data: self.events.append((event, data)))
                )
                running.addBoth(self.ends.append)
                return running

        return Asker()

    def test_queries_as_they_come_and_the_end(self, asker, log, clock, answering):
        asker.ask(seconds=10)
        log.deliver([query("a"), query("b")], 0)
        assert [(name, data["name"]) for name, data in asker.events] == [("query", "a.example"), ("query", "b.example")]
        clock.advance(9)
        assert asker.ends == []
        clock.advance(1)
        assert asker.ends == [{"told": 2, "dropped": 0}]
        assert answering.tap is None
        assert clock.getDelayedCalls() == []

    def test_filters(self, asker, log):
        asker.ask(clients=["10.5.1.0/24", "fd00::1"], name="R*.example.", types=["aaaa"])
        log.deliver([query(), query("x", 28), query("r02", 28), query("r02", 28, b"\x0a\x06\0\1")], 0)
        assert [data["name"] for _, data in asker.events] == ["r02.example"]

    def test_an_asker_who_does_not_read_is_not_waited_for(self, asker, log, clock):
        asker.ask()
        asker.peer.waiter = Deferred()
        log.deliver([query()] * 5, 0)
        clock.advance(1)
        assert asker.events == []
        waiter, asker.peer.waiter = asker.peer.waiter, None
        waiter.callback(None)
        log.deliver([query()], 0)
        clock.advance(1)
        assert [name for name, _ in asker.events] == ["query", "dropped"]
        assert asker.events[1][1] == {"queries": 5}
        clock.advance(1)
        assert len(asker.events) == 2

    def test_silence_is_told_from_death(self, asker, clock):
        asker.ask()
        clock.pump([1] * (ALIVE * 2))
        assert asker.events == [("dropped", {"queries": 0})] * 2

    def test_an_asker_who_goes(self, asker, clock, answering, log):
        running = asker.ask(seconds=60)
        running.cancel()
        assert answering.tap is None
        assert clock.getDelayedCalls() == []
        assert len(asker.ends) == 1

    def test_the_daemon_ends(self, asker, log, clock):
        asker.ask()
        log.stop()
        assert asker.ends == [{"told": 0, "dropped": 0}]
        assert clock.getDelayedCalls() == []

    @pytest.mark.parametrize(
        "parameters",
        [
            {"sample": 0}, {"sample": 10**7}, {"sample": True}, {"sample": "1"}, {"seconds": 0}, {"seconds": -1},
            {"seconds": float("nan")}, {"seconds": 1e9}, {"seconds": "1"}, {"name": ""}, {"name": 5},
            {"name": "x" * 256},
            {"clients": "10.0.0.1"}, {"clients": ["10.0.0.0/33"]}, {"clients": [5]}, {"clients": ["10.0.0.1"] * 65},
            {"types": "A"}, {"types": ["x" * 65]}, {"types": ["FOO"]}, {"types": None},
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_said(self, asker, parameters, answering):
        asker.ask(**parameters)
        assert asker.ends[0].check(MalformedError)
        assert answering.taps == []
