"""What is told of addresses that come and go."""

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from beonss.core.cluster.endpoints import Endpoint
from beonss.daemon.presence import Presence

HERE, THERE = Endpoint("10.5.0.1", 53), Endpoint("fd00:5::1", 53)


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events if "presence" in event["log_namespace"]]
    globalLogPublisher.removeObserver(events.append)


def test_each_change_is_told_once(logged):
    addresses = {"10.5.0.1"}
    presence = Presence(addresses.__contains__)
    presence.watch("DNS", [HERE, THERE])
    presence.look()
    assert logged() == ["DNS: fd00:5::1 is not an address of this machine yet; port 53 is served as soon as it is"]
    addresses.add("fd00:5::1")
    presence.look()
    presence.look()
    addresses.clear()
    presence.look()
    assert logged()[1:] == [
        "DNS: [fd00:5::1]:53 is served: its address has come",
        "DNS: 10.5.0.1:53 cannot be reached: its address is gone",
        "DNS: [fd00:5::1]:53 cannot be reached: its address is gone",
    ]


def test_the_status_looks_for_itself():
    addresses = set()
    presence = Presence(addresses.__contains__)
    presence.watch("DNS", [HERE])
    presence.watch("sync", [Endpoint("10.5.0.1", 7653)])
    assert [each["state"] for each in presence.listening()] == ["waiting for the address"] * 2
    assert len(presence.alarms()) == 2
    assert "(sync, port 7653)" in presence.alarms()[1]
    addresses.add("10.5.0.1")
    assert presence.listening() == [
        {"door": "DNS", "address": "10.5.0.1", "port": 53, "state": "listening"},
        {"door": "sync", "address": "10.5.0.1", "port": 7653, "state": "listening"},
    ]
    assert presence.alarms() == []
