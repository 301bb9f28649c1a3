"""Lists of users and groups, and all about one of them, as the daemon of this machine tells them."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import click
from rich.table import Table

from beonss.admin.asking import day_text, plain, when_text
from beonss.admin.terminal import terminal
from beonss.store.control import ControlClient
from beonss.wire.control import Event

Kind = Literal["user", "group"]


def list_accounts(kind: Kind, *, as_json: bool, control: str | None) -> None:
    """Print all users or groups by number, in the form of passwd(5) or group(5), or as JSON."""
    rows: list[dict[str, Any]] = []

    def take(event: Event) -> None:
        rows.extend(event.data["rows"])

    with ControlClient(control) as client:
        client.ask("accounts.list", {"kind": kind}, take)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        if kind == "group":
            click.echo(f"{plain(row['name'])}:*:{row['gid']}:{','.join(map(plain, row['members']))}")
        else:
            words = [row[word] for word in ("name", "state", "uid", "gid", "gecos", "home", "shell")]
            click.echo(":".join(plain(word) for word in words))


def show_account(kind: Kind, name: str, *, as_json: bool, control: str | None) -> None:
    """Print all that is known of a user or group."""
    with ControlClient(control) as client:
        found = client.ask("accounts.show", {"name": name, "kind": kind}).data
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = terminal()
    if found[kind] is not None:
        console.print(_table(kind, found[kind]))
    for reason in found["conflicts"]:
        click.echo(f"conflict: {plain(reason)}")


def _table(kind: Kind, account: Mapping[str, Any]) -> Table:
    number = account["uid"] if kind == "user" else account["gid"]
    title = f"{kind} {plain(account['name'])} ({number})"
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    if kind == "user":
        for word in ("state", "gid", "gecos", "home", "shell"):
            table.add_row(word, plain(account[word]))
        ending = "; must be changed at the next login" if account.get("must_change") else ""
        table.add_row("password changed", day_text(account["changed"]) + ending)
        for word, days in account["aging"].items():
            if days is not None:
                table.add_row(
                    word if word == "expires" else f"{word} (days)", day_text(days) if word == "expires" else str(days)
                )
        table.add_row("groups", plain(", ".join(account["groups"])))
    else:
        table.add_row("members", plain(", ".join(account["members"])))
    table.add_row("id", account["id"])
    for one in account["history"]:
        author = plain(one["author"]) or "somebody"
        table.add_row("changed", f"{when_text(one['time'])} {plain(one['field'])} by {author}")
    for target, standing in account["targets"].items():
        text = f": {plain(standing['text'])}" if standing["text"] else ""
        table.add_row(f"at {target}", f"{standing['verdict']}{text}")
    return table
