"""``beonss audit``: who tried what, where, and how it went - on all masters."""

import datetime
import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from beonss.admin.options import control_option
from beonss.store.control import ControlClient

#: Seconds between two questions while following.
INTERVAL = 1.0
#: The most lines of a master in one answer.
_MOST = 1000
_SHOWN = ("time", "machine", "event", "user")


@click.command(name="audit")
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines as they come, until interrupted.")
@click.option("--lines", "-n", metavar="N", type=click.IntRange(0, 1000), default=100, show_default=True,
              help="Begin with the last N lines of each master.")  # fmt: skip
@click.option("--user", metavar="USER", help="Only what concerns this user.")
@click.option("--here", is_flag=True, help="Only what was tried on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are: JSON.")
@control_option
def command(*, follow: bool, lines: int, user: str | None, here: bool, as_json: bool, control: str | None) -> None:
    """Show the audit logs of all masters, by time.

    Each line tells a login or a change of an account that was tried: when and on which master, of whom, from where, by
    whom, and how it went. No line holds a password or a hash. A master that does not answer is named on standard error.

    Exit codes: 0 shown (also when following was interrupted), 1 no master runs here, 2 usage.
    """
    # What is left out may not count as one of the last N lines.
    first = _MOST if user is not None and lines else lines
    places: dict[str, Any] = {}
    missed: dict[str, str] = {}
    with suppress(KeyboardInterrupt), ControlClient(control, timeout=30) as client:
        while True:
            told = client.ask("audit", {"places": places, "lines": _MOST if places else first, "here": here}).data
            found = [line for line in told["lines"] if user is None or line.get("user") == user]
            # Also of a master that was silent when this began.
            found = last_of_each(found, lines, told["places"].keys() - places.keys())
            places = told["places"]
            for name, why in told["silent"].items():
                if missed.get(name) != why:
                    click.echo(f"beonss: {name} does not tell its lines: {why}", err=True)
            missed = told["silent"]
            for line in found:
                click.echo(json.dumps(line) if as_json else shown(line))
            if not follow:
                return
            if not told["lines"]:
                time.sleep(INTERVAL)


def last_of_each(found: Sequence[Mapping[str, Any]], lines: int, of: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the last ``lines`` lines of each machine in ``of`` and all of the others, in the order they had."""
    counts: Counter[str] = Counter()
    kept: list[Mapping[str, Any]] = []
    for line in reversed(found):
        machine = str(line.get("machine"))
        counts[machine] += 1
        if counts[machine] <= lines or machine not in of:
            kept.append(line)
    return kept[::-1]


def shown(line: Mapping[str, Any]) -> str:
    """Return a line for people; control characters in it cannot paint a terminal."""
    when = line.get("time")
    stamp = (
        datetime.datetime.fromtimestamp(when, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if isinstance(when, int | float)
        else "?"
    )
    rest = " ".join(f"{name}={_plain(value)}" for name, value in line.items() if name not in _SHOWN)
    who = (_plain(line.get(name, "-")) for name in ("machine", "event", "user"))
    return " ".join([stamp, *who, rest]).rstrip()


def _plain(value: object) -> str:
    text = str(value)
    return "".join(c if c.isprintable() else "?" for c in text) if text else '""'
