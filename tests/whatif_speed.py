"""The speed of what-ifs, measured for `benchmarks.whatif`: a bank made by SQL from a seed, a
history of small steps, hypotheses with one step, 1 % and 10 % of the steps left out."""

import argparse
import random
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, log
from pathlib import Path

import psycopg

from benchmarks.speed import write_speed
from recovery.case.facts import open_facts
from recovery.deviation import Drop, deviate
from recovery.model import Act, History
from recovery.replay.ground import Ground, clone
from recovery.replay.identity import Identities, feeds
from recovery.replay.run import Laboratory, prepare_ground
from recovery.replay.whatif import WhatIf, open_whatif
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import open_cluster
from recovery.scratch.ready import make_ready

START = datetime(2026, 3, 1, tzinfo=UTC)
PER_BRANCH = 100

BACKUP = """
CREATE TABLE branch (id int PRIMARY KEY, total numeric(14,2) NOT NULL DEFAULT 0);
CREATE TABLE account (id int PRIMARY KEY, branch int NOT NULL REFERENCES branch, owner text,
  balance numeric(12,2) NOT NULL, tier text NOT NULL DEFAULT 'plain');
CREATE INDEX ON account (branch);
CREATE TABLE entry (id bigserial PRIMARY KEY, account int NOT NULL REFERENCES account,
  amount numeric(12,2) NOT NULL, note text);
CREATE INDEX ON entry (account);
INSERT INTO branch SELECT n FROM generate_series(0, {branches}) n;
INSERT INTO account SELECT n, n / {per},
  'owner ' || n, 1000 + n % 977 FROM generate_series(0, {rows}) n;
INSERT INTO entry (account, amount, note)
  SELECT n, 1, 'opening' FROM generate_series(0, {rows}, 10) n;
"""


def statements(chance: random.Random, rows: int, skew: float) -> tuple[str, ...]:
    def one() -> int:
        # A few accounts are busy, most are not.
        return int(rows * chance.random() ** (1 / (1 - skew))) if skew < 1 else 0

    kind = chance.random()
    amount = f"{chance.randint(1, 50000) / 100:.2f}"
    account = one()
    if kind < 0.55:
        return (f"UPDATE account SET balance = balance + {amount} WHERE id = {account}",)
    if kind < 0.70:
        other = one()
        return (
            f"UPDATE account SET balance = balance - {amount} WHERE id = {account}",
            f"UPDATE account SET balance = balance + {amount} WHERE id = {other}",
        )
    if kind < 0.90:
        return (
            f"INSERT INTO entry (account, amount, note) VALUES ({account}, {amount}, 'counter')",
        )
    if kind < 0.96:
        return (f"UPDATE account SET tier = 'gold' WHERE id = {account} AND balance > 1500",)
    branch = account // PER_BRANCH
    if kind < 0.98:
        return (f"UPDATE account SET balance = round(balance * 1.01, 2) WHERE branch = {branch}",)
    return (
        f"UPDATE branch SET total = (SELECT sum(balance) FROM account WHERE branch = {branch})"
        f" WHERE id = {branch}",
    )


def history(rows: int, steps: int, seed: int, skew: float) -> History:
    chance = random.Random(seed)
    return tuple(
        Act(f"s{n}", statements(chance, rows, skew), START + timedelta(minutes=n))
        for n in range(steps)
    )


@dataclass(frozen=True, slots=True)
class Figures:
    setting: str
    seconds: tuple[float, ...]
    naive: float
    reran: tuple[float, ...]  # share of later acts
    refused: int

    @property
    def faster(self) -> list[float]:
        return [self.naive / one for one in self.seconds]

    @property
    def mean(self) -> float:
        """Geometric."""
        faster = self.faster
        return exp(sum(map(log, faster)) / len(faster)) if faster else float("nan")

    def kept(self) -> dict[str, object]:
        """The same for a file; nothing where no hypothesis was told."""
        times, shares = sorted(self.seconds), sorted(self.reran)
        if not times:
            return {"told": 0, "not told": self.refused}
        return {
            "told": len(times),
            "not told": self.refused,
            "naive seconds": self.naive,
            "p50 seconds": at(times, 0.5),
            "p95 seconds": at(times, 0.95),
            "geometric mean": self.mean,
            "least": min(self.faster),
            "best": max(self.faster),
            "run again, median": at(shares, 0.5),
            "run again, most": max(shares),
            "a minute": 60 / (sum(times) / len(times)),
        }

    def line(self) -> str:
        faster, mean = self.faster, self.mean
        times = sorted(self.seconds)
        shares = sorted(self.reran)
        return (
            f"{self.setting:<28} {len(times):5d} told {self.refused:3d} not | what-if p50"
            f" {1000 * at(times, 0.5):8.1f} ms p95 {1000 * at(times, 0.95):8.1f} ms | naive"
            f" {self.naive:6.2f} s | faster: geometric mean {mean:8.1f}x min {min(faster):7.1f}x"
            f" best {max(faster):8.1f}x | run again: median {100 * at(shares, 0.5):6.2f} % max"
            f" {100 * max(shares):6.2f} % | {60 / (sum(times) / len(times)):8.0f} a minute"
        )


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def naive(ground: Ground, acts: History) -> tuple[float, int]:
    """Restore, and run what is left: seconds, and bytes of the log that running it wrote."""
    begun = time.monotonic()
    with (
        clone(ground, "naive"),
        closing(ground.cluster.connect("naive")) as connection,
    ):
        start = log_position(connection)
        for act in acts:
            with connection.transaction():
                for statement in act.statements:
                    connection.execute(statement.encode())
        spent = time.monotonic() - begun
        return spent, log_position(connection) - start


