"""wrong-merge: two records that are not the same were merged into one.

log:      (nothing)
executed: UPDATE child SET parent = 7 WHERE parent = 9; DELETE FROM parent WHERE id = 9

Seen in what refers to the record that is gone: all of it refers to one other record now. A merge
on purpose looks just the same, so it is only called damage where people say so. What came since
and refers to the record that stayed may belong to either: a person has to say whose it is.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
from psycopg import sql

from diffing.model import ForeignKey, Schema, Table
from recovery.deviation import Insert, Replace
from recovery.localize.aims import faithful_columns
from recovery.localize.by_key import among
from recovery.localize.clusters import json_path
from recovery.localize.conditions import literal
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.sides import attested, sides, speaks_for, which_of_two
from recovery.localize.statement import Target, with_every
from recovery.localize.testimony import on_purpose_or_not, suspected
from recovery.messages import message
from recovery.model import Act, Alternative, Fault, FaultClass, Question, Step

_PAIRS_MAX = 6

# What referred to one record (by the history) and refers to another, of one foreign key.
_MOVED = """
SELECT predicted, current, count(*) FROM residue
WHERE kind = 'changed' AND "table" = $table AND "column" = $column
  AND predicted IS NOT NULL AND current IS NOT NULL GROUP BY ALL
"""
# The record that nothing refers to any more: gone, or changed.
_LEFT = """
SELECT kind, "column", current FROM residue
WHERE "table" = $table AND key = $key AND ("column" = '' AND kind = 'missing' OR kind = 'changed')
ORDER BY kind, "column"
"""
_SAID = """
SELECT count(DISTINCT c.number) FILTER (NOT c.fine),
       count(DISTINCT c.number) FILTER (NOT c.fine AND c.has_value AND (
           c.should_be = $gone AND c."table" <> $parent))
FROM complaint c
WHERE NOT c.answered AND (
    c."table" = $parent AND c.key IN ($gone_key, $stays_key)
    OR EXISTS (SELECT 1 FROM residue r
               WHERE r."table" = c."table" AND r.key = c.key AND r.kind = 'changed'
                 AND list_contains($refers::VARCHAR[], r."table" || chr(31) || r."column")
                 AND r.predicted = $gone AND r.current = $stays
                 AND c."column" IN ('', r."column")))
"""
# What acts let refer to another record than before, of one foreign key.
_LOGGED = """
SELECT DISTINCT step, old, new FROM effect
WHERE run = $run AND op = 'update' AND "table" = $table AND "column" = $column
  AND old IS NOT NULL AND new IS NOT NULL ORDER BY ALL
"""
# What came since the backup, is in no step, and refers to the record that stayed.
_CAME_SINCE = """
INSERT INTO damage
SELECT d."table", d.key, $column, 'collateral', $fault, $step, 'unknown', NULL, NULL,
       json_extract_string(d.current, $path), NULL, 'undecided', ''
FROM divergence d
WHERE d.kind = 'extra' AND d."table" = $table AND json_extract_string(d.current, $path) = $stays
  AND (d."table", d.key) NOT IN (SELECT ("table", key) FROM row)
  AND (d."table", d.key) NOT IN (SELECT ("table", key) FROM damage)
