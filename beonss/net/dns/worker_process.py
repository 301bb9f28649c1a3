"""What every process of a daemon's DNS does first: takes a name, and its distance from the daemon's terminal."""

import contextlib
import os
import signal
from typing import Final

#: As nice(1) counts; negative needs CAP_SYS_NICE. Answers cost little and should not wait for transfers and hashes.
PRIORITY: Final = -10
# prctl(2).
_PR_SET_NAME: Final = 15


def become_process(name: str, *, terminates: bool = False) -> None:
    """Take a name, and a place before others if that may be had; leave signals to the daemon, which says when to end.

    Args:
        name: for ps(1), at most 15 characters.
        terminates: SIGTERM is left alone.
    """
    _take_name(name)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    ignored = {signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM}
    for each in ignored - ({signal.SIGTERM} if terminates else set()):
        signal.signal(each, signal.SIG_IGN)


def _take_name(name: str) -> None:
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as comm:  # noqa: PTH123
            comm.write(name)
    except OSError:
        # What /proc has of a process that has become another user is root's.
        import ctypes  # noqa: PLC0415 - not for those that need no such detour

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode("ascii")), 0, 0, 0)
