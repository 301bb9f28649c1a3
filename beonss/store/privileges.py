"""Running as another user than root: who that is, what must belong to it, and how everything else is given up.

A daemon that is started as root with ``--user`` becomes that user before it opens any file of its own, so that nothing
is left behind that root owns. Of root's powers it keeps two until its ports are open, CAP_NET_BIND_SERVICE and
CAP_NET_ADMIN (for receive buffers beyond net.core.rmem_max), and then none: the saved user id, root's until then,
becomes the user's as well, by which the kernel empties the capability sets of every thread (capabilities(7), "Effect
of user ID changes on capabilities"). Linux only; elsewhere let the system's own service program change the user.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beonss.errors import BeonssError, ConfigurationError

# linux/capability.h
_CAP_NET_BIND_SERVICE, _CAP_NET_ADMIN = 10, 12
_CAPABILITY_VERSION_3 = 0x20080522
# linux/prctl.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_MOST_CAPABILITIES = 64
#: Entries of a state directory that are looked at; it has some dozens.
MOST_ENTRIES = 100_000


class NotGivenUpError(BeonssError):
    """Some power of root is still there after all was given up: nothing must be served with it."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user that a daemon becomes.

    Attributes:
        name: its name.
        uid: its number, never 0.
        gid: the group.
        groups: all groups it is in, that one included.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_user(name: str, group: str | None = None) -> RunAs:
    """Return the user of a name.

    Args:
        name: of the user.
        group: name of the group; None for the user's own.

    Raises:
        ConfigurationError: there is no such user or group, it is root, or this process may not become it.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigurationError(
            "--user works on Linux only; start the daemon as that user by the system's own service program"
        )
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise ConfigurationError(f"--user {name}: there is no such user; useradd --system {name}") from None
    try:
        gid = entry.pw_gid if group is None else grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise ConfigurationError(f"--group {group}: there is no such group; groupadd --system {group}") from None
    if entry.pw_uid == 0:
        raise ConfigurationError(f"--user {name}: is root; leave --user away to run as root")
    run_as = RunAs(name, entry.pw_uid, gid, tuple(os.getgrouplist(name, gid)))
    if os.geteuid() not in {0, run_as.uid}:
        raise ConfigurationError(f"--user {name}: only root can become another user; start the daemon as root")
    if os.geteuid() and os.getegid() != gid:
        raise ConfigurationError(f"--group {group}: only root can change the group; start the daemon as root")
    return run_as


def check_state(run_as: RunAs, state: Path) -> None:
    """Make sure that a state directory and all in it belong to the user, before anything is opened.

    One that does not exist is left to those who read it.

    Raises:
        ConfigurationError: something belongs to somebody else; the text says what to do.
    """
    # The directory itself may be a link; links in it are looked at, not followed.
    state = state.resolve()
    foreign = [(path, uid) for path, uid in _entries(state) if uid != run_as.uid]
    if foreign:
        first, uid = foreign[0]
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ConfigurationError(
            f"{first}{more}: belongs to {_user_name(uid)}, not to {run_as.name}, as whom this daemon is to run; "
            f"chown -R {run_as.name}: {state}"
        )


def _entries(state: Path) -> Iterable[tuple[Path, int]]:
    """Yield what is there and whose it is."""
    found = 0
    try:
        if not state.is_dir():
            return
        for path in (state, *state.rglob("*")):
            found += 1
            if found > MOST_ENTRIES:
                raise ConfigurationError(f"{state}: holds more than {MOST_ENTRIES} files; this is no state directory")
            # What is gone meanwhile (somebody replaces a file) is nobody's.
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat().st_uid
    except OSError as error:
        raise ConfigurationError(f"{state}: cannot be examined: {error.strerror}") from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def provide_directory(run_as: RunAs, path: Path, mode: int = 0o755) -> None:
    """Make a directory that belongs to the user; one that is there must let the user make files in it.

    Raises:
        ConfigurationError: it cannot be made, or is somebody else's.
    """
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        _check_writable(run_as, path)
        return
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be made: {error.strerror}") from None
    if os.geteuid() == 0:
        # Only what was made just now, and not what somebody who may write there has put in its place.
        try:
            made = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(made).st_uid == 0 and not os.listdir(made):  # noqa: PTH208 - by descriptor
                    os.fchown(made, run_as.uid, run_as.gid)
            finally:
                os.close(made)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be given to {run_as.name}: {error.strerror}") from None


def _check_writable(run_as: RunAs, path: Path) -> None:
    status = path.stat()

    if status.st_uid == run_as.uid:
        allowed = status.st_mode & stat.S_IWUSR
    elif status.st_gid in run_as.groups:
        allowed = status.st_mode & stat.S_IWGRP
    else:
        allowed = status.st_mode & stat.S_IWOTH
    if not allowed:
        raise ConfigurationError(
            f"{path}: {run_as.name}, as whom this daemon is to run, may not make its socket there; "
            f"chown {run_as.name}: {path}"
        )


def step_down(run_as: RunAs) -> None:
    """Become the user, with no more of root than what opening ports needs; :func:`give_up` gives that up too.

    Does nothing where the process is that user already. To be called before there is a second thread: what is set
    here holds for this one and those it starts. A process that is forked after this must give up for itself.

    Raises:
        ConfigurationError: it cannot be done, or the user cannot read this very program.
    """
    if os.geteuid() == run_as.uid:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        for capability in range(_MOST_CAPABILITIES):
            # Ends with the last one that this kernel knows; one that may not be dropped is none that could be regained.
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                break
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        os.setgroups(run_as.groups)
        os.setresgid(run_as.gid, run_as.gid, run_as.gid)
        # The saved id stays root's, and with it the permitted capabilities, of which we keep two.
        os.setresuid(run_as.uid, run_as.uid, 0)
        _limit_capabilities(libc, 1 << _CAP_NET_BIND_SERVICE | 1 << _CAP_NET_ADMIN)
    except OSError as error:
        raise ConfigurationError(f"--user {run_as.name}: cannot become that user: {error.strerror}") from None
    unreadable = [path for path in sys.path if path and not _is_readable(path)]
    if unreadable:
        raise ConfigurationError(
            f"--user {run_as.name}: may not read {unreadable[0]}, where this program or its Python is; install both "
            "where everybody may read, such as /opt/beonss"
        )


def _is_readable(path: str) -> bool:
    # With root's eyes it is there; a path of sys.path that does not exist is none of ours (python311.zip).
    try:
        os.stat(path)  # noqa: PTH116 - the error tells the two apart
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, os.R_OK)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _limit_capabilities(libc: ctypes.CDLL, wanted: int) -> None:
    """Of what is permitted to this thread keep no more than ``wanted``, all of it in effect."""
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    _checked(libc.capget(ctypes.byref(header), sets))
    kept = wanted & sets[0].permitted
    sets[0] = _Sets(kept, kept, 0)
    sets[1] = _Sets(0, 0, 0)
    _checked(libc.capset(ctypes.byref(header), sets))


def give_up(run_as: RunAs) -> None:
    """Give up, in all threads, what :func:`step_down` kept, and make sure that it is gone.

    Raises:
        NotGivenUpError: something of it is left; the process must end.
    """
    if sys.platform.startswith("linux"):
        # glibc does it for all threads (nptl(7)).
        os.setresuid(run_as.uid, run_as.uid, run_as.uid)
        left = remaining_powers()
        if os.getresuid() != (run_as.uid,) * 3 or left:
            raise NotGivenUpError(
                f"--user {run_as.name}: the process could not give up the powers of root: "
                f"{left or 'its user ids are ' + str(os.getresuid())}"
            )


def remaining_powers(tasks: Path = Path("/proc/self/task")) -> str:
    """Return the capabilities that some thread still has, as proc(5) shows them; empty if there are none."""
    found = []
    for thread in tasks.iterdir():
        try:
            lines = (thread / "status").read_text("utf-8").splitlines()
        except OSError:
            # It ended meanwhile.
            continue
        found += [
            f"{name} {value.strip()} of thread {thread.name}"
            for name, _, value in (line.partition(":") for line in lines)
            if name in {"CapInh", "CapPrm", "CapEff", "CapAmb"} and int(value, 16)
        ]
    return ", ".join(found)
