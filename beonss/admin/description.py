"""``beonss description``: the description in force, and one that lost against it."""

import json
import time
from typing import Any

import click

from beonss.admin.difference import printable
from beonss.admin.options import control_option, json_option
from beonss.errors import ConfigurationError
from beonss.store.control import ControlClient

_SOURCES = {
    "cluster": "published",
    "kept": "kept from an earlier run: the cluster's is not here, or refused (beonss status)",
    "file": "of this master's own file, not published yet",
}


@click.command(name="description")
@click.option("--text", "-t", is_flag=True, help="Print the file itself, byte for byte.")
@click.option("--overruled", is_flag=True, help="About the one that lost against it, not the one in force.")
@json_option
@control_option
def command(text: bool, overruled: bool, as_json: bool, control: str | None) -> None:
    """Show the cluster description that this master has in force.

    Two that were published on masters apart: the later one wins; the other is kept, and shown with --overruled, until
    somebody applies one again.

    Exit codes: 0 shown, 1 no master answered, or nothing lost (--overruled), 2 usage.
    """
    with ControlClient(control, timeout=30) as client:
        document: dict[str, Any] = dict(client.ask("description", {"text": text or as_json}).data)
    if overruled:
        if document["overruled"] is None:
            raise ConfigurationError("no description lost against the one in force")
        document = document["overruled"]
    if as_json:
        click.echo(json.dumps(document, indent=2))
    elif text:
        click.echo(document["text"], nl=False)
    else:
        _show(document)
        lost = document.get("overruled")
        if lost:
            click.echo("At the same time, and not in force:")
            _show(lost)


def _show(document: dict[str, Any]) -> None:
    words = [f"version {document['version']}", document["file"]]
    if document.get("author"):
        words.append(f"by {document['author']}")
    if document.get("time"):
        words.append(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(document["time"])))
    if "source" in document:
        words.append(_SOURCES.get(document["source"], document["source"]))
    click.echo(printable(", ".join(words)))
