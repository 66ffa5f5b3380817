"""Rows that a variant of a statement returned, as text like everywhere else."""

from collections.abc import Sequence

from psycopg import Connection, sql

from diffing.model import Schema, Table
from recovery.model import Variant


def in_utc(
    connection: Connection[tuple[object, ...]],
    schema: Schema,
    variant: Variant,
    rows: Sequence[tuple[object, ...]],
) -> Sequence[tuple[object, ...]]:
    """Moments were printed in the zone of the step; everywhere else they are in UTC."""
    table = schema.table(variant.table)
    names = (*table.key.columns, *variant.columns)
    zoned = [place for place, name in enumerate(names) if _zoned(table, name)]
    if not zoned or not rows:
        return rows
    moved = [list(row) for row in rows]
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    for place in zoned:
        told = connection.execute(
            sql.SQL(
                "SELECT CASE WHEN v IS NOT NULL THEN pg_catalog.concat(v::{}) END"
                " FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS t (v, n) ORDER BY n"
            ).format(sql.SQL(table.column(names[place]).type)),
            ([row[place] for row in rows],),
        )
        for row, (text,) in zip(moved, told.fetchall(), strict=True):
            row[place] = text
    return [tuple(row) for row in moved]


def _zoned(table: Table, name: str) -> bool:
    """What a look calls otherwise than a column of the table says its moments itself."""
    return any(
        "timestamptz" in (column.family, column.element, *column.fields)
        for column in table.columns
        if column.name == name
    )
