"""The account files of a machine as a delivery target: passwd, shadow, group, gshadow. Linux only.

What is ours in them is known entry by entry (:mod:`beonss.targets.journal`). Comments, the order, NIS lines,
accounts below the floor and accounts of others stay as they are. An entry somebody edited by hand is never overwritten
by a delivery: it is found (:meth:`FilesTarget.look`, :mod:`beonss.targets.handedits`) and becomes a change of the
cluster, or is reported and left alone until it is put back, or until an administrator asks for one of the two
(``beonss accounts adopt``, ``reassert``). Many such edits at once stop everything: then the files were replaced,
restored or emptied, and writing would make it worse.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from beonss.core.delivery import (
    ABSENT,
    DELIVERED,
    Outcome,
    PermanentTargetError,
    State,
    UserState,
    is_many,
    judge,
    mark,
)
from beonss.core.edits import Findings
from beonss.core.importing import split_hash
from beonss.core.passwdfile import Line, ShadowLine, UnwritableError
from beonss.targets.accountfiles import FILES, AccountFiles, read_files
from beonss.targets.etcfiles import LOCK_TIMEOUT, Signature, locked, replace_file, signature
from beonss.targets.handedits import (
    EditFinder,
    foreign,
    newcomers,
    past_entry,
    past_values,
    records,
    seen_entries,
    too_many,
)
from beonss.targets.journal import Entry, Journal, Mark

_FLUSHES = (("nscd", "-i", "passwd"), ("nscd", "-i", "group"), ("sss_cache", "-E"))


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


@dataclass(slots=True)
class _Permission:
    """What an administrator allowed, once."""

    names: set[str] = field(default_factory=set)
    everything: bool = False
    shrink: bool = False

    def covers(self, name: str) -> bool:
        return self.everything or name in self.names


@dataclass(slots=True)
class _Edit:
    """What one delivery is about to do."""

    permission: _Permission
    changes: dict[str, dict[str, Line | None]] = field(default_factory=lambda: {name: {} for name in FILES})
    intents: list[Entry] = field(default_factory=list)
    settled: list[Entry] = field(default_factory=list)


class FilesTarget:
    """Delivers states to the account files; blocking, one delivery at a time.

    Raises:
        StoreError: the journal cannot be opened.
    """

    kind = "files"
    #: Every machine has its own files: no other master delivers to them.
    shared = False
    #: A delivery rewrites whole files, so everything that waits goes in one.
    batch_limit: int | None = None

    def __init__(self, settings: FilesSettings, flush: Callable[[], None] | None = None) -> None:
        self.settings = settings
        self.name = settings.name
        self.etc = settings.root / "etc"
        self._journal = Journal(settings.journal)
        self._flush = flush if flush is not None else (flush_caches if str(settings.root) == "/" else lambda: None)
        self._signatures: dict[str, Signature] = {}
        #: As last looked at for edits; and as seen at the last poll.
        self._looked: dict[str, Signature | None] | None = None
        self._polled: dict[str, Signature | None] | None = None
        self._looking: dict[str, Signature | None] | None = None
        self._changed: dict[str, dict[str, str]] = {}
        self._notes: list[Entry] = []
        self._alarm = ""
        self._new: dict[tuple[str, str], str] = {}
        self._edited: dict[tuple[str, str], str] = {}
        self._permission = _Permission()

    def conflicts(self) -> list[str]:
        """Return what stands in the files that is not ours, one sentence each."""
        alarm = [self._alarm] if self._alarm else []
        return alarm + [text for _, text in sorted({**self._new, **self._edited}.items())]

    def reassert(self, names: Iterable[str] | None = None, *, shrink: bool = False) -> None:
        """Let the next delivery overwrite foreign edits of these accounts, or of all; once.

        Args:
            names: users and groups; None means all.
            shrink: let it also take out many accounts at once.
        """
        before = self._permission
        self._permission = _Permission(
            before.names | set(names or ()), before.everything or names is None, before.shrink or shrink
        )

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    # Edits by hand

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

    # Deliveries

    def deliver(self, states: Sequence[State]) -> list[Outcome]:
        """Make the files say what ``states`` say; one outcome per state, in their order.

        Raises:
            TemporaryTargetError: a lock is held, the disk is full, or a file changed meanwhile.
            PermanentTargetError: files are missing, damaged, or not as we left them.
            StoreError: the journal cannot be written.
        """
        permission, self._permission = self._permission, _Permission()
        try:
            outcomes, written = self._deliver(states, permission)
        except Exception:
            later = self._permission
            self._permission = _Permission(
                permission.names | later.names,
                permission.everything or later.everything,
                permission.shrink or later.shrink,
            )
            raise
        if written:
            self._flush()
        return outcomes

    def _deliver(self, states: Sequence[State], permission: _Permission) -> tuple[list[Outcome], bool]:
        with self._locked():
            files = read_files(self.etc, self.settings.uid_floor, self.settings.gid_floor)
            self._sweep(files, permission)
            self._leave(files, permission)
            edit = _Edit(permission)
            wanted = {(isinstance(state, UserState), state.name) for state in states if state.entry is not None}
            outcomes: dict[int, Outcome] = {}
            leaving = [number for number, state in enumerate(states) if state.entry is None]
            refused = self._too_many(files, [states[number] for number in leaving], permission)
            for number in leaving:
                outcomes[number] = refused or self._plan(files, edit, states[number], wanted)
            # After those that leave, so that a name or number they had is free.
            for number, state in enumerate(states):
                if state.entry is not None:
                    outcomes[number] = self._plan(files, edit, state, wanted)
            written = self._write(files, edit)
        return [outcomes[number] for number in range(len(states))], written

    # Guards

    def _sweep(self, files: AccountFiles, permission: _Permission) -> None:
        """Compare everything we delivered with what is there, if somebody else wrote since we did."""
        for name, snapshot in files.snapshots.items():
            if self._signatures.get(name) == snapshot.signature:
                continue
            total = 0
            foreign: list[str] = []
            for entry, kept in self._journal.names(name):
                total += 1
                if files.found(name, entry) not in {kept.base or ABSENT, kept.intent}:
                    foreign.append(entry)
            if is_many(len(foreign), total) and not permission.everything:
                raise PermanentTargetError(
                    f"{snapshot.path}: {len(foreign)} of {total} entries are not as they were delivered "
                    f"({', '.join(sorted(foreign)[:3])} ...); nothing was written. Put the file back, or overwrite "
                    f"it: beonss accounts reassert --target {self.name} --all; or make what is there the cluster's: "
                    f"beonss accounts adopt --target {self.name} --all"
                )
            for key in [key for key in self._edited if key[0] == name and key[1] not in foreign]:
                del self._edited[key]
            for entry in foreign:
                self._edited[name, entry] = self._conflict_text(name, entry)

    def _leave(self, files: AccountFiles, permission: _Permission) -> None:
        """Leave new accounts, of which an administrator said so, to the machine."""
        if permission.names or permission.everything:
            new, notes = newcomers(files, self._journal)
            kept = {file: [name for name in names if permission.covers(name)] for file, names in new.items()}
            self._journal.record([*notes, *seen_entries(kept)])
            self._new = {key: text for key, text in self._new.items() if not permission.covers(key[1])}
            if permission.everything:
                self._alarm = ""

    def _too_many(self, files: AccountFiles, leaving: list[State], permission: _Permission) -> Outcome | None:
        """Return the refusal to take out so many accounts at once, or None."""
        if not leaving or permission.shrink:
            return None
        count = 0
        for state in leaving:
            file = "passwd" if isinstance(state, UserState) else "group"
            if any(name in files.documents[file] for name in self._journal.names_of(file, state.object)):
                count += 1
        total = sum(1 for file in ("passwd", "group") for _ in self._journal.names(file))
        if not (is_many(count, total) or 1 < count == total):
            return None
        return Outcome(
            "refused",
            f"{self.etc}: {count} of {total} accounts would be taken out at once, so none was; "
            f"if that is right: beonss accounts reassert --target {self.name} --shrink",
        )

    def _wrong(self, files: AccountFiles, state: State) -> Outcome | None:
        """Return why this state cannot be written here, or None."""
        entry = state.entry
        assert entry is not None
        if isinstance(state, UserState) and state.entry is not None:
            file, word, number, floor = "passwd", "uid", state.entry.uid, files.uid_floor
            line = files.user(state.name)
            same = line is not None and line.uid == number
            if entry.gid == 0:
                return Outcome("refused", f"{state.name}: its primary group is 0, the group of root")
        else:
            file, word, number, floor = "group", "gid", entry.gid, files.gid_floor
            group = files.group(state.name)
            same = group is not None and group.gid == number
        if number < floor:
            return Outcome("refused", f"{state.name}: {word} {number} is below the floor {floor} of {self.name}")
        if files.is_system(state):
            return Outcome("conflict", f"{self.etc / file}: {state.name} is an account of the machine itself")
        if same:
            return None
        for other in sorted(files.owners(file, number) - {state.name}):
            kept = self._journal.get(file, other)
            if kept is None or kept.object != state.object:
                return Outcome("conflict", f"{self.etc / file}: {word} {number} of {state.name} is {other}'s here")
        return None

    # Deciding

    def _plan(self, files: AccountFiles, edit: _Edit, state: State, wanted: set[tuple[bool, str]]) -> Outcome:
        is_user = isinstance(state, UserState)
        if state.entry is not None:
            wrong = self._wrong(files, state)
            if wrong is not None:
                return wrong
        try:
            lines = files.lines(state)
            for file, line in lines.items():
                if line is not None:
                    files.documents[file].format.line(line)
        except UnwritableError as error:
            return Outcome("refused", str(error))
        texts = []
        # An account that was renamed stands there under its old name too.
        old = self._journal.names_of("passwd" if is_user else "group", state.object) - {state.name}
        for name in sorted(old):
            if (is_user, name) not in wanted:
                texts += [self._settle(files, edit, (file, name), state.object, None) for file in lines]
        kept = self._journal.get("passwd" if is_user else "group", state.name)
        others = kept is not None and kept.object != state.object
        if state.entry is not None or not (others or files.is_system(state)):
            texts += [self._settle(files, edit, (file, state.name), state.object, line) for file, line in lines.items()]
        return next((Outcome("conflict", text) for text in texts if text), DELIVERED)

    def _settle(
        self, files: AccountFiles, edit: _Edit, place: tuple[str, str], object_id: str, want: Line | None
    ) -> str:
        """Decide about one entry, ``place`` being file and name; return the text of a conflict, or nothing."""
        file, name = place
        kept = self._journal.get(file, name)
        base, intent = (kept.base, kept.intent) if kept is not None else (None, None)
        found = files.found(file, name)
        goal = ABSENT if want is None else files.mark(want)
        verdict = judge(base, intent, found, goal)
        if verdict == "conflict" and edit.permission.covers(name):
            verdict = "write"
        if verdict == "conflict":
            text = self._conflict_text(file, name)
            if files.documents[file].count(name) > 1:
                text = f"{self.etc / file}: {name} stands there more than once; take out the lines that are wrong"
            self._edited[file, name] = text
            return text
        self._edited.pop((file, name), None)
        done = Mark(object_id, None if want is None else goal)
        if verdict == "write":
            edit.changes[file][name] = want
            edit.intents.append((file, name, Mark(object_id, None if found == ABSENT else found, goal)))
            edit.settled.append((file, name, done))
        elif kept != done and not (kept is None and want is None):
            edit.settled.append((file, name, done))
        edit.settled += self._history(place, kept, want, goal)
        return ""

    def _history(self, place: tuple[str, str], kept: Mark | None, want: Line | None, goal: str) -> list[Entry]:
        """Return notes of what an entry was before, so that an old file that is put back can be told from an edit."""
        file, name = place
        if want is None:
            kinds = (f"past:{file}", "past:hash") if file == "shadow" else (f"past:{file}",)
            return [(kind, name, Mark("", None)) for kind in kinds if self._journal.get(kind, name) is not None]
        notes = []
        if kept is not None and kept.base is not None and kept.base != goal:
            notes.append(past_entry(self._journal, file, name, kept.base))
        if isinstance(want, ShadowLine):
            hashed = mark(split_hash(want.hash)[0])
            if hashed not in {value for value, _ in past_values(self._journal, "hash", name)[-1:]}:
                notes.append(past_entry(self._journal, "hash", name, hashed))
        return notes

    def _conflict_text(self, file: str, name: str) -> str:
        return f"{self.etc / file}: {name} was written by somebody else and is left alone" + self._ways(name)

    # Writing

    def _write(self, files: AccountFiles, edit: _Edit) -> bool:
        """Note the intent, replace the files, note the success."""
        new: dict[str, bytes] = {}
        for name, snapshot in files.snapshots.items():
            if edit.changes[name]:
                data = b"".join(files.documents[name].edited_lines(edit.changes[name]))
                if data != snapshot.data:
                    new[name] = data
        self._journal.record(edit.intents)
        for name in FILES:
            if name in new:
                replace_file(files.snapshots[name], new[name])
                self._signatures[name] = signature(self.etc / name)
            elif name in files.snapshots:
                self._signatures[name] = files.snapshots[name].signature
        self._journal.record(edit.settled)
        # Written by us, on top of what was read: nothing new for a look, unless somebody had edited before.
        if self._looked is not None and all(
            self._looked.get(name) == snapshot.signature for name, snapshot in files.snapshots.items()
        ):
            self._looked = {name: self._signatures.get(name) for name in FILES}
        return bool(new)


def _signature_of(files: AccountFiles, name: str) -> Signature | None:
    snapshot = files.snapshots.get(name)
    return None if snapshot is None else snapshot.signature


def _signature_or_none(path: Path) -> Signature | None:
    try:
        return signature(path)
    except OSError:
        return None


def flush_caches() -> None:
    """Tell caches of this machine (nscd, sssd) to forget what they read from the account files."""
    for command in _FLUSHES:
        path = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
        if path is not None:
            # A cache that is installed and not running fails here, which is no error of ours.
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(  # noqa: S603 - fixed words, a path of the system's
                    [path, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
                )
