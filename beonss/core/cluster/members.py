"""Who is a master: the member list, invitations, and who is believed.

The list is one document, numbered and signed by the cluster key (:mod:`beonss.wire.documents` makes and checks the
signatures). An invited machine stands in it without a key; the *acceptance*, its new public key signed with the
one-time invite key, fills the gap and travels beside the list, so every member and node can check it offline
and the cluster key may stay in a safe. Nothing here looks at a validity date: a wrong clock or a year's absence
must lock nobody out (docs/explanation/trust.md). Only the master that accepts a token looks at its expiry.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from beonss.core.cluster.endpoints import Endpoint
from beonss.errors import ConfigurationError, Refused

#: Bytes of an Ed25519 public key (RFC 8032).
KEY_BYTES = 32
#: More members than any cluster has; bounds what a signed list may cost to read.
MAXIMUM_MEMBERS = 1024
#: Former keys kept so that a removed master gets a clear word; the oldest are forgotten first.
MAXIMUM_FORMER = 1024


def cluster_id(public_key: bytes) -> str:
    """Return the id, 32 hex digits, of the cluster whose Ed25519 public key this is."""
    return hashlib.sha256(b"beonss cluster id\x00" + public_key).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the member list.

    Attributes:
        name: name of the machine.
        key: its Ed25519 public key, 32 bytes; empty while it is only invited.
        endpoints: where it listens for masters and nodes.
        invite_key: public key derived from the one-time secret; empty once the key is in the list.
        invited: number of the list in which the invitation first stood (0 without one).
        expires: seconds since the epoch after which no master accepts the token (0 without one).
    """

    name: str
    key: bytes
    endpoints: tuple[Endpoint, ...]
    invite_key: bytes = b""
    invited: int = 0
    expires: int = 0


@dataclass(frozen=True, slots=True)
class MemberList:
    """The numbered list of masters of one cluster.

    Attributes:
        cluster: id of the cluster (:func:`cluster_id`).
        number: the highest number wins.
        members: in the order of their joining.
        former: keys of removed masters.
    """

    cluster: str
    number: int
    members: tuple[Member, ...]
    former: tuple[bytes, ...] = ()

    def find(self, name: str) -> Member | None:
        """Return the entry with this name, or None."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An invited machine's key, signed with the invite key.

    Attributes:
        invited: the invitation it answers (:attr:`Member.invited`).
        key: Ed25519 public key of the machine.
        signature: by the invite key, over the cluster, the name, ``invited`` and ``key``.
    """

    cluster: str
    name: str
    invited: int
    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person must look at.

    Attributes:
        word: stable and machine-readable (``token-used-twice``, ``two-lists-one-number``).
        text: what happened and what to do.
    """

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Roster:
    """The member list as held by one machine, with the acceptances it has seen.

    Attributes:
        cluster_key: Ed25519 public key of the cluster, pinned.
        list: the newest list seen, its signature checked.
        document: the signed bytes of that list, as they are handed on.
        acceptances: by name; only those that answer an open invitation of ``list``, signatures checked.
    """

    cluster_key: bytes
    list: MemberList
    document: bytes
    acceptances: Mapping[str, Acceptance] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """Id of the cluster."""
        return self.list.cluster

    @property
    def digest(self) -> str:
        """16 hex digits that differ when two rosters differ: compared in every heartbeat."""
        parts = hashlib.sha256(self.document)
        for name in sorted(self.acceptances):
            parts.update(name.encode("utf-8", "surrogateescape") + b"\x00" + self.acceptances[name].key)
        return parts.hexdigest()[:16]

    def key_of(self, name: str) -> bytes | None:
        """Return the key that ``name`` is believed by, or None if it is no member or has not joined yet."""
        member = self.list.find(name)
        if member is None:
            return None
        if member.key:
            return member.key
        acceptance = self.acceptances.get(name)
        return acceptance.key if acceptance is not None else None

    def name_of(self, key: bytes) -> str | None:
        """Return the name of the member that owns ``key``, or None."""
        if len(key) != KEY_BYTES:
            return None
        return next((member.name for member in self.list.members if self.key_of(member.name) == key), None)

    def is_former(self, key: bytes) -> bool:
        """Say whether ``key`` was a master's that has been removed."""
        return key in self.list.former

    def joined(self) -> tuple[Member, ...]:
        """Return all members that have a key, that key filled in."""
        return tuple(
            replace(member, key=key) for member in self.list.members if (key := self.key_of(member.name)) is not None
        )


