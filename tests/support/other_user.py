"""Running the daemons as somebody who is not root: who that is, and a Python that this somebody can read."""

import functools
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from cluster import ROOT

from support.requires import missing

#: A user of every Linux system who owns nothing.
NAME, UID = "nobody", 65534


@functools.cache
def public_python() -> tuple[Sequence[str], dict[str, str]]:
    """Return what goes before the path of a script, and what into the environment, so that the user can run it.

    A Python below root's home cannot be read by anybody else; then the distribution's own of the same version is
    taken, with the packages of ours.
    """
    if os.geteuid() != 0:
        missing("root", "run as root")
    environment = {"PYTHONPATH": f"{sysconfig.get_path('purelib')}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    candidates = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    for candidate in filter(os.path.exists, candidates):
        done = subprocess.run(
            [candidate, "-c", "import sys; print('\\n'.join(filter(None, sys.path)))"],
            capture_output=True, text=True, check=True, env={**os.environ, **environment},
        )  # fmt: skip
        if all(readable(Path(line)) for line in done.stdout.splitlines()):
            return (candidate,), environment
    return missing("a Python that other users may read", "python3, and a checkout outside of root's home")


def readable(path: Path) -> bool:
    """Say whether the user may read what is there; what is not there may be read."""
    os.seteuid(UID)
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    finally:
        os.seteuid(0)
    return True


def give_to_user(directory: Path) -> None:
    """Make a directory and all in it the user's."""
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, UID, UID, follow_symlinks=False)


def status_of(pid: int) -> list[dict[str, str]]:
    """Return what proc(5) says of each thread of a process."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        found.append({name: value.strip() for name, _, value in (line.partition(":") for line in lines)})
    return found


def is_powerless(pid: int) -> bool:
    """Say whether all threads of a process are the user's, in every sense, and have no capability nor a way to one."""
    return all(
        thread["Uid"].split() == [str(UID)] * 4
        and thread["Gid"].split() == [str(UID)] * 4
        and not {"0"} & set(thread["Groups"].split())
        and not any(int(thread[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"))
        and thread["NoNewPrivs"] == "1"
        for thread in status_of(pid)
    )
