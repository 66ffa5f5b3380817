"""One session on one clone, in which a history is run step by step.

A step that fails is an outcome: it may have failed for the customer too. A step that only fails
because a row it refers to was made by a step the log does not have gets that row from the current
state (marked as undocumented) and is tried again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import Connection

from diffing.model import Schema
from recovery.model import Act, Outcome, Preparation, StepOutcome, Supply, Variant
from recovery.replay import clock
from recovery.replay.borrow import Borrower
from recovery.replay.identity import (
    Identities,
    issued_rows,
    positions,
    set_positions,
    still_there,
)
from recovery.replay.looks import moved, read_looks, readable
from recovery.replay.order import Disorder
from recovery.replay.silence import silent
from recovery.replay.supply import copied, place_of
from recovery.replay.transactions import (
    Batch,
    batches,
    control,
    creates,
    first_words,
    keeps_rows,
    opens,
)
from recovery.replay.trial import Account, IdsFound, Refused, Trial, Unheard, Unsupplied
from recovery.replay.variants import in_utc
from recovery.replay.watch import Watch
from recovery.replay.whole import WholeTables
from recovery.scratch.cluster import Cluster, about_the_server, server_trouble

PREPARATION = "~preparation"  # the marker of what a what-if changes before a step
_COPY = re.compile(r"\s*copy\b", re.I)
_ROUNDS_MAX = 3  # ids of one table may depend on those of another
_NO_TRANSACTION = ("25001", "2D000")  # the statement only runs outside of one
_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")

OnTried = Callable[[Variant, Sequence[tuple[object, ...]]], None]


class PreparationRefused(Exception):
    """A constraint does not allow what a what-if wanted to change."""


class Session:
    """`written` is per step what the server itself counted, by table; `suspects` per step the
    tables whose rows are to be told whole. Without a `folder` to work in none is told whole.
    With `shuffling`, `disorder` moves rows that steps may depend on the order of."""

    def __init__(
        self,
        cluster: Cluster,
        database: str,
        schema: Schema,
        identities: Identities,
        *,
        shift: timedelta = timedelta(0),
        seed: float = 0.5,
        folder: Path | None = None,
        suspects: Mapping[str, frozenset[str]] | None = None,
        shuffling: bool = False,
    ) -> None:
        self.schema = schema
        self.identities = identities
        self.shift = shift
        self.seed = seed
        self.variants: Mapping[str, tuple[Variant, ...]] = {}
        self.on_tried: OnTried | None = None
        self.written: dict[str, dict[str, int]] = {}
        self.suspects = suspects or {}
        self._now = clock.NEVER
        self._supplies: tuple[Supply, ...] = ()
        self._folder = folder
        self._cluster, self._database = cluster, database
        self._feeds = identities.feeds
        self._rewritten: set[str] = set()
        self._open()
        self.disorder = Disorder(self._connection, schema) if shuffling else None

    def _open(self) -> None:
        self._connection: Connection[tuple[object, ...]] = self._cluster.connect(self._database)
        self._connection.prepare_threshold = None  # a step may deallocate what it did not make
        self._path = clock.search_path(self._connection)
        self._creating = clock.search_path(self._connection, creating=True)
        self._at: dict[str, int] | None = None  # where the sequences stand, while that is known
        self._watch = Watch(self._connection)
        self._looks = read_looks(self._connection)
        self._whole = (
            WholeTables(self._connection, self.schema, self._folder) if self._folder else None
        )
        asked = self._connection.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable)"
        ).fetchone()
        self._deferrable = asked == (True,)
        self._borrower = Borrower(self._connection, self.schema, self.identities.extras)

    def close(self) -> None:
        self._connection.close()

    @property
    def rewritten(self) -> frozenset[str]:
        """Tables whose rows were replaced (TRUNCATE, a rewriting ALTER TABLE) and not told."""
        return frozenset(self._rewritten)

    def prepare(self, preparation: Preparation, act: Act) -> None:
        """Make it, at the time of the act that follows. Raises PreparationRefused."""
        self._now = act.at + self.shift
        clock.set_clock(self._connection, self._now, self._path)
        while True:
            try:
                with self._connection.transaction():
                    self._mark(PREPARATION)
                    with silent(self._connection, preparation.quiet):
                        for statement in preparation.statements:
                            self._connection.execute(statement.encode())
                return
            except psycopg.Error as error:
                self._recover(error)
                if not self._borrower.borrow(error):
                    raise PreparationRefused from error

    def run(self, act: Act) -> StepOutcome:
        """Never raises for what the step does; EngineError when the server is in trouble."""
        if not act.statements:
            return StepOutcome(act.id, Outcome.NOT_REPLAYED, act.why)
        self._supplies = act.supplies
        self._now = act.at + self.shift
        clock.set_clock(self._connection, self._now, self._path)
        if self.disorder is not None:
            self.disorder.before(act)
        if self.variants.get(act.id):
            self._try_variants(act)
        account = Account()
        self.written[act.id] = account.written
        try:
            for number, batch in enumerate(batches(act)):
                self._batch(act, number, batch, account)
        except Refused as refused:
            own = isinstance(refused, Unsupplied)
            return account.told(act, Outcome.NOT_REPLAYED if own else Outcome.FAILED, str(refused))
        return account.told(act, Outcome.DONE)

    def _mark(self, step: str) -> None:
        """What is written from here on belongs to this step."""
        query = "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)"
        self._connection.execute(query, (step,))

    # --- one transaction of a step ----------------------------------------------------------------

    def _batch(self, act: Act, number: int, batch: Batch, account: Account) -> None:
        """Raises Refused; then nothing of the batch is left."""
        name = f"{act.id}/{number}" if number else act.id
        known = self.identities.issued.get((name, "\n".join(batch.statements)))
        trial = Trial(act, name, batch, self._feeds, self._positions(), known)
        begin: Mapping[str, int] = known or {}
        try:
            if self._whole is not None and batch.wrapped and batch.kept:
                self._keep(self.suspects.get(act.id, frozenset()))
            while True:
                self._set_positions(begin)
                clock.set_chance(self._connection, name, self.seed, mark=act.id)
                try:
                    self._attempt(trial, account)
                    break
                except IdsFound as found:
                    trial.last = {**(trial.last or {}), **found.last}
                    trial.rounds += 1
                except Unheard as unheard:
                    self._feeds = trial.feeds
                    self._keep(unheard.tables)
                except psycopg.Error as error:
                    self._feeds = trial.feeds
                    self._recover(error)
                    self._amend(trial, error)
                begin = trial.begun
        finally:
            if self._whole is not None:
                self._whole.forget()
        if trial.last is not None:
            # Numbers are never issued twice, wherever this step's were found.
            now = self._positions()
            behind = {label: n for label, n in trial.start.items() if now.get(label, n) < n}
            self._set_positions(behind)

    def _keep(self, tables: frozenset[str]) -> None:
        """The rows of these tables, as they are before the batch."""
        if self._whole is not None and tables:
            with server_trouble(self._cluster):
                self._whole.keep(tables & readable(self._looks, self.schema))

    def _amend(self, trial: Trial, error: psycopg.Error) -> None:
        """Make the next attempt one that may succeed. Raises Refused when there is none."""
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
            raise Refused(_why(error) + place_of(error)) from error

    def _attempt(self, trial: Trial, account: Account) -> None:
        batch = trial.batch
        self._at = None
        if not batch.wrapped:
            same_rows = keeps_rows(batch.statements[0])
            account.complete &= same_rows  # the server's own counts cannot be had here
            try:
                account.rows += self._execute(batch.statements[0])
            finally:
                if not self._connection.closed:
                    self._look(account, same_rows=same_rows)
            return
        rows = 0
        altered = False
        written: dict[str, int] = {}
        now = None
        with self._connection.transaction(force_rollback=not batch.kept):
            lead = int(opens(batch.statements[0]))
            for statement in batch.statements[:lead]:
                self._execute(statement)
            self._watch.begin()
            if self._whole is not None:
                self._whole.withhold()
            for statement in batch.statements[lead:]:
                rows += self._execute(statement)
                self._watch.note(statement)
            if self._deferrable:
                # What waits for the COMMIT is written now, while it can still be counted.
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if batch.kept:
                written, altered = self._watch.end()
                if altered:
                    self._hear()
                    self._feeds = still_there(self._connection, self._feeds)
                now = positions(self._connection, self._feeds)
                self._match_ids(trial, now)
                if self._whole is not None:
                    for table in self._whole.tell():
                        written.pop(table, None)
        self._at = now
        account.rows += rows
        account.altered |= altered
        if altered or (self._whole is not None and self._whole.untold):
            self._look(account)
        for table, count in written.items():
            account.written[table] = account.written.get(table, 0) + count

    def _hear(self) -> None:
        """Definitions or files have changed: tables that look otherwise have to be told whole."""
        found = moved(self._looks, read_looks(self._connection), self.schema)
        if self._whole is not None and not found.readable <= self._whole.tried:
            raise Unheard(found.readable)

    def _look(self, account: Account, *, same_rows: bool = False) -> None:
        """Something beside rows may have changed for good: what of it was not told?"""
        now = read_looks(self._connection)
        account.altered |= now != self._looks
        found = moved(self._looks, now, self.schema)
        untold = frozenset() if same_rows else found.readable
        if self._whole is not None:
            untold = (untold - self._whole.kept) | self._whole.untold
        self._looks = now
        self._rewritten |= untold | found.gone.keys()
        account.reasons += sorted(found.gone.values())
        account.reasons += [f"the rows of {name} were replaced unseen" for name in sorted(untold)]
        account.complete &= not untold and not found.gone

    def _execute(self, statement: str) -> int:
        """Rows that the server says it wrote."""
        words = first_words(statement, most=1000 if _COPY.match(statement) else 1)
        if words[:1] == ["copy"] and "stdin" in words:
            return copied(self._connection, self._cluster, statement, self._supplies)
        if words[:1] == ["copy"] and "stdout" in words:
            with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                for _ in copy:
                    pass
            return 0
        if creating := creates(statement):
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

    def _match_ids(self, trial: Trial, now: Mapping[str, int]) -> None:
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
            raise IdsFound(last)
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
            known = self._looks
            self._open()
            if self.disorder is not None:
                self.disorder = Disorder(self._connection, self.schema, self.disorder.shuffled)
            found = moved(known, self._looks, self.schema)
            self._rewritten |= found.readable | found.gone.keys()

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
                    rows = in_utc(self._connection, self.schema, variant, tried.fetchall())
                self.on_tried(variant, rows)
            except psycopg.Error as error:
                self._recover(error)
            self._set_positions(start)


def _why(error: psycopg.Error) -> str:
    return f"{error.sqlstate or 'refused'}: {error.diag.message_primary or error}"
