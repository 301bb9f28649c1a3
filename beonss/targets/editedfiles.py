"""Account files that people edit too: what they changed is found, told, and offered to be taken over.

The rules are in :mod:`beonss.targets.handedits`; here is when to look, under which lock, and what is told meanwhile.
"""

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beonss.core.targets.delivery import State
from beonss.core.targets.edits import Findings
from beonss.targets.accountfiles import FILES, AccountFiles, read_files
from beonss.targets.etcfiles import LOCK_TIMEOUT, Signature, locked, signature
from beonss.targets.handedits import EditFinder, foreign, newcomers, records, seen_entries, too_many
from beonss.targets.journal import Entry, Journal


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """How the account files are delivered.

    Attributes:
        name: the target's name.
        root: the directory that holds ``etc``.
        journal: the file that remembers what was delivered.
        uid_floor: entries with a lower uid are never touched, wanted or found.
        gid_floor: the same for groups.
        lock_timeout: seconds to wait for other programs' locks.
        edits: what becomes of edits made by hand: ``import`` makes them changes of the cluster, ``report`` only tells.
    """

    name: str
    root: Path
    journal: Path
    uid_floor: int = 1000
    gid_floor: int = 1000
    lock_timeout: float = LOCK_TIMEOUT
    edits: Literal["import", "report"] = "import"


