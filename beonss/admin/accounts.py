"""``beonss accounts``: import, list, show and change the users and groups of the cluster."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from beonss.admin import account_import
from beonss.store.control import ControlClient
from beonss.wire.control import Event

F = TypeVar("F", bound=Callable[..., Any])


def _control(function: F) -> F:
    option = click.option(
        "--control", metavar="PATH", help="Control socket of the daemon; default /run/beonss/control."
    )
    return option(function)


def _json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _group(function: F) -> F:
    return click.option("--group", "-g", "is_group", is_flag=True, help="It is a group.")(function)


def _say(control: str | None, operation: str, parameters: Mapping[str, Any]) -> None:
    """Ask the daemon for something and print its last word."""
    with ControlClient(control) as client:
        click.echo(client.ask(operation, parameters).message)


@click.group(name="accounts")
def command() -> None:
    """Import, list, show and change users and groups. Root of a master only.

    A change made here is on the disk of this master when the command ends; the other masters and the targets get it
    from there (beonss status). Passwords are changed by cpasswd(1).

    Exit codes: 0 done, 1 refused, failed or found wanting (it is told why), 2 usage.
    """


command.add_command(account_import.command)


@command.command(name="list")
@click.option("--groups", "-g", is_flag=True, help="List groups instead of users.")
@_json
@_control
def list_(groups: bool, as_json: bool, control: str | None) -> None:
    """List the users of the cluster by uid, in the form of passwd(5) with their state in place of the password."""
    rows: list[dict[str, Any]] = []

    def take(event: Event) -> None:
        rows.extend(event.data["rows"])

    with ControlClient(control) as client:
        client.ask("accounts.list", {"kind": "group" if groups else "user"}, take)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        if groups:
            click.echo(f"{_text(row['name'])}:*:{row['gid']}:{','.join(map(_text, row['members']))}")
        else:
            words = [row[word] for word in ("name", "state", "uid", "gid", "gecos", "home", "shell")]
            click.echo(":".join(_text(word) for word in words))


def _text(value: object) -> str:
    """Return text that a terminal can take: bytes that are no UTF-8 and control characters are shown as '?'."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


@command.command(name="show")
@click.argument("name")
@_json
@_control
def show(name: str, as_json: bool, control: str | None) -> None:
    """Show all that is known of a user or group: state, groups, who changed what when, how it stands at each target."""
    with ControlClient(control) as client:
        found = client.ask("accounts.show", {"name": name}).data
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for kind in ("user", "group"):
        if found[kind] is not None:
            _show_account(console, kind, found[kind])
    for reason in found["conflicts"]:
        console.print(f"conflict: {reason}", markup=False)


def _show_account(console: Console, kind: str, account: Mapping[str, Any]) -> None:
    number = account["uid"] if kind == "user" else account["gid"]
    table = Table(
        title=f"{kind} {_text(account['name'])} ({number})", title_justify="left", box=None, show_header=False
    )
    table.add_column(style="dim")
    table.add_column()
    for word in ("state", "gid", "gecos", "home", "shell"):
        if kind == "user":
            table.add_row(word, _text(account[word]))
    if kind == "user":
        table.add_row("password changed", _day(account["changed"]))
        for word, days in account["aging"].items():
            if days is not None:
                table.add_row(
                    f"{word} (days)" if word != "expires" else word, _day(days) if word == "expires" else str(days)
                )
    table.add_row(
        "groups" if kind == "user" else "members", _text(", ".join(account.get("groups", account.get("members"))))
    )
    table.add_row("id", account["id"])
    for one in account["history"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["time"] / 1000))
        table.add_row("changed", f"{when} {_text(one['field'])} by {_text(one['author']) or 'somebody'}")
    for target, standing in account["targets"].items():
        text = f": {_text(standing['text'])}" if standing["text"] else ""
        table.add_row(f"at {target}", f"{standing['verdict']}{text}")
    console.print(table)


def _day(days: int | None) -> str:
    if days is None:
        return "-"
    return time.strftime("%Y-%m-%d", time.gmtime(min(days, 2_000_000) * 86400))


