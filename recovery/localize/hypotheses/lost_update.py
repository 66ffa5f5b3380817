"""lost-update: a step wrote what it had computed from a state that another step had changed since.

log:      9 of 10 pieces left (step 1 took one); 6 left (step 2 took three)
current:  7: step 2 had read 10 before step 1 wrote, and what step 1 did is lost

What the second would have written before the first is looked up while the history is replayed.
A program that saves whole rows puts back the first one's other columns as well. Under a partial
log somebody may have corrected the row; it is claimed where people say so.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import postgast
from postgast import pg_query_pb2 as ast
from psycopg import sql

from diffing.model import Table
from recovery.deviation import Replace
from recovery.localize.by_key import set_rows
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import aim, instead
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.localize.witnesses import accused, at_once, in_this_order
from recovery.messages import message
from recovery.model import Act, FaultClass, Variant

_PAIRS_MAX = 40
_NEAR = 50  # places in the history
_ROWS_MAX = 200
_READ_BEFORE = timedelta(minutes=15)  # nobody holds a row for much longer before writing it
_DATED = 4.0  # bits: the times of the log speak against it

# Pairs of acts that wrote the same row, one after the other, where something is not as predicted.
_PAIRS = """
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place),
open AS (
    SELECT DISTINCT "table", key FROM residue WHERE kind IN ('changed', 'kept') AND act <> ''),
wrote AS (
    SELECT DISTINCT e.step, p.place, e."table", e.key FROM effect e
    JOIN place p ON p.step = e.step JOIN open o ON o."table" = e."table" AND o.key = e.key
    WHERE e.run = $run AND e.op = 'update')
SELECT a.step, b.step, a."table", list(DISTINCT a.key ORDER BY a.key)
FROM wrote a JOIN wrote b ON b."table" = a."table" AND b.key = a.key
     AND b.place BETWEEN a.place + 1 AND a.place + $near
GROUP BY a.step, b.step, a."table"
ORDER BY any_value(b.place - a.place), a.step, b.step LIMIT $most
"""

# Of these rows: what the second would have written before the first, what the first overwrote
# in other columns, and whether that is what is there.
_STALE = """
SELECT s.key, s."column", s.value, r.key IS NOT NULL AND r.current IS NOT DISTINCT FROM s.value
FROM sketch s
LEFT JOIN residue r ON r."table" = s."table" AND r.key = s.key AND r."column" = s."column"
WHERE s.variant = $variant AND list_contains($keys::VARCHAR[], s.key)
UNION ALL
SELECT e.key, e."column", first(e.old ORDER BY e.ordinal),
       bool_or(r.key IS NOT NULL AND r.current IS NOT DISTINCT FROM e.old)
FROM effect e
LEFT JOIN residue r ON r."table" = e."table" AND r.key = e.key AND r."column" = e."column"
LEFT JOIN unstable u ON u."table" = e."table" AND u."column" = e."column"
WHERE e.run = $run AND e.step = $first AND e.op = 'update' AND e."table" = $table
  AND list_contains($keys, e.key) AND NOT list_contains($columns::VARCHAR[], e."column")
  AND u."column" IS NULL
GROUP BY e.key, e."column"
"""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two acts that wrote these rows; the `place`-th statement of the second is an UPDATE of
    them. `dated`, `at_once`: what the times of the log say."""

    first: Act
    second: Act
    place: int
    aimed: Target
    keys: tuple[str, ...]
    dated: bool
    at_once: bool

    def variant(self, scene: Scene) -> Variant:
        """The second one's statement, run before the first one."""
        return instead(self.first, 0, self.second.statements[self.place], self.aimed, scene.schema)


@dataclass(frozen=True, slots=True)
class _Row:
    key: str
    values: Mapping[str, str | None]


def ask(scene: Scene) -> Iterator[Variant]:
    for pair in _pairs(scene):
        yield pair.variant(scene)


