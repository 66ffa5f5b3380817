"""Fuzz the fast what-if: made-up histories, each gone otherwise in several ways, told by the fast
way, by a replay of all of it, and by plain runs without the product. All must agree.

    python -m benchmarks.fuzz_whatif --histories 10000
    python -m benchmarks.fuzz_whatif --seed 1234        one seed, with its schema and history

A history is a base with one way in which it went otherwise; the number of bases is printed beside.
Seeds below 1000 are for tuning, those from 1000 for the tests; figures come from 100000 upwards.
Exit status 1 when a history was told in two ways or too many were not answered.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from types import FrameType

from tests.histories import SHARED
from tests.whatif_fuzz import FAULTS, UNANSWERED_MAX, Tally, fuzz, schema_of, shrunk, workplace

_SHRUNK_MAX = 3  # failures made small
_CHUNK = 2 * SHARED  # bases that a worker tells between two reports


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.seed is not None:
        return _one(options.seed, options.place)
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    bases = -(-options.histories // FAULTS)
    chunks = [
        range(first, min(first + _CHUNK, options.first + bases))
        for first in range(options.first, options.first + bases, _CHUNK)
    ]
    context = multiprocessing.get_context("spawn")
    work: Queue[range] = context.Queue()
    done: Queue[Tally] = context.Queue()
    for chunk in chunks:
        work.put(chunk)
    queues = work, done, options.whole, options.place
    workers = [
        context.Process(target=_work, args=(f"fuzz-{os.getpid()}-{number}", *queues))
        for number in range(options.jobs)
    ]
    tally = Tally()
    left = len(chunks)
    try:
        for worker in workers:
            worker.start()
        while left and any(worker.is_alive() for worker in workers):
            try:
                part = done.get(timeout=5)
            except Empty:
                continue
            tally.add(part)
            for one in part.findings:
                print(f"seed {one.seed} fault {one.number}: {one.kind}", flush=True)
            left -= 1
            print(f"{time.monotonic() - started:.0f} s: {tally}", flush=True)
    except BaseException:
        for worker in workers:  # they take their servers down themselves
            if worker.is_alive():
                worker.terminate()
        raise
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.join()
    while not done.empty():
        tally.add(done.get())
        left -= 1
    _report(tally, options.place)
    print(f"seeds {options.first}-{options.first + bases - 1}: {tally}")
    print(f"{time.monotonic() - started:.0f} s with {options.jobs} workers")
    if left:
        print(f"{left} of {len(chunks)} parts did not come to an end", file=sys.stderr)
    return 1 if left or tally.findings or tally.unanswered > UNANSWERED_MAX else 0


def _stop(number: int, frame: FrameType | None) -> None:
    """As if the program ended by itself: servers and folders are cleared away on the way out."""
    sys.exit(128 + number)


def _work(
    owner: str, work: "Queue[range]", done: "Queue[Tally]", whole: int, place: Path | None
) -> None:
    signal.signal(signal.SIGTERM, _stop)
    with workplace(owner, place) as (cluster, folder):
        try:
            while True:
                done.put(fuzz(cluster, folder, work.get(timeout=1), whole=whole))
        except Empty:
            pass


def _report(tally: Tally, place: Path | None) -> None:
    """Every failure; the first few made small."""
    if not tally.findings:
        return
    seeds = sorted({finding.seed for finding in tally.findings})
    print(f"seeds told in two ways: {seeds}")
    with workplace(f"fuzz-{os.getpid()}", place) as (cluster, folder):
        for finding in tally.findings[:_SHRUNK_MAX]:
            print(f"\n{shrunk(cluster, folder, finding)}")


def _one(seed: int, place: Path | None) -> int:
    with workplace(f"fuzz-{os.getpid()}", place) as (cluster, folder):
        tally = fuzz(cluster, folder, [seed])
        if tally.findings:
            print(f"{schema_of(seed)}\n")
        for finding in tally.findings:
            print(f"{shrunk(cluster, folder, finding)}\n")
    print(tally)
    return 1 if tally.findings else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.fuzz_whatif",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=100_000, help="the first seed")
    parser.add_argument("--seed", type=int, help="one seed; what fails is made small")
    parser.add_argument("--whole", type=int, default=FAULTS, help="of each base, replayed whole")
    parser.add_argument("--place", type=Path, help="where servers keep their data; memory is fast")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
