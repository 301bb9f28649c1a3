"""The audit logs of all masters, read from any of them.

Each master keeps its own log and reads it out to the others over the exchange they have anyway; nothing is copied.
Whoever follows asks again and again with the places reached: no master remembers who reads.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from beonss.daemon.threads import InThread
from beonss.errors import MalformedError
from beonss.net.control import Operation, Peer, Report
from beonss.store.audit import LINES, Place, read_on

#: The kind of request with which one master asks another for its lines.
AUDIT = "audit"

Params = Mapping[str, Any]


class Others(Protocol):
    """The other masters (:class:`beonss.daemon.replication.sync.Sync`)."""

    @property
    def peers(self) -> Mapping[str, Any]:
        """All of them, by name."""

    def ask(self, name: str, kind: str, params: Params, /) -> "Deferred[Mapping[str, Any]]":
        """Have one do something."""


class AuditReading:
    """Reads the audit log of this master and, through the exchange, those of the others.

    Args:
        path: the log here.
        name: of this master.
        others: the other masters.
        in_thread: runs a blocking function elsewhere.
    """

    def __init__(self, path: Path, name: str, others: Others, in_thread: InThread = deferToThread) -> None:
        self._path = path
        self._name = name
        self._others = others
        self._in_thread = in_thread

    def requests(self) -> dict[str, Any]:
        """Return what other masters may ask of this one."""

        async def audit(params: Params, source: str, report: Callable[[Params], None]) -> Params:  # noqa: ARG001
            return await self._here(params)

        return {AUDIT: audit}

    def operations(self) -> dict[str, Operation]:
        """Return the operation ``audit``.

        It takes ``places`` (machine to [inode, offset], as returned; absent at first), ``lines`` (how many of each
        machine at first) and ``here`` (leave the others out); its end has ``lines``, ``places`` and ``silent`` (machine
        to why).
        """
        return {AUDIT: Operation(self._all, needs_root=True, cancellable=True)}

    async def _all(self, parameters: Params, peer: Peer, report: Report) -> Params:  # noqa: ARG002
        places = parameters.get("places", {})
        if not isinstance(places, dict):
            raise MalformedError("parameter 'places' is no object")
        lines = parameters.get("lines", LINES)
        names = [] if parameters.get("here") is True else list(self._others.peers)
        asked: list[Deferred[Any]] = [
            Deferred.fromCoroutine(self._here({"place": places.get(self._name), "lines": lines}))
        ]
        asked += [self._others.ask(name, AUDIT, {"place": places.get(name), "lines": lines}) for name in names]
        answers = await DeferredList(asked, consumeErrors=True)
        found: list[Any] = []
        silent: dict[str, str] = {}
        reached = dict(places)
        for name, (good, answer) in zip([self._name, *names], answers, strict=True):
            if not good:
                silent[name] = answer.getErrorMessage()
            elif isinstance(answer.get("lines"), Sequence) and isinstance(answer.get("place"), Sequence):
                found += [line for line in answer["lines"] if isinstance(line, dict)]
                reached[name] = list(answer["place"])
            else:
                silent[name] = "its answer makes no sense"
        found.sort(key=_time)
        return {"lines": found, "places": reached, "silent": silent}

    async def _here(self, params: Params) -> dict[str, Any]:
        place, lines = _place(params.get("place")), params.get("lines", LINES)
        if type(lines) is not int or not 0 <= lines <= LINES:
            raise MalformedError(f"'lines' is no number from 0 to {LINES}")
        found, reached = await self._in_thread(_read, self._path, place, lines)
        return {"lines": found, "place": [reached.inode, reached.offset]}


def _read(path: Path, place: Place | None, lines: int) -> tuple[list[dict[str, Any]], Place]:
    if place is None and not lines:
        return [], read_on(path, None, lines=1)[1]
    return read_on(path, place, lines=lines or LINES)


def _place(value: object) -> Place | None:
    if value is None:
        return None
    good = (
        isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int and 0 <= v < 1 << 63 for v in value)
    )
    if not good:
        raise MalformedError("a place in the audit log is no pair of numbers")
    assert isinstance(value, list | tuple)
    return Place(value[0], value[1])


def _time(line: Mapping[str, Any]) -> float:
    value = line.get("time")
    return float(value) if isinstance(value, int | float) else 0.0
