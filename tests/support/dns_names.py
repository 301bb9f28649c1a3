"""A small cluster written out by hand, with the methods of Naming: an oracle that shares no code with it.

Racks 1..4 with 8 nodes each, ``r01n01`` = 10.5.1.1 = fd00:5::101, and ``n0``.. as aliases; core machines in
10.5.0/24, of which frodo and gamgee are masters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from beonss.core.zones.records import Address

ZONE = "fellow.aero.org"
RACKS, SLOTS = 4, 8


@dataclass(frozen=True, slots=True)
class Thing:
    """A host or node."""

    name: str
    addresses: tuple[Address, ...]
    aliases: tuple[str, ...] = ()


def _things() -> list[Thing]:
    things = [
        Thing("frodo", (ip_address("10.5.0.10"), ip_address("fd00:5::10")), ("www", "dns")),
        Thing("gamgee", (ip_address("10.5.0.20"),)),
        Thing("six", (ip_address("fd00:5::66"),)),
        Thing("pdu", ()),
    ]
    for rack in range(1, RACKS + 1):
        for slot in range(1, SLOTS + 1):
            number = (rack - 1) * SLOTS + slot - 1
            addresses = (IPv4Address(f"10.5.{rack}.{slot}"), IPv6Address(f"fd00:5::{rack:x}{slot:02x}"))
            things.append(Thing(f"r{rack:02}n{slot:02}", addresses, (f"n{number}",)))
    return things


class Names:
    """What Naming offers to the zones."""

    def __init__(
        self,
        things: Sequence[Thing] | None = None,
        *,
        zone: str = ZONE,
        version: int = 7,
        ttl: int = 3600,
        masters: Sequence[str] = ("frodo", "gamgee"),
        reverse: Sequence[str] = ("10.5.0.0/16", "fd00:5::/32"),
    ) -> None:
        self.zone = zone
        self.version = version
        self.ttl = ttl
        self.things = _things() if things is None else list(things)
        self.by_name = {name: thing for thing in self.things for name in (thing.name, *thing.aliases)}
        self.by_address = {address: thing for thing in self.things for address in thing.addresses}
        self.masters = [self.by_name[name] for name in masters]
        self.reverse_networks = [IPv6Network(r) if ":" in r else IPv4Network(r) for r in reverse]

    def find(self, name: str) -> Thing | None:
        return self.by_name.get(name.lower().removesuffix("." + self.zone))

    def find_address(self, address: Address) -> Thing | None:
        return self.by_address.get(address)

    def occupied(self, low: Address, high: Address) -> bool:
        return any(a.version == low.version and int(low) <= int(a) <= int(high) for a in self.by_address)

    def self_name(self, asker: Address) -> Thing | None:
        return self.find_address(asker)

    def master_order(self, asker: Address | None) -> list[Thing]:
        return sorted(self.masters, key=lambda thing: asker not in thing.addresses)
