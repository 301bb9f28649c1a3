"""Changes told to a directory as the user: to which targets, with what, and what is said when it fails."""

from urllib.parse import quote

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.accounts.intents import create_user
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register, Stamp
from beonss.core.targets.delivery import DELIVERED, Outcome
from beonss.daemon.passwords.direct_changes import DirectChanges
from beonss.errors import StoreError
from beonss.targets.ldap import LdapSettings, LdapTarget
from beonss.targets.ldapservers import LdapServer


@pytest.fixture
def view():
    view = AccountView()
    entry = UserEntry("alice", 1001, 100, "", "/home/alice", "/bin/sh")
    changes = create_user(view, entry, 1, password=Password("$6$new"))
    view.apply([Register(c.key, c.value, Stamp(1, "a" * 32, i)) for i, c in enumerate(changes, 1)])
    return view


@pytest.fixture
def direct(view, tmp_path):
    """Make the changes of one directory in each mode, run in the test's own thread."""
    targets = []

    def make(answer, again=lambda *_: None):
        asked = []

        def change_as_user(state, old, new):
            asked.append((state.name, state.password.hash, old, new))
            if isinstance(answer, Exception):
                raise answer
            return answer

        for mode in ("hash", "exop"):
            server = LdapServer(uris=("ldapi:///",))
            target = LdapTarget(LdapSettings(mode, server, tmp_path / mode, "dc=x", mode=mode))
            target.change_as_user = change_as_user
            targets.append(target)
        changes = DirectChanges(None, [*targets, object()], view=lambda: view, again=again, in_thread=maybeDeferred)
        return changes, asked

    yield make
    for target in targets:
        target.close()


def result_of(deferred):
    results = []
    deferred.addBoth(results.append)
    return results[0]


def test_only_directories_that_want_it_are_told_and_looked_at_again_after_success(direct, view):
    again = []
    changes, asked = direct(DELIVERED, lambda *what: again.append(what))
    results = changes(view.user("alice").id, b"old", b"new")
    assert {name: result_of(deferred) for name, deferred in results.items()} == {"exop": DELIVERED}
    assert asked == [("alice", "$6$new", b"old", b"new")]
    assert again == [("exop", "alice")]
    changes.stop()


@pytest.mark.parametrize("verdict", ["failed", "refused", "conflict"])
def test_what_it_did_not_take_is_for_the_user_to_repeat(direct, view, verdict):
    changes, _ = direct(Outcome(verdict, "the directory is away"))
    (deferred,) = changes(view.user("alice").id, b"old", b"new").values()
    assert result_of(deferred) == Outcome("refused", "the directory is away: run cpasswd again")


def test_an_error_is_an_answer_too(direct, view, logged_errors):
    changes, _ = direct(StoreError("the journal is full"))
    (deferred,) = changes(view.user("alice").id, b"old", b"new").values()
    assert result_of(deferred).text == "the journal is full: run cpasswd again"
    changes, _ = direct(ZeroDivisionError())
    (deferred,) = changes(view.user("alice").id, b"old", b"new").values()
    assert result_of(deferred).verdict == "refused"
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_a_failing_second_look_does_not_undo_the_success(direct, view, logged_errors):
    def again(*_):
        raise KeyError("exop")

    changes, _ = direct(DELIVERED, again)
    (deferred,) = changes(view.user("alice").id, b"old", b"new").values()
    assert result_of(deferred) == DELIVERED
    assert len(logged_errors.flush(KeyError)) == 1


@ensureDeferred
async def test_with_a_thread_of_its_own(view, tmp_path):
    """The same with the real reactor: a directory that does not answer is one to repeat it for, and nothing waits."""
    server = LdapServer(uris=(f"ldapi://{quote(str(tmp_path / 'nothing'), safe='')}",), timeout=1.0)
    target = LdapTarget(LdapSettings("ad", server, tmp_path / "journal", "dc=x", mode="exop"))
    changes = DirectChanges(reactor, [target], view=lambda: view, again=lambda *_: None)
    try:
        outcome = await changes(view.user("alice").id, b"old", b"new")["ad"]
        assert outcome.verdict == "refused"
        assert outcome.text.endswith("run cpasswd again")
    finally:
        changes.stop()
        target.close()


def test_who_is_not_served_is_not_told_of(direct):
    changes, asked = direct(DELIVERED)
    assert changes("f" * 32, b"old", b"new") == {}
    assert asked == []
