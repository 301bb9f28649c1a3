"""How an upstream is doing: how long to wait for it, when to ask another first, when not to ask it at all.

An upstream that left a question unanswered is *doubtful*: others are asked before it, and it is asked a question of
its own (a probe) until it answers. One that left several unanswered is *down*: nobody's question waits for it. One
that is up but keeps failing where another succeeds steps back for a while. Times are seconds of one monotonic clock.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from beonss.core.zones.forwarding import Upstream

#: Bounds of how long is waited for an upstream before the next is asked as well, seconds.
SHORTEST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 0.8
#: Likewise while nothing is known of it.
FIRST_WAIT: Final = 0.5
#: Questions in a row that stay unanswered until an upstream is down, and for how many seconds they must.
DOWN_AFTER: Final = 3
DOWN_FROM: Final = 1.5
#: Seconds between two probes: the first, and the longest.
FIRST_PROBE, LONGEST_PROBE = 0.5, 5.0
#: Questions in a row at which another did better until an upstream steps back, and for how many seconds.
BEATEN_AFTER: Final = 4
BEATEN_FOR: Final = 20.0
#: Seconds for which one that did not understand EDNS is asked without.
PLAIN_FOR: Final = 600.0

# RFC 6298 section 2.
_SMOOTH, _VARIATION, _FACTOR = 0.125, 0.25, 4.0


class Health:
    """What is known of one upstream.

    Attributes:
        unanswered: questions in a row that got no answer.
        since: since when it has not answered; None while it does.
        down: nobody's question should wait for it.
    """

    __slots__ = (
        "_average", "_beaten", "_deviation", "_heard", "_plain", "_stepped_back", "down", "since", "unanswered",
    )  # fmt: skip

    def __init__(self) -> None:
        self.unanswered = 0
        self.down = False
        self.since: float | None = None
        self._average: float | None = None
        self._deviation = 0.0
        self._heard = float("-inf")
        self._beaten = 0
        self._stepped_back = float("-inf")
        self._plain = float("-inf")

    @property
    def wait(self) -> float:
        """Seconds to wait for an answer before the next upstream is asked as well."""
        if self._average is None:
            return FIRST_WAIT
        return min(LONGEST_WAIT, max(SHORTEST_WAIT, self._average + _FACTOR * self._deviation))

    def heard(self, now: float, took: float) -> None:
        """Note an answer of any kind, ``took`` seconds after the question."""
        self._heard = now
        self.unanswered = 0
        self.down = False
        self.since = None
        # A name that took long to resolve says little about the way there.
        took = min(took, LONGEST_WAIT)
        if self._average is None:
            self._average, self._deviation = took, took / 2
        else:
            self._deviation += _VARIATION * (abs(took - self._average) - self._deviation)
            self._average += _SMOOTH * (took - self._average)

    def missed(self, sent: float, now: float) -> bool:
        """Note that a question sent at ``sent`` was not answered so far; return whether that makes it doubtful.

        It does not where anything was heard since then: then the question is slow, not the upstream.
        """
        if self._heard >= sent:
            return False
        self.unanswered += 1
        if self.since is None:
            self.since = now
        self.down = self.unanswered >= DOWN_AFTER and now >= self.since + DOWN_FROM
        return True

    def beaten(self, now: float) -> None:
        """Note that it was asked first and another one gave the answer."""
        self._beaten += 1
        if self._beaten >= BEATEN_AFTER:
            self._beaten = 0
            self._stepped_back = now + BEATEN_FOR

    def won(self) -> None:
        """Note that it gave an answer that could be used."""
        self._beaten = 0

    def without_edns(self, now: float) -> None:
        """Note that it did not understand a question with EDNS."""
        self._plain = now + PLAIN_FOR

    def speaks_edns(self, now: float) -> bool:
        """Say whether it is asked with EDNS."""
        return now >= self._plain

    def rank(self, now: float) -> int:
        """Return 0 for one to be asked before those of rank 1."""
        return 1 if self.unanswered or now < self._stepped_back else 0


def probe_pause(probes: int) -> float:
    """Return how many seconds to wait after so many probes that were not answered, before the next."""
    return min(LONGEST_PROBE, FIRST_PROBE * 2.0 ** min(probes - 1, 10))


def in_order(upstreams: Sequence[Upstream], healths: Mapping[Upstream, Health], now: float) -> list[Upstream]:
    """Return which upstreams to ask, in which order; none where all are down.

    Args:
        upstreams: in order of preference.
        healths: of each of them.
        now: seconds.
    """
    usable = [upstream for upstream in upstreams if not healths[upstream].down]
    return sorted(usable, key=lambda upstream: healths[upstream].rank(now))
