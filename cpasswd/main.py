"""The ``cpasswd`` command: change a password once, on every master and in the directory.

It asks the daemon of its own machine (:mod:`beonss.store.control`) and starts quickly: no Twisted, no third party.
Its man page is ``docs/man/cpasswd.1``.
"""

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from beonss import __version__
from beonss.core.passwords.change import EXIT_CODES, EXIT_REFUSED, HELD_HERE_ONLY, exit_code
from beonss.core.passwords.policy import impossibilities
from beonss.errors import BeonssError, MalformedError, Refused, Unavailable
from beonss.store.control import PATH_VARIABLE, ControlClient, Interrupted, default_path
from beonss.wire.control import End, Event, secret_text
from cpasswd.report import JsonReporter, Reporter, TextReporter, printable
from cpasswd.terminal import EndOfInput, NoTerminal, Terminal

EXIT_USAGE = 2
EXIT_UNAVAILABLE = EXIT_CODES["unavailable"]
EXIT_UNKNOWN = EXIT_CODES["unknown-outcome"]
EXIT_INTERRUPTED = 128 + signal.SIGINT

#: Seconds to wait for the daemon's next word. It may wait 5 s for its boot and 3 s for others, and hashing queues.
PATIENCE = 60.0
#: How often a new password may be typed anew when it is not taken or not typed twice alike.
TRIES = 3

_COMMITTED = "The password is changed, every master will get it; beonss status shows which have it."

DESCRIPTION = """\
Change your password, or with USER that user's, on every master of the cluster and in the directory at once.
Masters that are away get the change when they come back; a line tells about each."""

EPILOG = f"""\
exit codes:
  0  changed: at least two masters hold it (or the only one there is)
  1  refused: nothing was changed
  2  usage: nothing was changed
  3  changed, but so far only one master holds it
  4  no daemon or no master can be reached: nothing was changed
  5  changed, but a target (the directory, for example) did not take it
  6  the connection broke: whether it was changed is not known
  {EXIT_INTERRUPTED}  interrupted

files and environment:
  /run/beonss/control  the daemon's socket; --socket or {PATH_VARIABLE} names another"""


class _Parser(argparse.ArgumentParser):
    """A parser that repeats nothing from the command line: a word there may be a password."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong in our own words, and exit."""
        del message  # argparse quotes the words it does not know
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, "cpasswd: options or words that it does not know; see cpasswd --help\n")


