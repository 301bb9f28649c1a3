"""Zone transfers and signed questions: what a DNS server does for its secondaries.

:class:`Transfers` holds the versions of the zones that are at hand, the keys and the access list. A transfer over
TCP is a :class:`ZoneStream` of messages, made one by one as the client takes them (:mod:`beonss.net.dns.tcp`).
Anybody else than who may have whole zones is REFUSED and learns nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

from twisted.logger import Logger

from beonss.core.zones.records import (
    Address,
    DomainName,
    Reason,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    folded,
    shown,
)
from beonss.core.zones.transfer import Edition, difference
from beonss.core.zones.transfer_access import Grant, may_transfer
from beonss.core.zones.transfer_serials import is_newer
from beonss.core.zones.zone import Answer
from beonss.net.dns.counters import SparingLog
from beonss.wire.dns import Query, write_reply
from beonss.wire.transfer import increment, single, transfer_messages
from beonss.wire.tsig import BADKEY, BADSIG, BADTIME, Key, Signer, unsigned_error, verify

log = Logger()

#: Former versions of the zones that are kept to tell secondaries what changed.
MOST_VERSIONS: Final = 8
#: Transfers at a time; secondaries come back when there are more.
MOST_STREAMS: Final = 16

_QUESTIONS: Final = frozenset({RecordType.AXFR, RecordType.IXFR})
_REFUSED: Final = Answer(ReplyCode.REFUSED, authoritative=False, reason=Reason.PROHIBITED)
_ELSEWHERE: Final = Answer(ReplyCode.NOTAUTH, authoritative=False, reason=Reason.NOT_AUTHORITATIVE)
_UNSIGNED: Final = Answer(ReplyCode.NOTAUTH, authoritative=False)
_MALFORMED: Final = Answer(ReplyCode.FORMERR, authoritative=False)
_BUSY: Final = Answer(ReplyCode.SERVFAIL, authoritative=False)


def concerns_secondaries(query: Query, catalog: DomainName | None) -> bool:
    """Say whether a question is signed, asks for a whole zone, or is about the catalog.

    Args:
        query: the question.
        catalog: apex of the catalog zone in lower case; None for none.
    """
    return query.signature is not None or query.type in _QUESTIONS or _in_catalog(query, catalog)


def _in_catalog(query: Query, catalog: DomainName | None) -> bool:
    return catalog is not None and folded(query.name)[-len(catalog) :] == catalog


class ZoneStream:
    """The messages of one transfer; must be closed when it is not taken to its end."""

    def __init__(self, messages: Iterator[bytes], closed: Callable[[], None]) -> None:
        self._messages = messages
        self._closed: Callable[[], None] | None = closed

    def next_message(self) -> bytes | None:
        """Return the next message, None at the end."""
        message = next(self._messages, None)
        if message is None:
            self.close()
        return message

    def close(self) -> None:
        """Let go of it; more than once does no harm."""
        if self._closed is not None:
            self._closed()
            self._closed = None


class Transfers:
    """The versions of the zones, the keys of secondaries, and who may have what.

    Args:
        now: seconds since the epoch, for signatures.
        seconds: a monotonic clock, for the log.

    Attributes:
        grants: who may have whole zones.
        catalog: apex of the catalog zone in lower case, which nobody else may ask about at all; None for none.
        keys: keys shared with other servers, by name in lower case.
        full, incremental, refused: transfers begun since the start, and those refused.
    """

    def __init__(self, now: Callable[[], float], seconds: Callable[[], float]) -> None:
        self._now = now
        self._sparing = SparingLog(seconds)
        self.grants: tuple[Grant, ...] = ()
        self.catalog: DomainName | None = None
        self.keys: Mapping[DomainName, Key] = {}
        self.full = self.incremental = self.refused = 0
        self._editions: deque[Edition] = deque(maxlen=MOST_VERSIONS)
        self._streams = 0

    def publish(self, edition: Edition) -> None:
        """Offer a new version of the zones; the former ones serve to tell what changed."""
        self._editions.append(edition)

    @property
    def current(self) -> Edition | None:
        """The version that is transferred now."""
        return self._editions[-1] if self._editions else None

    def concerns(self, query: Query) -> bool:
        """Say whether a question is answered here: it is signed, asks for a whole zone or about the catalog."""
        return concerns_secondaries(query, self.catalog)

    def respond(
        self, query: Query, packet: bytes, asker: Address, ordinary: Callable[[int], bytes], *, tcp: bool
    ) -> bytes | ZoneStream:
        """Answer a question that concerns secondaries.

        Args:
            query: the question.
            packet: the message it came in.
            asker: the client.
            ordinary: answers it like any other question, with so many bytes left free.
            tcp: it came over TCP.
        """
        signature = query.signature
        signer: Signer | None = None
        key: DomainName | None = None
        if signature is not None:
            now = int(self._now())
            verdict = verify(packet, signature, self.keys, now)
            if verdict.key is None or verdict.error == BADSIG:
                self._say_refused(query, asker, "its signature is not by a key we know")
                error = BADSIG if verdict.key is not None else BADKEY
                return unsigned_error(write_reply(query, _UNSIGNED, tcp=tcp, reserve=128), signature, error)
            signer = Signer(verdict.key, signature.mac)
            if verdict.error:
                reason = "our clocks differ" if verdict.error == BADTIME else "its signature is cut short"
                self._say_refused(query, asker, reason)
                reply = write_reply(query, _UNSIGNED, tcp=tcp, reserve=signer.size)
                return signer.sign(reply, now, verdict.error)
            key = verdict.key.name
        if query.type in _QUESTIONS:
            found = self._transfer(query, asker, key, signer, tcp=tcp)
            if isinstance(found, ZoneStream):
                return found
            reply = found
        elif _in_catalog(query, self.catalog) and not may_transfer(self.grants, asker, key):
            reply = write_reply(query, _REFUSED, tcp=tcp, reserve=0 if signer is None else signer.size)
        else:
            reply = ordinary(0 if signer is None else signer.size)
        return reply if signer is None else signer.sign(reply, int(self._now()))

    def _transfer(
        self, query: Query, asker: Address, key: DomainName | None, signer: Signer | None, *, tcp: bool
    ) -> bytes | ZoneStream:
        reserve = 0 if signer is None else signer.size

        def refuse(answer: Answer) -> bytes:
            return write_reply(query, answer, tcp=tcp, reserve=reserve)

        apex = folded(query.name)
        edition = self.current
        if not may_transfer(self.grants, asker, key):
            self._say_refused(query, asker, "it is not in [dns.transfer] allow")
            return refuse(_REFUSED)
        if query.edns is not None and query.edns.version > 0:
            # That write_reply answers with BADVERS in any case.
            return refuse(_REFUSED)
        if edition is None or edition.zones.soa(apex) is None or query.class_ != RecordClass.IN:
            return refuse(_ELSEWHERE)
        if (query.type == RecordType.AXFR and not tcp) or (query.type == RecordType.IXFR and query.serial is None):
            return refuse(_MALFORMED)
        soa = edition.soa(apex)
        records: Iterator[Record] | None = None
        if query.serial is not None and query.type == RecordType.IXFR:
            if not is_newer(edition.serial(apex), query.serial):
                # The client has this version, or a later one by another master (RFC 1995 section 2).
                return refuse(Answer(answer=(soa,)))
            records = self._increment(edition, apex, query.serial)
            if not tcp:
                # What does not fit is asked for again over TCP (RFC 1995 section 2).
                several = () if records is None else tuple(records)
                return (single(query, several, reserve=reserve) if several else None) or refuse(Answer(answer=(soa,)))
        if self._streams >= MOST_STREAMS:
            return refuse(_BUSY)
        whole = records is None
        if records is None:
            records = chain((soa,), edition.records(apex), (soa,))
        self.full += whole
        self.incremental += not whole
        log.info(
            "DNS: {host} gets the zone {zone}, serial {serial}, {kind}",
            host=str(asker),
            zone=shown(apex),
            serial=edition.serial(apex),
            kind="as a whole" if whole else f"what changed since {query.serial}",
        )
        messages = transfer_messages(query, records, reserve=reserve)
        if signer is not None:
            messages = (signer.sign(message, int(self._now())) for message in messages)
        self._streams += 1
        return ZoneStream(messages, self._ended)

    def _increment(self, newer: Edition, apex: DomainName, serial: int) -> Iterator[Record] | None:
        """Return the records that lead from the client's version to ours, None if that version is not at hand."""
        for older in reversed(self._editions):
            if older.zones.soa(apex) is not None and older.serial(apex) == serial:
                found = difference(older, newer, apex)
                if found is None:
                    return None
                return increment(newer.soa(apex), older.soa(apex), *found)
        return None

    def _ended(self) -> None:
        self._streams -= 1

    def _say_refused(self, query: Query, asker: Address, reason: str) -> None:
        self.refused += 1
        if self._sparing.admits("refused"):
            log.warn(
                "DNS: refused {host} the question for {zone}, type {type}: {reason}; {held} more since the last one",
                host=str(asker),
                zone=query.text,
                type=query.type,
                reason=reason,
                held=self._sparing.held("refused"),
            )
