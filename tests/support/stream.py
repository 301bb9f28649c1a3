"""A stream of password changes from several people at once, on whatever master they happen to sit at.

Each change is remembered with how it ended, so that a test can say at the end which passwords may hold.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cluster import Machine

from beonss.errors import Refused, Unavailable
from beonss.store.control import ControlClient, Interrupted

#: The changes that the daemon said it holds.
ACKNOWLEDGED = frozenset({"ok", "held-here-only"})


@dataclass
class History:
    """What became of one user's changes: the last acknowledged one, and those after it that nobody knows of."""

    held: str
    open: list[str] = field(default_factory=list)
    acknowledged: int = 0

    @property
    def possible(self) -> set[str]:
        """The passwords that may hold when all is quiet."""
        return {self.held, *self.open}


class Stream:
    """Changes passwords until it is left.

    Args:
        machines: where; one that is down is a refusal, another is tried next.
        users: user -> the password now; one thread each.
        seed: of the choice of machines.
        choose: overrides the choice: user -> machine.
    """

    def __init__(
        self,
        machines: Iterable[Machine],
        users: dict[str, str],
        *,
        seed: int = 0,
        choose: Callable[[str], Machine] | None = None,
    ) -> None:
        self._machines = list(machines)
        self._random = random.Random(seed)
        self._choose = choose or (lambda _: self._random.choice(self._machines))
        self.histories = {user: History(password) for user, password in users.items()}
        self.outcomes: Counter[str] = Counter()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(user,), name=user) for user in users]
        self.errors: list[BaseException] = []

    def __enter__(self) -> "Stream":
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each finish its change."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> int:
        """How many changes were acknowledged in all."""
        return sum(history.acknowledged for history in self.histories.values())

    def _run(self, user: str) -> None:
        history = self.histories[user]
        try:
            for number in range(100_000):
                if self._ending.is_set():
                    return
                self._change(user, f"{user}-was-here-{number}", history)
        except BaseException as error:
            self.errors.append(error)

    def _change(self, user: str, password: str, history: History) -> None:
        machine = self._choose(user)
        try:
            with ControlClient(str(machine.control)) as client:
                code = client.converse("change-password", {"user": user, "new": password}).code
        except Interrupted:
            # It died meanwhile: the change is on its disk, or it is not.
            history.open.append(password)
            self.outcomes["interrupted"] += 1
            return
        except (Unavailable, Refused) as error:
            code = type(error).__name__.lower()
        self.outcomes[code] += 1
        if code in ACKNOWLEDGED:
            # Everything before it has a lower stamp: one clock for all, and what was interrupted is dead.
            history.held, history.open = password, []
            history.acknowledged += 1
        else:
            time.sleep(0.02)
