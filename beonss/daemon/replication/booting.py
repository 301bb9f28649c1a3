"""The boot of a master among masters: asks what all others hold, and says when logins need not wait any more.

The rule is :mod:`beonss.core.replication.reconcile`; this feeds it with what the exchange sees and the clock.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.cluster.members import Roster
from beonss.core.replication.reconcile import Boot, Outcome
from beonss.core.replication.registers import Context
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.replication.membership import Membership


class Pulls(Protocol):
    """What the boot needs of the exchange (:class:`beonss.daemon.replication.sync.Sync`)."""

    def on_pulled(self, callback: Callable[[str, Context], None]) -> Callable[[], None]:
        """Have ``callback`` called with (peer, its vector) each time we hold all that a peer held."""


class Booting:
    """One boot of this master.

    Args:
        reactor: for the time.
        name: this master.
        pulls: the exchange.
        membership: who else there is.
        accounts: settles its incarnation with the outcome.
        patience: seconds until logins no longer wait.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, *, name: str, pulls: Pulls, membership: Membership, accounts: Accounts, patience: float
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._pulls = pulls
        self._membership = membership
        self._accounts = accounts
        self._patience = patience
        self._boot: Boot | None = None
        self._timer: IDelayedCall | None = None
        self._cancels: list[Callable[[], None]] = []
        self._waiting: list[Deferred[None]] = []
        self._done = False

    def start(self) -> None:
        """Begin to wait for the others. Call it before the exchange starts."""
        now = self._reactor.seconds()
        self._boot = Boot(self._others(self._membership.roster), now, self._patience)
        self._cancels = [self._pulls.on_pulled(self._pulled), self._membership.listen(self._members_changed)]
        self._timer = self._reactor.callLater(max(0.0, self._boot.deadline - now), self._late)
        self._weigh()

    def stop(self) -> None:
        """Wait for nobody any more."""
        for cancel in self._cancels:
            cancel()
        self._cancels.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.cancel()

    @property
    def outcome(self) -> Outcome:
        """How the boot stands."""
        return Outcome("starting", (), None) if self._boot is None else self._boot.outcome

    def ready(self) -> "Deferred[None]":
        """Fire when logins and password changes need not wait any more; may be cancelled."""
        if self._done:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    def _forget(self, waiter: "Deferred[None]") -> None:
        self._waiting = [other for other in self._waiting if other is not waiter]

    def _others(self, roster: Roster) -> list[str]:
        return [member.name for member in roster.joined() if member.name != self._name]

    def _pulled(self, name: str, vector: Context) -> None:
        assert self._boot is not None
        self._boot.answered(name, vector, self._reactor.seconds())
        self._weigh()

    def _members_changed(self, roster: Roster) -> None:
        assert self._boot is not None
        self._boot.members_changed(self._others(roster), self._reactor.seconds())
        self._weigh()

    def _late(self) -> None:
        assert self._boot is not None
        self._timer = None
        # The timer may fire a hair early by the other clock's reckoning; its deadline has come all the same.
        self._boot.tick(max(self._boot.deadline, self._reactor.seconds()))
        self._weigh()

    def _weigh(self) -> None:
        assert self._boot is not None
        outcome = self._boot.outcome
        if self._done or outcome.state == "starting":
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if outcome.missing:
            self.log.warn(
                "boot is partial: {missing} did not answer within {patience} s; what only they hold comes later",
                missing=", ".join(outcome.missing),
                patience=self._patience,
            )
        else:
            self.log.info("boot is reconciled: everything that every other master held is here")
        settling = Deferred.fromCoroutine(self._accounts.settle(self._boot.answers()))
        settling.addErrback(self._unsettled)
        settling.addCallback(lambda _: self._release())

    def _unsettled(self, failure: Failure) -> None:
        self.log.failure("deciding about the incarnation failed; the next write takes a new one", failure)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
