"""Logins and password changes on a master: from what somebody typed to a hash that every master holds.

A change is verified, judged, hashed and committed here; then it spreads as any register does
(:mod:`beonss.daemon.replication.sync`) and to the targets (:mod:`beonss.daemon.targets.deliveries`), and whoever asked
is told place by place, as each becomes known. A plaintext password is in memory here, as long as it takes, and nowhere
else.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.accounts.entries import PASSWORD, Password, encode
from beonss.core.accounts.view import AccountView, User
from beonss.core.passwords.agreement import Agreement, agreed
from beonss.core.passwords.attempts import AttemptLimits, Attempts, Source
from beonss.core.passwords.change import Line, Outcome, check_owner, checked_account, outcome
from beonss.core.passwords.hashes import DEFAULT_SCHEME, SCHEMES
from beonss.core.passwords.policy import Policy, Reason, impossibilities, too_short, weaknesses
from beonss.core.replication.registers import ABSENT, Change, Key, Register
from beonss.daemon.audit_trail import UNKNOWN_USER, AuditTrail
from beonss.daemon.passwords.attempt_memory import AttemptMemory, Notes
from beonss.daemon.passwords.following import Answers, AsUser, Following, Masters, Targets, TargetStanding, Tell
from beonss.errors import BeonssError, ConfigurationError, Refused, StoreError, Unavailable
from beonss.store.audit import AuditLog
from beonss.store.crypt import ENTROPY, UnusableHash, schemes
from beonss.store.hashing import HashingThreads
from beonss.store.pwquality import PasswordQuality

T = TypeVar("T")
#: (object id, old password, new hash, new password); see
#: :meth:`beonss.daemon.passwords.direct_changes.DirectChanges.first`.
First = Callable[[str, bytes | None, Password, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """What holds for passwords in this cluster.

    Attributes:
        uid_floor: users below it are their machine's own and not known here.
        scheme: what new passwords are hashed with, a key of :data:`beonss.core.passwords.hashes.SCHEMES`.
        cost: in the scheme's own measure; None for its default.
        patience: seconds a change waits for the other masters and the targets to say that they have it.
        boot_patience: seconds a login or change waits for the boot reconciliation.
    """

    uid_floor: int = 1000
    scheme: str = DEFAULT_SCHEME
    cost: int | None = None
    policy: Policy = field(default_factory=Policy)
    limits: AttemptLimits = field(default_factory=AttemptLimits)
    patience: float = 3.0
    boot_patience: float = 5.0


@dataclass(frozen=True, slots=True)
class AuthResult:
    """Whether a password is a user's.

    Attributes:
        ok: it is, and the account is not locked.
        code: ``ok``, ``wrong-password``, ``unknown-user``, ``locked``, ``rate-limited``, ``busy`` or ``unusable-hash``.
        message: for the user; empty when ok.
    """

    ok: bool
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A password change that somebody asks for.

    Attributes:
        old: what is said to be the password until now; None if it was not given, as only ``privileged`` allows.
        source: where it was typed.
        author: who asks, for people (``alice@frodo``).
        privileged: root of a master asks: the old password is not needed. Never true for what a node relays.
    """

    user: str
    new: bytes = field(repr=False)
    old: bytes | None = field(default=None, repr=False)
    source: Source = field(default_factory=Source)
    author: str = ""
    privileged: bool = False


class Store(Notes, Protocol):
    """The accounts on this machine; :class:`beonss.daemon.accounts.state.Accounts` is one."""

    @property
    def view(self) -> AccountView:
        """Users and groups as committed."""

    async def write(self, changes: Sequence[Change], author: str) -> list[Register]:
        """Make changes durable here."""


