"""``beonss explain``: which rule gives a name or an address, and what each door answers."""

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import click

from beonss.admin.check import read_description
from beonss.core.names.explain import Explanation, explain
from beonss.core.names.naming import Naming
from beonss.core.names.patterns import Address
from beonss.core.zones.forwarding_explain import elsewhere


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    """Return the address an option was given; click's callback."""
    try:
        return None if value is None else ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IPv4 or IPv6 address", ctx, param) from None


@click.command(name="explain")
@click.argument("file", metavar="FILE")
@click.argument("names", metavar="NAME|ADDRESS...", nargs=-1, required=True)
@click.option("--asker", callback=_address, metavar="ADDRESS", help='Who asks: what "self" and "master" depend on.')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for all names.")
def command(file: str, names: tuple[str, ...], asker: Address | None, as_json: bool) -> None:
    """Say which rule and line of the description FILE give a name or an address, and what each door answers.

    For what does not exist it says why the nearest rules do not match. "self" and "master" depend on who asks.

    Exit codes: 0 all are found, 1 at least one is not or FILE is unusable, 2 usage.
    """
    naming = read_description(file)
    explanations = [_explained(naming, name, asker) for name in names]
    if as_json:
        click.echo(json.dumps([_document(each) for each in explanations], indent=2))
    else:
        for at, each in enumerate(explanations):
            if at:
                click.echo()
            _print(each)
    if not all(each.found for each in explanations):
        raise SystemExit(1)


def _explained(naming: Naming, name: str, asker: Address | None) -> Explanation:
    found = explain(naming, name, asker)
    text = None if found.found else elsewhere(naming, name)
    return found if text is None else replace(found, reasons=(*found.reasons, text))


def _document(explanation: Explanation) -> dict[str, Any]:
    named = explanation.named
    return {
        "asked": explanation.asked,
        "found": explanation.found,
        "named": None
        if named is None
        else {
            "name": named.name,
            "aliases": list(named.aliases),
            "addresses": [str(address) for address in named.addresses],
            "kind": named.kind,
            "number": named.number,
            "network": named.network,
            "rule": named.rule,
            "line": named.line,
            "mac": named.mac,
            "coordinates": dict(named.coordinates),
        },
        "facts": dict(explanation.facts),
        "answers": [
            {"door": a.door, "question": a.question, "status": a.status, "answers": list(a.answers)}
            for a in explanation.answers
        ],
        "reasons": list(explanation.reasons),
    }


def _print(explanation: Explanation) -> None:
    if not explanation.found:
        click.echo(f"{explanation.asked}: there is no such name or address")
        for reason in explanation.reasons:
            click.echo(f"  {reason}")
        return
    click.echo(explanation.asked)
    for label, text in explanation.facts:
        click.echo(f"  {label:<12} {text}")
    for answer in explanation.answers:
        click.echo(f"  {answer.door:<12} {answer.question}")
        for line in answer.answers or (f"({answer.status})",):
            click.echo(f"  {'':<12}   {line}")
