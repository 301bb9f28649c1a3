"""PAM at the nslcd door: who is asked what, what root may, and that trouble is never a refusal."""

import struct

import pytest
from support.fakes import fellowship
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from beonss.core.accounts.aging import AccountState
from beonss.core.accounts.lookup import LocalNames, Lookups
from beonss.core.accounts.view import AccountView
from beonss.errors import Refused, StoreError, Unavailable
from beonss.net.pam import CODES, PamDoor, PamResult, verdict
from beonss.net.unixsocket import Peer
from beonss.wire.nslcd import (
    Authenticate,
    Authorise,
    ChangePassword,
    ChangeUser,
    CloseSession,
    OpenSession,
    PamCode,
    PamContext,
    action_of,
)

ROOT = Peer(1, 0, 0)
ALICE = Peer(2, 5001, 5000)
END = struct.pack(">I", 2)


def context(user="alice"):
    return PamContext(user, "login", "", "r01n07", "tty1")


class Backend:
    """Records what it is asked; answers what a test puts in."""

    def __init__(self):
        self.asked = []
        self.authenticated = PamResult(PamCode.SUCCESS)
        self.authorised = PamResult(PamCode.SUCCESS)
        self.changed = PamResult(PamCode.SUCCESS)
        self.noted = None

    async def _give(self, result):
        if isinstance(result, Deferred):
            return await result
        if isinstance(result, Exception):
            raise result
        return result

    async def authenticate(self, user, password, service, rhost, peer):
        self.asked.append(("authenticate", user, password, service, rhost, peer.uid))
        return await self._give(self.authenticated)

    async def authorise(self, user, service, rhost, peer, by_password):
        self.asked.append(("authorise", user, service, rhost, peer.uid, by_password))
        return await self._give(self.authorised)

    async def note_unknown(self, rhost, peer):
        self.asked.append(("unknown", rhost, peer.uid))
        await self._give(self.noted)

    async def change_password(self, user, asroot, old, new, peer):
        self.asked.append(("change", user, asroot, old, new, peer.uid))
        return await self._give(self.changed)


class Stage:
    """A door with its backend and a clock that stands still."""

    def __init__(self, known=True, **options):
        self.clock = Clock()
        self.backend = Backend()
        lookups = Lookups(None, AccountView(fellowship().rows), known=lambda: known)
        self.door = PamDoor(lookups, self.backend, self.clock, **options)
        self.results = []

    def start(self, request, peer=ALICE):
        done = Deferred.fromCoroutine(self.door.answer(request, peer))
        self.results.clear()
        done.addBoth(self.results.append)
        return self.results

    def ask(self, request, peer=ALICE):
        """Return the fields of the answer, or None for an END alone."""
        [data] = self.start(request, peer)
        assert not self.clock.getDelayedCalls()
        if not isinstance(data, bytes):
            data.raiseException()
        assert data[:8] == struct.pack(">II", 2, action_of(request))
        assert data[-4:] == END
        return data[8:-4] or None


@pytest.fixture
def stage():
    return Stage()


def s(text):
    raw = text.encode()
    return struct.pack(">I", len(raw)) + raw


def i(*numbers):
    return b"".join(struct.pack(">I", number) for number in numbers)


def test_a_right_password_answers_the_standing_too(stage):
    stage.backend.authorised = PamResult(PamCode.NEW_AUTHTOK_REQD, "change it")
    assert stage.ask(Authenticate(context(), "sesame")) == i(1, 0) + s("alice") + i(12) + s("change it")
    assert stage.backend.asked == [
        ("authenticate", "alice", "sesame", "login", "r01n07", 5001),
        ("authorise", "alice", "login", "r01n07", 5001, True),
    ]


def test_a_wrong_password_asks_no_further(stage):
    stage.backend.authenticated = PamResult(PamCode.AUTH_ERR, "wrong")
    assert stage.ask(Authenticate(context(), "x")) == i(1, 7) + s("alice") + i(7) + s("wrong")
    assert len(stage.backend.asked) == 1


