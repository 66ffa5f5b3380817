"""One function over a batch of rows: what a way through another program does to values.

No step of the log says it. The function is supposed from a few cells; then the server applies it to
the whole column as the replay leaves it (a look at the end of the history), and the cells are
sorted by what the current state has there (relation `spoilt`).

A batch is worth the supposition when it can be described, or when no work on purpose looks like it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import LiteralString

from psycopg import sql

from diffing.model import Column, Table
from recovery.localize.by_key import among
from recovery.localize.looks import END
from recovery.localize.scene import Scene
from recovery.localize.spoilt import last_written, sort
from recovery.model import Variant

ROWS_MIN = 3
WORK_MIN = 8  # rows of a batch that somebody could have changed on purpose, one by one
_SHOWN_MAX = 20  # keys that a statement for people names
_EDITED_MAX = 5000
_VALUES_MAX = 3  # values of another column that describe a batch
_OTHERS_MAX = 8  # other columns that are looked at to describe a batch
_WHOLE = frozenset({"smallint", "integer", "bigint"})

_COUNTS = """
SELECT count(*) FILTER (fate = 'hit'), count(*) FILTER (fate = 'kept'),
       count(*) FILTER (fate = 'edited'), count(DISTINCT value) FILTER (fate = 'hit')
FROM spoilt WHERE variant = ?
"""
_KEY_RANGE = """
WITH numbered AS (
    SELECT try_cast(json_extract_string(key, $path) AS HUGEINT) AS number, fate
    FROM spoilt WHERE variant = $variant),
ends AS (SELECT min(number) AS low, max(number) AS high FROM numbered WHERE fate = 'hit')
SELECT low::VARCHAR, high::VARCHAR FROM ends
WHERE NOT EXISTS (FROM numbered WHERE fate = 'kept' AND number BETWEEN low AND high)
"""
# Another column that holds a few values in all rows that were hit, and others in those that were
# not; or moments of which no row that was not hit has one in between.
_BESIDE = """
WITH beside AS (
    SELECT s."column", s.value, b.fate
    FROM sketch s JOIN spoilt b ON b.variant = s.variant AND b.key = s.key
    WHERE s.variant = $variant AND s."column" <> b."column" AND b.fate IN ('hit', 'kept')),
told AS (
    SELECT "column", list(DISTINCT value ORDER BY value) FILTER (fate = 'hit') AS hits,
           list(DISTINCT value) FILTER (fate = 'kept') AS kept,
           bool_or(value IS NULL) AS gaps, min(value) FILTER (fate = 'hit') AS low,
           max(value) FILTER (fate = 'hit') AS high,
           list_contains($times::VARCHAR[], "column") AS times
    FROM beside GROUP BY "column")
SELECT "column", hits, low, high FROM told
WHERE NOT gaps AND (len(hits) <= $most AND NOT list_has_any(hits, kept)
      OR times AND len(list_filter(kept, lambda one: one BETWEEN low AND high)) = 0)
ORDER BY len(hits) > $most, len(hits), "column"
"""


_TIMES = """
WITH ends AS (
    SELECT min(value) AS low, max(value) AS high FROM spoilt
    WHERE variant = $variant AND fate = 'hit')
SELECT low, high FROM ends WHERE NOT EXISTS (
    FROM spoilt WHERE variant = $variant AND fate = 'kept' AND value BETWEEN low AND high)
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A column, and what was made of its values. `expression` is of the column's own type.
    `unsteady` columns are changed as well: they do not describe rows."""

    table: Table
    column: Column
    how: str
    expression: sql.Composable
    unsteady: frozenset[str] = frozenset()
    also: tuple[tuple[Column, sql.Composable], ...] = ()  # other columns, set at the same time
    seen_by: str = ""  # the look that shows the rows, when it is not one of `look`

    @property
    def name(self) -> str:
        return self.seen_by or f"{END}/{self.table.name}/{self.column.name}/{self.how}"

    @property
    def sets(self) -> tuple[tuple[Column, sql.Composable], ...]:
        return ((self.column, self.expression), *self.also)


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows that a change was made to. `rows` says which, for people."""

    change: Change
    hits: int
    kept: int
    edited: int
    values: int
    rows: str
    where: sql.Composable
    shown: sql.Composable  # the same, short
    bits: float
    described: bool  # which rows they are can be said in a few words

    def statement(self, where: sql.Composable) -> str:
        change = self.change
        return (
            sql.SQL("UPDATE {table} SET {values} WHERE {where}")
            .format(
                table=rows_of(change.table),
                values=sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(cell(column), value) for column, value in change.sets
                ),
                where=where,
            )
            .as_string(None)
        )


