"""The nslcd protocol, version 2: what the stock modules of nss-pam-ldapd ask.

Facts are from the public header ``nslcd.h`` of nss-pam-ldapd 0.9.12 and from watching its modules; the parts:

- One request per connection. Integers have 32 bits, big-endian. A string is its length and its bytes (no NUL); a
  list of strings is a count and the strings; an address is family, length and raw bytes; an Ethernet address is six
  raw bytes.
- Request: version 2, action, parameters. Answer: version 2, the same action, then for each result a 1
  (begin) and its fields, and at last a 2 (end). The end alone says "there is no such entry".
- An error has no form: the server closes the connection, and the module says NSS_STATUS_UNAVAIL or
  PAM_AUTHINFO_UNAVAIL.
- The modules hold a result of an enumeration in a buffer of at most 2 MiB, a string of a PAM answer in one of 1024
  bytes including the final NUL. They wait 60 s for an answer, and 0.5 s for the end of the connection after it.

Everything a client sends is read with :class:`RequestReader`; passwords are kept out of every ``repr``.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from beonss.errors import MalformedError

VERSION = 2
#: Longest request, in bytes: more than any honest module sends.
MAXIMUM_REQUEST = 64 * 1024
#: Longest string in a request, in bytes (the C server takes 256 for names and passwords).
MAXIMUM_STRING = 4096
#: Changes that one USERMOD request may hold; seven kinds exist.
MAXIMUM_CHANGES = 16


class Action(IntEnum):
    """What can be asked (NSLCD_ACTION_* of nslcd.h)."""

    CONFIG_GET = 0x00010001
    ALIAS_BYNAME = 0x00020001
    ALIAS_ALL = 0x00020008
    ETHER_BYNAME = 0x00030001
    ETHER_BYETHER = 0x00030002
    ETHER_ALL = 0x00030008
    GROUP_BYNAME = 0x00040001
    GROUP_BYGID = 0x00040002
    GROUP_BYMEMBER = 0x00040006
    GROUP_ALL = 0x00040008
    HOST_BYNAME = 0x00050001
    HOST_BYADDR = 0x00050002
    HOST_ALL = 0x00050008
    NETGROUP_BYNAME = 0x00060001
    NETGROUP_ALL = 0x00060008
    NETWORK_BYNAME = 0x00070001
    NETWORK_BYADDR = 0x00070002
    NETWORK_ALL = 0x00070008
    PASSWD_BYNAME = 0x00080001
    PASSWD_BYUID = 0x00080002
    PASSWD_ALL = 0x00080008
    PROTOCOL_BYNAME = 0x00090001
    PROTOCOL_BYNUMBER = 0x00090002
    PROTOCOL_ALL = 0x00090008
    RPC_BYNAME = 0x000A0001
    RPC_BYNUMBER = 0x000A0002
    RPC_ALL = 0x000A0008
    SERVICE_BYNAME = 0x000B0001
    SERVICE_BYNUMBER = 0x000B0002
    SERVICE_ALL = 0x000B0008
    SHADOW_BYNAME = 0x000C0001
    SHADOW_ALL = 0x000C0008
    PAM_AUTHC = 0x000D0001
    PAM_AUTHZ = 0x000D0002
    PAM_SESS_O = 0x000D0003
    PAM_SESS_C = 0x000D0004
    PAM_PWMOD = 0x000D0005
    USERMOD = 0x000E0001


class PamCode(IntEnum):
    """Results of PAM requests (NSLCD_PAM_* of nslcd.h, the values of Linux-PAM)."""

    SUCCESS = 0
    PERM_DENIED = 6
    AUTH_ERR = 7
    CRED_INSUFFICIENT = 8
    AUTHINFO_UNAVAIL = 9
    USER_UNKNOWN = 10
    MAXTRIES = 11
    NEW_AUTHTOK_REQD = 12
    ACCT_EXPIRED = 13
    SESSION_ERR = 14
    AUTHTOK_ERR = 20
    AUTHTOK_DISABLE_AGING = 23
    IGNORE = 25
    ABORT = 26
    AUTHTOK_EXPIRED = 27


#: The one option of CONFIG_GET: the text that forbids a password change (empty: it is allowed).
CONFIG_PASSWORD_PROHIBITED = 1

USERMOD_END = 0
USERMOD_RESULT = 1

Key = str | int | bytes | IPv4Address | IPv6Address | None


@dataclass(frozen=True, slots=True)
class Query:
    """A lookup, or a question for an option of the configuration.

    Attributes:
        key: a name, a number (uid, gid, port, option), an address, an Ethernet address of six bytes;
            None for an enumeration.
        protocol: that of a service; empty means any.
    """

    action: Action
    key: Key = None
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class PamContext:
    """Who wants what, as PAM says it (pam_get_item(3)); nothing here is verified.

    Attributes:
        user: the account; empty stands for the administrator, who may set the passwords of others.
        service: the program's PAM service (``login``, ``sshd`` ...).
        ruser: name of the asking user, where the program knows it.
        rhost: the host the user comes from, empty for this one.
        tty: the terminal.
    """

    user: str
    service: str
    ruser: str
    rhost: str
    tty: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """PAM_AUTHC: is this the user's password?"""

    context: PamContext
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorise:
    """PAM_AUTHZ: may the user, however authenticated, come in?"""

    context: PamContext


