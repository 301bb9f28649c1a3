"""The account files under real circumstances: readers, other programs' locks, kill -9, shadow-utils' own checks."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from support.requires import missing

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.targets.delivery import GroupState, TemporaryTargetError, UserState
from beonss.targets.etcfiles import locked
from beonss.targets.files import FilesSettings, FilesTarget

REPOSITORY = Path(__file__).parents[2]
CONTENTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "shadow": "root:*:19000:0:99999:7:::\n",
    "group": "root:x:0:\nusers:x:100:\n",
    "gshadow": "root:*::\nusers:!::\n",
}


@pytest.fixture
def root(tmp_path):
    etc = tmp_path / "root" / "etc"
    etc.mkdir(parents=True)
    for name, text in CONTENTS.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o640 if "shadow" in name else 0o644)
    return etc.parent


def user(number, secret="$6$salt$hash"):
    entry = UserEntry(f"user{number}", 5000 + number, 100, "", f"/home/user{number}", "/bin/sh")
    return UserState(f"id{number}", entry.name, entry, Password(secret, 20000), aging=Aging(0, 99999, 7))


def target_for(root, timeout=5.0):
    return FilesTarget(FilesSettings("local", root, root / "journal", lock_timeout=timeout))


def test_readers_of_shadow_always_see_a_whole_file_with_root_in_it(root):
    shadow = root / "etc" / "shadow"
    target = target_for(root)
    target.deliver([user(number) for number in range(200)])
    before = shadow.stat()
    stop = threading.Event()
    wrong = []
    reads = 0

    def look():
        nonlocal reads
        while not stop.is_set():
            with shadow.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
            reads += 1
            if not data.startswith(b"root:*:") or data.count(b"\n") != 201 or not data.endswith(b"\n"):
                wrong.append(len(data))
            if (status.st_uid, status.st_gid, status.st_mode) != (before.st_uid, before.st_gid, before.st_mode):
                wrong.append(status)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for turn in range(60):
            target.deliver([user(turn % 200, f"$6$salt$turn{turn}")])
    finally:
        stop.set()
        reader.join()
        target.close()
    assert wrong == []
    assert reads > 10


CRASH = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from beonss.core.accounts.entries import Aging, Password, UserEntry
    from beonss.core.targets.delivery import UserState
    from beonss.targets import files
    root = Path({root!r})
    die_at = {die_at!r}
    real = files.replace_file
    def replace(seen, data):
        if die_at == "before-" + seen.path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        real(seen, data)
        if die_at == "after-" + seen.path.name:
            os.kill(os.getpid(), signal.SIGKILL)
    files.replace_file = replace
    target = files.FilesTarget(files.FilesSettings("local", root, root / "journal"))
    entry = UserEntry("user0", 5000, 100, "", "/home/user0", "/bin/csh")
    target.deliver([UserState("id0", "user0", entry, Password("$6$salt$second", 20001), aging=Aging(0, 99999, 7))])
"""


@pytest.mark.parametrize("die_at", ["before-shadow", "after-shadow", "before-passwd", "after-passwd"])
def test_kill_9_between_intent_and_success_heals(root, die_at):
    """The next delivery, with a newer value still, takes what the dead process left for its own."""
    target = target_for(root)
    target.deliver([user(0), user(1)])
    target.close()
    program = textwrap.dedent(CRASH.format(repository=str(REPOSITORY), root=str(root), die_at=die_at))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    text = "".join((root / "etc" / name).read_text() for name in CONTENTS)
    assert sum(line.startswith("root:") for line in text.splitlines()) == 4
    again = target_for(root)
    outcomes = again.deliver([user(0, "$6$salt$third"), user(1)])
    again.close()
    assert [outcome.verdict for outcome in outcomes] == ["delivered", "delivered"]
    assert "user0:$6$salt$third:" in (root / "etc" / "shadow").read_text()
    assert "/home/user0:/bin/sh" in (root / "etc" / "passwd").read_text()
    assert sorted(path.name for path in (root / "etc").iterdir()) == sorted([*CONTENTS, ".pwd.lock"])


