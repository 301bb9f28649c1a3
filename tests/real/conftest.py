"""Real processes: a cluster on loopback that several tests of one file share."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from cluster import LoopbackCluster  # noqa: E402

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
