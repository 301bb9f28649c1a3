"""The description on a running master: follows the cluster's register, publishes a new one, says what differs.

The register decides (:mod:`beonss.core.replication.publication`). Each master proves what it finds there itself; one
that it cannot accept, most likely of a newer version of the software, is an alarm, and the old one stays in force.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.accounts.view import AccountView
from beonss.core.names.description import digest
from beonss.core.names.naming import Naming
from beonss.core.replication.publication import (
    DESCRIPTION,
    DOCUMENTS,
    KEPT,
    SEED_TIME,
    SERIAL,
    Published,
    Serial,
    decode_published,
    encode_published,
    encode_serial,
    following,
    next_version,
)
from beonss.core.replication.registers import ABSENT, Change, Register, Stamp
from beonss.daemon.replication.description import Described, prove, read_description
from beonss.daemon.replication.standing import standing
from beonss.errors import BeonssError, ConfigurationError, MalformedError
from beonss.wire.description import parse

#: Seconds between two looks for a description that lost against another.
INTERVAL = 10.0
#: Seconds between two tries to serve a description that this machine's own files (zones) did not allow: the first time,
#: and at most.
TRY_AGAIN = 10.0
TRY_SELDOM = 320.0
#: The note with the digests of texts that were in force here, oldest first.
FORMER = "description/former"
_FORMER_KEPT = 64

FileState = Literal["same", "older", "differs", "refused", "missing"]


class Held(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    @property
    def view(self) -> AccountView:
        """All registers as committed."""

    def listen(self, listener: Callable[[Sequence[Register]], None]) -> Callable[[], None]:
        """Call ``listener`` with what changed; return how to stop."""

    async def write(self, changes: Sequence[Change], author: str, wall: int | None = None) -> list[Register]:
        """Make changes durable here."""

    async def overruled(self) -> list[Register]:
        """Return concurrent writes that lost."""

    async def get(self, name: str) -> bytes | None:
        """Return a note."""

    async def put(self, name: str, value: bytes | None) -> None:
        """Keep a note."""


@dataclass(frozen=True, slots=True)
class Overruled:
    """A description that was published at the same time as the one that won."""

    published: Published
    author: str
    stamp: Stamp


class Publication:
    """The cluster description on this master.

    Args:
        reactor: for the time.
        accounts: hold the registers.
        name: of this master.
        first: what it started with.
        path: the file on the command line.
        check: raises ConfigurationError if this master could not serve a description that shall be published.
        take: puts a description in force; raises ConfigurationError if this master cannot serve it.
        ready: gives a Deferred that fires when the other masters were asked; nothing is written before.

    Attributes:
        now: the description in force.
        overruled: one that lost against it, unless somebody published again having seen both.
        file_state: how the file on the command line compares.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        accounts: Held,
        name: str,
        first: Described,
        path: Path,
        check: Callable[[Naming], object],
        take: Callable[[Described], None],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self.now = first
        self._reactor = reactor
        self.overruled: Overruled | None = None
        self.file_state: FileState = "same"
        self._accounts = accounts
        self._name = name
        self._path = path
        self._check = check
        self._take = take
        self._ready = ready
        self._refused = ""
        #: What was proven last: its text never gets better or worse by being read again.
        self._proven: tuple[Published, Naming | ConfigurationError] | None = None
        self._wait = TRY_AGAIN
        self._next_try = 0.0
        self._file_problem = ""
        self._former: list[str] = []
        self._may_write = False
        self._weighing = False
        self._waiting: Deferred[None] | None = None
        self._unlisten: Callable[[], None] = lambda: None
        self._looking = LoopingCall(self._weigh)
        self._looking.clock = reactor

    # -- life

    async def start(self) -> None:
        """Follow the register from now on; the accounts are started."""
        former = await self._accounts.get(FORMER)
        try:
            read = json.loads(former) if former is not None else []
        except ValueError:
            read = []
        self._former = [each for each in read if isinstance(each, str)] if isinstance(read, list) else []
        self._unlisten = self._accounts.listen(self._changed)
        self.follow()
        self.look_at_file()
        self._waiting = Deferred.fromCoroutine(self._begin())
        self._waiting.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._waiting.addErrback(lambda failure: self.log.failure("publishing the description failed", failure))

    def stop(self) -> None:
        """Follow no more."""
        self._unlisten()
        if self._waiting is not None:
            self._waiting.cancel()
        if self._looking.running:
            self._looking.stop()

    async def ready(self) -> None:
        """Return when descriptions can be published."""
        await self._ready()

    async def _begin(self) -> None:
        await self._ready()
        self._may_write = True
        self._looking.start(INTERVAL)

    @property
    def register(self) -> Register | None:
        """The cluster's description as it stands in its register."""
        return self._accounts.view.register(DESCRIPTION)

    def alarms(self) -> list[str]:
        """Return what an administrator should look at."""
        texts = [text for text in (self._refused, self._file_problem) if text]
        if self.overruled is not None:
            lost = self.overruled
            texts.append(
                f"two descriptions were published at the same time: version {self.now.published.version} is in force, "
                f"the one of {lost.author} (version {lost.published.version}) lost; look at it with "
                "'beonss description --overruled', and apply what is missing, or the one in force again"
            )
        return texts

    # -- following

    def _changed(self, rows: Sequence[Register]) -> None:
        if any(row.key.object == DOCUMENTS for row in rows):
            self.follow()
            if self._may_write:
                self._weigh()

    def follow(self, *, patient: bool = False) -> None:
        """Put in force what the register says, unless it is or this master cannot.

        Args:
            patient: whether one that was refused before waits for its time; the wait grows.
        """
        register = self.register
        if register is None:
            return
        try:
            wanted = standing(self._accounts.view.register)
            assert wanted is not None
        except MalformedError as error:
            self._refuse(f"the description that {register.author} published cannot be read here", error)
            return
        was = self.now
        if was.source != "file":
            wanted = following(wanted, was.published)
        if was.source == "cluster" and wanted == was.published:
            self._refused = ""
            return
        new = self._proven is None or self._proven[0] != wanted
        if not new and patient and self._reactor.seconds() < self._next_try:
            return
        self._wait = TRY_AGAIN if new or not patient else min(2 * self._wait, TRY_SELDOM)
        try:
            self._put_in_force(Described(wanted, self._prove(wanted), "cluster"))
        except ConfigurationError as error:
            self._refuse(f"version {wanted.version} of the description, published by {register.author}", error)
            self._next_try = self._reactor.seconds() + self._wait

    def _prove(self, wanted: Published) -> Naming:
        """Prove a description once: only what this machine has beside it can change.

        Raises:
            ConfigurationError: this version of the software does not accept it.
        """
        if self._proven is None or self._proven[0] != wanted:
            try:
                self._proven = wanted, prove(wanted)
            except ConfigurationError as error:
                self._proven = wanted, error
        found = self._proven[1]
        if isinstance(found, ConfigurationError):
            raise found.with_traceback(None)
        return found

    def _put_in_force(self, described: Described) -> None:
        self._take(described)
        self.now = described
        self._refused = ""
        self._proven = None
        self.log.info(
            "description version {version} is in force, {nodes} nodes",
            version=described.published.version,
            nodes=described.naming.node_count,
        )
        self._keep(KEPT, encode_published(described.published))
        if described.published.digest not in self._former:
            self._former = [*self._former, described.published.digest][-_FORMER_KEPT:]
            self._keep(FORMER, json.dumps(self._former).encode())
        if self.file_state in {"same", "differs"}:
            self.look_at_file()

    def _keep(self, name: str, value: bytes) -> None:
        kept = Deferred.fromCoroutine(self._accounts.put(name, value))
        kept.addErrback(lambda failure: self.log.failure("keeping {name} failed", failure, name=name))

    def _refuse(self, what: str, error: BeonssError) -> None:
        first, _, rest = str(error).partition("\n")
        more = f" (and {rest.count(chr(10)) + 1} more)" if rest else ""
        text = (
            f"{what}, is refused by this master, version {self.now.published.version} stays in force: {first}{more}; "
            "mend that here, install the newest version of beonss, or apply a description that all masters can take"
        )
        if text != self._refused:
            self._refused = text
            self.log.error("{text}", text=text)

    # -- writing

    def _weigh(self) -> "Deferred[None] | None":
        """Publish what must be: the seed where there is nothing, a serial where one would go back."""
        if self._weighing:
            return None
        self._weighing = True

        def done(result: Any) -> Any:
            self._weighing = False
            return result

        weighed = Deferred.fromCoroutine(self._write_what_is_missing()).addBoth(done)
        return weighed.addErrback(lambda failure: self.log.failure("looking after the description failed", failure))

    async def _write_what_is_missing(self) -> None:
        try:
            if self.register is None:
                if self.now.source == "file":
                    await self._publish_seed()
                return
            self.follow(patient=True)
            await self._look_for_losers()
            published = self.now.published
            wanted = standing(self._accounts.view.register)
            if self.now.source == "cluster" and wanted is not None and wanted.digest == published.digest:
                version = published.version
                if self.overruled is not None and self.overruled.published.version >= version:
                    version = self.overruled.published.version + 1
                if wanted.version < version:
                    change = Change(SERIAL, encode_serial(Serial(wanted.digest, version)))
                    await self._accounts.write([change], f"master {self._name}")
        except BeonssError as error:
            # A full disk, or writes are halted: the next look tries again.
            self.log.warn("the description cannot be published now: {error}", error=str(error))

    async def _publish_seed(self) -> None:
        value = encode_published(self.now.published)
        author = f"master {self._name} (its file)"
        await self._accounts.write([Change(DESCRIPTION, value, ABSENT)], author, SEED_TIME)
        self.log.info("the cluster had no description: that in {file} is published", file=str(self._path))

    async def _look_for_losers(self) -> None:
        found = None
        for row in await self._accounts.overruled():
            if row.key == DESCRIPTION:
                try:
                    published = decode_published(row.value)
                except MalformedError:
                    continue
                if published.digest != self.now.published.digest:
                    found = Overruled(published, row.author, row.stamp)
        if found is not None and found != self.overruled:
            self.log.warn("a description published by {author} at the same time lost", author=found.author)
        self.overruled = found

    def checked(self, text: bytes, file: str) -> tuple[Published, Naming, bool]:
        """Prove a description that shall be published, as the version that it would get.

        Returns:
            the description, compiled, and whether its file itself names a version above all that are known.

        Raises:
            ConfigurationError: it has mistakes, or is too large.
        """
        known, written = self._known(), parse(text, file).version
        published = Published(text, next_version(known, written), file)
        encode_published(published)
        naming = prove(published)
        self._check(naming)
        return published, naming, written > known

    def _known(self) -> int:
        known = self.now.published.version if self.now.source != "file" else 0
        return max(known, 0 if self.overruled is None else self.overruled.published.version)

    async def publish(self, published: Published, author: str, expect: Stamp) -> Register:
        """Publish a description that :meth:`checked` returned.

        Args:
            published: the description.
            author: who says so.
            expect: stamp of the register that was looked at; ABSENT for none.

        Raises:
            Refused: ``changed-meanwhile``.
            Unavailable: this master takes no changes now.
            StoreError: it cannot be written.
        """
        change = Change(DESCRIPTION, encode_published(published), expect)
        return (await self._accounts.write([change], author))[0]

    # -- the file on the command line

    def look_at_file(self) -> None:
        """Compare the file on the command line with what is in force; it is used only where there is nothing else."""
        self._file_problem = ""
        if not self._path.exists():
            self.file_state = "missing"
            return
        try:
            text, naming = read_description(self._path)
        except ConfigurationError as error:
            self.file_state = "refused"
            self._file_problem = f"the file {self._path} has mistakes; it is not in use: {error}"
            return
        if meaning(naming) == meaning(self.now.naming):
            self.file_state = "same"
        elif hashlib.sha256(text).hexdigest() in self._former:
            self.file_state = "older"
        else:
            self.file_state = "differs"
            self._file_problem = (
                f"the file {self._path} is not what the cluster has (version {self.now.published.version}); publish it "
                f"with 'beonss apply {self._path}', or replace it by 'beonss description --text'"
            )

    def reread(self) -> None:
        """Try again what was refused; look at the file again, and say in the log what it is."""
        self.follow()
        self.look_at_file()
        if self._file_problem:
            self.log.error("{text}", text=self._file_problem)
        else:
            self.log.info("the file {file} is {state}", file=str(self._path), state=self.file_state)


def meaning(naming: Naming) -> str:
    """Return a digest of what a description says, its version apart."""
    return digest(replace(naming.description, version=0))
