"""Edits made by hand at a target become changes of the cluster: found by polling, taken over under its guards.

A look has three steps, because targets block and the view belongs to the reactor: which accounts are not as delivered
(in a thread), what the cluster wants of them now (here), what somebody made of them (in the thread, again under the
lock). What is then written expects the registers to be as they were: whoever changed one meanwhile wins, and the look
is repeated. Nothing is taken over before the boot reconciliation is done: base has to be the winner as the others
know it too.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.accounts.importing import group_changes, plan, user_changes
from beonss.core.accounts.records import Batch
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import Source
from beonss.core.replication.registers import Change
from beonss.core.targets.delivery import State, states_of
from beonss.core.targets.edits import AccountEdit, Findings, edit_changes
from beonss.daemon.accounts.parts import Floors, Store
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.threads import InThread, Threads
from beonss.errors import BeonssError, MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import text_parameter

#: Seconds between two polls; an edit is taken over when two of them saw the same files.
INTERVAL = 1.0
#: Accounts made in one commit.
CHUNK = 200

#: (user or group, its name, what was done with it or why not).
Told = tuple[str, str, str]


@runtime_checkable
class Editable(Protocol):
    """A target where people may edit: :class:`beonss.targets.files.FilesTarget`, ``LdapTarget``."""

    name: str

    @property
    def imports(self) -> bool:
        """Whether edits become changes by themselves."""

    def stirred(self) -> bool:
        """Say whether somebody wrote there since the last look."""

    def contested(self) -> tuple[str, ...]:
        """Return the names of accounts that are not ours there, as far as known."""

    def look(self, adopt: Collection[str] | None = ()) -> tuple[str, ...]:
        """Return the ids of the accounts that are not as delivered."""

    def edits(self, states: Sequence[State], adopt: Collection[str] | None = ()) -> Findings:
        """Return what somebody made of them."""

    def looked(self, refused: Sequence[tuple[str, str, str]] = ()) -> None:
        """Note what was taken over, but for ``refused``: (kind, name, why)."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look took over (sentences for people), and what not."""

    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()


