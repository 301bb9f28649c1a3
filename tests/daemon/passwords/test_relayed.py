"""Passwords on a node: what is asked of a master, what a master believes of a node, and what comes back."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from beonss.core.passwords.attempts import LOCAL, Source
from beonss.core.passwords.change import Line, Outcome
from beonss.daemon.audit_trail import QUIET
from beonss.daemon.passwords.parts import AuthResult, ChangeRequest
from beonss.daemon.passwords.relayed import RelayedPasswords, node_requests
from beonss.errors import MalformedError, Refused, Unavailable

OLD, NEW = b"mellon-speak", b"correct horse battery"
OUTCOME = Outcome("ok", "changed", 2, 3, ("merry",), (), ("ldap",))
LINES = [Line("master", "frodo", "changed"), Line("master", "merry", "buffered", "away", 17.5)]


class FakePasswords:
    """A master's passwords that remember what they were asked."""

    def __init__(self):
        self.asked = []
        self.error = None

    async def authenticate(self, user, password, source):
        self.asked.append((user, password, source))
        return AuthResult(password == OLD, "ok" if password == OLD else "wrong-password", "no" * (password != OLD))

    async def note_unknown(self, source):
        self.asked.append(("unknown", source))

    async def change(self, request, tell):
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        for line in LINES:
            tell(line)
        return OUTCOME


class FakeLink:
    """A connection to a master: its table of requests, called directly."""

    def __init__(self, requests, address="10.5.1.7"):
        self.requests = requests
        self.address = address

    def ask(self, kind, params, on_event):
        return Deferred.fromCoroutine(self.requests[kind](params, self.address, on_event))


def result_of(coroutine):
    results = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


@pytest.fixture
def master():
    return FakePasswords()


@pytest.fixture
def node(master):
    return RelayedPasswords(FakeLink(node_requests(master, name_of=lambda address: "r01n07")), "r01n07")


def test_that_somebody_came_as_nobody_is_told_to_a_master_once_in_a_while(master):
    clock = Clock()
    node = RelayedPasswords(FakeLink(node_requests(master)), "r01n07", clock.seconds)
    for _ in range(100):
        result_of(node.note_unknown(Source(LOCAL, 0, "far")))
    assert master.asked == [("unknown", Source("10.5.1.7", 0, "far"))]
    result_of(node.note_unknown(Source(LOCAL, 1001)))
    clock.advance(QUIET)
    result_of(node.note_unknown(Source(LOCAL, 0, "far")))
    assert len(master.asked) == 3
    with pytest.raises(MalformedError):
        result_of(node_requests(master)["unknown-user"]({"uid": "x"}, "10.5.1.7", lambda _: None))


def request(**changes):
    arguments = {"user": "alice", "new": NEW, "old": OLD, "source": Source(LOCAL, 1001), "author": "alice@r01n07"}
    return ChangeRequest(**arguments | changes)


def test_a_login_is_asked_of_a_master_with_the_nodes_address_as_the_place(node, master):
    assert result_of(node.authenticate("alice", OLD, Source(LOCAL, 0, "far"))) == AuthResult(True, "ok")
    assert result_of(node.authenticate("alice", b"x", Source(LOCAL, 1001, "far"))).code == "wrong-password"
    assert master.asked == [
        ("alice", OLD, Source("10.5.1.7", 0, "far")),
        ("alice", b"x", Source("10.5.1.7", 1001, "")),
    ]


def test_a_change_comes_back_line_by_line_and_as_a_whole(node):
    told = []
    assert result_of(node.change(request(), told.append)) == OUTCOME
    assert told == LINES


def test_a_nodes_root_is_nobody_special(node, master):
    """What the node calls privileged is not even sent; without the old password nothing is asked at all."""
    result_of(node.change(request(privileged=True, author="root@frodo"), lambda _: None))
    (asked,) = master.asked
    assert asked.privileged is False
    assert asked.author == "alice@r01n07"
    with pytest.raises(Refused) as caught:
        result_of(node.change(request(privileged=True, old=None), lambda _: None))
    assert caught.value.code == "old-password-needed"
    assert len(master.asked) == 1


def test_a_node_that_claims_to_be_privileged_is_not_believed(master):
    table = node_requests(master)
    params = {"user": "alice", "old": OLD, "new": NEW, "privileged": True, "author": "root@frodo", "source": "local"}
    result_of(table["change-password"](params, "10.5.1.7", lambda _: None))
    (asked,) = master.asked
    assert (asked.privileged, asked.author, asked.source.place) == (False, "alice@10.5.1.7", "10.5.1.7")


@pytest.mark.parametrize("error", [Refused("wrong-password", "no"), Unavailable("no master answers")])
def test_what_the_master_refuses_the_node_refuses(node, master, error):
    master.error = error
    with pytest.raises(type(error)):
        result_of(node.change(request(), lambda _: None))


@pytest.mark.parametrize("params", [{"uid": -1}, {"uid": True}, {"uid": 2**32}, {"remote": "x" * 257}, {"remote": 7}])
def test_a_source_that_makes_no_sense_is_malformed(master, params):
    table = node_requests(master)
    with pytest.raises(MalformedError):
        result_of(table["authenticate"]({"user": "alice", "password": OLD, **params}, "10.5.1.7", lambda _: None))
    assert master.asked == []


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300) | st.binary(max_size=600),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from(["authenticate", "change-password"]),
    st.dictionaries(st.sampled_from(["user", "password", "old", "new", "uid", "remote"]), plain),
)
def test_arbitrary_requests_of_a_node_are_answered_or_malformed(kind, params):
    master = FakePasswords()
    with contextlib.suppress(MalformedError):
        result_of(node_requests(master)[kind](params, "10.5.1.7", lambda _: None))
    for asked in master.asked:
        if isinstance(asked, ChangeRequest):
            assert asked.privileged is False
            assert isinstance(asked.old, bytes)


@given(
    st.dictionaries(st.sampled_from(["ok", "code", "message", "held", "masters", "away", "pending", "refused"]), plain)
)
def test_arbitrary_answers_of_a_master_are_understood_or_malformed(data):
    class Link:
        def ask(self, kind, params, on_event):
            on_event(data)
            return succeed(data)

    node = RelayedPasswords(Link(), "r01n07")
    with contextlib.suppress(MalformedError):
        assert result_of(node.authenticate("alice", OLD, Source())).ok in {True, False}
    with contextlib.suppress(MalformedError):
        result_of(node.change(request(), lambda _: None))


def test_an_unreachable_master_is_unavailable():
    class Link:
        def ask(self, kind, params, on_event):
            return fail(Unavailable("no master can be reached"))

    with pytest.raises(Unavailable):
        result_of(RelayedPasswords(Link(), "r01n07").authenticate("alice", OLD, Source()))