class _Stop(Exception):  # noqa: N818 - it is no error but the way out
    """The program ends here."""

    def __init__(self, code: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cpasswd",
        usage="cpasswd [--stdin] [--socket PATH] [--json] [-q] [USER]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("user", metavar="USER", nargs="*", help="whose password; default: your own")
    parser.add_argument(
        "--stdin",
        action="store_true",
        help="read the passwords from standard input, one per line: the old one (not for root of a master), the new",
    )
    parser.add_argument("--socket", metavar="PATH", help="the daemon's socket")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, for programs")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only what went wrong")
    parser.add_argument("--version", action="version", version=f"cpasswd {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with one of the documented codes."""
    for number in (0, 1, 2):
        # A shell may close any of them; what is opened next must not take its place.
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the life of the process
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - likewise
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that this terminal's character set lacks is no reason to fail half way.
        sys.stdout.reconfigure(errors="replace")
    reporter: Reporter = JsonReporter() if options.json else TextReporter(quiet=options.quiet)
    if len(options.user) > 1:
        reporter.trouble(
            "usage",
            "one user at most. If one of these words is a password: everybody on this machine could see it; "
            "choose another. Passwords are asked for, or read with --stdin. Nothing was changed.",
            EXIT_USAGE,
        )
        sys.exit(EXIT_USAGE)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # As an exception, so that the terminal gets its echo back.
        signal.signal(number, _killed)
    change = _Change(options.user[0] if options.user else None, options.socket, reporter, stdin=options.stdin)
    try:
        sys.exit(change.run())
    except _Stop as stop:
        reporter.trouble(stop.code, str(stop), stop.exit_code)
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        reporter.trouble("interrupted", change.standing, EXIT_INTERRUPTED)
        sys.exit(EXIT_INTERRUPTED)
    except OSError:
        # The reader went away, or the disk behind it is full: the rest of the answer has no one to be told to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(EXIT_UNKNOWN)


def _killed(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _unchanged(message: str) -> str:
    return f"{message.rstrip('.')}. Nothing was changed."


class _Change:
    """One run of the command.

    Attributes:
        standing: what is true if the program ends now, for people.
    """

    def __init__(self, user: str | None, path: str | None, reporter: Reporter, *, stdin: bool) -> None:
        self._user = user
        self._client = ControlClient(path or default_path(), PATIENCE)
        self._reporter = reporter
        self._stdin = stdin
        self._committed = False
        self.standing = "interrupted; nothing was changed"

    def run(self) -> int:
        """Change the password; return the exit code."""
        with self._connected():
            parameters = {} if self._user is None else {"user": self._user}
            terms = self._ask_terms(parameters)
            user, needs_old = str(terms.data.get("user")), terms.data.get("needs_old") is not False
            if self._stdin:
                return self._from_input(user, needs_old)
            return self._from_terminal(user, needs_old, str(terms.data.get("role")))

    def _connected(self) -> ControlClient:
        try:
            self._client.connect()
        except Unavailable as error:
            raise _Stop("unavailable", _unchanged(str(error)), EXIT_UNAVAILABLE) from None
        return self._client

    def _ask_terms(self, parameters: dict[str, str]) -> End:
        try:
            return self._client.ask("password-terms", parameters)
        except Refused as error:
            raise _Stop(error.code, _unchanged(str(error)), EXIT_REFUSED) from None
        except BeonssError as error:
            raise _Stop("unavailable", _unchanged(str(error)), EXIT_UNAVAILABLE) from None

    def _from_input(self, user: str, needs_old: bool) -> int:
        wanted = 2 if needs_old else 1
        # Of at most 512 bytes each; more is no password and is not read to its end.
        lines = sys.stdin.buffer.read(4096).split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        if len(lines) != wanted:
            words = "two lines, the old password and the new one" if needs_old else "one line, the new password"
            raise _Stop(
                "usage",
                f"standard input has to hold {words}; it has {len(lines)} lines. Nothing was changed.",
                EXIT_USAGE,
            )
        return self._finish(self._converse(user, lines[0] if needs_old else None, lines[-1]))

    def _from_terminal(self, user: str, needs_old: bool, role: str) -> int:
        try:
            with Terminal() as terminal:
                terminal.say(f"Changing the password of {printable(user)}.")
                if needs_old and os.geteuid() == 0 and role == "node":
                    terminal.say("This is a node: its root needs the old password too. Root of a master does not.")
                old = terminal.ask("Old password: ") if needs_old else None
                for _ in range(TRIES - 1):
                    end = self._converse(user, old, self._new_password(terminal))
                    if end.code != "weak-password":
                        return self._finish(end)
                    terminal.say(f"cpasswd: {printable(end.message)}.")
                return self._finish(self._converse(user, old, self._new_password(terminal)))
        except NoTerminal:
            raise _Stop(
                "usage", "there is no terminal to ask at; use --stdin. Nothing was changed.", EXIT_USAGE
            ) from None
        except EndOfInput:
            raise _Stop("interrupted", "no password was typed; nothing was changed.", EXIT_INTERRUPTED) from None

    def _new_password(self, terminal: Terminal) -> bytes:
        for _ in range(TRIES):
            new = terminal.ask("New password: ")
            if reasons := impossibilities(new):
                terminal.say(f"That can be no password: {'; '.join(reason.message for reason in reasons)}.")
            elif terminal.ask("New password again: ") == new:
                return new
            else:
                terminal.say("They are not the same.")
        raise _Stop("usage", f"no new password after {TRIES} tries. Nothing was changed.", EXIT_REFUSED)

    def _converse(self, user: str, old: bytes | None, new: bytes) -> End:
        parameters = {"user": user, "new": secret_text(new)}
        if old is not None:
            parameters["old"] = secret_text(old)
        if any(len(secret) > 512 for secret in (old or b"", new)):
            raise _Stop("weak-password", "a password is longer than 511 bytes. Nothing was changed.", EXIT_REFUSED)
        before, self.standing = (
            self.standing,
            "interrupted; whether the password is changed is not known: try the new one, then the old one",
        )
        try:
            end = self._client.converse("change-password", parameters, self._event)
        except Interrupted as error:
            if self._committed:
                raise _Stop(HELD_HERE_ONLY, f"{error}. {_COMMITTED}", EXIT_CODES[HELD_HERE_ONLY]) from None
            raise _Stop("unknown-outcome", f"{error}: try the new password, then the old one", EXIT_UNKNOWN) from None
        except MalformedError as error:
            raise _Stop("unknown-outcome", f"{error}; whether it is changed is not known", EXIT_UNKNOWN) from None
        if exit_code(end.code) in {EXIT_REFUSED, EXIT_UNAVAILABLE}:
            self.standing = before
        return end

    def _finish(self, end: End) -> int:
        if end.code == "unknown-outcome" and self._committed:
            end = End(HELD_HERE_ONLY, f"{end.message}. {_COMMITTED}", end.data)
        number = exit_code(end.code)
        if number in {EXIT_REFUSED, EXIT_UNAVAILABLE}:
            end = End(end.code, _unchanged(end.message), end.data)
        self._reporter.end(end, number)
        return number

    def _event(self, event: Event) -> None:
        if event.name == "line" and event.data.get("state") == "changed" and event.data.get("kind") == "master":
            self._committed = True
            self.standing = f"interrupted. {_COMMITTED}"
        self._reporter.event(event)
