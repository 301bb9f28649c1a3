"""``beonss apply``: publish a cluster description to all masters and nodes."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from beonss.admin.difference import printable, show_difference, show_problems
from beonss.admin.options import control_option
from beonss.errors import ConfigurationError
from beonss.store.control import ControlClient
from beonss.wire.control import Event

#: Bytes of a description; the master says no to less than that.
MAXIMUM = 4 << 20
_STATES = {
    "follows": "has it in force",
    "away": "is away; it follows when it comes back",
    "late": "did not say yet that it has it in force: look at its 'beonss status'",
}


@click.command(name="apply")
@click.argument("file")
@click.option("--yes", "-y", is_flag=True, help="Do not ask; publish it.")
@click.option("--dry-run", "-n", is_flag=True, help="Show what would change, and publish nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --dry-run.")
@control_option
def command(file: str, yes: bool, dry_run: bool, as_json: bool, control: str | None) -> None:
    """Publish the description in FILE ("-" for standard input) to all masters and nodes. Root of any master only.

    The master proves it, shows every name and address that changes, and asks. It becomes the next version of the
    cluster's description (the serial of its zones), or the one that FILE names if that is higher. Masters that
    are away follow when they come back. FILE itself is not needed any more.

    Exit codes: 0 published (or, with --dry-run, it could be), or nothing to do; 1 refused, nothing changed; 2 usage.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: add --yes or --dry-run")
    request = {"text": _read(file), "file": "standard input" if file == "-" else file}
    with ControlClient(control, timeout=120) as client:
        end = client.converse("description.check", request)
        if end.code == "not-sound":
            _refuse(end.data, as_json)
        if end.code != "ok":
            raise ConfigurationError(end.message)
        found = end.data
        if not as_json:
            _show(found)
        if found["same"] or dry_run:
            if as_json:
                click.echo(json.dumps({**found, "changed": False}, indent=2))
            return
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigurationError("nothing was published: add --yes where nobody can be asked")
            click.confirm(f"Publish it as version {found['version']}?", abort=True)
        masters: dict[str, str] = {}

        def tell(event: Event) -> None:
            masters[event.data["name"]] = event.data["state"]
            if not as_json:
                click.echo(f"{event.data['name']} {_STATES.get(event.data['state'], event.data['state'])}")

        end = client.converse("description.apply", {**request, "expect": found["expect"]}, tell)
    if end.code == "not-sound":
        _refuse(end.data, as_json)
    if end.code != "ok":
        raise ConfigurationError(f"nothing was published: {end.message}")
    if as_json:
        click.echo(json.dumps({**found, **end.data, "masters": masters}, indent=2))
    else:
        click.echo(f"Version {end.data['version']} is in force.")


def _read(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAXIMUM + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAXIMUM + 1)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    if len(data) > MAXIMUM:
        raise ConfigurationError(f"{file}: is larger than {MAXIMUM >> 20} MiB: that is no cluster description")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}:{line}: is not UTF-8; save the file as UTF-8") from None
    if not text:
        raise ConfigurationError(f"{file}: is empty")
    return text


def _refuse(data: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"changed": False, "problems": data["problems"]}, indent=2))
    show_problems(data["problems"])
    count = len(data["problems"])
    click.echo(f"{count} problem{'s' if count != 1 else ''}; nothing was published", err=True)
    raise SystemExit(1)


def _show(found: Mapping[str, Any]) -> None:
    if found["same"]:
        click.echo(
            f"The cluster has this description already, version {found['current']}. To publish it once more, because a "
            f"zone file has changed, write version = {found['current'] + 1} into it."
        )
        return
    show_difference(found["difference"])
    for warning in found["warnings"]:
        click.secho(f"warning: {printable(warning)}", fg="yellow")
