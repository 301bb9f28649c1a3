"""What the service manager is told."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from beonss.net.readiness import ServiceManager


@pytest.fixture
def door(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def heard(door):
    texts = []
    while True:
        try:
            texts.append(door.recv(4096).decode())
        except BlockingIOError:
            return texts


def test_what_is_told_in_a_life(door):
    manager = ServiceManager(door.getsockname())
    manager.ready("serves")
    manager.reloading(12.25)
    manager.ready("serves")
    manager.stopping()
    assert heard(door) == [
        "READY=1\nSTATUS=serves",
        "RELOADING=1\nMONOTONIC_USEC=12250000\nSTATUS=reloads",
        "READY=1\nSTATUS=serves",
        "STOPPING=1\nSTATUS=stops",
    ]


def test_a_status_is_one_line(door):
    ServiceManager(door.getsockname()).stopping("disk full\nREADY=1")
    assert heard(door) == ["STOPPING=1\nSTATUS=disk full READY=1"]


def test_the_abstract_namespace():
    name = f"beonss-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"\0{name}")
        made.setblocking(False)
        ServiceManager(f"@{name}").ready("serves")
        assert heard(made) == ["READY=1\nSTATUS=serves"]


def test_the_watchdog_is_told_twice_as_often_as_it_wants(door):
    clock = Clock()
    manager = ServiceManager(door.getsockname(), 10.0)
    manager.begin_watchdog(clock)
    manager.begin_watchdog(clock)
    clock.pump([1] * 10)
    assert heard(door) == ["WATCHDOG=1"] * 3
    manager.end_watchdog()
    manager.end_watchdog()
    clock.pump([1] * 20)
    assert heard(door) == []
    assert clock.getDelayedCalls() == []


def test_nobody_asked():
    clock = Clock()
    manager = ServiceManager.of_environment({"WATCHDOG_USEC": "1000000"}, 1)
    manager.ready("serves")
    manager.begin_watchdog(clock)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("path", ["/nonexistent/notify", "a\0b", "x" * 200, "@" + "x" * 200])
def test_a_manager_that_does_not_listen_stops_nothing(path):
    ServiceManager(path).ready("serves")


def test_a_manager_that_does_not_read_stops_nothing(door):
    manager = ServiceManager(door.getsockname())
    for _ in range(2000):
        manager.ready("serves")
    assert heard(door)


def test_no_child_speaks_for_the_daemon():
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    manager = ServiceManager.of_environment(environment, 7)
    assert manager.watchdog == 30
    assert environment == {"HOME": "/"}
    assert ServiceManager.of_environment({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "5"}, 7).watchdog == 5e-6


@pytest.mark.parametrize("variables", [{"WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_that_is_not_ours(variables):
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", **variables}
    assert ServiceManager.of_environment(environment, 7).watchdog is None


@given(st.text(), st.text())
def test_any_environment_is_survived(microseconds, pid):
    ServiceManager.of_environment({"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}, 7)
