"""``beonss conflicts``: accounts whose name or number another one owns, so that they are not served; ways out."""

import json
from collections.abc import Mapping
from typing import Any

import click

from beonss.admin.asking import CHANGED, AccountNumber, ask, plain, when_text
from beonss.admin.options import change_options, control_option, json_option
from beonss.store.control import ControlClient

#: Digits of an id that are shown; enough among the few that are in conflict.
SHORT = 8


@click.group(name="conflicts", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List accounts in conflict, or settle a conflict. Root of a master only; on any master.

    Masters that are apart may both make a user alice, or be told the same uid. Both accounts live on; the one made
    first is served, the others wait here until somebody says what was meant. ID is the id of an account as the list
    shows it, or its first digits.

    Without a command: list. Exit codes of list: 0 there is no account and no target in conflict, 1 there is, 2 usage.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command(name="list")
@json_option
@control_option
def list_(as_json: bool = False, control: str | None = None) -> None:
    """List what is in conflict.

    These are accounts that are not served, values at the targets that are not ours, and the last write to an account
    that lost against one made elsewhere at the same time.

    Exit codes: 0 there is no account and no target in conflict, 1 there is, 2 usage.
    """
    with ControlClient(control) as client:
        found = client.ask("conflicts.list").data
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)
    if found["accounts"] or found["targets"]:
        raise SystemExit(1)


def show(found: Mapping[str, Any]) -> None:
    """Print the list."""
    for conflict in found["accounts"]:
        click.echo(plain(conflict["reason"]))
        for one in conflict["objects"]:
            state = "served" if one["served"] else "not served"
            made = "" if one["created"] is None or one["created"] < 0 else f", made {when_text(one['created'])}"
            by = f", by {plain(one['author'])}" if one["author"] else ""
            click.echo(f"  {one['id'][:SHORT]}  {plain(one['text'])}, {state}{made}{by}")
    if found["accounts"]:
        click.echo("settle them: beonss conflicts rename, renumber, keep, delete")
    for text in found["targets"]:
        click.echo(plain(text))
    for one in found["overruled"]:
        lost, stands = one["lost"], one["stands"]
        click.echo(
            f"{one['id'][:SHORT]}  {plain(one['account'])}: {plain(one['about'])}{_words(lost)} "
            f"by {plain(lost['author'])} ({when_text(lost['time'])}) lost against{_words(stands)} "
            f"by {plain(stands['author'])} ({when_text(stands['time'])}), written at the same time"
        )
    if found["overruled"]:
        click.echo("bring them back or forget them: beonss conflicts reassert, dismiss")


def _words(side: Mapping[str, Any]) -> str:
    return "".join(f" {plain(word)}={plain(value)}" for word, value in side["value"].items())


@command.command(name="rename", epilog=CHANGED)
@click.argument("identifier", metavar="ID")
@click.argument("name")
@change_options
def rename(identifier: str, name: str, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Give an account in conflict another name."""
    request = {"id": identifier, "name": name}
    ask("conflicts.rename", [request], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="renumber", short_help="Give an account that is not served another number.", epilog=CHANGED)
@click.argument("identifier", metavar="ID")
@click.argument("number", type=AccountNumber(1), required=False)
@change_options
def renumber(identifier: str, number: int | None, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Give an account that is not served another uid or gid; a free one if NUMBER is not given."""
    request = {"id": identifier, "number": number}
    ask("conflicts.renumber", [request], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="keep", short_help="Serve this account instead of the others.", epilog=CHANGED)
@click.argument("identifier", metavar="ID")
@change_options
def keep(identifier: str, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Serve this account, and none of those it is in conflict with, until these are settled too."""
    ask("conflicts.keep", [{"id": identifier}], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="delete", epilog=CHANGED)
@click.argument("identifier", metavar="ID")
@change_options
def delete(identifier: str, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Delete an account in conflict, served or not, for good."""
    ask("conflicts.delete", [{"id": identifier}], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="dismiss", short_help="Forget writes that lost: what stands is right.", epilog=CHANGED)
@click.argument("identifier", metavar="[ID]", required=False)
@click.option("--field", metavar="FIELD", help="Only what lost of this part of the account.")
@click.option("--all", "everything", is_flag=True, help="All writes that lost.")
@change_options
def dismiss(
    identifier: str | None, *, field: str | None, everything: bool, control: str | None, as_json: bool, dry_run: bool
) -> None:
    """Forget writes that lost against one made at the same time: what stands is right. On all masters."""
    if (identifier is None) != everything or (everything and field is not None):
        raise click.UsageError("either ID, perhaps with --field, or --all")
    request = {"id": identifier, "field": field, "all": everything}
    ask("conflicts.dismiss", [request], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="reassert", epilog=CHANGED)
@click.argument("identifier", metavar="ID")
@click.option("--field", metavar="FIELD", help="Which part of the account, where several lost.")
@change_options
def reassert(identifier: str, *, field: str | None, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Bring back a write that lost against one made at the same time. No password can be: none that lost is kept."""
    request = {"id": identifier, "field": field}
    ask("conflicts.reassert", [request], control=control, as_json=as_json, dry_run=dry_run)
