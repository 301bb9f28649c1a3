"""How long one password hash takes with each scheme, and how many a second the daemon's threads verify.

    python bench/hashing.py [SECONDS]

Times are wall time on an otherwise idle machine; SECONDS (default 2) is spent on each scheme.
"""

import os
import sys
import time

from beonss.core.passwords.hashes import SCHEMES
from beonss.store.crypt import hash_password, schemes, verify
from beonss.store.hashing import HashingThreads

PLAIN = b"correct horse battery"


def main() -> None:
    """Measure and print a table."""
    budget = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{os.cpu_count()} processors")
    print(f"{'scheme':<16}{'cost':>9}{'one hash':>12}{'verified':>14}")
    for name in schemes():
        hash_ = hash_password(PLAIN, name, None, bytes(16))
        began = time.perf_counter()
        assert verify(PLAIN, hash_)
        one = time.perf_counter() - began
        threads = HashingThreads(total=100_000, per_source=100_000)
        count = max(4, int(budget / one))
        began = time.perf_counter()
        futures = [threads.verify("bench", PLAIN, hash_) for _ in range(count)]
        assert all(future.result() for future in futures)
        rate = count / (time.perf_counter() - began)
        threads.close()
        print(f"{name:<16}{SCHEMES[name].default:>9}{one * 1000:>9.1f} ms{rate:>10.1f} /s")


if __name__ == "__main__":
    main()