def with_list(roster: Roster, newer: MemberList, document: bytes) -> tuple[Roster, Alarm | None]:
    """Merge a list whose signature was checked; the highest number wins.

    Two lists of one number can only come from signing twice from the same base. The one with the greater
    digest wins everywhere, so all masters agree, and a person is told.

    Raises:
        Refused: ``wrong-cluster``.
    """
    if newer.cluster != roster.list.cluster:
        raise Refused("wrong-cluster", "that member list is of another cluster")
    alarm = None
    if newer.number < roster.list.number or document == roster.document:
        return roster, None
    if newer.number == roster.list.number:
        alarm = Alarm(
            "two-lists-one-number",
            f"two different member lists carry the number {newer.number}: two invitations or removals were signed "
            f"from the same base; compare 'beonss members' and repeat the one that is missing",
        )
        if hashlib.sha256(document).digest() < hashlib.sha256(roster.document).digest():
            return roster, alarm
    kept = {a.name: a for a in roster.acceptances.values() if answers(newer, a)}
    return Roster(roster.cluster_key, newer, document, kept), alarm


def answers(members: MemberList, acceptance: Acceptance) -> bool:
    """Say whether the acceptance is for an open invitation of this list (its signature apart)."""
    entry = members.find(acceptance.name)
    return (
        entry is not None
        and not entry.key
        and bool(entry.invite_key)
        and entry.invited == acceptance.invited
        and members.cluster == acceptance.cluster
    )


def with_acceptance(roster: Roster, acceptance: Acceptance) -> tuple[Roster, Alarm | None]:
    """Merge an acceptance whose signature was checked: the first one seen for an invitation stands.

    One that answers no open invitation is left out silently: its list was overtaken.
    """
    if not answers(roster.list, acceptance):
        return roster, None
    held = roster.acceptances.get(acceptance.name)
    if held is not None:
        if held.key == acceptance.key:
            return roster, None
        return roster, Alarm(
            "token-used-twice",
            f"the invitation of {acceptance.name} was answered by two machines; the first one seen here stands. If it "
            f"is not yours: beonss members remove {acceptance.name}, and invite again",
        )
    if roster.name_of(acceptance.key) is not None or roster.is_former(acceptance.key):
        return roster, Alarm(
            "key-of-another",
            f"{acceptance.name} tried to join with the key of another or a removed master; it must make a new identity",
        )
    merged = {**roster.acceptances, acceptance.name: acceptance}
    return replace(roster, acceptances=merged), None


def admit(roster: Roster, acceptance: Acceptance, now: float) -> Roster:
    """Accept a machine that presents its token to this master now.

    Args:
        roster: what this master holds.
        acceptance: its signature was checked against the open invitation, where there is one.
        now: wall clock, seconds since the epoch.

    Raises:
        Refused: ``wrong-cluster``, ``unknown-invitation``, ``token-used``, ``token-expired``.
    """
    if acceptance.cluster != roster.cluster:
        raise Refused("wrong-cluster", "the token belongs to another cluster")
    entry = roster.list.find(acceptance.name)
    if entry is not None and roster.key_of(entry.name) == acceptance.key:
        return roster  # the answer was lost the last time
    if entry is not None and (entry.key or entry.name in roster.acceptances):
        raise Refused(
            "token-used",
            f"the invitation of {acceptance.name} was used before: there is a master of that name with another key. "
            f"If that was this machine, and its disk or its key was lost, another master gives it a new token with: "
            f"beonss members replace {acceptance.name}",
        )
    if entry is None or not answers(roster.list, acceptance):
        raise Refused(
            "unknown-invitation",
            f"this master knows no such invitation of {acceptance.name}: it was replaced or withdrawn, or this master "
            f"has not heard of it yet; try another master, or make a new one with: beonss invite {acceptance.name}",
        )
    if now > entry.expires:
        raise Refused(
            "token-expired",
            f"the invitation of {acceptance.name} has expired; make a new one with: beonss invite {acceptance.name}",
        )
    admitted, alarm = with_acceptance(roster, acceptance)
    if alarm is not None:
        raise Refused(alarm.word, alarm.text)
    return admitted


