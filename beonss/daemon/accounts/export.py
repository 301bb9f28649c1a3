"""What ``beonss export`` asks of a master: all accounts as of one moment, hashes included. Root only, and audited."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from beonss.core.accounts.exporting import group_record, user_record
from beonss.core.accounts.records import to_json
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import Source
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.parameters import Parameters, flag
from beonss.net.control import Operation, Peer, Report

#: Accounts in one event.
_TOLD = 500


class Store(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    @property
    def view(self) -> AccountView:
        """Users and groups as committed."""


def export_operation(accounts: Store, trail: AuditTrail, machine: str) -> Operation:
    """Return the operation ``accounts.export``.

    It reports events ``users`` and ``groups`` with ``rows`` (:func:`beonss.core.accounts.records.to_json`), by
    number; without the hashes if ``hashes`` is false. The end has how many there were: ``users``, ``groups``,
    ``conflicts``.
    """

    async def run(parameters: Parameters, peer: Peer, report: Report) -> dict[str, Any]:
        hashes = flag(parameters, "hashes")
        view = accounts.view
        # All of one moment: the values are immutable, what changes while they are sent is not seen.
        users, user_count = view.users(), view.count("user")
        groups, group_count = view.groups(), view.count("group")
        conflicts = len(view.conflicts())
        detail = f"{user_count} users, {group_count} groups, {'with' if hashes else 'without'} hashes"
        trail.record("export", "", Source(uid=peer.uid), author=f"root@{machine}", outcome="told", detail=detail)
        for user_part in _parts(users):
            report("users", rows=[to_json(user_record(user, hashes=hashes)) for user in user_part])
            await peer.drained()
        for group_part in _parts(groups):
            report("groups", rows=[to_json(group_record(group)) for group in group_part])
            await peer.drained()
        return {"users": user_count, "groups": group_count, "conflicts": conflicts}

    return Operation(run, needs_root=True, cancellable=True)


def _parts(found: Iterator[Any]) -> Iterator[list[Any]]:
    while part := list(islice(found, _TOLD)):
        yield part
