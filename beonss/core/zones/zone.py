"""What our zones answer: a pure function of the names, the question and who asks.

Nothing is stored per node: each answer is computed from :class:`Names` (the compiled description of the
cluster), so a million nodes cost what ten cost. The rules are those of RFC 1034 section 4.3.2, made precise by
RFC 2181, 2308 (negative answers), 4343 (case), 8020 (nothing below a name that does not exist) and 8482
(ANY). Zones served: the cluster's zone, and one reverse zone for each of its reverse networks.

Decisions that no RFC makes for us:

- An alias, of a host or of a node, is a CNAME; the records of its target stand in the same answer.
- ``self`` is a CNAME to the asker's own name, TTL 0. For an asker who is no node of ours the name exists
  and has no records: a cache between us must not learn that ``self`` does not exist.
- ``master`` holds the addresses of all masters, the one nearest to the asker first, TTL 0, because that
  order belongs to the asker.
- A transfer is no answer but a stream: :mod:`beonss.core.zones.transfer`. Asked here, it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Protocol

from beonss.core.zones.records import (
    MAXIMUM_TTL,
    Address,
    AddressData,
    DomainName,
    NameData,
    Reason,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    SOAData,
    TextData,
    domain,
    folded,
)


class Named(Protocol):
    """A host or node, as the zones need it (``beonss.core.names.naming.Named``)."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the canonical short name
    @property
    def addresses(self) -> Sequence[Address]: ...  # noqa: D102


