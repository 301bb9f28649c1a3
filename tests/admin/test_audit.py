"""``beonss audit``: which lines are asked for and which are shown."""

from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from beonss.admin import audit
from beonss.wire.control import End


class Daemon:
    """Answers with the last lines of two masters, as many as were asked for."""

    logs: ClassVar[dict[str, list[str]]] = {}
    asked: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, control, timeout):
        assert timeout > 20

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def ask(self, operation, parameters):
        assert operation == "audit"
        self.asked.append(parameters)
        count = parameters["lines"]
        lines = [
            {"time": number, "machine": machine, "event": "login", "user": user, "outcome": str(number)}
            for machine, users in self.logs.items()
            for number, user in list(enumerate(users))[len(users) - count :]
        ]
        lines.sort(key=lambda line: line["time"])
        return End("ok", "", {"lines": lines, "places": {name: [1, 2] for name in self.logs}, "silent": {}})


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(audit, "ControlClient", Daemon)
    monkeypatch.setattr(Daemon, "asked", [])

    def run(*words, **logs):
        monkeypatch.setattr(Daemon, "logs", logs)
        told = CliRunner().invoke(audit.command, words)
        assert told.exit_code == 0, told.output
        return [tuple(line.split()[i] for i in (2, 4, 5)) for line in told.output.splitlines()]

    return run


def test_the_last_lines_of_each_master(run):
    shown = run("--lines", "1", frodo=["sam"], gamgee=["rosie"])
    assert shown == [("frodo", "sam", "outcome=0"), ("gamgee", "rosie", "outcome=0")]
    assert Daemon.asked == [{"places": {}, "lines": 1, "here": False}]


def test_lines_of_others_do_not_count_among_the_last_of_one_user(run):
    shown = run("--lines", "2", "--user", "sam", frodo=["sam", "sam", "sam", *["rosie"] * 300], gamgee=["rosie", "sam"])
    assert shown == [("frodo", "sam", "outcome=1"), ("gamgee", "sam", "outcome=1"), ("frodo", "sam", "outcome=2")]
    assert Daemon.asked[0]["lines"] == 1000


def test_no_lines_but_new_ones(run):
    assert run("--lines", "0", "--user", "sam", frodo=[], gamgee=[]) == []
    assert Daemon.asked[0]["lines"] == 0


def test_a_master_that_was_silent_at_first_does_not_tell_all_it_has_when_it_comes(monkeypatch, run):
    """Whoever follows is told the last lines of it, as of the others; then each new one."""
    answers = [
        ({"frodo": ["sam"]}, ["frodo"]),
        ({"frodo": ["rosie", "merry"], "gamgee": ["sam", "pippin"]}, ["frodo", "gamgee"]),
        ({"gamgee": ["bilbo", "fatty"]}, ["frodo", "gamgee"]),
    ]

    class Late(Daemon):
        def ask(self, operation, parameters):
            if not answers:
                raise KeyboardInterrupt
            logs, reached = answers.pop(0)
            monkeypatch.setattr(Daemon, "logs", logs)
            told = super().ask(operation, parameters)
            return End("ok", "", {**told.data, "places": {name: [1, 2] for name in reached}})

    monkeypatch.setattr(audit, "ControlClient", Late)
    shown = run("--follow", "--lines", "1")
    assert [line[1] for line in shown] == ["sam", "rosie", "merry", "pippin", "bilbo", "fatty"]
