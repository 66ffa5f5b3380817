"""Rows whose key is a number from a sequence or a time. Which number a row got depends on the
order in which the server met the rows, and that order is not in a dump; the time is the
transaction's own, and a log may only know it about. After a run, inserted rows of tables that no
foreign key points to are matched by content with rows that only the current state has, and take
their keys. What one run found out about a row holds for the same row in another run, even where a
value in it is another: that is how a row that was written from damaged values is recognised.

Two rows are the same when all columns but the number and the times agree; of equals, the lowest
numbers go together.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from diffing.model import Column, Schema, Table
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

# What was found out before: the same step made a row of the same key. Only where the key says more
# than a number or a time; a number alone may stand for another row in another run.
_KNOWN = """
INSERT INTO renumbered
SELECT DISTINCT k.old, k.new FROM aligned k
JOIN effect e ON e.run = $run AND e."table" = k."table" AND e.step = k.step AND e.key = k.old
     AND e.op = 'insert' AND e."column" = ''
WHERE k."table" = $table AND k.old NOT IN (SELECT old FROM renumbered)
  AND k.new NOT IN (SELECT new FROM renumbered)
"""
_LEARN = """
INSERT INTO aligned
SELECT DISTINCT $table, e.step, r.old, r.new FROM renumbered r
JOIN effect e ON e.run = $run AND e."table" = $table AND e.key = r.old AND e.op = 'insert'
     AND e."column" = ''
WHERE NOT EXISTS (SELECT 1 FROM aligned k
                  WHERE k."table" = $table AND k.step = e.step AND k.old = r.old)
"""
_ALIGNED = """
CREATE TEMP TABLE IF NOT EXISTS aligned (
    "table" VARCHAR, step VARCHAR, old VARCHAR, new VARCHAR)
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

# Inside a row's JSON a column and its text stand once: quotes within values are escaped there.
_RENAME = """
UPDATE effect SET
    new = CASE WHEN effect."column" = $column AND effect.op = 'insert'
               THEN json_extract_string(r.new, $path)
               WHEN effect."column" = '' THEN replace(effect.new, $label || to_json(
                    json_extract_string(r.old, $path))::VARCHAR, $label || to_json(
                    json_extract_string(r.new, $path))::VARCHAR)
               ELSE effect.new END,
    old = CASE WHEN effect."column" = $column AND effect.op = 'delete'
               THEN json_extract_string(r.new, $path)
               WHEN effect."column" = '' THEN replace(effect.old, $label || to_json(
                    json_extract_string(r.old, $path))::VARCHAR, $label || to_json(
                    json_extract_string(r.new, $path))::VARCHAR)
               ELSE effect.old END
FROM renumbered r WHERE effect.run = $run AND effect."table" = $table AND effect.key = r.old
"""
_REKEY = """
UPDATE effect SET key = r.new FROM renumbered r
WHERE effect.run = $run AND effect."table" = $table AND effect.key = r.old
"""


def align(
    facts: duckdb.DuckDBPyConnection, run: str, schema: Schema, feeds: Iterable[Feed]
) -> None:
    """Give the rows that `run` inserted the keys they have in the current state, in its effects.
    Only tables whose key holds a number from a sequence or a time, and that nothing refers to."""
    for table, loose in _loosely_keyed(schema, feeds):
        _align(facts, run, table, loose)


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the rows of a table are told apart: not by the columns `passed`. `known`: what one run
    found out about a row holds in others."""

    table: str
    passed: frozenset[str]
    known: bool


def alignments(
    facts: duckdb.DuckDBPyConnection, schema: Schema, feeds: Iterable[Feed]
) -> tuple[Alignment, ...]:
    """Of the tables in which rows may get other keys: those of which the current state has rows
    that the backup has not."""
    extra = "SELECT DISTINCT \"table\" FROM divergence WHERE kind = 'extra'"
    names = {str(name) for (name,) in facts.execute(extra).fetchall()}
    return tuple(
        Alignment(
            table.name,
            frozenset([*loose, *_others(table)]),
            len(loose) < len(table.key.columns),
        )
        for table, loose in _loosely_keyed(schema, feeds)
        if table.name in names
    )


def _loosely_keyed(schema: Schema, feeds: Iterable[Feed]) -> Iterator[tuple[Table, list[str]]]:
    parents = {key.parent for key in schema.foreign_keys}
    fed = {(feed.table, feed.column) for feed in feeds}
    for table in schema.tables:
        loose = [
            column.name
            for column in table.key_columns
            if (table.name, column.name) in fed or _is_time(column)
        ]
        if loose and table.name not in parents:
            yield table, loose


def _align(facts: duckdb.DuckDBPyConnection, run: str, table: Table, loose: Sequence[str]) -> None:
    others = _others(table)
    names: dict[str, object] = {"run": run, "table": table.name}
    facts.execute(_PAIRS, names | {"passed": [*loose, *others]})
    if len(loose) < len(table.key.columns):
        facts.execute(_ALIGNED)
        facts.execute(_KNOWN, names)
        facts.execute(_LEARN, names)
    facts.execute(_DISPLACED, names)
    for column in loose:
        written = json.dumps(column, ensure_ascii=False)
        place = {"column": column, "path": f"$.{written}", "label": f"{written}:"}
        facts.execute(_RENAME, names | place)
    facts.execute(_REKEY, names)


def _others(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.generated or _is_time(column)]


def _is_time(column: Column) -> bool:
    return column.type.startswith(("timestamp", "time", "date"))