def test_another_program_in_lckpwdf_makes_us_wait_and_then_give_up(root):
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True);"
        "sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(root / "etc" / ".pwd.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    target = target_for(root, timeout=0.2)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TemporaryTargetError, match="held by another program"):
            target.deliver([user(0)])
    finally:
        holder.communicate()
    assert target.deliver([user(0)])[0].verdict == "delivered"
    target.close()


def test_the_lock_file_of_a_dead_process_is_broken(root):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (root / "etc" / "shadow.lock").write_bytes(b"%d\0" % child.pid)
    target = target_for(root, timeout=2)
    assert target.deliver([user(0)])[0].verdict == "delivered"
    target.close()
    assert not (root / "etc" / "shadow.lock").exists()


def test_two_threads_take_turns(root):
    order = []

    def hold(name):
        with locked(root / "etc", ("passwd",), 10):
            order.append(("in", name))
            time.sleep(0.01)
            order.append(("out", name))

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(order[at][0] == "in" and order[at + 1] == ("out", order[at][1]) for at in range(0, 10, 2))


INSIDE = """
    set -e
    mount --bind "$1/etc" /etc
    python="$2"
    # shadow-utils and we exclude each other.
    "$python" -c '
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from beonss.targets.etcfiles import locked
import subprocess
with locked(Path("/etc"), ("passwd", "group", "gshadow", "shadow")):
    # It would try for 15 seconds.
    try:
        ended = subprocess.run(["useradd", "-M", "intruder"], timeout=1)
        print("useradd ended", ended.returncode)
    except subprocess.TimeoutExpired:
        print("useradd waits")
    ' "$3"
    useradd -M -u 700 -K UID_MIN=500 visitor 2>/dev/null
    pwck -r -q; echo "pwck $?"
    grpck -r; echo "grpck $?"
    getent passwd user0 visitor
    chage -l user0 | head -1
"""


def test_shadow_utils_find_nothing_wrong_and_wait_for_our_locks(root):
    """In a mount namespace of its own, where our directory is /etc."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root, for a mount namespace", "run the tests as root; apt install util-linux")
    if shutil.which("pwck") is None or shutil.which("useradd") is None:
        missing("the programs pwck and useradd", "apt install passwd")
    etc = root / "etc"
    (etc / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nusers:x:100:\n")
    (etc / "login.defs").write_text("ENCRYPT_METHOD SHA512\nUID_MIN 1000\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\n")
    target = target_for(root)
    state = UserState("id0", "user0", UserEntry("user0", 5000, 100, "", "/", "/bin/sh"), Password("$6$s$h", 20000))
    hobbits = GroupState("g0", "hobbits", GroupEntry("hobbits", 5100), ("user0",))
    assert [outcome.verdict for outcome in target.deliver([state, hobbits])] == ["delivered", "delivered"]
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", textwrap.dedent(INSIDE), "inside", str(root), sys.executable, str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "useradd waits" in ended.stdout or "useradd ended 1" in ended.stdout, ended.stdout + ended.stderr
    assert "intruder" not in (etc / "passwd").read_text()
    assert "pwck 0" in ended.stdout, ended.stdout + ended.stderr
    assert "grpck 0" in ended.stdout, ended.stdout + ended.stderr
    assert "user0:x:5000:100::/:/bin/sh\nvisitor:x:700:" in ended.stdout
    # What useradd wrote stays, and ours is still known for ours.
    changed = UserState("id0", "user0", UserEntry("user0", 5000, 100, "", "/", "/bin/ksh"), Password("$6$s$i", 20001))
    assert target.deliver([changed])[0].verdict == "delivered"
    target.close()
    assert "visitor:x:700:" in (etc / "passwd").read_text()
    assert "user0:$6$s$i:20001::::::\n" in (etc / "shadow").read_text()
