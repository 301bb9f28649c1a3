"""The doors of a daemon on its own machine: the control socket, and the one where the stock NSS and PAM modules ask."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from beonss.core.accounts.lookup import Lookups
from beonss.net.control import ControlFactory, Operation, listen_control
from beonss.net.nslcd import NslcdFactory, listen_nslcd
from beonss.net.pam import PamBackend, PamDoor
from beonss.wire.nslcd_answer import Answers


class LocalDoors:
    """What of these is open; ``given`` are sockets that were handed over and listen already.

    Args:
        reactor: the reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._closing: list[Callable[[], Any]] = []

    def open_control(
        self, path: Path, operations: Mapping[str, Operation], given: socket.socket | None, *, hint: str = ""
    ) -> None:
        """Take requests of commands on the control socket.

        Args:
            path: of the socket.
            operations: what may be asked, by name.
            given: see above.
            hint: what to do about an operation that there is not here, after its name.

        Raises:
            ConfigurationError: it cannot be had.
        """
        factory = ControlFactory(self._reactor, operations, owner=os.geteuid(), hint=hint)
        self._closing.append(listen_control(self._reactor, path, factory, given).stopListening)
        self._closing.append(factory.close)

    def open_nslcd(
        self,
        path: Path | None,
        lookups: Lookups,
        pam: PamBackend,
        given: socket.socket | None,
        *,
        root_override: bool = False,
    ) -> None:
        """Answer lookups, logins and changes of the stock modules.

        Args:
            path: of the socket; None where nobody is to ask.
            lookups: who is served here.
            pam: who knows passwords.
            given: see above.
            root_override: whether uid 0 is the administrator (masters).

        Raises:
            ConfigurationError: it cannot be had.
        """
        if path is None:
            return
        door = PamDoor(lookups, pam, self._reactor, root_override=root_override)
        factory = NslcdFactory(self._reactor, Answers(lookups), door)
        self._closing.append(listen_nslcd(self._reactor, path, factory, given).stopListening)

    def close_too(self, close: Callable[[], Any]) -> None:
        """Have something else closed with them."""
        self._closing.append(close)

    async def close(self) -> None:
        """Close everything, what was opened last first."""
        closed = [close() for close in reversed(self._closing)]
        self._closing.clear()
        await DeferredList([one for one in closed if isinstance(one, Deferred)], consumeErrors=True)
