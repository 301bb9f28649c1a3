"""Reading the accounts that are as nearly all are, at a fraction of the cost; whatever else comes is left to others.

:mod:`beonss.core.accounts.entries` reads every value and says what is wrong with it. A start reads 100,000 users: so
what is canonical JSON of plain ASCII without anything to object to is recognized as a whole. The two never differ where
this one answers (tests/core/accounts/test_plain.py).
"""

import hashlib
import re
from typing import NamedTuple

from beonss.core.accounts.entries import Kind


class PlainAccount(NamedTuple):
    """A living account whose entry can be served, and that was created as what its id says.

    Attributes:
        name: as in its entry; what it claims.
        number: as in its entry, uid or gid; what it claims.
        original: the uid or gid that it was created with.
        created: creation stamp, ms.
    """

    kind: Kind
    name: str
    number: int
    original: int
    created: int


# JSON strings without an escape, and for passwd(5) without a colon.
_TEXT = rb'"[ !#-\[\]-~]*"'
_FIELD = rb'"[ !#-9;-\[\]-~]*"'
_NAME = rb'"([A-Za-z_][A-Za-z0-9_.-]{0,63})"'
# JSON knows no leading zeros. Below 10**9 there is one forbidden number besides 0.
_ID = rb"(?!65535[,}])([1-9][0-9]{0,8})"
_COUNT = rb"(0|[1-9][0-9]{0,17})"
_USER = re.compile(
    rb'\{"gecos":' + _FIELD + rb',"gid":(0|[1-9][0-9]{0,8}),"home":' + _FIELD + rb',"name":' + _NAME
    + rb',"shell":' + _FIELD + rb',"uid":' + _ID + rb"\}"
)  # fmt: skip
_GROUP = re.compile(rb'\{"gid":' + _ID + rb',"name":' + _NAME + rb"\}")
_PRESENCE = re.compile(
    rb'\{"created":' + _COUNT + rb',"generation":' + _COUNT + rb',"kind":("user"|"group"),"name":(' + _TEXT
    + rb'),"number":' + _COUNT + rb',"present":true\}'
)  # fmt: skip


def plain_group(entry: bytes) -> int | None:
    """Return the primary group in the value of a user's register ``entry``, None if it has to be read the long way."""
    found = _USER.fullmatch(entry)
    return None if found is None else int(found[1])


def read_plain(identifier: str, entry: bytes, presence: bytes) -> PlainAccount | None:
    """Return what two registers of an object say, or None if that has to be found out the long way.

    Args:
        identifier: the object's id.
        entry: value of its register ``entry``.
        presence: value of its register ``present``.
    """
    made = _PRESENCE.fullmatch(presence)
    if made is None:
        return None
    created, generation, kind, name, number = made.groups()
    user = kind == b'"user"'
    found = (_USER if user else _GROUP).fullmatch(entry)
    if found is None:
        return None
    # As entries.object_id writes it.
    text = b"[%b,%b,%b,%b]" % (kind, name, number, generation)
    if hashlib.sha256(text).hexdigest()[:32] != identifier:
        return None
    if user:
        return PlainAccount("user", found[2].decode(), int(found[3]), int(number), int(created))
    return PlainAccount("group", found[2].decode(), int(found[1]), int(number), int(created))
