"""The state directory of a stopped master, for commands that do not need it to run."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from beonss.errors import ConfigurationError
from beonss.store.database import Database
from beonss.store.firststart import check_database
from beonss.store.keys import load_roster
from beonss.store.statedirectory import DATABASE, DirectoryInUse, holding


@contextmanager
def opened(state: Path) -> Iterator[Database]:
    """Open the accounts of a stopped master, and keep it from being started meanwhile.

    Raises:
        ConfigurationError: there are none, or the master runs.
        StoreError: they cannot be read.
    """
    roster = load_roster(state)
    if not (state / DATABASE).exists():
        raise ConfigurationError(f"{state} holds no accounts ({DATABASE}); its master has not been started yet")
    check_database(state / DATABASE, alone=len(roster.joined()) < 2)
    try:
        with holding(state), closing(Database(state / DATABASE, roster.cluster)) as database:
            yield database
    except DirectoryInUse:
        raise ConfigurationError(f"the master of {state} runs; leave out --state to ask it") from None
