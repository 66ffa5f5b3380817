"""Former values that the database itself wrote down: tables to which a trigger appends what a row
was before it was changed.

Nothing has to be declared. The replay shows which rows the faulty step's triggers added; a table is
a record of the damaged column when one of its columns always names the damaged row and another
always holds the value from before. A row of the record that is in the current state just as the
replay predicts it is a positive fact: this is what was there when the fault happened. It counts
only when the record holds nothing else about that row that the step log does not explain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from diffing.model import Schema
from recovery.localize.statement import Target

_DISTINCT_MIN = 2  # former values; fewer would make any column look like one that holds them

_FORMER = """
CREATE OR REPLACE TEMP TABLE former AS
SELECT key, "column", json_extract_string(key, $path) AS name, old
FROM effect WHERE run = $faulty AND step = $step AND op = 'update' AND "table" = $table
  AND list_contains($columns::VARCHAR[], "column")
"""

_NOTED = """
CREATE OR REPLACE TEMP TABLE noted AS
SELECT key, "column", new AS value FROM effect
WHERE run = $faulty AND step = $step AND op = 'insert' AND "table" = $record AND "column" <> ''
"""

# Columns (name, value) such that every damaged cell has just one row of the record that names it
# and holds its former value.
_ROLES = """
SELECT n."column", v."column"
FROM former f
JOIN noted n ON n.value = f.name
JOIN noted v ON v.key = n.key AND v."column" <> n."column" AND v.value IS NOT DISTINCT FROM f.old
WHERE f."column" = $column
GROUP BY ALL
HAVING count(*) = (SELECT count(*) FROM former WHERE "column" = $column)
   AND count(DISTINCT f.key) = count(*) AND count(DISTINCT f.old) >= $least
ORDER BY ALL
"""

_CONFIRMED = """
INSERT INTO recorded
WITH unlike AS (
    SELECT DISTINCT c.key FROM cell c
    LEFT JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE c."table" = $record AND u."column" IS NULL AND c.c IS DISTINCT FROM c.f),
unexplained AS (
    SELECT json_extract_string(d.current, $naming) AS name FROM divergence d
    LEFT JOIN row r ON r."table" = d."table" AND r.key = d.key
    WHERE d."table" = $record AND d.kind = 'extra' AND (r.key IS NULL OR NOT r.f))
SELECT $table, f.key, f."column"
FROM former f
JOIN noted n ON n.value = f.name AND n."column" = $name
JOIN row r ON r."table" = $record AND r.key = n.key AND r.c AND r.f
WHERE f."column" = $column AND n.key NOT IN (SELECT key FROM unlike)
  AND f.name NOT IN (SELECT name FROM unexplained WHERE name IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Faulty:
    """The faulty step in the faulty run."""

    run: str
    step: str
    targets: tuple[Target, ...]


def find_records(facts: duckdb.DuckDBPyConnection, faulty: Faulty, schema: Schema) -> None:
    """Fill the relation `recorded` (table, key, column): damaged cells whose former value a record
    of the current state confirms."""
    facts.execute(
        'CREATE OR REPLACE TEMP TABLE recorded ("table" VARCHAR, key VARCHAR, "column" VARCHAR)'
    )
    names = {"faulty": faulty.run, "step": faulty.step}
    for target in faulty.targets:
        key = schema.table(target.table).key.columns
        if target.op != "update" or len(key) != 1:
            continue
        columns = sorted(target.columns)
        facts.execute(
            _FORMER,
            names | {"table": target.table, "columns": columns, "path": _path(key[0])},
        )
        for record in _appended(facts, faulty):
            facts.execute(_NOTED, names | {"record": record})
            for column in columns:
                _confirm(facts, target.table, record, column)


def _confirm(facts: duckdb.DuckDBPyConnection, table: str, record: str, column: str) -> None:
    roles = facts.execute(_ROLES, {"column": column, "least": _DISTINCT_MIN}).fetchall()
    if not roles:
        return
    name = str(roles[0][0])
    facts.execute(
        _CONFIRMED,
        {
            "record": record,
            "table": table,
            "column": column,
            "name": name,
            "naming": _path(name),
        },
    )


def _appended(facts: duckdb.DuckDBPyConnection, faulty: Faulty) -> Sequence[str]:
    """Tables that only the step's triggers added rows to."""
    rows = facts.execute(
        """SELECT DISTINCT "table" FROM effect
        WHERE run = ? AND step = ? AND op = 'insert' AND NOT list_contains(?::VARCHAR[], "table")
        ORDER BY ALL""",
        [faulty.run, faulty.step, [target.table for target in faulty.targets]],
    ).fetchall()
    return [str(table) for (table,) in rows]


def _path(column: str) -> str:
    return '$."' + column.replace("\\", "\\\\").replace('"', '\\"') + '"'
