"""double-import: the same data were imported twice.

log:      INSERT INTO t SELECT ... (once, or nothing at all)
executed: the same rows came again, under numbers of their own

What is in the database twice is found by `copies`. Another step that was carried out again is
`repeated`; here are files, lists of rows, and imports that nobody wrote down. The first copy stays.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb

from diffing.model import ForeignKey, Schema
from recovery.deviation import Insert
from recovery.localize.clusters import insert_statement, json_path
from recovery.localize.copies import (
    CERTAIN_MIN,
    ROWS_MIN,
    Batch,
    doubled_tables,
    find_batches,
    first_acts,
    first_copies,
    is_list,
    moment,
    rows_of,
    single,
)
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.messages import message
from recovery.model import Act, Alternative, Fault, FaultClass, Import, Question, Step, Variant

_REFERRED = """
UPDATE damage SET grade = 'undecided'
WHERE fault = $fault AND "table" = $parent AND "column" = '' AND current IS NOT NULL
  AND json_extract_string(current, $own) IN (
    SELECT json_extract_string(d.current, $refers) FROM divergence d
    WHERE d.kind = 'extra' AND d."table" = $table AND d.key NOT IN (
        SELECT x.key FROM damage x WHERE x."table" = $table AND x."column" = ''
           AND x.current IS NOT NULL AND x.target IS NULL)
    UNION ALL
    SELECT d.current FROM divergence d
    WHERE d.kind = 'changed' AND d."table" = $table AND d."column" = $column)
"""
# What belongs to a copy that may have to stay may have to stay with it.
_BELONGING = """
UPDATE damage SET grade = 'undecided'
WHERE fault = $fault AND "table" = $table AND "column" = '' AND current IS NOT NULL
  AND grade <> 'undecided' AND json_extract_string(current, $refers) IN (
    SELECT json_extract_string(x.current, $own) FROM damage x
    WHERE x.fault = $fault AND x."table" = $parent AND x."column" = '' AND x.grade = 'undecided')
