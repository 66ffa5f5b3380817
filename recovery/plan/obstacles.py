"""What stands in the way of single rows: other rows refer to what would go, the parent of what
would come is not there, a unique value is taken. Such rows are left out, by name and number, with
everything that needs them; the others are still planned.

planned   (n, draft, op, "table", key, why, place, was, will)  one per row that a draft would write;
          `was` and `will` are what it holds before and after: columns and value texts
link      (n, m, ordered)  row n can only be written together with row m; ordered: after it
obstacle  (n, why, place, other)  `place` names the constraint, `other` the row that is in the way
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import duckdb

from diffing.model import ForeignKey, Schema, Table
from recovery.plan.catalog import Catalog, CurrentRows
from recovery.plan.unique import Unique, unique_columns

REFERRED = "referred"  # rows that are not planned to go refer to it
PARENTLESS = "parentless"  # the row it refers to is not there
TAKEN = "taken"  # another row has its unique value
NEEDED = "needed"  # it needs a row that is left out
CYCLE = "cycle"  # no order of writing is safe

_BATCH = 20_000
_PAIRS = "SELECT unnest(?::BIGINT[]), unnest(?::VARCHAR[])"
_TABLES = """
CREATE OR REPLACE TEMP TABLE planned AS
SELECT row_number() OVER (ORDER BY "group", key) AS n, "group" AS draft, "table", key,
       CASE WHEN any_value("column") <> '' THEN 'set-cells'
            WHEN any_value(seen) IS NULL THEN 'insert-rows' ELSE 'delete-rows' END AS op,
       '' AS why, '' AS place,
       CASE WHEN any_value("column") <> '' THEN json_group_object("column", seen)::VARCHAR
            ELSE any_value(seen) END AS was,
       CASE WHEN any_value("column") <> '' THEN json_group_object("column", target)::VARCHAR
            ELSE any_value(target) END AS will
FROM staged GROUP BY "group", "table", key;
CREATE OR REPLACE TEMP TABLE link (n BIGINT, m BIGINT, ordered BOOLEAN);
CREATE OR REPLACE TEMP TABLE obstacle (n BIGINT, why VARCHAR, place VARCHAR, other VARCHAR);
CREATE OR REPLACE TEMP TABLE asked (n BIGINT, text VARCHAR);
CREATE OR REPLACE TEMP TABLE held (n BIGINT, key VARCHAR);
CREATE OR REPLACE TEMP TABLE offered (n BIGINT, text VARCHAR);
"""

_REFERRED_LINKS = """
INSERT INTO link SELECT h.n, p.n, $ordered FROM held h
JOIN planned p ON p.op = 'delete-rows' AND p."table" = $table AND p.key = h.key AND p.n <> h.n
"""
_REFERRED = """
INSERT INTO obstacle SELECT h.n, 'referred', $place, h.key FROM held h
WHERE NOT EXISTS (SELECT 1 FROM planned p
    WHERE p.op = 'delete-rows' AND p."table" = $table AND p.key = h.key)
"""
_PARENT_LINKS = """
INSERT INTO link SELECT a.n, o.n, $ordered FROM asked a
JOIN offered o ON o.text = a.text AND o.n <> a.n
"""
_PARENTLESS = """
INSERT INTO obstacle SELECT a.n, 'parentless', $place, a.text FROM asked a
WHERE a.text NOT IN (SELECT text FROM offered)
  AND NOT EXISTS (SELECT 1 FROM held h WHERE h.n = a.n AND NOT EXISTS (SELECT 1 FROM planned p
      WHERE p."table" = $table AND p.key = h.key AND (p.op = 'delete-rows' OR
            p.op = 'set-cells' AND list_has_any(json_keys(p.will), $columns::VARCHAR[]))))
"""
_TAKEN_LINKS = """
INSERT INTO link SELECT h.n, p.n, true FROM held h
JOIN planned p ON p.op = 'delete-rows' AND p."table" = $table AND p.key = h.key
"""
# Within one write, values may change places; between two, one would have to give way first.
_TAKEN = """
INSERT INTO obstacle SELECT h.n, 'taken', $place, h.key FROM held h
JOIN planned own ON own.n = h.n
WHERE NOT (own.op = 'set-cells' AND own.key = h.key)
  AND NOT EXISTS (SELECT 1 FROM planned p WHERE p."table" = $table AND p.key = h.key
      AND (p.op = 'delete-rows' OR (p.op = 'set-cells' AND p.draft = own.draft
           AND len(list_intersect(json_keys(p.will), $columns::VARCHAR[])) > 0)))
"""
_LEAVE_OUT = """
UPDATE planned SET why = o.why, place = o.place
FROM (SELECT n, min_by(why, rank) AS why, min_by(place, rank) AS place FROM (
        SELECT *, (list_position(['referred', 'parentless', 'taken'], why), place) AS rank
        FROM obstacle) GROUP BY n) o
WHERE planned.n = o.n AND planned.why = ''
"""
_LEAVE_OUT_DEPENDENT = """
UPDATE planned SET why = 'needed', place = l."table"
FROM (SELECT link.n, min(p."table") AS "table" FROM link JOIN planned p ON p.n = link.m
      WHERE p.why <> '' GROUP BY link.n) l
WHERE planned.n = l.n AND planned.why = ''
"""


def find_obstacles(facts: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Fill `planned`, `link` and `obstacle` from `staged` and the current state, and mark the rows
    that are left out."""
    facts.execute(_TABLES)
    schema = catalog.schema
    for key in schema.foreign_keys:
        if schema.has(key.table) and schema.has(key.parent):
            _referring(facts, key, schema, catalog.current)
            _parents(facts, key, schema, catalog.current)
    for unique in unique_columns(schema):
        _taken(facts, unique, schema, catalog.current)
    facts.execute(_LEAVE_OUT)
    leave_out_dependent(facts)


