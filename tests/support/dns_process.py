"""A DNS server as a process of its own, for tests with real programs; the other half is ``dns_main.py``."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "examples" / "fellowship.toml"


def dns_command(description: Path, *hosts: str) -> list[str]:
    """Return the command line of a server; its working directory must be the checkout."""
    return [sys.executable, str(Path(__file__).with_name("dns_main.py")), str(description), *hosts]


class DNSProcess:
    """A running server, seen from a test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def command(self, text: str) -> Any:
        """Send a command and return what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def counters(self) -> Any:
        """Return the counters."""
        return self.command("counters")


@contextlib.contextmanager
def dns_process(
    description: Path = EXAMPLE, hosts: tuple[str, ...] = ("127.0.0.1",), *, complaint: str = "", workers: int = 0
) -> Iterator[DNSProcess]:
    """Run a server; at the end it must stop by itself, with exit code 0 and nothing on standard error.

    Args:
        description: what it serves.
        hosts: where it listens.
        complaint: what it must have logged as an error instead of nothing.
        workers: how many processes answer; 0: the server itself.
    """
    process = subprocess.Popen(
        dns_command(description, *hosts),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "BEONSS_TEST_WORKERS": str(workers)},
    )
    try:
        yield DNSProcess(process)
        _, errors = process.communicate(timeout=20)
        if complaint:
            assert (process.returncode, complaint in errors) == (0, True)
        else:
            assert (process.returncode, errors) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