"""


@dataclass(frozen=True, slots=True)
class _Merge:
    """What referred to the key `gone` refers to `stays`; keys as texts."""

    parent: Table
    keys: tuple[ForeignKey, ...]  # those through which something was moved
    gone: str
    stays: str
    rows: int
    left: tuple[tuple[str, str | None], ...]  # changed cells of the record; none: it is gone
    marked: bool  # the record that nothing refers to any more is gone or changed
    logged: tuple[tuple[str, str], ...]  # acts that merged another record into the one that stayed
    wrong: int
    right: int
    step: Step | None


def propose(scene: Scene) -> Iterator[Candidate]:
    merges = sorted(
        _merges(scene), key=lambda one: (-one.wrong - one.right, -one.rows, one.gone, one.stays)
    )
    for merge in merges[:_PAIRS_MAX]:
        yield from _as_logged(scene, merge)
        said = merge.wrong or merge.step or scene.log.covers(merge.parent.name)
        if said and merge.marked:
            yield _candidate(scene, merge)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    if not _of_a_step(candidate):
        return witness.testified
    found = sides(scene.facts, candidate.act, candidate.targets)
    return speaks_for(found, witness, candidate.statement)


def told(candidate: Candidate, score: Score) -> str:
    named = dict(candidate.parameters)
    return message(
        "{rows} rows that referred to {gone} in {table} refer to {stays} now, and {gone} is gone or"
        " changed: the two were merged",
        rows=named["moved"],
        gone=named["merged"],
        table=named["table"],
        stays=named["into"],
    )


def settle(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    """What came since the merge belongs to neither until somebody says so."""
    named = dict(candidate.parameters)
    for key in _keys(schema, named["table"]):
        facts.execute(
            _CAME_SINCE,
            {
                "table": key.table,
                "column": key.columns[0],
                "path": json_path(key.columns[0]),
                "stays": named["into"],
                "fault": fault,
                "step": candidate.step,
            },
        )


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    named = dict(candidate.parameters)
    if _of_a_step(candidate):
        return which_of_two(facts, candidate, fault)
    row = facts.execute(
        """SELECT count(*) FROM damage WHERE fault = ? AND grade = 'undecided' AND backup IS NULL
           AND predicted IS NULL AND "column" <> '' """,
        [fault.id],
    ).fetchone()
    assert row is not None
    questions: list[Question] = []
    if not candidate.certain:
        cells = sum(count for _, count in fault.cells)
        questions.append(
            Question(
                f"{fault.id}-purpose",
                message(
                    "Were {gone} and {stays} in {table} merged on purpose?",
                    gone=named["merged"],
                    stays=named["into"],
                    table=named["table"],
                ),
                on_purpose_or_not(cells),
                cells,
            )
        )
    if row[0]:
        questions.append(
            Question(
                f"{fault.id}-whose",
                message(
                    "{n} rows that came since the backup refer to {stays} in {table}. Whose are"
                    " they?",
                    n=int(row[0]),
                    stays=named["into"],
                    table=named["table"],
                ),
                (
                    Alternative(
                        message("They belong to {key}", key=named["into"]),
                        message("They stay as they are"),
                        0,
                    ),
                    Alternative(
                        message("They belong to {key}", key=named["merged"]),
                        message("Write into the step log which ones, and assess again"),
                        int(row[0]),
                    ),
                ),
                int(row[0]),
            )
        )
    return tuple(questions)


def _keys(schema: Schema, parent: str) -> Iterator[ForeignKey]:
    """Foreign keys of one column to the key of the table."""
    table = schema.table(parent)
    for key in schema.foreign_keys:
        if (
            key.parent == parent
            and key.parent_columns == table.key.columns
            and len(key.columns) == 1
        ):
            yield key


def _merges(scene: Scene) -> Iterator[_Merge]:
    for table in scene.schema.tables:
        moved: dict[tuple[str, str], list[tuple[ForeignKey, int]]] = {}
        logged: dict[str, set[tuple[str, str]]] = {}
        for key in _keys(scene.schema, table.name):
            if key.table == table.name:
                continue
            names = {"table": key.table, "column": key.columns[0]}
            rows = scene.facts.execute(_MOVED, names).fetchall()
            for gone, stays, count in rows:
                moved.setdefault((str(gone), str(stays)), []).append((key, int(count)))
            if rows:
                done = scene.facts.execute(_LOGGED, names | {"run": scene.base.run}).fetchall()
                for act, meant, stays in done:
                    logged.setdefault(str(stays), set()).add((str(act), str(meant)))
        for (gone, stays), found in sorted(moved.items()):
            others = sorted(one for one in logged.get(stays, ()) if one[1] != gone)
            merge = _merge(scene, table, (gone, stays), found, others)
            if merge is not None:
                yield merge


def _merge(
    scene: Scene,
    table: Table,
    pair: tuple[str, str],
    found: Sequence[tuple[ForeignKey, int]],
    logged: Sequence[tuple[str, str]],
) -> _Merge | None:
    """The merge of this pair, if the record is gone or changed, or the log has a merge of another
    one into the same."""
    gone, stays = pair
    column = table.key.columns[0]
    keys = {name: _key(column, value) for name, value in (("gone_key", gone), ("stays_key", stays))}
    left = scene.facts.execute(_LEFT, {"table": table.name, "key": keys["gone_key"]}).fetchall()
    if not (left or logged):
        return None
    marks = tuple((str(name), value) for kind, name, value in left if kind == "changed")
    refers = [f"{key.table}\x1f{key.columns[0]}" for key, _ in found]
    row = scene.facts.execute(
        _SAID, {"parent": table.name, "gone": gone, "stays": stays, "refers": refers, **keys}
    ).fetchone()
    assert row is not None
    wrong, right = (int(number) for number in row)
    step = suspected(scene, table.name, (), None)
    rows = sum(count for _, count in found)
    return _Merge(
        table,
        tuple(key for key, _ in found),
        gone,
        stays,
        rows,
        marks,
        bool(left),
        tuple(logged),
        wrong,
        right,
        step,
    )


def _key(column: str, value: str) -> str:
    return json.dumps({column: value}, ensure_ascii=False, separators=(",", ":"))


def _candidate(scene: Scene, merge: _Merge) -> Candidate:
    statements = tuple(_statements(scene.schema, merge))
    acts = scene.history
    after = merge.step.id if merge.step else acts[-1].id if acts else ""
    at = acts[-1].at if acts else datetime(2000, 1, 1, tzinfo=UTC)
    name = f"~wrong-merge/{merge.parent.name}/{merge.gone}"
    covered = scene.log.covers(merge.parent.name)
    said = merge.wrong >= 2 or merge.right >= 1
    return Candidate(
        FaultClass.WRONG_MERGE,
        merge.step.id if merge.step else "",
        name,
        (
            ("table", merge.parent.name),
            ("merged", merge.gone),
            ("into", merge.stays),
            ("moved", str(merge.rows)),
        ),
        ";\n".join(statements),
        (Insert(after, Act(name, statements, at + timedelta(milliseconds=1))),),
        (),
        4.0 + math.log2(max(len(scene.schema.tables), 2)) + 3.4 * len(merge.stays),
        tuple(_targets(merge)),
        certain=said or (merge.wrong > 0 and (covered or merge.step is not None)),
    )


def _as_logged(scene: Scene, merge: _Merge) -> Iterator[Candidate]:
    """The same where the log has a merge of another record into the one that stayed: the step was
    done to the wrong record."""
    doubted = {act.id: (act, step) for act, step in scene.doubted()}
    for name, meant in merge.logged:
        if name not in doubted:
            continue
        act, step = doubted[name]
        done = [with_every(one, meant, merge.gone) for one in act.statements]
        if not any(done):
            continue
        statements = tuple(other or one for one, other in zip(act.statements, done, strict=True))
        parameters = (("logged", meant), ("merged", merge.gone), ("into", merge.stays))
        aimed = scene.aims(act)
        yield Candidate(
            FaultClass.WRONG_MERGE,
            act.id,
            act.id,
            (("table", merge.parent.name), *parameters, ("moved", str(merge.rows))),
            ";\n".join(statements),
            (Replace(act.id, statements),),
            (),
            math.log2(max(len(scene.history), 2)) + 1,
            aimed,
            faithful_columns(";".join(statements)),
            confirmed=scene.tells_what_was_meant(step, aimed),
        )


def _statements(schema: Schema, merge: _Merge) -> Iterator[str]:
    """What the merge did: everything that refers to the one refers to the other."""
    for key in _keys(schema, merge.parent.name):
        if key.table == merge.parent.name:
            continue
        child = schema.table(key.table)
        column = child.column(key.columns[0])
        yield (
            sql.SQL("UPDATE {} SET {name} = {} WHERE {name} = {}")
            .format(
                sql.Identifier(child.schema, child.relation),
                literal(column, merge.stays),
                literal(column, merge.gone),
                name=sql.Identifier(column.name),
            )
            .as_string(None)
        )
    table = merge.parent
    record = among(table, [_key(table.key.columns[0], merge.gone)])
    name = sql.Identifier(table.schema, table.relation)
    if not merge.left:
        yield sql.SQL("DELETE FROM {} WHERE {}").format(name, record).as_string(None)
        return
    marks = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), literal(table.column(column), value))
        for column, value in merge.left
    )
    yield sql.SQL("UPDATE {} SET {} WHERE {}").format(name, marks, record).as_string(None)


def _targets(merge: _Merge) -> Iterator[Target]:
    columns: dict[str, set[str]] = {}
    for key in merge.keys:
        columns.setdefault(key.table, set()).add(key.columns[0])
    for table, names in columns.items():
        yield Target("update", table, frozenset(names))
    if merge.left:
        yield Target("update", merge.parent.name, frozenset(name for name, _ in merge.left))
    else:
        yield Target("delete", merge.parent.name, frozenset())


def _of_a_step(candidate: Candidate) -> bool:
    """One merge left out on purpose, and another made: without a witness that may be."""
    return "logged" in dict(candidate.parameters)


HYPOTHESIS = Hypothesis(
    FaultClass.WRONG_MERGE,
    propose,
    told,
    admits=admits,
    settle=settle,
    asks=asks,
    on_purpose=_of_a_step,
    attested=attested,
)
