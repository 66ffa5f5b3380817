"""Numbers that a sequence would have given to rows that never came, or gave to rows that are gone.

Which number a row would have got is known only as far as nobody got it instead. A sequence does
not stand still for a step that was left out: the next row takes the number, and papers and other
systems name that row by it. So what the replay makes up is not the row's own number:

- the counter has passed the number and no row has it: it was given to nobody else that is still
  there, and may well have been the row's (a step that was rolled back has used its numbers up);
- the counter has not got there, and rows came after the step: theirs are the numbers it would have
  had, and which one it should have a person decides;
- the counter has not got there, and no row came after the step: it is the very next number.

A row that did come and was lost again has its own number in the replay only where the steps account
for every number that the counter gave since the backup; one that was skipped moves all that follow.
"""

import json
from collections.abc import Iterator

import duckdb

from diffing.model import ForeignKey, Schema, Sequence_
from recovery.localize.hypothesis import Candidate
from recovery.messages import message
from recovery.model import Alternative, Question

_COUNTER = """
CREATE OR REPLACE TEMP TABLE counter (sequence VARCHAR, "table" VARCHAR, "column" VARCHAR,
    was BIGINT, stands BIGINT)
"""
_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS drawn (
    fault VARCHAR, "table" VARCHAR, key VARCHAR, "column" VARCHAR, own BOOLEAN, grade VARCHAR)
"""
# Rows of the fault that were never added or are gone, and what became of the number in them.
_DRAWN = """
INSERT INTO drawn
WITH seen AS (
    SELECT "table", key FROM effect WHERE run = 'target' AND "column" = '' AND op = 'insert'
    UNION SELECT "table", key FROM divergence WHERE kind = 'extra'),
numbered AS (
    SELECT DISTINCT c."table", c."column", c.was, c.stands,
           try_cast(json_extract_string(s.key, '$."' || c."column" || '"') AS BIGINT) AS number
    FROM counter c JOIN seen s ON s."table" = c."table"),
given AS (
    SELECT "table", "column", count(*) = stands - was AS all_known FROM numbered
    WHERE number > was AND number <= stands GROUP BY "table", "column", was, stands),
added AS (
    SELECT d."table", d.key, c.was, c.stands, f.key IS NOT NULL AS came,
           coalesce(g.all_known, false) AS all_known,
           try_cast(json_extract_string(d.key, '$."' || c."column" || '"') AS BIGINT) AS number
    FROM damage d JOIN counter c ON c."table" = d."table"
    JOIN net n ON n.run = 'target' AND n."table" = d."table" AND n.key = d.key AND n."column" = ''
         AND n.last_op = 'insert'
    LEFT JOIN net f ON f.run = 'faulty' AND f."table" = d."table" AND f.key = d.key
         AND f."column" = ''
    LEFT JOIN given g ON g."table" = c."table" AND g."column" = c."column"
    WHERE d.fault = $fault AND d."column" = '' AND d.current IS NULL AND d.target IS NOT NULL
      AND EXISTS (FROM issued i WHERE i.text <> '' AND i.sequence = c.sequence
                  AND (i.act = n.last_step OR starts_with(i.act, n.last_step || '/')))),
omitted AS (
    SELECT min(ordinal) AS first FROM effect
    WHERE run = 'target' AND list_contains($omitted, step)),
earlier_rows AS (
    SELECT e."table", e.key FROM effect e, omitted o
    WHERE e.run = 'target' AND e."column" = '' AND e.op = 'insert' AND e.ordinal < o.first),
later AS (
    SELECT DISTINCT "table" FROM (FROM divergence WHERE kind = 'extra')
    ANTI JOIN earlier_rows USING ("table", key))
SELECT $fault, "table", key, '', true, CASE
    WHEN came THEN CASE WHEN all_known THEN 'proven' ELSE 'derived' END
    WHEN stands >= was AND number <= stands THEN 'derived'
    WHEN "table" IN (SELECT "table" FROM later) THEN 'undecided'
    WHEN stands IS NULL OR stands < was THEN 'derived'
    ELSE 'proven' END
FROM added
"""
# Cells and rows that name such a row by its number, and rows that name those.
_REFER = """
INSERT INTO drawn
WITH pair AS (SELECT unnest($own::VARCHAR[]) AS own, unnest($theirs::VARCHAR[]) AS theirs)
SELECT $fault, d."table", d.key, d."column", false, max(p.grade) FROM damage d
JOIN drawn p ON p.fault = $fault AND p."table" = $parent AND p."column" = '' AND p.grade <> 'proven'
ANTI JOIN drawn known ON known.fault = $fault AND known."table" = d."table" AND known.key = d.key
     AND known."column" = d."column" AND known.grade <> 'proven'
