"""wrong-target: what was meant for one row, column or table was done to another.

log:      UPDATE t SET a = 'x' WHERE id = 17
executed: UPDATE t SET a = 'x' WHERE id = 71

Two sides must agree: what was meant is as it was before, and something else holds the effect.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from diffing.model import Table
from recovery.deviation import Replace
from recovery.localize.aims import (
    columns_named,
    faithful_columns,
    with_column,
    with_table,
)
from recovery.localize.hits import Look, in_question, lay_verge, looks
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness, anybody
from recovery.localize.looks import before, instead, sight
from recovery.localize.readings import Reading, names_rows, readings
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.sides import BOTH_MIN, attested, sides, speaks_for, which_of_two
from recovery.localize.statement import injective_columns, targets
from recovery.messages import message
from recovery.model import Act, FaultClass, Variant

_OTHERS_MAX = 4  # other columns or tables that are tried for one statement
_BOTH = 4.0  # bits: a row that lacks what was meant and holds it in another column tells it twice
_BOTH_MAX = 40.0

# Columns of rows that the act should have changed, and that hold something unexplained; in how many
# rows it is so, and what was meant is as it was before.
_BESIDE = """
SELECT r."column", count(DISTINCT r.key) FILTER (k.key IS NOT NULL) FROM residue r
JOIN (SELECT DISTINCT key FROM finals WHERE "table" = $table AND act = $act) f ON f.key = r.key
LEFT JOIN residue k ON k."table" = $table AND k.key = r.key AND k.act = $act
     AND list_contains($columns::VARCHAR[], k."column")
WHERE r."table" = $table AND r.kind = 'changed' AND r."column" <> ''
  AND NOT list_contains($columns::VARCHAR[], r."column")
GROUP BY r."column" ORDER BY count(*) DESC, r."column"
"""
_ELSEWHERE = """
SELECT "table", count(DISTINCT key) FROM residue
WHERE "table" <> $table AND CASE $op WHEN 'insert' THEN kind = 'extra'
      WHEN 'delete' THEN kind = 'missing'
      ELSE kind = 'changed' AND list_contains($columns::VARCHAR[], "column") END
GROUP BY "table" ORDER BY count(*) DESC, "table"
"""


@dataclass(frozen=True, slots=True)
class _Other:
    """What the `place`-th statement of an act was aimed at, in words, and what it hit. On `both`
    sides at least so many rows show it."""

    act: Act
    place: int
    meant: str
    hit: str
    statement: str
    bits: float
    both: int


def ask(scene: Scene) -> Iterator[Variant]:
    for look in looks(scene):
        if _naming_rows(scene, look):
            yield look.variant(scene.schema)
        table = scene.schema.table(look.aimed.table)
        for pair in _pairs(scene, look):
            for text in pair.texts(look):
                variant = _instead(scene, look, pair, text)
                yield variant
                yield before(look.act, look.place, table, variant.columns)


def propose(scene: Scene) -> Iterator[Candidate]:
    found = (*_other_rows(scene), *_other_columns(scene), *_other_tables(scene))
    for other in found:
        yield _candidate(other, scene)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Both sides, or people. Of one side alone nothing is said here."""
    found = sides(scene.facts, candidate.act, candidate.targets)
    return bool(found.changed and found.kept) and speaks_for(found, witness, candidate.statement)


def told(candidate: Candidate, score: Score) -> str:
    logged, executed = (value for _, value in candidate.parameters)
    return message(
        "Step {step} was done to {executed} and not to {logged}: {hits} cells and rows hold what"
        " was meant for others, or are still as they were",
        step=candidate.step,
        executed=executed,
        logged=logged,
        hits=score.hits,
    )


def _naming_rows(scene: Scene, look: Look) -> bool:
    key = scene.schema.table(look.aimed.table).key.columns
    return any(names_rows(condition, key) for condition in look.conditions)


def _other_rows(scene: Scene) -> Iterator[_Other]:
    for look in looks(scene):
        if not _naming_rows(scene, look) or not lay_verge(scene, look):
            continue
        key = scene.schema.table(look.aimed.table).key.columns
        for condition in look.conditions:
            if condition.kind == "other" or not names_rows(condition, key):
                continue
            for one in readings(scene, look, condition):
                if names_rows(one.executed, key) and _is_another(scene, look, one):
                    both = min(one.extra, one.kept)
                    yield _Other(look.act, look.place, condition.text, one.text, one.statement,
                                 one.bits, both)  # fmt: skip


def _other_columns(scene: Scene) -> Iterator[_Other]:
    """Another column of the same type, in the same rows; of the ways to set it the one that fits
    best."""
    for look in looks(scene):
        table = scene.schema.table(look.aimed.table)
        choice = math.log2(max(len(table.columns), 2))
        for pair in _pairs(scene, look):
            telling = bool(injective_columns(look.text))
            bits = choice - min(_BOTH * pair.rows, _BOTH_MAX) * telling
            seen = [(sight(scene, look.act, _instead(scene, look, pair, text)), text)
                    for text in pair.texts(look)]  # fmt: skip
            best, text = max(seen, key=lambda one: one[0].hits - one[0].misses)
            if best.worth_trying:
                yield _Other(look.act, look.place, pair.meant, pair.hit, text, bits, pair.rows)


