"""What ``cpasswd`` may ask on the control socket, on a master and on a node."""

from collections.abc import Callable, Mapping
from typing import Any

from beonss.core.accounts.view import AccountView
from beonss.core.passwords.attempts import LOCAL, Source
from beonss.daemon.passwords.parts import ChangeRequest, Changes
from beonss.errors import MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import secret_parameter, text_parameter


def password_operations(
    passwords: Changes, view: Callable[[], AccountView], *, master: bool, uid_floor: Callable[[], int] = lambda: 1000
) -> Mapping[str, Operation]:
    """Return the operations ``password-terms`` and ``change-password``.

    ``password-terms`` takes ``user`` (absent: the asker's own name) and says, before anybody types a password, for
    whom it would be (``user``), whether the old one is needed (``needs_old``) and which ``machine`` of which ``role``
    answers. ``change-password`` takes ``user``, ``old`` (may be absent for root of a master) and ``new``; its events
    ``line`` are those of :class:`beonss.core.passwords.change.Line`, its end has the numbers of
    :class:`beonss.core.passwords.change.Outcome`.

    Args:
        passwords: what changes them.
        view: returns the accounts as they are now; on a node the public ones.
        master: whether this is a master, whose root needs no old password.
        uid_floor: returns the lowest uid that is the cluster's.
    """

    def user_of(parameters: Mapping[str, Any], peer: Peer) -> str:
        if parameters.get("user") is not None:
            return text_parameter(parameters, "user")
        found = view().user_by_uid(peer.uid)
        if found is None:
            raise Refused(
                "unknown-user", f"you (uid {peer.uid}) are no user of this cluster; name the user: cpasswd USER"
            )
        return found.entry.name

    async def terms(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG001
        user = user_of(parameters, peer)
        found = view().user(user)
        # A node whose memory is old may not know a new user; its master does.
        if found is None and master:
            raise Refused("unknown-user", f"there is no user {user!r} in this cluster")
        if found is not None and found.entry.uid < uid_floor():
            raise Refused("below-floor", f"{user!r} is a system account of this machine alone: use passwd(1)")
        return {
            "user": user,
            "needs_old": not (master and peer.uid == 0),
            "machine": passwords.name,
            "role": "master" if master else "node",
        }

    async def change(parameters: Mapping[str, Any], peer: Peer, report: Report) -> Mapping[str, Any]:
        user = user_of(parameters, peer)
        old, new = secret_parameter(parameters, "old"), secret_parameter(parameters, "new")
        if new is None:
            raise MalformedError("parameter 'new' is missing")
        asker = view().user_by_uid(peer.uid)
        who = "root" if peer.uid == 0 else f"uid {peer.uid}" if asker is None else asker.entry.name
        request = ChangeRequest(
            user=user,
            old=old,
            new=new,
            source=Source(LOCAL, peer.uid),
            author=f"{who}@{passwords.name}",
            privileged=master and peer.uid == 0 and old is None,
        )
        outcome = await passwords.change(request, lambda line: report("line", **line.data()))
        return {"code": outcome.code, "message": outcome.message, **outcome.data()}

    return {"password-terms": Operation(terms), "change-password": Operation(change)}
