"""Options that several commands have, with one text each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from beonss.store.statedirectory import CLUSTER_KEY

DEFAULT_STATE = "/var/lib/beonss"
F = TypeVar("F", bound=Callable[..., Any])


def control_option(command: F) -> F:
    """Add ``--control``."""
    return click.option("--control", metavar="PATH", help="Control socket of the daemon; default /run/beonss/control.")(
        command
    )


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def change_options(command: F) -> F:
    """Add ``--dry-run``, ``--json`` and ``--control``."""
    option = click.option("--dry-run", is_flag=True, help="Only say what would be done, or refused.")
    return option(json_option(control_option(command)))


def several_options(command: F) -> F:
    """Add ``--keep-going`` and what :func:`change_options` adds, for commands that take several names."""
    option = click.option(
        "--keep-going", is_flag=True, help="Do it for those names for which it can be done. Default: for all or none."
    )
    return option(change_options(command))


def state_option(command: F) -> F:
    """Add ``--state``."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STATE,
        show_default=True,
        help="State directory of this master.",
    )(command)


def own_state_option(command: F) -> F:
    """Add ``--state`` to a command of a group that has one of its own, which holds where this is not given."""
    return click.option(
        "--state",
        "own_state",
        type=click.Path(path_type=Path, file_okay=False),
        help="State directory of this master.",
    )(command)


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


def key_option(command: F) -> F:
    """Add ``--cluster-key``."""
    return click.option(
        "--cluster-key",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help=f"The cluster's private key. Default: {CLUSTER_KEY} in the state directory.",
    )(command)


def valid_option(command: F) -> F:
    """Add ``--valid``, for how long a token is good."""
    return click.option(
        "--valid", default="24h", show_default=True, metavar="DURATION", help="For how long: 30m, 24h, 7d."
    )(command)