def _is_another(scene: Scene, look: Look, one: Reading) -> bool:
    """Is it another list, or the list with one row for another? Some rows more and some less is
    what ordinary work looks like, unless the log holds all of it."""
    logged, executed = set(one.condition.constants), set(one.executed.constants)
    swapped = len(logged - executed) == len(executed - logged) == 1
    return one.done == one.extra or swapped or scene.covered((look.aimed,))


@dataclass(frozen=True, slots=True)
class _Pair:
    """A column that was meant to be set, and one that may have been set; in how many rows both
    are not as they should be."""

    meant: str
    hit: str
    rows: int

    def texts(self, look: Look) -> tuple[str, ...]:
        texts = [
            with_column(look.text, self.meant, self.hit, throughout=way) for way in (True, False)
        ]
        return tuple(dict.fromkeys(texts))


def _pairs(scene: Scene, look: Look) -> Iterator[_Pair]:
    table = scene.schema.table(look.aimed.table)
    names: dict[str, object] = {
        "table": table.name,
        "act": look.act.id,
        "columns": sorted(look.aimed.columns),
    }
    rows = scene.facts.execute(_BESIDE, names).fetchall() if look.aimed.columns else []
    for column in sorted(look.aimed.columns):
        alike = [(str(name), int(both)) for name, both in rows if _alike(table, column, str(name))]
        yield from (_Pair(column, name, both) for name, both in alike[:_OTHERS_MAX])


def _instead(scene: Scene, look: Look, pair: _Pair, text: str) -> Variant:
    columns = (look.aimed.columns - {pair.meant}) | {pair.hit}
    aimed = replace(look.aimed, columns=columns)
    return instead(look.act, look.place, text, aimed, scene.schema)


def _other_tables(scene: Scene) -> Iterator[_Other]:
    """Tables that have all the columns that the statement names."""
    for act in in_question(scene):
        for place, text in enumerate(act.statements):
            aims = targets(text, scene.schema)
            left = _left_behind(scene, act)
            if len(aims) != 1 or not left:
                continue
            (aimed,) = aims
            names: dict[str, object] = {
                "table": aimed.table,
                "op": aimed.op,
                "columns": sorted(aimed.columns),
            }
            elsewhere = scene.facts.execute(_ELSEWHERE, names).fetchall()
            table = scene.schema.table(aimed.table)
            named = columns_named(text)
            bits = math.log2(max(len(scene.schema.tables), 2))
            for name, rows in elsewhere[:_OTHERS_MAX]:
                other = scene.schema.table(str(name))
                if _compatible(table, other, named):
                    executed = with_table(text, other.schema, other.relation)
                    both = min(left, int(rows))
                    yield _Other(act, place, table.name, other.name, executed, bits, both)


def _left_behind(scene: Scene, act: Act) -> int:
    """Rows that are not as the act should have left them."""
    row = scene.facts.execute(
        'SELECT count(DISTINCT ("table", key)) FROM residue WHERE act = ?', [act.id]
    ).fetchone()
    assert row is not None
    return int(row[0])


def _alike(table: Table, column: str, other: str) -> bool:
    return (
        column != other
        and table.column(column).type == table.column(other).type
        and other not in table.key.columns
        and not table.column(other).generated
    )


def _compatible(table: Table, other: Table, named: frozenset[str]) -> bool:
    """Has the other table every column that is named, of the same type?"""
    types: Mapping[str, str] = {column.name: column.type for column in other.columns}
    if "*" in named and [one.type for one in table.columns] != [one.type for one in other.columns]:
        return False
    return all(
        types.get(column.name) == column.type for column in table.columns if column.name in named
    )


def _candidate(other: _Other, scene: Scene) -> Candidate:
    act, place = other.act, other.place
    statements = (*act.statements[:place], other.statement, *act.statements[place + 1 :])
    step = scene.step(act.id)
    assert step is not None
    aimed = tuple(dict.fromkeys((*scene.aims(act), *targets(other.statement, scene.schema))))
    return Candidate(
        FaultClass.WRONG_TARGET,
        act.id,
        act.id,
        (("logged", other.meant), ("executed", other.hit)),
        other.statement,
        (Replace(act.id, statements),),
        (),
        other.bits + math.log2(max(len(scene.history), 2)) + 3,
        aimed,
        faithful_columns(act.statements[place]) | faithful_columns(other.statement),
        confirmed=scene.tells_what_was_meant(step, aimed),
        certain=step.suspect
        or scene.covered(aimed)
        or (other.both >= BOTH_MIN and bool(injective_columns(other.statement))),
    )


HYPOTHESIS = Hypothesis(
    FaultClass.WRONG_TARGET,
    propose,
    told,
    ask,
    admits,
    asks=which_of_two,
    on_purpose=anybody,
    attested=attested,
)
