"""All that an administrator does with accounts, put together: one table of operations for the control socket."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from beonss.core.accounts.lookup import LocalNames
from beonss.daemon.accounts.changes import AccountChanges
from beonss.daemon.accounts.conflicts import ConflictOperations
from beonss.daemon.accounts.export import export_operation
from beonss.daemon.accounts.life import AccountLife
from beonss.daemon.accounts.operations import account_operations
from beonss.daemon.accounts.parts import Floors
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.passwords.following import Masters
from beonss.daemon.targets.deliveries import Deliveries
from beonss.net.control import Operation


def account_administration(
    reactor: Any,
    *,
    accounts: Accounts,
    deliveries: Deliveries,
    masters: Masters,
    members: Callable[[], Collection[str]],
    ready: Callable[[], Awaitable[None]],
    floors: Callable[[], Floors],
    local: Callable[[], LocalNames],
    trail: AuditTrail,
    machine: str,
) -> Mapping[str, Operation]:
    """Return the operations; one change at a time is decided and written, whichever of them makes it.

    Args:
        reactor: for times.
        accounts: held here.
        deliveries: to the targets of this master.
        masters: the others, who acknowledge what was written.
        members: returns the names of all masters in the member list.
        ready: waits for the boot reconciliation.
        floors: returns the cluster's floors as they are now.
        local: returns the names that this machine's own files hold.
        trail: the audit log.
        machine: the name of this master.
    """
    changes = AccountChanges(reactor, accounts=accounts, masters=masters, ready=ready, trail=trail, machine=machine)
    life = AccountLife(changes, floors=floors, members=members, local=local, machine=machine)
    conflicts = ConflictOperations(accounts, changes, life, foreign=deliveries.conflicts, floors=floors)
    return {
        **account_operations(accounts, deliveries, floors, machine, trail=trail, turn=changes.turn),
        **life.table(),
        **conflicts.table(),
        "accounts.export": export_operation(accounts, trail, machine),
    }
