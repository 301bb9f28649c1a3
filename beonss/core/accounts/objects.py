"""One account or group as its registers say: what it is and claims, before any other object is looked at.

Nothing of it is kept but the registers: it is read when it is asked for, which is seldom.
"""

from beonss.core.accounts.entries import (
    ENTRY,
    GONE,
    MEMBER_PREFIX,
    PRESENT,
    GroupEntry,
    Kind,
    Member,
    Presence,
    UserEntry,
    decode,
    entry_problems,
)
from beonss.core.accounts.plain import PlainAccount, read_plain
from beonss.core.accounts.served import Group, User
from beonss.core.replication.packed import Cells, PackedRegisters, remembered
from beonss.core.replication.registers import MAX_TIME
from beonss.errors import MalformedError

#: Registers that can change what an object claims, or whether it lives; the others touch nobody but itself.
CLAIMING_FIELDS = frozenset({ENTRY, PRESENT, GONE})

#: What an object claims: its kind, a name, and a uid or gid. Those of users and groups are spaces of their own.
Claims = tuple[Kind, str, int]
#: What an object is served as. A user: its registers as served, or the user, where they are too many to keep them
#: twice. A group: the group. None: it is not served. It is replaced, never changed.
Shown = Cells | User | Group | None


class AccountObject(PackedRegisters):
    """One object's registers, and how it stands; only the view changes it.

    Attributes:
        kind: of the claims that the view has entered for it; None if there are none.
        name: what it claims; empty without claims.
        number: what it claims, uid or gid.
        shown: as what it is served.
        ended: as what it was created, if it was deleted.
    """

    __slots__ = ("ended", "kind", "name", "number", "shown")

    def __init__(self, identifier: str, cells: Cells = ()) -> None:
        super().__init__(identifier, cells)
        self.kind: Kind | None = None
        self.name = ""
        self.number = 0
        self.shown: Shown = None
        self.ended: tuple[Kind, str] | None = None

    @property
    def presence(self) -> Presence | None:
        """As what it was created; None if that is not known, not readable, or about another object."""
        value = self.value(PRESENT)
        if value is None:
            return None
        presence, identifier = _read_presence(value)
        return presence if identifier == self.id else None

    @property
    def entry(self) -> UserEntry | GroupEntry | None:
        """Its entry; None if there is none that this version can read."""
        value = self.value(ENTRY)
        return None if value is None else _read_entry(value)[0]

    @property
    def live(self) -> bool:
        """Whether it was created and not deleted."""
        presence = self.presence
        # That there is a register "gone" decides, whatever it says.
        return presence is not None and presence.present and self.value(GONE) is None

    @property
    def fault(self) -> str:
        """Why this live object cannot be served whoever else claims what it claims; empty if it can."""
        value, presence = self.value(ENTRY), self.presence
        entry, problems = (None, "") if value is None else _read_entry(value)
        user = presence is not None and presence.kind == "user"
        if entry is None or user != isinstance(entry, UserEntry):
            return "it has no entry that this version can read"
        return problems

    @property
    def order(self) -> tuple[int, str]:
        """Its place among those that claim the same: the lowest owns it."""
        # Without a presence it is about to lose its claims; until then it stands last.
        presence = self.presence
        return (MAX_TIME if presence is None else presence.created, self.id)

    @property
    def members(self) -> set[str]:
        """The ids of the users that belong to it."""
        cells = self.cells()
        fields = ((cells[at], cells[at + 1]) for at in range(0, len(cells), 4))
        return {
            f.removeprefix(MEMBER_PREFIX) for f, value in fields if f.startswith(MEMBER_PREFIX) and is_member(value)
        }

    def wanted_claims(self) -> Claims | None:
        """Return what it claims by its registers; ``kind``, ``name`` and ``number`` are what the view has entered."""
        if not self.live or self.fault:
            return None
        entry = self.entry
        if isinstance(entry, UserEntry):
            return ("user", entry.name, entry.uid)
        assert entry is not None
        return ("group", entry.name, entry.gid)

    def plain(self) -> PlainAccount | None:
        """Return what it is and claims if that can be told at a glance, as of nearly all."""
        cells = self.fields
        if not isinstance(cells, tuple):
            return None
        entry = presence = None
        for at in range(0, len(cells), 4):
            field = cells[at]
            if field == ENTRY:
                entry = cells[at + 1]
            elif field == PRESENT:
                presence = cells[at + 1]
            elif field == GONE or field.startswith(MEMBER_PREFIX):
                return None
        return None if entry is None or presence is None else read_plain(self.id, entry, presence)


@remembered(256)
def _read_presence(value: bytes) -> tuple[Presence | None, str]:
    """Return what a register ``present`` says, and of which object."""
    try:
        presence = decode(Presence, value)
    except MalformedError:
        return None, ""
    return presence, presence.object


@remembered(256)
def _read_entry(value: bytes) -> tuple[UserEntry | GroupEntry | None, str]:
    """Return what a register ``entry`` says, and why that cannot be served; no problem is an empty text."""
    entry: UserEntry | GroupEntry
    try:
        entry = decode(UserEntry, value)
    except MalformedError:
        try:
            entry = decode(GroupEntry, value)
        except MalformedError:
            return None, ""
    return entry, "; ".join(entry_problems(entry))


@remembered(64)
def is_member(value: bytes) -> bool:
    """Say whether a register ``member:...`` makes a member; one that cannot be read does not."""
    try:
        return decode(Member, value).member
    except MalformedError:
        return False