def cell(column: Column) -> sql.Composable:
    return sql.Identifier(column.name)


def typed(column: Column, expression: sql.Composable) -> sql.Composable:
    """As a value of the column: what is too long for it is cut."""
    return sql.SQL("({})::{}").format(expression, sql.SQL(column.type))


def rows_of(table: Table) -> sql.Composable:
    name = sql.Identifier(table.schema, table.relation)
    return name if table.partitioned else sql.SQL("ONLY {}").format(name)


def text_of(expression: sql.Composable) -> sql.Composable:
    return sql.SQL("CASE WHEN ({0}) IS NOT NULL THEN pg_catalog.concat({0}) END").format(expression)


def suspects(scene: Scene, fits: Callable[[Column], bool]) -> Iterable[tuple[Table, Column, int]]:
    """Columns of which enough cells have changed and nothing explains it, with how many."""
    rows = scene.facts.execute(
        """SELECT "table", "column", count(*) FROM residue WHERE kind = 'changed'
        GROUP BY ALL HAVING count(*) >= ? ORDER BY ALL""",
        [ROWS_MIN],
    ).fetchall()
    for name, label, count in rows:
        table = scene.schema.table(str(name))
        column = table.column(str(label))
        if table.key.columns and not column.generated and fits(column):
            yield table, column, int(count)


def look(change: Change) -> Variant:
    """What the change makes of every value that it changes, and what stands beside it."""
    table, column = change.table, change.column
    beside = _beside(change)
    shown = [text_of(cell(one)) for one in table.key_columns]
    shown += [text_of(change.expression), *(text_of(cell(one)) for one in beside)]
    text = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(shown), rows_of(table), differs(change)
    )
    columns = (column.name, *(one.name for one in beside))
    return Variant(change.name, END, 0, text.as_string(None), table.name, columns)


def batch(
    scene: Scene, change: Change, *, possible: Callable[[str | None], bool] = lambda _: True
) -> Batch | None:
    """The batch of a change that was looked at; None when too few cells fit. An edited cell whose
    value is not `possible` as the outcome of the change was written afterwards: it is kept."""
    facts, name = scene.facts, change.name
    sort(scene, name, change.table.name, change.column.name)
    row = facts.execute(_COUNTS, [name]).fetchone()
    assert row is not None
    hits, kept, edited, values = (int(number) for number in row)
    if hits < ROWS_MIN or edited > hits or edited > _EDITED_MAX:
        return None
    found = described(scene, change, hits, kept, edited, values)
    return without_later(scene, found, possible) if edited else found


def described(
    scene: Scene, change: Change, hits: int, kept: int, edited: int = 0, values: int = 0
) -> Batch:
    """The batch of a change whose cells are sorted (relation `spoilt`), in as few words as there
    are."""
    every = differs(change)
    found = Batch(change, hits, kept, edited, values, "all", every, every, 0.0, True)
    if not kept:
        return found
    return (
        _by_key(scene, found)
        or _by_column(scene, found)
        or _by_time(scene, found)
        or _listed(scene, found)
    )


def differs(change: Change) -> sql.Composable:
    """Rows that the change makes different."""
    each = [
        sql.SQL("({})::text IS DISTINCT FROM {}::text").format(value, cell(column))
        for column, value in change.sets
    ]
    return each[0] if len(each) == 1 else sql.SQL("({})").format(sql.SQL(" OR ").join(each))


def unsteady(scene: Scene, table: Table) -> frozenset[str]:
    """Columns of which several cells have changed since the backup."""
    rows = scene.facts.execute(
        """SELECT "column" FROM divergence WHERE "table" = ? AND kind = 'changed'
        GROUP BY "column" HAVING count(*) >= ?""",
        [table.name, ROWS_MIN],
    ).fetchall()
    return frozenset(str(name) for (name,) in rows)


def _beside(change: Change) -> Sequence[Column]:
    """Other columns that may say which rows a batch is."""
    table = change.table
    plain = _WHOLE | {"text", "boolean", "date", "timestamp without time zone"}
    fit = [
        one
        for one in table.columns
        if one.name not in (change.column.name, *table.key.columns, *change.unsteady)
        and (one.type in plain or is_time(one) or one.type.startswith("character varying"))
    ]
    return fit[:_OTHERS_MAX]


def is_time(column: Column) -> bool:
    return column.type == "date" or column.type.startswith("timestamp")


