"""``beonss accounts adopt``: what somebody wrote at a target becomes the cluster's."""

import click

from beonss.admin.options import control_option
from beonss.store.control import ControlClient


@click.command(name="adopt", short_help="Make what somebody wrote at a target the cluster's.")
@click.argument("names", nargs=-1)
@click.option("--target", required=True, metavar="NAME", help="The target (beonss status names them).")
@click.option("--all", "everything", is_flag=True, help="Everything that differs there, and all new accounts.")
@control_option
def command(names: tuple[str, ...], target: str, everything: bool, control: str | None) -> None:
    """Make what somebody wrote at a target the cluster's, for all masters; an account taken out there is deleted.

    Exit codes: 0 done, 1 something was left out, or refused (it is told why), 2 usage.
    """
    if bool(names) == everything:
        raise click.UsageError("name users or groups, or say --all")
    with ControlClient(control) as client:
        end = client.ask("accounts.adopt", {"target": target, "names": None if everything else list(names)})
    for text in end.data["changed"]:
        click.echo(f"changed: {_plain(text)}")
    for text in end.data["refused"]:
        click.echo(f"left out: {_plain(text)}")
    click.echo(end.message)
    if end.data["refused"]:
        raise SystemExit(1)


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
