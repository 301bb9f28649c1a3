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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from beonss.core.accounts.gathering import split_hash
from beonss.core.accounts.passwdfile import Line, ShadowLine, UnwritableError
from beonss.core.targets.delivery import (
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
from beonss.targets.accountfiles import FILES, AccountFiles, read_files
from beonss.targets.editedfiles import EditedFiles, FilesSettings
from beonss.targets.etcfiles import replace_file, signature
from beonss.targets.handedits import past_entry, past_values
from beonss.targets.journal import Entry, Mark
from beonss.targets.movements import Movements

__all__ = ["FilesSettings", "FilesTarget", "flush_caches"]

_FLUSHES = (("nscd", "-i", "passwd"), ("nscd", "-i", "group"), ("sss_cache", "-E"))


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


class FilesTarget(EditedFiles):
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
        super().__init__(settings)
        self._flush = flush if flush is not None else (flush_caches if str(settings.root) == "/" else lambda: None)
        self._permission = _Permission()

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
            if permission.names or permission.everything:
                self._leave(files, None if permission.everything else permission.names)
            edit = _Edit(permission)
            wanted = {(isinstance(state, UserState), state.name) for state in states if state.entry is not None}
            lines = [files.lines(state) for state in states]
            overtaken = self._overtaken(states, permission)
            outcomes = self._wrong(files, states, lines, permission)
            moves = Movements(files, self._journal, permission.covers, overtaken=bool(overtaken))
            outcomes |= moves.stuck(states, lines, outcomes)
            for number, state in enumerate(states):
                if number not in outcomes:
                    outcomes[number] = self._plan(files, edit, state, lines[number], wanted)
                elif state.name in overtaken and state.entry is not None:
                    self._take_out(files, edit, state, lines[number])
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

    def _wrong(
        self,
        files: AccountFiles,
        states: Sequence[State],
        lines: Sequence[Mapping[str, Line | None]],
        permission: _Permission,
    ) -> dict[int, Outcome]:
        """Return which states are not written here, by their place in ``states``, and why."""
        wrong: dict[int, Outcome] = {}
        refused = self._too_many(files, [state for state in states if state.entry is None], permission)
        for number, state in enumerate(states):
            outcome = refused if state.entry is None else self._unfit(files, state)
            try:
                for file, line in lines[number].items():
                    if line is not None:
                        files.documents[file].format.line(line)
            except UnwritableError as error:
                outcome = outcome or Outcome("refused", str(error))
            if outcome is not None:
                wrong[number] = outcome
        return wrong

    def _overtaken(self, states: Sequence[State], permission: _Permission) -> set[str]:
        """Return the names that were written here for other accounts than have them now; none if suspiciously many.

        Whoever had such a name was deleted or renamed. If the new owner cannot be written, the old line goes all the
        same: it would let in somebody who is not there any more.
        """
        found = set()
        for state in states:
            kept = self._journal.get("passwd" if isinstance(state, UserState) else "group", state.name)
            if state.entry is not None and kept is not None and kept.object != state.object:
                found.add(state.name)
        total = sum(1 for file in ("passwd", "group") for _ in self._journal.names(file)) if found else 0
        return set() if is_many(len(found), total) and not permission.shrink else found

    def _take_out(self, files: AccountFiles, edit: _Edit, state: State, lines: Mapping[str, Line | None]) -> None:
        """Take out what stands under an account's name and belongs to another one."""
        for file in lines:
            kept = self._journal.get(file, state.name)
            if kept is not None and kept.object != state.object:
                self._settle(files, edit, (file, state.name), kept.object, None)

    def _unfit(self, files: AccountFiles, state: State) -> Outcome | None:
        """Return why an account can have no place in these files, whoever else is in them, or None."""
        if isinstance(state, UserState):
            assert state.entry is not None
            file, word, number, floor = "passwd", "uid", state.entry.uid, files.uid_floor
            if state.entry.gid == 0:
                return Outcome("refused", f"{state.name}: its primary group is 0, the group of root")
        else:
            assert state.entry is not None
            file, word, number, floor = "group", "gid", state.entry.gid, files.gid_floor
        if number < floor:
            return Outcome("refused", f"{state.name}: {word} {number} is below the floor {floor} of {self.name}")
        if files.is_system(state):
            return Outcome("conflict", f"{self.etc / file}: {state.name} is an account of the machine itself")
        return None

    # Deciding

    def _plan(
        self,
        files: AccountFiles,
        edit: _Edit,
        state: State,
        lines: Mapping[str, Line | None],
        wanted: set[tuple[bool, str]],
    ) -> Outcome:
        is_user = isinstance(state, UserState)
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
        self._wrote(files)
        return bool(new)


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
