"""A backup made by SQL, a history of steps, and what a replay of it recorded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import postgast

from recovery.case.facts import open_facts
from recovery.model import Act, Outcome, Replay, StepOutcome, TransactionShape
from recovery.replay.identity import Identities, Row, feeds
from recovery.replay.run import Ground, prepare_ground, replay
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from recovery.scratch.ready import make_ready

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

Effect = tuple[str, str, str, str, str, str | None, str | None]


def act(
    name: str,
    *statements: str,
    at: datetime = START,
    transaction: TransactionShape = "one",
) -> Act:
    """A step; one text with several statements is split as the step log's is."""
    if len(statements) == 1:
        statements = tuple(postgast.split(statements[0]))
    return Act(name, statements, at, transaction)


@dataclass(frozen=True)
class Played:
    replay: Replay
    effects: list[Effect]  # (step, table, key, op, column, old, new) in the order of writing

    def outcome(self, step: str) -> StepOutcome:
        return next(one for one in self.replay.outcomes if one.step == step)

    def of(self, step: str) -> list[Effect]:
        return [one for one in self.effects if one[0] == step]

    @property
    def complete(self) -> dict[str, bool]:
        return {one.step: one.complete for one in self.replay.outcomes}

    @property
    def failures(self) -> dict[str, str]:
        return {one.step: one.why for one in self.replay.outcomes if one.outcome is Outcome.FAILED}

    def cell(self, step: str, table: str, column: str) -> str | None:
        """The one value that the step wrote there."""
        (found,) = (one[6] for one in self.of(step) if one[1] == table and one[4] == column)
        return found


@dataclass
class Stage:
    """One backup, ready for histories."""

    ground: Ground
    databases: list[str] = field(default_factory=list)

    def play(
        self,
        *acts: Act,
        run: str = "run",
        shift: timedelta = timedelta(0),
        seed: float = 0.5,
        beside: str = "",
    ) -> Played:
        replayed = replay(self.ground, acts, run, shift=shift, seed=seed, beside=beside)
        return Played(replayed, self.effects(run))

    def effects(self, run: str) -> list[Effect]:
        rows = self.ground.facts.execute(
            'SELECT step, "table", key, op, "column", old, new, ordinal FROM effect'
            " WHERE run = ? ORDER BY ordinal",
            [run],
        ).fetchall()
        assert [row[7] for row in rows] == list(range(1, len(rows) + 1))
        return [row[:7] for row in rows]

    def know(self, extras: Mapping[str, Iterable[Row]]) -> None:
        """Rows that only the current state has."""
        identities = Identities(
            self.ground.identities.feeds, {name: tuple(rows) for name, rows in extras.items()}
        )
        self.ground = Ground(
            self.ground.cluster,
            self.ground.template,
            self.ground.schema,
            self.ground.facts,
            identities,
            self.ground.workspace,
        )


def stage(cluster: Cluster, name: str, folder: Path, backup: str) -> Stage:
    """The database `name`, made by `backup` and left as a load leaves it, as ground."""
    cluster.create(name)
    with cluster.connect(name) as connection:
        connection.execute(backup.encode())
        make_ready(connection)
        schema = read_schema(connection)
    template = f"{name}_base"
    prepare_ground(cluster, name, template)
    facts: duckdb.DuckDBPyConnection = open_facts(folder / f"{name}.duckdb")
    ground = Ground(cluster, template, schema, facts, Identities(feeds(schema), {}), folder)
    return Stage(ground, [name, template])


def strike(done: Stage) -> None:
    done.ground.facts.close()
    for name in done.databases:
        done.ground.cluster.drop(name)
