"""``beonss restore``: a backup becomes the state directory of a master again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from beonss.admin.backup import show
from beonss.admin.signing import DEFAULT_STATE
from beonss.store.backup import examine, restore


@click.command(name="restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_STATE,
    show_default=True,
    metavar="DIR",
    help="State directory to make; it must hold nothing of a master.",
)
@click.option("--check", is_flag=True, help="Only read the backup and say what is in it.")
def command(file: Path, state: Path, check: bool) -> None:
    """Make the state directory of a master from a backup. Its daemon must not run, and the old machine never again.

    At its next start the master begins a new incarnation, whatever else is so, and fetches from the others what
    happened since. What only it held after the backup was made is lost.

    Exit codes: 0 done, 1 refused or failed and nothing is there, 2 usage.
    """
    if check:
        show(examine(file), file)
        return
    with _progress() as step:
        contents = restore(file, state, step)
    show(contents, file)
    click.echo(f"restored into {state}; start the master, and look at: beonss status")


@contextmanager
def _progress() -> Iterator[Any]:
    console = Console(stderr=True)
    columns = (TextColumn("restoring"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("restore", total=None)
        yield lambda count: progress.update(task, completed=count)
