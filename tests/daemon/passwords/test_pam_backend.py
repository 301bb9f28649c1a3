"""PAM's questions on masters and nodes, and a master's answer about an account's standing."""

import pytest
from support.fake_accounts import now
from support.fakes import fellowship

from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import LOCAL, Source
from beonss.core.passwords.change import Outcome
from beonss.daemon.passwords.pam_backend import MasterPam, NodePam, standing_requests
from beonss.daemon.passwords.parts import AuthResult
from beonss.errors import MalformedError, Refused
from beonss.net.unixsocket import Peer
from beonss.wire.nslcd import PamCode

PEER = Peer(1, 5001, 5000)


class FakePasswords:
    """Knows one answer; keeps what it was asked."""

    def __init__(self, result=None):
        self.result = result
        self.asked = []

    async def authenticate(self, user, password, source):
        self.asked.append((user, password, source))
        return self.result

    async def change(self, request, tell):
        self.asked.append(request)
        return Outcome("ok", "the password is changed", 1, 1)


class FakeLink:
    def __init__(self, answer):
        self.answer = answer

    async def ask(self, kind, params, on_event=None):
        return self.answer


@pytest.fixture
def view():
    return AccountView(fellowship().rows)


def test_a_right_and_a_wrong_password(view):
    good = FakePasswords(AuthResult(True, "ok"))
    pam = MasterPam(good, "frodo", lambda: view, lambda: 20000)
    assert now(pam.authenticate("alice", "s\udcff", "login", "far", PEER)).code is PamCode.SUCCESS
    assert good.asked == [("alice", b"s\xff", Source(LOCAL, 5001, "far"))]
    bad = MasterPam(FakePasswords(AuthResult(False, "wrong-password", "no")), "frodo", lambda: view, lambda: 20000)
    result = now(bad.authenticate("alice", "x", "login", "", PEER))
    assert (result.code, result.message) == (PamCode.AUTH_ERR, "no")


@pytest.mark.parametrize(("as_root", "author", "old"), [(True, "root@frodo", None), (False, "alice@frodo", b"old")])
def test_a_change_by_root_needs_no_old_password(view, as_root, author, old):
    passwords = FakePasswords()
    pam = MasterPam(passwords, "frodo", lambda: view, lambda: 20000)
    result = now(pam.change_password("alice", as_root, "" if as_root else "old", "new", PEER))
    assert result.code is PamCode.SUCCESS
    [request] = passwords.asked
    assert (request.author, request.old, request.new, request.privileged) == (author, old, b"new", as_root)


def test_the_standing_of_an_account(view):
    pam = MasterPam(FakePasswords(), "frodo", lambda: view, lambda: 20000)
    assert now(pam.authorise("alice", "login", "", PEER, True)).code is PamCode.SUCCESS
    assert now(pam.authorise("bob", "login", "", PEER, True)).code is PamCode.ACCT_EXPIRED
    with pytest.raises(Refused, match="nobody-such"):
        now(pam.authorise("nobody-such", "login", "", PEER, True))


def test_a_node_asks_a_master_and_believes_only_what_makes_sense(view):
    answer = now(standing_requests(lambda: view, lambda: 20000)["authorise"](
        {"user": "bob", "by_password": True}, "10.5.1.7", lambda _: None
    ))  # fmt: skip
    assert answer == {"standing": "locked", "days": None}
    pam = NodePam(FakePasswords(), "r01n07", FakeLink(answer))
    assert now(pam.authorise("bob", "login", "", PEER, True)).code is PamCode.ACCT_EXPIRED
    for nonsense in (
        {},
        {"standing": "royal"},
        {"standing": "warn", "days": "two"},
        {"standing": "warn", "days": 1 << 40},
    ):
        with pytest.raises(MalformedError):
            now(NodePam(FakePasswords(), "r01n07", FakeLink(nonsense)).authorise("bob", "login", "", PEER, True))


@pytest.mark.parametrize(
    "params", [{}, {"user": "", "by_password": True}, {"user": "x" * 257, "by_password": True}, {"user": "bob"}]
)
def test_a_master_refuses_a_request_without_sense(view, params):
    with pytest.raises(MalformedError):
        now(standing_requests(lambda: view, lambda: 20000)["authorise"](params, "10.5.1.7", lambda _: None))
