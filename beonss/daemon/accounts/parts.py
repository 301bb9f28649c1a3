"""What those who change accounts need from the rest of a master, as interfaces."""

from collections.abc import Sequence
from typing import Protocol

from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change, Register


class Store(Protocol):
    """What is used of :class:`beonss.daemon.accounts.state.Accounts`."""

    @property
    def view(self) -> AccountView:
        """Users and groups as committed."""

    async def write(self, changes: Sequence[Change], author: str) -> list[Register]:
        """Make changes durable here, all or none."""


class Floors(Protocol):
    """What is used of :class:`beonss.core.names.description.Settings`."""

    @property
    def uid_floor(self) -> int:
        """The lowest uid that is the cluster's."""

    @property
    def gid_floor(self) -> int:
        """The lowest gid that is the cluster's."""
