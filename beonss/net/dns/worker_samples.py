"""What a DNS process does for the log of queries: it takes some, and hands runs of them to the daemon.

They are looked at there. A run goes when it is long enough or a moment old; what the daemon does not take in time is
left out, and counted.
"""

from typing import Any, Final

from beonss.core.zones.query_log import MOST_EVERY
from beonss.errors import MalformedError
from beonss.net.dns.tap import QueryTap
from beonss.net.dns.worker_channel import Message
from beonss.net.dns.worker_link import Link
from beonss.wire.query_sample import Sample, pack

#: Samples in a run: below what a message holds.
RUN: Final = 128
#: Seconds until one that is shorter goes.
DELAY: Final = 0.1


class WorkerSamples:
    """The samples of one process.

    Args:
        reactor: for times.
        link: to the daemon.

    Attributes:
        tap: takes queries; None where none are to be taken.
    """

    def __init__(self, reactor: Any, link: Link) -> None:
        self._reactor = reactor
        self._link = link
        self._samples: list[Sample] = []
        self._missed = 0
        self._turn: Any = None
        self.tap: QueryTap | None = None

    def ask(self, message: Message) -> None:
        """Take from now on as the daemon says: one of ``every``, or none with 0.

        Raises:
            MalformedError: the message makes no sense.
        """
        every = message.number("every")
        if every > MOST_EVERY:
            raise MalformedError(f"one of {every} queries cannot be taken")
        self._samples.clear()
        self._missed = 0
        self.tap = QueryTap(every, message.number("seed"), self._taken) if every else None

    def stop(self) -> None:
        """Hand over what there is, and take no more."""
        self.tap = None
        if self._turn is not None:
            self._turn.cancel()
        self._hand_over()

    def _taken(self, samples: list[Sample], missed: int) -> None:
        room = RUN - len(self._samples)
        self._samples += samples[:room]
        self._missed += missed + max(0, len(samples) - room)
        if len(self._samples) >= RUN:
            if self._turn is not None:
                self._turn.cancel()
            self._hand_over()
        elif self._turn is None:
            self._turn = self._reactor.callLater(DELAY, self._hand_over)

    def _hand_over(self) -> None:
        self._turn = None
        if not self._samples and not self._missed:
            return
        if self._link.offer("samples", pack(self._samples), missed=self._missed):
            self._missed = 0
        else:
            self._missed += len(self._samples)
        self._samples.clear()
