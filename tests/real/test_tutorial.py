"""The tutorial is true: its commands are run as they stand, with other ports and another directory."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from support.requires import missing

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120

#: In the tutorial a person waits for a daemon by reading on; a script has to look.
PRELUDE = """\
set -euo pipefail
ready() {
    for _ in $(seq 300); do
        [ -S "$1/control" ] && beonss status --control "$1/control" >/dev/null 2>&1 && return 0
        kill -0 "$!" 2>/dev/null || { echo "the daemon of $1 ended:" >&2; cat "${1%/run}.log" >&2; return 1; }
        sleep 0.1
    done
    echo "no daemon answers in $1" >&2
    cat "${1%/run}.log" >&2
    return 1
}
"""


def blocks(text: str) -> list[str]:
    """Return the shell blocks of a Markdown text."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def script(text: str, place: Path) -> str:
    """Return the tutorial as one script that runs in ``place`` on free ports, and waits where a person would."""
    joined = "".join(blocks(text)).replace("/tmp/tutorial", str(place))
    written = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", joined)))
    for port, free in zip(written, free_ports(len(written)), strict=True):
        joined = re.sub(rf"\b{port}\b", str(free), joined)
    return PRELUDE + re.sub(r"^(twistd .*--runtime (\S+) .*& \w+=\$!)$", r"\1\nready \2", joined, flags=re.MULTILINE)


def free_ports(count: int) -> list[int]:
    """Return different ports that are free on 127.0.0.1."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def environment() -> dict[str, str]:
    """Return an environment in which our commands are found first and say the same everywhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BEONSS")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the whole tutorial; return what it printed."""
    for program, package in {"dig": "bind9-dnsutils", "openssl": "openssl"}.items():
        if shutil.which(program) is None:
            missing(f"the program {program}", package)
    if os.geteuid() != 0:
        missing("root (accounts are imported by root)", "run as root")
    base = tmp_path_factory.mktemp("t")
    text = script((ROOT / "docs/tutorial.md").read_text("utf-8"), base / "w")
    process = subprocess.Popen(
        ["bash", "-c", text],
        env=environment(),
        cwd=base,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        # The session is ours alone: whatever the script left running ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize(
    "line",
    [
        r"r02n17\.tutorial\.example\.org\.\s+\d+\s+IN\s+A\s+10\.9\.2\.17",
        r"17\.2\.9\.10\.in-addr\.arpa\.\s+\d+\s+IN\s+PTR\s+r02n17\.tutorial\.example\.org\.",
        r"home\.tutorial\.example\.org\.\s+\d+\s+IN\s+CNAME\s+ada\.tutorial\.example\.org\.",
        r"r03n40\.tutorial\.example\.org\.\s+\d+\s+IN\s+A\s+10\.9\.3\.40",
        r"broken\.toml:\d+: nodes\[0\]",
        r"cleo\b.*buffered",
        r"ada did not answer at start",
        r"held by 2 of 3 masters; cleo will get it later",
        r"no master answers",
    ],
)
def test_tutorial_shows_what_it_promises(told: str, line: str) -> None:
    """What the text around the commands says can be seen in what they print."""
    assert re.search(line, told), told


def test_readers_are_told_of_every_block() -> None:
    """The blocks of the tutorial are all marked as shell, so that none goes untested."""
    text = (ROOT / "docs/tutorial.md").read_text("utf-8")
    assert len(blocks(text)) * 2 == len(re.findall(r"^```", text, re.MULTILINE))
