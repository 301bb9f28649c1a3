"""``beonss accounts import``: files of this machine to the accounts of the cluster, in chunks, through the daemon."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from beonss.admin.directory_import import check_usage, directory_options, read_directory
from beonss.admin.options import control_option, json_option
from beonss.core.accounts.gathering import gather
from beonss.core.accounts.passwdfile import GROUP, PASSWD, SHADOW, Document, Format, read
from beonss.core.accounts.records import Batch, to_json
from beonss.errors import BeonssError, ConfigurationError
from beonss.store.control import ControlClient
from beonss.store.statefile import read_given
from beonss.wire.control import End

#: Accounts in one request: one commit each, short enough for lookups and password changes to slip in between.
CHUNK = 250
#: Characters that count as one account more: a chunk has to fit into one line of the protocol.
_HEAVY = 2048
#: Bytes of one file at the most: a million users have a tenth of it.
_LARGEST = 1 << 30
#: Items told one by one; of more, only those that were left out.
_TOLD = 40


class Asker(Protocol):
    """What is used of :class:`beonss.store.control.ControlClient`."""

    def ask(self, operation: str, parameters: Mapping[str, Any] | None = None) -> End:
        """Send a request and return its end."""


@dataclass(slots=True)
class Tally:
    """What became of an import so far.

    Attributes:
        done: accounts that the daemon has dealt with.
        written: registers written.
    """

    total: int
    done: int = 0
    written: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    items: list[dict[str, Any]] = field(default_factory=list)
    unknown_members: list[list[str]] = field(default_factory=list)

    @property
    def left_out(self) -> list[dict[str, Any]]:
        """Accounts of the files that are not held as the files have them."""
        return [item for item in self.items if item["action"] == "skip"]

    def add(self, count: int, answer: Mapping[str, Any]) -> None:
        """Note the answer for a chunk of ``count`` accounts."""
        self.done += count
        self.written += answer.get("written", 0)
        self.counts.update(answer["counts"])
        self.items += answer["items"]
        self.unknown_members += answer["unknown_members"]


@click.command(name="import", short_help="Import users and groups from files, NIS or a directory.")
@click.option("--passwd", metavar="FILE", help="Users, as passwd(5) or 'ypcat passwd'; '-' is standard input.")
@click.option("--group", metavar="FILE", help="Groups, as group(5) or 'ypcat group'.")
@click.option("--shadow", metavar="FILE", help="Passwords, as shadow(5); without it those in --passwd are taken.")
@directory_options
@click.option("--uid-floor", type=click.IntRange(1), help="Leave out users with a lower uid. Default: the cluster's.")
@click.option("--gid-floor", type=click.IntRange(1), help="Leave out groups with a lower gid. Default: the cluster's.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--overwrite", is_flag=True, help="Take passwords and locks of the files even where ours are newer.")
@click.option("--revive", is_flag=True, help="Make accounts again that were deleted here.")
@json_option
@click.option("--verbose", "-v", is_flag=True, help="Tell of every account.")
@control_option
def command(passwd: str | None, group: str | None, shadow: str | None, control: str | None, **options: Any) -> None:
    """Make users and groups of this machine's files, of NIS maps, or of a directory accounts of the cluster.

    It creates and changes, and never deletes: it can be repeated. Numbers are never changed, and a password held
    here is not replaced by an older one.

    Exit codes: 0 all of it is held now, 1 something was left out or failed (it is told), 2 usage.
    """
    check_usage(options)
    files = [name for name in (passwd, group, shadow) if name is not None]
    if options["uris"] and files:
        raise click.UsageError("either files or --ldap")
    if passwd is None and group is None and not options["uris"]:
        raise click.UsageError("say what to import: --passwd FILE, --group FILE, or --ldap URI")
    if shadow is not None and passwd is None:
        raise click.UsageError("--shadow needs --passwd")
    if [passwd, group, shadow].count("-") > 1:
        raise click.UsageError("only one of the files can be standard input")
    sources = {kind: name for kind, name in (("passwd", passwd), ("group", group), ("shadow", shadow)) if name}
    dry_run = options["dry_run"]
    with ControlClient(control) as client:
        terms = client.ask("accounts.terms").data
        uid_floor = options["uid_floor"] or terms["uid_floor"]
        gid_floor = options["gid_floor"] or terms["gid_floor"]
        if options["uris"]:
            batch = read_directory(options, uid_floor=uid_floor, gid_floor=gid_floor)
        else:
            batch = gather(
                _document(PASSWD, passwd),
                _document(SHADOW, shadow),
                _document(GROUP, group),
                uid_floor=uid_floor,
                gid_floor=gid_floor,
                sources=sources,
            )
        chosen = {word: options[word] for word in ("overwrite", "revive")}
        tally = Tally(len(batch.users) + len(batch.groups))
        error: BeonssError | None = None
        try:
            with _progress(quiet=options["as_json"]) as step:
                for count in run(client, batch, chosen, tally, dry_run=dry_run):
                    step(count, tally.total)
        except BeonssError as failure:
            error = failure
    if options["as_json"]:
        click.echo(json.dumps(document(batch, tally, dry_run=dry_run, error=error), indent=2))
    else:
        show(
            Console(highlight=False, emoji=False, soft_wrap=True),
            batch,
            tally,
            dry_run=dry_run,
            verbose=options["verbose"],
        )
    if error is not None:
        click.echo(
            f"beonss: stopped after {tally.done} of {tally.total} accounts: {error}\n"
            f"What was done stays done; run the same import again for the rest.",
            err=True,
        )
    if error is not None or tally.left_out or batch.skipped:
        raise SystemExit(1)


def run(client: Asker, batch: Batch, options: Mapping[str, bool], tally: Tally, *, dry_run: bool) -> Iterator[int]:
    """Send the chunks, the users first, and yield how many accounts each had.

    Raises:
        BeonssError: the daemon refused a chunk or is gone; those before it are done.
    """
    operation = "accounts.plan" if dry_run else "accounts.import"
    for chunk in chunks([to_json(record) for record in batch.users]):
        answer = client.ask(operation, {"users": chunk, **options})
        tally.add(len(chunk), answer.data)
        yield len(chunk)
    coming = {}
    if dry_run:
        # Nobody was made: the groups' members have to be told who would be.
        coming = {"coming": [item["name"] for item in tally.items if item["action"] == "create"]}
    for chunk in chunks([to_json(record) for record in batch.groups]):
        answer = client.ask(operation, {"groups": chunk, **coming, **options})
        tally.add(len(chunk), answer.data)
        yield len(chunk)


def chunks(records: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut records into chunks of bounded number and size."""
    chunk: list[dict[str, Any]] = []
    weight = 0
    for record in records:
        heavy = 1 + len(json.dumps(record)) // _HEAVY
        if chunk and weight + heavy > CHUNK:
            yield chunk
            chunk, weight = [], 0
        chunk.append(record)
        weight += heavy
    if chunk:
        yield chunk


