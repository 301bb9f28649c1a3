"""Logins on a master: whose password it is, who may try how often, and when that can be known at all."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from beonss.core.accounts.view import AccountView, User
from beonss.core.passwords.attempts import Attempts, Source
from beonss.core.passwords.change import checked_account
from beonss.core.replication.registers import Change, Register
from beonss.daemon.audit_trail import UNKNOWN_USER, AuditTrail
from beonss.daemon.passwords.attempt_memory import AttemptMemory, Notes
from beonss.daemon.passwords.parts import AuthResult
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.daemon.threads import in_reactor
from beonss.errors import Refused
from beonss.store.crypt import UnusableHash
from beonss.store.hashing import HashingThreads


class Store(Notes, Protocol):
    """The accounts on this machine; :class:`beonss.daemon.accounts.state.Accounts` is one."""

    @property
    def view(self) -> AccountView:
        """Users and groups as committed."""

    async def write(self, changes: Sequence[Change], author: str) -> list[Register]:
        """Make changes durable here."""


class Logins:
    """Verifies passwords on a master.

    Args:
        reactor: for times and results of threads; its ``seconds()`` need not be the wall clock.
        accounts: the accounts here.
        hashing: the threads that hash.
        trail: a line for each try.
        settings: returns what holds now.
        ready: returns a new Deferred that fires when the boot reconciliation is over, in whatever way.
        wall: seconds since the epoch.

    Attributes:
        attempts: who guessed how often.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        accounts: Store,
        hashing: HashingThreads,
        trail: AuditTrail,
        settings: Callable[[], PasswordSettings],
        ready: "Callable[[], Deferred[Any]] | None",
        wall: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._accounts = accounts
        self._hashing = hashing
        self._trail = trail
        self._settings = settings
        self._ready = ready
        self.attempts = Attempts(settings().limits)
        self._memory = AttemptMemory(reactor, accounts, self.attempts, wall)

    async def start(self) -> None:
        """Take over the failures remembered before a restart, and keep them from now on."""
        await self._memory.start()

    async def stop(self) -> None:
        """Keep the failures once more."""
        await self._memory.stop()

    async def authenticate(self, user: str, password: bytes, source: Source) -> AuthResult:
        """Say whether this is the user's password; whether the account may be used today is another question.

        Raises:
            Unavailable: that cannot be known now.
        """
        try:
            await self.booted()
            account = self.account(user)
            await self.prove(account, password, source)
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

    async def prove(self, account: User, password: bytes, source: Source) -> None:
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
                right = await in_reactor(
                    self._reactor, self._hashing.verify(source.key, password, account.password.hash)
                )
        except UnusableHash as error:
            raise Refused("unusable-hash", f"the password of {user!r} cannot be verified: {error}") from None
        finally:
            self.attempts.end(user, source, self._now(), right)
        if not right:
            raise Refused("wrong-password", "the password is wrong")

    def account(self, user: str) -> User:
        """Return a user of the cluster.

        Raises:
            Refused: ``unknown-user`` or ``below-floor``.
        """
        found = self._accounts.view.user(user)
        checked_account(found, user, self._settings().uid_floor)
        assert found is not None
        return found

    async def booted(self) -> None:
        """Wait until the boot reconciliation is over, but no longer than the patience for it."""
        if self._ready is None:
            return
        done: Deferred[None] = Deferred()

        def go(_: object = None) -> None:
            if not done.called:
                done.callback(None)

        timer = self._reactor.callLater(self._settings().boot_patience, go)
        self._ready().addBoth(go)
        try:
            await done
        finally:
            if timer.active():
                timer.cancel()

    def _now(self) -> float:
        return float(self._reactor.seconds())
