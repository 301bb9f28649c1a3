"""The account view: what users and groups a set of registers means.

A pure function of the set of registers, kept up to date with work in proportion to what changed. Who owns a name
or a number is computed, not stored: of the live objects that claim it, the one with the lowest creation stamp, then
the lowest id. The others keep replicating, are listed as conflicts, and are not served.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from beonss.core.accounts.entries import (
    MEMBER_PREFIX,
    Aging,
    GroupEntry,
    Kind,
    Password,
    Presence,
    UserEntry,
)
from beonss.core.accounts.objects import CLAIMING_FIELDS, NO_AGING, AccountObject, Claim  # noqa: F401 - NO_AGING belongs to a user
from beonss.core.replication.registers import Key, Register


@dataclass(frozen=True, slots=True)
class User:
    """A served user.

    Attributes:
        id: the object's id, 32 hex digits.
        password: None when none is set (no login by password), and always on nodes, which never hold one; changed on
            day 0 when it must be changed at the next login.
        locked: an administrator locked it; also true when the lock register cannot be read.
    """

    id: str
    entry: UserEntry
    password: Password | None
    aging: Aging
    locked: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A served group; ``members`` are the names of served users, sorted, without those who have it as primary group."""

    id: str
    entry: GroupEntry
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Live objects that are not served, and why.

    Attributes:
        claim: ``name`` or ``number`` when several objects claim ``value``; ``entry`` when one object cannot be
            served by itself (``owner`` is then None and ``reason`` says why).
        owner: id of the object that is served under ``value``, or would be if it owned its other claim too.
        losers: ids of the others, in the order in which they would inherit.
    """

    kind: Kind
    claim: Literal["name", "number", "entry"]
    value: str | int
    owner: str | None
    losers: tuple[str, ...]
    reason: str


class AccountView:
    """Users and groups as served, computed from registers; see the module's text for the rules.

    Not thread-safe: it belongs to one thread.
    """

    def __init__(self, rows: Iterable[Register] = ()) -> None:
        self._objects: dict[str, AccountObject] = {}
        self._claims: dict[Claim, tuple[str, ...]] = {}
        self._contested: set[Claim] = set()
        self._faulty: set[str] = set()
        self._memberships: dict[str, set[str]] = {}
        self._served_users: dict[str, User] = {}
        self._served_groups: dict[str, Group] = {}
        self._user_names: dict[str, str] = {}
        self._group_names: dict[str, str] = {}
        self._uids: dict[int, str] = {}
        self._gids: dict[int, str] = {}
        self._used: dict[Kind, set[int]] = {"user": set(), "group": set()}
        self._namesakes: dict[tuple[Kind, str], tuple[str, ...]] = {}
        self._highest_created = 0
        self.apply(rows)

    # --- questions -----------------------------------------------------------------------------------------------

    def user(self, name: str) -> User | None:
        """Return the served user of this name."""
        found = self._user_names.get(name)
        return None if found is None else self._served_users[found]

    def user_by_uid(self, uid: int) -> User | None:
        """Return the served user with this uid."""
        found = self._uids.get(uid)
        return None if found is None else self._served_users[found]

    def user_by_id(self, object_id: str) -> User | None:
        """Return the served user whose object this is."""
        return self._served_users.get(object_id)

    def users(self) -> Iterator[User]:
        """Return all served users as they are now, in no order; changes made while iterating are not seen."""
        return iter(tuple(self._served_users.values()))

    def group(self, name: str) -> Group | None:
        """Return the served group of this name."""
        found = self._group_names.get(name)
        return None if found is None else self._served_groups[found]

    def group_by_gid(self, gid: int) -> Group | None:
        """Return the served group with this gid."""
        found = self._gids.get(gid)
        return None if found is None else self._served_groups[found]

    def group_by_id(self, object_id: str) -> Group | None:
        """Return the served group whose object this is."""
        return self._served_groups.get(object_id)

    def groups(self) -> Iterator[Group]:
        """Return all served groups as they are now, in no order; changes made while iterating are not seen."""
        return iter(tuple(self._served_groups.values()))

    def groups_of(self, username: str) -> tuple[Group, ...]:
        """Return the served groups that list this user as a member, by gid; the primary group is not added."""
        found = self._user_names.get(username)
        if found is None:
            return ()
        groups = [self._served_groups[g] for g in self._memberships.get(found, ()) if g in self._served_groups]
        return tuple(sorted(groups, key=lambda group: group.entry.gid))

    def groups_listing(self, user_id: str) -> tuple[str, ...]:
        """Return the ids of the groups, served or not, that list a user object as a member, served or not."""
        return tuple(self._memberships.get(user_id, ()))

    def contested(self) -> frozenset[str]:
        """Return the ids of all objects that stand in :meth:`conflicts`, owners and losers."""
        return frozenset(self._faulty).union(*(self._claims[claim] for claim in self._contested))

    def register(self, key: Key) -> Register | None:
        """Return a register as it is stored, served or not."""
        found = self._objects.get(key.object)
        return None if found is None else found.fields.get(key.field)

    def registers(self, object_id: str) -> tuple[Register, ...]:
        """Return all registers of one object, served or not."""
        found = self._objects.get(object_id)
        return () if found is None else tuple(found.fields.values())

    def presence(self, object_id: str) -> Presence | None:
        """Return as what an object was created, served or not; None if that is not known or not readable."""
        found = self._objects.get(object_id)
        return None if found is None else found.presence

    def alive(self, object_id: str) -> bool:
        """Say whether an object was created and not deleted, served or not."""
        found = self._objects.get(object_id)
        return found is not None and found.live

    def describe(self, object_id: str) -> str:
        """Name an object for people: ``user alice (1000)``, or its id if nothing is known of it."""
        found = self._objects.get(object_id)
        if found is None or found.presence is None:
            return f"object {object_id}"
        name, number = found.presence.name, found.presence.number
        if isinstance(found.entry, UserEntry):
            name, number = found.entry.name, found.entry.uid
        elif found.entry is not None:
            name, number = found.entry.name, found.entry.gid
        return f"{found.presence.kind} {name} ({number}){'' if found.live else ', deleted'}"

    def conflicts(self) -> list[Conflict]:
        """List live objects that are not served, and why; the same list in the same order on every master."""
        result = [
            Conflict(
                kind=self._objects[object_id].kind or "user",
                claim="entry",
                value=self.describe(object_id),
                owner=None,
                losers=(object_id,),
                reason=self._objects[object_id].fault,
            )
            for object_id in self._faulty
        ]
        for claim in self._contested:
            kind, what, value = claim
            owner, *losers = self._claims[claim]
            number = "uid" if kind == "user" else "gid"
            title = f"name {value!r}" if what == "name" else f"{number} {value}"
            names = ", ".join(self.describe(loser) for loser in losers)
            reason = f"the {title} belongs to {self.describe(owner)}, made first; not served: {names}"
            result.append(Conflict(kind, what, value, owner, tuple(losers), reason))
        return sorted(
            result, key=lambda conflict: (conflict.kind, conflict.claim, str(conflict.value), conflict.losers)
        )

    # --- what the makers of changes need (beonss.core.accounts.intents) ---

    @property
    def highest_created(self) -> int:
        """The highest creation stamp known, in ms; 0 when there is no account."""
        return self._highest_created

    def next_generation(self, kind: Kind, name: str) -> int:
        """Return the generation that a new object of this name gets: above those of all deleted ones known."""
        namesakes = [self._objects[object_id] for object_id in self._namesakes.get((kind, name), ())]
        return max((n.presence.generation + 1 for n in namesakes if n.presence and not n.live), default=0)

    def claimants(self, kind: Kind, what: Literal["name", "number"], value: str | int) -> tuple[str, ...]:
        """Return the ids of the live objects that claim a name or number: its owner first, then those in conflict."""
        return self._claims.get((kind, what, value), ())

    def was_used(self, kind: Kind, number: int) -> bool:
        """Say whether a uid or gid belongs, or ever belonged, to an account that is known here, served or not."""
        return number in self._used[kind]

    def next_uid(self, floor: int) -> int:
        """Return the lowest uid from ``floor`` on that no user, living or deleted, ever had as far as known here."""
        return _unused(self._used["user"], floor)

    def next_gid(self, floor: int) -> int:
        """Return the lowest gid from ``floor`` on that no group, living or deleted, ever had as far as known here."""
        return _unused(self._used["group"], floor)

    # --- changes ---------------------------------------------------------------------------------------------------

    def apply(self, rows: Iterable[Register]) -> set[str]:
        """Merge registers in; return the ids of the users and groups that are now served differently.

        The order of the rows, repeats and rows that lose do not matter.
        """
        touched: set[str] = set()
        users: set[str] = set()
        groups: set[str] = set()
        for row in rows:
            found = self._take(row)
            if found is None:
                continue
            if row.key.field in CLAIMING_FIELDS:
                touched.add(found)
            elif found in self._served_users:
                # A password, an age, a lock: nobody else can be touched by it.
                users.add(found)
            elif found in self._served_groups:
                groups.add(found)
        for object_id in touched:
            for affected in self._claim(self._objects[object_id]):
                kind = self._objects[affected].kind
                if kind == "user" or affected in self._served_users:
                    users.add(affected)
                if kind == "group" or affected in self._served_groups:
                    groups.add(affected)
        return self._serve_users(users, groups) | self._serve_groups(groups)

    def _take(self, row: Register) -> str | None:
        object_id, field = row.key
        found = self._objects.get(object_id)
        if found is None:
            found = self._objects[object_id] = AccountObject(object_id)
        old = found.fields.get(field)
        if old is not None and not row.beats(old):
            return None
        found.take(row)
        if field.startswith(MEMBER_PREFIX):
            user_id = field.removeprefix(MEMBER_PREFIX)
            if found.members is not None and user_id in found.members:
                self._memberships.setdefault(user_id, set()).add(object_id)
            else:
                self._memberships.get(user_id, set()).discard(object_id)
        return object_id

    def _claim(self, found: AccountObject) -> set[str]:
        """Bring one object's claims up to date; return the ids of all objects whose standing that may change."""
        self._note_history(found)
        wanted = found.wanted_claims()
        affected = {found.id}
        if wanted == found.claims and all(self._claims.get(claim) == (found.id,) for claim in wanted):
            claims: set[Claim] = set()
        else:
            claims = {*found.claims, *wanted}
        for claim in claims:
            if claim in wanted and claim not in self._claims:
                # Nobody else: nearly always so.
                self._claims[claim] = (found.id,)
                continue
            claimants = set(self._claims.get(claim, ()))
            affected |= claimants
            claimants.discard(found.id)
            if claim in wanted:
                claimants.add(found.id)
            if claimants:
                self._claims[claim] = tuple(sorted(claimants, key=self._order))
            else:
                self._claims.pop(claim, None)
            if len(claimants) > 1:
                self._contested.add(claim)
            else:
                self._contested.discard(claim)
        found.claims = wanted
        if found.live and found.fault:
            self._faulty.add(found.id)
        else:
            self._faulty.discard(found.id)
        return affected

    def _order(self, object_id: str) -> tuple[int, str]:
        return self._objects[object_id].order

    def _note_history(self, found: AccountObject) -> None:
        presence = found.presence
        if presence is None:
            return
        self._highest_created = max(self._highest_created, presence.created)
        self._used[presence.kind].add(presence.number)
        if isinstance(found.entry, UserEntry):
            self._used["user"].add(found.entry.uid)
        elif found.entry is not None:
            self._used["group"].add(found.entry.gid)
        namesakes = self._namesakes.get((presence.kind, presence.name), ())
        if found.id not in namesakes:
            self._namesakes[presence.kind, presence.name] = (*namesakes, found.id)

    def _owns_all(self, found: AccountObject) -> bool:
        return bool(found.claims) and all(self._claims[claim][0] == found.id for claim in found.claims)

    def _serve_users(self, ids: set[str], groups: set[str]) -> set[str]:
        """Recompute users; add to ``groups`` those whose list of member names that changes."""
        changed: dict[str, User | None] = {}
        for object_id in ids:
            found = self._objects[object_id]
            new = None
            if self._owns_all(found) and isinstance(found.entry, UserEntry):
                new = User(object_id, found.entry, found.served_password, found.aging, found.locked)
            old = self._served_users.get(object_id)
            if new != old:
                changed[object_id] = new
                if (old and old.entry.name) != (new and new.entry.name):
                    groups |= self._memberships.get(object_id, set())
        # All that leave go first: a name or number may pass from one object to another in one step.
        for object_id in changed:
            gone = self._served_users.pop(object_id, None)
            if gone is not None:
                del self._user_names[gone.entry.name], self._uids[gone.entry.uid]
        for object_id, user in changed.items():
            if user is not None:
                self._served_users[object_id] = user
                self._user_names[user.entry.name] = self._uids[user.entry.uid] = object_id
        return set(changed)

    def _serve_groups(self, ids: set[str]) -> set[str]:
        changed: dict[str, Group | None] = {}
        for object_id in ids:
            found = self._objects[object_id]
            new = None
            if self._owns_all(found) and isinstance(found.entry, GroupEntry):
                members = (self._served_users[user] for user in found.members or () if user in self._served_users)
                new = Group(object_id, found.entry, tuple(sorted(user.entry.name for user in members)))
            if new != self._served_groups.get(object_id):
                changed[object_id] = new
        for object_id in changed:
            gone = self._served_groups.pop(object_id, None)
            if gone is not None:
                del self._group_names[gone.entry.name], self._gids[gone.entry.gid]
        for object_id, group in changed.items():
            if group is not None:
                self._served_groups[object_id] = group
                self._group_names[group.entry.name] = self._gids[group.entry.gid] = object_id
        return set(changed)


def _unused(used: set[int], floor: int) -> int:
    while floor in used:
        floor += 1
    return floor
