"""Whose place at a target may change with a commit, beside the accounts that have rows in it."""

from collections.abc import Iterable

from beonss.core.accounts.entries import ENTRY, GONE, PRESENT
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register

_STANDING_FIELDS = frozenset({ENTRY, PRESENT, GONE})


def touched_by(rows: Iterable[Register]) -> set[str]:
    """Return the objects of which it may have changed who they are, or whether they are."""
    return {row.key.object for row in rows if row.key.field in _STANDING_FIELDS}


def concerned(view: AccountView, touched: Iterable[str]) -> set[str]:
    """Return the objects that may have to be delivered because others were touched, as far as it can be seen now.

    Args:
        view: after the change.
        touched: see :func:`touched_by`.
    """
    found = set(view.contested())
    for object_id in touched:
        found.update(view.groups_listing(object_id))
    return found
