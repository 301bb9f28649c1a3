"""A directory as a source of users and groups: its entries become records to import (RFC 2307, RFC 2307bis).

Read in pages; in between by what changed since (``modifyTimestamp``), which cannot show what was removed, so a whole
reading comes now and then. What is left out, and why, is part of the answer. Blocking.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from beonss.core.accounts.admission import NOBODY
from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry, entry_problems
from beonss.core.accounts.gathering import split_hash
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.core.passwords.hashes import directory_parts
from beonss.store.crypt import crypt_form
from beonss.targets.ldapservers import LdapServer, ServerOrder
from beonss.targets.ldapwire import Found, LdapConnection

_USER = (
    "uid",
    "uidNumber",
    "gidNumber",
    "gecos",
    "cn",
    "homeDirectory",
    "loginShell",
    "userPassword",
    "shadowLastChange",
    "shadowMin",
    "shadowMax",
    "shadowWarning",
    "shadowInactive",
    "shadowExpire",
    "modifyTimestamp",
)
_GROUP = ("cn", "gidNumber", "memberUid", "member", "uniqueMember", "modifyTimestamp")
#: Groups in groups in groups: so deep.
_DEPTH = 16
#: Problems that one reading tells; of more, their number.
_TOLD = 20


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """How a directory is read.

    Attributes:
        name: the source's name.
        server: where it is and who we are there.
        journal: the file that remembers what was taken over.
        users: distinguished name of the subtree of users.
        groups: that of the groups; None reads none.
        user_filter: finds users.
        group_filter: finds groups.
        schema: whether members are names (``memberUid``) or distinguished names (``member``, ``uniqueMember``).
        passwords: take over passwords too.
        missing: what becomes of an account that came from here and is not there any more.
        interval: seconds between two readings.
        full: seconds between two readings of the whole.
        page: entries in one answer.
    """

    name: str
    server: LdapServer
    journal: Path
    users: str
    groups: str | None = None
    user_filter: str = "(objectClass=posixAccount)"
    group_filter: str = "(objectClass=posixGroup)"
    schema: Literal["rfc2307", "rfc2307bis"] = "rfc2307"
    passwords: bool = True
    missing: Literal["report", "lock", "delete"] = "report"
    uid_floor: int = 1000
    gid_floor: int = 1000
    interval: float = 60.0
    full: float = 3600.0
    page: int = 500


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """What was read.

    Attributes:
        full: whether it is the whole, so that who is not in it is not there.
        problems: entries that cannot be accounts, a sentence each.
        refused: names that are there and cannot be taken: they are not missing.
    """

    users: tuple[UserRecord, ...]
    groups: tuple[GroupRecord, ...]
    full: bool
    problems: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Notes:
    problems: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    newest: str = ""


class DirectorySource:
    """Reads a directory; blocking, one reading at a time."""

    def __init__(self, settings: DirectorySettings) -> None:
        self.settings = settings
        self.name = settings.name
        self._order = ServerOrder(settings.server.uris)
        #: Normalized distinguished name -> login name, and -> members, as far as read.
        self._people: dict[str, str] = {}
        self._groups: dict[str, Found] = {}
        self._since = ""

    def read(self, *, full: bool) -> Reading:
        """Read what changed since the last reading, or the whole.

        Raises:
            TemporaryTargetError: no server answers, or not to the end; nothing is known then.
            PermanentTargetError: a server answers and does not let us in.
        """
        full = full or not self._since
        settings, notes = self.settings, _Notes(newest=self._since)
        with LdapConnection(settings.server, order=self._order) as connection:
            users = list(
                connection.pages(settings.users, self._filter(settings.user_filter, full), _USER, settings.page)
            )
            groups: list[Found] = []
            if settings.groups is not None:
                wanted = self._filter(settings.group_filter, full)
                groups = list(connection.pages(settings.groups, wanted, _GROUP, settings.page))
        if full:
            self._people, self._groups = {}, {}
        people = self._users(users, notes)
        self._groups.update({normalized(one.dn): one for one in groups})
        collected = self._collect(groups, notes)
        self._since = max([notes.newest, *(_stamp(one) for one in (*users, *groups))])
        problems = notes.problems[:_TOLD]
        if len(notes.problems) > _TOLD:
            problems.append(f"{self.name}: {len(notes.problems) - _TOLD} more entries cannot be accounts")
        return Reading(tuple(people), tuple(collected), full, tuple(problems), frozenset(notes.refused))

    def _filter(self, text: str, full: bool) -> str:
        # Not "later than": two changes may come in one second.
        return text if full else f"(&{text}(modifyTimestamp>={self._since}))"

    def _users(self, entries: Iterable[Found], notes: _Notes) -> list[UserRecord]:
        records: dict[str, UserRecord] = {}
        numbers: dict[int, str] = {}
        for entry in entries:
            name = _text(entry.attributes, "uid")
            self._people[normalized(entry.dn)] = name
            try:
                record = _user(entry.attributes, passwords=self.settings.passwords)
                problems = entry_problems(record.entry)
                if record.entry.gid == 0:
                    problems.append("its primary group is 0, the group of root")
                if name in records:
                    problems.append("its name is used twice")
                if record.entry.uid in numbers:
                    problems.append(f"its uid {record.entry.uid} belongs to {numbers[record.entry.uid]} there")
                if problems:
                    raise ValueError("; ".join(problems))
            except ValueError as error:
                notes.problems.append(f"{self.name}: {entry.dn} cannot be an account: {error}")
                notes.refused.add(name)
                continue
            if record.entry.uid < self.settings.uid_floor or record.entry.uid in NOBODY:
                continue
            records[name] = record
            numbers[record.entry.uid] = name
        return list(records.values())

    def _collect(self, entries: Iterable[Found], notes: _Notes) -> list[GroupRecord]:
        records: dict[str, GroupRecord] = {}
        numbers: set[int] = set()
        for entry in entries:
            name = _text(entry.attributes, "cn")
            try:
                made = GroupEntry(name, _number(entry.attributes, "gidNumber"))
                problems = entry_problems(made)
                if name in records or made.gid in numbers:
                    problems.append("its name or number is used twice")
                if problems:
                    raise ValueError("; ".join(problems))
            except ValueError as error:
                notes.problems.append(f"{self.name}: {entry.dn} cannot be a group: {error}")
                notes.refused.add(name)
                continue
            if made.gid >= self.settings.gid_floor and made.gid not in NOBODY:
                records[name] = GroupRecord(made, tuple(sorted(self._members(entry))))
                numbers.add(made.gid)
        return list(records.values())

    def _members(self, entry: Found) -> set[str]:
        if self.settings.schema == "rfc2307":
            return {_decode(value) for value in entry.attributes.get("memberuid", ())}
        names: set[str] = set()
        seen = {normalized(entry.dn)}
        layer = [entry]
        for _ in range(_DEPTH):
            following: list[Found] = []
            for group in layer:
                values = (*group.attributes.get("member", ()), *group.attributes.get("uniquemember", ()))
                for dn in (normalized(_decode(value)) for value in values):
                    if dn in self._people:
                        names.add(self._people[dn])
                    elif dn in self._groups and dn not in seen:
                        seen.add(dn)
                        following.append(self._groups[dn])
            layer = following
            if not layer:
                break
        return names


def normalized(dn: str) -> str:
    """Return a distinguished name so that two spellings of one are mostly equal: case, spaces about commas."""
    return ",".join(
        "=".join(word.strip() for word in part.split("=", 1)) for part in dn.lower().replace("\\,", "\\2c").split(",")
    )


def _stamp(entry: Found) -> str:
    text = _text(entry.attributes, "modifytimestamp")
    return text if text.endswith("Z") and text[:14].isdigit() else ""


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _text(attributes: Mapping[str, tuple[bytes, ...]], name: str, default: str = "") -> str:
    values = attributes.get(name.lower(), ())
    return _decode(values[0]) if values else default


def _number(attributes: Mapping[str, tuple[bytes, ...]], name: str) -> int:
    text = _text(attributes, name)
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ValueError(f"{name} is missing or no whole number")
    return int(text)


def _days(attributes: Mapping[str, tuple[bytes, ...]], name: str) -> int | None:
    text = _text(attributes, name)
    # RFC 2307 lets -1 stand for "not set".
    if not text or text == "-1":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"{name} is no number of days")
    return int(text)


def _user(attributes: Mapping[str, tuple[bytes, ...]], *, passwords: bool) -> UserRecord:
    name = _text(attributes, "uid")
    entry = UserEntry(
        name,
        _number(attributes, "uidNumber"),
        _number(attributes, "gidNumber"),
        _text(attributes, "gecos") or _text(attributes, "cn"),
        _text(attributes, "homeDirectory"),
        _text(attributes, "loginShell", "/bin/sh"),
    )
    words = ("shadowMin", "shadowMax", "shadowWarning", "shadowInactive", "shadowExpire")
    days = [_days(attributes, word) for word in words]
    aging = Aging(*days) if any(day is not None for day in days) else None
    if not passwords:
        return UserRecord(entry, aging=aging)
    password, locked = _password(attributes.get("userpassword", ()), _days(attributes, "shadowLastChange"))
    return UserRecord(entry, password, locked, aging)


def _password(values: tuple[bytes, ...], changed: int | None) -> tuple[Password | None, bool | None]:
    """Return the password, if there is one that can be verified here, and whether it is locked there."""
    for value in values:
        parts = directory_parts(_decode(value))
        locked, plain = None, value
        if parts is not None and parts[0] == "CRYPT":
            bare, locked = split_hash(parts[1])
            plain = b"{CRYPT}" + (bare or "*").encode("utf-8", "surrogateescape")
        made = crypt_form(plain)
        if made is not None:
            return Password(made, changed), locked
    return None, None