class EditedFiles:
    """The files of a machine, and what was edited in them by hand; the base of ``FilesTarget``.

    Raises:
        StoreError: the journal cannot be opened.
    """

    def __init__(self, settings: FilesSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.etc = settings.root / "etc"
        self._journal = Journal(settings.journal)
        self._signatures: dict[str, Signature] = {}
        #: As last looked at for edits, as seen at the last poll, as being looked at now.
        self._looked: dict[str, Signature | None] | None = None
        self._polled: dict[str, Signature | None] | None = None
        self._looking: dict[str, Signature | None] | None = None
        self._changed: dict[str, dict[str, str]] = {}
        self._notes: list[Entry] = []
        self._alarm = ""
        self._new: dict[tuple[str, str], str] = {}
        self._edited: dict[tuple[str, str], str] = {}

    def conflicts(self) -> list[str]:
        """Return what stands in the files that is not ours, one sentence each."""
        alarm = [self._alarm] if self._alarm else []
        return alarm + [text for _, text in sorted({**self._new.copy(), **self._edited.copy()}.items())]

    @property
    def imports(self) -> bool:
        """Whether edits become changes of the cluster by themselves."""
        return self.settings.edits == "import"

    def stirred(self) -> bool:
        """Say whether somebody else wrote since the last look and is done with it; costs four stat(2).

        Files count as settled when they are the same at two polls: an editor may write one in pieces.
        """
        now = {name: _signature_or_none(self.etc / name) for name in FILES}
        settled = now == self._polled
        self._polled = now
        return settled and now != self._looked

    def contested(self) -> tuple[str, ...]:
        """Return the names of accounts that are not ours here, as far as known."""
        return tuple(sorted({name for _, name in self._edited.copy()}))

    def look(self, adopt: Collection[str] | None = ()) -> tuple[str, ...]:
        """Return the ids of the accounts that are not as delivered.

        Raises:
            TemporaryTargetError: a lock is held.
            PermanentTargetError: files are missing or damaged.
        """
        with self._locked():
            files = read_files(self.etc, self.settings.uid_floor, self.settings.gid_floor)
            changed = foreign(files, self._journal)
            accounts = {(file, object_id) for file in changed for object_id in changed[file].values()}
            self._take_in(files, {object_id for _, object_id in accounts}, adopt)
            return tuple(sorted({object_id for _, object_id in accounts}))

    def _take_in(self, files: AccountFiles, edited: set[str], adopt: Collection[str] | None) -> None:
        """Note what is there for the first time, and whether there is too much at once."""
        new, notes = newcomers(files, self._journal)
        total = sum(1 for file in ("passwd", "group") for _ in self._journal.names(file))
        count = sum(len(names) for names in new.values())
        wrong = None if adopt is None else too_many(len(edited), count, total)
        self._journal.record(notes)
        self._alarm = ""
        if wrong is not None:
            self._alarm = (
                f"{self.etc}: {wrong}; no edit is taken over. Put the files back, or say which is right: beonss "
                f"accounts adopt --target {self.name} --all, or beonss accounts reassert --target {self.name} --all"
            )

    def edits(self, states: Sequence[State], adopt: Collection[str] | None = ()) -> Findings:
        """Return what somebody changed by hand and the cluster may take over.

        Args:
            states: the accounts that :meth:`look` named, as the cluster wants them now.
            adopt: names whose edits are wanted whatever speaks against it; None means all.

        Raises:
            TemporaryTargetError, PermanentTargetError: as for :meth:`look`.
        """
        with self._locked():
            files = read_files(self.etc, self.settings.uid_floor, self.settings.gid_floor)
            self._looking = {name: _signature_of(files, name) for name in FILES}
            changed = self._changed = foreign(files, self._journal)
            for key in [key for key in self._edited if key[1] not in changed.get(key[0], {})]:
                del self._edited[key]
            new, notes = newcomers(files, self._journal)
            if self._alarm and adopt is not None:
                # What nobody vouched for is left alone.
                states = [state for state in states if state.name in adopt]
                new = {file: [] for file in new}
            finder = EditFinder(files, self._journal, adopt, time.time())
            found = finder.edits(states)
            renamed = {edit.entry.name for edit in found if edit.entry is not None}
            chosen = {
                file: [
                    name
                    for name in sorted({*names, *(adopt or ())})
                    if name in files.documents[file] and name not in renamed and self._journal.get(file, name) is None
                ]
                for file, names in new.items()
            }
            self._notes = notes + finder.notes
            for problem in finder.problems:
                self._edited[problem.file, problem.name] = problem.text + self._ways(problem.name)
            batch = records(files, chosen)
        return Findings(tuple(found), batch.users, batch.groups)

    def looked(self, refused: Sequence[tuple[str, str, str]] = ()) -> None:
        """Note that what :meth:`edits` returned was taken over, but for ``refused``: (kind, name, why)."""
        self._journal.record(self._notes)
        self._notes = []
        self._new = {}
        self._looked = self._looking
        for kind, name, text in refused:
            file = "passwd" if kind == "user" else "group"
            where = next((other for other in FILES if name in self._changed.get(other, ())), file)
            place = self._new if self._journal.get(file, name) is None else self._edited
            place[where, name] = f"{self.etc / where}: {name} is not taken over: {text}" + self._ways(name)

    def _ways(self, name: str) -> str:
        return (
            f"; to overwrite it: beonss accounts reassert --target {self.name} {name}; to make it the cluster's: "
            f"beonss accounts adopt --target {self.name} {name}"
        )

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        names = tuple(name for name in ("passwd", "group", "gshadow", "shadow") if (self.etc / name).exists())
        return locked(self.etc, names, self.settings.lock_timeout)

    def _leave(self, files: AccountFiles, names: Collection[str] | None) -> None:
        """Leave new accounts, of which an administrator said so, to the machine; None means all."""
        new, notes = newcomers(files, self._journal)
        kept = {file: [name for name in found if names is None or name in names] for file, found in new.items()}
        self._journal.record([*notes, *seen_entries(kept)])
        self._new = {key: text for key, text in self._new.items() if names is not None and key[1] not in names}
        if names is None:
            self._alarm = ""

    def _wrote(self, files: AccountFiles) -> None:
        """Note that what we wrote on top of what was read is nothing new, unless somebody had edited before."""
        if self._looked is not None and all(
            self._looked.get(name) == snapshot.signature for name, snapshot in files.snapshots.items()
        ):
            self._looked = {name: self._signatures.get(name) for name in FILES}

    def _conflict_text(self, file: str, name: str) -> str:
        return f"{self.etc / file}: {name} was written by somebody else and is left alone" + self._ways(name)


def _signature_of(files: AccountFiles, name: str) -> Signature | None:
    snapshot = files.snapshots.get(name)
    return None if snapshot is None else snapshot.signature


def _signature_or_none(path: Path) -> Signature | None:
    try:
        return signature(path)
    except OSError:
        return None
