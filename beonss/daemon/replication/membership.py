"""The member list as a running daemon holds it: kept durably, merged with what others hold, changes told."""

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from beonss.core.cluster.members import Acceptance, Alarm, Roster, admit
from beonss.errors import Refused
from beonss.wire.documents import is_signed, with_documents


class Membership:
    """Who is a member, as far as this machine knows.

    Writing is a call of ``save`` in the caller's thread: a list changes a few times in a cluster's life, and is synced
    before anybody acts on it.

    Args:
        roster: what was read at start.
        save: keeps a roster durably.

    Attributes:
        roster: in force now.
        alarms: what a person must look at, by word.
    """

    log = Logger()

    def __init__(self, roster: Roster, save: Callable[[Roster], None]) -> None:
        self.roster = roster
        self.alarms: dict[str, str] = {}
        self._save = save
        self._listeners: list[Callable[[Roster], None]] = []

    def listen(self, callback: Callable[[Roster], None]) -> Callable[[], None]:
        """Have ``callback`` called with each new roster; return what ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def offer(self, document: bytes, acceptances: Iterable[Acceptance]) -> bool:
        """Take what another machine holds; say whether anything was new.

        Raises:
            MalformedError: a signature is wrong.
            Refused: it is of another cluster.
            StoreError: it cannot be kept; the old roster stands.
        """
        merged, alarms = with_documents(self.roster, document, acceptances)
        for alarm in alarms:
            self._alarm(alarm)
        return self._replace(merged)

    def admit(self, acceptance: Acceptance, now: float) -> None:
        """Let a machine in that presents its token here.

        Args:
            acceptance: as it came.
            now: wall clock, seconds since the epoch.

        Raises:
            Refused: and why.
            StoreError: it cannot be kept.
        """
        admitted = admit(self.roster, acceptance, now)
        if admitted is self.roster:
            return
        if not is_signed(acceptance, self.roster.list):
            raise Refused("bad-proof", "the token's secret is not the one of this invitation; invite again")
        self.log.info("{name} joined the cluster as a master", name=acceptance.name)
        self._replace(admitted)

    def _replace(self, roster: Roster) -> bool:
        if roster.digest == self.roster.digest:
            return False
        self._save(roster)
        old, self.roster = self.roster, roster
        if roster.list.number != old.list.number:
            self.log.info("member list {number} is in force", number=roster.list.number)
        for callback in list(self._listeners):
            callback(roster)
        return True

    def _alarm(self, alarm: Alarm) -> None:
        if self.alarms.get(alarm.word) != alarm.text:
            self.log.warn("members: {word}: {text}", word=alarm.word, text=alarm.text)
        self.alarms[alarm.word] = alarm.text
