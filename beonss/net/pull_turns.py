"""Who is asked first: after an absence all other masters hold the same for us, and one of them is enough.

The first question on each connection waits for its turn. While one master's answer is coming in, the others are not
asked; asked then, they send only what it did not have. Whoever stays silent loses its turn, but not its question; so
does one whose answer comes so slowly that it would keep the news of all others away for too long.
"""

from typing import Any, Final

from twisted.internet.defer import Deferred

#: Seconds without a page after which the next master is asked all the same.
PATIENCE: Final = 1.0
#: Seconds after which a turn ends though pages come: several times what 100,000 users take.
LONGEST: Final = 30.0


class PullTurns:
    """Turns of asking.

    Args:
        reactor: for times.
        patience: seconds that whoever has the turn may be silent.
        longest: seconds that a turn lasts at most.
    """

    def __init__(self, reactor: Any, patience: float = PATIENCE, longest: float = LONGEST) -> None:
        self._reactor = reactor
        self._patience = patience
        self._longest = longest
        self._until = 0.0
        self._holder: object | None = None
        self._timer: Any = None
        self._waiting: dict[object, Deferred[None]] = {}

    def wait(self, who: object) -> "Deferred[None]":
        """Return a Deferred that fires when ``who`` may ask; it has the turn from then on."""
        turn: Deferred[None] = Deferred()
        self._waiting[who] = turn
        if self._holder is None:
            self._next()
        return turn

    def progress(self, who: object) -> None:
        """Note that a part of the answer came."""
        if who is self._holder:
            left = self._until - self._reactor.seconds()
            self._timer.reset(max(0.0, min(self._patience, left)))

    def end(self, who: object) -> None:
        """Note that the answer is whole, or that ``who`` is gone, with or without a turn."""
        self._waiting.pop(who, None)
        if who is self._holder:
            self._holder = None
            self._timer.cancel()
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._holder = next(iter(self._waiting))
            self._until = self._reactor.seconds() + self._longest
            self._timer = self._reactor.callLater(self._patience, self._silent)
            self._waiting.pop(self._holder).callback(None)

    def _silent(self) -> None:
        self._holder = None
        self._next()
