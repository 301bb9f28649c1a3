"""What ``beonss accounts`` may ask of a master on the control socket, and lists of accounts. Root only, all of it.

Accounts of an import come in chunks, so that one request stays small and a shared commit short; each chunk is
planned against what is held in that moment. No reply holds a hash.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from twisted.internet.defer import DeferredLock

from beonss.core.accounts.entries import Kind, Password
from beonss.core.accounts.importing import Plan, group_changes, plan, user_changes
from beonss.core.accounts.intents import password_day, set_password
from beonss.core.accounts.records import Batch, batch_from_json
from beonss.core.accounts.view import Group, User
from beonss.core.passwords.attempts import Source
from beonss.daemon.accounts.parts import Floors, Store
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.parameters import flag, number
from beonss.daemon.targets.deliveries import Deliveries
from beonss.errors import MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import secret_parameter, text_parameter

#: Records in one chunk at most: a commit of more would hold up password changes.
MAX_CHUNK = 2000
#: Milliseconds in a day.
_DAY = 86_400_000
#: Accounts in one event of a list.
_LISTED = 500

Parameters = Mapping[str, Any]
Answer = Mapping[str, Any]


class AccountOperations:
    """The operations, and what they work on.

    Args:
        accounts: held here.
        deliveries: to the targets of this master.
        floors: returns the cluster's floors as they are now.
        machine: the name of this master.
        clock: the wall clock in ms.
        trail: the audit log; None keeps none.
        turn: held while a chunk is planned and written, so that nobody gives away a number of it meanwhile.
    """

    def __init__(
        self,
        accounts: Store,
        deliveries: Deliveries,
        floors: Callable[[], Floors],
        machine: str,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        *,
        trail: AuditTrail | None = None,
        turn: DeferredLock | None = None,
    ) -> None:
        self._accounts = accounts
        self._deliveries = deliveries
        self._floors = floors
        self._machine = machine
        self._clock = clock
        self._trail = trail
        self._turn = turn or DeferredLock()

    async def terms(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Say which numbers are the cluster's: ``uid_floor`` and ``gid_floor``; and the ``targets`` of this master."""
        floors = self._floors()
        return {
            "uid_floor": floors.uid_floor,
            "gid_floor": floors.gid_floor,
            "machine": self._machine,
            "targets": list(self._deliveries.targets()),
        }

    # --- imports ----------------------------------------------------------------------------------------------------

    async def plan(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Say what an import of this chunk would do; parameters as in :meth:`take`, and ``coming``."""
        coming = parameters.get("coming", [])
        if not isinstance(coming, list) or not all(isinstance(name, str) for name in coming):
            raise MalformedError("coming is not a list of names")
        return _planned(self._plan(_chunk(parameters), parameters, coming))

    async def take(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Import a chunk of accounts.

        It is ``users`` and ``groups`` (:func:`beonss.core.accounts.records.to_json`), ``overwrite``, ``revive``.
        The answer holds ``items`` (kind, name, action, details; without those that are unchanged), ``counts``,
        ``unknown_members`` and ``written``, the number of registers.
        """
        batch = _chunk(parameters)
        await self._turn.acquire()
        try:
            answer = await self._take_twice(batch, parameters, Source(uid=peer.uid))
        finally:
            self._turn.release()
        return answer

    async def _take_twice(self, batch: Batch, parameters: Parameters, source: Source) -> Answer:
        try:
            return await self._take(batch, parameters, source)
        except Refused as error:
            if error.code != "changed-meanwhile":
                raise
        # Somebody changed one of these accounts in this moment: look again, once.
        return await self._take(batch, parameters, source)

    async def _take(self, batch: Batch, parameters: Parameters, source: Source) -> Answer:
        made = self._plan(batch, parameters)
        view = self._accounts.view
        written = 0
        changes = [change for step in made.users for change in user_changes(view, step, self._clock())]
        if changes:
            written += len(await self._accounts.write(changes, self._author))
            self._note_import("user", made, source)
        # The members of a group may be users that were made just now.
        changes = [change for step in made.groups for change in group_changes(view, step, self._clock())]
        if changes:
            written += len(await self._accounts.write(changes, self._author))
            self._note_import("group", made, source)
        return {**_planned(made), "written": written}

    async def set_hash(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Give the user ``name`` a ready-made ``hash`` (crypt(5)), as ``chpasswd -e`` does; ``changed`` is its day.

        For programs that bring many over one connection. The answer comes when it is durable here and holds
        ``written``, 0 if it was so already. Whatever else is said of passwords (policy, ageing) is not looked at.
        """
        name, hash_ = text_parameter(parameters, "name"), secret_parameter(parameters, "hash")
        day = number(parameters, "changed")
        if not hash_:
            raise MalformedError("parameter 'hash' is missing")
        try:
            password = Password(hash_.decode("ascii"), self._clock() // _DAY if day is None else day)
        except UnicodeDecodeError:
            raise MalformedError("parameter 'hash' is no crypt(5) string") from None
        changes = set_password(self._accounts.view, name, password)
        if not changes:
            return {"written": 0}
        written = len(await self._accounts.write(changes, self._author))
        self._note("set-hash", name, peer)
        return {"written": written}

    def _plan(self, batch: Batch, parameters: Parameters, coming: Sequence[str] = ()) -> Plan:
        floors = self._floors()
        return plan(
            self._accounts.view,
            batch,
            overwrite=flag(parameters, "overwrite"),
            revive=flag(parameters, "revive"),
            coming=coming,
            uid_floor=floors.uid_floor,
            gid_floor=floors.gid_floor,
        )

    # --- looking ----------------------------------------------------------------------------------------------------

    async def listing(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:
        """Report ``accounts`` events with ``rows``: users, or groups if ``kind`` is ``group``; by number."""
        view = self._accounts.view
        kind: Kind = "group" if parameters.get("kind") == "group" else "user"
        rows: Iterator[dict[str, Any]]
        if kind == "group":
            rows = ({**asdict(group.entry), "members": list(group.members)} for group in view.groups())
        else:
            rows = (_row(user) for user in view.users())
        count = view.count(kind)
        while part := list(islice(rows, _LISTED)):
            report("accounts", rows=part)
            await peer.drained()
        return {"count": count}

    async def show(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Say all that is known of the user, or of the group if ``kind`` is ``group``, of a ``name``; no hash."""
        name = text_parameter(parameters, "name")
        view = self._accounts.view
        kind: Kind = "group" if parameters.get("kind") == "group" else "user"
        user = view.user(name) if kind == "user" else None
        group = view.group(name) if kind == "group" else None
        claiming = set(view.claimants(kind, "name", name))
        conflicts = [one.reason for one in view.conflicts() if claiming & {one.owner, *one.losers}]
        if user is None and group is None and not conflicts:
            raise Refused(f"unknown-{kind}", f"there is no {kind} {name!r}")
        return {
            "user": None if user is None else self._user(user),
            "group": None if group is None else self._group(group),
            "conflicts": conflicts,
        }

    def _user(self, user: User) -> dict[str, Any]:
        password = user.password
        return {
            **_row(user),
            "id": user.id,
            "changed": password_day(self._accounts.view, user),
            "must_change": password is not None and password.changed == 0,
            "aging": asdict(user.aging),
            "groups": [group.entry.name for group in self._accounts.view.groups_of(user.entry.name)],
            "history": self._history(user.id),
            "targets": self._standings(user.id),
        }

    def _group(self, group: Group) -> dict[str, Any]:
        return {
            **asdict(group.entry),
            "members": list(group.members),
            "id": group.id,
            "history": self._history(group.id),
            "targets": self._standings(group.id),
        }

    def _history(self, object_id: str) -> list[dict[str, Any]]:
        """Return who wrote which part last, the newest first; times are ms since the epoch."""
        registers = sorted(self._accounts.view.registers(object_id), key=lambda register: register.stamp, reverse=True)
        return [
            {"field": one.key.field, "time": one.stamp.time, "author": one.author, "origin": one.stamp.origin}
            for one in registers[:20]
        ]

    def _standings(self, object_id: str) -> dict[str, dict[str, Any]]:
        found = {}
        for target in self._deliveries.targets():
            standing = self._deliveries.standing(target, object_id)
            found[target] = {"verdict": standing.verdict or "waiting", "text": standing.text}
        return found

    # --- delivering ---------------------------------------------------------------------------------------------------

    async def reassert(self, parameters: Parameters, peer: Peer, report: Report) -> Answer:  # noqa: ARG002
        """Deliver ``names`` (null: all) to a ``target`` again, over what somebody else wrote there; ``shrink``."""
        target = text_parameter(parameters, "target")
        names = parameters.get("names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise MalformedError("names is not a list of names")
        if target not in self._deliveries.targets():
            known = ", ".join(self._deliveries.targets()) or "none"
            raise Refused("unknown-target", f"this master has no target {target!r}; it has: {known}")
        count = self._deliveries.reassert(target, names, shrink=flag(parameters, "shrink"))
        self._note("reassert", "", peer, f"{count} accounts to {target}")
        return {"count": count, "message": f"{count} accounts are delivered to {target} again; see: beonss status"}

    @property
    def _author(self) -> str:
        return f"root@{self._machine}"

    def _note(self, event: str, user: str, peer: Peer, detail: str | None = None) -> None:
        if self._trail is not None:
            source = Source(uid=peer.uid)
            self._trail.record(event, user, source, author=self._author, outcome="changed", detail=detail)

    def _note_import(self, kind: Kind, made: Plan, source: Source) -> None:
        if self._trail is None:
            return
        done = [item for item in made.items if item.kind == kind and item.action in {"create", "change"}]
        lines = [
            {"user": item.name, "object": kind, "detail": "new" if item.action == "create" else ", ".join(item.details)}
            for item in done
        ]
        self._trail.record_all("import", source, lines, author=self._author, outcome="changed")

    def table(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        run = {
            "terms": self.terms,
            "plan": self.plan,
            "import": self.take,
            "set-hash": self.set_hash,
            "list": self.listing,
            "show": self.show,
            "reassert": self.reassert,
        }
        return {f"accounts.{name}": Operation(function, needs_root=True) for name, function in run.items()}


def account_operations(
    accounts: Store,
    deliveries: Deliveries,
    floors: Callable[[], Floors],
    machine: str,
    *,
    trail: AuditTrail | None = None,
    turn: DeferredLock | None = None,
) -> Mapping[str, Operation]:
    """Return what ``beonss accounts`` may ask on the control socket; see :class:`AccountOperations`."""
    return AccountOperations(accounts, deliveries, floors, machine, trail=trail, turn=turn).table()


def _row(user: User) -> dict[str, Any]:
    """Return a user for people: whether there is a password, never which."""
    if user.locked:
        state = "locked"
    elif user.password is None:
        state = "no password"
    else:
        state = "must change" if user.password.changed == 0 else "active"
    return {**asdict(user.entry), "state": state}


def _planned(made: Plan) -> dict[str, Any]:
    return {
        "items": [
            {"kind": item.kind, "name": item.name, "action": item.action, "details": list(item.details)}
            for item in made.items
            if item.action != "unchanged" or item.details
        ],
        "counts": dict(made.counts),
        "unknown_members": [list(pair) for pair in made.unknown_members],
    }


def _chunk(parameters: Parameters) -> Batch:
    batch = batch_from_json(parameters.get("users"), parameters.get("groups"))
    if len(batch.users) + len(batch.groups) > MAX_CHUNK:
        raise MalformedError(f"more than {MAX_CHUNK} accounts in one request")
    return batch
