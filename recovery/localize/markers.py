"""Columns that every writer of a row moves: touched-at columns and versions. Where such a column
has stood still, nobody wrote the row.

A trigger that sets one whatever else is changed is sure to have done so (unless somebody switched
it off); a column that went up with every ordinary change seen so far is kept by a program, and
somebody may have gone round that.
"""

import re

import duckdb

from diffing.model import Schema

_LEARNED_MIN = 3  # changes that a column must have gone with
_VERSIONS = frozenset({"smallint", "integer", "bigint"})

# Columns that went up with every ordinary change of a column: what every writer of it moves.
_LEARNED = """
CREATE OR REPLACE TEMP TABLE learned AS
WITH ordinary AS (
    SELECT "table", key, "column", seen FROM change
    ANTI JOIN decayed USING ("table", key, "column", seen)),
moves AS (
    SELECT "table", key, "column", seen FROM change
    WHERE list_contains($markers::VARCHAR[], "table" || chr(31) || "column")
      AND CASE WHEN regexp_full_match(new, '-?[0-9]+')
               THEN try_cast(new AS HUGEINT) > try_cast(old AS HUGEINT) ELSE new > old END)
SELECT o."table", o."column", m."column" AS marker FROM ordinary o
JOIN moves m ON m."table" = o."table" AND m.key = o.key AND m.seen = o.seen
     AND m."column" <> o."column"
JOIN (SELECT "table", "column", count(*) AS n FROM ordinary GROUP BY ALL) every
  ON every."table" = o."table" AND every."column" = o."column"
GROUP BY o."table", o."column", m."column", every.n
HAVING count(*) = every.n AND every.n >= $least
"""


def learn_markers(facts: duckdb.DuckDBPyConnection, schema: Schema) -> None:
    """The relation `learned` (table, column, marker), from `change` and `decayed`."""
    facts.execute(_LEARNED, {"markers": _possible(schema), "least": _LEARNED_MIN})


def kept_by_triggers(schema: Schema, table: str) -> list[str]:
    """Columns that a trigger sets whatever else an UPDATE changes."""
    bodies = {one.name.partition("(")[0]: one.definition for one in schema.objects}
    columns: set[str] = set()
    for trigger in schema.triggers:
        text = trigger.definition
        always = (
            trigger.table == table
            and trigger.enabled
            and "update" in trigger.events
            and re.search(r"\bBEFORE\b.*\bFOR EACH ROW\b", text, re.S)
            and not re.search(r"\bUPDATE OF\b|\bWHEN \(", text)
        )
        body = bodies.get(trigger.function, "")
        if always and not re.search(r"\b(IF|CASE|RETURN OLD)\b", body, re.I):
            columns |= {
                name.strip('"') for name in re.findall(r'\bNEW\.("?\w+"?)\s*:?=', body, re.I)
            }
    known = {column.name for column in schema.table(table).columns}
    return sorted(columns & known)


def _possible(schema: Schema) -> list[str]:
    return [
        f"{table.name}\x1f{column.name}"
        for table in schema.tables
        for column in table.columns
        if column.type in _VERSIONS or column.type.startswith("timestamp")
    ]