def propose(scene: Scene) -> Iterator[Candidate]:
    pairs = tuple(_pairs(scene))
    found = [one for pair in pairs if (one := _candidate(scene, pair, len(pairs))) is not None]
    yield from sorted(found, key=lambda one: (one.bits, one.step))


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where a correction by hand is ruled out."""
    return witness.covered or witness.vouched or candidate.certain


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "Step {step} wrote what it had read before step {first}: that explains {hits} cells",
        step=candidate.step,
        first=dict(candidate.parameters)["first"],
        hits=score.hits,
    )


def _pairs(scene: Scene) -> Iterator[_Pair]:
    doubted = {act.id: (act, step) for act, step in scene.doubted() if act.statements}
    names = {
        "acts": [act.id for act in scene.history],
        "run": scene.base.run,
        "near": _NEAR,
        "most": _PAIRS_MAX,
    }
    for one, two, table, keys in scene.facts.execute(_PAIRS, names).fetchall():
        if one not in doubted or two not in doubted or len(keys) > _ROWS_MAX:
            continue
        (first, before), (second, after) = doubted[one], doubted[two]
        for place, text in enumerate(second.statements):
            aimed = aim(text, scene.schema)
            if aimed is None or aimed.op != "update" or aimed.table != table:
                continue
            if not aimed.columns & set(scene.schema.table(table).key.columns):
                yield _Pair(
                    first,
                    second,
                    place,
                    aimed,
                    tuple(str(key) for key in keys),
                    in_this_order(before, after, margin=_READ_BEFORE),
                    at_once(before, after),
                )
            break


def _candidate(scene: Scene, pair: _Pair, pairs: int) -> Candidate | None:
    table = scene.schema.table(pair.aimed.table)
    columns, rows = _stale(scene, pair, table)
    if not rows:
        return None
    texts = list(pair.second.statements)
    texts[pair.place : pair.place + 1] = [
        _except(texts[pair.place], table, rows),
        set_rows(table, columns, [(row.key, row.values) for row in rows]),
    ]
    aimed = Target("update", table.name, frozenset(columns))
    bits = math.log2(max(pairs, 2)) + (
        0 if pair.at_once else math.log2(max(len(scene.history), 2)) + 1 + _DATED * pair.dated
    )
    return Candidate(
        FaultClass.LOST_UPDATE,
        pair.second.id,
        pair.second.id,
        (("first", pair.first.id),),
        texts[pair.place + 1],
        (Replace(pair.second.id, tuple(texts)),),
        (),
        bits,
        (aimed,),
        certain=scene.covered((aimed,)) or accused(scene, (pair.first.id, pair.second.id)),
    )


def _stale(scene: Scene, pair: _Pair, table: Table) -> tuple[Sequence[str], tuple[_Row, ...]]:
    """Columns and rows as the second step would have written them, had it read them before the
    first one; none when nothing of it is there."""
    cells = scene.facts.execute(
        _STALE,
        {
            "variant": pair.variant(scene).id,
            "keys": list(pair.keys),
            "run": scene.base.run,
            "first": pair.first.id,
            "table": table.name,
            "columns": sorted(pair.aimed.columns),
        },
    ).fetchall()
    hits = [column for _, column, _, hit in cells if hit]
    put_back = {
        name
        for name in set(hits) - pair.aimed.columns
        if 2 * hits.count(name) >= sum(column == name for _, column, _, _ in cells)
        and not table.column(name).generated
        and name not in table.key.columns
    }
    if not put_back and not pair.aimed.columns & set(hits):
        return (), ()
    columns = sorted(pair.aimed.columns | put_back)
    values: dict[str, dict[str, str | None]] = {}
    for key, column, value, _ in cells:
        values.setdefault(str(key), {})[str(column)] = value
    rows = (
        _Row(key, {name: row[name] for name in columns})
        for key, row in sorted(values.items())
        if row.keys() >= set(columns)
    )
    return columns, tuple(rows)


def _except(text: str, table: Table, rows: Sequence[_Row]) -> str:
    """The UPDATE without these rows."""
    tree = postgast.parse(text)
    statement = tree.stmts[0].stmt.update_stmt
    name = statement.relation.alias.aliasname or statement.relation.relname
    listed = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(
                    sql.Literal(json.loads(row.key)[one.name]), sql.SQL(one.type)
                )
                for one in table.key_columns
            )
        )
        for row in rows
    ]
    condition = sql.SQL("SELECT 1 WHERE ({}) NOT IN ({})").format(
        sql.SQL(", ").join(sql.Identifier(name, one.name) for one in table.key_columns),
        sql.SQL(", ").join(listed),
    )
    others = postgast.parse(condition.as_string(None)).stmts[0].stmt.select_stmt.where_clause
    if statement.HasField("where_clause"):
        both = ast.Node()
        both.bool_expr.boolop = ast.AND_EXPR
        both.bool_expr.args.add().CopyFrom(statement.where_clause)
        both.bool_expr.args.add().CopyFrom(others)
        others = both
    statement.where_clause.CopyFrom(others)
    return postgast.deparse(tree)


HYPOTHESIS = Hypothesis(FaultClass.LOST_UPDATE, propose, told, ask, admits)
