"""Runs, backup and current side by side, cell by cell, as relations of the case database.

net      what a run did to a cell in the end: its first old and last new image; not of what the
         current state has no place for (`absent`)
cell     per cell that a run wrote: backup (b), target run (t), faulty run (f), current (c)
row      per row that came or went in a run: whether it is there in b, t, f, c
Everything is proportional to what was written, never to the size of the database.
"""

from collections.abc import Iterable

import duckdb

from diffing.model import Schema

# How far a time of the log may be from the transaction's own and still be the same moment.
TOLERANCE_SECONDS = 5

_NET = """
CREATE OR REPLACE TEMP TABLE net AS
SELECT run, "table", key, "column",
       first(old ORDER BY ordinal) AS start, last(new ORDER BY ordinal) AS final,
       first(op ORDER BY ordinal) AS first_op, last(op ORDER BY ordinal) AS last_op,
       last(step ORDER BY ordinal) AS last_step, list(DISTINCT step) AS steps
FROM effect WHERE run IN (SELECT unnest(?::VARCHAR[]))
  AND ("table", '') NOT IN (FROM absent) AND ("table", "column") NOT IN (FROM absent)
GROUP BY run, "table", key, "column"
"""

# A row is in the backup unless only the current state has it or a run inserts it first.
_ROW = """
CREATE OR REPLACE TEMP TABLE row AS
WITH touched AS (SELECT DISTINCT "table", key FROM net),
came AS (SELECT DISTINCT "table", key FROM net WHERE "column" = '' AND first_op = 'insert')
SELECT u."table", u.key,
       came.key IS NULL AND extra.key IS NULL AS b,
       coalesce(t.last_op = 'insert', came.key IS NULL AND extra.key IS NULL) AS t,
       coalesce(f.last_op = 'insert', came.key IS NULL AND extra.key IS NULL) AS f,
       CASE WHEN missing.key IS NOT NULL THEN false WHEN extra.key IS NOT NULL THEN true
            ELSE came.key IS NULL END AS c,
       f.last_step AS f_step, coalesce(f.steps, []) AS f_steps, coalesce(t.steps, []) AS t_steps,
       list_contains(coalesce(f.steps, []), $fault) AS by_fault,
       missing.backup AS missing_image, extra.current AS extra_image
FROM touched u
LEFT JOIN came ON came."table" = u."table" AND came.key = u.key
LEFT JOIN net t ON t.run = $target AND t."table" = u."table" AND t.key = u.key AND t."column" = ''
LEFT JOIN net f ON f.run = $faulty AND f."table" = u."table" AND f.key = u.key AND f."column" = ''
LEFT JOIN divergence missing
       ON missing.kind = 'missing' AND missing."table" = u."table" AND missing.key = u.key
LEFT JOIN divergence extra
       ON extra.kind = 'extra' AND extra."table" = u."table" AND extra.key = u.key
"""

_CELL = """
CREATE OR REPLACE TEMP TABLE cell AS
WITH touched AS (
    SELECT "table", key, "column", first(start) FILTER (first_op <> 'insert') AS start
    FROM net WHERE "column" <> '' GROUP BY ALL),
extra AS (
    SELECT r."table", r.key, j.key AS "column", json_extract_string(j.value, '$') AS value
    FROM row r, json_each(r.extra_image) j WHERE r.extra_image IS NOT NULL),
based AS (
    SELECT u.*, d.key IS NOT NULL AS diverges, d.current,
           CASE WHEN d.key IS NOT NULL THEN d.backup ELSE u.start END AS b
    FROM touched u LEFT JOIN divergence d
      ON d.kind = 'changed' AND d."table" = u."table" AND d.key = u.key AND d."column" = u."column")
SELECT u."table", u.key, u."column", u.b,
       CASE WHEN t.key IS NOT NULL THEN t.final ELSE u.b END AS t,
       CASE WHEN f.key IS NOT NULL THEN f.final ELSE u.b END AS f,
       CASE WHEN u.diverges THEN u.current WHEN e.key IS NOT NULL THEN e.value ELSE u.b END AS c,
       r.b AS b_row, r.t AS t_row, r.f AS f_row, r.c AS c_row,
       f.last_step AS f_step, coalesce(f.steps, []) AS f_steps,
       list_contains(coalesce(f.steps, []), $fault) AS by_fault,
       t.last_step AS t_step, coalesce(t.steps, []) AS t_steps
FROM based u
JOIN row r ON r."table" = u."table" AND r.key = u.key
LEFT JOIN extra e ON e."table" = u."table" AND e.key = u.key AND e."column" = u."column"
LEFT JOIN net t ON t.run = $target AND t."table" = u."table" AND t.key = u.key
     AND t."column" = u."column"
LEFT JOIN net f ON f.run = $faulty AND f."table" = u."table" AND f.key = u.key
     AND f."column" = u."column"
"""

