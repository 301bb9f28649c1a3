"""Calling a master again and again: connect, wait until it ends, back off, jittered."""

import ipaddress
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError, TimeoutError  # noqa: A004 - Twisted's, not Python's
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger

from beonss.core.cluster.endpoints import Endpoint
from beonss.net.connection import Connection, Timing
from beonss.net.tls import calling
from beonss.store.keys import Identity


class _One(Factory):
    """Makes the one connection it was given."""

    noisy = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> Connection:  # noqa: ARG002 - Twisted's signature
        self._connection.factory = self
        return self._connection


def client_endpoint(reactor: Any, endpoint: Endpoint, timeout: float) -> Any:
    """Return how to connect; names go through the resolver, addresses do not."""
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        return HostnameEndpoint(reactor, endpoint.host, endpoint.port, timeout)
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    return kind(reactor, endpoint.host, endpoint.port, timeout)


def backoff(tries: int, bounds: tuple[float, float], uniform: Callable[[], float]) -> float:
    """Return the seconds to wait after ``tries`` failures in a row: doubling, with full jitter above a half.

    Args:
        tries: from 1.
        bounds: the first and the longest wait.
        uniform: gives numbers in [0, 1).
    """
    wait = min(bounds[0] * float(1 << min(tries - 1, 30)), bounds[1])
    return wait * (0.5 + 0.5 * uniform())


class Caller:
    """Keeps one connection to a master: the next is tried when one ends.

    Args:
        reactor: for sockets and times.
        identity: shown to the master; None for a node.
        timing: connect timeout and backoff.
        places: the endpoints to try next, best first; asked anew for each round.
        make: makes the protocol for an endpoint.
        gone: called with the text when a connection ends or could not be made.

    Attributes:
        connection: the one that stands or is being made.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        identity: Identity | None,
        timing: Timing,
        places: Callable[[], Sequence[Endpoint]],
        make: Callable[[Endpoint], Connection],
        gone: Callable[[str], None],
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._timing = timing
        self._places = places
        self._make = make
        self._gone = gone
        self._uniform = uniform
        self._pause: Deferred[None] | None = None
        self._loop: Deferred[None] | None = None
        self._retry = 0.0
        self._woken = False
        self._stopping = False
        self.connection: Connection | None = None

    def start(self) -> None:
        """Begin to call."""
        if self._loop is None:
            self._loop = Deferred.fromCoroutine(self._run())

    def wake(self) -> None:
        """Do not wait for the backoff to end: there is reason to believe that the master is back."""
        self._woken = True
        if self._pause is not None:
            self._pause.cancel()

    def later(self, seconds: float) -> None:
        """Wait at least so long before the next try (the master is full)."""
        self._retry = seconds

    async def stop(self) -> None:
        """End the connection and call no more."""
        loop, self._loop = self._loop, None
        self._stopping = True
        if loop is None:
            return
        connection = self.connection
        loop.addErrback(lambda failure: failure.trap(CancelledError) and None)
        loop.cancel()
        if connection is not None and connection.transport is not None:
            connection.abort("stopping")
            if not connection.closed.called:
                await connection.closed

    def _is_stopping(self) -> bool:
        return self._stopping

    async def _run(self) -> None:
        tries = 0
        while not self._is_stopping():
            stood = steady = False
            reason = "it has no address"
            for place in self._places():
                reason, stood, steady = await self._call(place)
                if stood or self._is_stopping():
                    break
            tries = 1 if steady else tries + 1
            if stood:
                self._retry = 0.0
            if self._is_stopping():
                return
            self._gone(reason)
            if self._woken:
                self._woken = False
                tries = 1
            wait = max(backoff(tries, self._timing.backoff, self._uniform), self._retry * (1 + self._uniform()))
            self._retry = 0.0
            self._pause = deferLater(self._reactor, wait, lambda: None)
            try:
                await self._pause
            except CancelledError:
                if self._is_stopping():
                    return
            finally:
                self._pause = None

    async def _call(self, place: Endpoint) -> tuple[str, bool, bool]:
        connection = self._make(place)
        self.connection = connection
        try:
            factory = calling(self._identity, _One(connection), self._reactor)
            endpoint = client_endpoint(self._reactor, place, self._timing.connect)
            try:
                await endpoint.connect(factory)
            except CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever keeps us from connecting: it is told and tried again
                return f"{place}: {why_unreachable(error)}", False, False
            reason = await _waited(connection.closed)
            return f"{place}: {reason}", connection.was_established, connection.was_steady
        finally:
            self.connection = None


async def _waited(closed: Deferred[str]) -> str:
    """Wait for a connection's end without cancelling its Deferred when the waiting is cancelled."""
    mine: Deferred[str] = Deferred()

    def pass_on(reason: str) -> str:
        if not mine.called:
            mine.callback(reason)
        return reason

    closed.addCallback(pass_on)
    return await mine


def why_unreachable(error: Exception) -> str:
    """Return, for an operator, why a connection could not be made."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    number = getattr(error, "osError", None)
    return str(error) if not isinstance(number, int) else os.strerror(number)


async def answers(reactor: Any, place: Endpoint, timeout: float) -> bool:
    """Say whether something takes connections at a place; it is not greeted."""
    try:
        probe = await client_endpoint(reactor, place, timeout).connect(Factory.forProtocol(Protocol))
    except CancelledError:
        raise
    except Exception:  # noqa: BLE001 - whatever keeps us from connecting: no
        return False
    probe.transport.abortConnection()
    return True
