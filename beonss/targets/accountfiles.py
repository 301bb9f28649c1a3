"""The four account files as they were read, and which part of each line is ours to answer for.

Group passwords and administrators, the last field of shadow(5), and members that are accounts of this machine
alone are kept from the line found; the rest of a line is ours, and its digest is what is compared.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beonss.core.accounts.gathering import split_hash
from beonss.core.accounts.passwdfile import (
    GROUP,
    GSHADOW,
    PASSWD,
    SHADOW,
    Document,
    Format,
    GroupLine,
    GshadowLine,
    Line,
    PasswdLine,
    ShadowLine,
    read,
)
from beonss.core.targets.delivery import ABSENT, GroupState, PermanentTargetError, State, UserState, mark, shadow_hash
from beonss.targets.etcfiles import Snapshot, read_file

#: The order of replacement: an account appears in passwd last, when its password is in place.
FILES = ("shadow", "gshadow", "group", "passwd")
_FORMATS: dict[str, Format[Any]] = {"passwd": PASSWD, "shadow": SHADOW, "group": GROUP, "gshadow": GSHADOW}


@dataclass(slots=True)
class AccountFiles:
    """What was read in one look at the files.

    Attributes:
        etc: the directory.
        uid_floor: users with a lower uid belong to the machine.
        gid_floor: groups with a lower gid belong to the machine.
        snapshots: file name to bytes; without ``gshadow`` where the machine has none.
        documents: file name to lines.
    """

    etc: Path
    uid_floor: int
    gid_floor: int
    snapshots: dict[str, Snapshot]
    documents: dict[str, Document[Any]]
    _numbers: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def user(self, name: str) -> PasswdLine | None:
        """Return a user's line."""
        return self.documents["passwd"].find(name)

    def group(self, name: str) -> GroupLine | None:
        """Return a group's line."""
        return self.documents["group"].find(name)

    def is_system(self, state: State) -> bool:
        """Say whether the state's name belongs to an account of the machine itself."""
        return self.is_system_user(state.name) if isinstance(state, UserState) else self._is_system_group(state.name)

    def is_system_user(self, name: str) -> bool:
        """Say whether this is a user below the floor here."""
        line = self.user(name)
        return line is not None and line.uid < self.uid_floor

    def _is_system_group(self, name: str) -> bool:
        line = self.group(name)
        return line is not None and line.gid < self.gid_floor

    def found(self, file: str, name: str) -> str:
        """Return the mark of what stands in a file under a name."""
        document = self.documents[file]
        count = document.count(name)
        if count == 0:
            return ABSENT
        line = document.find(name) if count == 1 else None
        # A line that cannot be read, or stands there twice, is nothing we wrote.
        return "unreadable" if line is None else self.mark(line)

    def mark(self, line: Line) -> str:
        """Return the mark of our part of a line."""
        match line:
            case PasswdLine():
                return mark(line.password, line.uid, line.gid, line.gecos, line.home, line.shell)
            case ShadowLine():
                # However "no password" and "locked" are written, they are the same; an empty field is an open door.
                bare, locked = split_hash(line.hash) if line.hash else ("", False)
                days = (line.minimum, line.maximum, line.warning, line.inactive, line.expires)
                # The day of a password that is not there means nothing.
                return mark(bare, "none" if bare is None else line.changed, locked, *days)
            case GroupLine():
                return mark(line.gid, *sorted(set(line.members) - self._machine_users(line.members)))
            case GshadowLine():
                return mark(*sorted(set(line.members) - self._machine_users(line.members)))

    def _machine_users(self, members: Iterable[str]) -> set[str]:
        return {name for name in members if self.is_system_user(name)}

    def owners(self, file: str, number: int) -> set[str]:
        """Return the names that have a uid (file ``passwd``) or gid (``group``), NIS lines apart."""
        numbers = self._numbers.get(file)
        if numbers is None:
            # From the raw lines: parsing them all would cost ten times as much.
            numbers = self._numbers[file] = {}
            for line in self.documents[file].lines:
                fields = line.split(b":", 3)
                if len(fields) == 4 and fields[2].isdigit() and line[:1] not in {b"#", b"+", b"-"}:
                    name = fields[0].decode("utf-8", "surrogateescape")
                    numbers.setdefault(int(fields[2][:20]), set()).add(name)
        return numbers.get(number, set())

    def lines(self, state: State) -> dict[str, Line | None]:
        """Return the line wanted in each file, None where there is to be none."""
        if isinstance(state, UserState):
            return self._user_lines(state)
        return self._group_lines(state)

    def _user_lines(self, state: UserState) -> dict[str, Line | None]:
        entry, aging, password = state.entry, state.aging, state.password
        if entry is None:
            return {"shadow": None, "passwd": None}
        old: ShadowLine | None = self.documents["shadow"].find(state.name)
        return {
            "shadow": ShadowLine(
                entry.name,
                shadow_hash(password, state.locked),
                password.changed if password is not None else old.changed if old is not None else None,
                aging.minimum,
                aging.maximum,
                aging.warning,
                aging.inactive,
                aging.expires,
                old.flag if old is not None else "",
            ),
            "passwd": PasswdLine(entry.name, "x", entry.uid, entry.gid, entry.gecos, entry.home, entry.shell),
        }

    def _group_lines(self, state: GroupState) -> dict[str, Line | None]:
        lines: dict[str, Line | None] = {"gshadow": None, "group": None}
        if state.entry is not None:
            old = self.group(state.name)
            kept = old.members if old is not None else ()
            here = self._machine_users(kept) - set(state.members)
            members = (*state.members, *(name for name in kept if name in here))
            lines["group"] = GroupLine(state.name, old.password if old is not None else "x", state.entry.gid, members)
            if "gshadow" in self.documents:
                secret: GshadowLine | None = self.documents["gshadow"].find(state.name)
                lines["gshadow"] = GshadowLine(
                    state.name,
                    secret.password if secret is not None else "!",
                    secret.administrators if secret is not None else (),
                    members,
                )
        if "gshadow" not in self.documents:
            del lines["gshadow"]
        return lines


def read_files(etc: Path, uid_floor: int, gid_floor: int) -> AccountFiles:
    """Read the account files of a directory.

    Raises:
        PermanentTargetError: one is missing or unreadable, or root is in neither passwd nor shadow: then the
            files are damaged, and writing them again would make that final.
    """
    snapshots: dict[str, Snapshot] = {}
    documents: dict[str, Document[Any]] = {}
    for name in FILES:
        snapshot = read_file(etc / name)
        if snapshot is not None:
            snapshots[name] = snapshot
            documents[name] = read(_FORMATS[name], snapshot.data)
        elif name != "gshadow":
            raise PermanentTargetError(f"{etc / name} does not exist; this target edits what is there and makes none")
    for name in ("passwd", "shadow"):
        if documents[name].find("root") is None:
            raise PermanentTargetError(f"{etc / name} has no entry for root: is it damaged? Nothing was written")
    return AccountFiles(etc, uid_floor, gid_floor, snapshots, documents)
