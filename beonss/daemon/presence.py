"""Whether the addresses a daemon listens on are addresses of the machine, as an administrator should know.

The sockets are bound either way (:mod:`beonss.net.sockets`) and need nobody to watch them; here is only told what comes
and goes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.sockets import is_here


class Presence:
    """The addresses that one daemon listens on.

    Args:
        here: says whether the machine has an address now.
    """

    log = Logger()

    def __init__(self, here: Callable[[str], bool] = is_here) -> None:
        self._here = here
        self._doors: dict[tuple[str, Endpoint], bool | None] = {}

    def watch(self, door: str, endpoints: Sequence[Endpoint]) -> None:
        """Add addresses.

        Args:
            door: what is served there, in a word.
            endpoints: bound already.
        """
        for endpoint in endpoints:
            self._doors[door, endpoint] = None
        self.look()

    def look(self) -> None:
        """Look which addresses are there, and log what has changed."""
        for (door, endpoint), before in list(self._doors.items()):
            now = self._doors[door, endpoint] = self._here(endpoint.host)
            if before is None and not now:
                self.log.warn(
                    "{door}: {host} is not an address of this machine yet; port {port} is served as soon as it is",
                    door=door,
                    host=endpoint.host,
                    port=endpoint.port,
                )
            elif before is False and now:
                self.log.info("{door}: {endpoint} is served: its address has come", door=door, endpoint=str(endpoint))
            elif before and not now:
                self.log.warn(
                    "{door}: {endpoint} cannot be reached: its address is gone", door=door, endpoint=str(endpoint)
                )

    def listening(self) -> list[dict[str, Any]]:
        """Return each as :class:`beonss.core.cluster.status.Status` has it."""
        self.look()
        return [
            {
                "door": door,
                "address": endpoint.host,
                "port": endpoint.port,
                "state": "listening" if here else "waiting for the address",
            }
            for (door, endpoint), here in self._doors.items()
        ]

    def alarms(self) -> list[str]:
        """Return a text for each address that is not there."""
        self.look()
        return [
            f"{endpoint.host} is not an address of this machine now, so nobody is answered there ({door}, port "
            f"{endpoint.port}); bring its interface up, or take it out of the description or the options"
            for (door, endpoint), here in self._doors.items()
            if not here
        ]
