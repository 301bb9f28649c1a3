"""What somebody changed in the account files by hand: ``passwd``, ``usermod``, ``useradd``, ``vipw``.

The three-way look. An entry that is neither as we delivered it (*base*) nor as we were about to (*intent*) was edited.
The edit is taken over if base is still what the cluster wants there: then the difference is the edit and nothing
else. If it is not, two people changed one entry, and one of them has to say who is right.

Never taken over by itself: an entry that was taken out (a deletion is for good, and an old file put back looks the
same), an old password that is back, an empty password, another number, a value that goes back and forth.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from beonss.core.accounts.admission import NOBODY
from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.accounts.gathering import gather, split_hash
from beonss.core.accounts.passwdfile import GROUP, PASSWD, Document, GroupLine, PasswdLine, ShadowLine
from beonss.core.accounts.records import Batch
from beonss.core.targets.delivery import ABSENT, GroupState, State, UserState, is_many, mark
from beonss.core.targets.edits import FLIP_SPAN, FLIPS, AccountEdit
from beonss.errors import ConfigurationError
from beonss.targets.accountfiles import AccountFiles
from beonss.targets.journal import Entry, Journal, Mark

#: Marks of former values that are remembered for one entry.
PAST = 8
_BASELINE = ("seen", "baseline")


@dataclass(frozen=True, slots=True)
class Problem:
    """An edit that is left alone, and why; ``file`` and ``name`` are its place."""

    file: str
    name: str
    text: str


def foreign(files: AccountFiles, journal: Journal) -> dict[str, dict[str, str]]:
    """Return what was delivered and is not there as delivered: file to name to the account's id."""
    return {
        file: {
            name: kept.object
            for name, kept in journal.names(file)
            if files.found(file, name) not in {kept.base or ABSENT, kept.intent}
        }
        for file in files.documents
    }