class MasterNames(Protocol):
    """A master of the description, as the zones need it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def addresses(self) -> Sequence[Address]: ...  # noqa: D102


class Names(Protocol):
    """The part of ``beonss.core.names.naming.Naming`` that the zones are computed from."""

    @property
    def zone(self) -> str: ...  # noqa: D102 - lower case, no final dot
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def ttl(self) -> int: ...  # noqa: D102 - seconds
    @property
    def masters(self) -> Sequence[MasterNames]: ...  # noqa: D102 - in order of preference
    @property
    def reverse_networks(self) -> Sequence[IPv4Network | IPv6Network]: ...  # noqa: D102 - octet/nibble aligned

    def find(self, name: str, /) -> Named | None: ...  # noqa: D102
    def find_address(self, address: Address, /) -> Named | None: ...  # noqa: D102
    def occupied(self, low: Address, high: Address, /) -> bool: ...  # noqa: D102
    def self_name(self, asker: Address, /) -> Named | None: ...  # noqa: D102
    def master_order(self, asker: Address | None, /) -> Sequence[Named]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Answer:
    """What to reply, before any byte is written.

    Attributes:
        code: the RCODE.
        authoritative: the AA bit.
        answer, authority, additional: the records of the three sections; ``additional`` may be left out where
            room is short.
        personal: it depends on who asked: keep it for nobody else.
        ours: the name lies in a zone of ours; if not, somebody else may be asked.
        reason: an extended error for clients that speak EDNS.
    """

    code: ReplyCode = ReplyCode.NOERROR
    authoritative: bool = True
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    personal: bool = False
    ours: bool = True
    reason: Reason | None = None


# What a failing computation is told as; the caller logs the reason.
FAILED: Final = Answer(ReplyCode.SERVFAIL, authoritative=False, personal=True)
_ELSEWHERE: Final = Answer(ReplyCode.REFUSED, authoritative=False, ours=False, reason=Reason.NOT_AUTHORITATIVE)

# Seconds between a secondary's looks, until it tries again, until it gives up (RIPE-203's values).
_REFRESH, _RETRY, _EXPIRE = 3600, 600, 1209600
# A node that is new should not stay unknown for long (RFC 2308 section 5 proposes one to three hours at most).
_LONGEST_DENIAL = 300
_MASTER, _SELF = b"master", b"self"
_REVERSE_SUFFIX: Final = {4: domain("in-addr.arpa"), 6: domain("ip6.arpa")}
# Types that are questions about a message or a zone and never data (RFC 6895 section 3.1).
_META_REPLIES: Final = {
    RecordType.OPT: ReplyCode.FORMERR,
    RecordType.TKEY: ReplyCode.NOTIMP,
    RecordType.TSIG: ReplyCode.FORMERR,
    RecordType.MAILB: ReplyCode.NOTIMP,
    RecordType.MAILA: ReplyCode.NOTIMP,
}
_DECIMAL: Final = {str(number).encode(): number for number in range(256)}
_NIBBLES: Final = {f"{number:x}".encode(): number for number in range(16)}


@dataclass(frozen=True, slots=True)
class Apex:
    """The top of one zone, with the records that every zone has there."""

    name: DomainName
    network: IPv4Network | IPv6Network | None
    soa: Record
    denial: Record
    servers: tuple[Record, ...]


class Zones:
    """The cluster's forward zone and its reverse zones.

    Immutable after construction, which costs a few records per zone and nothing per node.

    Args:
        names: the compiled description.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self._zone = domain(names.zone)
        self._ttl = min(max(names.ttl, 0), MAXIMUM_TTL)
        servers = tuple(domain(f"{master.name}.{names.zone}") for master in names.masters)
        self._glue = tuple(
            _address_record(owner, self._ttl, address)
            for master, owner in zip(names.masters, servers, strict=True)
            for address in master.addresses
        )
        self._apexes: dict[DomainName, Apex] = {}
        for network in (None, *names.reverse_networks):
            apex = self._apex(self._zone if network is None else reverse_name(network), network, servers)
            self._apexes[apex.name] = apex
        # The depths at which a zone may begin, deepest first: the closest enclosing zone answers.
        self._depths = sorted({len(name) for name in self._apexes}, reverse=True)

    @property
    def apexes(self) -> tuple[DomainName, ...]:
        """The names of all zones, in lower case, the forward zone first."""
        return tuple(self._apexes)

    @property
    def all_plain(self) -> bool:
        """Whether everything here is computed; here always."""
        return True

    def is_plain(self, key: DomainName) -> bool:  # noqa: ARG002 - for zones with static records
        """Say whether what a name in lower case answers is computed and nothing else; here always."""
        return True

    def answer(self, qname: DomainName, qtype: int, qclass: int, asker: Address) -> Answer:
        """Answer one question.

        Args:
            qname: labels in the case the client wrote; owners in the answer keep that case.
            qtype: any type number.
            qclass: any class number; we hold class IN.
            asker: the client's address, which decides about ``self`` and ``master``.

        Never raises for any name, type or class.
        """
        if (code := _META_REPLIES.get(qtype)) is not None:  # type: ignore[call-overload]
            return Answer(code, authoritative=False)
        if qclass not in (RecordClass.IN, RecordClass.ANY):
            return _ELSEWHERE
        key = folded(qname)
        apex = self._enclosing(key)
        if apex is None:
            return _ELSEWHERE
        if qtype in (RecordType.AXFR, RecordType.IXFR):
            if key == apex.name:
                return Answer(ReplyCode.REFUSED, authoritative=False, reason=Reason.PROHIBITED)
            return Answer(ReplyCode.NOTAUTH, authoritative=False, reason=Reason.NOT_AUTHORITATIVE)
        if key == apex.name:
            answer = self._at_apex(apex, qname, qtype)
        elif apex.network is None:
            answer = self._forward(apex, qname, key, qtype, asker)
        else:
            answer = self._reverse(apex, qname, key, qtype)
        if qclass == RecordClass.ANY:
            # "The answer can never be authoritative" for class * (RFC 1035 section 6.2).
            answer = replace(answer, authoritative=False)
        return answer

    def _apex(
        self, name: DomainName, network: IPv4Network | IPv6Network | None, servers: tuple[DomainName, ...]
    ) -> Apex:
        minimum = min(self._ttl, _LONGEST_DENIAL)
        data = SOAData(
            primary=servers[0] if servers else self._zone,
            mailbox=(b"hostmaster", *self._zone),
            serial=self.names.version % 2**32,
            refresh=_REFRESH,
            retry=_RETRY,
            expire=_EXPIRE,
            minimum=minimum,
        )
        soa = Record(name, RecordType.SOA, self._ttl, data)
        # RFC 2308 section 3: the TTL of the SOA in a denial is the lesser of its own and MINIMUM.
        denial = replace(soa, ttl=min(self._ttl, minimum))
        return Apex(
            name,
            network,
            soa,
            denial,
            tuple(Record(name, RecordType.NS, self._ttl, NameData(server)) for server in servers),
        )

    def _enclosing(self, key: DomainName) -> Apex | None:
        length = len(key)
        for depth in self._depths:
            if depth <= length and (apex := self._apexes.get(key[length - depth :])) is not None:
                return apex
        return None

    def _at_apex(self, apex: Apex, qname: DomainName, qtype: int) -> Answer:
        # ANY gets one RRset, which RFC 8482 section 4.1 allows: nothing to amplify with.
        if qtype in (RecordType.SOA, RecordType.ANY):
            return Answer(answer=(replace(apex.soa, name=qname),))
        if qtype == RecordType.NS and apex.servers:
            servers = tuple([replace(record, name=qname) for record in apex.servers])
            return Answer(answer=servers, additional=self._glue)
        return _no_data(apex)

    def _forward(self, apex: Apex, qname: DomainName, key: DomainName, qtype: int, asker: Address) -> Answer:
        label = key[0]
        # All names of the cluster are single labels below the zone, and nothing lies below them (RFC 8020).
        if len(key) != len(apex.name) + 1:
            return _no_name(apex)
        if label == _SELF:
            return self._self(apex, qname, qtype, asker)
        if label == _MASTER:
            return self._master(apex, qname, qtype, asker)
        # find() also takes names with the zone written out: a dot *inside* a label must not pass for one.
        if not label.isascii() or b"." in label:
            return _no_name(apex)
        text = label.decode("ascii")
        named = self.names.find(text)
        if named is None:
            return _no_name(apex)
        if named.name == text:
            return self._with_addresses(apex, qname, qtype, named.addresses, ())
        return self._alias(apex, qname, qtype, named, self._ttl)

    def _alias(self, apex: Apex, qname: DomainName, qtype: int, named: Named, ttl: int) -> Answer:
        target = (named.name.encode("ascii"), *self._zone)
        alias = Record(qname, RecordType.CNAME, ttl, NameData(target))
        if qtype in (RecordType.CNAME, RecordType.ANY):
            return Answer(answer=(alias,))
        return self._with_addresses(apex, target, qtype, named.addresses, (alias,))

    def _with_addresses(
        self, apex: Apex, owner: DomainName, qtype: int, addresses: Sequence[Address], before: tuple[Record, ...]
    ) -> Answer:
        if found := _address_records(owner, self._ttl, addresses, qtype):
            return Answer(answer=before + found)
        return Answer(answer=before, authority=(apex.denial,))

    def _self(self, apex: Apex, qname: DomainName, qtype: int, asker: Address) -> Answer:
        named = self.names.self_name(asker)
        if named is None:
            return _personal(_no_data(apex))
        return _personal(self._alias(apex, qname, qtype, named, 0))

    def _master(self, apex: Apex, qname: DomainName, qtype: int, asker: Address) -> Answer:
        addresses = [address for master in self.names.master_order(asker) for address in master.addresses]
        found = _address_records(qname, 0, addresses, qtype)
        return _personal(Answer(answer=found) if found else _no_data(apex))

    def _reverse(self, apex: Apex, qname: DomainName, key: DomainName, qtype: int) -> Answer:
        block = _reverse_block(key)
        if block is None:
            return _no_name(apex)
        low, high = block
        if low != high:
            # An empty non-terminal exists as soon as one name lies below it (RFC 8020 section 1).
            return _no_data(apex) if self.names.occupied(low, high) else _no_name(apex)
        named = self.names.find_address(low)
        if named is None:
            return _no_name(apex)
        if qtype not in (RecordType.PTR, RecordType.ANY):
            return _no_data(apex)
        target = (named.name.encode("ascii"), *self._zone)
        return Answer(answer=(Record(qname, RecordType.PTR, self._ttl, NameData(target)),))


