"""Users for clusters of real processes, imported as an administrator would."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster import LoopbackCluster, Machine, wait_until

PASSWORD = "second-breakfast-77"
PEOPLE = {"sam": 2001, "rosie": 2002, "pippin": 2003, "merry": 2004, "bilbo": 2005}


def import_people(
    cluster: LoopbackCluster, master: Machine, directory: Path, people: Mapping[str, int] = PEOPLE
) -> None:
    """Import people on one master, all with one password, and wait until every machine knows them."""
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    passwd, group, shadow = (directory / name for name in ("passwd", "group", "shadow"))
    lines = [f"{name}:x:{uid}:2000:{name.title()}:/home/{name}:/bin/sh\n" for name, uid in people.items()]
    passwd.write_text("root:x:0:0::/root:/bin/sh\n" + "".join(lines))
    gardeners = "gardeners:x:2100:sam,rosie\n" if {"sam", "rosie"} <= set(people) else ""
    group.write_text("hobbits:x:2000:\n" + gardeners)
    shadow.touch(0o600)
    shadow.write_text("".join(f"{name}:{hashed}:19000:0:99999:7:::\n" for name in people))
    cluster.run(
        "beonss", "accounts", "import", "--control", str(master.control),
        "--passwd", str(passwd), "--group", str(group), "--shadow", str(shadow),
    )  # fmt: skip
    last = list(people)[-1]
    for machine in cluster.everything():
        wait_until(lambda machine=machine: machine.nslcd.user(last) is not None, f"{last} is on {machine.name}")
