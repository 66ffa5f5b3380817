"""One session on one clone, in which a history is run step by step.

A step that fails is an outcome: it may have failed for the customer too. A step that only fails
because a row it refers to was made by a step the log does not have gets that row from the current
state (marked as undocumented) and is tried again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
from psycopg import Connection, sql

from diffing.model import Schema, Table, parts
from recovery.model import Act, Outcome, Preparation, StepOutcome, Variant
from recovery.replay import clock
from recovery.replay.borrow import Borrower
from recovery.replay.identity import (
    Identities,
    issued_rows,
    positions,
    set_positions,
    still_there,
)
from recovery.replay.transactions import Batch, batches, control, creates, first_words
from recovery.replay.watch import Watch
from recovery.scratch.cluster import Cluster, about_the_server, server_trouble

PREPARATION = "~preparation"  # the marker of what a what-if changes before a step
_COPY = re.compile(r"\s*copy\b", re.I)
_ROUNDS_MAX = 3  # ids of one table may depend on those of another
_NO_TRANSACTION = ("25001", "2D000")  # the statement only runs outside of one
_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")

OnTried = Callable[[Variant, Sequence[tuple[object, ...]]], None]


class PreparationRefused(Exception):
    """A constraint does not allow what a what-if wanted to change."""


class _IdsFound(Exception):
    """Rolls the step back, so that it is run again with the ids it issued then."""

    def __init__(self, last: Mapping[str, int]) -> None:
        super().__init__()
        self.last = last


class _Refused(Exception):
    """The server refused a statement, for the reason that is the message."""


@dataclass(slots=True)
class _Account:
    """What a step did so far."""

    rows: int = 0
    written: dict[str, int] = field(default_factory=dict)
    complete: bool = True

    def told(self, act: Act, outcome: Outcome, why: str = "") -> StepOutcome:
        written = sum(self.written.values())
        return StepOutcome(act.id, outcome, why, self.rows, written, self.complete)


@dataclass(slots=True)
class _Trial:
    """One batch of an act being tried. `start` is where the sequences stood, `last` where they
    are set to instead, when that is known."""

    act: Act
    name: str
    batch: Batch
    start: dict[str, int]
    last: Mapping[str, int] | None
    rounds: int = 0
    settled: bool = False

    @property
    def begun(self) -> dict[str, int]:
        return self.start | dict(self.last or {})


class Session:
    """`written` is per step what the server itself counted, by table."""

    def __init__(
        self,
        cluster: Cluster,
        database: str,
        schema: Schema,
        identities: Identities,
        *,
        shift: timedelta = timedelta(0),
        seed: float = 0.5,
    ) -> None:
        self.schema = schema
        self.identities = identities
        self.shift = shift
        self.seed = seed
        self.variants: Mapping[str, tuple[Variant, ...]] = {}
        self.on_tried: OnTried | None = None
        self.written: dict[str, dict[str, int]] = {}
        self._now = clock.NEVER
        self._cluster = cluster
        self._database = database
        self._feeds = identities.feeds
        self._rewritten: set[str] = set()
        self._open()

    def _open(self) -> None:
        self._connection: Connection[tuple[object, ...]] = self._cluster.connect(self._database)
        self._connection.prepare_threshold = None  # a step may deallocate what it did not make
        self._path = clock.search_path(self._connection)
        self._creating = clock.search_path(self._connection, creating=True)
        self._at: dict[str, int] | None = None  # where the sequences stand, while that is known
        self._watch = Watch(self._connection)
        asked = self._connection.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable)"
        ).fetchone()
        self._deferrable = asked == (True,)
        self._borrower = Borrower(self._connection, self.schema, self.identities.extras)

    def close(self) -> None:
        self._connection.close()

    @property
    def rewritten(self) -> frozenset[str]:
        """Tables whose rows were replaced (TRUNCATE, a rewriting ALTER TABLE)."""
        return frozenset(self._rewritten | self._watch.rewritten)

    def prepare(self, preparation: Preparation, act: Act) -> None:
        """Make it, at the time of the act that follows. Raises PreparationRefused."""
        self._now = act.at + self.shift
        clock.set_clock(self._connection, self._now, self._path)
        tables = [sql.Identifier(*parts(name)) for name in preparation.quiet]
        while True:
            try:
                with self._connection.transaction():
                    self._mark(PREPARATION)
                    self._triggers(tables, "DISABLE")
                    for statement in preparation.statements:
                        self._connection.execute(statement.encode())
                    # A table with constraints still to be checked cannot be altered.
                    self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    self._triggers(tables, "ENABLE")
                return
            except psycopg.Error as error:
                self._recover(error)
                if not self._borrower.borrow(error):
                    raise PreparationRefused from error

    def _triggers(self, tables: Sequence[sql.Identifier], switch: str) -> None:
        for table in tables:
            self._connection.execute(
                sql.SQL("ALTER TABLE {} {} TRIGGER USER").format(table, sql.SQL(switch))
            )

    def run(self, act: Act) -> StepOutcome:
        """Never raises for what the step does; EngineError when the server is in trouble."""
        if not act.statements:
            return StepOutcome(act.id, Outcome.NOT_REPLAYED, act.why)
        self._now = act.at + self.shift
        clock.set_clock(self._connection, self._now, self._path)
        if self.variants.get(act.id):
            self._try_variants(act)
        account = _Account()
        self.written[act.id] = account.written
        try:
            for number, batch in enumerate(batches(act)):
                self._batch(act, number, batch, account)
        except _Refused as refused:
            return account.told(act, Outcome.FAILED, str(refused))
        finally:
            if not account.complete:
                self._watch.look()
        return account.told(act, Outcome.DONE)

    def _mark(self, step: str) -> None:
        """What is written from here on belongs to this step."""
        self._connection.execute(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)", (step,)
        )

    # --- one transaction of a step ----------------------------------------------------------------

    def _batch(self, act: Act, number: int, batch: Batch, account: _Account) -> None:
        """Raises _Refused; then nothing of the batch is left."""
        name = f"{act.id}/{number}" if number else act.id
        known = self.identities.issued.get((name, "\n".join(batch.statements)))
        trial = _Trial(act, name, batch, self._positions(), known)
        begin: Mapping[str, int] = known or {}
        while True:
            self._set_positions(begin)
            clock.set_chance(self._connection, name, self.seed, mark=act.id)
            try:
                self._attempt(trial, account)
                break
            except _IdsFound as found:
                trial.last = {**(trial.last or {}), **found.last}
                trial.rounds += 1
            except psycopg.Error as error:
                self._recover(error)
                self._amend(trial, error)
            begin = trial.begun
        if trial.last is not None:
            # Numbers are never issued twice, wherever this step's were found.
            now = self._positions()
            behind = {label: n for label, n in trial.start.items() if now.get(label, n) < n}
            self._set_positions(behind)

    def _amend(self, trial: "_Trial", error: psycopg.Error) -> None:
        """Make the next attempt one that may succeed. Raises _Refused when there is none."""
        if self._borrower.borrow(error):
            return
        alone = trial.batch.wrapped and len(trial.batch.statements) == 1
        if alone and error.sqlstate in _NO_TRANSACTION:
            trial.batch = Batch(trial.batch.statements, wrapped=False)
            return
        passed = self._borrower.taken(error, self._feeds, trial.begun)
        if passed:
            trial.start |= passed
            trial.last = {
                label: max(n, trial.start[label]) for label, n in (trial.last or {}).items()
            }
        elif trial.last:
            # With the ids it had then it does not run here: with others it may.
            trial.last, trial.settled = None, True
        else:
            self._set_positions(trial.start)
            raise _Refused(_why(error)) from error

    def _attempt(self, trial: "_Trial", account: _Account) -> None:
        batch = trial.batch
        self._at = None
        if not batch.wrapped:
            account.complete = False
            account.rows += self._execute(batch.statements[0])
            return
        rows = 0
        untouched = True
        written: dict[str, int] = {}
        now = None
        with self._connection.transaction(force_rollback=not batch.kept):
            self._watch.begin()
            for statement in batch.statements:
                rows += self._execute(statement)
                self._watch.note(statement)
            if self._deferrable:
                # What waits for the COMMIT is written now, while it can still be counted.
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if batch.kept:
                written, untouched = self._watch.end()
                if not untouched:
                    self._feeds = still_there(self._connection, self._feeds)
                now = positions(self._connection, self._feeds)
                self._match_ids(trial, now)
        self._at = now
        account.rows += rows
        account.complete &= untouched
        for table, count in written.items():
            account.written[table] = account.written.get(table, 0) + count

    def _execute(self, statement: str) -> int:
        """Rows that the server says it wrote."""
        words = first_words(statement, most=1000 if _COPY.match(statement) else 1)
        if words[:1] == ["copy"] and "stdin" in words:
            raise _Refused("its data is not in the log: COPY FROM STDIN")
        if words[:1] == ["copy"] and "stdout" in words:
            with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                for _ in copy:
                    pass
            return 0
        creating = creates(statement)
        if creating:
            self._swap_path(self._path, self._creating)
        done = self._connection.execute(clock.pin(statement).encode())
        rows = done.rowcount if (done.statusmessage or "").startswith(_WRITES) else 0
        if creating:
            self._swap_path(self._creating, self._path)
        if words in (["reset"], ["discard"]):
            clock.keep_clock(self._connection, self._now)
        return max(rows, 0)

    def _swap_path(self, old: str, new: str) -> None:
        self._connection.execute(
            "SELECT pg_catalog.set_config('search_path', %s, false)"
            " WHERE pg_catalog.current_setting('search_path') = %s",
            (new, old),
        )

    def _match_ids(self, trial: "_Trial", now: Mapping[str, int]) -> None:
        name = (trial.name, "\n".join(trial.batch.statements))
        if name in self.identities.issued:
            return
        begun = trial.begun
        moved = [feed for feed in self._feeds if now[feed.label] != begun[feed.label]]
        if not moved:
            return
        # Rows are compared as text: in the zone of all texts, not in that of the step.
        self._connection.execute("SET LOCAL TimeZone = 'UTC'")
        last: dict[str, int] = {}
        made: dict[str, list[int]] = {}
        for feed in moved:
            before = begun[feed.label]
            rows = issued_rows(self._connection, feed, self.schema, (before, now[feed.label]))
            found = self.identities.began(feed, rows, act=trial.act.id, after=before)
            last[feed.label] = before if found is None else found
            made[feed.label] = [int(str(row[feed.column])) for row in rows]
        if (
            not trial.settled
            and trial.rounds < _ROUNDS_MAX
            and any(last[label] != begun[label] for label in last)
        ):
            raise _IdsFound(last)
        self.identities.issued[name] = {label: begun[label] for label in last}
        for feed in moved:
            self.identities.take(feed, trial.act.id, made[feed.label])

    def _positions(self) -> dict[str, int]:
        if self._at is None:
            try:
                self._at = positions(self._connection, self._feeds)
            except (psycopg.errors.UndefinedTable, psycopg.errors.WrongObjectType):
                self._feeds = still_there(self._connection, self._feeds)
                self._at = positions(self._connection, self._feeds)
        return dict(self._at)

    def _set_positions(self, last: Mapping[str, int]) -> None:
        if last:
            set_positions(self._connection, self._feeds, last)
            self._at = None

    # --- trouble ----------------------------------------------------------------------------------

    def _recover(self, error: psycopg.Error) -> None:
        """Go on after an error of a step, in a new session if the step ended this one. Raises
        EngineError when the server is in trouble."""
        with server_trouble(self._cluster):
            if about_the_server(error):
                raise error
        if self._connection.closed:
            self._rewritten |= self._watch.rewritten
            self._open()

    # --- variants ---------------------------------------------------------------------------------

    def _try_variants(self, act: Act) -> None:
        """Each in a transaction that is rolled back; one that the server refuses is left out."""
        assert self.on_tried is not None
        start = self._positions()
        for variant in self.variants[act.id]:
            clock.set_chance(self._connection, act.id, self.seed, mark=act.id)
            try:
                with self._connection.transaction(force_rollback=True):
                    for statement in act.statements[: variant.place]:
                        if control(statement) is None:
                            self._execute(statement)
                    tried = self._connection.execute(clock.pin(variant.statement).encode())
                    rows = self._in_utc(variant, tried.fetchall())
                self.on_tried(variant, rows)
            except psycopg.Error as error:
                self._recover(error)
            self._set_positions(start)

    def _in_utc(
        self, variant: Variant, rows: Sequence[tuple[object, ...]]
    ) -> Sequence[tuple[object, ...]]:
        """Moments were printed in the zone of the step; everywhere else they are in UTC."""
        table = self.schema.table(variant.table)
        names = (*table.key.columns, *variant.columns)
        zoned = [place for place, name in enumerate(names) if _zoned(table, name)]
        if not zoned or not rows:
            return rows
        moved = [list(row) for row in rows]
        self._connection.execute("SET LOCAL TimeZone = 'UTC'")
        for place in zoned:
            told = self._connection.execute(
                sql.SQL(
                    "SELECT CASE WHEN v IS NOT NULL THEN pg_catalog.concat(v::{}) END"
                    " FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS t (v, n) ORDER BY n"
                ).format(sql.SQL(table.column(names[place]).type)),
                ([row[place] for row in rows],),
            )
            for row, (text,) in zip(moved, told.fetchall(), strict=True):
                row[place] = text
        return [tuple(row) for row in moved]


def _zoned(table: Table, name: str) -> bool:
    column = table.column(name)
    return "timestamptz" in (column.family, column.element, *column.fields)


def _why(error: psycopg.Error) -> str:
    return f"{error.sqlstate or 'refused'}: {error.diag.message_primary or error}"
