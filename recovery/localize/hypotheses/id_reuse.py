"""id-reuse: a number was given again, and the same key stands for something else now.

log:      INSERT INTO customer (name, mail) VALUES ('Anna', 'a@x'), ('Boris', 'b@x')  (ids 4 and 5)
current:  4 is Xenia, x@y; 5 is Yuri, y@y

Seen in rows that differ in nearly everything, and in all that names them. What is there now may be
good work, and what was there before may be gone for good reasons: which of the two a number means
is for a person to say, so nothing here is ever certain.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from diffing.model import Schema, Table
from recovery.deviation import Insert
from recovery.localize.by_key import set_cells
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.localize.testimony import doubted_tables, suspected
from recovery.messages import message
from recovery.model import Act, Alternative, Fault, FaultClass, Question

_ROWS_MIN = 2
_COLUMNS_MIN = 2
_CHANGED_SHARE = 0.66  # two of three
_ROWS_MAX = 5000
_TEXTS = ("text", "character varying", "citext")

# What stood in another column of the row is nothing new.
_OTHERS = """
CREATE OR REPLACE TEMP TABLE reused AS
SELECT key FROM residue r
WHERE "table" = $table AND kind = 'changed' AND list_contains($compared::VARCHAR[], "column")
  AND NOT EXISTS (FROM residue o WHERE o."table" = r."table" AND o.key = r.key
      AND o."column" <> r."column" AND o.predicted = r.current AND r.current <> '')
GROUP BY key
HAVING count(*) >= $least
   AND count(*) FILTER (list_contains($naming::VARCHAR[], "column")) = len($naming)
ORDER BY length(key), key LIMIT $most
"""
_CELLS = """
SELECT r."column", r.key, r.current FROM residue r JOIN reused USING (key)
WHERE r."table" = $table AND r.kind = 'changed'
  AND list_contains($compared::VARCHAR[], r."column")
ORDER BY r."column", length(r.key), r.key
"""


def propose(scene: Scene) -> Iterator[Candidate]:
    for name in doubted_tables(scene):
        table = scene.schema.table(name)
        compared, naming = _compared(table), _naming(scene.schema, table)
        if not naming or len(compared) < _COLUMNS_MIN or len(table.key.columns) != 1:
            continue
        scene.facts.execute(
            _OTHERS,
            {
                "table": name,
                "compared": compared,
                "naming": naming,
                "least": math.ceil(_CHANGED_SHARE * len(compared)),
                "most": _ROWS_MAX,
            },
        )
        cells: dict[str, list[tuple[str, str | None]]] = {}
        for column, key, current in scene.facts.execute(
            _CELLS, {"table": name, "compared": compared}
        ).fetchall():
            cells.setdefault(str(column), []).append((str(key), current))
        rows = {key for column in cells.values() for key, _ in column}
        names = {column: {text for _, text in cells.get(column, ())} for column in naming}
        # Things have names of their own; one name for many is what somebody set.
        if len(rows) >= _ROWS_MIN and any(len(one) == len(rows) for one in names.values()):
            yield _candidate(scene, _Reused(table, tuple(sorted(naming)), len(rows)), cells)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Somebody who rewrote the rows has done the same: people have to say that it is wrong."""
    return witness.testified


def told(candidate: Candidate, score: Score) -> str:
    named = dict(candidate.parameters)
    return message(
        "{rows} rows of {table} have the number of something else: all that names them ({columns})"
        " is other than it should be",
        rows=named["rows"],
        table=named["table"],
        columns=named["naming"],
    )


def settle(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    facts.execute("UPDATE damage SET grade = 'undecided', target = NULL WHERE fault = ?", [fault])


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    named = dict(candidate.parameters)
    cells = sum(count for _, count in fault.cells)
    return (
        Question(
            f"{fault.id}-meaning",
            message(
                "{rows} numbers of {table} were given twice. What do they stand for?",
                rows=named["rows"],
                table=named["table"],
            ),
            (
                Alternative(message("For what is there now"), message("They stay as they are"), 0),
                Alternative(
                    message("For what was there before"),
                    message(
                        "What is there now needs numbers of its own first; look at everything that"
                        " refers to them, in other systems as well"
                    ),
                    int(named["rows"]),
                ),
            ),
            cells,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Reused:
    table: Table
    naming: tuple[str, ...]
    rows: int


def _compared(table: Table) -> Sequence[str]:
    """Columns that say what a row is; times are what every change leaves."""
    return [
        column.name
        for column in table.columns
        if column.name not in table.key.columns
        and not column.generated
        and not column.type.startswith("timestamp")
    ]


def _naming(schema: Schema, table: Table) -> Sequence[str]:
    """Columns that name a row for people: those that are unique, or else all texts."""
    unique = {
        name
        for one in schema.constraints
        if one.table == table.name and one.kind == "unique"
        for name in one.columns
    }
    texts = [column.name for column in table.columns if column.type.startswith(_TEXTS)]
    known = set(_compared(table))
    return sorted((unique or set(texts)) & known)


def _candidate(
    scene: Scene, reused: _Reused, cells: dict[str, list[tuple[str, str | None]]]
) -> Candidate:
    table = reused.table
    step = suspected(scene, table.name, (), None)
    statements = tuple(set_cells(table, column, some) for column, some in sorted(cells.items()))
    acts = scene.history
    at = acts[-1].at if acts else datetime(2000, 1, 1, tzinfo=UTC)
    name = f"~id-reuse/{table.name}"
    act = Act(name, statements, at + timedelta(milliseconds=1))
    return Candidate(
        FaultClass.ID_REUSE,
        step.id if step else "",
        name,
        (
            ("table", table.name),
            ("rows", str(reused.rows)),
            ("naming", ", ".join(reused.naming)),
        ),
        "",
        (Insert(acts[-1].id if acts else "", act),),
        (),
        9.0 + math.log2(max(len(scene.schema.tables), 2)),
        (Target("update", table.name, frozenset(cells)),),
        certain=False,
    )


HYPOTHESIS = Hypothesis(FaultClass.ID_REUSE, propose, told, admits=admits, settle=settle, asks=asks)
