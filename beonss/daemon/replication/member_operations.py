"""What ``beonss invite`` and ``beonss members`` ask of a running master on its control socket."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from beonss.daemon.replication.membership import Membership
from beonss.errors import MalformedError
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import text_parameter

#: Characters of a signed member list in base64; a list of a thousand members has some hundred thousand.
_LONGEST = 4 << 20


def member_operations(membership: Membership) -> Mapping[str, Operation]:
    """Return the operation ``publish-members``.

    It takes ``members``, a list signed by the cluster key, in base64, and puts it in force here; the others get it with
    the next heartbeat. The signature decides; root only, because it is the administrator's business.
    """

    async def publish(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        text = text_parameter(parameters, "members", _LONGEST)
        try:
            document = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise MalformedError("parameter 'members' is not base64") from None
        changed = membership.offer(document, ())
        return {"changed": changed, "number": membership.roster.list.number}

    return {"publish-members": Operation(publish, needs_root=True)}