RETURNING key
"""


def ask(scene: Scene) -> Iterator[Variant]:
    for table in doubled_tables(scene):
        look = first_copies(scene, table)
        if look is not None:
            yield look


def propose(scene: Scene) -> Iterator[Candidate]:
    batches = find_batches(scene)
    if not batches:
        return
    acts = first_acts(scene)
    step = scene.step(acts[0]) if len(acts) == 1 else None
    if step is not None and _is_import(scene, step) and step.id not in scene.taken:
        yield _again(scene, batches, step.id)
    yield _inserted(scene, batches)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """An exact copy of a whole batch is enough, unless equal rows are common in the table."""
    said = witness.complaints
    if said.fine or said.against:
        return False
    suspect = witness.step is not None and witness.step.suspect
    said_so = witness.covered or witness.rows_agree or suspect
    return said_so or "usual" not in dict(candidate.parameters)


def told(candidate: Candidate, score: Score) -> str:
    named = dict(candidate.parameters)
    if candidate.step:
        return message(
            "{rows} rows in {tables} are in the database twice: step {step} was carried out again",
            rows=named["copies"],
            tables=named["tables"],
            step=candidate.step,
        )
    return message(
        "{rows} rows in {tables} are in the database twice: they came again in one batch",
        rows=named["copies"],
        tables=named["tables"],
    )


def settle(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    """Copies that other rows refer to cannot simply go, nor what belongs to them: a person has to
    decide."""
    keys = tuple(single(schema.foreign_keys))
    for key in keys:
        referred = {"table": key.table, "column": key.columns[0]}
        facts.execute(_REFERRED, referred | _paths(key, fault))
    while any(
        facts.execute(_BELONGING, {"table": key.table} | _paths(key, fault)).fetchall()
        for key in keys
    ):
        pass


def _paths(key: ForeignKey, fault: str) -> dict[str, str]:
    return {
        "fault": fault,
        "parent": key.parent,
        "own": json_path(key.parent_columns[0]),
        "refers": json_path(key.columns[0]),
    }


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    row = facts.execute(
        """SELECT count(*) FROM damage WHERE fault = ? AND "column" = '' AND current IS NOT NULL
           AND grade = 'undecided'""",
        [fault.id],
    ).fetchone()
    assert row is not None
    if not row[0]:
        return ()
    return (
        Question(
            f"{fault.id}-referred",
            message(
                "{n} rows that came twice were used or changed since. Which of the two rows is to"
                " stay?",
                n=int(row[0]),
            ),
            (
                Alternative(message("Both"), message("They stay as they are"), 0),
                Alternative(
                    message("The first one"),
                    message("Let what refers to the second one refer to the first, then delete it"),
                    int(row[0]),
                ),
            ),
            int(row[0]),
        ),
    )


def _is_import(scene: Scene, step: Step) -> bool:
    return isinstance(step.action, Import) or is_list(scene.history[scene.place(step.id) - 1])


# --- what was done ------------------------------------------------------------------------------


def _again(scene: Scene, batches: Sequence[Batch], act: str) -> Candidate:
    """A step of the log, carried out once more."""
    done = next(one for one in scene.history if one.id == act)
    name = f"{act}~again"
    at = moment(scene, batches) or done.at
    before = [one.id for one in scene.history if one.at <= at]
    after = before[-1] if before and scene.place(before[-1]) > scene.place(act) else act
    return Candidate(
        FaultClass.DOUBLE_IMPORT,
        act,
        name,
        _parameters(batches),
        ";\n".join(done.statements),
        (Insert(after, replace(done, id=name, at=at)),),
        (),
        math.log2(max(len(scene.history), 2)) + 1,
        scene.aims(done) or _targets(batches),
        certain=_certain(scene, batches),
    )


def _inserted(scene: Scene, batches: Sequence[Batch]) -> Candidate:
    """The rows as they came."""
    statements = tuple(
        insert_statement(batch.table, rows_of(scene, batch.table)) for batch in batches
    )
    name = f"~double-import/{batches[0].table.name}"
    acts = scene.history
    at = acts[-1].at if acts else datetime(2000, 1, 1, tzinfo=UTC)
    act = Act(name, statements, at + timedelta(milliseconds=1))
    return Candidate(
        FaultClass.DOUBLE_IMPORT,
        "",
        name,
        _parameters(batches),
        "",
        (Insert(acts[-1].id if acts else "", act),),
        (),
        10.0 + math.log2(max(len(scene.schema.tables), 2)),
        _targets(batches),
        certain=_certain(scene, batches),
    )


def _targets(batches: Sequence[Batch]) -> tuple[Target, ...]:
    return tuple(Target("insert", batch.table.name, frozenset()) for batch in batches)


def _certain(scene: Scene, batches: Sequence[Batch]) -> bool:
    """Many different rows came again right behind the first ones: nobody's work looks like that.
    Tables without a time of their own go with those that have one."""
    if all(scene.log.covers(batch.table.name) for batch in batches):
        return True
    whole = max(batch.distinct for batch in batches) >= CERTAIN_MIN
    soon = any(batch.soon for batch in batches)
    return whole and soon and not any(batch.usual for batch in batches)


def _parameters(batches: Sequence[Batch]) -> tuple[tuple[str, str], ...]:
    said = (
        ("tables", ", ".join(batch.table.name for batch in batches)),
        ("copies", str(sum(batch.rows for batch in batches))),
    )
    usual = any(batch.usual for batch in batches) or max(b.distinct for b in batches) < ROWS_MIN
    return (*said, ("usual", "equal rows")) if usual else said


HYPOTHESIS = Hypothesis(
    FaultClass.DOUBLE_IMPORT, propose, told, ask, admits, settle=settle, asks=asks
)
