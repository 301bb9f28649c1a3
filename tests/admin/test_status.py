"""``beonss status`` and ``beonss members`` for people: what is shown of what others wrote."""

from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from beonss.admin import listing, members, status
from beonss.admin import user as user_commands
from beonss.admin.terminal import terminal
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Member, Roster, founded
from beonss.wire.control import End

MASTER = {
    "name": "frodo", "this": False, "reachable": False, "since": None, "buffered": 3, "clock_skew_ms": None,
    "description_differs": False, "error": "[fd00:1234::1]:7653: nobody listens there",
}  # fmt: skip
DOCUMENT = {
    "role": "master", "name": "gamgee", "cluster": "Fellowship [test]", "boot": "partial", "missing": ["frodo"],
    "uptime": 5, "description": {"file": "[old].toml", "version": 1, "nodes": 1, "digest": "279817dca49f00"},
    "accounts": {"users": 1, "groups": 2, "conflicts": 0},
    "dns": {"processes": [{"answering": True}], "queries": 1},
    "members": [MASTER],
    "targets": [{"name": "local", "backlog": 1, "since": None, "error": "no table [[target]] [/here]"}],
    "alarms": ["[dns.forward]: [fe80::1]:53 does not answer [/x] \x1b[31m"],
}  # fmt: skip


class Daemon:
    """Answers each question with one document."""

    document: ClassVar[dict[str, Any]] = {}

    def __init__(self, control, timeout=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def ask(self, operation, parameters=None):
        return End("ok", "", self.document)


def test_brackets_in_what_others_wrote_are_no_markup(monkeypatch):
    monkeypatch.setattr(status, "ControlClient", Daemon)
    monkeypatch.setattr(Daemon, "document", DOCUMENT)
    told = CliRunner().invoke(status.command, [])
    assert told.exit_code == 0, told.output
    assert "master of Fellowship [test]: partial (frodo did not answer at start)" in told.output
    assert "description [old].toml version 1, 1 node, 279817dca49f" in told.output
    assert "1 user, 2 groups, 0 conflicts" in told.output
    assert "1 of 1 processes answer, 1 query so far" in told.output
    assert "[fd00:1234::1]:7653: nobody listens there" in told.output
    assert "no table [[target]] [/here]" in told.output
    assert "alarm: [dns.forward]: [fe80::1]:53 does not answer [/x] ?[31m" in told.output


def test_strict_ends_with_1_if_there_is_an_alarm(monkeypatch):
    monkeypatch.setattr(status, "ControlClient", Daemon)
    monkeypatch.setattr(Daemon, "document", DOCUMENT)
    assert CliRunner().invoke(status.command, ["--strict"]).exit_code == 1
    monkeypatch.setattr(Daemon, "document", DOCUMENT | {"alarms": []})
    assert CliRunner().invoke(status.command, ["--strict"]).exit_code == 0


@pytest.mark.parametrize("gecos", ["Kay [the first]", "Kay [/]", "[/kay]", "Kay \\", "Kay :smile:"])
def test_a_user_whose_full_name_has_brackets_is_shown(monkeypatch, gecos):
    account = {
        "name": "kay", "uid": 5001, "gid": 100, "state": "usable", "gecos": gecos, "home": "/home/kay",
        "shell": "/bin/sh", "changed": None, "aging": {}, "groups": [], "id": "00", "history": [],
        "targets": {"local": {"verdict": "refused", "text": "[why]"}},
    }  # fmt: skip
    monkeypatch.setattr(listing, "ControlClient", Daemon)
    monkeypatch.setattr(Daemon, "document", {"user": account, "conflicts": ["[this] is one"]})
    told = CliRunner().invoke(user_commands.command, ["show", "kay"])
    assert told.exit_code == 0, told.output
    assert gecos in told.output
    assert "refused: [why]" in told.output
    assert "conflict: [this] is one" in told.output


def test_addresses_of_members_are_shown_whole(capsys):
    key = bytes(32)
    endpoints = tuple(Endpoint(f"fd00:1234:5678:9abc::{number}", 7653) for number in range(4))
    roster = Roster(key, founded(key, Member("frodo", key, endpoints)), b"")
    members.show(roster, terminal(), 0.0)
    assert " ".join(map(str, endpoints)) in capsys.readouterr().out
    assert str(endpoints[0]).startswith("[fd00")