class Edits:
    """Looks for edits at the targets of this machine.

    Args:
        reactor: for time, and for coming back from threads.
        accounts: where the changes go.
        targets: all targets; those where nobody edits are left alone.
        floors: returns the cluster's floors.
        machine: the name of this master, for the changes' author.
        ready: returns a Deferred that fires when the boot reconciliation is over.
        clock: the wall clock in ms.
        in_thread: runs a blocking function elsewhere; None makes a thread.
        trail: the audit log; None keeps none.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        accounts: Store,
        targets: Sequence[object],
        *,
        floors: Callable[[], Floors],
        machine: str,
        ready: "Callable[[], Deferred[Any]]",
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        in_thread: InThread | None = None,
        trail: AuditTrail | None = None,
    ) -> None:
        self._accounts = accounts
        self._trail = trail
        self._floors = floors
        self._machine = machine
        self._ready = ready
        self._clock = clock
        self._targets = {target.name: target for target in targets if isinstance(target, Editable)}
        self._locks = {name: DeferredLock() for name in self._targets}
        self._errors: dict[str, str] = {}
        self._stopped = False
        self._in_thread = Threads(reactor, 1, "beonss-edits", in_thread)
        self._loop = LoopingCall(self._poll)
        self._loop.clock = reactor

    async def start(self) -> None:
        """Begin to look, once the boot reconciliation is over."""
        if not self._targets:
            return
        await self._ready()
        if not self._stopped:
            self._loop.start(INTERVAL)

    async def stop(self) -> None:
        """Wait for a look on its way and end."""
        self._stopped = True
        if self._loop.running:
            self._loop.stop()
        for lock in self._locks.values():
            await lock.acquire()
        self._in_thread.stop()

    def problems(self) -> list[str]:
        """Return why some targets cannot be looked at, a sentence each."""
        return list(self._errors.values())

    async def _poll(self) -> None:
        for name, target in self._targets.items():
            if self._stopped or self._locks[name].locked:
                continue
            try:
                if await self._in_thread(target.stirred):
                    await self._look(target, ())
                    self._errors.pop(name, None)
            except BeonssError as error:
                text = f"{name}: edits by hand are not looked at: {error}"
                if self._errors.get(name) != text:
                    self.log.warn("{text}", text=text)
                self._errors[name] = text
            except Exception:  # noqa: BLE001 - a loop logs and lives on
                self.log.failure("looking for edits at {target} failed", target=name)

    async def adopt(self, name: str, names: Collection[str] | None, source: Source | None = None) -> Taken:
        """Take over what stands at a target, because an administrator says so; None means all.

        Args:
            name: of the target.
            names: of the accounts.
            source: who asks.

        Raises:
            Refused: there is no such target.
            TargetError, StoreError: nothing could be looked at, or written.
        """
        target = self._targets.get(name)
        if target is None:
            known = ", ".join(sorted(self._targets)) or "none"
            raise Refused(
                "unknown-target",
                f"this master has no target {name!r} from which accounts can be taken; it has: {known}",
            )
        return await self._look(target, names, source)

    async def _look(self, target: Editable, adopt: Collection[str] | None, source: Source | None = None) -> Taken:
        await self._locks[target.name].acquire()
        try:
            ids = dict.fromkeys(await self._in_thread(target.look, adopt))
            view = self._accounts.view
            for name in target.contested() if adopt is None else adopt:
                ids.update(dict.fromkeys(one.id for one in (view.user(name), view.group(name)) if one is not None))
            states = {object_id: self._state(object_id) for object_id in ids}
            known = [state for state in states.values() if state is not None]
            findings: Findings = await self._in_thread(target.edits, known, adopt)
            look = _Look(target, source, [], list(findings.problems))
            if not target.imports and adopt is not None and not adopt:
                look.refused.extend(_told(findings))
                findings = Findings()
            # Users before groups: who is new may be a member.
            revive = adopt is None or bool(adopt)
            for edit in findings.edits:
                if edit.kind == "user":
                    await self._take(look, edit)
            for start in range(0, len(findings.users), CHUNK):
                await self._plan(look, Batch(findings.users[start : start + CHUNK], (), ()), revive=revive)
            for edit in findings.edits:
                if edit.kind == "group":
                    await self._take(look, edit)
            for start in range(0, len(findings.groups), CHUNK):
                await self._plan(look, Batch((), findings.groups[start : start + CHUNK], ()), revive=revive)
            await self._in_thread(target.looked, look.refused)
        finally:
            self._locks[target.name].release()
        texts = tuple(f"{kind} {name}: {what}" for kind, name, what in look.changed)
        for text in texts:
            self.log.info("{target}: taken over from there: {text}", target=target.name, text=text)
        for kind, name, why in look.refused:
            self.log.warn(
                "{target}: {kind} {name} is not taken over: {why}", target=target.name, kind=kind, name=name, why=why
            )
        self._audit(look, look.refused, outcome="refused")
        return Taken(texts, tuple(look.refused))

    def _state(self, object_id: str) -> State | None:
        for state in states_of(self._accounts.view, object_id):
            if state.object == object_id and state.entry is not None:
                return state
        return None

    def _author(self, target: Editable) -> str:
        return f"edit of {target.name}@{self._machine}"

    def _audit(self, look: "_Look", told: Sequence[Told], *, outcome: str) -> None:
        """Write who took over what: an administrator who asked for it, or somebody whom no file names."""
        if self._trail is None:
            return
        lines = [{"user": name, "object": kind, "detail": what} for kind, name, what in told]
        event, who = ("adopt", look.source) if look.source is not None else ("edit", f"hand edit on {self._machine}")
        self._trail.record_all(event, who, lines, author=self._author(look.target), outcome=outcome)

    def _done(self, look: "_Look", told: Sequence[Told]) -> None:
        look.changed.extend(told)
        self._audit(look, told, outcome="changed")

    async def _take(self, look: "_Look", edit: AccountEdit) -> None:
        what = ", ".join(_parts(self._accounts.view, edit))
        try:
            changes = edit_changes(self._accounts.view, edit)
            if changes:
                await self._accounts.write(changes, self._author(look.target))
        except Refused as error:
            look.refused.append((edit.kind, edit.name, str(error)))
        else:
            if changes:
                self._done(look, [(edit.kind, edit.name, what)])

    async def _plan(self, look: "_Look", batch: Batch, *, revive: bool) -> None:
        floors, view = self._floors(), self._accounts.view
        made = plan(view, batch, revive=revive, uid_floor=floors.uid_floor, gid_floor=floors.gid_floor)
        changes: list[Change] = []
        try:
            for step in made.users:
                changes += user_changes(view, step, self._clock())
            for group_step in made.groups:
                changes += group_changes(view, group_step, self._clock())
            if changes:
                await self._accounts.write(changes, self._author(look.target))
        except Refused as error:
            look.refused.extend((item.kind, item.name, str(error)) for item in made.items)
            return
        done: list[Told] = []
        for item in made.items:
            if item.action == "skip":
                look.refused.append((item.kind, item.name, ", ".join(item.details)))
            elif item.action != "unchanged":
                done.append((item.kind, item.name, "new" if item.action == "create" else ", ".join(item.details)))
        self._done(look, done)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a target: who wanted it, and what came of it so far."""

    target: Editable
    source: Source | None
    changed: list[Told]
    refused: list[Told]


