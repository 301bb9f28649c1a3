"""``beonss querylog``: the queries that the daemon of this machine answers, as they come."""

import datetime
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import click

from beonss.admin.asking import plain
from beonss.admin.options import control_option
from beonss.core.zones.query_log import MOST_EVERY
from beonss.store.control import ControlClient
from beonss.wire.control import Event

#: Seconds of silence after which the daemon is taken for dead: it says every 20 that it is not.
SILENCE = 70.0


@click.command(name="querylog")
@click.option("--sample", metavar="N", type=click.IntRange(1, MOST_EVERY), default=1, show_default=True,
              help="Take one of N queries.")  # fmt: skip
@click.option("--for", "seconds", metavar="SECONDS", type=click.FloatRange(0, 7 * 86400, min_open=True),
              help="End after so long; otherwise when interrupted.")  # fmt: skip
@click.option("--client", "clients", metavar="NET", multiple=True, help="Only of this address or network; repeatable.")
@click.option(
    "--name", metavar="GLOB", help="Only names like this, whole and without the last dot: 'r01*.example.org'."
)
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only this type, such as AAAA; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")
@control_option
def command(
    *,
    sample: int,
    seconds: float | None,
    clients: tuple[str, ...],
    name: str | None,
    types: tuple[str, ...],
    as_json: bool,
    control: str | None,
) -> None:
    """Show the DNS queries that this machine's daemon answers, as they come.

    There is no cost while nobody looks. At most a thousand queries are shown in a second; how many were left out is
    said on standard error, with --json in a line of its own: {"dropped": N}, the sum so far.

    Exit codes: 0 shown (also when interrupted), 1 no daemon runs here or it ended, 2 usage.
    """
    asked = {"sample": sample, "seconds": seconds, "clients": list(clients), "name": name, "types": list(types)}
    dropped = 0

    def tell(event: Event) -> None:
        nonlocal dropped
        if event.name == "query":
            click.echo(json.dumps(event.data) if as_json else shown(event.data))
        elif event.name == "dropped" and event.data["queries"] != dropped:
            dropped = event.data["queries"]
            if as_json:
                click.echo(json.dumps({"dropped": dropped}))
            else:
                click.echo(
                    f"beonss: {dropped} queries left out so far; take fewer: --sample, or ask for less", err=True
                )

    with suppress(KeyboardInterrupt), ControlClient(control, timeout=SILENCE) as client:
        end = client.ask("querylog", asked, tell)
        tell(Event("dropped", {"queries": end.data["dropped"]}))


def shown(query: Mapping[str, Any]) -> str:
    """Return a query for people."""
    when = datetime.datetime.fromtimestamp(query["time"], datetime.UTC).astimezone()
    what = "no query" if query["name"] is None else f"{query['name']} {query['type']}"
    if query["class"] not in {"", "IN"}:
        what += f" {query['class']}"
    if query["flags"]:
        what += f" ({' '.join(query['flags'])})"
    told = "no reply"
    if query["rcode"]:
        told = " ".join([query["rcode"], *query["reply_flags"], f"{query['size']} bytes"])
    took = "" if query["took_us"] is None else f" {query['took_us']} us"
    text = f"{when:%H:%M:%S.%f}"[:-3]
    return plain(f"{text} {query['client']} {query['transport']} {what} -> {told}{took}")
