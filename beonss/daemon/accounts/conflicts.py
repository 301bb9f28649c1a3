"""What ``beonss conflicts`` may ask of a master on the control socket: what is in conflict, and the ways out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from beonss.core.accounts import contested, intents
from beonss.core.accounts.entries import ENTRY, MEMBER_PREFIX, PASSWORD, GroupEntry, Kind, UserEntry, decode
from beonss.core.accounts.overruled import dismissal, find_overruled, lost_value, reassertion, told
from beonss.core.accounts.view import AccountView, Conflict
from beonss.core.replication.registers import Change, Key, Register
from beonss.daemon.accounts.changes import AccountChanges, Decide, Decision, changing
from beonss.daemon.accounts.life import AccountLife, check_floor
from beonss.daemon.accounts.parts import Floors
from beonss.daemon.parameters import Parameters, flag, number, words
from beonss.errors import MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import text_parameter

#: Accounts named in an audit line.
_NAMED = 5


class Store(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    @property
    def view(self) -> AccountView:
        """Users and groups as committed."""

    async def overruled(self) -> list[Register]:
        """Return concurrent writes that lost."""

    async def write(self, changes: Sequence[Change], author: str) -> list[Register]:
        """Make changes durable here, all or none."""


class ConflictOperations:
    """The operations on conflicts.

    Args:
        accounts: held here.
        changes: carries out what settles one.
        life: knows free numbers.
        foreign: returns texts about values at the targets that are not ours.
        floors: returns the cluster's floors as they are now.
    """

    def __init__(
        self,
        accounts: Store,
        changes: AccountChanges,
        life: AccountLife,
        *,
        foreign: Callable[[], Sequence[str]],
        floors: Callable[[], Floors],
    ) -> None:
        self._accounts = accounts
        self._changes = changes
        self._life = life
        self._foreign = foreign
        self._floors = floors

    async def listing(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG002
        """Say which accounts are not served and why, what is not ours at the targets, and which writes lost.

        ``accounts``: each with kind, claim, value, reason, ``owner`` (an id or null), ``losers`` (ids) and ``objects``:
        id, text, and who made it when. ``targets``: texts. ``overruled``: writes made elsewhere at the same time.
        """
        view = self._accounts.view
        overruled = [_overruled(view, row) for row in told(view, await self._accounts.overruled())]
        return {
            "accounts": [_conflict(view, conflict) for conflict in view.conflicts()],
            "targets": list(self._foreign()),
            "overruled": overruled,
        }

    def rename(self, parameters: Parameters) -> Decide:
        """Give the object whose id begins with ``id`` another ``name``."""
        name = text_parameter(parameters, "name")
        return _settle(parameters, lambda view, found: contested.rename_object(view, found, name), "renamed")

    def renumber(self, parameters: Parameters) -> Decide:
        """Give the object whose id begins with ``id`` another ``number``; without one, a free one."""
        wanted = number(parameters, "number")

        def change(view: AccountView, found: str) -> list[Change]:
            kind: Kind = "user" if isinstance(contested.entry_of(view, found), UserEntry) else "group"
            floors = self._floors()
            floor = floors.uid_floor if kind == "user" else floors.gid_floor
            chosen = self._life.free(view, (kind,), floor) if wanted is None else wanted
            check_floor("uid" if kind == "user" else "gid", chosen, floor)
            return contested.renumber_object(view, found, chosen)

        return _settle(parameters, change, "renumbered")

    def keep(self, parameters: Parameters) -> Decide:
        """Make the object whose id begins with ``id`` the owner of all it claims."""
        return _settle(parameters, contested.prefer_object, "preferred")

    def delete(self, parameters: Parameters) -> Decide:
        """Delete the object whose id begins with ``id``."""
        return _settle(parameters, intents.delete_object, "deleted")

    async def dismiss(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG002
        """Let what stands stand, of the account whose id begins with ``id`` (perhaps one ``field``), or of ``all``."""
        everything, field = flag(parameters, "all"), words(parameters, "field", "") or None
        prefix = "" if everything else text_parameter(parameters, "id", 64)
        rows = await self._accounts.overruled()
        renewals: list[str] = []

        def decide(view: AccountView) -> Decision:
            found = told(view, rows) if everything else find_overruled(view, rows, prefix, field)
            renewals[:] = [name for row in found if (name := _to_renew(view, row)) is not None]
            about = ", ".join(sorted({view.describe(row.key.object) for row in found})[:_NAMED])
            message = f"{len(found)} writes that lost are dismissed" if found else "there is no write that lost"
            return Decision(dismissal(view, found), about, message, detail="dismissed")

        dry_run = flag(parameters, "dry_run")
        answer = await self._changes.carry_out("conflicts-dismiss", prefix, decide, peer.uid, dry_run=dry_run)
        if not dry_run:
            # The password was written again, and what was demanded of it has to be demanded of this one.
            for name in renewals:
                await self._accounts.write(intents.demand_renewal(self._accounts.view, name), self._changes.author)
        return answer

    async def reassert(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG002
        """Bring back the write that lost, of the account whose id begins with ``id`` (perhaps of one ``field``)."""
        prefix, field = text_parameter(parameters, "id", 64), words(parameters, "field", "") or None
        rows = await self._accounts.overruled()

        def decide(view: AccountView) -> Decision:
            found = find_overruled(view, rows, prefix, field)
            if len(found) > 1:
                fields = ", ".join(row.key.field for row in found)
                raise Refused("ambiguous", f"several parts of it lost; say which with --field: {fields}")
            about = view.describe(found[0].key.object)
            message = f"{about} has again what {found[0].author or 'somebody'} made of its {found[0].key.field}"
            return Decision(reassertion(view, found[0]), about, message, detail=f"{found[0].key.field} brought back")

        return await self._changes.carry_out(
            "conflicts-reassert", prefix, decide, peer.uid, dry_run=flag(parameters, "dry_run")
        )

    def table(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        makers = {
            "conflicts.rename": self.rename,
            "conflicts.renumber": self.renumber,
            "conflicts.keep": self.keep,
            "conflicts.delete": self.delete,
        }
        return {
            "conflicts.list": Operation(self.listing, needs_root=True),
            "conflicts.dismiss": Operation(self.dismiss, needs_root=True),
            "conflicts.reassert": Operation(self.reassert, needs_root=True),
            **{name: changing(self._changes, name, maker) for name, maker in makers.items()},
        }


def _to_renew(view: AccountView, row: Register) -> str | None:
    """Return the name of the user whose password this was about, if it must be changed at the next login."""
    user = view.user_by_id(row.key.object)
    if row.key.field != PASSWORD or user is None or user.password is None:
        return None
    return user.entry.name if user.password.changed == 0 and intents.password_day(view, user) != 0 else None


def _settle(parameters: Parameters, change: Callable[[AccountView, str], list[Change]], word: str) -> Decide:
    prefix = text_parameter(parameters, "id", 64)

    def decide(view: AccountView) -> Decision:
        found = contested.find_contested(view, prefix)
        about = view.describe(found)
        changes = change(view, found)
        new = "".join(f", now {_called(one)}" for one in changes if one.key.field == ENTRY)
        text = f"{about} is {word}{new}" if changes else f"{about} is so already"
        return Decision(changes, about, text, {"id": found}, f"{word}{new}")

    return decide


def _called(change: Change) -> str:
    try:
        user = decode(UserEntry, change.value)
        return f"{user.name} ({user.uid})"
    except MalformedError:
        group = decode(GroupEntry, change.value)
        return f"{group.name} ({group.gid})"


def _conflict(view: AccountView, conflict: Conflict) -> dict[str, Any]:
    ids = [*([conflict.owner] if conflict.owner else []), *conflict.losers]
    return {
        "kind": conflict.kind,
        "claim": conflict.claim,
        "value": conflict.value,
        "reason": conflict.reason,
        "owner": conflict.owner,
        "losers": list(conflict.losers),
        "objects": [_object(view, identifier) for identifier in ids],
    }


def _object(view: AccountView, identifier: str) -> dict[str, Any]:
    presence, entry = view.presence(identifier), view.register(Key(identifier, ENTRY))
    return {
        "id": identifier,
        "text": view.describe(identifier),
        "served": view.user_by_id(identifier) is not None or view.group_by_id(identifier) is not None,
        "created": None if presence is None else presence.created,
        "author": "" if entry is None else entry.author,
    }


def _overruled(view: AccountView, loser: Register) -> dict[str, Any]:
    """Tell of a concurrent write of an account's part that lost."""
    winner = view.register(loser.key)
    assert winner is not None
    field = loser.key.field
    member = field.removeprefix(MEMBER_PREFIX) if field.startswith(MEMBER_PREFIX) else None
    return {
        "id": loser.key.object,
        "account": view.describe(loser.key.object),
        "field": field,
        "about": field if member is None else f"membership of {view.describe(member)}",
        "lost": {"author": loser.author, "time": loser.stamp.time, **_told(loser, winner)},
        "stands": {"author": winner.author, "time": winner.stamp.time, **_told(winner, loser)},
    }


def _told(register: Register, other: Register) -> dict[str, Any]:
    """Return what differs of the value, where this version can read it and it is no secret."""
    mine, theirs = lost_value(register), lost_value(other)
    if mine is None:
        return {"value": {}}
    there = {} if theirs is None else asdict(theirs)
    return {"value": {word: value for word, value in asdict(mine).items() if value != there.get(word)}}
