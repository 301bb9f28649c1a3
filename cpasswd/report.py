"""Telling the user about a change, place by place; or a program, as JSON lines."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from beonss.core.passwords.change import Line, State, line_of
from beonss.wire.control import End, Event

_WORDS: Mapping[State, tuple[str, str]] = {
    # state -> (word, SGR colour of ECMA-48)
    "changed": ("changed", "32"),
    "buffered": ("buffered", "33"),
    "pending": ("pending", "33"),
    "refused": ("REFUSED", "31"),
}
_WIDTH = 16


class Reporter(Protocol):
    """Who is told."""

    def event(self, event: Event) -> None:
        """Tell of an event while the request runs."""

    def end(self, end: End, exit_code: int) -> None:
        """Tell the end."""

    def trouble(self, code: str, message: str, exit_code: int) -> None:
        """Tell what this program itself found in the way."""


class TextReporter:
    """Tells a person: the places on standard output, everything else on standard error.

    Args:
        quiet: only what went wrong.
        now: wall clock, seconds since the epoch.
    """

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None, now: float | None = None) -> None:
        self._quiet = quiet
        self._out = out or sys.stdout
        self._now = now
        self._colour = self._out.isatty()

    def event(self, event: Event) -> None:
        """Print the line of a place as it becomes known."""
        if event.name != "line" or self._quiet:
            return
        print(self.text(line_of(event.data)), file=self._out, flush=True)

    def text(self, line: Line) -> str:
        """Return what is printed for a place."""
        word, colour = _WORDS[line.state]
        shown = f"{word:<8}"
        if self._colour:
            shown = f"\x1b[{colour}m{shown}\x1b[0m"
        why = printable(line.detail)
        if line.since is not None:
            why = f"{why or 'away'} since {self._moment(line.since)}"
        name = printable(line.name)
        if line.kind == "target":
            name = f"{name} (target)"
        return f"  {name:<{_WIDTH}}  {shown}  {why}".rstrip()

    def _moment(self, since: float) -> str:
        now = time.time() if self._now is None else self._now
        try:
            local = time.localtime(since)
        except (OverflowError, ValueError, OSError):
            return "an unknown time"
        return time.strftime("%H:%M:%S" if abs(now - since) < 43200 else "%Y-%m-%d %H:%M", local)

    def end(self, end: End, exit_code: int) -> None:
        """Print how it went."""
        if exit_code == 0:
            if not self._quiet:
                print(f"cpasswd: {printable(end.message)}", file=self._out, flush=True)
            return
        self.trouble(end.code, end.message, exit_code)

    def trouble(self, code: str, message: str, exit_code: int) -> None:  # noqa: ARG002 - the protocol's arguments
        """Print what is wrong."""
        print(f"cpasswd: {printable(message)}", file=sys.stderr, flush=True)


class JsonReporter:
    """Tells a program: one JSON object per line on standard output, the last with ``end``."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def event(self, event: Event) -> None:
        """Print an event."""
        self._print({"event": event.name, **event.data})

    def end(self, end: End, exit_code: int) -> None:
        """Print the end."""
        self._print({"end": {"code": end.code, "message": end.message, "exit": exit_code, **end.data}})

    def trouble(self, code: str, message: str, exit_code: int) -> None:
        """Print what is wrong, as an end."""
        self._print({"end": {"code": code, "message": message, "exit": exit_code}})

    def _print(self, value: Mapping[str, Any]) -> None:
        print(json.dumps(value, separators=(",", ":")), file=self._out, flush=True)


def printable(text: str) -> str:
    """Return text from elsewhere without anything that would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
