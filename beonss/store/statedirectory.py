"""The state directory of a daemon: what is in it by which name, and who may write there.

=============  ====  ==================================================================================
file           mode  what it is
=============  ====  ==================================================================================
cluster.key    0600  the cluster's private key (PEM); needed to invite and remove, may be kept elsewhere
cluster.pub    0644  the cluster's public key, one line; what nodes pin
member.key     0600  this master's private key (PEM)
member.crt     0644  its self-signed certificate (PEM); others pin the key, the rest is decoration
members        0644  the signed member list and the acceptances seen
accounts.db    0600  a master's registers (:mod:`beonss.store.database`), with the files SQLite and we put beside it
lock           0600  held by whoever may change ``members``: the running master, or one command
=============  ====  ==================================================================================

Every other file has a module of its own, which names it.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from beonss.errors import BeonssError, ConfigurationError, StoreError

CLUSTER_KEY: Final = "cluster.key"
CLUSTER_PUBLIC: Final = "cluster.pub"
MEMBER_KEY: Final = "member.key"
MEMBER_CERTIFICATE: Final = "member.crt"
MEMBERS: Final = "members"
DATABASE: Final = "accounts.db"
LOCK: Final = "lock"


class DirectoryInUse(BeonssError):  # noqa: N818 - a state, not a fault
    """Another process, most likely the running master, holds the state directory."""


@contextmanager
def making(state: Path) -> Iterator[None]:
    """Make the directory, mode 0700, if it is not there, and hold it; where something goes wrong it is gone again.

    Raises:
        DirectoryInUse, StoreError: as for :func:`holding`.
    """
    new = not state.exists()
    make_state_directory(state)
    try:
        with holding(state):
            yield
    except BaseException:
        if new:
            # Not if something stands in it: an answer may still come (beonss join).
            with suppress(OSError):
                state.rmdir()
        raise


def make_state_directory(state: Path) -> None:
    """Make the directory, mode 0700, if it is not there.

    Raises:
        StoreError: that is not possible.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{state} cannot be made: {error.strerror}") from None
    _check_directory(state)


def _check_directory(state: Path) -> None:
    """Refuse a directory in which anybody could put other keys and another database."""
    try:
        mode = stat.S_IMODE(state.stat().st_mode)
    except OSError:
        # What is done with it next says why.
        return
    if mode & stat.S_IWOTH:
        raise ConfigurationError(f"{state} has mode {mode:04o}: anybody may write there; run: chmod 700 {state}")


def refuse_used(state: Path, allowed: frozenset[str] = frozenset()) -> None:
    """Make sure that nothing in the directory would be overwritten.

    Raises:
        ConfigurationError: it holds the keys or the data of a master.
    """
    ours = {CLUSTER_KEY, CLUSTER_PUBLIC, MEMBER_KEY, MEMBER_CERTIFICATE, MEMBERS} - allowed
    found = sorted(name for name in ours if (state / name).exists())
    found += sorted(path.name for path in state.glob("*.db"))
    if found:
        raise ConfigurationError(
            f"{state} already belongs to a master (it holds {', '.join(found)}); nothing was changed. Pass another "
            f"--state, or move that directory away if the old master is really gone"
        )


@contextmanager
def holding(state: Path) -> Iterator[None]:
    """Hold the state directory: only the holder may write ``members``. The running master holds it all its life.

    Where something goes wrong in a directory that was empty, it is left empty.

    Raises:
        DirectoryInUse: somebody else holds it.
        ConfigurationError: there is no such directory.
        StoreError: the directory cannot be written.
    """
    path = state / LOCK
    _check_directory(state)
    new = not path.exists()
    descriptor = _lock(state, path)
    try:
        yield
    except BaseException:
        # Whatever becomes of that, what went wrong is what is told.
        with suppress(OSError):
            if new and [found.name for found in state.iterdir()] == [LOCK]:
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def _lock(state: Path, path: Path) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise ConfigurationError(f"{state} does not exist; is the state directory right (--state)?") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have taken it away just now: then it keeps nobody else out.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise DirectoryInUse(
                f"{state} is in use by another process: a running master, or another command"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from None
        os.close(descriptor)
