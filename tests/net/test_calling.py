"""Calling again and again: how long between two tries, and when at once. No sockets: a clock and a fake reactor."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Nobody
from twisted.internet.testing import MemoryReactorClock

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.calling import Caller, backoff, client_endpoint
from beonss.net.connection import Connection, Timing

TIMING = Timing(backoff=(0.2, 15.0))


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_grow_and_stay_within_bounds(tries: int, chance: float) -> None:
    wait = backoff(tries, TIMING.backoff, lambda: chance)
    assert 0.1 <= wait <= 15.0
    assert wait <= backoff(tries + 1, TIMING.backoff, lambda: chance)


def test_waits_are_jittered_so_that_many_do_not_come_at_once() -> None:
    waits = {backoff(5, TIMING.backoff, lambda x=x: x / 10) for x in range(10)}
    assert len(waits) == 10


@pytest.mark.parametrize(
    ("host", "kind"), [("10.5.0.1", TCP4ClientEndpoint), ("fd00::1", TCP6ClientEndpoint), ("frodo", HostnameEndpoint)]
)
def test_addresses_are_not_looked_up(host: str, kind: type) -> None:
    """A master must reach the others when nothing resolves: it is what resolves."""
    assert isinstance(client_endpoint(MemoryReactorClock(), Endpoint(host, 1), 1.0), kind)


class Calls:
    """A caller on a fake reactor that refuses every connection."""

    def __init__(self, *places: str) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.reasons: list[str] = []
        self.places = [Endpoint(place, 7653) for place in places]
        self.caller = Caller(
            self.reactor,
            identity=None,
            timing=TIMING,
            places=lambda: self.places,
            make=lambda _: Connection(self.reactor, TIMING),
            gone=self.reasons.append,
            uniform=lambda: 0.0,
        )

    def refuse(self) -> None:
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Nobody())

    @property
    def hosts(self) -> list[str]:
        return [client[0] for client in self.reactor.tcpClients]


def test_all_places_are_tried_in_order_then_it_waits_longer_each_time() -> None:
    calls = Calls("10.5.0.1", "10.5.0.2")
    calls.caller.start()
    for wait in (0.1, 0.2, 0.4):
        calls.refuse()
        calls.refuse()
        tried = len(calls.hosts)
        calls.reactor.advance(wait - 0.01)
        assert len(calls.hosts) == tried
        calls.reactor.advance(0.02)
        assert len(calls.hosts) == tried + 1
    assert calls.hosts[:4] == ["10.5.0.1", "10.5.0.2"] * 2
    assert len(calls.reasons) == 3
    assert "10.5.0.2:7653" in calls.reasons[0]


def test_waking_ends_the_wait_and_begins_with_short_waits() -> None:
    calls = Calls("10.5.0.1")
    calls.caller.start()
    for _ in range(6):
        calls.refuse()
        calls.reactor.advance(20)
    calls.refuse()
    tried = len(calls.hosts)
    calls.caller.wake()
    assert len(calls.hosts) == tried + 1
    calls.refuse()
    calls.reactor.advance(0.11)
    assert len(calls.hosts) == tried + 2


def test_a_master_that_asks_us_to_come_later_is_heeded_once() -> None:
    calls = Calls("10.5.0.1")
    calls.caller.start()
    calls.caller.later(30)
    calls.refuse()
    calls.reactor.advance(29)
    assert len(calls.hosts) == 1
    calls.reactor.advance(1.1)
    assert len(calls.hosts) == 2
    calls.refuse()
    calls.reactor.advance(0.25)
    assert len(calls.hosts) == 3


def test_stopping_while_it_waits_or_connects_leaves_nothing() -> None:
    for connecting in (True, False):
        calls = Calls("10.5.0.1")
        calls.caller.start()
        if not connecting:
            calls.refuse()
        stopped = Deferred.fromCoroutine(calls.caller.stop())
        assert stopped.called
        assert not calls.reactor.getDelayedCalls()
        calls.reactor.advance(60)
        assert len(calls.hosts) == 1


def test_without_a_place_it_says_so_and_asks_again_for_places() -> None:
    calls = Calls()
    calls.caller.start()
    assert calls.reasons == ["it has no address"]
    calls.places.append(Endpoint("10.5.0.9", 7653))
    calls.reactor.advance(0.2)
    assert calls.hosts == ["10.5.0.9"]
