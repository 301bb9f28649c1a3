"""Which description of the cluster counts, told without reading what it says: for a start that must be quick."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from beonss.core.replication.publication import (
    DESCRIPTION,
    SERIAL,
    Published,
    Serial,
    decode_published,
    decode_serial,
    following,
    version_of,
)
from beonss.core.replication.registers import Key
from beonss.errors import MalformedError


class HasValue(Protocol):
    """A register, as far as it matters here."""

    @property
    def value(self) -> bytes: ...  # noqa: D102


Find = Callable[[Key], HasValue | None]


def standing(find: Find) -> Published | None:
    """Return the cluster's description as its registers say; None if there is none.

    Raises:
        MalformedError: this version of the software cannot read it.
    """
    register = find(DESCRIPTION)
    if register is None:
        return None
    published = decode_published(register.value)
    return replace(published, version=version_of(published, serial_in(find)))


def serial_in(find: Find) -> Serial | None:
    """Return what the register of the serial says; one that cannot be read says nothing."""
    register = find(SERIAL)
    if register is None:
        return None
    try:
        return decode_serial(register.value)
    except MalformedError:
        return None


def foremost(find: Find, kept: bytes | None) -> Published | None:
    """Return the description that a start tries first; None if that is the file on the command line.

    It is the one that :func:`beonss.daemon.replication.description.first_description` returns, unless this version of
    the software refuses it.

    Args:
        find: returns a register.
        kept: the note of the description that was in force last.

    Raises:
        MalformedError: one of them cannot be read.
    """
    before = None if kept is None else decode_published(kept)
    found = standing(find)
    if found is not None and before is not None:
        return following(found, before)
    return found or before