def test_the_canonical_name_is_handed_on(stage):
    stage.backend.authenticated = PamResult(PamCode.SUCCESS, user="Alice")
    assert stage.ask(Authenticate(context(), "sesame")) == i(1, 0) + s("Alice") + i(0) + s("")


@pytest.mark.parametrize("user", ["root", "nobody", "lowly"])
@pytest.mark.parametrize(
    "make",
    [
        lambda c: Authenticate(c, "x"),
        Authorise,
        lambda c: ChangePassword(c, False, "a", "b"),
        lambda c: ChangePassword(c, True, "", "b"),
        lambda c: ChangeUser(c.user, False, "x"),
    ],
)
def test_a_user_who_is_not_served_is_unknown_at_once(user, make):
    stage = Stage(root_override=True)
    assert stage.ask(make(context(user)), ROOT) is None
    assert all(asked[0] == "unknown" for asked in stage.backend.asked)


@pytest.mark.parametrize("trouble", [None, Unavailable("no master"), Refused("no-such-request", "an older master")])
def test_that_somebody_came_as_nobody_is_noted_without_the_name_which_may_be_a_password(stage, trouble):
    stage.backend.noted = trouble
    assert stage.ask(Authenticate(context("nobody-such"), "sesame")) is None
    assert stage.backend.asked == [("unknown", "r01n07", 5001)]


def test_a_user_of_this_machines_own_is_not_noted_as_unknown(stage):
    """Debian's stack asks us for them as well when their password is wrong."""
    stage.door.lookups.local = LocalNames([("backup", 34)])
    assert stage.ask(Authenticate(context("backup"), "x")) is None
    assert stage.backend.asked == []


def test_an_answer_does_not_wait_for_the_note_and_a_mistake_in_it_is_logged(stage, logged_errors):
    stage.backend.noted = Deferred()
    assert stage.ask(Authenticate(context("nobody-such"), "sesame")) is None
    stage.backend.noted.errback(ZeroDivisionError())
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


@pytest.mark.parametrize(
    "make", [lambda c: Authenticate(c, "x"), Authorise, lambda c: ChangePassword(c, False, "a", "b")]
)
def test_a_user_the_backend_does_not_know_is_unknown(stage, make):
    gone = Refused("unknown-user", "no such user")
    stage.backend.authenticated = stage.backend.authorised = stage.backend.changed = gone
    answer = stage.ask(make(context()))
    assert answer is None


@pytest.mark.parametrize(
    "make", [lambda c: Authenticate(c, "x"), Authorise, lambda c: ChangePassword(c, False, "a", "b")]
)
def test_without_accounts_nothing_is_said(make):
    with pytest.raises(Unavailable):
        Stage(known=False).ask(make(context()))


def test_authorisation_without_a_password(stage):
    stage.backend.authorised = PamResult(PamCode.ACCT_EXPIRED, "gone")
    assert stage.ask(Authorise(context())) == i(1, 13) + s("gone")
    assert stage.backend.asked == [("authorise", "alice", "login", "r01n07", 5001, False)]


def test_a_user_changes_a_password(stage):
    assert stage.ask(ChangePassword(context(), False, "old", "new")) == i(1, 0) + s("")
    assert stage.backend.asked == [("change", "alice", False, "old", "new", 5001)]


def test_changes_can_be_forbidden():
    stage = Stage(prohibited="use the portal", root_override=True)
    assert stage.ask(ChangePassword(context(), True, "", "new"), ROOT) == i(1, 6) + s("use the portal")
    assert stage.backend.asked == []


class TestRoot:
    """Root's override: a master's root, and nobody else."""

    def test_root_of_a_master_is_the_administrator(self):
        stage = Stage(root_override=True)
        assert stage.ask(Authenticate(context(""), ""), ROOT) == i(1, 0) + s("") + i(0) + s("")
        assert stage.ask(ChangePassword(context(), True, "", "new"), ROOT) == i(1, 0) + s("")
        assert stage.backend.asked == [("change", "alice", True, "", "new", 0)]

    @pytest.mark.parametrize(
        ("override", "peer", "password"),
        [(False, ROOT, ""), (True, ALICE, ""), (True, ROOT, "guess"), (False, ALICE, "guess")],
        ids=["root of a node", "a user of a master", "an administrator's password", "a user of a node"],
    )
    def test_nobody_else_is(self, override, peer, password):
        stage = Stage(root_override=override)
        assert stage.ask(Authenticate(context(""), password), peer)[:8] == i(1, 6)
        answer = stage.ask(ChangePassword(context(), True, password, "new"), peer)
        assert answer[:8] == i(1, 6)
        assert b"masters" in answer
        assert stage.backend.asked == []


