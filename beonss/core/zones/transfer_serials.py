"""Serials of zones that never go back (RFC 1982), over restarts and changes of the description.

Secondaries take a zone when its serial is higher than theirs, so a changed zone under an old serial would never
reach them, and a serial that fell would cut them off. The serial of a zone is what an administrator wrote (``[cluster]
version``, or the SOA record of a static zone); this module says when that will not do.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from beonss.core.zones.records import DomainName, shown
from beonss.core.zones.transfer import Edition

_RANGE = 2**32


@dataclass(frozen=True, slots=True)
class Served:
    """What was served of a zone last.

    Attributes:
        serial: 0..2**32-1.
        digest: of what the zone held, as :meth:`beonss.core.zones.transfer.Edition.digest` gives it.
    """

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which serials to serve.

    Attributes:
        served: apex in lower case -> what is to be served and remembered.
        stale: what an administrator must be told: a zone changed and its serial did not rise. Where there is such a
            text, the serial that was chosen instead is one more than the last.
    """

    served: Mapping[DomainName, Served]
    stale: tuple[str, ...]


def is_newer(one: int, other: int) -> bool:
    """Say whether a secondary that has serial ``other`` would take ``one`` (RFC 1982 section 3.2)."""
    return 0 < (one - other) % _RANGE < _RANGE // 2


def choose_serials(edition: Edition, before: Mapping[DomainName, Served], *, guarded: bool = True) -> Choice:
    """Choose the serial of every zone.

    Args:
        edition: the zones with the serials as written.
        before: what was served last.
        guarded: there are secondaries, who would never notice a change under an old serial.
    """
    served: dict[DomainName, Served] = {}
    stale: list[str] = []
    for apex in edition.zones.apexes:
        written, digest = edition.serial(apex), edition.digest(apex)
        last = before.get(apex)
        serial = written
        if last is not None and not is_newer(written, last.serial):
            serial = last.serial
            if guarded and last.digest != digest:
                serial = (last.serial + 1) % _RANGE
                where = "[cluster] version" if apex in edition.zones.computed else "the serial in its SOA record"
                stale.append(
                    f"the zone {shown(apex)} has changed, but its serial {written} is not higher than {last.serial}, "
                    f"which secondaries may have: raise {where} to {serial} or more"
                )
        served[apex] = Served(serial, digest)
    return Choice(served, tuple(stale))
