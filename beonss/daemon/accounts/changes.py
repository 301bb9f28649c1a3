"""What it takes to change accounts by command: in turn, written, audited, and followed to the other masters.

The rules of each change are made by the caller, from the view as it is in its turn; two commands on one master never
decide on the same view, so they cannot give one number away twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import Source
from beonss.core.replication.registers import Change, Register
from beonss.daemon.accounts.parts import Store
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.parameters import Parameters, flag, words
from beonss.daemon.passwords.following import Masters
from beonss.errors import BeonssError, Refused
from beonss.net.control import Operation, Peer, Report

#: Seconds a command waits for other masters to say that they hold what it wrote.
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What one command is to do.

    Attributes:
        changes: to write; none if it is so already.
        about: whom it is about, for the audit log: ``user alice (1004)``.
        message: what to say when it is done.
        data: more of the answer.
        detail: what was changed, for the audit log.
    """

    changes: Sequence[Change]
    about: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


Decide = Callable[[AccountView], Decision]


class AccountChanges:
    """Carries out decisions.

    Args:
        reactor: for the time a command waits.
        accounts: held here.
        masters: the others.
        ready: waits for the end of the boot reconciliation: before it, a decision could rest on an old state.
        trail: the audit log.
        machine: the name of this master.
        patience: seconds to wait for other masters.

    Attributes:
        turn: held from a decision until it is written; whoever else decides on numbers takes it too.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        accounts: Store,
        masters: Masters,
        ready: Callable[[], Awaitable[None]],
        trail: AuditTrail,
        machine: str,
        patience: float = PATIENCE,
    ) -> None:
        self._reactor = reactor
        self._accounts = accounts
        self._masters = masters
        self._ready = ready
        self._trail = trail
        self._machine = machine
        self._patience = patience
        self.turn = DeferredLock()

    @property
    def author(self) -> str:
        """Who makes the changes, for the registers: only root may."""
        return f"root@{self._machine}"

    async def carry_out(self, event: str, name: str, decide: Decide, uid: int, *, dry_run: bool) -> dict[str, Any]:
        """Decide, write, audit, and wait a moment for the other masters; return the answer.

        Args:
            event: for the audit log (``user-add``).
            name: whom the command named.
            decide: makes the decision; called again if somebody else was faster.
            uid: who asks, as the kernel says.
            dry_run: decide only.

        Raises:
            Refused: the decision, or that somebody else changed the same thing twice meanwhile.
            StoreError: it could not be written.
        """
        await self._ready()
        source = Source(uid=uid)
        await self.turn.acquire()
        try:
            decision, written = await self._decide_and_write(decide, dry_run=dry_run)
        except BeonssError as error:
            if not dry_run:
                code = error.code if isinstance(error, Refused) else "failed"
                self._trail.record(event, name, source, author=self.author, outcome="refused", code=code)
            raise
        finally:
            self.turn.release()
        answer = {"changed": bool(decision.changes), "dry_run": dry_run, "message": decision.message, **decision.data}
        if dry_run or not written:
            return answer
        self._trail.record(
            event,
            name,
            source,
            author=self.author,
            outcome="changed",
            object=decision.about,
            detail=decision.detail or None,
        )
        return {**answer, **await self._followed(written[-1])}

    async def _decide_and_write(self, decide: Decide, *, dry_run: bool) -> tuple[Decision, list[Register]]:
        view = self._accounts.view
        decision = decide(view)
        if dry_run or not decision.changes:
            return decision, []
        try:
            return decision, await self._accounts.write(decision.changes, self.author)
        except Refused as error:
            if error.code != "changed-meanwhile":
                raise
        # What another master wrote came in this moment: look again, once.
        decision = decide(view)
        return decision, await self._accounts.write(decision.changes, self.author) if decision.changes else []

    async def _followed(self, last: Register) -> dict[str, Any]:
        """Return which masters hold a write and which do not yet; wait for those that are there."""

        def lacking(*, reachable: bool) -> list[str]:
            peers = self._masters.peers.items()
            return sorted(
                name
                for name, peer in peers
                if not self._masters.holds(name, last.stamp) and (peer.reachable or not reachable)
            )

        done: Deferred[None] = Deferred()

        def look(_: str = "") -> None:
            if not done.called and not lacking(reachable=True):
                done.callback(None)

        cancel = self._masters.on_acknowledge(look)
        timer = self._reactor.callLater(self._patience, lambda: None if done.called else done.callback(None))
        try:
            look()
            await done
        finally:
            cancel()
            if timer.active():
                timer.cancel()
        waiting = lacking(reachable=False)
        held = sorted({self._machine, *(name for name in self._masters.peers if name not in waiting)})
        return {"held": held, "waiting": waiting}


def changing(changes: AccountChanges, name: str, maker: Callable[[Parameters], Decide]) -> Operation:
    """Return the operation, for root, that carries out what ``maker`` makes of its parameters, and ``dry_run``."""

    async def run(parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        about = words(parameters, "name", "") or words(parameters, "id", "")
        decide, dry_run = maker(parameters), flag(parameters, "dry_run")
        return await changes.carry_out(name.replace(".", "-"), about, decide, peer.uid, dry_run=dry_run)

    return Operation(run, needs_root=True)
