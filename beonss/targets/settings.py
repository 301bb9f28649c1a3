"""The file that names a master's delivery targets and sources, checked before anything is opened.

One ``[[target]]`` for each target, one ``[[source]]`` for each source of accounts.

Every mistake is told with its line, as for the cluster's description.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from beonss.core.names.description import DescriptionError, Problem
from beonss.targets.command import CommandSettings, CommandTarget
from beonss.targets.directory import DirectorySettings
from beonss.targets.etcfiles import LOCK_TIMEOUT
from beonss.targets.files import FilesSettings, FilesTarget
from beonss.targets.ldap import DEFAULT_FILTER, LdapSettings, LdapTarget
from beonss.targets.ldapservers import LdapServer, uri_problem
from beonss.wire import description_shape as shape
from beonss.wire.toml_lines import LineMap, TooDeepError, locate
from beonss.wire.toml_lines import Path as Place

TargetSettings = FilesSettings | LdapSettings | CommandSettings
AnyTarget = FilesTarget | LdapTarget | CommandTarget

#: More than enough for a file that a person writes.
MAX_BYTES = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)
_TYPES = ("files", "ldap", "command")

Seconds = Annotated[float, Field(gt=0, le=3600)]
Floor = Annotated[int, Field(ge=1, lt=2**32)]
Filter = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^\(.*\)$")]
Attribute = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]


class _Files(shape.Shape):
    name: shape.Text
    type: Literal["files"]
    root: shape.Text = "/"
    uid_floor: Floor | None = None
    gid_floor: Floor | None = None
    lock_timeout: Seconds = LOCK_TIMEOUT
    edits: Literal["import", "report"] = "import"


class _Ldap(shape.Shape):
    name: shape.Text
    type: Literal["ldap"]
    uris: Annotated[list[shape.Text], Field(min_length=1, max_length=16)]
    base: shape.Text
    bind_dn: shape.Text | None = None
    password_file: shape.Text | None = None
    starttls: bool = True
    ca_file: shape.Text | None = None
    timeout: Seconds = 10.0
    filter: Annotated[str, Field(min_length=1, max_length=1024)] = DEFAULT_FILTER
    attribute: Attribute = "userPassword"
    prefix: Annotated[str, Field(max_length=32)] = "{CRYPT}"
    mode: Literal["hash", "exop", "refuse"] = "hash"
    takeover: Literal["never", "next-change"] = "never"
    shadow: bool = True


class _Command(shape.Shape):
    name: shape.Text
    type: Literal["command"]
    argv: Annotated[list[shape.Text], Field(min_length=1, max_length=64)]
    timeout: Seconds = 30.0
    shared: bool = False


class _Source(shape.Shape):
    name: shape.Text
    type: Literal["ldap"]
    uris: Annotated[list[shape.Text], Field(min_length=1, max_length=16)]
    users: shape.Text
    groups: shape.Text | None = None
    bind_dn: shape.Text | None = None
    password_file: shape.Text | None = None
    starttls: bool = True
    ca_file: shape.Text | None = None
    timeout: Seconds = 10.0
    user_filter: Filter = "(objectClass=posixAccount)"
    group_filter: Filter = "(objectClass=posixGroup)"
    schema_: Annotated[Literal["rfc2307", "rfc2307bis"], Field(alias="schema")] = "rfc2307"
    passwords: bool = True
    missing: Literal["report", "lock", "delete"] = "report"
    uid_floor: Floor | None = None
    gid_floor: Floor | None = None
    interval: Seconds = 60.0
    full: Annotated[float, Field(gt=0, le=7 * 86400)] = 3600.0


_SHAPES: dict[str, type[_Files | _Ldap | _Command]] = {"files": _Files, "ldap": _Ldap, "command": _Command}


class _Reading:
    """One pass over the file that collects problems instead of stopping."""

    def __init__(self, filename: str, lines: LineMap) -> None:
        self.filename = filename
        self.lines = lines
        self.problems: list[Problem] = []

    def at(self, path: Place, text: str) -> None:
        self.problems.append(Problem(self.filename, self.lines.line(path), shape.option(path), text))

    def entries(self, document: Mapping[str, Any], kind: str) -> list[Any]:
        """Return what stands under ``[[kind]]``, nothing where that is no array of tables."""
        entries = document.get(kind, [])
        if isinstance(entries, list):
            return entries
        self.at((kind,), f"must be an array of tables; write [[{kind}]]")
        return []

    def check_name(self, path: Place, name: str) -> None:
        if not _NAME.fullmatch(name):
            self.at((*path, "name"), "must be 1 to 32 lower-case letters, digits, '_', '-' and '.'")


def parse(
    data: bytes, filename: str, journals: Path, *, uid_floor: int = 1000, gid_floor: int = 1000
) -> tuple[TargetSettings, ...]:
    """Read the file of targets.

    Args:
        data: its bytes.
        filename: for messages.
        journals: the directory in which each target remembers what it was given.
        uid_floor: of the cluster; where a ``files`` target names none.
        gid_floor: of the cluster.

    Raises:
        DescriptionError: every mistake found, with its line.
    """
    document, lines = _document(data, filename)
    reading = _Reading(filename, lines)
    for name in document:
        if name not in {"target", "source"}:
            reading.at((name,), shape.unknown(name, ("target", "source")))
    entries = reading.entries(document, "target")
    if not entries and not reading.problems and "source" not in document:
        reading.at((), "names no target; write [[target]], or start the master without --targets")
    settings: list[TargetSettings] = []
    names: set[str] = set()
    for number, entry in enumerate(entries):
        made = _target(reading, ("target", number), entry, journals, (uid_floor, gid_floor))
        if made is None:
            continue
        if made.name in names:
            reading.at(("target", number, "name"), f"{made.name!r} is the name of another target already")
        names.add(made.name)
        settings.append(made)
    if reading.problems:
        raise DescriptionError(reading.problems)
    return tuple(settings)


def parse_sources(
    data: bytes, filename: str, journals: Path, *, uid_floor: int = 1000, gid_floor: int = 1000
) -> tuple[DirectorySettings, ...]:
    """Read the sources of the file of targets; arguments as for :func:`parse`, which looks at the rest of the file.

    Raises:
        DescriptionError: every mistake found in them, with its line.
    """
    document, lines = _document(data, filename)
    reading = _Reading(filename, lines)
    entries = reading.entries(document, "source")
    targets = document.get("target", [])
    names = {one.get("name") for one in targets if isinstance(one, dict)} if isinstance(targets, list) else set()
    made = []
    for number, entry in enumerate(entries):
        one = _source(reading, ("source", number), entry, journals, (uid_floor, gid_floor))
        if one is not None:
            if one.name in names:
                reading.at(("source", number, "name"), f"{one.name!r} is the name of another target or source already")
            names.add(one.name)
            made.append(one)
    if reading.problems:
        raise DescriptionError(reading.problems)
    return tuple(made)


def _source(
    reading: _Reading, path: Place, entry: object, journals: Path, floors: tuple[int, int]
) -> DirectorySettings | None:
    if not isinstance(entry, dict):
        reading.at(path, "must be a table; write [[source]]")
        return None
    model, mistakes = shape.read(_Source, entry)
    for where, text in mistakes:
        reading.at((*path, *where), text)
    if model is None:
        return None
    reading.check_name(path, model.name)
    server = _server(reading, path, model)
    return DirectorySettings(
        model.name,
        server,
        journals / f"{model.name}.source",
        model.users,
        model.groups,
        model.user_filter,
        model.group_filter,
        model.schema_,
        model.passwords,
        model.missing,
        floors[0] if model.uid_floor is None else model.uid_floor,
        floors[1] if model.gid_floor is None else model.gid_floor,
        model.interval,
        model.full,
    )


def _document(data: bytes, filename: str) -> tuple[dict[str, Any], LineMap]:
    def refuse(line: int, text: str) -> DescriptionError:
        return DescriptionError([Problem(filename, line, "", text)])

    if len(data) > MAX_BYTES:
        raise refuse(0, f"is longer than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(data.count(b"\n", 0, error.start) + 1, "is not UTF-8; save the file as UTF-8") from None
    try:
        lines = locate(data)
    except TooDeepError as error:
        raise refuse(error.line, "is nested too deeply") from None
    try:
        return tomllib.loads(text), lines
    except (ValueError, RecursionError, OverflowError) as error:
        said = str(error)
        found = re.search(r"\(at line (\d+)", said)
        raise refuse(
            int(found[1]) if found else 0, f"not valid TOML: {said.split(' (at ', maxsplit=1)[0][:200]}"
        ) from None


def _target(
    reading: _Reading, path: Place, entry: object, journals: Path, floors: tuple[int, int]
) -> TargetSettings | None:
    if not isinstance(entry, dict):
        reading.at(path, "must be a table; write [[target]]")
        return None
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        reading.at((*path, "type"), f"must be one of {', '.join(map(repr, _TYPES))}")
        return None
    model, mistakes = shape.read(_SHAPES[kind], entry)
    for where, text in mistakes:
        reading.at((*path, *where), text)
    if model is None:
        return None
    before = len(reading.problems)
    reading.check_name(path, model.name)
    if isinstance(model, _Files):
        made: TargetSettings = _files(reading, path, model, journals, floors)
    elif isinstance(model, _Ldap):
        made = _ldap(reading, path, model, journals)
    else:
        if not model.argv[0].startswith("/"):
            reading.at((*path, "argv", 0), "must be the absolute path of a program")
        made = CommandSettings(model.name, tuple(model.argv), model.timeout, model.shared)
    return made if len(reading.problems) == before else None


def _files(reading: _Reading, path: Place, model: _Files, journals: Path, floors: tuple[int, int]) -> FilesSettings:
    if not model.root.startswith("/"):
        reading.at((*path, "root"), "must be an absolute path")
    return FilesSettings(
        model.name,
        Path(model.root),
        _journal(journals, model.name),
        floors[0] if model.uid_floor is None else model.uid_floor,
        floors[1] if model.gid_floor is None else model.gid_floor,
        model.lock_timeout,
        model.edits,
    )


def _server(reading: _Reading, path: Place, model: _Ldap | _Source) -> LdapServer:
    """Return where a directory is, after a look at what is said of that."""
    for number, uri in enumerate(model.uris):
        wrong = uri_problem(uri, starttls=model.starttls)
        if wrong is not None:
            reading.at((*path, "uris", number), wrong)
        elif model.bind_dn is None and not uri.startswith("ldapi:"):
            reading.at(
                (*path, "uris", number), "needs bind_dn and password_file; only ldapi:// knows who we are without"
            )
    if (model.bind_dn is None) != (model.password_file is None):
        reading.at((*path, "bind_dn"), "bind_dn and password_file belong together")
    for option in ("password_file", "ca_file"):
        value = getattr(model, option)
        if value is not None and not value.startswith("/"):
            reading.at((*path, option), "must be an absolute path")
    return LdapServer(
        tuple(model.uris),
        model.bind_dn,
        None if model.password_file is None else Path(model.password_file),
        model.starttls,
        None if model.ca_file is None else Path(model.ca_file),
        model.timeout,
    )


def _ldap(reading: _Reading, path: Place, model: _Ldap, journals: Path) -> LdapSettings:
    server = _server(reading, path, model)
    if "{name}" not in model.filter or model.filter.count("(") != model.filter.count(")"):
        reading.at((*path, "filter"), "must be a filter in which {name} stands for the login name")
    return LdapSettings(
        model.name,
        server,
        _journal(journals, model.name),
        model.base,
        model.filter,
        model.attribute,
        model.prefix,
        model.mode,
        model.takeover,
        model.shadow,
    )


def _journal(journals: Path, name: str) -> Path:
    return journals / f"{name}.journal"


def open_targets(settings: Sequence[TargetSettings]) -> list[AnyTarget]:
    """Open the targets' journals; nothing else is touched until the first delivery.

    Raises:
        StoreError: a journal cannot be opened.
    """
    opened: list[AnyTarget] = []
    try:
        for one in settings:
            if isinstance(one, FilesSettings):
                opened.append(FilesTarget(one))
            elif isinstance(one, LdapSettings):
                opened.append(LdapTarget(one))
            else:
                opened.append(CommandTarget(one))
    except BaseException:
        for target in opened:
            target.close()
        raise
    return opened
