"""Accounts as LDIF (RFC 2849) for a directory with the schema of RFC 2307, or of the draft that is called rfc2307bis.

Users become ``account`` + ``posixAccount`` + ``shadowAccount``, groups ``posixGroup`` with ``memberUid``. Most
attributes of that schema are IA5 strings: an account whose name, home or shell is not ASCII cannot stand there and is
refused; a full name that is not goes to ``description``, which may hold UTF-8, and to ``cn``.
"""

import base64
import re
from collections.abc import Iterator, Sequence

from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.errors import BeonssError

#: Columns of a line before it is folded (RFC 2849 note 2; any number is allowed).
WIDTH = 76

# RFC 2849: SAFE-STRING; what does not begin or end with a space and is ASCII without NUL, LF and CR.
_SAFE = re.compile(rb"(?![ :<])[\x01-\x09\x0b\x0c\x0e-\x7f]*(?<! )\Z")
# RFC 4514 section 2.4: always escaped; and '#' or a space first, a space last.
_SPECIAL = re.compile(r'([",+;<>\\=])')

# RFC 4514 section 3, and spaces around '=' and ',' as RFC 2253 took them: one attribute and its value.
_RDN = re.compile(
    r"""\ *(?P<type>[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)\ *=\ *"""
    r"""(?P<value>\#(?:[0-9A-Fa-f]{2})+|(?![ \#])(?:[^\x00",+;<>\\]|\\(?:[ "#+,;<=>\\]|[0-9A-Fa-f]{2}))+)"""
)
_ESCAPED = re.compile(r"""((?:\\[0-9A-Fa-f]{2})+)|\\([ "#+,;<=>\\])""")

Attribute = tuple[str, str]


class UnspeakableError(BeonssError):
    """A value that this schema cannot hold. The text never holds the value."""


def escape_value(text: str) -> str:
    """Return an attribute's value as it stands in a distinguished name (RFC 4514)."""
    text = _SPECIAL.sub(r"\\\1", text).replace("\0", r"\00")
    if text[:1] in {" ", "#"}:
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and not text.endswith("\\ ") else text


def user_entry(record: UserRecord, base: str) -> bytes:
    """Return a user's entry under ``base``, with the empty line after it.

    A locked user's hash has a ``!`` before it: crypt(3) gives no such result, so no password matches.

    Raises:
        UnspeakableError: the schema cannot hold it.
    """
    entry = record.entry
    for title, text in (("name", entry.name), ("home", entry.home), ("shell", entry.shell)):
        if not text.isascii():
            raise UnspeakableError(f"its {title} is not ASCII, as RFC 2307 wants it")
    attributes = [
        ("objectClass", "account"),
        ("objectClass", "posixAccount"),
        ("objectClass", "shadowAccount"),
        ("uid", entry.name),
        ("cn", _common_name(entry.gecos) or entry.name),
        ("uidNumber", str(entry.uid)),
        ("gidNumber", str(entry.gid)),
        ("homeDirectory", entry.home or "/"),
    ]
    if entry.shell:
        attributes.append(("loginShell", entry.shell))
    if entry.gecos.isascii() and entry.gecos:
        attributes.append(("gecos", entry.gecos))
    elif _is_text(entry.gecos) and entry.gecos:
        attributes.append(("description", entry.gecos))
    attributes += _shadow(record)
    return b"".join(_lines(f"uid={escape_value(entry.name)},{base}", attributes))


def group_entry(record: GroupRecord, base: str) -> bytes:
    """Return a group's entry under ``base``, with the empty line after it.

    Raises:
        UnspeakableError: the schema cannot hold it, or one of its members.
    """
    if not _is_text(record.entry.name):
        raise UnspeakableError("its name is not UTF-8")
    if not all(name.isascii() for name in record.members):
        raise UnspeakableError("the name of a member is not ASCII, as RFC 2307 wants it")
    attributes = [
        ("objectClass", "posixGroup"),
        ("cn", record.entry.name),
        ("gidNumber", str(record.entry.gid)),
        *(("memberUid", name) for name in record.members),
    ]
    return b"".join(_lines(f"cn={escape_value(record.entry.name)},{base}", attributes))


