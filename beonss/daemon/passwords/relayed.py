"""Logins and password changes on a node: a master is asked; and what a master answers when a node asks.

A node is an anonymous client: what it says of its users is believed only as far as they prove it with their
password. So a relayed request is never privileged, and root of a node has to know a user's old password.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from beonss.core.passwords.attempts import Source
from beonss.core.passwords.change import Outcome, line_of
from beonss.daemon.audit_trail import News
from beonss.daemon.passwords.following import Tell
from beonss.daemon.passwords.parts import AuthResult, ChangeRequest, LoginsAndChanges
from beonss.errors import MalformedError, Refused

AUTHENTICATE = "authenticate"
UNKNOWN = "unknown-user"
CHANGE = "change-password"

#: Longest user name and far host, in characters, and password, in bytes, that a node may send.
_LONGEST_NAME = 256
_LONGEST_SECRET = 512

Params = Mapping[str, Any]
Answer = Callable[[Params, str, Callable[[Params], None]], Awaitable[Params]]


class Link(Protocol):
    """A node's connection to its master; :class:`beonss.daemon.node_link.NodeLink` is one."""

    def ask(
        self, kind: str, params: Params, on_event: Callable[[Params], None] = ..., /
    ) -> "Deferred[Mapping[str, Any]]":
        """Ask; the Deferred fails with Refused or Unavailable."""


class RelayedPasswords:
    """Has passwords verified and changed by a master; as :class:`~beonss.daemon.passwords.parts.LoginsAndChanges`.

    Args:
        link: the connection to a master.
        name: of this node, for people.
        now: a clock, in seconds.
    """

    def __init__(self, link: Link, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self.name = name
        self._news = News(now)

    async def authenticate(self, user: str, password: bytes, source: Source) -> AuthResult:
        """Say whether this is the user's password, as a master does.

        Raises:
            Unavailable: no master answers.
            MalformedError: the answer makes no sense.
        """
        data = await self._link.ask(AUTHENTICATE, {"user": user, "password": password, **_told(source)}, _ignore)
        ok, code, message = data.get("ok"), data.get("code"), data.get("message", "")
        if not (isinstance(ok, bool) and isinstance(code, str) and isinstance(message, str)) or ok != (code == "ok"):
            raise MalformedError("the master's answer about a password makes no sense")
        return AuthResult(ok, code, message)

    async def note_unknown(self, source: Source) -> None:
        """Tell a master that somebody came as a user that there is not: it has an audit log.

        Raises:
            Refused, Unavailable: none could be told.
        """
        if self._news.told_now(source.key):
            await self._link.ask(UNKNOWN, _told(source), _ignore)

    async def change(self, request: ChangeRequest, tell: Tell) -> Outcome:
        """Change a password through a master; call ``tell`` with its lines.

        Raises:
            Refused: nothing was changed. ``unknown-outcome``: the connection broke, and it may have been.
            Unavailable: no master can be asked; nothing was changed.
            MalformedError: the answer makes no sense.
        """
        if request.old is None:
            raise Refused("old-password-needed", "the old password is needed: only root of a master goes without")
        params = {"user": request.user, "old": request.old, "new": request.new, **_told(request.source)}

        def on_event(data: Params) -> None:
            try:
                line = line_of(data)
            except MalformedError:
                return
            tell(line)

        return _outcome_of(await self._link.ask(CHANGE, params, on_event))


def node_requests(passwords: LoginsAndChanges, name_of: Callable[[str], str] = str) -> Mapping[str, Answer]:
    """Return what a master answers to nodes, by the kind of request.

    Args:
        passwords: of this master.
        name_of: names a node by its address, for audit lines and authors; the address itself will do.
    """

    async def authenticate(params: Params, address: str, report: Callable[[Params], None]) -> Params:  # noqa: ARG001
        user, password = _name(params, "user"), _secret(params, "password")
        result = await passwords.authenticate(user, password, _source(params, address))
        return {"ok": result.ok, "code": result.code, "message": result.message}

    async def change(params: Params, address: str, report: Callable[[Params], None]) -> Params:
        user = _name(params, "user")
        request = ChangeRequest(
            user=user,
            old=_secret(params, "old"),
            new=_secret(params, "new"),
            source=_source(params, address),
            author=f"{user}@{name_of(address)}",
            privileged=False,
        )
        outcome = await passwords.change(request, lambda line: report(line.data()))
        return {"code": outcome.code, "message": outcome.message, **outcome.data()}

    async def unknown(params: Params, address: str, report: Callable[[Params], None]) -> Params:  # noqa: ARG001
        await passwords.note_unknown(_source(params, address))
        return {}

    return {AUTHENTICATE: authenticate, CHANGE: change, UNKNOWN: unknown}


def _ignore(_: Params) -> None:
    pass


def _told(source: Source) -> dict[str, Any]:
    # The far host only where the master would believe it of us: of a root's program.
    return {"uid": source.uid, "remote": source.remote if not source.uid else ""}


def _source(params: Params, address: str) -> Source:
    """Return where a node's user typed. The address is a fact; the rest only tells users of one node apart."""
    uid, remote = params.get("uid"), params.get("remote", "")
    if uid is not None and (not isinstance(uid, int) or isinstance(uid, bool) or not 0 <= uid < 2**32):
        raise MalformedError("a node's request has a uid that is none")
    if not isinstance(remote, str) or len(remote) > _LONGEST_NAME:
        raise MalformedError("a node's request names a far host that is none")
    return Source(address, uid, remote)


def _name(params: Params, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise MalformedError(f"a node's request has no proper {name!r}")
    return value


def _secret(params: Params, name: str) -> bytes:
    value = params.get(name)
    if not isinstance(value, bytes) or len(value) > _LONGEST_SECRET:
        raise MalformedError(f"a node's request has no proper {name!r}")
    return value


def _outcome_of(data: Params) -> Outcome:
    code, message = data.get("code"), data.get("message")
    held, masters = data.get("held"), data.get("masters")
    names = [data.get(field, []) for field in ("away", "pending", "refused")]
    good = (
        isinstance(code, str)
        and isinstance(message, str)
        and isinstance(held, int)
        and isinstance(masters, int)
        and all(isinstance(some, list | tuple) and all(isinstance(name, str) for name in some) for some in names)
    )
    if not good:
        raise MalformedError("the master's answer about a change makes no sense")
    assert isinstance(code, str)
    assert isinstance(message, str)
    assert isinstance(held, int)
    assert isinstance(masters, int)
    return Outcome(code, message, held, masters, *(tuple(some) for some in names))
