"""What ``beonss backup`` asks of a running master: all registers, as an answer to somebody who has nothing.

It is the answer that another master would get, so it is consistent whatever is written meanwhile, and each page is a
job of its own among the others. The keys do not cross the socket: the command reads them from the state directory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from beonss.core.passwords.attempts import Source
from beonss.core.replication.pulling import Page
from beonss.core.replication.registers import Context
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.parameters import Parameters
from beonss.net.control import Operation, Peer, Report
from beonss.wire.backup import register_to_json


class Store(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    async def page(self, question: Context, more: object | None = None) -> Page:
        """Return the next page of the answer to a question."""


def backup_operation(accounts: Store, trail: AuditTrail, *, machine: str, cluster: str, state: Path) -> Operation:
    """Return the operation ``backup``.

    It reports one event ``master`` (``cluster``, ``master``, ``state``: the directory), and events ``registers`` with
    ``rows`` (:func:`beonss.wire.backup.register_to_json`), hashes included. The end has the ``vector``.
    """

    async def run(parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        trail.record("backup", "", Source(uid=peer.uid), author=f"root@{machine}", outcome="told")
        report("master", cluster=cluster, master=machine, state=str(state.absolute()))
        page = await accounts.page({})
        while True:
            report("registers", rows=[register_to_json(row) for row in page.rows])
            await peer.drained()
            if page.more is None:
                break
            page = await accounts.page({}, page.more)
        return {"vector": dict(page.vector or {})}

    return Operation(run, needs_root=True, cancellable=True)