WHERE d.fault = $fault AND d."table" = $child AND d.target IS NOT NULL
  AND (SELECT bool_and(CASE WHEN d."column" = ''
                            THEN json_extract_string(d.target, own) ELSE d.target END
                       IS NOT DISTINCT FROM json_extract_string(p.key, theirs)) FROM pair)
  AND (d."column" = '' OR d."column" = $column)
GROUP BY d."table", d.key, d."column"
"""
_LOWER = """
UPDATE damage SET grade = w.grade,
       target = CASE WHEN w.grade = 'undecided' THEN NULL ELSE target END
FROM drawn w
WHERE damage.fault = $fault AND w.fault = $fault AND damage."table" = w."table"
  AND damage.key = w.key AND damage."column" = w."column"
  AND list_position($order::VARCHAR[], damage.grade) < list_position($order, w.grade)
"""
_OPEN = """
SELECT string_agg(DISTINCT "table", ', ' ORDER BY "table") FILTER (own),
       count(*) FILTER (own), count(*)
FROM drawn WHERE fault = $fault AND grade = 'undecided'
"""
_GRADES = ["proven", "consistent", "derived", "stale", "undecided", "lost"]


def lay_out_counters(
    facts: duckdb.DuckDBPyConnection, was: Schema, now: tuple[Sequence_, ...]
) -> None:
    """The relation `counter`: sequences that feed a column, where they stood in the backup, and
    where they stand (NULL where that is not known)."""
    facts.execute(_COUNTER)
    stands = {one.name: _last(one) for one in now}
    for one in was.sequences:
        if one.owned_by:
            row = [one.name, *one.owned_by, _last(one), stands.get(one.name)]
            facts.execute("INSERT INTO counter VALUES (?, ?, ?, ?, ?)", row)


def _last(sequence: Sequence_) -> int:
    return sequence.last_value - (0 if sequence.is_called else sequence.increment)


def settle_drawn(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    """Lower the grades of rows whose number is not theirs for sure, and of what names them."""
    exists = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'issued'"
    if facts.execute(exists).fetchone() == (0,):
        return
    facts.execute(_TABLE)
    facts.execute("DELETE FROM drawn WHERE fault = ?", [fault])
    facts.execute(_DRAWN, {"fault": fault, "omitted": sorted(candidate.omitted)})
    known = 0
    while known < (known := _count(facts)):
        for key in schema.foreign_keys:
            facts.execute(_REFER, _reference(key) | {"fault": fault})
    facts.execute(_LOWER, {"fault": fault, "order": _GRADES})


def ask_for_numbers(facts: duckdb.DuckDBPyConnection, fault: str) -> Iterator[Question]:
    """Which numbers should rows have whose own other rows have got?"""
    facts.execute(_TABLE)
    row = facts.execute(_OPEN, {"fault": fault}).fetchone()
    if row is None or not row[1]:
        return
    table, rows, cells = str(row[0]), int(row[1]), int(row[2])
    yield Question(
        f"{fault}-numbers",
        message(
            "{n} rows of {table} never came, and rows that came later have the numbers that they"
            " would have had. Are they still to be added?",
            n=rows,
            table=table,
        ),
        (
            Alternative(
                message("They are to be added"),
                message("Add them by hand with new numbers, and what belongs to them"),
                cells,
            ),
            Alternative(
                message("They were added later, or are not wanted any more"),
                message("They stay away"),
                0,
            ),
        ),
        cells,
    )


def _count(facts: duckdb.DuckDBPyConnection) -> int:
    row = facts.execute("SELECT count(*) FROM drawn WHERE grade <> 'proven'").fetchone()
    assert row is not None
    return int(row[0])


def _reference(key: ForeignKey) -> dict[str, object]:
    def paths(names: tuple[str, ...]) -> list[str]:
        return [f"$.{json.dumps(name, ensure_ascii=False)}" for name in names]

    return {
        "parent": key.parent,
        "child": key.table,
        "own": paths(key.columns),
        "theirs": paths(key.parent_columns),
        "column": key.columns[0] if len(key.columns) == 1 else "",
    }