_OUTCOME = """
CREATE TEMP TABLE IF NOT EXISTS outcome (
    run VARCHAR, "table" VARCHAR, key VARCHAR, "column" VARCHAR, value VARCHAR)
"""

_UNSTABLE = """
CREATE OR REPLACE TEMP TABLE unstable AS
SELECT DISTINCT "table", "column" FROM (
    SELECT a."table", a."column" FROM effect a JOIN effect b
      ON b.run = $moved AND b.step = a.step AND b."table" = a."table" AND b.key = a.key
     AND b."column" = a."column" AND b.op = a.op
    WHERE a.run = $run AND a."column" <> '' AND a.new IS DISTINCT FROM b.new)
UNION SELECT "table", "column" FROM unsteady
"""

# Cells of such columns that clock and chance have no part in: what is written there is the same.
_STEADY = """
CREATE OR REPLACE TEMP TABLE steady AS
WITH written AS (
    SELECT run, "table", key, "column", list((step, new) ORDER BY ordinal) AS said
    FROM effect JOIN unstable USING ("table", "column")
    ANTI JOIN unsteady USING ("table", "column")
    WHERE run IN ($run, $moved) GROUP BY ALL)
SELECT a."table", a.key, a."column" FROM written a JOIN written b
  ON b."table" = a."table" AND b.key = a.key AND b."column" = a."column"
WHERE a.run = $run AND b.run = $moved AND a.said = b.said
"""

# Tables whose rows have other keys when clock and chance are moved: a row that is not found there
# may be there under another key.
_CLOCKED = """
CREATE OR REPLACE TEMP TABLE clocked AS
SELECT DISTINCT a."table" FROM effect a
LEFT JOIN effect b ON b.run = $moved AND b.step = a.step AND b."table" = a."table"
     AND b.key = a.key AND b."column" = '' AND b.op = 'insert'
WHERE a.run = $run AND a.op = 'insert' AND a."column" = '' AND b.key IS NULL
"""


def lay_side_by_side(
    facts: duckdb.DuckDBPyConnection, *, target: str, faulty: str, fault_act: str
) -> None:
    """Make `net`, `row` and `cell` for these two runs. `by_fault` marks what the act
    `fault_act` wrote in the faulty run."""
    facts.execute(_NET, [list({target, faulty})])
    names = {"target": target, "faulty": faulty, "fault": fault_act}
    facts.execute(_ROW, names)
    facts.execute(_CELL, {key: names[key] for key in ("target", "faulty", "fault")})


def learn_unstable(facts: duckdb.DuckDBPyConnection, run: str, moved: str) -> None:
    """Columns whose values differ between two runs of one history with clock and chance moved
    (relation `unstable`), but for single cells (`steady`), and tables whose keys do
    (`clocked`)."""
    facts.execute(_UNSTABLE, {"run": run, "moved": moved})
    facts.execute(_STEADY, {"run": run, "moved": moved})
    facts.execute(_CLOCKED, {"run": run, "moved": moved})


def final_values(
    facts: duckdb.DuckDBPyConnection, run: str, *, of: str | None = None, known: bool = True
) -> None:
    """What a run leaves behind, as rows of the relation `outcome` (run, table, key, column, value)
    under the name `run`; `of`: another run's, under this name. Nothing is left when it is not
    `known`."""
    facts.execute(_OUTCOME)
    facts.execute("DELETE FROM outcome WHERE run = ?", [run])
    if known:
        facts.execute(
            """INSERT INTO outcome
            SELECT ?, "table", key, "column", last(new ORDER BY ordinal)
            FROM effect WHERE run = ? GROUP BY "table", key, "column" """,
            [run, of or run],
        )


def contradict(facts: duckdb.DuckDBPyConnection, run: str) -> None:
    """An outcome of `run` that agrees with nothing: what could not be tried is not confirmed."""
    final_values(facts, run, known=False)
    facts.execute('INSERT INTO outcome SELECT ?, "table", key, "column", chr(1) FROM cell', [run])


def name_columns(facts: duckdb.DuckDBPyConnection, schema: Schema) -> None:
    """The relation `layout` (table, column, position): whole rows are written in this order."""
    facts.execute(
        'CREATE OR REPLACE TEMP TABLE layout ("table" VARCHAR, "column" VARCHAR, position INTEGER)'
    )
    rows = [
        (table.name, column.name, position)
        for table in schema.tables
        for position, column in enumerate(table.columns)
    ]
    for chunk in _chunks(rows, 1000):
        facts.executemany("INSERT INTO layout VALUES (?, ?, ?)", chunk)


def _chunks(rows: list[tuple[str, str, int]], size: int) -> Iterable[list[tuple[str, str, int]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
