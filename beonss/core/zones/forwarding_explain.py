"""What happens to a name that is not the cluster's, as a person reads it."""

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from beonss.core.zones.forwarding import Route
from beonss.core.zones.forwarding_plan import master_plan
from beonss.core.zones.overlay_zone import described_zones
from beonss.core.zones.records import RecordClass, RecordType, ReplyCode, domain, folded

if TYPE_CHECKING:
    from beonss.core.names.naming import Naming

_NOBODY = IPv4Address(0)


def elsewhere(naming: "Naming", text: str) -> str | None:
    """Return what masters do with a name, None where it is theirs to answer or too short to say.

    Args:
        naming: the description.
        text: the name; one without a dot is meant to be one of the cluster's.
    """
    plan = master_plan(naming)
    try:
        name = folded(domain(text))
    except (ValueError, UnicodeEncodeError):
        return None
    if plan is None or len(name) < 2:
        return None
    if described_zones(naming).answer(name, RecordType.A, RecordClass.IN, _NOBODY).ours:
        return None
    way = plan.way(name, RecordType.A, RecordClass.IN)
    if isinstance(way, Route):
        return f"DNS looks it up elsewhere: {way}"
    if way.code is ReplyCode.REFUSED:
        return "DNS refuses it: [dns.forward] has no upstreams for it"
    return "DNS answers for it here and asks nobody: it is a private or special name"