class Passwords:
    """Verifies and changes passwords on a master.

    Args:
        reactor: for times and results of threads; its ``seconds()`` need not be the wall clock.
        accounts: the accounts here.
        masters: the other masters.
        targets: the delivery targets of this master.
        hashing: the threads that hash.
        audit: a line for each try.
        name: of this master.
        settings: may be replaced at any time.
        as_user: brings a change to targets that take it only from the user, who knows both passwords.
        first: makes it at those that have to agree before it is committed; raises if one does not.
        ready: returns a new Deferred that fires when the boot reconciliation is over, in whatever way.
        random: makes salts.
        wall: seconds since the epoch, for the day of a change.
        quality: the rules of this machine for new passwords, instead of our own; None where it has none.
        others: gives what each other member can hash with, None where it has not said.

    Attributes:
        settings: what holds for passwords.
        attempts: who guessed how often.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        accounts: Store,
        masters: Masters,
        hashing: HashingThreads,
        audit: AuditLog,
        name: str,
        settings: PasswordSettings | None = None,
        targets: Targets | None = None,
        as_user: AsUser | None = None,
        first: First | None = None,
        ready: "Callable[[], Deferred[Any]] | None" = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        wall: Callable[[], float] = time.time,
        quality: PasswordQuality | None = None,
        others: Callable[[], Mapping[str, Collection[str] | None]] = dict,
    ) -> None:
        self._reactor = reactor
        self._quality = quality
        self._quality_problem = ""
        self._others = others
        self._accounts = accounts
        self._masters = masters
        self._targets = targets
        self._as_user = as_user
        self._first = first
        self._hashing = hashing
        self._trail = AuditTrail(audit, self._now)
        self._ready = ready
        self._random = random
        self._wall = wall
        self.name = name
        self.settings = settings or PasswordSettings()
        self.attempts = Attempts(self.settings.limits)
        self._memory = AttemptMemory(reactor, accounts, self.attempts, wall)

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the failures remembered before a restart, and keep them from now on."""
        if problem := self.problem():
            self.log.error("{problem}", problem=problem)
        await self._memory.start()

    async def stop(self) -> None:
        """Keep the failures once more and end the hashing threads; call it before the accounts are stopped."""
        await self._memory.stop()
        self._hashing.close()

    # --- logins -----------------------------------------------------------------------------------------------------

    async def authenticate(self, user: str, password: bytes, source: Source) -> AuthResult:
        """Say whether this is the user's password; whether the account may be used today is another question.

        Raises:
            Unavailable: that cannot be known now.
        """
        try:
            await self._booted()
            account = self._account(user)
            await self._prove(account, password, source)
            if account.locked:
                raise Refused("locked", f"the account {user!r} is locked; ask an administrator of the cluster")
        except Refused as error:
            self._trail.record("authenticate", user, source, outcome="refused", code=error.code)
            return AuthResult(False, error.code, str(error))
        self._trail.record("authenticate", user, source, outcome="ok")
        return AuthResult(True, "ok")

    async def note_unknown(self, source: Source) -> None:
        """Note that somebody came as a user that there is not; never the name, which may be a password."""
        self._trail.record("authenticate", UNKNOWN_USER, source, outcome="refused", code="unknown-user")

    async def _prove(self, account: User, password: bytes, source: Source) -> None:
        """Return if this is the account's password.

        Raises:
            Refused: it is not, or the source tried too often; or ``unusable-hash``.
        """
        user = account.entry.name
        self.attempts.begin(user, source, self._now())
        right: bool | None = None
        try:
            if account.password is None:
                right = False
            else:
                right = await self._in_reactor(self._hashing.verify(source.key, password, account.password.hash))
        except UnusableHash as error:
            raise Refused("unusable-hash", f"the password of {user!r} cannot be verified: {error}") from None
        finally:
            self.attempts.end(user, source, self._now(), right)
        if not right:
            raise Refused("wrong-password", "the password is wrong")

    # --- changes ----------------------------------------------------------------------------------------------------

    async def change(self, request: ChangeRequest, tell: Tell) -> Outcome:
        """Change a password; call ``tell`` with a line for each master and target as it becomes known.

        Cancelled before the commit, nothing was changed; after it, the change stands.

        Raises:
            Refused: nothing was changed; ``code`` says why: ``unknown-user``, ``below-floor``, ``rate-limited``,
                ``old-password-needed``, ``wrong-password``, ``unusable-hash``, ``locked``, ``expired``, ``inactive``,
                ``too-soon``, ``weak-password``, ``changed-meanwhile``, ``busy``.
            Unavailable: that is not possible now; nothing was changed.
            StoreError: it could not be written; nothing was changed.
        """
        try:
            await self._booted()
            account = self._account(request.user)
            key = Key(account.id, PASSWORD)
            seen = self._accounts.view.register(key)
            warnings = await self._permit(request, account)
            hash_ = await self._hashed(request)
            if self._first is not None:
                await self._first(account.id, request.old, Password(hash_, self._day()), request.new)
        except BeonssError as error:
            self._record_change(request, error)
            raise
        written = await _shielded(Deferred.fromCoroutine(self._commit(request, account, seen, hash_)))
        direct: Answers = {}
        if self._as_user is not None and request.old is not None:
            direct = self._as_user(written.key.object, request.old, request.new)
        result = await self._followed(written, direct, tell)
        if warnings:
            result = replace(result, message=f"{result.message}. It is a weak one: {warnings}")
        self._trail.record(
            "password-held",
            request.user,
            request.source,
            outcome=result.code,
            held=result.held,
            masters=result.masters,
        )
        return result

    async def _permit(self, request: ChangeRequest, account: User) -> str:
        """Return what is weak about a password that is taken nevertheless, because root asks; mostly nothing."""
        # First what costs nothing and tells a stranger nothing.
        if impossible := impossibilities(request.new):
            raise _weak(impossible)
        if not request.privileged:
            if request.old is None:
                raise Refused("old-password-needed", "the old password is needed: only root of a master goes without")
            await self._prove(account, request.old, request.source)
            check_owner(account, self._day())
        reasons, binds_root = await self._judged(request, account)
        scheme = self.agreement().scheme
        if len(request.new) > SCHEMES[scheme].longest:
            raise Refused("weak-password", f"{scheme} cannot hash a password of this length")
        if reasons and (binds_root or not request.privileged):
            raise _weak(reasons)
        return _listed(reasons)

    async def _judged(self, request: ChangeRequest, account: User) -> tuple[Sequence[Reason], bool]:
        """Return why a password is weak, and whether root is held to that.

        Where this machine has libpwquality and its configuration, those decide, beside the cluster's least length.
        """
        policy, quality = self.settings.policy, self._quality
        if quality is not None:
            try:
                verdict = await self._in_reactor(
                    self._hashing.run(request.source.key, lambda: quality.judge(request.new, request.user, request.old))
                )
            except ConfigurationError as error:
                self._quality_problem = f"{error}; the rules of this software's own hold instead"
                self.log.error("{problem}", problem=self._quality_problem)
            else:
                self._quality_problem = ""
                return [*too_short(policy, request.new), *verdict.reasons], verdict.binds_root
        reasons = weaknesses(policy, request.new, request.user, account.entry.gecos, request.old)
        return reasons, policy.binds_root

    async def _hashed(self, request: ChangeRequest) -> str:
        chosen = self.agreement()
        return await self._in_reactor(
            self._hashing.hash_password(
                request.source.key, request.new, chosen.scheme, chosen.cost, self._random(ENTROPY)
            )
        )

    async def _commit(self, request: ChangeRequest, seen_account: User, seen: Register | None, hash_: str) -> Register:
        """Write the hash if nothing was changed since it was looked at; the audit line is part of it."""
        try:
            account = self._accounts.view.user(request.user)
            if account is None or account.id != seen_account.id or (account.locked and not seen_account.locked):
                raise Refused("changed-meanwhile", "an administrator changed the account in this moment; try again")
            value = encode(Password(hash_, self._day()))
            change = Change(Key(account.id, PASSWORD), value, ABSENT if seen is None else seen.stamp)
            (written,) = await self._accounts.write([change], request.author)
        except BeonssError as error:
            self._record_change(request, error)
            raise
        self._record_change(request, None)
        self.log.info(
            "password of {user} changed by {author} from {source}",
            user=request.user,
            author=request.author,
            source=str(request.source),
        )
        return written

    async def _followed(self, written: Register, direct: Answers, tell: Tell) -> Outcome:
        """Tell who has the change until everybody has or the patience ends."""
        following = Following(
            self.name,
            written,
            masters=self._masters,
            targets=self._targets,
            direct=direct,
            tell=self._safely(tell),
        )
        done: Deferred[None] = Deferred()

        def look(_: str = "") -> None:
            if following.look() and not done.called:
                done.callback(None)

        def progress(target: str, objects: frozenset[str]) -> None:
            following.progress(target, objects)
            look()

        def answered(result: TargetStanding, target: str) -> None:
            following.answered(target, result)
            look()

        cancels = [self._masters.on_acknowledge(look)]
        if self._targets is not None:
            cancels.append(self._targets.on_progress(progress))
        timer = self._reactor.callLater(self.settings.patience, lambda: None if done.called else done.callback(None))
        try:
            for target, deferred in direct.items():
                deferred.addCallback(answered, target).addErrback(self._unexpected)
            look()
            await done
        finally:
            for cancel in cancels:
                cancel()
            if timer.active():
                timer.cancel()
        following.give_up(self.settings.patience)
        return outcome(following.lines)

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("a target did not say what came of a password change", failure)

    def _safely(self, tell: Tell) -> Tell:
        def told(line: Line) -> None:
            try:
                tell(line)
            except Exception:  # noqa: BLE001 - the change stands, whoever cannot hear of it
                self.log.failure("the progress of a password change cannot be told")

        return told

    # --- what all share ---------------------------------------------------------------------------------------------

    def _account(self, user: str) -> User:
        found = self._accounts.view.user(user)
        checked_account(found, user, self.settings.uid_floor)
        assert found is not None
        return found

    def problem(self) -> str:
        """Return why new passwords are not judged or hashed here as they should be; empty if they are."""
        try:
            here = schemes()
        except StoreError as error:
            return str(error)
        agreement = self.agreement()
        if agreement.scheme not in here:
            return f"this machine's libcrypt cannot make {agreement.scheme} hashes: no password can be changed here"
        return self._quality_problem or agreement.problem(self.settings.scheme)

    def agreement(self) -> Agreement:
        """Return what new passwords are hashed with: the cluster's scheme if every member can make and verify it."""
        settings = self.settings
        try:
            here: Collection[str] = schemes()
        except StoreError:
            here = ()
        return agreed(settings.scheme, settings.cost, (self.name, here), self._others())

    async def _booted(self) -> None:
        """Wait until the boot reconciliation is over, but no longer than the patience for it."""
        if self._ready is None:
            return
        done: Deferred[None] = Deferred()

        def go(_: object = None) -> None:
            if not done.called:
                done.callback(None)

        timer = self._reactor.callLater(self.settings.boot_patience, go)
        self._ready().addBoth(go)
        try:
            await done
        finally:
            if timer.active():
                timer.cancel()

    def _in_reactor(self, future: "Future[T]") -> "Deferred[T]":
        def cancel(deferred: "Deferred[T]") -> None:
            deferred.errback(Failure(CancelledError()))
            future.cancel()

        done: Deferred[T] = Deferred(cancel)

        def finish() -> None:
            if done.called:
                return
            if future.cancelled():
                done.errback(Failure(Unavailable("the daemon is stopping")))
                return
            error = future.exception()
            if error is not None:
                done.errback(Failure(error))
            else:
                done.callback(future.result())

        future.add_done_callback(lambda _: self._reactor.callFromThread(finish))
        return done

    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _day(self) -> int:
        return int(self._wall() // 86400)

    def _record_change(self, request: ChangeRequest, error: BeonssError | None) -> None:
        code = None if error is None else error.code if isinstance(error, Refused) else type(error).__name__
        self._trail.record(
            "change-password",
            request.user,
            request.source,
            outcome="changed" if error is None else "refused" if isinstance(error, Refused) else "failed",
            code=code,
            author=request.author,
            privileged=request.privileged,
        )


def _weak(reasons: Sequence[tuple[str, str]]) -> Refused:
    return Refused("weak-password", f"the new password is not taken: {_listed(reasons)}")


def _listed(reasons: Sequence[tuple[str, str]]) -> str:
    return "; ".join(dict.fromkeys(message for _, message in reasons))


def _shielded(inner: "Deferred[T]") -> "Deferred[T]":
    """Return a Deferred with the result of another one that a cancellation does not reach."""
    outer: Deferred[T] = Deferred(lambda _: None)

    def done(result: T) -> None:
        if not outer.called:
            outer.callback(result)

    def failed(failure: Failure) -> None:
        if not outer.called:
            outer.errback(failure)
        elif not failure.check(BeonssError):
            Passwords.log.failure("a password change that nobody waits for any more failed", failure)

    inner.addCallbacks(done, failed)
    return outer
