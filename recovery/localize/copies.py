"""Rows that are in the database twice: batches of them, among those that nothing explains.

A row is a copy when another row has the same content: all columns but the number and the times;
of a row that refers to a copied row, what it refers to as the first copy. A few equal rows are
nothing remarkable. A batch is: its rows have, in the order of their numbers, one distance from the
rows that they repeat.

Relations of the case database: batch_row ("table", key, current, fresh: nothing explains it) and
twin ("table", key, first: the key of the row it repeats, own and of: the numbers of the two).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import postgast
from psycopg import sql

from diffing.model import Column, ForeignKey, Table
from recovery.localize.clusters import json_path
from recovery.localize.looks import END
from recovery.localize.scene import Scene
from recovery.model import Act, Variant

ROWS_MIN = 5  # equal rows that are no batch yet
CERTAIN_MIN = 8  # different rows that all came again: nobody's work looks like that
_BATCH_SHARE = 0.9  # of the copies must keep one distance
_LISTED_MAX = 5000
_EQUAL_MAX = 16  # rows of one content; where there are more they are nothing remarkable
_SOON_SECONDS = 3600  # what comes again so soon is no new work
_LATER_SECONDS = 20 * 3600  # what comes later than this may be what is done every day
_NEAR = 3  # batches that may lie between a row and its copy, where no time tells
_NULL = "\\N"

_EXTRAS = """
CREATE OR REPLACE TEMP TABLE batch_row AS
SELECT "table", key, current, true AS fresh FROM residue
WHERE kind = 'extra' AND "column" = '' AND list_contains($tables::VARCHAR[], "table")
"""
# Rows that the history leaves there and that may be first copies.
_FIRST = """
INSERT INTO batch_row
SELECT "table", key, json_group_object("column", value)::VARCHAR, false FROM sketch
WHERE variant = $variant AND key NOT IN (SELECT key FROM batch_row WHERE "table" = $table)
GROUP BY "table", key
"""
_TWINS = """
CREATE TEMP TABLE IF NOT EXISTS twin ("table" VARCHAR, key VARCHAR, first VARCHAR, own VARCHAR,
    of VARCHAR)
"""
_PAIRED = """
WITH told AS (
    SELECT key, fresh, try_cast(json_extract_string(current, $number) AS HUGEINT) AS number,
           {content} AS content
    FROM batch_row WHERE "table" = $table
    QUALIFY count(*) OVER (PARTITION BY content) <= {most}),
pair AS (
    SELECT b.key, a.key AS first, b.number - a.number AS distance, b.content
    FROM told b JOIN told a ON a.content = b.content AND a.number < b.number WHERE b.fresh)
"""
_BEST = """
SELECT distance, count(*), count(DISTINCT content), (SELECT count(DISTINCT key) FROM pair),
       (SELECT count(*) FROM (SELECT content FROM told WHERE NOT fresh GROUP BY content
                              HAVING count(*) > 1)),
       (SELECT count(DISTINCT content) FROM pair)
FROM pair GROUP BY distance ORDER BY 2 DESC, distance LIMIT 1
"""
_KEPT = """
SELECT $table, p.key, p.first, json_extract_string(p.key, $key),
       json_extract_string(p.first, $key)
FROM pair p WHERE p.distance = $distance::HUGEINT
"""
# First copies that a step made have their own time in the current state, not that of the log.
_GAP = """
SELECT max(abs(
    epoch_us(try_cast(split_part(json_extract_string(b.current, $path), '+', 1) AS TIMESTAMP))
    - epoch_us(try_cast(split_part(json_extract_string(coalesce(d.current, a.current), $path),
               '+', 1) AS TIMESTAMP))))