class UnknownZones:
    """Stands for zones that are not known yet: every question fails, so that no cache learns a lie."""

    all_plain = False

    def answer(self, qname: DomainName, qtype: int, qclass: int, asker: Address) -> Answer:  # noqa: ARG002 - as Zones.answer
        """Return SERVFAIL."""
        return FAILED


def reverse_name(network: IPv4Network | IPv6Network) -> DomainName:
    """Return the apex of the reverse zone of ``network`` (RFC 1035 section 3.5, RFC 3596 section 2.5).

    Raises:
        ValueError: the prefix does not end at an octet (IPv4) or nibble (IPv6).
    """
    size = 8 if network.version == 4 else 4
    if network.prefixlen % size:
        raise ValueError(f"{network} does not end at a label boundary of a reverse zone")
    count = network.prefixlen // size
    address = network.network_address
    if isinstance(address, IPv4Address):
        labels = [str(octet).encode() for octet in address.packed[:count]]
    else:
        labels = [digit.encode() for digit in address.packed.hex()[:count]]
    return (*reversed(labels), *_REVERSE_SUFFIX[network.version])


def server_text(key: DomainName, qtype: int, identity: bytes) -> Answer:
    """Answer a question of class CH: ``id.server`` TXT tells which server this is (RFC 4892).

    Args:
        key: the name in lower case.
        qtype: any type number.
        identity: what to say, at most 255 bytes; empty says nothing.

    What software or version runs here is not told.
    """
    if not identity or key not in ((b"id", b"server"), (b"hostname", b"bind")):
        return replace(_ELSEWHERE, reason=Reason.PROHIBITED)
    if qtype not in (RecordType.TXT, RecordType.ANY):
        return Answer()
    return Answer(answer=(Record(key, RecordType.TXT, 0, TextData((identity[:255],))),))


