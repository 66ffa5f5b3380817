"""Find what went wrong: propose, try on scratch, keep what explains the most.

First the steps that may have deviated from the log (a lost WHERE, another constant), judged by
the divergences they explain; then the steps that the customer suspects and that did just what the
log says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from diffing.model import Schema
from recovery.localize import as_described
from recovery.localize.candidate import Candidate
from recovery.localize.cells import final_values, lay_side_by_side
from recovery.localize.rivals import is_slip, last_to_write
from recovery.localize.score import Score, score
from recovery.localize.sketch import worth_trying
from recovery.localize.statement import targets
from recovery.model import FaultClass, History, Laboratory, Progress, Replay, Step, StepLog

FAULTS_MAX = 3
_ROWS_MIN = 3  # a constant is inferred from so many rows at least, unless the step is suspect


@dataclass(frozen=True, slots=True)
class Found:
    """An accepted fault with its trial, and rivals that could not be told from it."""

    candidate: Candidate
    score: Score
    rivals: tuple[tuple[Candidate, Score], ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What a search is given. `base` is the run of the log as it stands."""

    log: StepLog
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    laboratory: Laboratory
    base: Replay
    progress: Progress

    def step(self, name: str) -> Step:
        return next(step for step in self.log.steps if step.id == name)


def find_faults(search: Search, history: History) -> tuple[Found, ...]:
    """Faults in the order in which they were found; each explains what the ones before left."""
    found: list[Found] = []
    faulty = history
    run = search.base.run
    while len(found) < FAULTS_MAX:
        best = _best(search, faulty, run, {one.candidate.step for one in found})
        if best is None:
            break
        found.append(best)
        faulty = best.candidate.faulty
        run = f"fault-{len(found)}"
        search.laboratory.run(faulty, run)
    for step in search.log.steps:
        if step.suspect and all(one.candidate.step != step.id for one in found):
            described = _suspected(search, step, faulty)
            if described is not None:
                found.append(described)
    return tuple(found)


def _best(search: Search, history: History, run: str, taken: set[str]) -> Found | None:
    tried: list[tuple[Candidate, Score]] = []
    for candidate in _proposals(search, history, run, taken):
        search.progress.advance()
        replay = search.laboratory.run(candidate.faulty, "trial")
        if replay is None:
            continue
        lay_side_by_side(search.facts, target=run, faulty="trial", fault_step=candidate.step)
        step = search.step(candidate.step)
        judged = score(
            search.facts,
            candidate.bits,
            suspect=step.suspect,
            rows_agree=_rows_agree(step, replay, search.base),
            covered=_covered(search, candidate),
        )
        if judged.accepted and _told_from_later_work(search, candidate, step, replay):
            tried.append((candidate, judged))
    if not tried:
        return None
    tried.sort(key=lambda one: (-round(one[1].gain, 3), -one[1].hits, one[0].step))
    (candidate, judged), *rest = tried
    # Another step is no rival: it explains other cells, and has its turn.
    rivals = tuple(one for one in rest if one[0].step == candidate.step)
    return Found(candidate, judged, rivals)


def _told_from_later_work(search: Search, candidate: Candidate, step: Step, replay: Replay) -> bool:
    """A wrong value is claimed only where an undocumented second change of the same rows is ruled
    out."""
    if candidate.fault_class is not FaultClass.WRONG_VALUE or _covered(search, candidate):
        return True
    last = last_to_write(search.facts)
    if last == "somebody":
        return False
    logged, executed = (value for _, value in candidate.parameters)
    vouched = step.suspect or _rows_agree(step, replay, search.base)
    # A change relative to the former value may as well have met rows that somebody had changed.
    alone = last == "the step" and not candidate.injective
    return alone or vouched or is_slip(logged, executed)


def _covered(search: Search, candidate: Candidate) -> bool:
    return all(search.log.covers(target.table) for target in candidate.targets)


def _suspected(search: Search, step: Step, history: History) -> Found | None:
    act = next(act for act in history if act.id == step.id)
    if not act.statements:
        return None
    candidate = as_described.candidate(act, history, search.schema)
    search.laboratory.run(candidate.faulty, "trial")
    search.laboratory.run(candidate.target, "without")
    lay_side_by_side(search.facts, target="without", faulty="trial", fault_step=step.id)
    judged = score(search.facts, 0.0, suspect=True, rows_agree=False, covered=False)
    return Found(candidate, judged, ()) if judged.hits > judged.misses else None


def _proposals(search: Search, history: History, run: str, taken: set[str]) -> Iterator[Candidate]:
    """Hypotheses for steps with unexplained divergences where they aim."""
    final_values(search.facts, "left behind", of=run)
    acts = []
    doubtful = set()
    for act in history:
        step = search.step(act.id)
        if step.describes == "executed" or act.id in taken:
            continue
        aimed = [
            target
            for statement in act.statements
            for target in targets(statement, search.schema)
            if target.op != "insert"
        ]
        if any(_residue(search.facts, one.table, one.columns) for one in aimed):
            acts.append(act)
            if _unexpected(search, step, run):
                doubtful.add(act.id)
    yield from worth_trying(
        tuple(acts),
        history,
        search.schema,
        search.facts,
        search.laboratory,
        run=run,
        wrong_values=frozenset(doubtful),
    )


def _residue(facts: duckdb.DuckDBPyConnection, table: str, columns: frozenset[str]) -> bool:
    """Does anything differ there that the run does not predict?"""
    row = facts.execute(
        """SELECT count(*) FROM divergence d
        LEFT JOIN outcome f
          ON f.run = 'left behind'
         AND (f."table", f.key, f."column") = (d."table", d.key, d."column")
        WHERE d."table" = ?
          AND (d.kind = 'missing' AND len(?::VARCHAR[]) = 0
               OR d.kind = 'changed' AND list_contains(?::VARCHAR[], d."column")
                  AND (f.key IS NULL OR f.value IS DISTINCT FROM d.current))""",
        [table, sorted(columns), sorted(columns)],
    ).fetchone()
    assert row is not None
    return int(row[0]) > 0


def _unexpected(search: Search, step: Step, run: str) -> bool:
    """Most of the cells that this step wrote last hold something else than it should have left."""
    row = search.facts.execute(
        """WITH last AS (
            SELECT "table", key, "column", last(new ORDER BY ordinal) AS value,
                   last(step ORDER BY ordinal) AS step
            FROM effect WHERE run = ? AND "column" <> '' AND op = 'update' GROUP BY ALL)
        SELECT count(*) FILTER (d.key IS NOT NULL AND d.current IS DISTINCT FROM l.value), count(*)
        FROM last l
        LEFT JOIN unstable u ON u."table" = l."table" AND u."column" = l."column"
        LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = l."table" AND d.key = l.key
             AND d."column" = l."column"
        WHERE l.step = ? AND u."column" IS NULL""",
        [run, step.id],
    ).fetchone()
    assert row is not None
    unexpected, written = int(row[0]), int(row[1])
    enough = 1 if step.suspect or search.log.complete else _ROWS_MIN
    return unexpected * 2 >= written and unexpected >= enough


def _rows_agree(step: Step, faulty: Replay, base: Replay) -> bool:
    """The client program reported the number of rows that the fault touches, and not the
    number that the log's own statement touches."""

    def rows(replay: Replay) -> int | None:
        return next((one.rows for one in replay.outcomes if one.step == step.id), None)

    return step.rows is not None and rows(faulty) == step.rows != rows(base)
