"""Changes that a target takes only while both passwords are known: the directory, as the user (RFC 3062).

Some directories refuse a ready-made hash. They get the change at the moment it is made, in a thread of its own, and
the delivery that follows finds it done. Where that failed, nobody here can make up for it later: the user has to run
cpasswd again, and is told so. Directories of mode ``refuse`` are asked before anything is committed
(:meth:`DirectChanges.first`): what they do not take is changed nowhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from beonss.core.accounts.entries import Password
from beonss.core.accounts.view import AccountView
from beonss.core.targets.delivery import Outcome, UserState, states_of
from beonss.daemon.threads import InThread, Threads
from beonss.errors import BeonssError, Refused, Unavailable


@runtime_checkable
class TakesFromUser(Protocol):
    """A target to which a change can be brought as the user; :class:`beonss.targets.ldap.LdapTarget` is one.

    Attributes:
        mode: ``exop``: it must be brought so; ``refuse``: it must agree before anything is changed.
    """

    name: str
    mode: str

    def change_as_user(self, state: UserState, old: bytes, new: bytes) -> Outcome:
        """Change the password there; blocking."""


class DirectChanges:
    """Hands a change to the directories that have to hear of it as the user.

    Args:
        reactor: for coming back from the thread.
        targets: all targets; those of another kind are left alone.
        view: returns the accounts, the new hash already in them.
        again: called with (target, user name) after success, so that the delivery looks again at once.
        in_thread: runs a blocking function elsewhere; None makes a thread.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        targets: Sequence[object],
        *,
        view: Callable[[], AccountView],
        again: Callable[[str, str], object],
        in_thread: InThread | None = None,
    ) -> None:
        directories = [target for target in targets if isinstance(target, TakesFromUser)]
        self._targets = [target for target in directories if target.mode == "exop"]
        self._judges = [target for target in directories if target.mode == "refuse"]
        self._view = view
        self._again = again
        self._in_thread = Threads(reactor, 1, "beonss-directory", in_thread)

    def stop(self) -> None:
        """Wait for what is under way and end the thread."""
        self._in_thread.stop()

    def __call__(self, object_id: str, old: bytes, new: bytes) -> Mapping[str, "Deferred[Outcome]"]:
        """Begin a change at each such target; return what will have come of it, by the target's name."""
        states = [state for state in states_of(self._view(), object_id) if isinstance(state, UserState)]
        if len(states) != 1 or states[0].entry is None:
            return {}
        state = states[0]
        return {
            target.name: self._in_thread(target.change_as_user, state, old, new).addCallbacks(
                self._done,
                self._failed,
                callbackArgs=(target.name, state.name),
                errbackArgs=(target.name,),
            )
            for target in self._targets
        }

    async def first(self, object_id: str, old: bytes | None, password: Password, new: bytes) -> None:
        """Make a change at the directories that have to agree to it, before it is committed anywhere.

        Args:
            object_id: whose password it is.
            old: the password until now; None if it is not known, and then they cannot agree.
            password: what is about to be committed.
            new: the new password.

        Raises:
            Refused: ``directory-refused``: one does not take it.
            Unavailable: one is away.
        """
        if not self._judges:
            return
        states = [state for state in states_of(self._view(), object_id) if isinstance(state, UserState)]
        for target in self._judges:
            if old is None:
                raise Refused(
                    "directory-refused",
                    f"{target.name} takes a password only from its owner, who knows the old one; nothing was changed",
                )
            for state in states:
                wanted = replace(state, password=password)
                outcome: Outcome = await self._in_thread(target.change_as_user, wanted, old, new)
                if outcome.verdict == "failed":
                    raise Unavailable(f"{outcome.text}; nothing was changed, try again later")
                if outcome.verdict != "delivered":
                    raise Refused("directory-refused", f"{outcome.text}; nothing was changed")

    def _done(self, outcome: Outcome, target: str, user: str) -> Outcome:
        if outcome.verdict == "delivered":
            try:
                self._again(target, user)
            except Exception:  # noqa: BLE001 - it is looked at again later in any case
                self.log.failure("{target} could not be looked at again", target=target)
            return outcome
        return Outcome("refused", f"{outcome.text}: run cpasswd again")

    def _failed(self, failure: Failure, target: str) -> Outcome:
        if failure.check(BeonssError):
            return Outcome("refused", f"{failure.getErrorMessage()}: run cpasswd again")
        self.log.failure("changing a password at {target} as its user failed", failure, target=target)
        return Outcome("refused", "an error of the daemon's own, its log has the details: run cpasswd again")
