"""Logins and changes on a master: who is refused and why, what is written, who is told what and when.

Invariants 12 and 16 of the account sync: no plaintext password anywhere, and a clear refusal with an audit line.
"""

import json
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock

from beonss.core.accounts.entries import AGING, PASSWORD, Aging, Password, UserEntry, decode, encode
from beonss.core.accounts.intents import create_user, delete_user, set_lock
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import LOCAL, Source
from beonss.core.passwords.policy import Policy
from beonss.core.replication.registers import ABSENT, Key, Register, Stamp
from beonss.daemon.passwords import standards
from beonss.daemon.passwords.attempt_memory import NOTE
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.parts import ChangeRequest
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.daemon.targets.deliveries import Standing
from beonss.errors import Refused, StoreError, Unavailable
from beonss.store.audit import AuditLog, read_on
from beonss.store.crypt import UnusableHash
from beonss.store.hashing import HashingThreads

DAY = 20000
ORIGIN = "a" * 32
OLD, NEW = b"mellon-speak", b"correct horse battery"


class ThreadlessClock(Clock):
    """A fake clock whose threads are the test itself."""

    def callFromThread(self, function, *arguments):
        function(*arguments)


class FakeStore:
    """Accounts in memory with the real view, and writes that compare as the real ones do."""

    def __init__(self):
        self.view = AccountView()
        self.sequence = 0
        self.notes = {}
        self.error = None
        self.gate = None
        self.authors = []

    def now(self, changes):
        written = []
        for change in changes:
            old = self.view.register(change.key)
            if change.expect is not None and change.expect != (ABSENT if old is None else old.stamp):
                raise Refused("changed-meanwhile", "somebody else changed it")
            self.sequence += 1
            written.append(Register(change.key, change.value, Stamp(self.sequence, ORIGIN, self.sequence)))
        self.view.apply(written)
        return written

    async def write(self, changes, author):
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            raise self.error
        self.authors.append(author)
        return self.now(changes)

    async def get(self, name):
        return self.notes.get(name)

    async def put(self, name, value):
        if self.error is not None:
            raise self.error
        self.notes[name] = value


class FakeHashing:
    """Hashes that anybody can read, made at once or when the test says so."""

    def __init__(self):
        self.held = None
        self.sources = []

    def verify(self, source, plain, hash_):
        self.sources.append(source)
        if hash_ == "$weird":
            return self._future(error=UnusableHash("of no known kind"))
        return self._future(hash_ == "$6$" + plain.hex())

    def hash_password(self, source, plain, scheme, cost, entropy):
        assert len(entropy) == 16
        return self._future("$6$" + plain.hex())

    def _future(self, result=None, error=None):
        future = Future()
        if self.held is not None:
            self.held.append((future, result))
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def close(self):
        pass