def test_sessions_are_nobodys_business(stage):
    assert stage.ask(OpenSession(context("root"))) == i(1) + s("-")
    assert stage.ask(CloseSession(context("root"), "-")) == i(1)


def test_shells_are_not_changed_here(stage):
    answer = stage.ask(ChangeUser("alice", False, "sesame", ((8, "/bin/zsh"),)))
    assert answer.startswith(i(1, 1))
    assert answer.endswith(i(0))


@pytest.mark.parametrize("trouble", [Unavailable("no master answers"), StoreError("the disk is full")])
def test_trouble_is_said_and_is_no_refusal(stage, trouble):
    stage.backend.changed = stage.backend.authenticated = trouble
    assert stage.ask(ChangePassword(context(), False, "a", "b")) == i(1, 9) + s(str(trouble))
    assert stage.ask(Authenticate(context(), "a"))[:8] == i(1, 9)


def test_a_remembered_lock_bites_while_nobody_can_be_asked(stage):
    stage.backend.authorised = Unavailable("no master answers")
    assert stage.ask(Authorise(context("bob")))[:8] == i(1, 13)
    assert stage.ask(Authorise(context("alice")))[:8] == i(1, 9)
    stage.backend.authorised = PamResult(PamCode.SUCCESS)
    assert stage.ask(Authorise(context("bob")))[:8] == i(1, 0), "a backend that can be asked knows better"


@pytest.mark.parametrize(("code", "wanted"), [*CODES.items(), ("something-new", PamCode.PERM_DENIED)])
def test_refusals_have_their_pam_code(stage, code, wanted):
    stage.backend.changed = Refused(code, "because")
    answer = stage.ask(ChangePassword(context(), False, "a", "b"))
    if wanted is PamCode.USER_UNKNOWN:
        assert answer is None
    else:
        assert answer == i(1, wanted) + s("because")


def test_an_error_of_ours_is_logged_without_the_password_and_is_no_refusal(stage, logged_errors):
    stage.backend.authenticated = ZeroDivisionError("oops")
    assert stage.ask(Authenticate(context(), "topsecret"))[:8] == i(1, 9)
    texts = "".join(logged_errors.texts())
    assert "oops" in texts
    assert "topsecret" not in texts
    logged_errors.flush(ZeroDivisionError)


def test_patience_ends_and_the_change_goes_on_unheard(stage):
    stage.backend.changed = Deferred()
    results = stage.start(ChangePassword(context(), False, "a", "b"))
    stage.clock.advance(24.9)
    assert results == []
    stage.clock.advance(0.2)
    assert b"may still take effect" in results[0]
    stage.backend.changed.callback(PamResult(PamCode.SUCCESS))
    assert len(results) == 1


def test_a_late_failure_is_taken_too(stage):
    stage.backend.authenticated = Deferred()
    results = stage.start(Authenticate(context(), "a"))
    stage.clock.advance(30)
    assert results[0][8:16] == i(1, 9)
    stage.backend.authenticated.errback(Unavailable("too late"))


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        ("open", PamCode.SUCCESS),
        ("warn", PamCode.SUCCESS),
        ("change", PamCode.NEW_AUTHTOK_REQD),
        ("locked", PamCode.ACCT_EXPIRED),
        ("expired", PamCode.ACCT_EXPIRED),
        ("inactive", PamCode.AUTHTOK_EXPIRED),
    ],
)
def test_standings_have_their_pam_code(standing, code):
    state = AccountState(standing, 3)
    assert verdict(state) == PamResult(code, state.text)
