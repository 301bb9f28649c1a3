"""``beonss querylog``: what is asked of the daemon, and what is shown."""

import json

import pytest
from click.testing import CliRunner

from beonss.admin import querylog
from beonss.errors import Unavailable
from beonss.wire.control import End, Event

QUERY = {
    "time": 1795339410.872, "client": "10.5.1.7", "transport": "udp", "name": "r01n07.fellow.aero.org", "type": "A",
    "class": "IN", "flags": ["rd", "do"], "edns": 1232, "rcode": "NOERROR", "reply_flags": ["aa"], "size": 56,
    "took_us": 9,
}  # fmt: skip


class Daemon:
    """Answers with what it was given."""

    events: tuple = ()
    dropped = 0
    asked = None

    def __init__(self, control, timeout):
        assert timeout > 20

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def ask(self, operation, parameters, on_event):
        Daemon.asked = (operation, parameters)
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            on_event(event)
        return End("ok", "", {"told": 1, "dropped": self.dropped})


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(querylog, "ControlClient", Daemon)

    def run(*words, events=(), dropped=0):
        monkeypatch.setattr(Daemon, "events", events)
        monkeypatch.setattr(Daemon, "dropped", dropped)
        return CliRunner().invoke(querylog.command, words, standalone_mode=True)

    return run


def test_what_is_asked(run):
    run()
    assert Daemon.asked == ("querylog", {"sample": 1, "seconds": None, "clients": [], "name": None, "types": []})
    run("--sample", "9", "--for", "1.5", "--client", "10.5.0.0/16", "--client", "::1", "--name", "r*", "--type", "A")
    assert Daemon.asked[1] == {
        "sample": 9, "seconds": 1.5, "clients": ["10.5.0.0/16", "::1"], "name": "r*", "types": ["A"],
    }  # fmt: skip


def test_for_people(run):
    told = run(events=[Event("query", QUERY)])
    assert told.exit_code == 0
    line = told.stdout.strip()
    assert line.endswith(" 10.5.1.7 udp r01n07.fellow.aero.org A (rd do) -> NOERROR aa 56 bytes 9 us")
    strange = {**QUERY, "name": None, "type": "", "class": "", "flags": [], "rcode": "", "took_us": None}
    assert querylog.shown(strange).endswith("udp no query -> no reply")
    chaos = {**QUERY, "class": "CH", "name": "id.server\x1b", "type": "TXT"}
    assert "id.server? TXT CH" in querylog.shown(chaos)


def test_what_was_left_out(run):
    dropped = [Event("dropped", {"queries": number}) for number in (0, 5, 5)]
    people = run(events=dropped, dropped=7)
    assert people.stderr.count("left out so far") == 2
    assert people.stdout == ""
    lines = run("--json", events=[Event("query", QUERY), *dropped], dropped=7).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [QUERY, {"dropped": 5}, {"dropped": 7}]


def test_an_interruption_is_an_end(run):
    assert run(events=[Event("query", QUERY), KeyboardInterrupt()]).exit_code == 0


def test_a_daemon_that_is_not_there(run):
    assert isinstance(run(events=[Unavailable("no daemon runs here")]).exception, Unavailable)


@pytest.mark.parametrize("words", [("--sample", "0"), ("--for", "0"), ("--for", "soon"), ("x",)])
def test_usage(run, words):
    assert run(*words).exit_code == 2