FROM twin t
JOIN batch_row b ON b."table" = t."table" AND b.key = t.key
JOIN batch_row a ON a."table" = t."table" AND a.key = t.first
LEFT JOIN divergence d ON d.kind = 'extra' AND d."table" = t."table" AND d.key = t.first
WHERE t."table" = $table
"""
_MOMENT = """
SELECT json_extract_string(c.current, $path) AS told
FROM twin t JOIN batch_row c ON c."table" = t."table" AND c.key = t.key
WHERE t."table" = $table AND told IS NOT NULL GROUP BY told
ORDER BY count(*) DESC, told LIMIT 1
"""
_ACTS = """
SELECT DISTINCT coalesce(f.act, '') FROM twin t
LEFT JOIN finals f ON f."table" = t."table" AND f.key = t.first AND f."column" = '' AND f.came
ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Copies of rows of one table."""

    table: Table
    rows: int
    distinct: int  # different contents
    usual: bool  # equal rows are nothing remarkable in this table
    soon: bool  # the copies came right behind what they repeat


def doubled_tables(scene: Scene) -> Sequence[Table]:
    """Tables with enough rows that nothing explains, parents before what refers to them."""
    rows = scene.facts.execute(
        """SELECT "table" FROM residue WHERE kind = 'extra' AND "column" = ''
        GROUP BY "table" HAVING count(*) >= ? ORDER BY ALL""",
        [ROWS_MIN],
    ).fetchall()
    named = [scene.schema.table(name) for (name,) in rows if scene.schema.has(name)]
    open_ends = [table for table in named if _number(table) is not None]
    ordered: list[Table] = []
    while open_ends:
        waiting = {table.name for table in open_ends}
        ready = [
            table
            for table in open_ends
            if not any(
                key.table == table.name and key.parent in waiting - {table.name}
                for key in scene.schema.foreign_keys
            )
        ]
        ordered += ready or open_ends[:1]
        open_ends = [table for table in open_ends if table not in ordered]
    return ordered


def _number(table: Table) -> Column | None:
    """The one column of the key that is a number."""
    columns = table.key_columns
    whole = ("smallint", "integer", "bigint", "numeric")
    return columns[0] if len(columns) == 1 and columns[0].type in whole else None


def _content(table: Table) -> tuple[Column, ...]:
    """Columns that a second copy has like the first one."""
    return tuple(
        column
        for column in table.columns
        if column.name not in table.key.columns
        and not column.generated
        and not (column.type.startswith("timestamp") and column.default)
        and not (column.type == "uuid" and column.default)
    )


def single(keys: Sequence[ForeignKey]) -> Iterator[ForeignKey]:
    return (key for key in keys if len(key.columns) == 1)


def first_copies(scene: Scene, table: Table) -> Variant | None:
    """A look at rows of the history with the same content as one that nothing explains."""
    refers = {
        key.columns[0] for key in single(scene.schema.foreign_keys) if key.table == table.name
    }
    compared = [
        column
        for column in _content(table)
        if column.name not in refers and column.family not in ("timestamptz", "float")
    ]
    if not compared:
        return None
    shown = ", ".join(f"coalesce(json_extract_string(current, ?), '{_NULL}')" for _ in compared)
    hashes = scene.facts.execute(
        f"""SELECT DISTINCT md5(concat_ws(chr(31), {shown})) FROM residue
        WHERE kind = 'extra' AND "column" = '' AND "table" = ? ORDER BY ALL LIMIT {_LISTED_MAX}""",
        [*(json_path(column.name) for column in compared), table.name],
    ).fetchall()
    names = [*table.key.columns, *(column.name for column in table.columns)]
    text = sql.SQL(
        "SELECT {} FROM {} WHERE pg_catalog.md5(pg_catalog.concat_ws(pg_catalog.chr(31), {}))"
        " = ANY ({}::text[])"
    ).format(
        sql.SQL(", ").join(_text(name) for name in names),
        sql.Identifier(table.schema, table.relation),
        sql.SQL(", ").join(
            sql.SQL("coalesce({}, {})").format(_text(column.name), sql.Literal(_NULL))
            for column in compared
        ),
        sql.Literal([str(one) for (one,) in hashes]),
    )
    columns = tuple(column.name for column in table.columns)
    return Variant(f"~copies/{table.name}", END, 0, text.as_string(None), table.name, columns)


def _text(column: str) -> sql.Composable:
    return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
        sql.Identifier(column)
    )


def find_batches(scene: Scene) -> tuple[Batch, ...]:
    """Batches of copies; their rows are the relation `twin`, with the row that each repeats."""
    tables = doubled_tables(scene)
    facts = scene.facts
    facts.execute(_TWINS)
    facts.execute("DELETE FROM twin")
    facts.execute(_EXTRAS, {"tables": [table.name for table in tables]})
    found = []
    for table in tables:
        facts.execute(_FIRST, {"variant": f"~copies/{table.name}", "table": table.name})
        batch = _batch(scene, table)
        if batch is not None:
            found.append(batch)
    return tuple(found)


def _batch(scene: Scene, table: Table) -> Batch | None:
    number = _number(table)
    content, paths = _compared(scene, table)
    if number is None or not paths:
        return None
    paired = _PAIRED.format(content=content, most=_EQUAL_MAX)
    names: dict[str, object] = {"table": table.name, "number": json_path(number.name), **paths}
    best = scene.facts.execute(paired + _BEST, names).fetchone()
    if best is None:
        return None
    distance, rows, distinct, copies, repeated, contents = (int(one) for one in best)
    if rows < ROWS_MIN or (distinct < CERTAIN_MIN and rows < _BATCH_SHARE * copies):
        return None
    scene.facts.execute(
        f"INSERT INTO twin {paired} {_KEPT}",
        names | {"key": json_path(number.name), "distance": str(distance)},
    )
    gap = _gap(scene, table)
    later = distance > _NEAR * rows if gap is None else gap > _LATER_SECONDS
    soon = gap is not None and gap <= _SOON_SECONDS
    return Batch(table, rows, distinct, later or repeated * 10 > contents, soon)


def _gap(scene: Scene, table: Table) -> float | None:
    """Seconds between a row and its copy at most, by times that the database put in itself."""
    gaps = []
    for column in table.columns:
        if column.type.startswith("timestamp") and column.default:
            row = scene.facts.execute(
                _GAP, {"table": table.name, "path": json_path(column.name)}
            ).fetchone()
            if row is not None and row[0] is not None:
                gaps.append(int(row[0]) / 1_000_000)
    return max(gaps, default=None)


def _compared(scene: Scene, table: Table) -> tuple[str, Mapping[str, str]]:
    """The content of a row as an expression over `current`, with its parameters. What refers to a
    copy counts as referring to the row it repeats."""
    parents = {
        key.columns[0]: key.parent
        for key in single(scene.schema.foreign_keys)
        if key.table == table.name
    }
    parts: list[str] = []
    names: dict[str, str] = {}
    for place, column in enumerate(_content(table)):
        path = f"c{place}"
        names[path] = json_path(column.name)
        value = f"json_extract_string(current, ${path})"
        if column.name in parents:
            names[f"p{place}"] = parents[column.name]
            value = (
                f'coalesce((SELECT min(w.of) FROM twin w WHERE w."table" = $p{place}'
                f" AND w.own = {value}), {value})"
            )
        parts.append(f"coalesce({value}, '{_NULL}')")
    return f"concat_ws(chr(31), {', '.join(parts)})", names


def moment(scene: Scene, batches: Sequence[Batch]) -> datetime | None:
    """When the copies came, where the database put that in itself."""
    for batch in batches:
        for column in batch.table.columns:
            if not (column.type.startswith("timestamp") and column.default):
                continue
            row = scene.facts.execute(
                _MOMENT, {"table": batch.table.name, "path": json_path(column.name)}
            ).fetchone()
            try:
                at = datetime.fromisoformat(str(row[0])) if row else None
            except ValueError:
                continue
            if at is not None:
                return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return None


def rows_of(scene: Scene, table: Table) -> list[Mapping[str, str | None]]:
    rows = scene.facts.execute(
        """SELECT c.current FROM twin t JOIN batch_row c ON c."table" = t."table" AND c.key = t.key
        WHERE t."table" = ? ORDER BY length(t.key), t.key""",
        [table.name],
    ).fetchall()
    return [json.loads(row) for (row,) in rows]


def first_acts(scene: Scene) -> tuple[str, ...]:
    """The acts that made the first copies; '' for rows that no act made."""
    return tuple(str(act) for (act,) in scene.facts.execute(_ACTS).fetchall())


def is_list(act: Act) -> bool:
    """Nothing but rows that are written out: a list that somebody loaded."""
    rows = 0
    for statement in act.statements:
        for one in postgast.parse(statement).stmts:
            if one.stmt.WhichOneof("node") != "insert_stmt":
                return False
            rows += len(one.stmt.insert_stmt.select_stmt.select_stmt.values_lists)
    return rows >= ROWS_MIN
