"""How ``beonss diff`` and ``beonss apply`` show a difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from beonss.admin.asking import counted

#: Longer lists of names and texts are cut for people; --json has them whole.
_LONGEST = 160
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


def show_difference(found: Mapping[str, Any]) -> None:
    """Print a difference, as :meth:`beonss.core.names.difference.Difference.document` gives it."""
    for mark, kind, names, text, count in found["lines"]:
        many = f" ({count:,})" if count > 1 else ""
        line = f"{mark} {kind:<7} {_cut(names)}{many}  {_cut(text)}"
        click.secho(printable(line), fg=_COLOURS.get(mark))
    if found.get("more"):
        click.echo(f"... and {found['more']:,} lines more")
    click.echo(f"{counted(found['added'], 'name')} added, {found['removed']:,} removed, {found['changed']:,} changed")


def show_problems(problems: Sequence[Sequence[Any]]) -> None:
    """Print the mistakes in a description to standard error, each with its file and line."""
    for file, line, option, text in problems:
        place = ":".join(str(part) for part in (file, line) if part)
        click.echo(printable(": ".join(part for part in (place, option, text) if part)), err=True)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: str) -> str:
    """Return text that cannot paint a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