def baked(roster: Roster) -> tuple[Member, ...]:
    """Return the members with accepted keys written into their entries, for the next signing."""
    return tuple(
        Member(m.name, key, m.endpoints) if not m.key and (key := roster.key_of(m.name)) else m
        for m in roster.list.members
    )


def founded(public_key: bytes, first: Member) -> MemberList:
    """Return the first list of a new cluster."""
    return MemberList(cluster_id(public_key), 1, (first,))


def invited(roster: Roster, name: str, endpoints: Iterable[Endpoint], invite_key: bytes, expires: int) -> MemberList:
    """Return the next list, in which ``name`` is invited; an open invitation of that name is replaced.

    Raises:
        ConfigurationError: ``name`` has joined already, or the list is full.
    """
    number = roster.list.number + 1
    members = [member for member in baked(roster) if member.name != name or member.key]
    if any(member.name == name for member in members):
        raise ConfigurationError(
            f"{name} is a member already; if its disk or its key was lost: beonss members replace {name}"
        )
    if len(members) >= MAXIMUM_MEMBERS:
        raise ConfigurationError(f"the member list is full ({MAXIMUM_MEMBERS}); remove members that are gone")
    members.append(Member(name, b"", tuple(endpoints), invite_key, number, expires))
    return replace(roster.list, number=number, members=tuple(members))


def removed(roster: Roster, name: str, *, last: bool = False) -> MemberList:
    """Return the next list, without ``name``.

    Args:
        roster: what is in force.
        name: who leaves.
        last: whether the last master may leave, which is the end of the cluster.

    Raises:
        ConfigurationError: there is no such member, or it is the last one.
    """
    members = baked(roster)
    leaving = _find(members, name)
    left = tuple(member for member in members if member.name != name)
    if leaving.key and not last and not any(member.key for member in left):
        raise ConfigurationError(
            f"{name} is the last master; a cluster without masters cannot be joined again. If it shall end: --force"
        )
    former = (*roster.list.former, *([leaving.key] if leaving.key else []))[-MAXIMUM_FORMER:]
    return replace(roster.list, number=roster.list.number + 1, members=left, former=former)


def replaced(roster: Roster, name: str, endpoints: Iterable[Endpoint], invite_key: bytes, expires: int) -> MemberList:
    """Return the next list, in which the key of ``name`` is a former one and ``name`` is invited anew.

    Args:
        roster: what is in force.
        name: a member, joined or invited.
        endpoints: where it listens; none for the same as before.
        invite_key: public key derived from the one-time secret.
        expires: seconds since the epoch.

    Raises:
        ConfigurationError: there is no such member, or no other that could accept the token.
    """
    old = _find(baked(roster), name)
    if not any(member.key for member in baked(roster) if member.name != name):
        raise ConfigurationError(f"{name} is the last master: there is no other that could accept it again")
    without = removed(roster, name)
    entry = Member(name, b"", tuple(endpoints) or old.endpoints, invite_key, without.number, expires)
    at = [member.name for member in baked(roster)].index(name)
    return replace(without, members=(*without.members[:at], entry, *without.members[at:]))


def _find(members: Iterable[Member], name: str) -> Member:
    members = tuple(members)
    for member in members:
        if member.name == name:
            return member
    known = ", ".join(member.name for member in members)
    raise ConfigurationError(f"{name} is no member of the cluster; its members are: {known}")


def moved(roster: Roster, name: str, endpoints: Iterable[Endpoint]) -> MemberList:
    """Return the next list, in which ``name`` listens elsewhere.

    Raises:
        ConfigurationError: there is no such member.
    """
    members = baked(roster)
    _find(members, name)
    places = tuple(endpoints)
    members = tuple(replace(member, endpoints=places) if member.name == name else member for member in members)
    return replace(roster.list, number=roster.list.number + 1, members=members)
