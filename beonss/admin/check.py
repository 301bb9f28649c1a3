"""``beonss check``: prove cluster descriptions, or show every mistake in them."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from beonss.core.names.description import DescriptionError, Problem
from beonss.core.names.hostlist import fold
from beonss.core.names.naming import Naming
from beonss.errors import ConfigurationError
from beonss.store.zonefiles import load_overlay
from beonss.wire.description import MAX_BYTES, parse

#: Longer lists of names are cut in the summary.
MAX_LIST = 200


def read_description(path: str) -> Naming:
    """Return the compiled and proven description in a file; ``-`` is standard input.

    Raises:
        ConfigurationError: the file cannot be read, or it is a DescriptionError of what is in it.
    """
    try:
        with click.open_file(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; name a description file") from None
    naming = parse(data, "standard input" if path == "-" else str(Path(path)))
    load_overlay(naming, Path() if path == "-" else Path(path).parent)
    return naming


@click.command(name="check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for all files.")
@click.option("--quiet", "-q", is_flag=True, help="Print problems only.")
def command(files: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Prove that cluster descriptions map every name and every address one way and back.

    Every mistake is shown with its file, line and option, and what to do about it. FILE may be "-" for standard input.

    Exit codes: 0 all are sound, 1 at least one is not or cannot be read, 2 usage.
    """
    results = [check(file) for file in files]
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            _print(result, quiet)
    if not all(result["sound"] for result in results):
        raise SystemExit(1)


def check(file: str) -> dict[str, Any]:
    """Return what there is to say about one file, ready for JSON."""
    begin = time.perf_counter()
    try:
        naming = read_description(file)
    except DescriptionError as error:
        return {"file": file, "sound": False, "problems": [_problem(problem) for problem in error.problems]}
    except ConfigurationError as error:
        text = str(error).removeprefix(f"{file}: ")
        return {"file": file, "sound": False, "problems": [_problem(Problem(file, 0, "", text))]}
    seconds = time.perf_counter() - begin
    return {"file": file, "sound": True, "problems": [], **summary(naming), "seconds": round(seconds, 4)}


def _problem(problem: Problem) -> dict[str, str | int]:
    return {"file": problem.file, "line": problem.line, "option": problem.option, "text": problem.text}


def summary(naming: Naming) -> dict[str, Any]:
    """Return the counts and lists that tell an administrator what a description says."""
    return {
        "cluster": naming.cluster,
        "zone": naming.zone,
        "version": naming.version,
        "digest": naming.digest,
        "masters": [
            {"name": m.name, "addresses": [str(a) for a in m.addresses], "port": m.port} for m in naming.masters
        ],
        "nodes": naming.node_count,
        "hosts": sum(1 for _ in naming.hosts()),
        "derived": sum(rule.size for rule in naming.rules if rule.kind == "derived"),
        "rules": [
            {
                "kind": rule.kind,
                "line": rule.line,
                "size": rule.size,
                "names": fold(rule),
                "interfaces": [
                    {
                        "network": interface.label,
                        "name": interface.name.text,
                        "aliases": [alias.text for alias in interface.aliases],
                        "addresses": [pattern.text for pattern in interface.addresses],
                    }
                    for interface in rule.interfaces
                ],
            }
            for rule in naming.rules
        ],
        "networks": [str(network) for network in naming.description.networks],
        "reverse": [str(network) for network in naming.reverse_networks],
    }


def _print(result: Mapping[str, Any], quiet: bool) -> None:
    if not result["sound"]:
        for problem in result["problems"]:
            click.echo(str(Problem(**problem)), err=True)
        count = len(result["problems"])
        click.echo(f"{result['file']}: {count} problem{'s' if count != 1 else ''}; not usable", err=True)
        return
    if quiet:
        return
    click.echo(f"{result['file']}: sound, proven in {result['seconds'] * 1000:.0f} ms")
    click.echo(f"  {result['cluster']}, zone {result['zone']}, version {result['version']}, {result['digest'][:12]}")
    click.echo(f"  {result['nodes']:,} nodes, {result['hosts']:,} hosts, {result['derived']:,} derived hosts")
    click.echo(f"  masters {', '.join(master['name'] for master in result['masters'])}")
    for rule in result["rules"]:
        names = ",".join(rule["names"])
        shown = names if len(names) <= MAX_LIST else names[:MAX_LIST] + "..."
        click.echo(f"  line {rule['line']}: {rule['size']:,} {'nodes' if rule['kind'] == 'node' else 'hosts'} {shown}")
        for interface in rule["interfaces"]:
            aliases = f" (also {', '.join(interface['aliases'])})" if interface["aliases"] else ""
            click.echo(f"    {interface['name']}{aliases} <-> {', '.join(interface['addresses'])}")
    zones = result["reverse"]
    more = f" and {len(zones) - 8} more" if len(zones) > 8 else ""
    click.echo(f"  reverse zones {', '.join(zones[:8])}{more}")
