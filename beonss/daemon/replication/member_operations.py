"""What ``beonss invite`` and ``beonss members`` ask of a running master on its control socket."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from beonss.core.passwords.attempts import Source
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.replication.membership import Membership
from beonss.errors import MalformedError
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import text_parameter

#: Characters of a signed member list in base64; a list of a thousand members has some hundred thousand.
_LONGEST = 4 << 20


def member_operations(membership: Membership, trail: AuditTrail, machine: str) -> Mapping[str, Operation]:
    """Return the operation ``publish-members``.

    It takes ``members``, a list signed by the cluster key, in base64, and puts it in force here; the others get it with
    the next heartbeat. The signature decides; root only, because it is the administrator's business.
    A list that is new here leaves an audit line.

    Args:
        membership: the list in force.
        trail: the audit log.
        machine: the name of this master.
    """

    async def publish(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        text = text_parameter(parameters, "members", _LONGEST)
        try:
            document = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise MalformedError("parameter 'members' is not base64") from None
        changed = membership.offer(document, ())
        listed = membership.roster.list
        if changed:
            detail = f"list {listed.number}: {', '.join(sorted(member.name for member in listed.members))}"
            author = f"root@{machine}"
            trail.record("members", "", Source(uid=peer.uid), author=author, outcome="changed", detail=detail)
        return {"changed": changed, "number": listed.number}

    return {"publish-members": Operation(publish, needs_root=True)}
