"""Real processes: a cluster on loopback that several tests of one file share."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from cluster import LoopbackCluster  # noqa: E402
from support.netns import NetCluster, net_cluster  # noqa: E402

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Return a directory that any user may walk into, short enough for socket paths."""
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def description(directory: Path) -> Path:
    """Return a copy of the Fellowship's description, which a test may change."""
    path = directory / "cluster.toml"
    path.write_bytes((ROOT / "examples" / "fellowship.toml").read_bytes())
    return path


@pytest.fixture(scope="module")
def cluster(directory: Path, description: Path) -> Iterator[LoopbackCluster]:
    """Return a cluster without machines; whatever a test starts in it is stopped at the end."""
    cluster = LoopbackCluster(directory, description, ZONE)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def networked() -> Iterator[NetCluster]:
    """Return three masters, each in a network namespace of its own; made once, because it takes a while."""
    with tempfile.TemporaryDirectory(prefix="bn-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        description = directory / "cluster.toml"
        text = (ROOT / "examples" / "fellowship.toml").read_text()
        # The cheapest hash that is allowed: these tests are about everything but hashing.
        description.write_text(text + "\n[accounts]\nhash_cost = 5000\n")
        with net_cluster(directory, description, ZONE, "frodo", "gamgee", "fellowship") as cluster:
            yield cluster


@pytest.fixture(scope="module")
def net(networked: NetCluster) -> NetCluster:
    """Return the same three masters, all running, every packet arriving, with people."""
    networked.recover()
    return networked
