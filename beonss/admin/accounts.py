"""``beonss accounts``: users and groups as a whole: import them, and deliver them to targets again."""

from collections.abc import Mapping
from typing import Any

import click

from beonss.admin import account_adopt, account_import
from beonss.admin.options import control_option
from beonss.store.control import ControlClient


def _say(control: str | None, operation: str, parameters: Mapping[str, Any]) -> None:
    """Ask the daemon for something and print its last word."""
    with ControlClient(control) as client:
        click.echo(client.ask(operation, parameters).message)


@click.group(name="accounts")
def command() -> None:
    """Import users and groups, and deliver them to targets again. Root of a master only.

    Single ones are made and changed by "beonss user" and "beonss group".

    Exit codes: 0 done, 1 refused, failed or found wanting (it is told why), 2 usage.
    """


command.add_command(account_import.command)
command.add_command(account_adopt.command)


@command.command(name="reassert", short_help="Deliver accounts to a target again.")
@click.argument("names", nargs=-1)
@click.option("--target", required=True, metavar="NAME", help="The target (beonss status names them).")
@click.option("--all", "everything", is_flag=True, help="All accounts.")
@click.option("--shrink", is_flag=True, help="Allow it to take out many accounts at once.")
@control_option
def reassert(names: tuple[str, ...], target: str, everything: bool, shrink: bool, control: str | None) -> None:
    """Deliver accounts to a target again, over what somebody else wrote there.

    Exit codes: 0 it is being delivered (beonss status), 1 refused (it is told why), 2 usage.
    """
    if not names and not everything and not shrink:
        raise click.UsageError("name users or groups, or say --all or --shrink")
    if names and everything:
        raise click.UsageError("either names or --all")
    chosen = None if everything else list(names)
    _say(control, "accounts.reassert", {"target": target, "names": chosen, "shrink": shrink})
