"""One account or group as its registers say: decoded fields and claims, before any other object is looked at."""

from dataclasses import replace
from functools import lru_cache
from typing import Literal

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    GONE,
    LOCK,
    MEMBER_PREFIX,
    PASSWORD,
    PRESENT,
    RENEWAL,
    Aging,
    GroupEntry,
    Kind,
    Lock,
    Member,
    Password,
    Presence,
    Renewal,
    UserEntry,
    decode,
    entry_problems,
    password_problems,
)
from beonss.core.replication.registers import MAX_TIME, Register
from beonss.errors import MalformedError

NO_AGING = Aging()

#: Registers that can change what an object claims, or whether it lives; the others touch nobody but itself.
CLAIMING_FIELDS = frozenset({ENTRY, PRESENT, GONE})

#: (kind, what is claimed, its value); uids and gids, user names and group names are spaces of their own.
Claim = tuple[Kind, Literal["name", "number"], str | int]


class AccountObject:
    """One object's registers, decoded field by field as they arrive; only the view changes it."""

    __slots__ = (
        "_entry_fault", "aging", "claims", "entry", "fields", "gone", "id", "locked", "members", "password", "presence",
        "renewal",
    )  # fmt: skip

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.fields: dict[str, Register] = {}
        self.presence: Presence | None = None
        self.entry: UserEntry | GroupEntry | None = None
        self._entry_fault = ""
        self.password: Password | None = None
        self.aging = NO_AGING
        self.locked = False
        self.gone = False
        self.renewal: Renewal | None = None
        self.members: set[str] | None = None
        self.claims: tuple[Claim, ...] = ()

    def take(self, register: Register) -> None:
        """Decode one register. What cannot be read counts as its safest value; it stays stored and relayed."""
        field, value = register.key.field, register.value
        self.fields[field] = register
        try:
            if field == ENTRY:
                self.entry = None
                self.entry = _decode_entry(value)
                self._entry_fault = "; ".join(entry_problems(self.entry))
            elif field == PASSWORD:
                self.password = None
                password = decode(Password, value)
                self.password = None if password_problems(password) else password
            elif field == PRESENT:
                self.presence = None
                presence = decode(Presence, value)
                self.presence = presence if presence.object == self.id else None
            elif field == AGING:
                self.aging = NO_AGING
                self.aging = _decode_aging(value)
            elif field == LOCK:
                self.locked = True
                self.locked = decode(Lock, value).locked
            elif field == RENEWAL:
                # One that cannot be read demands nothing: else its user would be asked again at each login.
                self.renewal = None
                self.renewal = decode(Renewal, value)
            elif field == GONE:
                self.gone = True
            elif field.startswith(MEMBER_PREFIX):
                self._take_member(field.removeprefix(MEMBER_PREFIX), value)
        except MalformedError:
            pass

    def _take_member(self, user_id: str, value: bytes) -> None:
        if self.members is None:
            self.members = set()
        self.members.discard(user_id)
        if decode(Member, value).member:
            self.members.add(user_id)

    @property
    def served_password(self) -> Password | None:
        """The password as it is served: changed on day 0, as shadow(5) says it, where it must be changed first."""
        password, renewal = self.password, self.renewal
        if password is None or renewal is None:
            return password
        of = (renewal.time, renewal.origin, renewal.sequence)
        return replace(password, changed=0) if of == self.fields[PASSWORD].stamp else password

    @property
    def kind(self) -> Kind | None:
        """Whether it is a user or a group; None while that is not known or not readable."""
        return None if self.presence is None else self.presence.kind

    @property
    def live(self) -> bool:
        """Whether it was created and not deleted."""
        return self.presence is not None and self.presence.present and not self.gone

    @property
    def fault(self) -> str:
        """Why this live object cannot be served whoever else claims what it claims; empty if it can."""
        if self.entry is None or (self.kind == "user") != isinstance(self.entry, UserEntry):
            return "it has no entry that this version can read"
        return self._entry_fault

    @property
    def order(self) -> tuple[int, str]:
        """Its place among those that claim the same: the lowest owns it."""
        # Without a presence it is about to lose its claims; until then it stands last.
        return (MAX_TIME if self.presence is None else self.presence.created, self.id)

    def wanted_claims(self) -> tuple[Claim, ...]:
        """Return what it claims by its registers; :attr:`claims` is what the view has entered for it."""
        if not self.live or self.fault:
            return ()
        if isinstance(self.entry, UserEntry):
            return (("user", "name", self.entry.name), ("user", "number", self.entry.uid))
        assert self.entry is not None
        return (("group", "name", self.entry.name), ("group", "number", self.entry.gid))


@lru_cache(256)
def _decode_aging(value: bytes) -> Aging:
    """Read ageing fields; nearly all users have the same few, and share them."""
    return decode(Aging, value)


def _decode_entry(value: bytes) -> UserEntry | GroupEntry:
    try:
        return decode(UserEntry, value)
    except MalformedError:
        return decode(GroupEntry, value)
