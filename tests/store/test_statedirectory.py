"""A state directory: one holder, nobody else who may write there, and nothing in it is taken for a new one."""

from pathlib import Path

import pytest

from beonss.errors import ConfigurationError
from beonss.store.statedirectory import DirectoryInUse, holding, make_state_directory, making, refuse_used


def test_a_directory_in_which_anybody_may_write_is_refused(tmp_path: Path) -> None:
    """They could put other keys there, or another database."""
    state = tmp_path / "state"
    make_state_directory(state)
    state.chmod(0o777)
    for use in (lambda: make_state_directory(state), lambda: holding(state).__enter__()):
        with pytest.raises(ConfigurationError, match="chmod 700"):
            use()
    state.chmod(0o755)
    make_state_directory(state)
    with holding(state):
        pass


def test_the_directory_has_one_holder(tmp_path: Path) -> None:
    with holding(tmp_path), pytest.raises(DirectoryInUse), holding(tmp_path):
        pass
    with holding(tmp_path):
        pass
    with pytest.raises(ConfigurationError, match="does not exist"), holding(tmp_path / "nowhere"):
        pass


def test_a_directory_that_is_taken_away_meanwhile_hides_no_error(tmp_path: Path) -> None:
    """What went wrong is told, not that the lock was gone; and a lock taken away keeps nobody else out or in."""
    state = tmp_path / "state"
    state.mkdir()
    with pytest.raises(ConfigurationError, match="the reason"), holding(state):  # noqa: PT012 - it leaves by the error
        (state / "lock").unlink()
        state.rmdir()
        raise ConfigurationError("the reason")
    state.mkdir()
    with holding(state):
        (state / "lock").unlink()
        with holding(state), pytest.raises(DirectoryInUse), holding(state):
            pass


def test_what_went_wrong_while_it_was_made_takes_it_away_again(tmp_path: Path) -> None:
    """Unless something stands in it by then: an answer may still come."""
    state = tmp_path / "state"
    with pytest.raises(ConfigurationError, match="the reason"), making(state):
        raise ConfigurationError("the reason")
    assert not state.exists()
    with pytest.raises(ConfigurationError, match="the reason"), making(state):  # noqa: PT012 - it leaves by the error
        (state / "join.pending").write_bytes(b"")
        raise ConfigurationError("the reason")
    assert (state / "join.pending").exists()


@pytest.mark.parametrize("name", ["member.key", "members", "cluster.pub", "accounts.db"])
def test_the_directory_of_a_master_is_not_taken_for_a_new_one(tmp_path: Path, name: str) -> None:
    refuse_used(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        refuse_used(tmp_path)
    if not name.endswith(".db"):
        refuse_used(tmp_path, frozenset({name}))
