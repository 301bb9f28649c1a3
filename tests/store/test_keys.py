"""Keys and lists on disk: whole or not at all, never over others, never readable by others."""

import os
from pathlib import Path

import pytest

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Member, Roster, founded
from beonss.errors import ConfigurationError, StoreError
from beonss.store.keys import (
    check_member_name,
    load_cluster_key,
    load_cluster_public,
    load_identity,
    load_private_key,
    load_roster,
    new_cluster_key,
    new_identity,
    save_cluster_key,
    save_cluster_public,
    save_identity,
    save_roster,
)
from beonss.store.statedirectory import make_state_directory
from beonss.wire.documents import public_bytes, write_members


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A complete state directory."""
    state = tmp_path / "state"
    make_state_directory(state)
    identity, key = new_identity("frodo"), new_cluster_key()
    members = founded(public_bytes(key), Member("frodo", identity.public, (Endpoint("10.5.0.1", 7653),)))
    save_cluster_key(state / "cluster.key", key)
    save_identity(state, identity)
    save_cluster_public(state, public_bytes(key), "The Fellowship")
    save_roster(state, Roster(public_bytes(key), members, write_members(members, key)))
    return state


def test_everything_is_read_back(state: Path) -> None:
    identity, roster = load_identity(state), load_roster(state)
    assert identity.name == "frodo"
    assert roster.name_of(identity.public) == "frodo"
    public = load_cluster_public(state / "cluster.pub")
    assert public_bytes(load_cluster_key(state / "cluster.key", public)) == public
    assert "hidden" in repr(identity)
    save_roster(state, roster)
    assert load_roster(state) == roster
    assert not [path for path in state.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["member.key", "member.crt", "members", "cluster.pub", "cluster.key"])
def test_damaged_and_missing_files_are_named_and_kept(state: Path, name: str) -> None:
    def load() -> None:
        load_identity(state)
        load_cluster_key(state / "cluster.key", load_roster(state).cluster_key)

    (state / name).write_bytes(b"nonsense")
    with pytest.raises((StoreError, ConfigurationError), match=name.replace(".", r"\.")):
        load()
    assert (state / name).read_bytes() == b"nonsense"
    (state / name).unlink()
    with pytest.raises(ConfigurationError):
        load()


def test_a_certificate_of_another_key_is_noticed(state: Path) -> None:
    (state / "member.crt").write_bytes(new_identity("frodo").certificate)
    with pytest.raises(StoreError, match="does not belong"):
        load_identity(state)


def test_the_key_of_another_cluster_is_refused(state: Path, tmp_path: Path) -> None:
    save_cluster_key(tmp_path / "other.key", new_cluster_key())
    with pytest.raises(ConfigurationError, match="another cluster"):
        load_cluster_key(tmp_path / "other.key", load_roster(state).cluster_key)


def test_a_private_key_that_others_may_read_is_refused(state: Path) -> None:
    (state / "member.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_private_key(state / "member.key")


def test_what_is_no_file_or_has_no_end_is_no_key(state: Path, tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises((StoreError, ConfigurationError), match=r"ordinary file|directory"):
            load_private_key(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(StoreError, match="ordinary file"):
        load_cluster_key(tmp_path / "fifo", load_roster(state).cluster_key)


@pytest.mark.parametrize("name", ["", "-a", "a.b", "a b", "ä", "x" * 64, "a_b"])
def test_names_that_are_no_labels_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        check_member_name(name)


def test_names_are_lower_case() -> None:
    assert check_member_name("Frodo-2") == "frodo-2"