class EditFinder:
    """Finds edits in files that were read under the lock.

    Args:
        files: as read.
        journal: what was delivered to them.
        adopt: names whose edits an administrator wants taken over whatever speaks against it; None means all.
        now: seconds since the epoch.

    Attributes:
        problems: edits that are left alone, after :meth:`edits`.
        notes: for the journal: which values were taken over.
    """

    def __init__(self, files: AccountFiles, journal: Journal, adopt: Collection[str] | None, now: float) -> None:
        self._files = files
        self._journal = journal
        self._adopt = adopt
        self._now = now
        self._renamed: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.notes: list[Entry] = []

    def edits(self, states: Iterable[State]) -> list[AccountEdit]:
        """Return the edits of accounts that stand in the files otherwise than delivered, users first.

        Args:
            states: the accounts that :func:`foreign` named, as the cluster wants them now.
        """
        changed = foreign(self._files, self._journal)
        found: list[AccountEdit] = []
        ordered = sorted(states, key=lambda state: (isinstance(state, GroupState), state.name))
        for state in ordered:
            edited = {file for file, names in changed.items() if state.name in names}
            if not edited or state.entry is None:
                continue
            edit = self._user(state, edited) if isinstance(state, UserState) else self._group(state, edited)
            if edit is not None and edit.parts:
                found.append(edit)
        return found

    def _adopted(self, name: str) -> bool:
        return self._adopt is None or name in self._adopt

    def _problem(self, file: str, name: str, text: str) -> None:
        self.problems.append(Problem(file, name, f"{self._files.etc / file}: {text}"))

    def _may(self, state: State, edited: set[str]) -> bool:
        """Say whether an account's edits may be taken over: base is the winner, and nothing goes back and forth."""
        if self._adopted(state.name):
            return True
        wanted = self._files.lines(state)
        good = True
        for file in sorted(edited & set(wanted)):
            kept, want = self._journal.get(file, state.name), wanted[file]
            goal = ABSENT if want is None else self._files.mark(want)
            found = self._files.found(file, state.name)
            if found == goal:
                continue
            if kept is None or goal not in {kept.base, kept.intent}:
                self._problem(file, state.name, f"{state.name} was edited here, and changed in the cluster too")
                good = False
            elif self._flips(file, state.name, found):
                self._problem(
                    file, state.name, f"{state.name} goes back and forth: does some program put old files back?"
                )
                good = False
        return good

    def _flips(self, file: str, name: str, found: str) -> bool:
        past = past_values(self._journal, file, name)
        returns = sum(1 for value, when in past if value == found and when)
        recent = [when for value, when in past if value == found and when and self._now - when < FLIP_SPAN]
        if any(value == found for value, _ in past):
            self.notes.append(_past_entry(past, file, name, found, self._now))
        return returns >= FLIPS and bool(recent)

    def _user(self, state: UserState, edited: set[str]) -> AccountEdit | None:
        entry, name = state.entry, state.name
        assert entry is not None
        edit = AccountEdit("user", state.object, name)
        line, shadow, now_named = self._lines(state)
        if line is None:
            if self._adopted(name) and self._files.found("passwd", name) == ABSENT:
                return replace(edit, deleted=True)
            self._gone("passwd", name)
            return None
        if not self._may(state, edited):
            return None
        wrong = None
        if line.password != "x":  # noqa: S105 - the mark of shadow(5)
            wrong = "holds a password in passwd; move it to shadow: pwconv"
        elif line.uid != entry.uid:
            wrong = f"has uid {line.uid} here and {entry.uid} in the cluster, where numbers are never changed"
        elif line.gid == 0:
            wrong = "has the primary group 0, the group of root"
        if wrong is not None:
            self._problem("passwd", name, f"{name} {wrong}")
            return None
        new = UserEntry(now_named, line.uid, line.gid, line.gecos, line.home, line.shell)
        if "passwd" in edited and new != entry:
            edit = replace(edit, entry=new)
            if now_named != name:
                self._renamed[now_named] = name
        if "shadow" not in edited:
            return edit
        if shadow is None:
            self._gone("shadow", name)
            return edit
        return self._secret(state, shadow, edit)

    def _secret(self, state: UserState, line: ShadowLine, edit: AccountEdit) -> AccountEdit | None:
        name = state.name
        if not line.hash:
            self._problem("shadow", name, f"{name} has an empty password, which would let anybody in")
            return edit if edit.parts else None
        bare, locked = split_hash(line.hash)
        before = None if state.password is None else split_hash(state.password.hash)[0]
        if bare != before:
            old = {value for value, _ in past_values(self._journal, "hash", name)}
            if bare is not None and mark(bare) in old and not self._adopted(name):
                self._problem("shadow", name, f"{name} has an older password again: was an old file put back?")
                return None
            edit = replace(edit, password=Password("*" if bare is None else bare, line.changed))
        elif bare is not None and state.password is not None and line.changed != state.password.changed:
            edit = replace(edit, password=Password(state.password.hash, line.changed))
        aging = Aging(line.minimum, line.maximum, line.warning, line.inactive, line.expires)
        if aging != state.aging:
            edit = replace(edit, aging=aging)
        return replace(edit, locked=locked) if locked != state.locked else edit

    def _lines(self, state: UserState) -> tuple[PasswdLine | None, ShadowLine | None, str]:
        """Return a user's lines and the name under which they stand: ``usermod -l`` keeps the uid."""
        files, name = self._files, state.name
        assert state.entry is not None
        if files.found("passwd", name) == ABSENT:
            others = files.owners("passwd", state.entry.uid)
            if len(others) == 1 and self._journal.get("passwd", next(iter(others))) is None:
                name = next(iter(others))
        readable = files.documents["passwd"].count(name) == 1
        secret: ShadowLine | None = files.documents["shadow"].find(name)
        return (files.user(name) if readable else None), secret, name

    def _gone(self, file: str, name: str) -> None:
        count = self._files.documents[file].count(name)
        words = "stands there more than once" if count > 1 else "cannot be read" if count else "was taken out"
        self._problem(file, name, f"{name} {words}")

    def _group(self, state: GroupState, edited: set[str]) -> AccountEdit | None:
        files, name = self._files, state.name
        assert state.entry is not None
        edit = AccountEdit("group", state.object, name)
        now_named = name
        if files.found("group", name) == ABSENT:
            others = files.owners("group", state.entry.gid)
            if len(others) == 1 and self._journal.get("group", next(iter(others))) is None:
                now_named = next(iter(others))
        line = files.group(now_named) if files.documents["group"].count(now_named) == 1 else None
        if line is None:
            if self._adopted(name) and files.found("group", name) == ABSENT:
                return replace(edit, deleted=True)
            self._gone("group", name)
            return None
        if not self._may(state, edited):
            return None
        if line.gid != state.entry.gid:
            self._problem(
                "group",
                name,
                f"{name} has gid {line.gid} here and {state.entry.gid} in the cluster, where numbers are never changed",
            )
            return None
        if "group" not in edited:
            self._problem("gshadow", name, f"{name} has other members than in {files.etc / 'group'}")
            return None
        if now_named != name:
            edit = replace(edit, entry=GroupEntry(now_named, line.gid))
        there = {self._renamed.get(member, member) for member in line.members if not files.is_system_user(member)}
        wanted = set(state.members)
        return replace(edit, add=tuple(sorted(there - wanted)), remove=tuple(sorted(wanted - there)))


