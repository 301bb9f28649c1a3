"""Whoever has the cluster key: signs member lists, invites and removes; the real documents and rules."""

from collections.abc import Sequence
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from beonss.core.cluster.members import (
    Acceptance,
    Member,
    MemberList,
    Roster,
    cluster_id,
    invited,
    removed,
    with_acceptance,
)
from beonss.wire.documents import Token, accept, invite_key, public_bytes, write_members

#: Long after every simulated moment.
NEVER = 1 << 40


class Office:
    """The cluster key, and the newest member list.

    Attributes:
        roster: the newest signed list with all acceptances.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._key = Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
        self.public = public_bytes(self._key)
        self.cluster = cluster_id(self.public)
        self.roster: Roster

    def new_key(self) -> bytes:
        """Return a public key for a machine; nothing is signed with it here."""
        return self._random.randbytes(32)

    def found(self, members: Sequence[tuple[str, bytes]]) -> None:
        """Sign the first list."""
        self._sign(MemberList(self.cluster, 1, tuple(Member(name, key, ()) for name, key in members)))

    def remove(self, name: str) -> None:
        """Sign the next list, without ``name``."""
        self._sign(removed(self.roster, name))

    def invite(self, name: str, key: bytes) -> Acceptance:
        """Sign the next list, with an invitation, and return the machine's acceptance of it, still to be presented."""
        secret = self._random.randbytes(16)
        signed = invited(self.roster, name, (), public_bytes(invite_key(secret)), NEVER)
        self._sign(signed)
        return accept(Token(self.public, name, signed.number, NEVER, secret, ()), key)

    def heard_of(self, acceptance: Acceptance) -> None:
        """Note that a machine joined, so that its key stands in the next list."""
        self.roster, _ = with_acceptance(self.roster, acceptance)

    def _sign(self, members: MemberList) -> None:
        self.roster = Roster(self.public, members, write_members(members, self._key))
