"""Options that most commands have, with one text each; light, as commands that a person waits for import it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

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
