"""Run a history on a clone of the backup and record what every step wrote.

A step that fails is an outcome: it may have failed for the customer too. A step that only fails
because a row it refers to was made by a step the log does not have gets that row from the current
state (marked as undocumented) and is tried again.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import duckdb
import psycopg
from psycopg import Connection, sql

from diffing.model import Schema, parts
from recovery.model import (
    Act,
    History,
    Outcome,
    Preparation,
    Progress,
    Replay,
    StepOutcome,
    Variant,
)
from recovery.replay import capture, clock, effects
from recovery.replay.alignment import align
from recovery.replay.identity import (
    Identities,
    Row,
    first_issued,
    positions,
    set_positions,
)
from recovery.scratch.cluster import Cluster

UNDOCUMENTED = "~undocumented"  # the marker of rows borrowed from the current state
PREPARATION = "~preparation"  # the marker of what a what-if changes before a step
_BORROWED_MAX = 1000
_MISSING_PARENT = re.compile(r"^Key \((.+?)\)=\((.*)\) is not present in table \"(.+)\"", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where histories are run. `template` is the backup, shimmed, never changed."""

    cluster: Cluster
    template: str
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    identities: Identities
    workspace: Path


def prepare_ground(cluster: Cluster, backup: str, template: str) -> tuple[str, ...]:
    """Make the database that replays are cloned from; returns what the clock shim cannot reach."""
    if cluster.exists(template):
        cluster.drop(template)
    cluster.clone(backup, template)
    with cluster.keeper(template) as keeper:
        capture.publish(keeper)
    with cluster.connect(template) as jail:
        return clock.install(jail)


