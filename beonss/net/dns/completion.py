"""Aliases of ours that lead elsewhere, followed for clients that want it.

Resolvers in C libraries follow no alias themselves: a reply that holds an alias and no address means to them that
there is none. So where names elsewhere are looked up for a client, what an alias leads to is looked up as well, and
both stand in one reply.
"""

from collections.abc import Iterable
from dataclasses import replace

from beonss.core.zones.records import (
    Address,
    DomainName,
    NameData,
    OpaqueData,
    Record,
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


def _reached(name: DomainName, records: Iterable[Record]) -> tuple[Record, ...]:
    """Return those records that belong to a name and to the names that its aliases lead to, in whatever order."""
    records = tuple(records)
    aliases = {
        folded(record.name): folded(data_name(record.data.data))
        for record in records
        if record.type == RecordType.CNAME and isinstance(record.data, OpaqueData)
    }
    chain: list[DomainName] = [folded(name)]
    while (after := aliases.get(chain[-1])) is not None and after not in chain:
        chain.append(after)
    names = set(chain)
    above = {each[start:] for each in chain for start in range(len(each) + 1)}
    return tuple(
        record
        for record in records
        if (owner := folded(record.name)) in names or (record.type in _ABOVE and owner in above)
    )