@dataclass(frozen=True, slots=True)
class OpenSession:
    """PAM_SESS_O."""

    context: PamContext


@dataclass(frozen=True, slots=True)
class CloseSession:
    """PAM_SESS_C, with what OpenSession was answered."""

    context: PamContext
    session: str


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """PAM_PWMOD.

    Attributes:
        as_root: ``old`` is the administrator's password (empty: root asks to be trusted), not the user's.
    """

    context: PamContext
    as_root: bool
    old: str = field(repr=False)
    new: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """USERMOD (``chsh.ldap`` of nslcd-utils).

    Attributes:
        changes: kind (NSLCD_USERMOD_*) and new value of each.
    """

    user: str
    as_root: bool
    password: str = field(repr=False)
    changes: tuple[tuple[int, str], ...] = ()


PamRequest = Authenticate | Authorise | OpenSession | CloseSession | ChangePassword
Request = Query | PamRequest | ChangeUser

T = TypeVar("T")
#: A part of a request: yields how many bytes it needs next, is sent exactly these, returns the value.
_Part = Generator[int, bytes, T]


def action_of(request: Request) -> Action:
    """Return the action under which a request is answered."""
    return request.action if isinstance(request, Query) else _ACTIONS[type(request)]


_ACTIONS: dict[type, Action] = {
    Authenticate: Action.PAM_AUTHC,
    Authorise: Action.PAM_AUTHZ,
    OpenSession: Action.PAM_SESS_O,
    CloseSession: Action.PAM_SESS_C,
    ChangePassword: Action.PAM_PWMOD,
    ChangeUser: Action.USERMOD,
}


