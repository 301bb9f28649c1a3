"""Static records as a person reads them: where a name's records are written, and what they say."""

from typing import TYPE_CHECKING

from beonss.core.zones.overlay import StaticRecord
from beonss.core.zones.records import (
    AddressData,
    DomainName,
    NameData,
    OpaqueData,
    Record,
    RecordType,
    SOAData,
    TextData,
    domain,
    folded,
    shown,
)

if TYPE_CHECKING:
    from beonss.core.names.naming import Naming

_TYPES = {each.value: each.name for each in RecordType}


def static_records(naming: "Naming", text: str) -> tuple[StaticRecord, ...]:
    """Return the static records of a description at a name, written with the zone or relative to it."""
    try:
        name = folded(domain(text))
    except (ValueError, UnicodeEncodeError):
        return ()
    wanted: set[DomainName] = {name, (*name, *domain(naming.zone))}
    return tuple(each for each in naming.description.dns.records if folded(each.record.name) in wanted)


def type_text(number: int) -> str:
    """Return the name of a record type (RFC 3597 section 5 for those without one)."""
    return _TYPES.get(number, f"TYPE{number}")


def record_text(record: Record) -> str:
    """Return a record in the order of a zone file; unusual data as RFC 3597 section 5 writes it."""
    return f"{shown(record.name)} {record.ttl} {type_text(record.type)} {_data_text(record)}"


def _data_text(record: Record) -> str:
    match record.data:
        case NameData(target):
            return shown(target)
        case AddressData(address):
            return str(address)
        case TextData(strings):
            return " ".join(f'"{shown((each,))}"' if each else '""' for each in strings)
        case SOAData() as data:
            return f"{shown(data.primary)} {shown(data.mailbox)} {data.serial}"
        case OpaqueData(data) if record.type == RecordType.MX:
            return f"{int.from_bytes(data[:2], 'big')} {shown(record.data.target or ())}"
        case OpaqueData(data) if record.type == RecordType.SRV:
            numbers = " ".join(str(int.from_bytes(data[at : at + 2], "big")) for at in (0, 2, 4))
            return f"{numbers} {shown(record.data.target or ())}"
        case OpaqueData(data):
            return f"\\# {len(data)} {data.hex()}"
