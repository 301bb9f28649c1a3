"""``beonss status``: members, buffered changes, targets and the age of memory."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from beonss.admin.asking import counted
from beonss.admin.options import control_option
from beonss.admin.terminal import literal, terminal
from beonss.core.cluster.status import duration
from beonss.store.control import ControlClient


@click.command(name="status")
@control_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole document as JSON.")
@click.option("--strict", is_flag=True, help="Exit code 1 if there is any alarm: for monitoring.")
def command(control: str | None, as_json: bool, strict: bool) -> None:
    """Show what the master or node on this machine knows of itself and of the others.

    Exit codes: 0 shown, 1 no daemon answered (or, with --strict, there are alarms), 2 usage.
    """
    with ControlClient(control, timeout=10) as client:
        document = client.ask("status").data
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True))
    else:
        show(document, terminal(markup=True), time.time())
    if strict and document.get("alarms"):
        raise SystemExit(1)


def show(document: Mapping[str, Any], console: Console, now: float) -> None:
    """Print the document for people; ``now`` is seconds since the epoch."""
    role, name = document["role"], document["name"]
    console.print(f"[bold]{literal(name)}[/], {role} of {literal(document['cluster'])}: {_boot(document)}")
    description = document.get("description") or {}
    if description:
        console.print(
            f"description {literal(description.get('file', ''))} version {description.get('version')}, "
            f"{counted(description.get('nodes', 0), 'node')}, {str(description.get('digest'))[:12]}"
        )
    dns = document.get("dns") or {}
    if dns.get("processes"):
        processes = dns["processes"]
        answering = sum(1 for process in processes if process["answering"])
        console.print(
            f"DNS: {answering} of {len(processes)} processes answer, "
            f"{counted(dns.get('queries', 0), 'query', 'queries')} so far"
        )
    counts = document.get("accounts") or {}
    if counts:
        console.print(", ".join(counted(number, word.removesuffix("s")) for word, number in counts.items()))
    if document.get("members"):
        console.print(_members(document["members"], now))
    if document.get("targets"):
        console.print(_targets(document["targets"], now))
    for alarm in document.get("alarms", ()):
        console.print(f"[bold red]alarm:[/] {literal(alarm)}")


def _boot(document: Mapping[str, Any]) -> str:
    uptime = duration(document["uptime"])
    if document["role"] == "node":
        age = document.get("memory_age")
        memory = "memory is empty" if document["boot"] == "empty" else "memory was never proven fresh"
        if age is not None:
            memory = "memory is live" if document["boot"] == "live" else f"memory is {duration(age)} old"
        asks = document.get("master")
        return f"{memory}, {'asks ' + literal(asks) if asks else '[yellow]no master answers[/]'}, up {uptime}"
    words = {"starting": "asks the other masters", "reconciled": "reconciled with all masters", "partial": "partial"}
    text = words.get(document["boot"], literal(document["boot"]))
    if document.get("missing"):
        text += f" ({literal(', '.join(document['missing']))} did not answer at start)"
    return f"{text}, up {uptime}"


def _members(members: list[Mapping[str, Any]], now: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), title_justify="left")
    for head in ("master", "state", "since", "buffered here", "clock", ""):
        table.add_column(head, justify="right" if head in {"buffered here", "clock"} else "left")
    for member in members:
        since = "-" if member["since"] is None else duration(now - member["since"])
        state = "this machine" if member["this"] else "[green]reachable[/]" if member["reachable"] else "[red]away[/]"
        buffered = "-" if member["buffered"] is None else str(member["buffered"])
        skew = "-" if member["clock_skew_ms"] is None else f"{member['clock_skew_ms']:+d} ms"
        remark = "other description" if member["description_differs"] else member["error"] or ""
        table.add_row(literal(member["name"]), state, since, buffered, skew, literal(remark))
    return table


def _targets(targets: list[Mapping[str, Any]], now: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for head in ("target", "backlog", "since", "last error"):
        table.add_column(head, justify="right" if head == "backlog" else "left")
    for target in targets:
        since = "-" if target["since"] is None else duration(now - target["since"])
        table.add_row(literal(target["name"]), str(target["backlog"]), since, literal(target["error"] or ""))
    return table
