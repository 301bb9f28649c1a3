"""Telling secondaries that a zone has changed (RFC 1996): over UDP, again and again until they say they heard."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from beonss.core.zones.records import Address, DomainName, Record, shown
from beonss.core.zones.transfer_access import NotifyTarget
from beonss.wire.transfer import notify_message, notify_reply
from beonss.wire.tsig import Key, Signer

log = Logger()

#: Seconds until a secondary that does not answer is told again; after the last one it is left to its own looking.
INTERVALS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0)
#: Seconds between two messages: a master with a thousand zones does not send them at once.
PACE: Final = 0.005


@dataclass(slots=True)
class _Told:
    """A zone that one secondary is being told of."""

    target: NotifyTarget
    soa: Record
    id: int = 0
    attempts: int = 0
    call: IDelayedCall | None = None


class Notifier:
    """Tells secondaries of changes.

    Args:
        reactor: the reactor.
        now: seconds since the epoch, for signatures.
        new_id: gives a random number of 16 bits, for each message.
        sources: addresses of ours to send from, as secondaries know us by them; the first of each family counts that
            the machine has, and from which that secondary can be reached.

    Attributes:
        heard: how many messages were answered.
        given_up: how many zones a secondary never answered for.
    """

    def __init__(
        self, reactor: Any, *, now: Callable[[], float], new_id: Callable[[], int], sources: Sequence[str] = ()
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._new_id = new_id
        self._sources = sources
        self._keys: Mapping[DomainName, Key] = {}
        self._ports: dict[str, Any] = {}
        self._told: dict[tuple[NotifyTarget, DomainName], _Told] = {}
        self.heard = 0
        self.given_up = 0

    def announce(self, soas: Iterable[Record], targets: Sequence[NotifyTarget], keys: Mapping[DomainName, Key]) -> None:
        """Tell all targets of new versions of zones.

        Args:
            soas: the SOA record of each zone that changed.
            targets: who is told; who is none any more is told nothing further.
            keys: keys of targets, by name in lower case.
        """
        self._keys = keys
        for known in [known for known in self._told if known[0] not in targets]:
            self._forget(known)
        delay = 0.0
        for soa in soas:
            for target in targets:
                which = (target, soa.name)
                self._forget(which)
                told = self._told[which] = _Told(target, soa)
                told.call = self._reactor.callLater(delay, self._tell, which)
                delay += PACE

    def stop(self) -> None:
        """Tell nobody anything any more, and close the sockets."""
        for which in list(self._told):
            self._forget(which)
        for port in self._ports.values():
            port.stopListening()
        self._ports.clear()

    @property
    def waiting(self) -> int:
        """How many answers are waited for."""
        return len(self._told)

    def answered(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Note that a secondary has heard."""
        reply = notify_reply(datagram)
        if reply is None:
            return
        id_, code = reply
        found = (told for told in self._told.values() if told.id == id_ and told.attempts and _same(addr, told.target))
        told = next(found, None)
        if told is None:
            return
        self._forget((told.target, told.soa.name))
        self.heard += 1
        if code:
            log.warn(
                "DNS: {target} refuses to be told of the zone {zone} (RCODE {code}); allow it there (allow-notify)",
                target=str(told.target),
                zone=shown(told.soa.name),
                code=code,
            )

    def _tell(self, which: tuple[NotifyTarget, DomainName]) -> None:
        told = self._told[which]
        if told.attempts >= len(INTERVALS):
            self._forget(which)
            self.given_up += 1
            log.warn(
                "DNS: {target} does not answer that the zone {zone} has changed; it will find out when it looks itself",
                target=str(told.target),
                zone=shown(told.soa.name),
            )
            return
        told.id = self._new_id()
        told.call = self._reactor.callLater(INTERVALS[told.attempts], self._tell, which)
        told.attempts += 1
        message = notify_message(told.id, told.soa)
        key = self._keys.get(told.target.key) if told.target.key is not None else None
        if key is not None:
            message = Signer(key).sign(message, int(self._now()))
        try:
            self._port(told.target.address).write(message, (str(told.target.address), told.target.port))
        except (OSError, CannotListenError) as error:
            if told.attempts == 1:
                log.warn("DNS: cannot tell {target} of a change: {error}", target=str(told.target), error=str(error))

    def _port(self, target: Address) -> Any:
        """Return a socket to send to a secondary from, at an address by which it knows us.

        Raises:
            CannotListenError: the machine has none of these now.
        """
        version = target.version
        fitting = [source for source in self._sources if _fits(ip_address(source.partition("%")[0]), target)]
        wildcard = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - only to send
        refused: CannotListenError | None = None
        for interface in fitting or [wildcard]:
            if interface not in self._ports:
                try:
                    self._ports[interface] = self._reactor.listenUDP(0, _Ear(self), interface=interface)
                except CannotListenError as error:
                    # An address that is still to come.
                    refused = error
                    continue
            return self._ports[interface]
        assert refused is not None
        raise refused

    def _forget(self, which: tuple[NotifyTarget, DomainName]) -> None:
        told = self._told.pop(which, None)
        if told is not None and told.call is not None and told.call.active():
            told.call.cancel()


class _Ear(DatagramProtocol):
    """One socket of a notifier."""

    noisy = False

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Pass it on."""
        self._notifier.answered(datagram, addr)


def _same(addr: tuple[str, int], target: NotifyTarget) -> bool:
    return ip_address(addr[0].partition("%")[0]) == target.address and addr[1] == target.port


def _fits(source: Address, target: Address) -> bool:
    """Say whether packets from one address may get to another: none leave the machine, or its link, from there."""
    return (
        source.version == target.version
        and (target.is_loopback or not source.is_loopback)
        and (target.is_link_local or not source.is_link_local)
    )