def group_entry_bis(record: GroupRecord, base: str, people: str) -> bytes:
    """Return a group's entry as draft-howard-rfc2307bis-02 has it: members are distinguished names under ``people``.

    There ``posixGroup`` is auxiliary. With members it stands beside ``groupOfNames`` (RFC 4519), which cannot be empty;
    without, beside ``groupOfMembers`` of that draft, which can.

    Raises:
        UnspeakableError: the schema cannot hold it.
    """
    if not _is_text(record.entry.name):
        raise UnspeakableError("its name is not UTF-8")
    if not all(name.isascii() for name in record.members):
        raise UnspeakableError("the name of a member is not ASCII, as RFC 2307 wants it")
    attributes = [
        ("objectClass", "groupOfNames" if record.members else "groupOfMembers"),
        ("objectClass", "posixGroup"),
        ("cn", record.entry.name),
        ("gidNumber", str(record.entry.gid)),
        *(("member", f"uid={escape_value(name)},{people}") for name in record.members),
    ]
    return b"".join(_lines(f"cn={escape_value(record.entry.name)},{base}", attributes))


def container_entry(name: str) -> bytes:
    """Return the entry of an organizational unit, given its distinguished name, which begins with ``ou=``.

    Raises:
        UnspeakableError: it does not.
    """
    check_name(name)
    first = _RDN.match(name)
    if first is None or first["type"].lower() != "ou" or first["value"].startswith("#"):
        raise UnspeakableError(f"{name!r} is no organizational unit (ou=...)")
    value = _ESCAPED.sub(_unescaped, first["value"])
    return b"".join(_lines(name, [("objectClass", "organizationalUnit"), ("ou", value)]))


def check_name(name: str) -> None:
    """Raise unless a text is a distinguished name (RFC 4514) that other names may go under: not empty, UTF-8.

    Raises:
        UnspeakableError: it is none.
    """
    place, text = 0, name if _is_text(name) else ""
    while found := _RDN.match(text, place):
        place = found.end()
        if place == len(text):
            return
        if text[place] not in ",+" or place + 1 == len(text):
            break
        place += 1
    raise UnspeakableError(f"{name!r} is no distinguished name; write it as ou=people,dc=example,dc=org")


def _unescaped(found: re.Match[str]) -> str:
    return found[2] or bytes.fromhex(found[1].replace("\\", "")).decode("utf-8", "replace")


def header(comment: str) -> bytes:
    """Return the beginning of a file: a comment of one line.

    No ``version: 1``, though RFC 2849 wants it: slapadd(8) takes that for an attribute, and nobody misses it.
    """
    return b"# " + comment.encode("ascii", "replace").replace(b"\n", b" ") + b"\n\n"


def _shadow(record: UserRecord) -> Iterator[Attribute]:
    password, aging = record.password, record.aging
    if password is not None:
        yield "userPassword", f"{{CRYPT}}{'!' if record.locked else ''}{password.hash}"
        if password.changed is not None and password.changed >= 0:
            yield "shadowLastChange", str(password.changed)
    elif record.locked:
        yield "userPassword", "{CRYPT}!*"
    if aging is not None:
        named: Sequence[tuple[str, int | None]] = (
            ("shadowMin", aging.minimum),
            ("shadowMax", aging.maximum),
            ("shadowWarning", aging.warning),
            ("shadowInactive", aging.inactive),
            ("shadowExpire", aging.expires),
        )
        yield from ((name, str(days)) for name, days in named if days is not None and days >= 0)


def _common_name(gecos: str) -> str:
    name = gecos.partition(",")[0].strip()
    return name if _is_text(name) else ""


def _is_text(text: str) -> bool:
    """Say whether it is UTF-8: old bytes that are not stand in it as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _lines(name: str, attributes: Sequence[Attribute]) -> Iterator[bytes]:
    for attribute, value in (("dn", name), *attributes):
        data = value.encode("utf-8", "surrogateescape")
        if _SAFE.match(data):
            line = attribute.encode() + b": " + data
        else:
            line = attribute.encode() + b":: " + base64.b64encode(data)
        # A folded line goes on after one space (RFC 2849 note 2).
        yield line[:WIDTH]
        for start in range(WIDTH, len(line), WIDTH - 1):
            yield b"\n " + line[start : start + WIDTH - 1]
        yield b"\n"
    yield b"\n"
