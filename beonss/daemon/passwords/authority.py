"""Logins and password changes on a master: from what somebody typed to a hash that every master holds.

A change is verified, judged, hashed and committed here; then it spreads as any register does
(:mod:`beonss.daemon.replication.sync`) and to the targets (:mod:`beonss.daemon.targets.deliveries`), and whoever asked
is told place by place, as each becomes known. A plaintext password is in memory here, as long as it takes, and nowhere
else.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.accounts.entries import PASSWORD, Password, encode
from beonss.core.accounts.view import User
from beonss.core.passwords.agreement import Agreement
from beonss.core.passwords.attempts import Source
from beonss.core.passwords.change import Line, Outcome, check_owner, outcome
from beonss.core.passwords.hashes import SCHEMES
from beonss.core.passwords.policy import impossibilities
from beonss.core.replication.registers import ABSENT, Change, Key, Register
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.passwords.following import Answers, AsUser, Following, Masters, Targets, TargetStanding, Tell
from beonss.daemon.passwords.logins import Logins, Store
from beonss.daemon.passwords.parts import AuthResult, ChangeRequest
from beonss.daemon.passwords.standards import PasswordSettings, Standards
from beonss.errors import BeonssError, Refused
from beonss.store.audit import AuditLog
from beonss.store.hashing import HashingThreads
from beonss.store.pwquality import PasswordQuality

T = TypeVar("T")
#: (object id, old password, new hash, new password); see
#: :meth:`beonss.daemon.passwords.direct_changes.DirectChanges.first`.
First = Callable[[str, bytes | None, Password, bytes], Awaitable[None]]


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
        self._accounts = accounts
        self._masters = masters
        self._targets = targets
        self._as_user = as_user
        self._first = first
        self._hashing = hashing
        self._trail = AuditTrail(audit, self._now)
        self._wall = wall
        self.name = name
        self.settings = settings or PasswordSettings()
        self._logins = Logins(
            reactor,
            accounts=accounts,
            hashing=hashing,
            trail=self._trail,
            settings=lambda: self.settings,
            ready=ready,
            wall=wall,
        )
        self._standards = Standards(
            reactor,
            hashing=hashing,
            name=name,
            settings=lambda: self.settings,
            random=random,
            quality=quality,
            others=others,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the failures remembered before a restart, and keep them from now on."""
        if problem := self.problem():
            self.log.error("{problem}", problem=problem)
        await self._logins.start()

    async def stop(self) -> None:
        """Keep the failures once more and end the hashing threads; call it before the accounts are stopped."""
        await self._logins.stop()
        self._hashing.close()

    def problem(self) -> str:
        """Return why new passwords are not judged or hashed here as they should be; empty if they are."""
        return self._standards.problem()

    def agreement(self) -> Agreement:
        """Return what new passwords are hashed with: the cluster's scheme if every member can make and verify it."""
        return self._standards.agreement()

    # --- logins -----------------------------------------------------------------------------------------------------

    async def authenticate(self, user: str, password: bytes, source: Source) -> AuthResult:
        """Say whether this is the user's password; see :meth:`beonss.daemon.passwords.logins.Logins.authenticate`."""
        return await self._logins.authenticate(user, password, source)

    async def note_unknown(self, source: Source) -> None:
        """Note that somebody came as a user that there is not; never the name, which may be a password."""
        await self._logins.note_unknown(source)

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
            await self._logins.booted()
            account = self._logins.account(request.user)
            key = Key(account.id, PASSWORD)
            seen = self._accounts.view.register(key)
            warnings = await self._permit(request, account)
            hash_ = await self._standards.hashed(request)
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
            await self._logins.prove(account, request.old, request.source)
            check_owner(account, self._day())
        reasons, binds_root = await self._standards.judged(request, account.entry.gecos)
        scheme = self.agreement().scheme
        if len(request.new) > SCHEMES[scheme].longest:
            raise Refused("weak-password", f"{scheme} cannot hash a password of this length")
        if reasons and (binds_root or not request.privileged):
            raise _weak(reasons)
        return _listed(reasons)

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
