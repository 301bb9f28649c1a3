"""PAM requests of the nslcd protocol: from what a login asks to the bytes that answer it.

The rules that belong to this door:

- a user that is not served here is "unknown" at once, so that a stack of PAM modules goes on to the next;
- the administrator (an empty user name) is recognised on a master's socket alone, for uid 0, and without a password:
  then root may set anybody's. On a node nobody may, root included;
- what cannot be answered now is PAM_AUTHINFO_UNAVAIL with a text, never a refusal, but for an account that is
  remembered as locked.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.accounts.aging import AccountState
from beonss.core.accounts.lookup import Lookups
from beonss.errors import BeonssError, Refused
from beonss.net.unixsocket import Peer
from beonss.wire import nslcd_reply as reply
from beonss.wire.nslcd import (
    Authenticate,
    Authorise,
    ChangePassword,
    ChangeUser,
    CloseSession,
    OpenSession,
    PamCode,
    PamContext,
    PamRequest,
    action_of,
)


@dataclass(frozen=True, slots=True)
class PamResult:
    """What a backend says.

    Attributes:
        code: what PAM is told.
        message: for the user; may be empty.
        user: the account's canonical name; empty means as asked.
    """

    code: PamCode
    message: str = ""
    user: str = ""


class PamBackend(Protocol):
    """Who knows passwords: the local accounts on a master, a master on a node.

    Each method may raise Unavailable (not known now) and Refused; the user is one that lookups serve.
    """

    async def authenticate(self, user: str, password: str, service: str, rhost: str, peer: Peer) -> PamResult:
        """Say whether this is the user's password."""

    async def authorise(self, user: str, service: str, rhost: str, peer: Peer, by_password: bool) -> PamResult:
        """Say whether the user may come in today; ``by_password``: came by password, so that its age matters."""

    async def change_password(self, user: str, asroot: bool, old: str, new: str, peer: Peer) -> PamResult:
        """Change a user's password; ``asroot``: root of a master does it, ``old`` is empty."""

    async def note_unknown(self, rhost: str, peer: Peer) -> None:
        """Note that somebody wanted to be let in as a user that neither the cluster nor this machine has."""


#: The codes of Refused (see beonss.errors) that PAM has a better word for than "permission denied".
CODES: Final = {
    "wrong-password": PamCode.AUTH_ERR,
    "old-password-needed": PamCode.AUTH_ERR,
    "unknown-user": PamCode.USER_UNKNOWN,
    "below-floor": PamCode.USER_UNKNOWN,
    "locked": PamCode.ACCT_EXPIRED,
    "expired": PamCode.ACCT_EXPIRED,
    "inactive": PamCode.AUTHTOK_EXPIRED,
    "rate-limited": PamCode.MAXTRIES,
    "busy": PamCode.AUTHINFO_UNAVAIL,
    "unusable-hash": PamCode.CRED_INSUFFICIENT,
    "weak-password": PamCode.AUTHTOK_ERR,
    "too-soon": PamCode.AUTHTOK_ERR,
    "changed-meanwhile": PamCode.AUTHTOK_ERR,
}

_STANDINGS: Final = {
    "open": PamCode.SUCCESS,
    "warn": PamCode.SUCCESS,
    "change": PamCode.NEW_AUTHTOK_REQD,
    "locked": PamCode.ACCT_EXPIRED,
    "expired": PamCode.ACCT_EXPIRED,
    "inactive": PamCode.AUTHTOK_EXPIRED,
}

_NOT_HERE = "Only root on one of the cluster's masters may set another user's password; there, run passwd or cpasswd."
_NO_USERMOD = "Shells and homes are not changed here; ask an administrator of the cluster."
_LATE = "The cluster's accounts did not answer in time; try again later."
_LATE_CHANGE = "No answer in time. The change may still take effect: try the new password first, then the old one."
_BROKEN = "An error of the name service's own; its log has the details."


def verdict(state: AccountState) -> PamResult:
    """Return what PAM is told of how an account stands."""
    return PamResult(_STANDINGS[state.standing], state.text)


