"""Who else answers beside the server: for names elsewhere, and for secondaries."""

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from beonss.core.zones.records import Address
from beonss.wire.dns import Query

Network = IPv4Network | IPv6Network


class Fallback(Protocol):
    """Who is asked for names that lie in none of our zones; without one they are REFUSED."""

    @property
    def networks(self) -> Sequence[Network]:
        """Say which clients names are looked up for: it decides the RA bit of every reply to them.

        It must not change: another fallback is needed for other networks. All other clients get REFUSED.
        """
        ...

    def forward(self, query: Query, packet: bytes, asker: Address, *, tcp: bool) -> "bytes | Deferred[bytes | None]":
        """Look the name up; called only for clients in the networks that desire recursion.

        Returns the whole reply, no longer than the client can take (the id is set by the server), where it is known; or
        fires with it later, or with None for no reply at all. It must fire in the end: it is what bounds the
        time of a lookup.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """Return what it has done, for the status."""
        ...

    def retire(self) -> None:
        """Begin nothing any more that no client waits for: another fallback has taken over."""
        ...


class Elsewhere(Protocol):
    """Another process, which answers what concerns secondaries in place of this one."""

    def concerns(self, query: Query, /) -> bool:
        """Say whether a question is answered there."""
        ...

    def datagram(self, packet: bytes, peer: tuple[Any, ...], listener: Any, /) -> bool:
        """Give it a packet that came over UDP, to be answered by that listener; say whether it takes it."""
        ...

    def connection(self, handle: socket.socket, data: bytes, /) -> bool:
        """Give it a TCP connection, with what was read and not answered; say whether it takes it."""
        ...
