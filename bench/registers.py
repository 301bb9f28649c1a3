"""Measures the store: durable password changes per second, catching up, starting, memory for each user.

    python bench/registers.py [DIRECTORY]

DIRECTORY is where the databases are made and removed (default: a temporary one); it decides what a flush costs.
Compare with the figures of other servers only on the same machine and disk.
"""

import shutil
import sys
import tempfile
import time
import tracemalloc
from collections import deque
from pathlib import Path

from beonss.core.accounts import intents
from beonss.core.accounts.entries import PASSWORD, Password, UserEntry, encode
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change, Key, Register
from beonss.store.database import Database
from beonss.store.writer import Writer

USERS = 10_000
ORIGIN = "a" * 32
HASH = "$6$abcdefgh$" + "d" * 86


def fatal(error: Exception) -> None:
    raise SystemExit(f"the disk failed: {error}")


def imported(database: Database) -> list[str]:
    """Make the users; return their object ids."""
    view, changes = AccountView(), []
    for number in range(USERS):
        entry = UserEntry(f"user{number}", 1000 + number, 100, "A User", f"/home/user{number}", "/bin/bash")
        changes += intents.create_user(view, entry, 1, password=Password(HASH, 20000))
    database.write(changes, 1, "root@frodo", ORIGIN)
    return sorted({change.key.object for change in changes})


def change(writer: Writer, identifier: str, number: int) -> "object":
    changes = [Change(Key(identifier, PASSWORD), encode(Password(HASH, number)))]
    return writer.submit(lambda database: database.write(changes, 2, "alice@r01n01", ORIGIN))


def main() -> None:
    directory = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        database = Database(directory / "one", "bench")
        began = time.perf_counter()
        identifiers = imported(database)
        print(f"import of {USERS} users: {time.perf_counter() - began:.2f} s")
        away = Database(directory / "two", "bench")
        began = time.perf_counter()
        for page in database.pages({}):
            away.merge(page.rows, page.vector)
        print(f"first pull of {USERS} users: {time.perf_counter() - began:.2f} s")
        writer = Writer(database, fatal)
        for waiting, count in ((1, 1000), (16, USERS)):
            futures: deque[object] = deque()
            began = time.perf_counter()
            for number in range(count):
                if len(futures) == waiting:
                    futures.popleft().result()  # type: ignore[attr-defined]
                futures.append(change(writer, identifiers[number], number))
            while futures:
                futures.popleft().result()  # type: ignore[attr-defined]
            rate = count / (time.perf_counter() - began)
            print(f"durable password changes, {waiting} at once: {rate:.0f}/s")
        writer.close()
        database = Database(directory / "one", "bench")
        began = time.perf_counter()
        for page in database.pages(away.vector()):
            away.merge(page.rows, page.vector)
        print(f"catching up {USERS} changes, without the network: {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        rows: list[Register] = [row for batch in database.registers() for row in batch]
        view = AccountView(rows)
        print(f"start with {USERS} users: {time.perf_counter() - began:.2f} s")
        del rows, view
        tracemalloc.start()
        view = AccountView(row for batch in database.registers() for row in batch)
        print(f"memory: {tracemalloc.get_traced_memory()[0] / USERS:.0f} bytes for each user")
        tracemalloc.stop()
        assert len(list(view.users())) == USERS
        database.close()
        away.close()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
