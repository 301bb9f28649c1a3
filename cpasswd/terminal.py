"""Asking for passwords at the terminal: on /dev/tty, without echo, as bytes."""

import os
import termios
from types import TracebackType

#: The kernel gives no longer line of a terminal in canonical mode (termios(3)).
_LONGEST = 4096


class NoTerminal(Exception):  # noqa: N818 - what is the case
    """There is no terminal to ask at."""


class EndOfInput(Exception):  # noqa: N818 - what happened
    """Who was asked ended the input instead of answering."""


class Terminal:
    """The terminal that controls this process; a context manager.

    Standard input may be anything: a password is asked for where a person sits.
    """

    def __init__(self, path: str = "/dev/tty") -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> "Terminal":
        """Open it.

        Raises:
            NoTerminal: there is none.
        """
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            termios.tcgetattr(self._descriptor)
        except (OSError, termios.error):
            self.__exit__(None, None, None)
            raise NoTerminal from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def say(self, text: str) -> None:
        """Write a line."""
        self._write(text + "\n")

    def ask(self, prompt: str) -> bytes:
        """Ask for a password; return what was typed, without the end of the line.

        The echo is off while it is typed, and on again however this ends.

        Raises:
            EndOfInput: the end of the input was typed (control-D) instead.
        """
        before = termios.tcgetattr(self._descriptor)
        silent = termios.tcgetattr(self._descriptor)
        silent[3] &= ~(termios.ECHO | termios.ECHOE | termios.ECHOK | termios.ECHONL)
        # What was typed ahead was typed with the echo on: it is thrown away (TCSAFLUSH), not taken for a password.
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)
        try:
            self._write(prompt)
            line = b""
            while not line.endswith(b"\n"):
                data = os.read(self._descriptor, _LONGEST)
                if not data:
                    raise EndOfInput
                line += data
                if len(line) > _LONGEST:
                    break
            return line.rstrip(b"\n")
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
            self._write("\n")

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]