def _parts(view: AccountView, edit: AccountEdit) -> list[str]:
    """Return what an edit changes, word by word, for people."""
    entry = edit.entry
    held = view.user_by_id(edit.object) or view.group_by_id(edit.object)
    if entry is None or held is None or type(entry) is not type(held.entry):
        return list(edit.parts)
    words = [word for word in type(entry).__annotations__ if getattr(entry, word) != getattr(held.entry, word)]
    return [word for word in words if word != "name"] + [part for part in edit.parts if part != "entry"]


def _told(findings: Findings) -> list[Told]:
    why = "edits are only reported here"
    told: list[Told] = [(edit.kind, edit.name, f"{', '.join(edit.parts)}; {why}") for edit in findings.edits]
    told += [("user", record.entry.name, f"new; {why}") for record in findings.users]
    return told + [("group", group.entry.name, f"new; {why}") for group in findings.groups]


class Followable(Protocol):
    """Sources of accounts: :class:`beonss.daemon.targets.sources.Sources`."""

    def names(self) -> tuple[str, ...]:
        """Return their names."""

    async def adopt(self, name: str, source: Source | None = None) -> Taken:
        """Take over what one says, whatever speaks against it."""


def edit_operations(edits: Edits, sources: Followable | None = None) -> Mapping[str, Operation]:
    """Return what ``beonss accounts adopt`` may ask on the control socket."""

    async def adopt(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        """Take over ``names`` (null: all) of a ``target``."""
        names = parameters.get("names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise MalformedError("names is not a list of names")
        target = text_parameter(parameters, "target")
        if sources is not None and target in sources.names():
            if names is not None:
                raise Refused("bad-request", f"{target} is a source: it is followed as a whole; say --all")
            taken = await sources.adopt(target, Source(uid=peer.uid))
        else:
            taken = await edits.adopt(target, names, Source(uid=peer.uid))
        refused = [f"{kind} {name}: {why}" for kind, name, why in taken.refused]
        return {
            "changed": list(taken.changed),
            "refused": refused,
            "message": f"{len(taken.changed)} accounts are changed in the cluster, {len(refused)} left out",
        }

    return {"accounts.adopt": Operation(adopt, needs_root=True)}
