"""What the commands about accounts share: asking the daemon of this machine for changes, and words."""

import datetime
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from beonss.errors import Refused
from beonss.store.control import ControlClient

if TYPE_CHECKING:
    # Generic only in newer versions of click than we need.
    _Numbers = click.ParamType[int]
else:
    _Numbers = click.ParamType

#: Exit code when a change was made, there are other masters, and none of them holds it yet.
HELD_HERE_ONLY = 3
#: Last lines of --help, for commands that show and commands that change.
SHOWN = "Exit codes: 0 shown, 1 refused or failed (it is told why), 2 usage."
CHANGED = (
    "Exit codes: 0 done (or, with --dry-run, it could be), 1 refused or failed (it is told why), 2 usage, 3 done but "
    "no other master holds it yet."
)
_EPOCH = datetime.date(1970, 1, 1)


def ask(
    operation: str,
    requests: Sequence[Mapping[str, Any]],
    *,
    control: str | None,
    as_json: bool,
    dry_run: bool,
    several: bool = False,
    keep_going: bool = False,
) -> None:
    """Ask for changes one after the other, tell what became of each, and exit with a code if that is not 0.

    Args:
        operation: on the control socket.
        requests: the parameters of each.
        control: the socket, None for the usual one.
        as_json: print one object, or with ``several`` a list.
        dry_run: only find out.
        several: the command takes several names.
        keep_going: one that is refused does not stop the others. Otherwise all are asked about first, and if one would
            be refused none is done (decision 0033); what comes in between may still refuse one.
    """
    told: list[dict[str, Any]] = []
    refused = False
    with ControlClient(control) as client:
        if several and not keep_going and not dry_run and len(requests) > 1:
            told = list(_refusals(client, operation, requests))
            if told:
                click.echo("beonss: nothing was done (--keep-going does it for the others)", err=True)
                if as_json:
                    click.echo(json.dumps(told, indent=2))
                raise SystemExit(1)
        for parameters in requests:
            try:
                end = client.ask(operation, {**parameters, "dry_run": dry_run})
            except Refused as error:
                if not several:
                    raise
                refused = True
                told.append({"refused": error.code, "message": str(error)})
                click.echo(f"beonss: {error}", err=True)
                continue
            told.append({"message": end.message, **end.data})
            if not as_json:
                show(told[-1])
    if as_json:
        click.echo(json.dumps(told if several else told[0], indent=2))
    if refused:
        raise SystemExit(1)
    if any(one.get("waiting") and len(one.get("held", ())) == 1 for one in told):
        raise SystemExit(HELD_HERE_ONLY)


def _refusals(client: ControlClient, operation: str, requests: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Find out which requests would be refused, tell them and yield them."""
    for parameters in requests:
        try:
            client.ask(operation, {**parameters, "dry_run": True})
        except Refused as error:
            click.echo(f"beonss: {error}", err=True)
            yield {"refused": error.code, "message": str(error)}


def show(answer: Mapping[str, Any]) -> None:
    """Print what became of a change."""
    would = "would be done: " if answer.get("dry_run") and answer.get("changed") else ""
    click.echo(would + plain(answer["message"]))
    for note in answer.get("notes", ()):
        click.echo(f"note: {plain(note)}", err=True)
    if answer.get("waiting"):
        click.echo(f"note: not yet held by {', '.join(map(plain, answer['waiting']))} (beonss status)", err=True)


def plain(value: object) -> str:
    """Return text that a terminal can take: bytes that are no UTF-8 and control characters are shown as '?'."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def counted(number: int, one: str, several: str = "") -> str:
    """Return ``1 user`` or ``1,200 users``; ``several`` where the plural has more than an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def day_text(days: int | None) -> str:
    """Return the date of a day since 1970-01-01, or '-'."""
    if days is None:
        return "-"
    return time.strftime("%Y-%m-%d", time.gmtime(max(0, min(days, 2_000_000)) * 86400))


def when_text(milliseconds: int) -> str:
    """Return a time in ms since the epoch as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(min(milliseconds, 253_402_300_799_000) / 1000))


def today() -> int:
    """Return today as days since 1970-01-01, by UTC as shadow(5) counts."""
    return (datetime.datetime.now(datetime.UTC).date() - _EPOCH).days


class AccountNumber(click.IntRange):
    """A uid or gid in ASCII digits; Python alone would read those of other scripts as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number; it is a mistake of usage if it is none."""
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            self.fail(f"{value!r} is no number", param, ctx)
        return super().convert(value, param, ctx)


class Day(_Numbers):
    """A date as 2027-01-31; days since 1970-01-01 to the program."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a date; it is a mistake of usage if it is none, or before 1970."""
        if isinstance(value, int):
            return value
        try:
            days = (datetime.date.fromisoformat(value) - _EPOCH).days
        except ValueError:
            days = -1
        if days < 0:
            self.fail(f"{value!r} is no date; write it as 2027-01-31", param, ctx)
        return days


class Days(_Numbers):
    """A number of days; ``never`` is -1 to the program."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number or ``never``."""
        if isinstance(value, int):
            return value
        if value == "never":
            return -1
        if not (value.isascii() and value.isdigit() and len(value) <= 6):
            self.fail(f"{value!r} is neither a number of days nor 'never'", param, ctx)
        return int(value)
