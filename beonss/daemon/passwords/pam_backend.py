"""Who answers PAM behind the nslcd door: the accounts here on a master, a master's on a node.

Both ends of one question live here: :func:`standing_requests` is what a master answers when :class:`NodePam` asks.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast, get_args

from beonss.core.accounts.aging import AccountState, Standing, account_state
from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import LOCAL, Source
from beonss.daemon.passwords.parts import ChangeRequest, LoginsAndChanges
from beonss.daemon.passwords.relayed import Link
from beonss.errors import MalformedError, Refused
from beonss.net.pam import CODES, PamResult, verdict
from beonss.net.unixsocket import Peer
from beonss.wire.nslcd import PamCode

#: The kind of request with which a node asks how an account stands.
AUTHORISE = "authorise"

_LONGEST_NAME = 256

Params = Mapping[str, Any]
Answer = Callable[[Params, str, Callable[[Params], None]], Awaitable[Params]]


class Pam:
    """Authentication and change, the same on masters and nodes.

    Args:
        passwords: verifies and changes.
        name: of this machine.
    """

    def __init__(self, passwords: LoginsAndChanges, name: str) -> None:
        self._passwords = passwords
        self._name = name

    async def authenticate(self, user: str, password: str, service: str, rhost: str, peer: Peer) -> PamResult:  # noqa: ARG002 - the protocol's arguments
        """Say whether this is the user's password."""
        result = await self._passwords.authenticate(user, _secret(password), Source(LOCAL, peer.uid, rhost))
        if result.ok:
            return PamResult(PamCode.SUCCESS, "", user)
        return PamResult(CODES.get(result.code, PamCode.AUTH_ERR), result.message, user)

    async def change_password(self, user: str, asroot: bool, old: str, new: str, peer: Peer) -> PamResult:
        """Change a password; what only this machine holds so far, or a target refused, is told with the success."""
        request = ChangeRequest(
            user=user,
            new=_secret(new),
            old=None if asroot else _secret(old),
            source=Source(LOCAL, peer.uid),
            author=f"{'root' if asroot else user}@{self._name}",
            privileged=asroot,
        )
        outcome = await self._passwords.change(request, lambda _: None)
        return PamResult(PamCode.SUCCESS, outcome.message, user)

    async def note_unknown(self, rhost: str, peer: Peer) -> None:
        """Have it in the audit log of a master that somebody came as a user that there is not."""
        await self._passwords.note_unknown(Source(LOCAL, peer.uid, rhost))


class MasterPam(Pam):
    """PAM on a master.

    Args:
        passwords: of this master.
        name: of this master.
        view: returns the accounts.
        day: returns today, in days since 1970-01-01.
    """

    def __init__(
        self, passwords: LoginsAndChanges, name: str, view: Callable[[], AccountView], day: Callable[[], int]
    ) -> None:
        super().__init__(passwords, name)
        self._view = view
        self._day = day

    async def authorise(self, user: str, service: str, rhost: str, peer: Peer, by_password: bool) -> PamResult:  # noqa: ARG002 - the protocol's arguments
        """Say whether the user may come in today."""
        return verdict(standing(self._view(), user, self._day(), by_password=by_password))


class NodePam(Pam):
    """PAM on a node: a master is asked, because a node holds no ageing and believes no old memory about a lock.

    Args:
        passwords: asks a master.
        name: of this node.
        link: the connection to a master.
    """

    def __init__(self, passwords: LoginsAndChanges, name: str, link: Link) -> None:
        super().__init__(passwords, name)
        self._link = link

    async def authorise(self, user: str, service: str, rhost: str, peer: Peer, by_password: bool) -> PamResult:  # noqa: ARG002 - the protocol's arguments
        """Say whether the user may come in today."""
        answer = await self._link.ask(AUTHORISE, {"user": user, "by_password": by_password}, lambda _: None)
        word, days = answer.get("standing"), answer.get("days")
        if word not in get_args(Standing) or not (days is None or (type(days) is int and abs(days) < 1 << 31)):
            raise MalformedError("the master's answer about an account makes no sense")
        return verdict(AccountState(cast("Standing", word), days))


def standing(view: AccountView, user: str, day: int, *, by_password: bool) -> AccountState:
    """Return how a user's account stands on a day.

    Raises:
        Refused: ``unknown-user``.
    """
    found = view.user(user)
    if found is None:
        raise Refused("unknown-user", f"there is no user {user!r} in this cluster")
    changed = None if found.password is None else found.password.changed
    return account_state(found.aging, locked=found.locked, changed=changed, day=day, by_password=by_password)


def standing_requests(view: Callable[[], AccountView], day: Callable[[], int]) -> Mapping[str, Answer]:
    """Return what a master answers to nodes about the standing of accounts."""

    async def authorise(params: Params, address: str, report: Callable[[Params], None]) -> Params:  # noqa: ARG001
        user, by_password = params.get("user"), params.get("by_password")
        if not isinstance(user, str) or not 0 < len(user) <= _LONGEST_NAME or not isinstance(by_password, bool):
            raise MalformedError("a node's request about an account makes no sense")
        found = standing(view(), user, day(), by_password=by_password)
        return {"standing": found.standing, "days": found.days}

    return {AUTHORISE: authorise}


def _secret(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