@command.command(name="conflicts")
@_json
@_control
def conflicts(as_json: bool, control: str | None) -> None:
    """List accounts that are not served, and values at the targets that are not ours. Exit code 1 if there are any."""
    with ControlClient(control) as client:
        found = client.ask("accounts.conflicts").data
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found["accounts"]:
            click.echo(_text(one["reason"]))
            for loser in one["losers"]:
                click.echo(f"  not served: {loser} (beonss accounts delete --id {loser})")
        for text in found["targets"]:
            click.echo(_text(text))
    if found["accounts"] or found["targets"]:
        raise SystemExit(1)


@command.command(name="add")
@click.argument("name")
@_group
@click.option("--uid", type=click.IntRange(0), help="Default: the lowest never used.")
@click.option("--gid", type=click.IntRange(0), help="Primary group, default 100; with --group its number.")
@click.option("--gecos", help="Full name.")
@click.option("--home", metavar="DIRECTORY", help="Default: /home/NAME.")
@click.option("--shell", metavar="PROGRAM", help="Default: /bin/sh.")
@_control
def add(name: str, is_group: bool, control: str | None, **words: Any) -> None:
    """Make a user without a password, or a group. Home directories are not made."""
    kind = "group" if is_group else "user"
    _say(control, "accounts.add", {"name": name, "kind": kind, **words})


@command.command(name="modify")
@click.argument("name")
@click.option("--gid", type=click.IntRange(0), help="Primary group.")
@click.option("--gecos", help="Full name.")
@click.option("--home", metavar="DIRECTORY", help="Home directory; nothing is moved.")
@click.option("--shell", metavar="PROGRAM", help="Login shell.")
@_control
def modify(name: str, control: str | None, **words: Any) -> None:
    """Change a user. The uid stays: files belong to it."""
    if all(word is None for word in words.values()):
        raise click.UsageError("say what to change: --gid, --gecos, --home, --shell")
    _say(control, "accounts.modify", {"name": name, **words})


@command.command(name="delete")
@click.argument("name")
@_group
@click.option("--id", "is_id", is_flag=True, help="NAME is the id of an account that is not served (conflicts).")
@_control
def delete(name: str, is_group: bool, is_id: bool, control: str | None) -> None:
    """Delete a user or group for good, on all masters and targets. Its files are not touched, its number not reused."""
    _say(control, "accounts.delete", {"name": name, "kind": "id" if is_id else "group" if is_group else "user"})


@command.command(name="lock")
@click.argument("user")
@_control
def lock(user: str, control: str | None) -> None:
    """Lock a user: no password lets it in until it is unlocked. The password is kept."""
    _say(control, "accounts.lock", {"name": user, "locked": True})


@command.command(name="unlock")
@click.argument("user")
@_control
def unlock(user: str, control: str | None) -> None:
    """Unlock a user."""
    _say(control, "accounts.lock", {"name": user, "locked": False})


@command.command(name="member")
@click.argument("group")
@click.option("--add", "-a", "added", multiple=True, metavar="USER", help="Put a user into the group; repeatable.")
@click.option("--remove", "-r", "removed", multiple=True, metavar="USER", help="Take a user out; repeatable.")
@_control
def member(group: str, added: tuple[str, ...], removed: tuple[str, ...], control: str | None) -> None:
    """Put users into a group, or take them out."""
    if not added and not removed:
        raise click.UsageError("say whom: --add USER, --remove USER")
    with ControlClient(control) as client:
        for user, inside in [*((user, True) for user in added), *((user, False) for user in removed)]:
            click.echo(client.ask("accounts.member", {"group": group, "user": user, "member": inside}).message)


@command.command(name="reassert")
@click.argument("names", nargs=-1)
@click.option("--target", required=True, metavar="NAME", help="The target (beonss status names them).")
@click.option("--all", "everything", is_flag=True, help="All accounts.")
@click.option("--shrink", is_flag=True, help="Allow it to take out many accounts at once.")
@_control
def reassert(names: tuple[str, ...], target: str, everything: bool, shrink: bool, control: str | None) -> None:
    """Deliver accounts to a target again, over what somebody else wrote there."""
    if not names and not everything and not shrink:
        raise click.UsageError("name users or groups, or say --all or --shrink")
    if names and everything:
        raise click.UsageError("either names or --all")
    chosen = None if everything else list(names)
    _say(control, "accounts.reassert", {"target": target, "names": chosen, "shrink": shrink})
