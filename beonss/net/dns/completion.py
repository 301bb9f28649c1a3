"""Aliases of ours that lead elsewhere, followed for clients that want it, and aliases elsewhere that lead to us.

Resolvers in C libraries follow no alias themselves: a reply that holds an alias and no address means to them that
there is none. So where names elsewhere are looked up for a client, what an alias leads to is looked up as well, and
both stand in one reply. Of what others say only aliases on the way to a zone of ours are believed there: what lies in
that zone they may not know, or may know otherwise.
"""

from collections.abc import Iterable
from dataclasses import replace

from beonss.core.zones.records import (
    Address,
    DomainName,
    NameData,
    OpaqueData,
    Record,
    RecordClass,
    RecordType,
    ReplyCode,
    folded,
)
from beonss.core.zones.zone import FAILED, Answer, UnknownZones, Zones
from beonss.errors import MalformedError
from beonss.wire.dns import Query
from beonss.wire.dns_layout import PAIR
from beonss.wire.dns_reply import answer_records, data_name, read_reply

_ALSO_ANSWERED = frozenset({RecordType.CNAME, RecordType.ANY})
_PASSED_ON = frozenset({ReplyCode.NOERROR, ReplyCode.NXDOMAIN})
# They stand at a name above those of the chain, or prove what does.
_ABOVE = frozenset({RecordType.DNAME, RecordType.RRSIG})
_OF_ALIASES = frozenset({RecordType.CNAME, *_ABOVE})
# Type and class, which stand together in a record.
_CNAME = PAIR.pack(RecordType.CNAME, RecordClass.IN)


def alias_elsewhere(zones: Zones | UnknownZones, query: Query, answer: Answer, asker: Address) -> DomainName | None:
    """Return the name that an answer of ours leads to and that lies in none of our zones; None where there is none."""
    if not answer.answer or answer.code is not ReplyCode.NOERROR or query.type in _ALSO_ANSWERED:
        return None
    last = answer.answer[-1]
    if last.type != RecordType.CNAME or not isinstance(last.data, NameData):
        return None
    target = last.data.target
    return None if zones.answer(target, query.type, query.class_, asker).ours else target


def question_for(query: Query, target: DomainName) -> Query:
    """Return the same question about another name."""
    name = b"".join(bytes([len(label)]) + label for label in target) + b"\0"
    return replace(query, name=target, question=name + PAIR.pack(query.type, query.class_))


def completed(answer: Answer, reply: bytes | None) -> Answer:
    """Return an answer together with what its alias leads to.

    Args:
        answer: ends with the alias.
        reply: what was said of the name that it leads to.

    Where that is not known the whole fails: an alias without an address would pass for a name without one. What the
    reply says of names that the alias does not lead to is left out: it would stand in an answer of ours.
    """
    if reply is None:
        return FAILED
    try:
        found = read_reply(reply)
        records = _reached(found.name, answer_records(found))
    except MalformedError:
        return FAILED
    if found.code not in _PASSED_ON or found.truncated:
        return FAILED
    return replace(answer, code=ReplyCode(found.code), answer=answer.answer + records, authority=(), personal=True)


def led_home(zones: Zones | UnknownZones, query: Query, reply: bytes, asker: Address) -> Answer | None:
    """Return what to answer instead of another server's reply because its aliases lead into a zone of ours.

    Args:
        zones: ours.
        query: about a name elsewhere.
        reply: as it would be sent.
        asker: whose question it is.

    Returns:
        The aliases and what we say of the name that they lead to; None where they do not, and where we could not say
        more: the name lies in a zone that we delegate, or is an alias that leads away again.
    """
    if _CNAME not in reply or isinstance(zones, UnknownZones) or query.type in _ALSO_ANSWERED:
        return None
    text = reply.lower()
    if not any(bytes([len(apex[0])]) + apex[0] in text for apex in zones.apexes if apex):
        return None
    try:
        found = read_reply(reply)
        records = answer_records(found)
        aliases = _aliases(records)
    except MalformedError:
        return None
    chain = [folded(query.name)]
    while found.code in _PASSED_ON and (target := aliases.get(chain[-1])) is not None and folded(target) not in chain:
        answer = zones.answer(target, query.type, query.class_, asker)
        if not answer.ours:
            chain.append(folded(target))
            continue
        if not answer.authoritative or alias_elsewhere(zones, query, answer, asker) is not None:
            return None
        way = tuple(record for record in _on_the_way(chain, records) if record.type in _OF_ALIASES)
        return replace(answer, authoritative=False, answer=way + answer.answer, personal=True)
    return None


def _aliases(records: Iterable[Record]) -> dict[DomainName, DomainName]:
    """Return what each alias, in lower case, leads to, as it is written."""
    return {
        folded(record.name): data_name(record.data.data)
        for record in records
        if record.type == RecordType.CNAME and isinstance(record.data, OpaqueData)
    }


def _reached(name: DomainName, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return those records that belong to a name and to the names that its aliases lead to, in whatever order."""
    aliases = _aliases(records)
    chain: list[DomainName] = [folded(name)]
    while (target := aliases.get(chain[-1])) is not None and folded(target) not in chain:
        chain.append(folded(target))
    return _on_the_way(chain, records)


def _on_the_way(chain: Iterable[DomainName], records: Iterable[Record]) -> tuple[Record, ...]:
    """Return those records that belong to some names, in lower case."""
    names = set(chain)
    above = {each[start:] for each in names for start in range(len(each) + 1)}
    return tuple(
        record
        for record in records
        if (owner := folded(record.name)) in names or (record.type in _ABOVE and owner in above)
    )
