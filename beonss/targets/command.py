"""A command of the administrator's as a delivery target: run once for each account that changed.

The program gets two or more arguments, ``set`` or ``remove`` and the kind and name of the account, after those of the
settings (``PROGRAM ARGUMENT... set user alice``), and one JSON object on its standard input::

    {"version": 1, "event": "set", "kind": "user", "id": "...", "name": "alice", "author": "root@frodo",
     "uid": 1000, "gid": 100, "gecos": "", "home": "/home/alice", "shell": "/bin/sh",
     "hash": "$6$...", "changed": 20000, "locked": false,
     "aging": {"minimum": null, "maximum": 99999, "warning": 7, "inactive": null, "expires": null}}

A group has ``gid`` and ``members`` instead. What is removed has no more than ``version`` to ``author``. The same
state may come again, and two accounts that exchange their numbers come one after the other: the program has to take
both so. Exit code 0 is success, 75 (sysexits.h EX_TEMPFAIL) means later,
any other is a refusal. The first line of its standard error is shown to operators.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beonss.core.targets.delivery import DELIVERED, Outcome, PermanentTargetError, State, UserState

#: sysexits.h EX_TEMPFAIL.
LATER = 75
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """How the command is run.

    Attributes:
        name: the target's name.
        argv: program, by its absolute path, and its first arguments; never given to a shell.
        timeout: seconds after which it, and what it started, is killed; then it is tried again later.
        shared: whether every master runs it for one and the same thing: then the others leave it to the origin first.
    """

    name: str
    argv: tuple[str, ...]
    timeout: float = 30.0
    shared: bool = False


class CommandTarget:
    """Runs the command; blocking, one account at a time."""

    kind = "command"
    batch_limit: int | None = 20

    def __init__(self, settings: CommandSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.shared = settings.shared

    def conflicts(self) -> list[str]:
        """Return nothing: whether something is in the way only the command knows."""
        return []

    def reassert(self, names: Iterable[str] | None = None, *, shrink: bool = False) -> None:
        """Do nothing: every delivery is told in full."""

    def close(self) -> None:
        """Do nothing: nothing is held between deliveries."""

    def deliver(self, states: Sequence[State]) -> list[Outcome]:
        """Run the command for each state; one outcome per state, in their order.

        Raises:
            PermanentTargetError: the program cannot be started.
        """
        return [self._run(state) for state in states]

    def _run(self, state: State) -> Outcome:
        program = self.settings.argv[0]
        event = "remove" if state.entry is None else "set"
        kind = "user" if isinstance(state, UserState) else "group"
        if state.name.startswith("-"):
            return Outcome("refused", f"{self.name}: a name that begins with '-' would be taken for an option")
        try:
            process = subprocess.Popen(  # noqa: S603 - the administrator's own program, never through a shell
                [*self.settings.argv, event, kind, state.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "an argument holds a NUL byte"
            raise PermanentTargetError(f"{program}: cannot be run: {why}") from None
        with process:
            try:
                _, said = process.communicate(_document(event, kind, state), timeout=self.settings.timeout)
            except subprocess.TimeoutExpired:
                # What it started is in its session too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return Outcome("failed", f"{self.name}: {program} was killed after {self.settings.timeout:g} s")
        if process.returncode == 0:
            return DELIVERED
        words = _first_line(said, state)
        if process.returncode < 0:
            return Outcome("failed", f"{self.name}: {program} was ended by signal {-process.returncode}{words}")
        if process.returncode == LATER:
            return Outcome("failed", f"{self.name}: {program} wants to be tried again later{words}")
        return Outcome("refused", f"{self.name}: {program} ended with code {process.returncode}{words}")


def _document(event: str, kind: str, state: State) -> bytes:
    said: dict[str, Any] = {
        "version": 1,
        "event": event,
        "kind": kind,
        "id": state.object,
        "name": state.name,
        "author": state.author,
    }
    if state.entry is not None:
        said.update(asdict(state.entry))
        if isinstance(state, UserState):
            said["hash"] = None if state.password is None else state.password.hash
            said["changed"] = None if state.password is None else state.password.changed
            said["locked"] = state.locked
            said["aging"] = asdict(state.aging)
        else:
            said["members"] = list(state.members)
    return json.dumps(said).encode("ascii") + b"\n"


def _first_line(said: bytes, state: State) -> str:
    """Return what the program said, as a part of a sentence; a hash it repeats is not shown."""
    line = said[:4096].strip().split(b"\n", 1)[0].decode("utf-8", "replace")
    if isinstance(state, UserState) and state.password is not None and state.password.hash:
        line = line.replace(state.password.hash, "<hidden>")
    shown = "".join(letter if letter.isprintable() else "?" for letter in line[:_SHOWN])
    return f": {shown}" if shown else ""
