"""The account view: what users and groups a set of registers means.

A pure function of the set of registers, kept up to date with work in proportion to what changed. Who owns a name
or a number is computed, not stored (:mod:`beonss.core.accounts.claims`). Live objects that own not all they claim keep
replicating, are listed as conflicts, and are not served.

The registers are held unread (:mod:`beonss.core.replication.packed`), and a user is made when somebody asks for it:
those that nobody asks for cost neither memory nor time.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from beonss.core.accounts.claims import ClaimIndex
from beonss.core.accounts.entries import ENTRY, MEMBER_PREFIX, GroupEntry, Kind, Presence, UserEntry
from beonss.core.accounts.objects import CLAIMING_FIELDS, AccountObject, Shown, is_member
from beonss.core.accounts.plain import plain_group
from beonss.core.accounts.served import Conflict, Group, User, user_of
from beonss.core.replication.packed import Cells, Source
from beonss.core.replication.registers import Key, Register

__all__ = ["AccountView", "Conflict", "Group", "User"]


class AccountView:
    """Users and groups as served, computed from registers; see the module's text for the rules.

    Not thread-safe: it belongs to one thread.
    """

    def __init__(self, rows: Iterable[Register] = ()) -> None:
        self._objects: dict[str, AccountObject] = {}
        self._claims = ClaimIndex()
        # The groups that list a user: nearly always few.
        self._memberships: dict[str, tuple[AccountObject, ...]] = {}
        self._served: dict[Kind, int] = {"user": 0, "group": 0}
        self._source: Source | None = None
        # The users as they are, once somebody went through them; until something changes.
        self._now: tuple[tuple[str, Shown], ...] | None = None
        self.apply(rows)

    # --- questions -----------------------------------------------------------------------------------------------

    def user(self, name: str) -> User | None:
        """Return the served user of this name."""
        return _user(self._claims.owner("user", name))

    def user_id(self, name: str) -> str | None:
        """Return the object's id of the served user of this name; the rest of it is not read."""
        found = self._claims.owner("user", name)
        return found.id if found is not None and _shows_user(found) else None

    def user_by_uid(self, uid: int) -> User | None:
        """Return the served user with this uid."""
        return _user(self._claims.owner("user", uid))

    def user_by_id(self, object_id: str) -> User | None:
        """Return the served user whose object this is."""
        return _user(self._objects.get(object_id))

    def users(self) -> Iterator[User]:
        """Return all served users as they are now, by uid; changes made while iterating are not seen.

        Each is made when its turn comes; a thousand iterations at once share what they rest on.
        """
        if self._now is None:
            users = sorted(self._served_users(), key=lambda found: found.number)
            # What is shown is replaced when it changes, so these are and stay the users of now.
            self._now = tuple((found.id, found.shown) for found in users)
        return (user for user in (_made(*one) for one in self._now) if user is not None)

    def user_names(self) -> Iterator[tuple[str, int]]:
        """Return name and uid of all served users as they are now, in no order, without reading anything else."""
        return iter([(found.name, found.number) for found in self._served_users()])

    def users_of_group(self, gid: int) -> list[str]:
        """Return the names of the served users whose primary group this is, sorted."""
        names = []
        for found in self._served_users():
            group = plain_group(found.value(ENTRY) or b"")
            if group is None and isinstance(entry := found.entry, UserEntry):
                group = entry.gid
            if group == gid:
                names.append(found.name)
        return sorted(names)

    def _served_users(self) -> Iterator[AccountObject]:
        return (found for found in self._objects.values() if _shows_user(found))

    def group(self, name: str) -> Group | None:
        """Return the served group of this name."""
        return _group(self._claims.owner("group", name))

    def group_by_gid(self, gid: int) -> Group | None:
        """Return the served group with this gid."""
        return _group(self._claims.owner("group", gid))

    def group_by_id(self, object_id: str) -> Group | None:
        """Return the served group whose object this is."""
        return _group(self._objects.get(object_id))

    def groups(self) -> Iterator[Group]:
        """Return all served groups as they are now, by gid; changes made while iterating are not seen."""
        found = (found.shown for found in self._objects.values())
        return iter(sorted((one for one in found if isinstance(one, Group)), key=lambda group: group.entry.gid))

    def groups_of(self, username: str) -> tuple[Group, ...]:
        """Return the served groups that list this user as a member, by gid; the primary group is not added."""
        found = self._claims.owner("user", username)
        if found is None or found.shown is None:
            return ()
        groups = [group.shown for group in self._listing(found) if isinstance(group.shown, Group)]
        return tuple(sorted(groups, key=lambda group: group.entry.gid))

    def count(self, kind: Kind) -> int:
        """Return how many users or groups are served."""
        return self._served[kind]

    def served_ids(self) -> set[str]:
        """Return the ids of the objects of all served users and groups."""
        return {found.id for found in self._objects.values() if found.shown is not None}

    def groups_listing(self, user_id: str) -> tuple[str, ...]:
        """Return the ids of the groups, served or not, that list a user object as a member, served or not."""
        return tuple(found.id for found in self._memberships.get(user_id, ()))

    def contested(self) -> frozenset[str]:
        """Return the ids of all objects that stand in :meth:`conflicts`, owners and losers."""
        claims = self._claims
        claiming = (found.id for claim in claims.contested for found in claims.claimants(*claim))
        return frozenset([*claiming, *(found.id for found in claims.faulty)])

    def register(self, key: Key) -> Register | None:
        """Return a register as it is stored, served or not."""
        found = self._objects.get(key.object)
        return None if found is None else found.register(key.field)

    def registers(self, object_id: str) -> tuple[Register, ...]:
        """Return all registers of one object, served or not."""
        found = self._objects.get(object_id)
        return () if found is None else tuple(found.registers())

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
        presence = None if found is None else found.presence
        if found is None or presence is None:
            return f"object {object_id}"
        name, number, entry = presence.name, presence.number, found.entry
        if entry is not None:
            name, number = entry.name, entry.uid if isinstance(entry, UserEntry) else entry.gid
        return f"{presence.kind} {name} ({number}){'' if found.live else ', deleted'}"

    def conflicts(self) -> list[Conflict]:
        """List live objects that are not served, and why; the same list in the same order on every master."""
        result = []
        for found in self._claims.faulty:
            presence = found.presence
            kind: Kind = "user" if presence is None else presence.kind
            result.append(Conflict(kind, "entry", self.describe(found.id), None, (found.id,), found.fault))
        for kind, value in self._claims.contested:
            owner, *losers = (found.id for found in self._claims.claimants(kind, value))
            what: Literal["name", "number"] = "name" if isinstance(value, str) else "number"
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
        return self._claims.highest_created

    def next_generation(self, kind: Kind, name: str) -> int:
        """Return the generation that a new object of this name gets: above those of all deleted ones known."""
        return self._claims.next_generation(kind, name)

    def claimants(self, kind: Kind, what: Literal["name", "number"], value: str | int) -> tuple[str, ...]:
        """Return the ids of the live objects that claim a name or number: its owner first, then those in conflict."""
        if (what == "name") != isinstance(value, str):
            return ()
        return tuple(found.id for found in self._claims.claimants(kind, value))

    def names_alike(self, kind: Kind, name: str) -> list[str]:
        """Return the names in use that differ from a name in case only, sorted; looks at all there are."""
        return self._claims.alike(kind, name)

    def was_used(self, kind: Kind, number: int) -> bool:
        """Say whether a uid or gid belongs, or ever belonged, to an account that is known here, served or not."""
        return self._claims.was_used(kind, number)

    def next_uid(self, floor: int) -> int:
        """Return the lowest uid from ``floor`` on that no user, living or deleted, ever had as far as known here."""
        return self._claims.unused("user", floor)

    def next_gid(self, floor: int) -> int:
        """Return the lowest gid from ``floor`` on that no group, living or deleted, ever had as far as known here."""
        return self._claims.unused("group", floor)

    # --- changes ---------------------------------------------------------------------------------------------------

    def load(self, runs: Iterable[tuple[str, Cells]]) -> None:
        """Merge in the registers of a whole database: the same as :meth:`apply`, at a fraction of its cost.

        Args:
            runs: ids of objects with registers of theirs; best is all of an object at once.
        """
        objects = self._objects
        touched: dict[str, AccountObject] = {}
        for identifier, cells in runs:
            found = objects.get(identifier)
            if found is None:
                found = objects[identifier] = AccountObject(identifier, cells)
            else:
                found.add(cells)
            touched[identifier] = found
        entered: list[AccountObject] = []
        rest = {found for found in touched.values() if not self._enter(found, entered)}
        for found in rest:
            for field in found.names():
                if field.startswith(MEMBER_PREFIX):
                    self._note_member(found, field)
        self._settle(entered, rest, set())

    def apply(self, rows: Iterable[Register]) -> None:
        """Merge registers in. Their order, repeats and those that lose do not matter."""
        touched: set[AccountObject] = set()
        users: set[AccountObject] = set()
        groups: set[AccountObject] = set()
        for row in rows:
            found = self._take(row)
            if found is None:
                continue
            if row.key.field in CLAIMING_FIELDS:
                touched.add(found)
            elif isinstance(found.shown, Group):
                groups.add(found)
            elif found.shown is not None:
                # A password, an age, a lock: nobody else can be touched by it.
                users.add(found)
        entered: list[AccountObject] = []
        rest = {found for found in touched if not self._enter(found, entered)}
        for found in users - touched:
            found.shown = _as_user(found)
        self._settle(entered, rest, groups)

    def _take(self, row: Register) -> AccountObject | None:
        object_id, field = row.key
        found = self._objects.get(object_id)
        if found is None:
            found = self._objects[object_id] = AccountObject(object_id)
        source = found.take(row, self._source)
        if source is None:
            return None
        self._source = source
        if field.startswith(MEMBER_PREFIX):
            self._note_member(found, field)
        return found

    def _note_member(self, group: AccountObject, field: str) -> None:
        user_id, value = field.removeprefix(MEMBER_PREFIX), group.value(field)
        listing = [other for other in self._memberships.get(user_id, ()) if other is not group]
        if value is not None and is_member(value):
            listing.append(group)
        if listing:
            self._memberships[user_id] = tuple(listing)
        else:
            self._memberships.pop(user_id, None)

    def _enter(self, found: AccountObject, entered: list[AccountObject]) -> bool:
        """Serve a new object whose claims are nobody else's, if all about it is plain."""
        if not self._claims.enter(found):
            return False
        kind = found.kind
        assert kind is not None
        found.shown = found.cells() if kind == "user" else Group(found.id, GroupEntry(found.name, found.number), ())
        self._served[kind] += 1
        entered.append(found)
        return True

    def _settle(
        self,
        entered: list[AccountObject],
        touched: set[AccountObject],
        groups: set[AccountObject],
    ) -> None:
        """Bring the claims up to date, then who is served.

        Args:
            entered: new ones that are served already.
            touched: others that may claim something else now.
            groups: of which something else changed.
        """
        users: set[AccountObject] = set()
        for found in entered:
            groups.update(self._listing(found))
        for found in touched:
            for affected in self._claims.update(found):
                if affected.kind == "user" or _shows_user(affected):
                    users.add(affected)
                elif affected.kind == "group" or affected.shown is not None:
                    groups.add(affected)
        self._now = None
        self._serve_users(users, groups)
        self._serve_groups(groups)

    def _serve_users(self, users: set[AccountObject], groups: set[AccountObject]) -> None:
        """Decide who is served; add to ``groups`` those whose list of member names that changes."""
        for found in users:
            old, new = found.shown, None
            if found.kind == "user" and self._claims.owns_all(found):
                new = _as_user(found)
            found.shown = new
            self._served["user"] += (new is not None) - (old is not None)
            if found.id in self._memberships and _name(found.id, old) != _name(found.id, new):
                groups.update(self._listing(found))

    def _serve_groups(self, groups: set[AccountObject]) -> None:
        for found in groups:
            new = None
            if found.kind == "group" and self._claims.owns_all(found):
                members = (self._objects.get(user_id) for user_id in found.members)
                names = sorted(user.name for user in members if user is not None and _shows_user(user))
                new = Group(found.id, GroupEntry(found.name, found.number), tuple(names))
            self._served["group"] += (new is not None) - (found.shown is not None)
            found.shown = new

    def _listing(self, found: AccountObject) -> tuple[AccountObject, ...]:
        return self._memberships.get(found.id, ())


def _shows_user(found: AccountObject) -> bool:
    return found.shown is not None and not isinstance(found.shown, Group)


def _as_user(found: AccountObject) -> Shown:
    # A dict of many registers changes: the user as it is has to be kept beside it.
    return found.fields if isinstance(found.fields, tuple) else user_of(found.id, found.cells())


def _user(found: AccountObject | None) -> User | None:
    return None if found is None else _made(found.id, found.shown)


def _made(identifier: str, shown: Shown) -> User | None:
    if isinstance(shown, tuple):
        return user_of(identifier, shown)
    return shown if isinstance(shown, User) else None


def _group(found: AccountObject | None) -> Group | None:
    return found.shown if found is not None and isinstance(found.shown, Group) else None


def _name(identifier: str, shown: Shown) -> str | None:
    user = _made(identifier, shown)
    return None if user is None else user.entry.name
