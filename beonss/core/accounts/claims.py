"""Who claims which name, uid and gid, who owns it, and what was ever used: the index under the view.

Of the live objects that claim the same, the one with the lowest creation stamp owns it, then the lowest id.
"""

from beonss.core.accounts.entries import Kind, UserEntry
from beonss.core.accounts.objects import AccountObject, Claims

#: A kind, and a name (str) or a number (int).
Claim = tuple[Kind, str | int]
Claimants = AccountObject | tuple[AccountObject, ...]


class ClaimIndex:
    """The claims of all objects of a view.

    Attributes:
        contested: what several objects claim.
        faulty: live objects that cannot be served by themselves.
        highest_created: the highest creation stamp known, in ms; 0 when there is no account.
    """

    def __init__(self) -> None:
        self.contested: set[Claim] = set()
        self.faulty: set[AccountObject] = set()
        self.highest_created = 0
        # One object, nearly always; or several, in the order in which they inherit.
        self._held: dict[Kind, dict[str | int, Claimants]] = {"user": {}, "group": {}}
        # Numbers that were used, besides those that are claimed.
        self._used: dict[Kind, set[int]] = {"user": set(), "group": set()}
        # Deleted objects, by what they were created as.
        self._ended: dict[tuple[Kind, str], tuple[AccountObject, ...]] = {}

    # --- questions ---

    def owner(self, kind: Kind, value: str | int) -> AccountObject | None:
        """Return the object that owns a name or number."""
        held = self._held[kind].get(value)
        return held[0] if isinstance(held, tuple) else held

    def claimants(self, kind: Kind, value: str | int) -> tuple[AccountObject, ...]:
        """Return the live objects that claim a name or number: its owner first, then as they would inherit."""
        held = self._held[kind].get(value)
        if held is None:
            return ()
        return held if isinstance(held, tuple) else (held,)

    def alike(self, kind: Kind, name: str) -> list[str]:
        """Return the names that live objects claim and that differ from a name in case only, sorted.

        All of them are looked at: for one command, not for lookups.
        """
        folded = name.lower()
        found = (each for each in self._held[kind] if isinstance(each, str) and len(each) == len(name))
        return sorted(each for each in found if each.lower() == folded and each != name)

    def owns_all(self, found: AccountObject) -> bool:
        """Say whether an object claims something, and owns what it claims."""
        kind = found.kind
        return kind is not None and self.owner(kind, found.name) is found is self.owner(kind, found.number)

    def next_generation(self, kind: Kind, name: str) -> int:
        """Return the generation that a new object of this name gets: above those of all deleted ones known."""
        ended = (found.presence for found in self._ended.get((kind, name), ()))
        return max((presence.generation + 1 for presence in ended if presence is not None), default=0)

    def was_used(self, kind: Kind, number: int) -> bool:
        """Say whether a uid or gid belongs, or ever belonged, to an account that is known here, served or not."""
        return number in self._held[kind] or number in self._used[kind]

    def unused(self, kind: Kind, floor: int) -> int:
        """Return the lowest uid or gid from ``floor`` on that nobody ever had as far as known here."""
        while self.was_used(kind, floor):
            floor += 1
        return floor

    # --- changes ---

    def enter(self, found: AccountObject) -> bool:
        """Enter the claims of a new object if all is plain and nobody else has them, as nearly always; else do nothing.

        Returns:
            whether it owns now what it claims.
        """
        if found.kind is not None or found.ended is not None or found in self.faulty:
            return False
        plain = found.plain()
        if plain is None:
            return False
        kind, name, number, original, created = plain
        held = self._held[kind]
        if name in held or number in held:
            return False
        held[name] = held[number] = found
        found.kind, found.name, found.number = kind, name, number
        if original != number:
            self._used[kind].add(original)
        self.highest_created = max(self.highest_created, created)
        return True

    def update(self, found: AccountObject) -> set[AccountObject]:
        """Bring one object's claims up to date; return all objects whose standing that may change."""
        self._note_history(found)
        before = None if found.kind is None else (found.kind, found.name, found.number)
        wanted = found.wanted_claims()
        affected = {found}
        after = _parts(wanted)
        if wanted != before or any(claim in self.contested for claim in after):
            for claim in {*_parts(before), *after}:
                claimants = self.claimants(*claim)
                affected.update(claimants)
                self._hold(claim, [one for one in claimants if one is not found] + [found] * (claim in after))
        if before is not None and wanted != before:
            self._used[before[0]].add(before[2])
        found.kind, found.name, found.number = wanted or (None, "", 0)
        if found.live and found.fault:
            self.faulty.add(found)
        else:
            self.faulty.discard(found)
        return affected

    def _hold(self, claim: Claim, claimants: list[AccountObject]) -> None:
        kind, value = claim
        if len(claimants) > 1:
            self.contested.add(claim)
            self._held[kind][value] = tuple(sorted(claimants, key=lambda one: one.order))
            return
        self.contested.discard(claim)
        if claimants:
            self._held[kind][value] = claimants[0]
        else:
            self._held[kind].pop(value, None)

    def _note_history(self, found: AccountObject) -> None:
        presence, entry = found.presence, found.entry
        ended = None
        if presence is not None:
            self.highest_created = max(self.highest_created, presence.created)
            self._used[presence.kind].add(presence.number)
            if isinstance(entry, UserEntry):
                self._used["user"].add(entry.uid)
            elif entry is not None:
                self._used["group"].add(entry.gid)
            if not found.live:
                ended = (presence.kind, presence.name)
        if ended == found.ended:
            return
        if found.ended is not None:
            rest = tuple(one for one in self._ended.pop(found.ended) if one is not found)
            if rest:
                self._ended[found.ended] = rest
        found.ended = ended
        if ended is not None:
            self._ended[ended] = (*self._ended.get(ended, ()), found)


def _parts(claims: Claims | None) -> tuple[Claim, ...]:
    return () if claims is None else ((claims[0], claims[1]), (claims[0], claims[2]))
