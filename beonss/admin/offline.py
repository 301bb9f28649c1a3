"""The state directory of a stopped master, for commands that do not need it to run."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from beonss.errors import ConfigurationError
from beonss.store.database import Database
from beonss.store.firststart import check_database
from beonss.store.keys import load_roster
from beonss.store.statedirectory import DATABASE, DirectoryInUse, holding

F = TypeVar("F", bound=Callable[..., Any])


def stopped_option(command: F) -> F:
    """Add ``--state`` to a command that asks the running master otherwise; see :func:`refuse_both`."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Read this state directory of a stopped master instead of asking the running one.",
    )(command)


def refuse_both(state: Path | None, control: str | None) -> None:
    """Make sure that one master is named at the most, by ``--state`` or by ``--control``.

    Raises:
        UsageError: both are given.
    """
    if state is not None and control is not None:
        raise click.UsageError("either --state, of a stopped master, or --control, of a running one")


@contextmanager
def opened(state: Path) -> Iterator[Database]:
    """Open the accounts of a stopped master, and keep it from being started meanwhile.

    Raises:
        ConfigurationError: there are none, or the master runs.
        StoreError: they cannot be read.
    """
    roster = load_roster(state)
    if not (state / DATABASE).exists():
        raise ConfigurationError(f"{state} holds no accounts ({DATABASE}); its master has not been started yet")
    check_database(state / DATABASE, alone=len(roster.joined()) < 2)
    try:
        with holding(state), closing(Database(state / DATABASE, roster.cluster)) as database:
            yield database
    except DirectoryInUse:
        raise ConfigurationError(f"the master of {state} runs; leave out --state to ask it") from None
