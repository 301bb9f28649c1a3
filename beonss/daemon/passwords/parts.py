"""What is asked of passwords and what is answered: alike on a master, which knows them, and a node, which asks one."""

from dataclasses import dataclass, field
from typing import Protocol

from beonss.core.passwords.attempts import Source
from beonss.core.passwords.change import Outcome
from beonss.daemon.passwords.following import Tell


@dataclass(frozen=True, slots=True)
class AuthResult:
    """Whether a password is a user's.

    Attributes:
        ok: it is, and the account is not locked.
        code: ``ok``, ``wrong-password``, ``unknown-user``, ``locked``, ``rate-limited``, ``busy`` or ``unusable-hash``.
        message: for the user; empty when ok.
    """

    ok: bool
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A password change that somebody asks for.

    Attributes:
        old: what is said to be the password until now; None if it was not given, as only ``privileged`` allows.
        source: where it was typed.
        author: who asks, for people (``alice@frodo``).
        privileged: root of a master asks: the old password is not needed. Never true for what a node relays.
    """

    user: str
    new: bytes = field(repr=False)
    old: bytes | None = field(default=None, repr=False)
    source: Source = field(default_factory=Source)
    author: str = ""
    privileged: bool = False


class Changes(Protocol):
    """Who changes passwords; ``name`` is the machine's."""

    name: str

    async def change(self, request: ChangeRequest, tell: Tell) -> Outcome:
        """Change a password; call ``tell`` with a line for each place as it becomes known.

        Raises:
            BeonssError: nothing was changed, and why.
        """


class LoginsAndChanges(Changes, Protocol):
    """Who verifies passwords too.

    On a master that is :class:`beonss.daemon.passwords.authority.Passwords`, on a node
    :class:`beonss.daemon.passwords.relayed.RelayedPasswords`.
    """

    async def authenticate(self, user: str, password: bytes, source: Source) -> AuthResult:
        """Say whether this is the user's password.

        Raises:
            Unavailable: that cannot be known now.
        """

    async def note_unknown(self, source: Source) -> None:
        """Note that somebody came as a user that there is not."""
