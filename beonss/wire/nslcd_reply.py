"""The bytes of our answers in the nslcd protocol, version 2 (see :mod:`beonss.wire.nslcd`)."""

import re
import struct
from collections.abc import Iterable, Sequence

from beonss.core.accounts.entries import UserEntry
from beonss.core.accounts.lookup import Ether, Host, Shadow, Triple
from beonss.wire.nslcd import AF_INET, AF_INET6, USERMOD_END, USERMOD_RESULT, VERSION, Action

#: Largest result of an enumeration that the modules can hold, in bytes; a little less than their 2 MiB.
MAXIMUM_ENTRY = 2 * 1024 * 1024 - 4096
#: Longest string that a PAM answer may hold, in bytes.
MAXIMUM_MESSAGE = 1023
#: What stands where passwd(5) has a password. Not "x": pam_unix(8) would then look for a shadow entry, which a node
#: has not, and refuse the account; so PAM asks us.
NO_PASSWORD = "*"  # noqa: S105 - the opposite of one

_pack = struct.Struct(">I").pack
BEGIN = _pack(1)
#: The end of every answer; alone it says "no such entry".
END = _pack(2)
#: The end of one netgroup, before the end of the answer.
NETGROUP_END = _pack(3)
_NETGROUP_TRIPLE = _pack(2)

_SEPARATORS = re.compile(rb"[\0\n:]")


def header(action: Action) -> bytes:
    """Return the first bytes of an answer."""
    return _pack(VERSION) + _pack(action)


def _text(value: str) -> bytes:
    """Encode a field of an entry.

    What would add a field or a line to what ``getent`` prints becomes a space: it can only come from another
    program's mistake, and must not forge an entry.
    """
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "replace")
    if _SEPARATORS.search(raw):
        raw = _SEPARATORS.sub(b" ", raw)
    return _pack(len(raw)) + raw


def _message(value: str) -> bytes:
    """Encode a text of a PAM answer, cut where the module's buffer ends."""
    raw = value.encode("utf-8", "replace").replace(b"\0", b" ")
    if len(raw) > MAXIMUM_MESSAGE:
        raw = raw[:MAXIMUM_MESSAGE].decode("utf-8", "ignore").encode("utf-8")
    return _pack(len(raw)) + raw


def _list(values: Iterable[str]) -> bytes:
    encoded = [_text(value) for value in values]
    return _pack(len(encoded)) + b"".join(encoded)


def _days(value: int | None) -> bytes:
    """Encode days of shadow(5): -1 where the field is empty."""
    if value is None or value < 0:
        return b"\xff\xff\xff\xff"
    return _pack(min(value, 0x7FFFFFFF))


def encode_passwd(user: UserEntry, password: str = NO_PASSWORD) -> bytes:
    """Return a result of PASSWD_*; ``password`` is never a hash."""
    return b"".join(
        (
            BEGIN,
            _text(user.name),
            _text(password),
            _pack(user.uid),
            _pack(user.gid),
            _text(user.gecos),
            _text(user.home),
            _text(user.shell),
        )
    )


def encode_group(name: str, gid: int, members: Sequence[str] = ()) -> bytes:
    """Return a result of GROUP_*."""
    return encode_group_head(name, gid, len(members)) + encode_members(members)


def encode_group_head(name: str, gid: int, count: int) -> bytes:
    """Return the begin of a result of GROUP_*; ``count`` members follow."""
    return b"".join((BEGIN, _text(name), _text(NO_PASSWORD), _pack(gid), _pack(count)))


def encode_members(members: Iterable[str]) -> bytes:
    """Return some members of a group."""
    return b"".join([_text(member) for member in members])


def fitting_members(members: Sequence[str]) -> Sequence[str]:
    """Return as many members as a result of an enumeration can hold."""
    room = MAXIMUM_ENTRY - 1024
    # No character takes more than four bytes: this settles nearly every group without a look at its members.
    if 4 * len(members) + 4 * sum(map(len, members)) <= room:
        return members
    for count, member in enumerate(members):
        room -= len(_text(member))
        if room < 0:
            return members[:count]
    return members


def encode_shadow(entry: Shadow) -> bytes:
    """Return a result of SHADOW_*."""
    return b"".join(
        (
            BEGIN,
            _text(entry.name),
            _text(entry.hash),
            _days(entry.changed),
            _days(entry.minimum),
            _days(entry.maximum),
            _days(entry.warning),
            _days(entry.inactive),
            _days(entry.expires),
            b"\xff\xff\xff\xff",
        )
    )


def encode_host(host: Host) -> bytes:
    """Return a result of HOST_*; the module picks the family it was asked for."""
    parts = [BEGIN, _text(host.name), _list(host.aliases), _pack(len(host.addresses))]
    for address in host.addresses:
        raw = address.packed
        parts += (_pack(AF_INET if address.version == 4 else AF_INET6), _pack(len(raw)), raw)
    return b"".join(parts)


def encode_ether(ether: Ether) -> bytes:
    """Return a result of ETHER_*."""
    return BEGIN + _text(ether.name) + ether.address


def encode_netgroup(name: str) -> bytes:
    """Return the begin of a result of NETGROUP_*; triples and NETGROUP_END follow."""
    return BEGIN + _text(name)


def encode_triple(triple: Triple) -> bytes:
    """Return one (host, user, domain) of a netgroup; an empty part stands for all."""
    return b"".join((_NETGROUP_TRIPLE, _text(triple.host), _text(triple.user), _text(triple.domain)))


def encode_option(value: str) -> bytes:
    """Return the result of CONFIG_GET."""
    return BEGIN + _message(value)


def encode_authentication(code: int, user: str, authorisation: int, message: str) -> bytes:
    """Return the result of PAM_AUTHC.

    Args:
        code: was it the password?
        user: canonical name of the account.
        authorisation: what PAM_AUTHZ would say of a user who came by password.
        message: the text of that.
    """
    return b"".join((BEGIN, _pack(code), _message(user), _pack(authorisation), _message(message)))


def encode_verdict(code: int, message: str) -> bytes:
    """Return the result of PAM_AUTHZ or PAM_PWMOD."""
    return BEGIN + _pack(code) + _message(message)


def encode_session(session: str) -> bytes:
    """Return the result of PAM_SESS_O."""
    return BEGIN + _message(session)


def encode_refused_change(message: str) -> bytes:
    """Return the result of a USERMOD of which nothing was done."""
    return BEGIN + _pack(USERMOD_RESULT) + _message(message) + _pack(USERMOD_END)
