"""The DNS server: packets in, packets out, whatever carried them.

:class:`DNSServer` holds the zones, the table of ready answers and the counters; sockets live in
:mod:`beonss.net.dns.udp` and :mod:`beonss.net.dns.tcp`. It never blocks and never raises: a failure while
answering is logged and becomes SERVFAIL for that query alone.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.zones.records import Address, DomainName, RecordClass, ReplyCode, folded
from beonss.core.zones.zone import FAILED, Answer, UnknownZones, Zones, server_text
from beonss.errors import ConfigurationError
from beonss.net.dns.completion import alias_elsewhere, completed, led_home, question_for
from beonss.net.dns.counters import Counts, DNSCounters, SparingLog, code_name
from beonss.net.dns.native import compiled_core
from beonss.net.dns.parts import Elsewhere, Fallback, Network
from beonss.wire.dns import Query, UnreadableError, read_query, write_reply

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core
    from beonss.net.dns.tap import QueryTap
    from beonss.net.dns.transfer import Transfers, ZoneStream

log = Logger()

#: Bytes of an identity (NSID): it must fit beside the longest question into the smallest reply.
LONGEST_IDENTITY = 128
#: Queries worth keeping an answer for are no longer than this: header, longest question, OPT without options.
LONGEST_READY_QUERY = 12 + 255 + 4 + 11
#: Queries that the fallback may have in its hands at once; more get SERVFAIL, so that clients try elsewhere.
MOST_FORWARDED = 16384

_TRUNCATED = 0x02


class ReadyAnswers:
    """A bounded table of replies keyed on the whole query but its id, in two generations.

    Those in use move to the young generation; when that is full it becomes the old one, and what was old is
    forgotten. So a flood of names that nobody asks for again costs a hot answer at most one computation per turn.

    Args:
        limit: replies per generation.
    """

    __slots__ = ("limit", "old", "young")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.young: dict[bytes, bytes] = {}
        self.old: dict[bytes, bytes] = {}

    def keep(self, key: bytes, reply: bytes) -> None:
        """Keep a reply, both without their ids."""
        if len(self.young) >= self.limit:
            self.old, self.young = self.young, {}
        self.young[key] = reply

    def find(self, key: bytes) -> bytes | None:
        """Return the reply to a query, if there is one, and keep it for another turn."""
        reply = self.young.get(key)
        if reply is None and (reply := self.old.get(key)) is not None:
            self.keep(key, reply)
        return reply

    def __len__(self) -> int:
        return len(self.young) + len(self.old)


class DNSServer:
    """Answers packets out of the zones.

    Args:
        zones: what is served.
        identity: the NSID and ``id.server``, which tell servers apart; at most 128 bytes, empty for none.
        here: this machine's own address among the nodes: who ``self`` is for clients on loopback.
        fallback: who is asked for names outside of the zones; see also :meth:`fall_back_on`.
        ready: how many ready answers one generation of the table holds, of about 350 bytes each.
        seconds: a monotonic clock, for the log.
        transfers: what is done for secondaries; None where there are none.
        elsewhere: the process that does it instead; None where it is this one.

    Attributes:
        here: may be set at any time.
        counts: the running counters, for the sockets.
        plain: the ready answers for clients that no other names are looked up for.
        transfers: what is done for secondaries; None where there are none.
        core: the compiled core, which answers most queries; None where Python answers alone.
        tap: takes some queries for the log; None where there is none (:meth:`watch`).

    Raises:
        ConfigurationError: the identity is too long.
    """

    def __init__(
        self,
        zones: Zones | UnknownZones,
        *,
        identity: bytes = b"",
        here: Address | None = None,
        fallback: Fallback | None = None,
        ready: int = 16384,
        seconds: Callable[[], float] = time.monotonic,
        transfers: "Transfers | None" = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        if len(identity) > LONGEST_IDENTITY:
            raise ConfigurationError(
                f"the DNS identity (NSID) has {len(identity)} bytes; {LONGEST_IDENTITY} are the most that fit"
            )
        self.here = here
        self.counts = Counts()
        self.fallback: Fallback | None = None
        self.transfers = transfers
        self._elsewhere = elsewhere
        self.sparing = SparingLog(seconds)
        self._identity = identity
        self._limit = ready
        self._allowed: dict[str, bool] = {}
        self._in_flight = 0
        self._networks: tuple[Network, ...] = ()
        self._zones = zones
        # Replies differ by the RA bit; the second table is for clients that names are looked up for.
        self.plain = ReadyAnswers(ready)
        self._recursive = ReadyAnswers(ready)
        self.core: Core | None = None
        self.tap: QueryTap | None = None
        self.fall_back_on(fallback)

    @property
    def zones(self) -> Zones | UnknownZones:
        """What is served now."""
        return self._zones

    def replace(self, zones: Zones | UnknownZones) -> None:
        """Serve other zones from the next query on; ready answers of the former ones are forgotten."""
        self._zones = zones
        self._begin_anew()

    def fall_back_on(self, fallback: Fallback | None) -> None:
        """Have names elsewhere looked up by another fallback, or by none, from the next query on."""
        if self.fallback is not None:
            self.fallback.retire()
        self.fallback = fallback
        self._networks = () if fallback is None else tuple(fallback.networks)
        self._allowed.clear()
        self._begin_anew()

    def _begin_anew(self) -> None:
        if self.core is not None:
            self.counts.add_compiled(self.core)
        self.core = compiled_core(self._zones, self._identity, self._networks)
        if self.core is not None and self.tap is not None and not self.tap.open(self.core):
            self.core = None
        self.plain = ReadyAnswers(self._limit)
        self._recursive = ReadyAnswers(self._limit)

    def watch(self, tap: "QueryTap | None") -> None:
        """Have some queries taken from now on, in place of what another tap took; none with None."""
        self.tap = tap
        if self.core is None and tap is None:
            # Where the compiled core cannot take queries it was left out for the time.
            self._begin_anew()
        elif self.core is not None and tap is None:
            self.core.sample(0)
        elif self.core is not None and tap is not None and not tap.open(self.core):
            self._begin_anew()

    def table(self, host: str) -> ReadyAnswers:
        """Return the table of ready answers for a client over UDP."""
        return self._recursive if self.is_recursive(host) else self.plain

    def counters(self) -> DNSCounters:
        """Return the counters as they are now."""
        counts = self.counts.copy()
        if self.core is not None:
            counts.add_compiled(self.core)
        return DNSCounters(
            udp=counts.udp,
            tcp=counts.tcp,
            ready=counts.ready,
            codes={code_name(code): number for code, number in enumerate(counts.codes) if number},
            truncated=counts.truncated,
            malformed=counts.malformed,
            dropped=counts.dropped,
            unsent=counts.unsent,
            forwarded=counts.forwarded,
            failures=counts.failures,
            connections=counts.connections,
            refused_connections=counts.refused_connections,
            table=len(self.plain) + len(self._recursive),
            compiled=counts.compiled,
            fallback={} if self.fallback is None else self.fallback.counters(),
        )

    def respond(
        self, packet: bytes, host: str, *, tcp: bool
    ) -> "bytes | Deferred[bytes | None] | ZoneStream | Elsewhere | None":
        """Answer one packet.

        Args:
            packet: the message.
            host: the client's address as the socket gives it, with or without a scope.
            tcp: it came over TCP.

        Returns:
            The reply, None when there must be none, or a Deferred with one of the two that never fails. Over TCP also
            the stream of a zone transfer. What another process answers the caller gives to that; it is counted there.
        """
        if self.tap is not None and self.tap.due():
            return self.tap.watched(self._respond, packet, host, tcp=tcp)
        return self._respond(packet, host, tcp=tcp)

    def _respond(
        self, packet: bytes, host: str, *, tcp: bool
    ) -> "bytes | Deferred[bytes | None] | ZoneStream | Elsewhere | None":
        counts = self.counts
        if tcp:
            if self.core is not None and (reply := self.core.answer(packet, True, self.is_recursive(host))) is not None:
                return reply
            counts.tcp += 1
        else:
            counts.udp += 1
            ready = self.table(host).find(packet[2:])
            if ready is not None:
                counts.ready += 1
                counts.codes[ready[1] & 15] += 1
                return packet[:2] + ready
        try:
            query = read_query(packet)
        except UnreadableError as error:
            counts.malformed += 1
            if error.reply is None:
                counts.dropped += 1
            else:
                counts.codes[error.reply[3] & 15] += 1
            return error.reply
        if self._elsewhere is not None and self._elsewhere.concerns(query):
            counts.tcp -= tcp
            counts.udp -= not tcp
            return self._elsewhere
        try:
            if self.transfers is not None and self.transfers.concerns(query):
                return self._transferred(self.transfers, query, packet, _address(host), tcp=tcp)
            return self._answered(query, packet, host, tcp=tcp)
        except Exception:  # noqa: BLE001 - the loop lives on, and the client is told
            return self._failed(query, Failure(), recursion=False, tcp=tcp)

    def _answered(self, query: Query, packet: bytes, host: str, *, tcp: bool) -> bytes | Deferred[bytes | None]:
        asker = _address(host)
        recursion = self.is_recursive(host)
        answer = self._answer(query, asker)
        edns = query.edns
        if recursion and query.recursion_desired and (edns is None or edns.version == 0):
            target = alias_elsewhere(self._zones, query, answer, asker) if answer.ours else None
            if not answer.ours or target is not None:
                if self._in_flight < MOST_FORWARDED:
                    return self._forward(
                        query, packet, asker, tcp=tcp, alias=None if target is None else (answer, target)
                    )
                answer = FAILED
        reply = write_reply(query, answer, tcp=tcp, recursion=recursion, identity=self._identity)
        self._count(reply, ReplyCode.BADVERS if edns is not None and edns.version else answer.code)
        if tcp or answer.personal or len(packet) > LONGEST_READY_QUERY or reply[2] & _TRUNCATED:
            return reply
        # An option (a cookie) may differ each time, and such a query never comes again.
        if edns is None or (not edns.options and edns.version == 0):
            (self._recursive if recursion else self.plain).keep(packet[2:], reply[2:])
        return reply

    def _transferred(
        self, transfers: "Transfers", query: Query, packet: bytes, asker: Address, *, tcp: bool
    ) -> "bytes | ZoneStream":
        def ordinary(reserve: int) -> bytes:
            return write_reply(query, self._answer(query, asker), tcp=tcp, identity=self._identity, reserve=reserve)

        reply = transfers.respond(query, packet, asker, ordinary, tcp=tcp)
        if isinstance(reply, bytes):
            self._count(reply, reply[3] & 15)
        else:
            self.counts.codes[ReplyCode.NOERROR] += 1
        return reply

    def _answer(self, query: Query, asker: Address) -> Answer:
        if query.class_ == RecordClass.CH:
            return server_text(folded(query.name), query.type, self._identity)
        return self._zones.answer(query.name, query.type, query.class_, self._for_whom(asker))

    def _for_whom(self, asker: Address) -> Address:
        """Return who is meant by ``self`` for a client."""
        return self.here if self.here is not None and asker.is_loopback else asker

    def _forward(
        self, query: Query, packet: bytes, asker: Address, *, tcp: bool, alias: tuple[Answer, DomainName] | None
    ) -> bytes | Deferred[bytes | None]:
        """Have a name looked up elsewhere: that of the question, or the one that an alias of ours leads to."""
        assert self.fallback is not None
        self.counts.forwarded += 1

        asked = query if alias is None else question_for(query, alias[1])

        def finished(reply: bytes | None) -> bytes | None:
            home = None if reply is None else led_home(self._zones, asked, reply, self._for_whom(asker))
            if home is not None:
                reply = write_reply(asked, home, tcp=tcp or alias is not None, recursion=True, identity=self._identity)
            if alias is None:
                return reply
            return write_reply(query, completed(alias[0], reply), tcp=tcp, recursion=True, identity=self._identity)

        try:
            if alias is None:
                reply = self.fallback.forward(query, packet, asker, tcp=tcp)
            else:
                # The whole of it: how much the client can take is seen when both stand in one reply.
                reply = self.fallback.forward(asked, packet, asker, tcp=True)
            if isinstance(reply, Deferred):
                return Deferred.fromCoroutine(self._forwarded(reply.addCallback(finished), query, packet, tcp=tcp))
            whole = finished(reply)
            assert whole is not None
        except Exception:  # noqa: BLE001 - whatever the fallback ran into, the client is told
            return self._failed(query, Failure(), recursion=True, tcp=tcp)
        self._count(whole, whole[3] & 15)
        return packet[:2] + whole[2:]

    async def _forwarded(
        self, coming: Deferred[bytes | None], query: Query, packet: bytes, *, tcp: bool
    ) -> bytes | None:
        self._in_flight += 1
        try:
            reply = await coming
        except Exception:  # noqa: BLE001 - whatever the fallback ran into, the client is told
            return self._failed(query, Failure(), recursion=True, tcp=tcp)
        finally:
            self._in_flight -= 1
        if reply is None:
            self.counts.dropped += 1
            return None
        reply = packet[:2] + reply[2:]
        self._count(reply, reply[3] & 15)
        return reply

    def _failed(self, query: Query, failure: Failure, *, recursion: bool, tcp: bool) -> bytes:
        self.counts.failures += 1
        if self.sparing.admits("failure"):
            log.failure(
                "DNS: cannot answer {name} type {type}, so SERVFAIL; {held} more since the last message",
                failure=failure,
                name=query.text,
                type=query.type,
                held=self.sparing.held("failure"),
            )
        reply = write_reply(query, FAILED, tcp=tcp, recursion=recursion)
        self._count(reply, FAILED.code)
        return reply

    def _count(self, reply: bytes, code: int) -> None:
        self.counts.codes[code] += 1
        if reply[2] & _TRUNCATED:
            self.counts.truncated += 1

    def is_recursive(self, host: str) -> bool:
        """Say whether names elsewhere are looked up for a client, which its replies tell by RA.

        Args:
            host: its address as the socket gives it.
        """
        if not self._networks:
            return False
        allowed = self._allowed.get(host)
        if allowed is None:
            address = _address(host)
            allowed = any(address in network for network in self._networks)
            if len(self._allowed) >= self._limit:
                self._allowed.clear()
            self._allowed[host] = allowed
        return allowed


@lru_cache(maxsize=4096)
def _address(host: str) -> Address:
    """Read an address as a socket gives it; a link-local one carries its scope."""
    return ip_address(host.partition("%")[0])