def log_position(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::text"
    row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0


def stored(ground: Ground) -> int:
    """Bytes of the version store: the blocks in use of the file that the replay writes."""
    ground.facts.execute("CHECKPOINT")
    row = ground.facts.execute(
        "SELECT sum(used_blocks * block_size) FROM pragma_database_size()"
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def asked(
    ground: Ground, whatif: WhatIf, setting: str, left_out: Sequence[Sequence[int]]
) -> Figures:
    seconds, shares, refused = [], [], 0
    for number, places in enumerate(left_out):
        left = [Drop(whatif.history[one].id) for one in places]
        begun = time.monotonic()
        told = whatif.forecast(deviate(whatif.history, left), f"what{number}")
        spent = time.monotonic() - begun
        if told is None:
            refused += 1
            print(f"  not told: {whatif.refusal}")
            continue
        seconds.append(spent)
        later = len(whatif.history) - min(places) - len(places)
        shares.append(len(whatif.reran) / max(later, 1))
    rest = deviate(whatif.history, [Drop(whatif.history[one].id) for one in left_out[0]])
    return Figures(setting, tuple(seconds), naive(ground, rest)[0], tuple(shares), refused)


def main() -> None:
    parser = argparse.ArgumentParser(description="The speed of what-ifs")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--single", type=int, default=300, help="hypotheses with one step")
    parser.add_argument("--many", type=int, default=3, help="hypotheses with 1 %% and 10 %%")
    parser.add_argument("--check", type=int, default=3, help="compared with whole replays")
    parser.add_argument("--results", type=Path, help="put the figures there: benchmarks/speed.json")
    options = parser.parse_args()
    with (
        open_cluster("run-benchmark-whatif") as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        acts = history(options.rows, options.steps, options.seed, options.skew)
        cluster.create("backup")
        with cluster.connect("backup") as connection:
            text = BACKUP.format(
                rows=options.rows, branches=options.rows // PER_BRANCH, per=PER_BRANCH
            )
            connection.execute(text.encode())
            make_ready(connection)
            schema = read_schema(connection)
        prepare_ground(cluster, "backup", "base")
        facts = open_facts(Path(folder) / "facts.duckdb")
        identities = Identities(feeds(schema), {})
        ground = Ground(cluster, "base", schema, facts, identities, Path(folder))
        run(ground, acts, options)


def run(ground: Ground, acts: History, options: argparse.Namespace) -> None:
    plain, written = naive(ground, acts)
    before = stored(ground)
    print(f"{options.rows} rows, {len(acts)} steps, seed {options.seed}, skew {options.skew}")
    print(f"plain: restore and replay {plain:.1f} s")
    laboratory = Laboratory(ground)
    begun = time.monotonic()
    base = laboratory.run(acts, "base")
    assert base is not None
    captured = time.monotonic() - begun
    print(f"captured by decoding {captured:.1f} s ({100 * (captured / plain - 1):.0f} % over)")
    store = stored(ground) - before
    print(f"version store {store >> 10} KiB, log of the plain replay {written >> 10} KiB")
    kept: dict[str, object] = {
        "rows": options.rows, "steps": len(acts), "seed": options.seed, "skew": options.skew,
        "plain seconds": plain, "captured seconds": captured,
        "capture overhead": captured / plain - 1,
        "version store bytes": store, "log bytes": written,
    }  # fmt: skip
    begun = time.monotonic()
    chance = random.Random(options.seed + 1)
    with open_whatif(ground, acts, base) as whatif:
        opened = time.monotonic() - begun
        print(f"what-if opened in {opened:.1f} s ({100 * (opened / plain - 1):.0f} % over plain)")
        many = len(acts)
        single = [[chance.randrange(many)] for _ in range(options.single)]
        told = asked(ground, whatif, "one step", single)
        print(told.line())
        kept |= {"opened seconds": opened, "one step": told.kept()}
        for share in (0.01, 0.1):
            left = [chance.sample(range(many), int(many * share)) for _ in range(options.many)]
            told = asked(ground, whatif, f"{100 * share:.0f} % of the steps", left)
            print(told.line())
            kept[f"{100 * share:.0f} %"] = told.kept()
        for places in single[: options.check]:
            deviant = deviate(acts, [Drop(acts[one].id) for one in places])
            begun = time.monotonic()
            laboratory.forecast_slowly(base, acts, deviant, "slow")
            slow = time.monotonic() - begun
            whatif.forecast(deviant, "fast")
            rows = [
                ground.facts.execute(
                    "SELECT * EXCLUDE (name) FROM forecast WHERE name = ? ORDER BY ALL", [name]
                ).fetchall()
                for name in ("slow", "fast")
            ]
            same = "the same" if rows[0] == rows[1] else "NOT THE SAME"
            print(f"checked with a whole replay ({slow:.1f} s): {same}, {len(rows[0])} cells")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory of this process at most {peak / 1024:.0f} MB")
    if options.results:
        command = f"python -m benchmarks.whatif {shlex.join(sys.argv[1:])}"
        write_speed(options.results, "what-if", command, {**kept, "memory bytes": peak * 1024})
