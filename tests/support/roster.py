"""Signed member lists for tests that need no sockets."""

from beonss.core.cluster.members import Member, MemberList, Roster, cluster_id
from beonss.store.keys import new_cluster_key, new_identity
from beonss.wire.documents import public_bytes, write_members


class Signed:
    """A cluster key and the newest list it signed.

    Attributes:
        public: the cluster's public key.
        id: id of the cluster.
        roster: the newest.
    """

    def __init__(self, *names: str) -> None:
        self._key = new_cluster_key()
        self.public = public_bytes(self._key)
        self.id = cluster_id(self.public)
        self.roster = self.sign(*(Member(name, new_identity(name).public, ()) for name in names))

    def sign(self, *members: Member) -> Roster:
        """Sign the next list."""
        number = self.roster.list.number + 1 if hasattr(self, "roster") else 1
        signed = MemberList(self.id, number, members)
        self.roster = Roster(self.public, signed, write_members(signed, self._key))
        return self.roster