def _by_key(scene: Scene, found: Batch) -> Batch | None:
    keys = found.change.table.key_columns
    if len(keys) != 1 or keys[0].type not in _WHOLE:
        return None
    path = "$." + json.dumps(keys[0].name, ensure_ascii=False)
    names = {"variant": found.change.name, "path": path}
    row = scene.facts.execute(_KEY_RANGE, names).fetchone()
    if row is None:
        return None
    low, high = str(row[0]), str(row[1])
    bits = 2 * log2(found.hits + found.kept)
    return _where(found, f"{keys[0].name} {low}..{high}", _between(keys[0], low, high), bits)


def _by_column(scene: Scene, found: Batch) -> Batch | None:
    table = found.change.table
    times = [one.name for one in _beside(found.change) if is_time(one)]
    names = {"variant": found.change.name, "times": times, "most": _VALUES_MAX}
    rows = scene.facts.execute(_BESIDE, names).fetchall()
    row = next((one for one in rows if one[0] not in found.change.unsteady), None)
    if row is None:
        return None
    column = table.column(str(row[0]))
    if len(row[1]) > _VALUES_MAX:
        told = f"{column.name} {row[2]}..{row[3]}"
        return _where(found, told, _between(column, str(row[2]), str(row[3])), 10.0)
    values = sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(column.type)) for value in row[1]
    )
    where = sql.SQL("{} IN ({})").format(cell(column), values)
    return _where(found, f"{column.name} = {', '.join(row[1])}", where, 4.0 + 2 * len(row[1]))


def _by_time(scene: Scene, found: Batch) -> Batch | None:
    """Moments from one to another, as they are now."""
    change = found.change
    if not is_time(change.column) or change.also:
        return None
    row = scene.facts.execute(_TIMES, {"variant": change.name}).fetchone()
    if row is None:
        return None
    bounds = sql.SQL("({0}) BETWEEN {1}::{3} - {4} AND {2}::{3} + {4}").format(
        change.expression,
        sql.Literal(str(row[0])),
        sql.Literal(str(row[1])),
        sql.SQL(change.column.type),
        # No row is left out when what-ifs move all times by their smallest unit.
        sql.SQL("1" if change.column.type == "date" else "interval '2 seconds'"),
    )
    return _where(found, f"{change.column.name} {row[0]}..{row[1]}", bounds, 10.0)


def _listed(scene: Scene, found: Batch) -> Batch:
    rows = scene.facts.execute(
        "SELECT DISTINCT key FROM spoilt WHERE variant = ? AND fate <> 'kept'"
        " ORDER BY length(key), key",
        [found.change.name],
    ).fetchall()
    keys = [str(key) for (key,) in rows]
    where = among(found.change.table, keys)
    shown = where if len(keys) <= _SHOWN_MAX else _so_many("true /* {} rows */", keys)
    listed = _where(found, "listed", where, 8.0, described=False)
    return replace(listed, shown=sql.SQL("{} AND {}").format(differs(found.change), shown))


def without_later(scene: Scene, found: Batch, possible: Callable[[str | None], bool]) -> Batch:
    """Cells that can only have been written afterwards are none of the batch, unless a step of the
    log did that: then the history itself says what became of them."""
    names = {"variant": found.change.name, "floor": last_written(scene, [found.change.name])}
    rows = scene.facts.execute(
        """SELECT DISTINCT ON (s.key) s.key, s.current FROM spoilt s
        ANTI JOIN (FROM residue WHERE place > $floor) r
             ON r."table" = s."table" AND r.key = s.key AND r."column" = s."column"
        WHERE s.variant = $variant AND s.fate = 'edited' ORDER BY s.key""",
        names,
    ).fetchall()
    later = [str(key) for key, current in rows if not possible(current)]
    if not later:
        return found
    where = among(found.change.table, later)
    shown = where if len(later) <= _SHOWN_MAX else _so_many("false /* {} rows */", later)
    return replace(
        found,
        edited=found.edited - len(later),
        where=sql.SQL("{} AND NOT ({})").format(found.where, where),
        shown=sql.SQL("{} AND NOT ({})").format(found.shown, shown),
    )


def _where(
    found: Batch, rows: str, where: sql.Composable, bits: float, *, described: bool = True
) -> Batch:
    both = sql.SQL("{} AND {}").format(differs(found.change), where)
    return replace(
        found, rows=rows, where=both, shown=both, bits=min(bits, 10.0), described=described
    )


def _so_many(text: LiteralString, keys: Sequence[str]) -> sql.Composable:
    return sql.SQL(text).format(sql.Literal(len(keys)))


def _between(column: Column, low: str, high: str) -> sql.Composable:
    return sql.SQL("{0} BETWEEN {1}::{3} AND {2}::{3}").format(
        cell(column), sql.Literal(low), sql.Literal(high), sql.SQL(column.type)
    )