def _reverse_block(key: DomainName) -> tuple[Address, Address] | None:
    """Return the first and last address below a reverse name, None when it is no canonical reverse name."""
    labels = key[:-2]
    if key[-2:] == _REVERSE_SUFFIX[4]:
        size, bits, values = 8, 32, [_DECIMAL.get(label) for label in reversed(labels)]
    else:
        size, bits, values = 4, 128, [_NIBBLES.get(label) for label in reversed(labels)]
    rest = bits - size * len(values)
    if rest < 0:
        return None
    prefix = 0
    for value in values:
        if value is None:
            return None
        prefix = prefix << size | value
    low = prefix << rest
    high = low | (1 << rest) - 1
    if bits == 32:
        return IPv4Address(low), IPv4Address(high)
    return IPv6Address(low), IPv6Address(high)


def _address_records(owner: DomainName, ttl: int, addresses: Sequence[Address], qtype: int) -> tuple[Record, ...]:
    """Return the A or AAAA records of a name.

    ANY gets one of the two RRsets, that of the first address (RFC 8482 section 4.1); other types get nothing.
    """
    if qtype == RecordType.A:
        family = 4
    elif qtype == RecordType.AAAA:
        family = 6
    elif qtype == RecordType.ANY and addresses:
        family = addresses[0].version
    else:
        return ()
    return tuple([_address_record(owner, ttl, address) for address in addresses if address.version == family])


def _address_record(owner: DomainName, ttl: int, address: Address) -> Record:
    return Record(owner, RecordType.A if address.version == 4 else RecordType.AAAA, ttl, AddressData(address))


def _no_data(apex: Apex) -> Answer:
    return Answer(authority=(apex.denial,))


def _no_name(apex: Apex) -> Answer:
    return Answer(ReplyCode.NXDOMAIN, authority=(apex.denial,))


def _personal(answer: Answer) -> Answer:
    """Mark as depending on the asker; a denial then is for now only."""
    return replace(answer, personal=True, authority=tuple([replace(record, ttl=0) for record in answer.authority]))
