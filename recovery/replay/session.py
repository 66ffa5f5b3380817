"""One session on one clone, in which a history is run step by step.

A step that fails is an outcome: it may have failed for the customer too. A step that only fails
because a row it refers to was made by a step the log does not have gets that row from the current
state (marked as undocumented) and is tried again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache, partial
from itertools import count
from pathlib import Path

import psycopg
from psycopg import Connection

from diffing.model import Schema
from recovery.model import Act, Outcome, Preparation, StepOutcome, Variant
from recovery.replay import clock
from recovery.replay.borrow import Borrower
from recovery.replay.identity import Feed, Identities
from recovery.replay.legs import Group, grouped
from recovery.replay.looks import may_wait, moved, read_looks, readable
from recovery.replay.order import Disorder
from recovery.replay.sequences import Sequences
from recovery.replay.silence import silent
from recovery.replay.stands import read_stands
from recovery.replay.statements import Statements
from recovery.replay.stretch import Manner, Stopped, Stretches
from recovery.replay.supply import place_of
from recovery.replay.transactions import (
    Batch,
    batches,
    control,
    keeps_rows,
    opens,
)
from recovery.replay.trial import Account, IdsFound, Refused, Trial, Unheard, Unsupplied
from recovery.replay.variants import in_utc
from recovery.replay.watch import Watch
from recovery.replay.whole import WholeTables
from recovery.scratch.cluster import Cluster, about_the_server, server_trouble

PREPARATION = "~preparation"  # the marker of what a what-if changes before a step
_NO_TRANSACTION = ("25001", "2D000")  # the statement only runs outside of one

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
        self._folder = folder
        self._cluster, self._database = cluster, database
        self._rewritten: set[str] = set()
        self._open(identities.feeds)
        self.disorder = Disorder(self._connection, schema) if shuffling else None

    def _open(self, feeds: tuple[Feed, ...]) -> None:
        self._connection: Connection[tuple[object, ...]] = self._cluster.connect(self._database)
        self._connection.prepare_threshold = None  # a step may deallocate what it did not make
        self._statements = Statements(self._connection, self._cluster)
        self._sequences = Sequences(self._connection, self.schema, self.identities, feeds)
        self._watch = Watch(self._connection)
        self._looks = read_looks(self._connection)
        self._whole = (
            WholeTables(self._connection, self.schema, self._folder) if self._folder else None
        )
        self._deferrable = may_wait(self._connection)
        self._stretches = Stretches(self._connection, self.identities, self._statements.path)
        self._borrower = Borrower(self._connection, self.schema, self.identities.extras)

    def close(self) -> None:
        self._connection.close()

    @property
    def rewritten(self) -> frozenset[str]:
        """Tables whose rows were replaced (TRUNCATE, a rewriting ALTER TABLE) and not told."""
        return frozenset(self._rewritten)

    def prepare(self, preparation: Preparation, act: Act) -> None:
        """Make it, at the time of the act that follows. Raises PreparationRefused."""
        self._enter(act)
        while True:
            try:
                with self._connection.transaction():
                    query = "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)"
                    self._connection.execute(query, (PREPARATION,))
                    with silent(self._connection, preparation.quiet):
                        for statement in preparation.statements:
                            self._connection.execute(statement.encode())
                return
            except psycopg.Error as error:
                self._recover(error)
                if not self._borrower.borrow(error):
                    raise PreparationRefused from error

    def play(
        self, acts: Iterable[Act], preparation: Preparation | None = None
    ) -> Iterator[StepOutcome]:
        """As `run` for each, and `prepare` before its act; but acts that do nothing out of the
        ordinary are run in stretches."""
        prepared = preparation.before if preparation else None
        coming = grouped(acts, self.shift, lambda act: act.id == prepared or self._apart(act))
        later = lru_cache(maxsize=2)(lambda place: next(coming, None))
        for place in count():
            match later(place):
                case Group() as group:
                    # While the server is at it, what follows is read.
                    yield from self._go(group, partial(later, place + 1))
                case Act() as act:
                    if preparation and preparation.before == act.id:
                        self.prepare(preparation, act)
                    yield self.run(act)
                case None:
                    return

    def run(self, act: Act) -> StepOutcome:
        """Never raises for what the step does; EngineError when the server is in trouble."""
        if not act.statements:
            return StepOutcome(act.id, Outcome.NOT_REPLAYED, act.why)
        self._enter(act)
        if self.disorder is not None:
            self.disorder.before(act)
        if self.variants.get(act.id):
            self._try_variants(act)
        account = Account()
        self.written[act.id] = account.written
        return self._parts(act, account)

    def _parts(
        self, act: Act, account: Account, begun: int = 0, stopped: Stopped | None = None
    ) -> StepOutcome:
        """From the part `begun` on, which stopped so when it was tried."""
        try:
            for number, batch in enumerate(batches(act)):
                if number >= begun:
                    self._batch(act, number, batch, account, stopped)
                    stopped = None
        except Refused as refused:
            own = isinstance(refused, Unsupplied)
            return account.told(act, Outcome.NOT_REPLAYED if own else Outcome.FAILED, str(refused))
        return account.told(act, Outcome.DONE)

    # --- stretches --------------------------------------------------------------------------------

    def _apart(self, act: Act) -> bool:
        """Whether something is to be done around this act in particular."""
        return bool(
            self.variants.get(act.id)
            or self.suspects.get(act.id)
            or (self.disorder is not None and self.disorder.concerned(act.statements))
        )

    def _go(self, group: Group, meanwhile: Callable[[], object]) -> Iterator[StepOutcome]:
        accounts = {act.id: Account() for act in group.acts}
        going = group.legs
        while going:
            with server_trouble(self._cluster):
                passed, stopped = self._stretches.run(
                    going,
                    self._sequences.feeds,
                    Manner(self.seed, self._deferrable),
                    meanwhile,
                )
            self._sequences.at = self._stretches.positions(self._sequences.feeds)
            for one in passed:
                act = one.leg.act
                account = accounts[act.id]
                account.rows += one.rows
                account.add(one.written)
                self.written[act.id] = account.written
                if one.leg.last:
                    yield account.told(act, Outcome.DONE)
            if stopped is None:
                return
            act, begun = stopped.leg.act, stopped.leg.number
            self.written[act.id] = accounts[act.id].written
            self._enter(act, anew=not begun and not self._connection.closed)
            yield self._parts(act, accounts[act.id], begun, stopped)
            going = [leg for leg in going[len(passed) :] if leg.act is not act]

    def _enter(self, act: Act, *, anew: bool = True) -> None:
        """What is run from here on belongs to this act alone."""
        self._stretches.forget(altered=False)
        self._statements.supplies = act.supplies
        self._statements.now = act.at + self.shift
        if anew:
            clock.set_clock(self._connection, self._statements.now, self._statements.path)

    # --- one transaction of a step ----------------------------------------------------------------

    def _batch(
        self, act: Act, number: int, batch: Batch, account: Account, stopped: Stopped | None
    ) -> None:
        """`stopped` is how, if it was tried. Raises Refused; then nothing of the batch is left."""
        error = stopped.error if stopped else None
        stood = stopped.stands if stopped and error else read_stands(self._connection)
        name = f"{act.id}/{number}" if number else act.id
        known = self.identities.issued.get((name, "\n".join(batch.statements)))
        start = self._sequences.positions()
        trial = Trial(act, name, batch, self._sequences.feeds, start, known, stood)
        begin: Mapping[str, int] = known or {}
        try:
            if self._whole is not None and batch.wrapped and batch.kept:
                self._keep(self.suspects.get(act.id, frozenset()))
            while True:
                if error is None:
                    self._sequences.set_to(begin)
                    clock.set_chance(self._connection, name, self.seed, mark=act.id)
                try:
                    if error is not None:
                        raise error
                    self._attempt(trial, account)
                    break
                except IdsFound as found:
                    trial.last = {**(trial.last or {}), **found.last}
                    trial.rounds += 1
                except Unheard as unheard:
                    self._sequences.feeds = trial.feeds
                    self._keep(unheard.tables)
                except psycopg.Error as refusal:
                    self._sequences.feeds = trial.feeds
                    self._recover(refusal)
                    self._amend(trial, refusal)
                self._sequences.again(trial)
                begin, error = trial.begun, None
        finally:
            if self._whole is not None:
                self._whole.forget()
        if trial.last is not None:
            # Numbers are never issued twice, wherever this step's were found.
            now = self._sequences.positions()
            behind = {label: n for label, n in trial.start.items() if now.get(label, n) < n}
            self._sequences.set_to(behind)

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
        passed = self._borrower.taken(error, self._sequences.feeds, trial.begun)
        if passed:
            trial.start |= passed
            trial.last = {
                label: max(n, trial.start[label]) for label, n in (trial.last or {}).items()
            }
        elif trial.last:
            # With the ids it had then it does not run here: with others it may.
            trial.last, trial.settled = None, True
        else:
            self._sequences.set_to(trial.start)
            raise Refused(_why(error) + place_of(error)) from error

    def _attempt(self, trial: Trial, account: Account) -> None:
        batch = trial.batch
        self._sequences.at = None
        if not batch.wrapped:
            same_rows = keeps_rows(batch.statements[0])
            account.complete &= same_rows  # the server's own counts cannot be had here
            try:
                account.rows += self._statements.execute(batch.statements[0])
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
                self._statements.execute(statement)
            self._watch.begin()
            if self._whole is not None:
                self._whole.withhold()
            for statement in batch.statements[lead:]:
                rows += self._statements.execute(statement)
                self._watch.note(statement)
            if self._deferrable:
                # What waits for the COMMIT is written now, while it can still be counted.
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if batch.kept:
                written, altered = self._watch.end()
                if altered:
                    self._hear()
                    self._sequences.lose()
                now = self._sequences.read()
                self._sequences.match(trial, now)
                if self._whole is not None:
                    for table in self._whole.tell():
                        written.pop(table, None)
        self._sequences.at = now
        account.rows += rows
        account.altered |= altered
        if altered or (self._whole is not None and self._whole.untold):
            self._look(account)
        account.add(written)

    def _hear(self) -> None:
        """Definitions or files have changed: tables that look otherwise have to be told whole."""
        found = moved(self._looks, read_looks(self._connection), self.schema)
        if self._whole is not None and not found.readable <= self._whole.tried:
            raise Unheard(found.readable)

    def _look(self, account: Account, *, same_rows: bool = False) -> None:
        """Something beside rows may have changed for good: what of it was not told?"""
        self._stretches.forget(altered=True)
        self._deferrable = may_wait(self._connection)
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

    # --- trouble ----------------------------------------------------------------------------------

    def _recover(self, error: psycopg.Error) -> None:
        """Go on after an error of a step, in a new session if the step ended this one. Raises
        EngineError when the server is in trouble."""
        with server_trouble(self._cluster):
            if about_the_server(error):
                raise error
        if self._connection.closed:
            known, before = self._looks, self._statements
            self._open(self._sequences.feeds)
            self._statements.now, self._statements.supplies = before.now, before.supplies
            clock.set_clock(self._connection, before.now, self._statements.path)
            if self.disorder is not None:
                self.disorder = Disorder(self._connection, self.schema, self.disorder.shuffled)
            found = moved(known, self._looks, self.schema)
            self._rewritten |= found.readable | found.gone.keys()

    # --- variants ---------------------------------------------------------------------------------

    def _try_variants(self, act: Act) -> None:
        """Each in a transaction that is rolled back; one that the server refuses is left out."""
        assert self.on_tried is not None
        start = self._sequences.positions()
        for variant in self.variants[act.id]:
            clock.set_chance(self._connection, act.id, self.seed, mark=act.id)
            try:
                with self._connection.transaction(force_rollback=True):
                    for statement in act.statements[: variant.place]:
                        if control(statement) is None:
                            self._statements.execute(statement)
                    tried = self._connection.execute(clock.pin(variant.statement).encode())
                    rows = in_utc(self._connection, self.schema, variant, tried.fetchall())
                self.on_tried(variant, rows)
            except psycopg.Error as error:
                self._recover(error)
            self._sequences.set_to(start)


def _why(error: psycopg.Error) -> str:
    return f"{error.sqlstate or 'refused'}: {error.diag.message_primary or error}"
