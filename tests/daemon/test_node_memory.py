"""What a node memorizes on disk survives, and what is damaged is moved aside and fetched anew."""

from pathlib import Path

import pytest
from support.roster import Signed

from beonss.daemon.node_memory import NodeMemory
from beonss.errors import ConfigurationError
from beonss.wire.feed import DescriptionContent

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster():
    return Signed("frodo")


@pytest.fixture
def memory(tmp_path, cluster):
    return NodeMemory(tmp_path, cluster.public)


def content(cluster, text):
    return DescriptionContent(cluster.id, 1, "0" * 64, text)


def test_a_new_node_knows_nothing(memory, cluster):
    assert memory.roster().list.members == ()
    assert memory.roster().cluster == cluster.id
    assert memory.description() is None


def test_what_was_kept_is_there_again(memory, cluster):
    memory.keep_roster(cluster.roster)
    assert memory.roster() == cluster.roster
    text = (ROOT / "examples" / "fellowship.toml").read_bytes()
    memory.keep_description(content(cluster, text))
    assert memory.description().zone == "fellow.aero.org"
    database = memory.database(cluster.id)
    database.close()


def test_a_description_with_mistakes_is_refused(memory, cluster):
    with pytest.raises(ConfigurationError):
        memory.compile(content(cluster, b"[cluster]\n"))


@pytest.mark.parametrize("name", ["members", "description", "memory.db"])
def test_a_damaged_part_is_moved_aside(memory, cluster, tmp_path, name, logged_errors):
    (tmp_path / name).write_bytes(b"\x01damaged" * 2000)
    if name == "members":
        assert memory.roster().list.members == ()
    elif name == "description":
        assert memory.description() is None
    else:
        memory.database(cluster.id).close()
    kept = list(tmp_path.glob(f"{name}.damaged-*"))
    assert len(kept) == 1
    assert kept[0].read_bytes().startswith(b"\x01damaged")
    logged_errors.flush()