class PamDoor:
    """Answers PAM requests.

    Args:
        lookups: who is served here.
        backend: who knows passwords.
        clock: for the patience.
        root_override: whether uid 0 is the administrator (masters).
        prohibited: why users cannot change their passwords here; empty where they can.
        patience: seconds that one question to the backend may take; a login asks two, and gives up after 60.
    """

    log = Logger()

    def __init__(
        self,
        lookups: Lookups,
        backend: PamBackend,
        clock: IReactorTime,
        *,
        root_override: bool = False,
        prohibited: str = "",
        patience: float = 25.0,
    ) -> None:
        self.lookups = lookups
        self.backend = backend
        self.root_override = root_override
        self.prohibited = prohibited
        self.patience = patience
        self._clock = clock

    async def answer(self, request: PamRequest | ChangeUser, peer: Peer) -> bytes:
        """Return the whole answer.

        Raises:
            Unavailable: it is not even known whether there is such a user.
        """
        return reply.header(action_of(request)) + await self._result(request, peer) + reply.END

    async def _result(self, request: PamRequest | ChangeUser, peer: Peer) -> bytes:
        match request:
            case Authenticate():
                return await self._authenticate(request, peer)
            case Authorise():
                return await self._authorise(request.context, peer)
            case ChangePassword():
                return await self._change(request, peer)
            case OpenSession():
                return reply.encode_session("-")
            case CloseSession():
                return reply.BEGIN
            case ChangeUser():
                return b"" if self.lookups.user(request.user) is None else reply.encode_refused_change(_NO_USERMOD)

    def _is_administrator(self, peer: Peer, password: str) -> bool:
        return self.root_override and peer.uid == 0 and not password

    async def _authenticate(self, request: Authenticate, peer: Peer) -> bytes:
        name, context = request.context.user, request.context
        if not name:
            good = self._is_administrator(peer, request.password)
            code, text = (PamCode.SUCCESS, "") if good else (PamCode.PERM_DENIED, _NOT_HERE)
            return reply.encode_authentication(code, "", code, text)
        if self.lookups.user(name) is None:
            if not self.lookups.local.holds_user(name):
                # Nobody waits for it, and it may fail.
                noted = Deferred.fromCoroutine(self.backend.note_unknown(context.rhost, peer))
                noted.addErrback(self._not_noted)
            return b""
        result = await self._ask(
            self.backend.authenticate(name, request.password, context.service, context.rhost, peer), peer
        )
        if result.code is PamCode.USER_UNKNOWN:
            return b""
        user = result.user or name
        if result.code is not PamCode.SUCCESS:
            return reply.encode_authentication(result.code, user, result.code, result.message)
        standing = await self._ask(self.backend.authorise(user, context.service, context.rhost, peer, True), peer)
        return reply.encode_authentication(result.code, user, standing.code, standing.message)

    def _not_noted(self, failure: Failure) -> None:
        if not failure.check(BeonssError):
            self.log.failure("that an unknown user wanted in could not be noted", failure)

    async def _authorise(self, context: PamContext, peer: Peer) -> bytes:
        found = self.lookups.user(context.user)
        if found is None:
            return b""
        result = await self._ask(
            self.backend.authorise(context.user, context.service, context.rhost, peer, False), peer
        )
        if result.code is PamCode.AUTHINFO_UNAVAIL and found.locked:
            # Debian's stack lets users in when nobody can be asked; a lock that is remembered still bites.
            result = verdict(AccountState("locked"))
        return _verdict(result)

    async def _change(self, request: ChangePassword, peer: Peer) -> bytes:
        name = request.context.user
        if self.lookups.user(name) is None:
            return b""
        if self.prohibited:
            return reply.encode_verdict(PamCode.PERM_DENIED, self.prohibited)
        if request.as_root and not self._is_administrator(peer, request.old):
            return reply.encode_verdict(PamCode.PERM_DENIED, _NOT_HERE)
        asked = self.backend.change_password(name, request.as_root, request.old, request.new, peer)
        return _verdict(await self._ask(asked, peer, late=_LATE_CHANGE))

    async def _ask(self, asked: Coroutine[Any, Any, PamResult], peer: Peer, late: str = _LATE) -> PamResult:
        """Return what the backend says, or that it is not known.

        A question that took too long goes on unheard: a change that is under way must not be left half done.
        """
        answer: Deferred[PamResult] = Deferred()
        timer = self._clock.callLater(self.patience, answer.callback, PamResult(PamCode.AUTHINFO_UNAVAIL, late))

        def give(result: PamResult) -> None:
            if timer.active():
                timer.cancel()
                answer.callback(result)

        Deferred.fromCoroutine(asked).addErrback(self._failed, peer).addCallback(give)
        return await answer

    def _failed(self, failure: Failure, peer: Peer) -> PamResult:
        error = failure.value
        if isinstance(error, Refused):
            return PamResult(CODES.get(error.code, PamCode.PERM_DENIED), str(error))
        if isinstance(error, BeonssError):
            return PamResult(PamCode.AUTHINFO_UNAVAIL, str(error))
        self.log.failure("a PAM request of uid {uid} failed", failure, uid=peer.uid)
        return PamResult(PamCode.AUTHINFO_UNAVAIL, _BROKEN)


def _verdict(result: PamResult) -> bytes:
    if result.code is PamCode.USER_UNKNOWN:
        return b""
    return reply.encode_verdict(result.code, result.message)