def _document(kind: Format[Any], name: str | None) -> Document[Any] | None:
    if name is None:
        return None
    try:
        # Not only ordinary files: the shell's <(ypcat passwd) is a FIFO.
        data = sys.stdin.buffer.read(_LARGEST + 1) if name == "-" else read_given(Path(name), _LARGEST, ordinary=False)
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror}; nothing was imported") from None
    if len(data) > _LARGEST:
        raise ConfigurationError(f"standard input has more than {_LARGEST >> 20} MiB; nothing was imported")
    return read(kind, data)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Any]:
    console = Console(stderr=True)
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("import", total=None)
        yield lambda count, total: progress.update(task, advance=count, total=total)


def document(batch: Batch, tally: Tally, *, dry_run: bool, error: BeonssError | None) -> dict[str, Any]:
    """Return the result as plain data."""
    return {
        "dry_run": dry_run,
        "error": None if error is None else str(error),
        "total": tally.total,
        "done": tally.done,
        "written": tally.written,
        "below_floor": batch.below_floor,
        "counts": dict(tally.counts),
        "items": tally.items,
        "skipped_lines": [asdict(skipped) for skipped in batch.skipped],
        "unknown_members": tally.unknown_members,
    }


def show(console: Console, batch: Batch, tally: Tally, *, dry_run: bool, verbose: bool) -> None:
    """Print the result for people: what was left out always, the rest if it is not too much."""
    few = verbose or len(tally.items) <= _TOLD
    for skipped in batch.skipped:
        name = f" {skipped.name}" if skipped.name else ""
        # An entry of a directory has no line.
        place = f"{skipped.source}:{skipped.line}" if skipped.line else skipped.source
        console.print(f"left out: {place}:{name} {skipped.reason}", markup=False)
    for item in tally.items:
        details = ", ".join(item["details"])
        if item["action"] == "skip":
            console.print(f"left out: {item['kind']} {item['name']}: {details}", markup=False)
        elif few:
            word = {"create": "new", "change": "changed", "unchanged": "unchanged"}[item["action"]]
            console.print(f"{word}: {item['kind']} {item['name']}" + (f" ({details})" if details else ""), markup=False)
    for group, member in tally.unknown_members[: None if few else _TOLD]:
        console.print(f"unknown member: {member} of group {group}: no such user here", markup=False)
    for kind in ("user", "group"):
        counts = {word: tally.counts[f"{kind}:{word}"] for word in ("create", "change", "unchanged", "skip")}
        if any(counts.values()):
            would = "would be " if dry_run else ""
            console.print(
                f"{kind}s: {counts['create']} {would}created, {counts['change']} {would}changed, "
                f"{counts['unchanged']} unchanged, {counts['skip']} left out"
            )
    if batch.below_floor:
        console.print(
            f"{batch.below_floor} accounts of the system itself (below the floor, or nobody) were not looked at"
        )
    if dry_run:
        console.print("nothing was written (--dry-run)")