class FakeMasters:
    """Other masters that the test has acknowledge things."""

    def __init__(self, wall):
        self.wall = wall
        self.peers = {}
        self.holding = set()
        self.callbacks = []

    def add(self, name, reachable=True):
        self.peers[name] = SimpleNamespace(reachable=reachable, since=self.wall())

    def holds(self, name, stamp):
        return (name, stamp.sequence) in self.holding

    def acknowledge(self, name, sequence):
        self.holding.add((name, sequence))
        for callback in list(self.callbacks):
            callback(name)

    def on_acknowledge(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


class FakeTargets:
    """Targets that the test moves."""

    def __init__(self):
        self.states = {}
        self.callbacks = []

    def targets(self):
        return tuple(self.states)

    def standing(self, target, object_id):
        assert len(object_id) == 32
        return Standing(*self.states[target])

    def move(self, target, verdict, text="", objects=None):
        self.states[target] = (verdict, text)
        for callback in list(self.callbacks):
            callback(target, frozenset(objects or ()))

    def on_progress(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


class House:
    """A master with alice, and everything around its passwords."""

    def __init__(self, tmp_path):
        self.clock = ThreadlessClock()
        self.store = FakeStore()
        self.hashing = FakeHashing()
        self.masters = FakeMasters(self.wall)
        self.targets = FakeTargets()
        self.audit = AuditLog(tmp_path / "audit.log", self.wall, "frodo")
        #: How far the wall clock was set away from where it was.
        self.step = 0.0
        self.ready = None
        self.passwords = Passwords(
            self.clock,
            accounts=self.store,
            masters=self.masters,
            hashing=self.hashing,
            audit=self.audit,
            name="frodo",
            targets=self.targets,
            ready=lambda: self.ready or Deferred(lambda _: None),
            settings=PasswordSettings(boot_patience=0.0),
            wall=self.wall,
        )
        self.add("alice", 1001)

    def wall(self):
        return DAY * 86400.0 + self.step + self.clock.seconds()

    def add(self, name, uid, **options):
        options.setdefault("password", Password("$6$" + OLD.hex(), DAY - 100))
        entry = UserEntry(name, uid, 100, "Alice Liddell", f"/home/{name}", "/bin/sh")
        self.store.now(create_user(self.store.view, entry, 1, **options))

    def start(self, **arguments):
        """Begin a change; return what comes of it, which a test may look at before it is done."""
        arguments = {
            "user": "alice",
            "old": OLD,
            "new": NEW,
            "source": Source(LOCAL, 1001),
            "author": "alice@frodo",
        } | arguments
        told = []
        deferred = Deferred.fromCoroutine(self.passwords.change(ChangeRequest(**arguments), told.append))
        running = SimpleNamespace(told=told, deferred=deferred, result=None, error=None)

        def keep(name):
            return lambda value: setattr(running, name, value)

        deferred.addCallbacks(keep("result"), lambda failure: setattr(running, "error", failure.value))
        self.clock.advance(0)
        return running

    def login(self, password=OLD, user="alice", source=Source(LOCAL, 0, "far")):  # noqa: B008
        results = []
        Deferred.fromCoroutine(self.passwords.authenticate(user, password, source)).addBoth(results.append)
        self.clock.advance(0)
        (result,) = results
        return result

    def password(self, user="alice"):
        return self.store.view.user(user).password

    def lines(self):
        return read_on(self.audit.path, None)[0] if self.audit.path.exists() else []


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def places(running):
    return [(line.name, line.state) for line in running.told]


# --- logins ----------------------------------------------------------------------------------------------------------


def test_the_right_password_is_right_and_audited(house):
    assert house.login().ok
    (line,) = house.lines()
    assert (line["event"], line["user"], line["outcome"], line["source"]) == (
        "authenticate",
        "alice",
        "ok",
        "local uid 0 from far",
    )


@pytest.mark.parametrize(
    ("options", "arguments", "code"),
    [
        ({}, {"password": b"wrong"}, "wrong-password"),
        ({}, {"password": b""}, "wrong-password"),
        ({}, {"user": "nobody-here"}, "unknown-user"),
        ({"locked": True}, {"user": "bob"}, "locked"),
        ({"locked": True}, {"user": "bob", "password": b"wrong"}, "wrong-password"),
        ({"password": None}, {"user": "bob"}, "wrong-password"),
        ({"password": Password("$weird")}, {"user": "bob"}, "unusable-hash"),
    ],
)
def test_a_login_that_is_refused_says_why_and_leaves_an_audit_line(house, options, arguments, code):
    house.add("bob", 1002, **options)
    result = house.login(**arguments)
    assert (result.ok, result.code) == (False, code)
    assert result.message
    assert [line["code"] for line in house.lines()] == [code]


def test_system_accounts_are_not_known_here(house):
    house.passwords.settings = PasswordSettings(uid_floor=5000, boot_patience=0.0)
    assert house.login().code == "below-floor"


def test_guessing_is_slowed_down_per_source_and_the_flood_of_refusals_is_not_audited(house):
    for _ in range(6):
        assert house.login(b"guess").code == "wrong-password"
    verified = len(house.hashing.sources)
    for _ in range(100):
        assert house.login().code == "rate-limited"
    assert len(house.hashing.sources) == verified
    assert [line["code"] for line in house.lines()] == ["wrong-password"] * 6 + ["rate-limited"]
    assert house.login(source=Source(LOCAL, 1001)).ok
    house.clock.advance(2)
    assert house.login().ok


def test_remembered_failures_outlive_a_restart(house, tmp_path):
    for _ in range(8):
        house.login(b"guess")
    Deferred.fromCoroutine(house.passwords.stop())
    again = House(tmp_path)
    again.store.notes = house.store.notes
    Deferred.fromCoroutine(again.passwords.start())
    assert again.login().code == "rate-limited"
    again.clock.advance(61)
    Deferred.fromCoroutine(again.passwords.stop())
    assert NOTE in again.store.notes
    assert b"guess" not in again.store.notes[NOTE]


@pytest.mark.parametrize("step", [-400 * 86400.0, 400 * 86400.0])
def test_a_clock_that_steps_neither_locks_out_nor_lets_guess(house, step):
    """The wait after guesses goes on as if nothing had happened, and is over in its time."""
    for _ in range(8):
        house.login(b"guess")
    house.step = step
    assert house.login().code == "rate-limited"
    house.clock.advance(301)
    assert house.login().code == "ok"


def test_failures_remembered_by_a_clock_that_was_ahead_are_over_in_their_time(house, tmp_path):
    house.step = 400 * 86400.0
    for _ in range(8):
        house.login(b"guess")
    Deferred.fromCoroutine(house.passwords.stop())
    again = House(tmp_path)
    again.store.notes = house.store.notes
    Deferred.fromCoroutine(again.passwords.start())
    assert again.login().code == "rate-limited"
    again.clock.advance(301)
    assert again.login().code == "ok"


def test_unreadable_or_unwritable_memory_of_failures_stops_nothing(house, logged_errors):
    house.store.notes[NOTE] = b"garbage"
    Deferred.fromCoroutine(house.passwords.start())
    house.store.error = StoreError("disk full")
    house.clock.advance(61)
    Deferred.fromCoroutine(house.passwords.stop())
    assert house.login().ok
    assert len(logged_errors.flush()) == 3


# --- changes: who may ------------------------------------------------------------------------------------------------


def test_a_change_is_hashed_here_stamped_with_the_day_and_written_once(house):
    running = house.start()
    assert house.password() == Password("$6$" + NEW.hex(), DAY)
    assert places(running) == [("frodo", "changed")]
    assert (running.result.code, running.result.message) == ("ok", "the password is changed")
    assert house.store.authors == ["alice@frodo"]
    assert house.login(NEW).ok
    assert not house.login(OLD).ok


@pytest.mark.parametrize(
    ("options", "arguments", "code"),
    [
        ({}, {"user": "nobody-here"}, "unknown-user"),
        ({}, {"old": b"wrong"}, "wrong-password"),
        ({}, {"old": None}, "old-password-needed"),
        ({}, {"new": b"short"}, "weak-password"),
        ({}, {"new": OLD}, "weak-password"),
        ({}, {"new": b"bob was here!"}, None),
        ({}, {"new": b"x" * 512}, "weak-password"),
        ({}, {"new": b"a\0bcdefghijkl"}, "weak-password"),
        ({"locked": True}, {}, "locked"),
        ({"aging": Aging(expires=1)}, {}, "expired"),
        ({"aging": Aging(minimum=200)}, {}, "too-soon"),
        ({"password": Password("$weird")}, {}, "unusable-hash"),
        ({"password": None}, {}, "wrong-password"),
    ],
)
def test_a_change_that_is_refused_says_why_changes_nothing_and_leaves_an_audit_line(house, options, arguments, code):
    house.add("bobby", 1002, **options)
    before = house.store.sequence
    running = house.start(**{"user": "bobby", **arguments})
    if code is None:
        assert running.error is None
        return
    assert isinstance(running.error, Refused)
    assert running.error.code == code
    assert running.told == []
    assert house.store.sequence == before
    (line,) = house.lines()
    assert (line["event"], line["outcome"], line["code"]) == ("change-password", "refused", code)


def test_whoever_does_not_know_the_old_password_learns_nothing_of_the_account(house):
    house.add("bobby", 1002, locked=True)
    assert house.start(user="bobby", old=b"wrong").error.code == "wrong-password"


@pytest.mark.parametrize("options", [{}, {"locked": True}, {"password": None}, {"aging": Aging(minimum=200)}])
def test_root_of_a_master_needs_no_old_password_and_is_bound_by_no_limit(house, options):
    house.add("bobby", 1002, **options)
    running = house.start(user="bobby", old=None, privileged=True, author="root@frodo")
    assert running.result.code == "ok"
    assert house.password("bobby").hash == "$6$" + NEW.hex()
    assert house.store.view.user("bobby").locked is bool(options.get("locked"))


def test_root_is_warned_of_a_weak_password_but_not_stopped_unless_it_is_impossible(house):
    running = house.start(old=None, privileged=True, new=b"123")
    assert running.result.code == "ok"
    assert "shorter than 8" in running.result.message
    assert house.start(old=None, privileged=True, new=b"").error.code == "weak-password"
    house.passwords.settings = PasswordSettings(policy=Policy(binds_root=True), boot_patience=0.0)
    assert house.start(old=None, privileged=True, new=b"123").error.code == "weak-password"


def test_two_changes_at_once_do_not_overwrite_each_other_unseen(house):
    house.hashing.held = []
    first, second = house.start(), house.start(new=b"another good password")
    for _ in range(2):
        held, house.hashing.held = house.hashing.held, []
        for future, result in held:
            future.set_result(result)
    assert first.result.code == "ok"
    assert second.error.code == "changed-meanwhile"
    assert house.password().hash == "$6$" + NEW.hex()


@pytest.mark.parametrize(
    "intervention", [lambda view: set_lock(view, "alice", locked=True), lambda view: delete_user(view, "alice")]
)
def test_an_account_locked_or_deleted_while_hashing_is_not_changed(house, intervention):
    house.hashing.held = []
    running = house.start()
    ((future, result),) = house.hashing.held
    house.store.now(intervention(house.store.view))
    house.hashing.held = None
    future.set_result(result)
    assert running.error.code == "changed-meanwhile"


@pytest.mark.parametrize("error", [StoreError("disk full"), Unavailable("writing is halted")])
def test_a_write_that_fails_is_told_and_audited(house, error):
    house.store.error = error
    running = house.start()
    assert running.error is error
    assert house.lines()[-1]["outcome"] == "failed"
    assert house.password().hash == "$6$" + OLD.hex()


# --- changes: who is told what ---------------------------------------------------------------------------------------


def test_each_master_is_told_of_when_it_acknowledges_and_the_end_comes_with_the_last(house):
    house.masters.add("gamgee")
    house.masters.add("merry")
    running = house.start()
    sequence = house.store.sequence
    assert places(running) == [("frodo", "changed")]
    house.masters.acknowledge("merry", sequence)
    assert places(running)[1:] == [("merry", "changed")]
    assert running.result is None
    house.clock.advance(0.5)
    house.masters.acknowledge("gamgee", sequence)
    assert running.result.code == "ok"
    assert (running.result.held, running.result.masters) == (3, 3)
    assert house.masters.callbacks == []
    assert house.clock.getDelayedCalls() == []


def test_a_master_that_is_away_is_buffered_at_once_since_when_it_is_away(house):
    house.masters.add("gamgee")
    house.masters.add("merry", reachable=False)
    running = house.start()
    assert [(line.name, line.state, line.since) for line in running.told][1:] == [("merry", "buffered", DAY * 86400.0)]
    house.masters.acknowledge("gamgee", house.store.sequence)
    assert running.result.code == "ok"
    assert running.result.away == ("merry",)


def test_a_master_that_comes_back_in_time_gets_a_second_line(house):
    house.masters.add("gamgee")
    house.masters.add("merry", reachable=False)
    running = house.start()
    house.masters.acknowledge("merry", house.store.sequence)
    house.masters.acknowledge("gamgee", house.store.sequence)
    assert places(running)[1:] == [("merry", "buffered"), ("merry", "changed"), ("gamgee", "changed")]
    assert running.result.away == ()


def test_a_master_that_does_not_confirm_in_time_is_buffered_and_held_here_only_is_said(house):
    house.masters.add("gamgee")
    running = house.start()
    house.clock.advance(2.9)
    assert running.result is None
    house.clock.advance(0.2)
    assert places(running)[1:] == [("gamgee", "buffered")]
    assert running.told[1].detail == "did not confirm it within 3 s"
    assert running.result.code == "held-here-only"
    assert house.lines()[-1]["outcome"] == "held-here-only"


def test_a_master_removed_meanwhile_is_not_waited_for(house):
    house.masters.add("gamgee")
    running = house.start()
    del house.masters.peers["gamgee"]
    house.clock.advance(0.1)
    for callback in list(house.masters.callbacks):
        callback("")
    assert running.result.masters == 1


def test_targets_are_told_of_as_they_take_the_change_or_do_not(house):
    house.targets.states = {"files": (None, ""), "ldap": (None, ""), "slow": (None, ""), "away": (None, "no answer")}
    alice = {house.store.view.user("alice").id}
    running = house.start()
    house.targets.move("files", "delivered", objects=alice)
    house.targets.move("ldap", "failed", "the directory is busy", objects=alice)
    assert running.result is None
    house.targets.move("ldap", "refused", "there is no such entry", objects=alice)
    house.clock.advance(3.1)
    assert places(running) == [
        ("frodo", "changed"),
        ("away", "pending"),
        ("files", "changed"),
        ("ldap", "pending"),
        ("ldap", "refused"),
        ("slow", "pending"),
    ]
    assert running.result.code == "target-refused"
    assert running.result.pending == ("away", "slow")
    assert house.targets.callbacks == []


def test_what_a_target_said_of_an_older_value_is_not_taken_for_its_answer(house):
    house.targets.states = {"ldap": ("conflict", "a value that is not ours")}
    running = house.start()
    house.targets.move("ldap", "conflict", "a value that is not ours", objects={"f" * 32})
    assert places(running) == [("frodo", "changed")]
    house.targets.move("ldap", "delivered", objects={house.store.view.user("alice").id})
    assert places(running)[1:] == [("ldap", "changed")]
    assert running.result.code == "ok"


def test_a_target_that_is_told_as_the_user_gets_both_passwords_after_the_commit(house):
    """What its ordinary delivery says meanwhile does not count; root's change, without the old password, goes there."""
    house.targets.states = {"ad": ("refused", "pending for alice: run cpasswd again"), "files": ("delivered", "")}
    alice = house.store.view.user("alice").id
    told, answer = [], Deferred()

    def as_user(object_id, old, new):
        told.append((object_id, old, new, house.password().changed))
        return {"ad": answer}

    house.passwords._as_user = as_user
    running = house.start()
    assert told == [(alice, OLD, NEW, DAY)]
    house.targets.move("ad", "refused", "pending for alice: run cpasswd again", objects={alice})
    assert places(running) == [("frodo", "changed"), ("files", "changed")]
    answer.callback(Standing("delivered"))
    assert places(running)[-1] == ("ad", "changed")
    assert running.result.code == "ok"

    running = house.start(old=None, privileged=True, new=b"another good password")
    house.targets.move("ad", "refused", "pending for alice: run cpasswd again", objects={alice})
    assert len(told) == 1
    assert running.result.code == "target-refused"


@pytest.mark.parametrize(("verdict", "state"), [("refused", "refused"), ("failed", "refused"), (None, "pending")])
def test_a_target_that_fails_as_the_user_is_said_to_have_the_old_password(house, verdict, state):
    answer = Deferred()
    house.passwords._as_user = lambda *_: {"ad": answer}
    running = house.start()
    if verdict is not None:
        answer.callback(Standing(verdict, "the directory is away: run cpasswd again"))
    house.clock.advance(3.1)
    assert places(running)[-1] == ("ad", state)


def test_a_teller_that_fails_does_not_harm_the_change(house, logged_errors):
    house.passwords._masters.add("gamgee", reachable=False)

    def tell(line):
        raise RuntimeError("nobody listens")

    results = []
    request = ChangeRequest("alice", NEW, OLD, Source(LOCAL, 1001), "alice@frodo")
    Deferred.fromCoroutine(house.passwords.change(request, tell)).addCallback(results.append)
    house.clock.advance(0)
    assert results[0].code == "held-here-only"
    assert len(logged_errors.flush(RuntimeError)) == 2


# --- time, cancelling, secrets ---------------------------------------------------------------------------------------


def test_a_login_waits_for_the_boot_reconciliation_but_not_for_ever(house):
    house.passwords.settings = PasswordSettings()
    results = []
    for _ in range(2):
        Deferred.fromCoroutine(house.passwords.authenticate("alice", OLD, Source())).addCallback(results.append)
        house.clock.advance(4.9)
        assert results == []
        house.clock.advance(0.2)
        assert results.pop().ok


@pytest.mark.parametrize("how", ["fires", "fails"])
def test_a_boot_that_is_over_lets_logins_go_at_once(house, how):
    house.passwords.settings = PasswordSettings()
    house.ready = Deferred() if how == "fires" else fail(RuntimeError("boot"))
    results = []
    Deferred.fromCoroutine(house.passwords.authenticate("alice", OLD, Source())).addCallback(results.append)
    if how == "fires":
        house.ready.callback(None)
    assert results.pop().ok
    assert house.clock.getDelayedCalls() == []


def test_cancelled_before_the_commit_nothing_is_changed_and_no_failure_is_counted(house):
    house.hashing.held = []
    running = house.start()
    running.deferred.cancel()
    assert isinstance(running.error, CancelledError)
    assert house.hashing.held[0][0].cancelled()
    assert house.password().hash == "$6$" + OLD.hex()
    house.hashing.held = None
    assert house.start().result.code == "ok"


def test_cancelled_during_the_commit_the_change_is_still_made_and_audited(house):
    house.store.gate = Deferred()
    running = house.start()
    running.deferred.cancel()
    assert isinstance(running.error, CancelledError)
    house.store.gate.callback(None)
    assert house.password().hash == "$6$" + NEW.hex()
    assert house.lines()[-1]["outcome"] == "changed"


def test_no_password_or_hash_is_in_a_repr_the_audit_log_or_the_failures(house, logged_errors):
    request = ChangeRequest("alice", NEW, OLD)
    assert NEW.decode() not in repr(request)
    assert OLD.decode() not in repr(request)
    house.start(old=b"wrong-secret-1")
    house.start()
    house.login(b"wrong-secret-2")
    written = house.audit.path.read_text() + house.passwords._logins.attempts.dump().decode()
    for secret in ("wrong-secret", NEW.decode(), OLD.decode(), NEW.hex(), "$6$"):
        assert secret not in written
    assert json.loads(house.audit.path.read_text().splitlines()[0])


def test_the_value_written_is_a_password_register_and_nothing_else(house):
    house.start()
    user = house.store.view.user("alice")
    assert decode(Password, house.store.view.register(Key(user.id, PASSWORD)).value).changed == DAY
    assert house.store.view.register(Key(user.id, AGING)) is None
    assert encode(user.password)


def test_a_scheme_that_libcrypt_here_cannot_make_is_a_problem_told_at_the_start(house, monkeypatch):
    assert house.passwords.problem() == ""
    for schemes, words in ((lambda: ("yescrypt",), "cannot make sha512crypt"), (_no_libcrypt, "no libcrypt")):
        monkeypatch.setattr(standards, "schemes", schemes)
        assert words in house.passwords.problem()


def _no_libcrypt():
    raise StoreError("this machine has no libcrypt")


def test_a_change_that_nobody_waits_for_any_more_and_that_breaks_is_logged(house, logged_errors):
    house.store.gate = Deferred()
    house.start().deferred.cancel()
    house.store.gate.errback(ZeroDivisionError())
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    house.store.gate = Deferred()
    house.start().deferred.cancel()
    house.store.gate.errback(StoreError("disk full"))
    assert house.lines()[-1]["outcome"] == "failed"


def test_a_password_that_the_scheme_would_cut_short_is_not_taken(house):
    house.passwords.settings = PasswordSettings(scheme="bcrypt", boot_patience=0.0)
    long = b"correct horse battery staple " * 3
    assert house.start(new=long, old=None, privileged=True).error.code == "weak-password"
    assert house.start(new=long[:72]).result.code == "ok"


def test_an_audit_line_that_cannot_be_written_stops_no_login_and_is_an_alarm(house):
    house.audit.path.mkdir()
    assert house.login().ok
    assert "cannot be written" in house.audit.problem
    house.audit.path.rmdir()
    assert house.login().ok
    assert not house.audit.problem


def test_while_the_daemon_stops_nothing_can_be_verified(house):
    house.hashing.held = []
    results = []
    Deferred.fromCoroutine(house.passwords.authenticate("alice", OLD, Source())).addErrback(results.append)
    house.clock.advance(0)
    house.hashing.held[0][0].cancel()
    assert results[0].check(Unavailable)


@ensureDeferred
async def test_with_real_threads_and_libcrypt_a_change_is_made(tmp_path):
    """The same with the real reactor, real hashing threads and libxcrypt."""
    house = House(tmp_path)
    hashing = HashingThreads()
    passwords = Passwords(
        reactor,
        accounts=house.store,
        masters=house.masters,
        hashing=hashing,
        audit=house.audit,
        name="frodo",
        settings=PasswordSettings(cost=5000),
    )
    told = []
    try:
        outcome = await passwords.change(
            ChangeRequest("alice", NEW, None, Source(LOCAL, 0), "root@frodo", True), told.append
        )
        assert outcome.code == "ok"
        assert house.password().hash.startswith("$6$")
        assert (await passwords.authenticate("alice", NEW, Source())).ok
        assert not (await passwords.authenticate("alice", OLD, Source())).ok
    finally:
        hashing.close()
