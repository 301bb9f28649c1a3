"""How a node finds its masters without being configured.

Everything is read from what the boot already left on the machine: the kernel command line, the resolver that
DHCP gave, and what was memorized the last time. This module only reads texts; who opens files is elsewhere.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from beonss.core.cluster.endpoints import SYNC_PORT, Endpoint, parse_endpoint
from beonss.errors import ConfigurationError

#: On the kernel command line: ``beonss.masters=10.5.0.1,10.5.0.2:7653``.
COMMAND_LINE_KEY = "beonss.masters="
#: More than this many candidates is a mistake or an attack; the rest is ignored.
MAXIMUM_CANDIDATES = 64


def masters_of_command_line(text: str) -> list[Endpoint]:
    """Return the masters named on a kernel command line (/proc/cmdline); badly written ones are left out."""
    found = []
    for word in text.split():
        if word.startswith(COMMAND_LINE_KEY):
            for part in word.removeprefix(COMMAND_LINE_KEY).split(","):
                try:
                    found.append(parse_endpoint(part, SYNC_PORT))
                except ConfigurationError:
                    continue
    return found


def masters_of_resolver(text: str) -> list[Endpoint]:
    """Return the name servers of a resolv.conf(5) as candidates: in a cluster of ours they are the masters.

    Loopback addresses are left out: that is the node itself.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(words[1].partition("%")[0])
        except ValueError:
            continue
        if not address.is_loopback:
            found.append(Endpoint(str(address), SYNC_PORT))
    return found


def candidates(*sources: Iterable[Endpoint]) -> Sequence[Endpoint]:
    """Join several lists of masters, best source first, each master once, bounded in number."""
    seen: dict[Endpoint, None] = {}
    for source in sources:
        for endpoint in source:
            seen.setdefault(endpoint, None)
    return tuple(seen)[:MAXIMUM_CANDIDATES]
