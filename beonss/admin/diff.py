"""``beonss diff``: every name and address that a change of the description would touch."""

import json

import click

from beonss.admin.check import read_description
from beonss.admin.difference import show_difference
from beonss.admin.options import json_option
from beonss.core.names.difference import difference


@click.command(name="diff")
@click.argument("old")
@click.argument("new")
@json_option
def command(old: str, new: str, as_json: bool) -> None:
    """Show what differs between two cluster descriptions, as ranges of names and addresses.

    OLD and NEW are files; one of them may be "-" for standard input ("beonss description --text | beonss diff - NEW").
    Both are proven first. A rule that is only written in another way is no difference; nothing is enumerated,
    however many nodes there are. Records in zone files are not compared, only those in the description.

    Exit codes: 0 no difference, 1 they differ or one of them is not sound, 2 usage.
    """
    found = difference(read_description(old), read_description(new)).document()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show_difference(found)
    if found["lines"]:
        raise SystemExit(1)
