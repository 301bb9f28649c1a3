"""The program behind ``make sim``: many lives on all processors, failing seeds, and one failure made small."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice

from twisted.logger import globalLogBeginner

from support.simulator.lives import KINDS, live
from support.simulator.shrinking import shrunk

#: Failures after which it gives up: more of the same help nobody.
ENOUGH = 10
#: Lives that one process lives at a time.
BATCH = 8
WIDTH = 30


@dataclass(frozen=True, slots=True)
class Failed:
    """A life in which something did not hold."""

    kind: str
    seed: int
    text: str


def lives(batch: list[tuple[str, int]]) -> list[Failed]:
    """Live some lives; return those that failed."""
    failed = []
    for kind, seed in batch:
        try:
            live(kind, seed)
        except Exception as error:
            failed.append(Failed(kind, seed, "".join(traceback.format_exception(error, limit=-6))))
    return failed


def be_quiet() -> None:
    """Throw the daemons' log away: each world looks at its own."""
    globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)


def batches(kinds: list[str], first: int, seeds: int) -> Iterator[list[tuple[str, int]]]:
    """Yield all lives in batches, the seeds in order, all kinds of a seed together."""
    wanted = iter((kind, seed) for seed in range(first, first + seeds) for kind in kinds)
    while batch := list(islice(wanted, BATCH)):
        yield batch


def run(kinds: list[str], first: int, seeds: int, processes: int) -> tuple[int, list[Failed]]:
    """Live all lives on several processors, showing how far it is; return how many were lived and which failed."""
    total, done, began = len(kinds) * seeds, 0, time.monotonic()
    failed: list[Failed] = []
    waiting = batches(kinds, first, seeds)
    with ProcessPoolExecutor(processes, initializer=be_quiet) as pool:
        running = {pool.submit(lives, batch): len(batch) for batch in islice(waiting, 2 * processes)}
        while running:
            future = next(as_completed(running))
            done += running.pop(future)
            for one in future.result():
                failed.append(one)
                print(f"\rfailed: kind '{one.kind}', seed {one.seed}{' ' * WIDTH}")
            if len(failed) < ENOUGH:
                running |= {pool.submit(lives, batch): len(batch) for batch in islice(waiting, 1)}
            bar = "#" * (WIDTH * done // total)
            if sys.stdout.isatty():
                print(f"\r[{bar:<{WIDTH}}] {done}/{total}", end="", flush=True)
    seconds = time.monotonic() - began
    print(f"\r{done} of {total} lives in {seconds:.0f} s, {len(failed)} failed{' ' * WIDTH}")
    return done, failed


def explain(failed: Failed) -> None:
    """Show one failure, made as small as it gets."""
    print(f"\nkind '{failed.kind}', seed {failed.seed}:\n{failed.text}")
    small = shrunk(failed.kind, failed.seed)
    print(f"fails alike with {small.masters} masters, {small.actions} actions, {small.misfortunes} misfortunes:")
    try:
        small.live()
    except Exception as error:
        for note in getattr(error, "__notes__", [str(error)]):
            print(note)
    print(f"\nrun it again: make sim KIND='{failed.kind}' SEED={failed.seed}")


def main() -> int:
    """Read the command line and run; 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="seeds for each kind of life")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="kind of life; all without it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many run at once")
    options = parser.parse_args()
    be_quiet()
    _, failed = run(options.kind or list(KINDS), options.first, options.seeds, max(1, options.processes))
    if failed:
        explain(min(failed, key=lambda one: one.seed))
        print("failing: " + ", ".join(f"'{one.kind}' {one.seed}" for one in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