def replay(
    ground: Ground,
    history: History,
    run: str,
    *,
    shift: timedelta = timedelta(0),
    seed: float = 0.5,
    preparation: Preparation | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Run `history` on a fresh clone; its effects replace those of `run` in the case database.

    `shift` and `seed` move clock and chance, to learn which effects are unstable. Raises
    PreparationRefused when a constraint does not allow the preparation."""
    database = "replay_run"
    slot = "replay_run"
    with _clone(ground, database), ground.cluster.connect(database, role="capture") as reader:
        capture.start(reader, slot)
        try:
            with ground.cluster.connect(database) as connection:
                runner = _Runner(ground, connection, shift, seed)
                outcomes = []
                for act in history:
                    if preparation and preparation.before == act.id:
                        runner.prepare(preparation)
                    outcomes.append(runner.run(act))
                    if progress:
                        progress.advance()
            tally = effects.store(
                ground.facts, capture.changes(reader, slot), run, ground.schema, ground.workspace
            )
            align(ground.facts, run, ground.schema, ground.identities.feeds)
        finally:
            capture.stop(reader, slot)
    return Replay(run, tuple(_counted(one, tally) for one in outcomes), frozenset(tally.blind))


@dataclass(frozen=True, slots=True)
class Laboratory:
    """`recovery.model.Laboratory` over a ground."""

    ground: Ground

    def run(
        self, history: History, run: str, preparation: Preparation | None = None
    ) -> Replay | None:
        try:
            return replay(self.ground, history, run, preparation=preparation)
        except PreparationRefused:
            return None

    def sketch(self, history: History, variants: tuple[Variant, ...]) -> None:
        by_act: dict[str, tuple[Variant, ...]] = {}
        for variant in variants:
            by_act[variant.act] = (*by_act.get(variant.act, ()), variant)
        with (
            effects.Sketch(self.ground.facts, self.ground.schema, self.ground.workspace) as book,
            _clone(self.ground, "replay_sketch"),
            self.ground.cluster.connect("replay_sketch") as connection,
        ):
            runner = _Runner(self.ground, connection, timedelta(0), 0.5)
            runner.variants = by_act
            runner.on_tried = book.note
            for act in history:
                runner.run(act)


class PreparationRefused(Exception):
    """A constraint does not allow what a what-if wanted to change."""


def _counted(outcome: StepOutcome, tally: effects.Tally) -> StepOutcome:
    """Capture is complete when it saw as many row images as the server itself counted."""
    seen = tally.images.get(outcome.step, 0)
    return StepOutcome(
        outcome.step,
        outcome.outcome,
        outcome.why,
        outcome.rows,
        seen,
        outcome.complete and seen == outcome.effects,
    )


@contextmanager
def _clone(ground: Ground, database: str) -> Iterator[None]:
    if ground.cluster.exists(database):
        ground.cluster.drop(database)
    ground.cluster.clone(ground.template, database)
    try:
        yield
    finally:
        ground.cluster.drop(database)


class _Runner:
    """One session on one clone."""

    def __init__(
        self,
        ground: Ground,
        connection: Connection[tuple[object, ...]],
        shift: timedelta,
        seed: float,
    ) -> None:
        self.ground = ground
        self.connection = connection
        self.shift = shift
        self.seed = seed
        self.borrowed = 0
        self.variants: Mapping[str, tuple[Variant, ...]] = {}
        self.on_tried: Callable[[Variant, Sequence[tuple[object, ...]]], None] | None = None
        path = clock.search_path(connection)
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (path,))

    def prepare(self, preparation: Preparation) -> None:
        self._mark(PREPARATION)
        tables = [sql.Identifier(*parts(name)) for name in preparation.quiet]
        while True:
            try:
                with self.connection.transaction():
                    self._triggers(tables, "DISABLE")
                    for statement in preparation.statements:
                        self.connection.execute(statement.encode())
                    self._triggers(tables, "ENABLE")
                return
            except psycopg.Error as error:
                if self.connection.closed:
                    raise
                if not self._borrow_parent(error):
                    raise PreparationRefused from error
                self._mark(PREPARATION)

    def _triggers(
        self, tables: Sequence[sql.Identifier], switch: Literal["ENABLE", "DISABLE"]
    ) -> None:
        for table in tables:
            self.connection.execute(
                sql.SQL("ALTER TABLE {} {} TRIGGER USER").format(table, sql.SQL(switch))
            )

    def run(self, act: Act) -> StepOutcome:
        if not act.statements:
            return StepOutcome(act.id, Outcome.NOT_REPLAYED, act.why)
        clock.set_clock(self.connection, act.at + self.shift, self.seed)
        feeds = self.ground.identities.feeds
        known = self.ground.identities.issued.get(_identity(act))
        if known is not None:
            set_positions(self.connection, feeds, known)
        while True:
            start = positions(self.connection, feeds)
            self._mark(act.id)
            try:
                return self._execute(act, start, settled=known is not None)
            except _IdsFound as found:
                known = found.issued
                self.ground.identities.issued[_identity(act)] = known
                set_positions(self.connection, feeds, start | dict(known))
            except psycopg.Error as error:
                if self.connection.closed:
                    raise
                set_positions(self.connection, feeds, start)
                if not self._borrow_parent(error):
                    why = f"{error.sqlstate}: {error.diag.message_primary or error}"
                    return StepOutcome(act.id, Outcome.FAILED, why)

    def _execute(self, act: Act, start: Mapping[str, int], *, settled: bool) -> StepOutcome:
        statements = [clock.pin(statement) for statement in act.statements]
        rows = 0
        written = 0
        if act.transaction == "none":
            for statement in statements:
                rows += max(self.connection.execute(statement.encode()).rowcount, 0)
            return StepOutcome(act.id, Outcome.DONE, rows=rows, complete=False)
        if self.variants.get(act.id):
            self._try_variants(act, statements, start)
        batches = [statements] if act.transaction == "one" else [[one] for one in statements]
        for batch in batches:
            with self.connection.transaction():
                before = self._written()
                for statement in batch:
                    rows += max(self.connection.execute(statement.encode()).rowcount, 0)
                written += self._written() - before
                if not settled and len(batches) == 1:
                    self._match_ids(start)
        return StepOutcome(act.id, Outcome.DONE, rows=rows, effects=written)

    def _try_variants(self, act: Act, statements: Sequence[str], start: Mapping[str, int]) -> None:
        """Each in a transaction that is rolled back; one that the server refuses is left out."""
        assert self.on_tried is not None
        for variant in self.variants[act.id]:
            try:
                with self.connection.transaction(force_rollback=True):
                    for statement in statements[: variant.place]:
                        self.connection.execute(statement.encode())
                    tried = self.connection.execute(clock.pin(variant.statement).encode())
                    self.on_tried(variant, tried.fetchall())
            except psycopg.Error:
                if self.connection.closed:
                    raise
            set_positions(self.connection, self.ground.identities.feeds, start)

    def _match_ids(self, start: Mapping[str, int]) -> None:
        identities = self.ground.identities
        now = positions(self.connection, identities.feeds)
        issued: dict[str, int] = {}
        # Rows are compared as text: in the zone of all texts, not in that of the step.
        self.connection.execute("SET LOCAL TimeZone = 'UTC'")
        for feed in identities.feeds:
            before = start[feed.label]
            if now[feed.label] == before:
                continue
            row = first_issued(self.connection, feed, self.ground.schema, before)
            found = identities.match(feed, row) if row else None
            issued[feed.label] = found - 1 if found is not None else before
        if any(issued[label] != start[label] for label in issued):
            raise _IdsFound(issued)

    def _borrow_parent(self, error: psycopg.Error) -> bool:
        """Take the row that a foreign key misses from the current state, if it is there."""
        found = _MISSING_PARENT.match(error.diag.message_detail or "")
        if error.sqlstate != "23503" or not found or self.borrowed >= _BORROWED_MAX:
            return False
        foreign = next(
            (
                key
                for key in self.ground.schema.foreign_keys
                if key.name == error.diag.constraint_name
                and self.ground.schema.table(key.table).relation == error.diag.table_name
            ),
            None,
        )
        if foreign is None:
            return False
        values = found[2].split(", ") if len(foreign.columns) > 1 else [found[2]]
        wanted = dict(zip(foreign.parent_columns, values, strict=False))
        row = next(
            (
                extra
                for extra in self.ground.identities.extras.get(foreign.parent, ())
                if all(extra.get(name) == value for name, value in wanted.items())
            ),
            None,
        )
        return row is not None and self._insert(foreign.parent, row)

    def _insert(self, name: str, row: Row) -> bool:
        """Borrow one row, and first the rows that it refers to itself. Triggers stay silent: what
        they wrote then is in the current state already."""
        table = self.ground.schema.table(name)
        columns = [column for column in table.columns if not column.generated]
        relation = sql.Identifier(table.schema, table.relation)
        statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
            relation,
            sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(row[column.name]), sql.SQL(column.type))
                for column in columns
            ),
        )
        while True:
            self._mark(UNDOCUMENTED)
            try:
                with self.connection.transaction():
                    self._triggers([relation], "DISABLE")
                    self.connection.execute(statement)
                    self._triggers([relation], "ENABLE")
                self.borrowed += 1
                return True
            except psycopg.Error as error:
                self.borrowed += 1
                if self.connection.closed or not self._borrow_parent(error):
                    return False

    def _mark(self, step: str) -> None:
        self.connection.execute(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)", (step,)
        )

    def _written(self) -> int:
        row = self.connection.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)"
            " FROM pg_catalog.pg_stat_xact_user_tables"
        ).fetchone()
        assert row is not None
        return int(str(row[0]))


class _IdsFound(Exception):
    """Rolls the step back, so that it is run again with the ids it issued then."""

    def __init__(self, issued: Mapping[str, int]) -> None:
        super().__init__()
        self.issued = issued


def _identity(act: Act) -> tuple[str, str]:
    return act.id, "\n".join(act.statements)
