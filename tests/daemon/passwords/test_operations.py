"""What cpasswd may ask: for whom, with or without the old password, and who is privileged."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from beonss.core.accounts.entries import UserEntry
from beonss.core.accounts.intents import create_user
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import LOCAL, Source
from beonss.core.passwords.change import Line, Outcome
from beonss.core.replication.registers import Register, Stamp
from beonss.daemon.passwords.operations import password_operations
from beonss.errors import MalformedError, Refused


class Recorder:
    """Passwords that only remember what they were asked."""

    name = "frodo"

    def __init__(self):
        self.requests = []

    async def change(self, request, tell):
        self.requests.append(request)
        tell(Line("master", "frodo", "changed"))
        return Outcome("ok", "changed", 1, 1)


class Door:
    """The operations as a peer finds them."""

    def __init__(self, master):
        self.view = AccountView()
        for uid, name in ((1001, "alice"), (1002, "bob"), (33, "www-data")):
            changes = create_user(self.view, UserEntry(name, uid, 100, "", "/", "/bin/sh"), 1)
            self.view.apply(
                [Register(c.key, c.value, Stamp(uid, "a" * 32, i)) for i, c in enumerate(changes, uid * 10)]
            )
        self.passwords = Recorder()
        self.operations = password_operations(self.passwords, lambda: self.view, master=master)
        self.events = []

    def ask(self, operation, uid, /, **parameters):
        def report(name, /, **data):
            self.events.append((name, data))

        results = []
        coroutine = self.operations[operation].run(parameters, SimpleNamespace(uid=uid), report)
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        (result,) = results
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result


@pytest.fixture(params=["master", "node"])
def role(request):
    return request.param


@pytest.fixture
def door(role):
    return Door(master=role == "master")


def test_nobody_needs_to_be_root_to_ask(door):
    assert not any(operation.needs_root or operation.cancellable for operation in door.operations.values())


def test_a_user_changes_the_own_password_with_the_old_one(door):
    assert door.ask("password-terms", 1001)["needs_old"] is True
    result = door.ask("change-password", 1001, old="mellon", new="n\udcffw")
    (request,) = door.passwords.requests
    assert (request.user, request.old, request.new) == ("alice", b"mellon", b"n\xffw")
    assert (request.source, request.author, request.privileged) == (Source(LOCAL, 1001), "alice@frodo", False)
    assert result == {
        "code": "ok",
        "message": "changed",
        "held": 1,
        "masters": 1,
        "away": [],
        "pending": [],
        "refused": [],
    }
    assert door.events[0][0] == "line"


def test_only_root_of_a_master_is_privileged(door, role):
    terms = door.ask("password-terms", 0, user="bob")
    assert terms == {"user": "bob", "needs_old": role == "node", "machine": "frodo", "role": role}
    door.ask("change-password", 0, user="bob", new="x")
    door.ask("change-password", 0, user="bob", new="x", old="y")
    door.ask("change-password", 1001, user="bob", new="x")
    assert [request.privileged for request in door.passwords.requests] == [role == "master", False, False]
    assert [request.author for request in door.passwords.requests] == ["root@frodo", "root@frodo", "alice@frodo"]


def test_a_message_cannot_claim_to_be_somebody(door):
    door.ask("change-password", 1001, user="bob", new="x", uid=0, privileged=True, author="root@frodo", source="x")
    (request,) = door.passwords.requests
    assert (request.privileged, request.author, request.source) == (False, "alice@frodo", Source(LOCAL, 1001))


@pytest.mark.parametrize("operation", ["password-terms", "change-password"])
def test_an_asker_who_is_no_user_of_the_cluster_has_to_name_one(door, operation):
    with pytest.raises(Refused) as caught:
        door.ask(operation, 4711, new="x")
    assert caught.value.code == "unknown-user"
    assert "4711" in str(caught.value)


def test_an_unknown_user_is_refused_before_typing_on_a_master_and_left_to_it_on_a_node(door, role):
    if role == "master":
        with pytest.raises(Refused):
            door.ask("password-terms", 1001, user="carol")
    else:
        assert door.ask("password-terms", 1001, user="carol")["user"] == "carol"


def test_a_system_account_is_refused_before_typing(door):
    with pytest.raises(Refused) as caught:
        door.ask("password-terms", 0, user="www-data")
    assert caught.value.code == "below-floor"


@pytest.mark.parametrize(
    "parameters", [{}, {"new": None}, {"new": 7}, {"new": "x", "old": []}, {"new": "x", "user": 5}]
)
def test_malformed_parameters_change_nothing(door, parameters):
    with pytest.raises(MalformedError):
        door.ask("change-password", 1001, **parameters)
    assert door.passwords.requests == []