def past_values(journal: Journal, file: str, name: str) -> list[tuple[str, int]]:
    """Return marks that an entry had before, the latest last, and when (seconds) it came back to each; 0 for never."""
    kept = journal.get(f"past:{file}", name)
    if kept is None or kept.base is None:
        return []
    values = []
    for word in kept.base.split(" "):
        value, _, when = word.partition("@")
        values.append((value, int(when) if when.isdigit() else 0))
    return values


def past_entry(journal: Journal, file: str, name: str, value: str) -> Entry:
    """Return the note that an entry had this value until now."""
    return _past_entry(past_values(journal, file, name), file, name, value, 0)


def _past_entry(past: list[tuple[str, int]], file: str, name: str, value: str, when: float) -> Entry:
    kept = [(old, at) for old, at in past if old != value][-(PAST - 1) :]
    before = max((at for old, at in past if old == value), default=0)
    words = [f"{old}@{at}" if at else old for old, at in [*kept, (value, int(when) or before)]]
    return (f"past:{file}", name, Mark("", " ".join(words)))


# New accounts


def newcomers(files: AccountFiles, journal: Journal) -> tuple[dict[str, list[str]], list[Entry]]:
    """Return the names, by file, that are neither ours nor were there before us; and notes for the journal.

    The first look at a machine takes what is there for its own: only what comes later is new.
    """
    first = journal.get(*_BASELINE) is None
    notes: list[Entry] = [(*_BASELINE, Mark("", "1"))] if first else []
    new: dict[str, list[str]] = {"passwd": [], "group": []}
    for file, names in new.items():
        seen = f"seen:{file}"
        for name in _strangers(files, journal, file):
            if first:
                notes.append((seen, name, Mark("", "1")))
            elif journal.get(seen, name) is None:
                names.append(name)
        for name, _ in list(journal.names(seen)):
            if name not in files.documents[file] or journal.get(file, name) is not None:
                notes.append((seen, name, Mark("", None)))
    return new, notes


def seen_entries(names: Mapping[str, Iterable[str]]) -> list[Entry]:
    """Return the notes that these names, by file, are the machine's own."""
    return [(f"seen:{file}", name, Mark("", "1")) for file, found in names.items() for name in found]


def _strangers(files: AccountFiles, journal: Journal, file: str) -> Iterator[str]:
    document: Document[Any] = files.documents[file]
    floor = files.uid_floor if file == "passwd" else files.gid_floor
    for name in document.names():
        if journal.get(file, name) is not None:
            continue
        line = document.find(name)
        number = line.uid if isinstance(line, PasswdLine) else line.gid if isinstance(line, GroupLine) else -1
        if number >= floor and number not in NOBODY:
            yield name


def records(files: AccountFiles, names: Mapping[str, Collection[str]]) -> Batch:
    """Return accounts of the files as records to import."""

    def only(file: str, kind: Any) -> Document[Any]:
        lines = (files.documents[file].find(name) for name in names[file])
        return Document(kind, tuple(kind.line(line) for line in lines if line is not None))

    try:
        return gather(
            only("passwd", PASSWD),
            files.documents["shadow"],
            only("group", GROUP),
            uid_floor=files.uid_floor,
            gid_floor=files.gid_floor,
        )
    except ConfigurationError:
        return Batch((), (), ())


def too_many(edited: int, new: int, total: int) -> str | None:
    """Say why so many differences at once are no edits, or None."""
    if not is_many(edited + new, total):
        return None
    return f"{edited} of {total} accounts are not as they were delivered and {new} are new, all at once"
