"""The compiled core of the DNS server: the plain answers, computed in C from an image of the names.

It is built where there is a C compiler (``hatch_build.py``) and does nothing that Python cannot: every reply has the
same bytes, and what it does not know how to answer it leaves to Python. ``BEONSS_PURE_PYTHON=1`` in the environment
keeps it out.
"""

import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TYPE_CHECKING

from twisted.logger import Logger

from beonss.core.zones.zone import UnknownZones, Zones
from beonss.wire.name_image import VERSION, name_image

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core

__all__ = ["compiled_core", "why_pure"]

log = Logger()

#: The environment variable that keeps the compiled core out, if it is neither empty nor 0.
PURE = "BEONSS_PURE_PYTHON"


def why_pure() -> str | None:
    """Return why Python alone answers, None when there is a compiled core."""
    if os.environ.get(PURE, "") not in ("", "0"):
        return f"{PURE} is set"
    try:
        from beonss.net.dns import _dns_native  # noqa: PLC0415 - it may not be there
    except ImportError as error:
        return f"the compiled core was not built: {error}"
    if _dns_native.VERSION != VERSION:
        return "the compiled core is of another version than this program; build it again (make native)"
    return None


def compiled_core(
    zones: Zones | UnknownZones, identity: bytes, networks: Sequence[IPv4Network | IPv6Network] = ()
) -> "Core | None":
    """Return what answers in place of Python, or None where Python answers alone.

    Args:
        zones: what is served.
        identity: the NSID, at most 128 bytes.
        networks: clients over UDP that names elsewhere are looked up for.
    """
    if not isinstance(zones, Zones) or why_pure() is not None:
        return None
    image = name_image(zones)
    if image is None:
        return None
    from beonss.net.dns._dns_native import Core  # noqa: PLC0415 - it may not be there

    try:
        return Core(image, identity, packed_networks(networks))
    except ValueError as error:
        # A bug of ours; Python knows the names as well.
        log.error("DNS: the compiled core is left out: {error}", error=str(error))
        return None


def packed_networks(networks: Sequence[IPv4Network | IPv6Network]) -> bytes:
    """Return client networks as the compiled core takes them: IPv4 first, none inside another."""
    four = collapse_addresses([network for network in networks if isinstance(network, IPv4Network)])
    six = collapse_addresses([network for network in networks if isinstance(network, IPv6Network)])
    return b"".join(
        [bytes([4, network.prefixlen]) + network.network_address.packed + bytes(12) for network in four]
        + [bytes([6, network.prefixlen]) + network.network_address.packed for network in six]
    )
