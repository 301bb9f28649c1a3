"""A cache before the account files: nscd is told to forget when we write them."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from support.requires import missing

REPOSITORY = Path(__file__).parents[2]
FILES = {
    "passwd": "root:x:0:0:root:/:/bin/sh\n",
    "shadow": "root:*:19000:0:99999:7:::\n",
    "group": "root:x:0:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\n",
    # Answers stay for an hour, and it does not look at the files by itself.
    "nscd.conf": "".join(
        f"enable-cache {name} yes\npositive-time-to-live {name} 3600\nnegative-time-to-live {name} 3600\n"
        f"check-files {name} no\nshared {name} no\npersistent {name} no\n"
        for name in ("passwd", "group")
    ),
}
INSIDE = """
    set -e
    mount --bind "$1/etc" /etc
    mount -t tmpfs none /run
    mkdir /run/nscd
    nscd -F -f /etc/nscd.conf >/dev/null 2>&1 &
    nscd=$!
    trap 'kill $nscd 2>/dev/null; wait $nscd 2>/dev/null || true' EXIT
    tries=0
    until nscd -g >/dev/null 2>&1; do
        tries=$((tries + 1)); test $tries -lt 100; sleep 0.05
    done
    getent passwd sam || true
    "$2" -c "$4" "$3" "$1"
    getent passwd sam || true
"""
DELIVER = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from beonss.core.accounts.entries import Password, UserEntry
    from beonss.core.targets.delivery import UserState
    from beonss.targets.files import FilesSettings, FilesTarget
    target = FilesTarget(FilesSettings("local", Path("/"), Path(sys.argv[2], "journal")))
    entry = UserEntry("sam", 2001, 100, "", "/home/sam", "/bin/sh")
    outcome = target.deliver([UserState("id", "sam", entry, Password("$6$s$h", 20000))])[0]
    print(outcome.verdict, outcome.text)
    target.close()
"""


def test_nscd_forgets_that_there_was_no_such_user(tmp_path):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root, for a mount namespace", "run the tests as root; apt install util-linux")
    if shutil.which("nscd", path=os.environ["PATH"] + ":/usr/sbin") is None:
        missing("the program nscd", "apt install nscd")
    etc = tmp_path / "etc"
    etc.mkdir()
    for name, text in FILES.items():
        (etc / name).write_text(text)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", textwrap.dedent(INSIDE), "inside",
         str(tmp_path), sys.executable, str(REPOSITORY), textwrap.dedent(DELIVER)],
        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["delivered ", "sam:x:2001:100::/home/sam:/bin/sh"], done.stdout + done.stderr


FLUSH = """
    set -e
    mount --bind "$1/programs" /usr/sbin
    "$2" -c "import sys; sys.path.insert(0, sys.argv[1])
from beonss.targets.files import flush_caches; flush_caches()" "$3"
"""


def test_every_cache_that_is_installed_is_told_and_one_that_fails_hurts_nobody(tmp_path):
    """Programs of the names of nscd and sss_cache, which write down what they are told."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root, for a mount namespace", "run the tests as root; apt install util-linux")
    told, programs = tmp_path / "told", tmp_path / "programs"
    programs.mkdir()
    for name, end in (("nscd", 1), ("sss_cache", 5)):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {told}\necho trouble >&2\nexit {end}\n')
        program.chmod(0o755)
    inside = ["unshare", "-m", "--propagation", "private", "sh", "-c", FLUSH, "sh"]
    done = subprocess.run(
        [*inside, tmp_path, sys.executable, REPOSITORY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert told.read_text().splitlines() == ["nscd -i passwd", "nscd -i group", "sss_cache -E"]
