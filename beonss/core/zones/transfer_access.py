"""What a description says of static records, zone transfers, notifications and names elsewhere: ``[dns]``."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from beonss.core.zones.forwarding import NO_FORWARDING, Forwarding
from beonss.core.zones.overlay import StaticRecord
from beonss.core.zones.records import Address, DomainName, shown


@dataclass(frozen=True, slots=True)
class Written:
    """A text of the description and where it stands, for problems that are found later.

    Attributes:
        text: as written.
        line: from 1.
        option: such as ``dns.zone_files[0]``.
    """

    text: str
    line: int
    option: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may have whole zones.

    Attributes:
        network: from where; None means from anywhere, which needs a key.
        key: name of the TSIG key that must have signed the request, in lower case; None means none.
    """

    network: IPv4Network | IPv6Network | None
    key: DomainName | None


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """A secondary that is told of every change.

    Attributes:
        address: of the secondary.
        port: UDP port, usually 53.
        key: name of the TSIG key that the message is signed with, in lower case; None for none.
    """

    address: Address
    port: int
    key: DomainName | None

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """Everything under ``[dns]``.

    Attributes:
        records: the static records in the description; they travel to the nodes with it.
        zone_files: files with more records, relative to the description; masters alone read them.
        key_files: files with TSIG keys, likewise.
        grants: who may have whole zones; empty for nobody.
        notify: who is told of changes.
        catalog: apex of the catalog zone (RFC 9432), or None for no such zone.
        keys_used: where the keys of grants and notify are named.
        forwarding: who is asked for names that are not ours.
    """

    records: tuple[StaticRecord, ...] = ()
    zone_files: tuple[Written, ...] = ()
    key_files: tuple[Written, ...] = ()
    grants: tuple[Grant, ...] = ()
    notify: tuple[NotifyTarget, ...] = ()
    catalog: DomainName | None = None
    keys_used: tuple[Written, ...] = ()
    forwarding: Forwarding = NO_FORWARDING

    def document(self) -> list[object]:
        """Return what it means, for the digest of a description; empty when nothing is said."""
        if self == ZoneSettings():
            return []
        # What is not used is left out, so that older descriptions keep their digests.
        forwarding = [] if self.forwarding == NO_FORWARDING else [self.forwarding.document()]
        return [
            sorted([shown(e.record.name), e.record.type, e.record.ttl, repr(e.record.data)] for e in self.records),
            [each.text for each in self.zone_files],
            [[str(grant.network), shown(grant.key or ())] for grant in self.grants],
            [[str(target), shown(target.key or ())] for target in self.notify],
            shown(self.catalog or ()),
            *forwarding,
        ]


def may_transfer(grants: Iterable[Grant], asker: Address, key: DomainName | None) -> bool:
    """Say whether a client may have whole zones.

    Args:
        grants: who may.
        asker: its address.
        key: name in lower case of the key its request was rightly signed with; None for no signature.
    """
    mapped = getattr(asker, "ipv4_mapped", None)
    asker = mapped or asker
    return any(
        (grant.network is None or (asker.version == grant.network.version and asker in grant.network))
        and (grant.key is None or grant.key == key)
        for grant in grants
    )
