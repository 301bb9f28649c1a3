"""Standard output as the commands with tables use it."""

import sys

from rich.console import Console
from rich.markup import escape

from beonss.admin.asking import plain

#: Columns where nobody looks at it at once: a line in a file or a pager is not folded.
_WIDE = 250


def terminal(*, markup: bool = False) -> Console:
    """Return standard output. Without ``markup`` brackets in a text are brackets, and not the name of a colour.

    Colons are colons in any case: what rich takes for an emoji is a part of an IPv6 address.
    """
    return Console(highlight=False, emoji=False, markup=markup, width=None if sys.stdout.isatty() else _WIDE)


def literal(value: object) -> str:
    """Return text that is shown as it is where there is markup: ``[fd00::1]:53`` is an address there too."""
    return escape(plain(value))
