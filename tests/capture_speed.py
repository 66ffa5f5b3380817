"""What capture costs, measured for `benchmarks.capture`: the same history replayed plainly and
captured, in turns. Wall time on a busy machine says little; processor time is that of this process
and of the server (read from /proc: Linux alone)."""

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.speed import write_speed
from recovery.case.facts import open_facts
from recovery.model import Act, History
from recovery.replay.ground import Ground
from recovery.replay.identity import Identities, feeds
from recovery.replay.run import Laboratory, prepare_ground
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster, open_cluster
from recovery.scratch.ready import make_ready
from tests.whatif_speed import BACKUP, PER_BRANCH, START, history, naive

BIG_STEPS = 20


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds: on the wall, of this process's and of the server's processors."""

    wall: float
    client: float
    server: float

    @property
    def processors(self) -> float:
        return self.client + self.server

    def since(self, begun: "Spent") -> "Spent":
        return Spent(self.wall - begun.wall, self.client - begun.client, self.server - begun.server)


def now(postmaster: int) -> Spent:
    return Spent(time.monotonic(), time.process_time(), _server(postmaster))


def _server(postmaster: int) -> float:
    """Processor time of the server and of all its processes, those that have ended too."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(place.parent.name) == postmaster or int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def big(rows: int) -> History:
    """Every step writes every other account."""
    return tuple(
        Act(
            f"s{n}",
            (f"UPDATE account SET balance = balance + {n + 1} WHERE id % 2 = {n % 2}",),
            START + timedelta(minutes=n),
        )
        for n in range(BIG_STEPS)
    )


def measure(ground: Ground, acts: History, postmaster: int) -> tuple[Spent, Spent]:
    begun = now(postmaster)
    naive(ground, acts)
    plain = now(postmaster)
    replayed = Laboratory(ground).run(acts, "base")
    captured = now(postmaster)
    assert replayed is not None and all(one.complete for one in replayed.outcomes)
    return plain.since(begun), captured.since(plain)


def over(plain: float, captured: float) -> float:
    return 100 * (captured / plain - 1)


def compare(
    ground: Ground, name: str, acts: History, postmaster: int, times: int
) -> dict[str, float]:
    """Per cent over, on the wall and in processor time."""
    pairs = []
    for _ in range(times):
        fresh = Ground(
            ground.cluster,
            ground.template,
            ground.schema,
            ground.facts,
            Identities(ground.identities.feeds, {}),
            ground.workspace,
        )
        plain, captured = measure(fresh, acts, postmaster)
        pairs.append((plain, captured))
        print(
            f"{name}: plain {plain.wall:.2f} s (processors {plain.client:.2f} +"
            f" {plain.server:.2f}), captured {captured.wall:.2f} s"
            f" ({captured.client:.2f} + {captured.server:.2f})",
            flush=True,
        )
    wall = statistics.median(over(one.wall, two.wall) for one, two in pairs)
    processors = statistics.median(over(one.processors, two.processors) for one, two in pairs)
    print(f"{name}: captured {wall:.0f} % over, in processor time {processors:.0f} %", flush=True)
    return {"on the wall": wall, "in processor time": processors}


def main() -> None:
    parser = argparse.ArgumentParser(description="What capture costs beside a plain replay")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--results", type=Path, help="put the figures there: benchmarks/speed.json")
    options = parser.parse_args()
    found: dict[str, object] = {}
    with (
        open_cluster("run-benchmark-capture") as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        ground = _ground(cluster, Path(folder), options.rows)
        assert cluster.place is not None
        postmaster = int(next(cluster.place.rglob("postmaster.pid")).read_text().split()[0])
        for name, acts in (
            ("small steps", history(options.rows, options.steps, options.seed, 0.0)),
            ("small steps, skew 0.9", history(options.rows, options.steps, options.seed, 0.9)),
            (f"{BIG_STEPS} updates of {options.rows // 2} rows", big(options.rows)),
        ):
            found[name] = compare(ground, name, acts, postmaster, options.times)
    if options.results:
        command = f"python -m benchmarks.capture {shlex.join(sys.argv[1:])}"
        sizes = {"rows": options.rows, "steps": options.steps}
        write_speed(options.results, "capture", command, {**sizes, "percent over": found})


def _ground(cluster: Cluster, folder: Path, rows: int) -> Ground:
    cluster.create("backup")
    with cluster.connect("backup") as connection:
        text = BACKUP.format(rows=rows, branches=rows // PER_BRANCH, per=PER_BRANCH)
        connection.execute(text.encode())
        make_ready(connection)
        schema = read_schema(connection)
    prepare_ground(cluster, "backup", "base")
    facts = open_facts(folder / "facts.duckdb")
    return Ground(cluster, "base", schema, facts, Identities(feeds(schema), {}), folder)
