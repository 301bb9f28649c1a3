"""Command lines of the daemons: what is understood, and what is refused with a usage message."""

import signal
import time
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError

from beonss.core.cluster.endpoints import Endpoint
from beonss.service import Daemon, Options, makeService, wait_by_monotonic_clock


def parsed(*words):
    options = Options()
    options.parseOptions(list(words))
    return options.settings


def test_the_defaults_of_a_master_suit_production():
    settings = parsed("master")
    assert settings.description == Path("/etc/beonss/cluster.toml")
    assert settings.state == Path("/var/lib/beonss")
    assert settings.runtime == Path("/run/beonss")
    assert settings.nslcd == Path("/run/nslcd/socket")
    assert (settings.dns, settings.sync, settings.name, settings.boot_wait) == (None, (), None, 5.0)


def test_the_defaults_of_a_node_need_no_configuration():
    settings = parsed("node")
    assert settings.cluster_key == Path("/etc/beonss/cluster.pub")
    assert (settings.dns, settings.masters, settings.name) == (None, (), None)


def test_addresses_are_repeatable_and_have_default_ports():
    settings = parsed("master", "--dns-listen", "10.5.0.1", "--dns-listen", "[::1]:5353", "--sync-listen", "10.5.0.1")
    assert settings.dns == (Endpoint("10.5.0.1", 53), Endpoint("::1", 5353))
    assert settings.sync == (Endpoint("10.5.0.1", 7653),)
    assert parsed("node", "--no-dns", "--nslcd", "none").dns == ()
    assert parsed("node", "--master", "frodo").masters == (Endpoint("frodo", 7653),)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["neither"],
        ["master", "--dns-listen", "::1::"],
        ["master", "--boot-wait", "soon"],
        ["master", "--boot-wait", "-1"],
        ["master", "--boot-wait", "nan"],
        ["master", "--dns-workers", "65"],
        ["master", "--dns-workers", "-1"],
        ["master", "--dns-workers", "²"],
        ["node", "--dns-workers", "1"],
        ["node", "--boot-wait", "5"],
        ["node", "left-over"],
        ["master", "--group", "adm"],
        ["node", "--query-sample", "0"],
        ["node", "--query-sample", "9999999"],
        ["master", "--query-sample", "-1"],
    ],
)
def test_words_that_make_no_sense(words):
    with pytest.raises(UsageError):
        parsed(*words)


@pytest.mark.parametrize("name", ["a b", "", "r01\n07", "-x", "r\uff11", "a" * 300])
def test_a_node_has_a_host_name_or_none(name):
    with pytest.raises(UsageError, match="no host name"):
        parsed("node", "--name", name)
    assert parsed("node", "--name", "r01n07.fellow.aero.org").name == "r01n07.fellow.aero.org"


@pytest.mark.parametrize("daemon", ["master", "node"])
def test_who_to_be_and_what_to_log(daemon):
    settings = parsed(daemon, "--user", "beonss", "--group", "adm", "--query-log", "/x/q", "--query-sample", "7")
    assert (settings.user, settings.group) == ("beonss", "adm")
    assert (settings.query_log, settings.query_sample) == (Path("/x/q"), 7)
    usual = parsed(daemon)
    assert (usual.user, usual.group, usual.query_log, usual.query_sample) == (None, None, None, 1000)


@pytest.mark.parametrize("daemon", ["master", "node"])
def test_what_cannot_be_used_ends_the_start_with_one_line(daemon, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(reactor, "seconds", reactor.seconds)  # put back at the end
    options = Options()
    nothing = str(tmp_path / "nothing")
    words = ["--config", nothing, "--dns-workers", "0"] if daemon == "master" else ["--cluster-key", nothing]
    options.parseOptions([daemon, *words, "--state", nothing])
    with pytest.raises(SystemExit) as end:
        makeService(options)
    assert end.value.code == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert ("beonss init" if daemon == "master" else "copy the cluster's public key there") in told


@pytest.mark.parametrize(
    ("twistd", "expected"), [({"uid": 5}, None), ({"gid": 0}, None), ({"chroot": "/x"}, None), ({}, "begun")]
)
def test_no_process_is_begun_that_would_keep_what_twistd_gives_up(twistd, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(reactor, "seconds", reactor.seconds)
    made = []
    monkeypatch.setattr("beonss.daemon.dns.prepared.prepare", lambda *_, **__: made.append("begun"))
    options = Options()
    options.parseOptions(["master", "--state", str(tmp_path)])
    options.parent = {"nodaemon": 1, "uid": None, "gid": None, "chroot": None, **twistd}
    with pytest.raises(SystemExit):
        makeService(options)
    assert made == ([] if expected is None else [expected])


@pytest.fixture(autouse=True)
def hangups():
    """Put back what SIGHUP does."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_reload_that_is_asked_for_during_the_start_comes_after_it():
    """Once, however often it was asked for; nobody is told before that the daemon serves."""
    done = []

    class Manager:
        def __getattr__(self, name):
            return lambda *_: done.append(name)

    class Part:
        started = Deferred()

        async def start(self):
            await self.started

        async def reload(self):
            done.append("reload")

    daemon = Daemon(Part(), Manager())
    starting = Deferred.fromCoroutine(daemon._start())
    daemon._reload()
    daemon._reload()
    assert done == []
    Part.started.callback(None)
    assert starting.called
    assert done == ["ready", "begin_watchdog", "reloading", "reload", "ready"]
    daemon._reload()
    assert done[5:] == ["reloading", "reload", "ready"]


@pytest.mark.parametrize("daemon", [(), ("master",), ("node",)])
def test_version(daemon, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(*daemon, "--version")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("beonss ")


def test_timers_go_by_a_clock_that_nobody_sets(monkeypatch):
    """Set back by a year or ahead by a year, the wall clock moves no timer, not even one that was there before."""

    class Timers(ReactorBase):
        def installWaker(self):
            self.waker = None

    clock = Timers()
    fired = []
    early = clock.callLater(5, fired.append, "early")
    monotonic, wall = 1000.0, time.time()
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    wait_by_monotonic_clock(clock)
    late = clock.callLater(7, fired.append, "late")
    for step in (-365 * 86400, 365 * 86400):
        monkeypatch.setattr(time, "time", lambda step=step: wall + step)
        clock.runUntilCurrent()
        assert fired == []
        assert clock.timeout() == pytest.approx(5, abs=1)
    monotonic += 6
    clock.runUntilCurrent()
    assert fired == ["early"]
    monotonic += 1.1
    clock.runUntilCurrent()
    assert fired == ["early", "late"]
    assert not early.active()
    assert not late.active()
