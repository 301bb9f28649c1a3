"""A first start, told from a database that was lost: no master begins empty that was not meant to.

The file ``accounts.made`` stands beside the database since that was first opened. Without it there was none yet, and a
database of no bytes is a first start that was cut short. With it, none of ours has no bytes: it was truncated, or
restored by halves. One that is missing is fetched from the other masters; where there are none, everything was lost.
"""

from collections.abc import Iterable
from pathlib import Path

from beonss.store.failures import UnusableStoreError
from beonss.store.statefile import write_file

#: Stands in the state directory of a master that had a database.
MADE = "accounts.made"


def check_database(path: Path, *, alone: bool, traces: Iterable[Path] = ()) -> bool:
    """Look at a master's database before it is opened; say whether it was there before and is missing now.

    Args:
        path: the database.
        alone: whether there is no other master to fetch from.
        traces: files that only a master leaves that ran, perhaps of a version that left no mark.

    Raises:
        UnusableStoreError: it has no bytes, or is missing and nobody has what was in it; nothing was changed.
    """
    mark = path.with_name(MADE)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        if not mark.exists():
            return False
        if not alone:
            return True
        raise UnusableStoreError(
            f"{path}: is missing though this master had it, and there is no other master to fetch it from. Restore "
            f"a backup (beonss restore); or, if the cluster shall begin again without any account: rm {mark}"
        ) from None
    except OSError as error:
        raise UnusableStoreError(f"{path}: cannot be looked at: {error.strerror}") from None
    if size == 0 and any(trace.exists() for trace in (mark, *traces)):
        way = "restore a backup (beonss restore)" if alone else "move it away, and it is fetched from the other masters"
        raise UnusableStoreError(
            f"{path}: has no bytes, and a database that was used once always has some: it was truncated, or restored "
            f"by halves. It is left as it is; {way}"
        )
    return False


def note_database(path: Path) -> None:
    """Note that the database is there.

    Raises:
        StoreError: that cannot be written.
    """
    mark = path.with_name(MADE)
    if not mark.exists():
        write_file(mark, b"This master has a database of accounts; if it is missing, it was lost.\n")
