"""A real file system that is really full, in a mount namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

from support.requires import missing

PROGRAM = """
import sys
from pathlib import Path
from beonss.core.replication.registers import Change, Key
from beonss.store.database import Database
from beonss.store.failures import DiskFullError
from beonss.store.writer import Writer

directory = Path(sys.argv[1])
def job(number, size):
    change = Change(Key(f"{number:032x}", "entry"), b"x" * size)
    return lambda database: database.write([change], 1, "root@frodo", "a" * 32)

fatal = []
writer = Writer(Database(directory / "db", "c", quick=True), fatal.append)
held, refused = [], 0
for number in range(200):
    try:
        writer.submit(job(number, 20_000)).result(60)
        held.append(number)
    except DiskFullError:
        refused += 1
        if refused == 5:
            break
assert refused == 5, "the disk never filled"
(directory / "ballast").unlink()
writer.submit(job(1000, 20_000)).result(60)
held.append(1000)
writer.close(60)
assert not fatal, fatal
database = Database(directory / "db", "c")
assert all(database.register(Key(f"{number:032x}", "entry")) is not None for number in held)
assert database.vector() == {"a" * 32: len(held)}
print("held", len(held))
"""


def test_a_full_disk_refuses_changes_loses_nothing_and_recovers(tmp_path: Path) -> None:
    """What was acknowledged stays, what found no room is refused, and with room again work goes on by itself."""
    script = (
        'mount -t tmpfs -o size=4m tmpfs "$1" && dd if=/dev/zero of="$1/ballast" bs=1k count=2800 status=none'
        ' && exec "$2" -c "$3" "$1"'
    )
    try:
        result = subprocess.run(
            ["unshare", "--mount", "--", "sh", "-c", script, "sh", tmp_path, sys.executable, PROGRAM],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except FileNotFoundError:
        missing("unshare", "util-linux")
    if os.geteuid() != 0 or "Operation not permitted" in result.stderr:
        missing("the right to mount in a namespace of its own", "root")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("held ")
