"""Rows that only a trigger or a bulk statement numbers: which number a row got depends on the order
in which the server met the rows, and that order is not in a dump. After a run, inserted rows of
tables that no foreign key points to are matched by content with rows that only the current state
has, and take their numbers.

Two rows are the same when all columns but the number and the times agree; of equals, the lowest
numbers go together.
"""

from collections.abc import Iterable

import duckdb

from diffing.model import Schema
from recovery.replay.identity import Feed

_PAIRS = """
CREATE OR REPLACE TEMP TABLE renumbered AS
WITH told AS (
    SELECT key, string_agg("column" || '=' || coalesce(to_json(new)::VARCHAR, 'null'), chr(31)
           ORDER BY "column") AS content
    FROM effect WHERE run = $run AND "table" = $table AND op = 'insert' AND "column" <> ''
      AND NOT list_contains($passed::VARCHAR[], "column") GROUP BY key),
present AS (
    SELECT d.key, string_agg(j.key || '=' || coalesce(to_json(json_extract_string(j.value, '$'))
           ::VARCHAR, 'null'), chr(31) ORDER BY j.key) AS content
    FROM divergence d, json_each(d.current) j
    WHERE d.kind = 'extra' AND d."table" = $table
      AND NOT list_contains($passed::VARCHAR[], j.key) GROUP BY d.key),
settled AS (SELECT key FROM told JOIN present USING (key, content)),
mine AS (
    SELECT key, content, row_number() OVER (PARTITION BY content ORDER BY length(key), key) AS place
    FROM told WHERE key NOT IN (SELECT key FROM settled)),
theirs AS (
    SELECT key, content, row_number() OVER (PARTITION BY content ORDER BY length(key), key) AS place
    FROM present WHERE key NOT IN (SELECT key FROM settled))
SELECT mine.key AS old, theirs.key AS new
FROM mine JOIN theirs USING (content, place) WHERE mine.key <> theirs.key
"""

# A row whose number was taken by another, and that has no place of its own, takes what is left of
# the numbers that were given up: no two rows may end up with one number.
_DISPLACED = """
INSERT INTO renumbered
WITH displaced AS (
    SELECT DISTINCT e.key, row_number() OVER (ORDER BY length(e.key), e.key) AS place
    FROM (SELECT DISTINCT key FROM effect WHERE run = $run AND "table" = $table AND op = 'insert') e
    WHERE e.key IN (SELECT new FROM renumbered) AND e.key NOT IN (SELECT old FROM renumbered)),
free AS (
    SELECT old AS key, row_number() OVER (ORDER BY length(old), old) AS place
    FROM renumbered WHERE old NOT IN (SELECT new FROM renumbered))
SELECT displaced.key, free.key FROM displaced JOIN free USING (place)
"""

# Inside a row's JSON the key's own text stands once: quotes within values are escaped there.
_RENUMBER = """
UPDATE effect SET key = r.new,
    new = CASE WHEN effect."column" = $column AND effect.op = 'insert'
               THEN json_extract_string(r.new, $path)
               WHEN effect."column" = '' THEN replace(effect.new, r.old[2:-2], r.new[2:-2])
               ELSE effect.new END,
    old = CASE WHEN effect."column" = $column AND effect.op = 'delete'
               THEN json_extract_string(r.new, $path)
               WHEN effect."column" = '' THEN replace(effect.old, r.old[2:-2], r.new[2:-2])
               ELSE effect.old END
FROM renumbered r WHERE effect.run = $run AND effect."table" = $table AND effect.key = r.old
"""


def align(
    facts: duckdb.DuckDBPyConnection, run: str, schema: Schema, feeds: Iterable[Feed]
) -> None:
    """Renumber the rows that `run` inserted, in its effects."""
    parents = {key.parent for key in schema.foreign_keys}
    for feed in feeds:
        table = schema.table(feed.table)
        if feed.table in parents or table.key.columns != (feed.column,):
            continue
        passed = [feed.column] + [
            column.name
            for column in table.columns
            if column.generated or column.family == "timestamptz" or _is_time(column.type)
        ]
        names: dict[str, object] = {"run": run, "table": table.name}
        facts.execute(_PAIRS, names | {"passed": passed})
        facts.execute(_DISPLACED, names)
        place = '$."' + feed.column.replace('"', '\\"') + '"'
        facts.execute(_RENUMBER, names | {"column": feed.column, "path": place})


def _is_time(kind: str) -> bool:
    return kind.startswith(("timestamp", "time", "date"))
