"""What a node memorizes on its disk: member list, description, registers, and when they were last proven fresh.

All of it came from masters and can come again. So a damaged part is moved aside and fetched anew, with a word in the
log: a node has nobody who would repair it.
"""

import time
from pathlib import Path

from twisted.logger import Logger

from beonss.core.cluster.members import Roster
from beonss.core.names.naming import Naming
from beonss.core.replication.publication import HIGHEST_VERSION
from beonss.errors import BeonssError, MalformedError, StoreError
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError
from beonss.store.statefile import read_file, write_file
from beonss.wire.description import parse
from beonss.wire.documents import empty_roster, read_roster, write_roster
from beonss.wire.feed import DescriptionContent

MEMBERS = "members"
DESCRIPTION = "description"
DATABASE = "memory.db"
#: The note in the database that says when a live master last proved it fresh (wall seconds, decimal).
PROVEN = "proven"
#: How every SQLite database begins (sqlite.org/fileformat2.html, section 1.3).
_SQLITE = b"SQLite format 3\0"

log = Logger()


class NodeMemory:
    """The state directory of a node.

    Args:
        state: the directory; it exists.
        cluster_key: the pinned public key, 32 bytes.
    """

    def __init__(self, state: Path, cluster_key: bytes) -> None:
        self.state = state
        self._cluster_key = cluster_key

    def roster(self) -> Roster:
        """Return the member list memorized, or the empty one.

        Raises:
            StoreError: the file cannot be read.
        """
        data = read_file(self.state / MEMBERS)
        if data is not None:
            try:
                return read_roster(data, self._cluster_key)
            except MalformedError as error:
                self._aside(MEMBERS, str(error))
        return empty_roster(self._cluster_key)

    def keep_roster(self, roster: Roster) -> None:
        """Keep a newer member list.

        Raises:
            StoreError: it cannot be written.
        """
        write_file(self.state / MEMBERS, write_roster(roster), 0o644)

    def description(self) -> Naming | None:
        """Return the description memorized, compiled; None if there is none.

        Raises:
            StoreError: the file cannot be read.
        """
        data = read_file(self.state / DESCRIPTION)
        if data is None:
            return None
        try:
            return self.compile(DescriptionContent.decode(data))
        except BeonssError as error:
            self._aside(DESCRIPTION, str(error))
            return None

    def compile(self, content: DescriptionContent) -> Naming:
        """Prove a description that a master serves, and return it compiled.

        Raises:
            ConfigurationError: this version of the software does not accept it.
        """
        # It counts as the version that the cluster gave it, whatever it says itself.
        version = content.version if 0 < content.version <= HIGHEST_VERSION else None
        return parse(content.text, str(self.state / DESCRIPTION), version)

    def keep_description(self, content: DescriptionContent) -> None:
        """Keep a description.

        Raises:
            StoreError: it cannot be written.
        """
        write_file(self.state / DESCRIPTION, content.encode(), 0o644)

    def database(self, cluster: str) -> Database:
        """Open the registers.

        Raises:
            StoreError: not possible, and a new file would not be either.
        """
        path = self.state / DATABASE
        try:
            with path.open("rb") as file:
                start = file.read(len(_SQLITE))
            if start and start != _SQLITE:
                self.drop_database("it is no SQLite database")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
        try:
            return Database(path, cluster, scope="public")
        except BrokenStoreError as error:
            self.drop_database(str(error))
            return Database(path, cluster, scope="public")

    def drop_database(self, reason: str) -> None:
        """Move the registers aside, so that the next start fetches them anew.

        Raises:
            StoreError: they cannot be moved.
        """
        # The log of a database that is moved away would be taken for the new one's.
        for suffix in ("-wal", "-shm"):
            (self.state / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        self._aside(DATABASE, reason)

    def _aside(self, name: str, reason: str) -> None:
        path = self.state / name
        kept = path.with_name(f"{name}.damaged-{int(time.time())}")
        log.error(
            "{path} is damaged and moved to {kept}; it is fetched anew: {reason}",
            path=str(path),
            kept=str(kept),
            reason=reason,
        )
        try:
            path.replace(kept)
        except OSError as error:
            raise StoreError(f"{path}: is damaged and cannot be moved away: {error.strerror}") from None