def leave_out_dependent(facts: duckdb.DuckDBPyConnection) -> None:
    """What needs a row that is left out is left out too, until nothing more follows."""
    while _changed(facts, _LEAVE_OUT_DEPENDENT):
        pass


def leave_out(facts: duckdb.DuckDBPyConnection, drafts: Sequence[str], why: str) -> None:
    """Every row of these drafts."""
    facts.execute(
        "UPDATE planned SET why = ? WHERE why = '' AND list_contains(?::VARCHAR[], draft)",
        [why, list(drafts)],
    )
    leave_out_dependent(facts)


def edges(facts: duckdb.DuckDBPyConnection, *, ordered: bool) -> set[tuple[str, str]]:
    """(draft, the draft it needs) for different drafts; with `ordered` only those that have to be
    written in that order."""
    rows = facts.execute(
        "SELECT DISTINCT a.draft, b.draft FROM link JOIN planned a ON a.n = link.n"
        " JOIN planned b ON b.n = link.m"
        " WHERE a.draft <> b.draft AND a.why = '' AND b.why = ''"
        " AND (link.ordered OR NOT $ordered)",
        {"ordered": ordered},
    ).fetchall()
    return {(str(one), str(other)) for one, other in rows}


def _referring(
    facts: duckdb.DuckDBPyConnection, key: ForeignKey, schema: Schema, current: CurrentRows
) -> None:
    """Rows that refer to what would go must go themselves: nothing cascades unplanned."""
    parent, child = schema.table(key.parent), schema.table(key.table)
    _ask(facts, "asked", parent, key.parent_columns, "was")
    types = [parent.column(name).type for name in key.parent_columns]
    _look(facts, child, key.columns, types, current)
    waits = key.deferrable and key.on_delete == "no action"
    facts.execute(_REFERRED_LINKS, {"table": child.name, "ordered": not waits})
    facts.execute(_REFERRED, {"table": child.name, "place": _place(key.table, key.name)})


def _parents(
    facts: duckdb.DuckDBPyConnection, key: ForeignKey, schema: Schema, current: CurrentRows
) -> None:
    """What would be written refers to rows that stay or come."""
    parent, child = schema.table(key.parent), schema.table(key.table)
    _ask(facts, "asked", child, key.columns, "will")
    _ask(facts, "offered", parent, key.parent_columns, "will")
    types = [child.column(name).type for name in key.columns]
    _look(facts, parent, key.parent_columns, types, current)
    facts.execute(_PARENT_LINKS, {"ordered": not key.deferrable})
    facts.execute(
        _PARENTLESS,
        {
            "table": parent.name,
            "place": _place(key.table, key.name),
            "columns": list(key.parent_columns),
        },
    )


def _taken(
    facts: duckdb.DuckDBPyConnection, unique: Unique, schema: Schema, current: CurrentRows
) -> None:
    """No other row has, or keeps, the unique values that would be written."""
    table = schema.table(unique.table)
    _ask(facts, "asked", table, unique.columns, "will")
    types = [table.column(name).type for name in unique.columns]
    _look(facts, table, unique.columns, types, current)
    facts.execute(_TAKEN_LINKS, {"table": table.name})
    facts.execute(
        _TAKEN,
        {
            "table": table.name,
            "place": _place(table.name, unique.name),
            "columns": list(unique.columns),
        },
    )


def _ask(
    facts: duckdb.DuckDBPyConnection,
    relation: Literal["asked", "offered"],
    table: Table,
    columns: Sequence[str],
    when: Literal["was", "will"],
) -> None:
    """The values of planned rows in these columns, before or after. NULL refers to nothing and
    equals nothing; a row that does not write all of them is not asked about."""
    facts.execute(f"DELETE FROM {relation}")
    last = 0
    while batch := facts.execute(
        f'SELECT n, {when} FROM planned WHERE "table" = ? AND n > ?'
        f" AND list_has_all(json_keys({when}), ?::VARCHAR[]) ORDER BY n LIMIT {_BATCH}",
        [table.name, last, list(columns)],
    ).fetchall():
        last = int(batch[-1][0])
        numbers, texts = [], []
        for number, image in batch:
            row = json.loads(image)
            values = [row[name] for name in columns]
            if None not in values:
                numbers.append(number)
                texts.append(json.dumps(values))
        facts.execute(f"INSERT INTO {relation} {_PAIRS}", [numbers, texts])


def _look(
    facts: duckdb.DuckDBPyConnection,
    table: Table,
    columns: Sequence[str],
    types: Sequence[str],
    current: CurrentRows,
) -> None:
    """Which current rows hold what was asked."""
    facts.execute("DELETE FROM held")
    for batch in _batches(facts):
        found = current.holding(table, columns, types, batch)
        while part := tuple(islice(found, _BATCH)):
            facts.execute(
                f"INSERT INTO held {_PAIRS}",
                [[one.asked for one in part], [one.key for one in part]],
            )


def _batches(
    facts: duckdb.DuckDBPyConnection,
) -> Iterator[Sequence[tuple[int, tuple[str, ...]]]]:
    last = 0
    while batch := facts.execute(
        f"SELECT n, text FROM asked WHERE n > ? ORDER BY n LIMIT {_BATCH}", [last]
    ).fetchall():
        last = int(batch[-1][0])
        yield [(int(number), tuple(json.loads(text))) for number, text in batch]


def _place(table: str, name: str) -> str:
    return f"{table} ({name})"


def _changed(facts: duckdb.DuckDBPyConnection, statement: str) -> bool:
    row = facts.execute(statement).fetchone()
    return row is not None and int(row[0]) > 0