class RequestReader:
    """Reads one request from bytes as they come; the work is linear in their number.

    The modules write in pieces of 32 bytes, so a request arrives in several.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._read = 0
        self._parts = _request()
        self._wanted = next(self._parts)
        self._over = False

    def feed(self, data: bytes) -> Request | None:
        """Take bytes; return the request once it is whole, else None.

        Raises:
            MalformedError: these bytes are no request, or more than one. Every later call raises it, too.
        """
        if self._over:
            raise MalformedError("nslcd request: bytes after its end")
        self._buffer += data
        if len(self._buffer) > MAXIMUM_REQUEST:
            self._over = True
            raise MalformedError(f"nslcd request: longer than {MAXIMUM_REQUEST} bytes")
        try:
            while len(self._buffer) - self._read >= self._wanted:
                piece = bytes(self._buffer[self._read : self._read + self._wanted])
                self._read += self._wanted
                self._wanted = self._parts.send(piece)
        except StopIteration as stop:
            self._over = True
            if self._read != len(self._buffer):
                raise MalformedError("nslcd request: bytes after its end") from None
            self._buffer.clear()
            request: Request = stop.value
            return request
        except MalformedError:
            self._over = True
            self._buffer.clear()
            raise
        return None


def _integer() -> _Part[int]:
    return int.from_bytes((yield 4), "big")


def _string() -> _Part[str]:
    length = yield from _integer()
    if length > MAXIMUM_STRING:
        raise MalformedError(f"nslcd request: a string of {length} bytes; at most {MAXIMUM_STRING} are read")
    raw = (yield length) if length else b""
    if b"\0" in raw:
        raise MalformedError("nslcd request: a string holds a NUL byte")
    return raw.decode("utf-8", "surrogateescape")


def _address() -> _Part[IPv4Address | IPv6Address]:
    family = yield from _integer()
    length = yield from _integer()
    if (family, length) == (AF_INET, 4):
        return IPv4Address((yield 4))
    if (family, length) == (AF_INET6, 16):
        return IPv6Address((yield 16))
    raise MalformedError(f"nslcd request: an address of family {family} and {length} bytes")


#: AF_INET and AF_INET6 of Linux: they are sent as the C library numbers them.
AF_INET, AF_INET6 = 2, 10


def _ethernet() -> _Part[bytes]:
    return (yield 6)


def _nothing() -> _Part[None]:
    return None
    yield  # pragma: no cover - makes this a generator


_SERVICES = {Action.SERVICE_BYNAME, Action.SERVICE_BYNUMBER}
_KEYS: dict[str, Callable[[], _Part[Key]]] = {
    "ALL": _nothing,
    "BYADDR": _address,
    "BYETHER": _ethernet,
    "BYGID": _integer,
    "BYMEMBER": _string,
    "BYNAME": _string,
    "BYNUMBER": _integer,
    "BYUID": _integer,
    "GET": _integer,
}


def _request() -> _Part[Request]:
    version = yield from _integer()
    if version != VERSION:
        raise MalformedError(f"nslcd request: protocol version {version}, we speak {VERSION}")
    number = yield from _integer()
    try:
        action = Action(number)
    except ValueError:
        raise MalformedError(f"nslcd request: unknown action 0x{number:08x}") from None
    if action is Action.USERMOD:
        return (yield from _change_user())
    if Action.PAM_AUTHC <= action <= Action.PAM_PWMOD:
        return (yield from _pam(action))
    key = yield from _KEYS[action.name.rpartition("_")[2]]()
    protocol = (yield from _string()) if action in _SERVICES else ""
    return Query(action, key, protocol)


def _pam(action: Action) -> _Part[Request]:
    user = yield from _string()
    service = yield from _string()
    ruser = yield from _string()
    rhost = yield from _string()
    tty = yield from _string()
    context = PamContext(user, service, ruser, rhost, tty)
    if action is Action.PAM_AUTHC:
        return Authenticate(context, (yield from _string()))
    if action is Action.PAM_AUTHZ:
        return Authorise(context)
    if action is Action.PAM_SESS_O:
        return OpenSession(context)
    if action is Action.PAM_SESS_C:
        return CloseSession(context, (yield from _string()))
    as_root = yield from _integer()
    old = yield from _string()
    new = yield from _string()
    return ChangePassword(context, bool(as_root), old, new)


def _change_user() -> _Part[Request]:
    user = yield from _string()
    as_root = yield from _integer()
    password = yield from _string()
    changes: list[tuple[int, str]] = []
    while (kind := (yield from _integer())) != USERMOD_END:
        if len(changes) == MAXIMUM_CHANGES:
            raise MalformedError(f"nslcd request: more than {MAXIMUM_CHANGES} changes of a user")
        changes.append((kind, (yield from _string())))
    return ChangeUser(user, bool(as_root), password, tuple(changes))
