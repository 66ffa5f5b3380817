"""Rows of the current state on scratch, found by the values that planned rows hold."""

import json
from collections.abc import Iterator, Sequence

from psycopg import RawCursor, sql

from diffing.model import Column, Table
from recovery.plan.catalog import Held
from recovery.scratch.cluster import Connection


class ScratchRows:
    """Implements `catalog.CurrentRows` over a connection to the current state; only reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def holding(
        self,
        table: Table,
        columns: Sequence[str],
        types: Sequence[str],
        asked: Sequence[tuple[int, tuple[str, ...]]],
    ) -> Iterator[Held]:
        names = [column.name for column in table.key_columns]
        lists: list[Sequence[object]] = [[number for number, _ in asked]]
        lists += [list(values) for values in zip(*(row for _, row in asked), strict=True)]
        # The server's own placeholders: a name may hold a percent sign.
        cursor = RawCursor(self._connection)
        for number, *texts in cursor.execute(_question(table, columns, types), lists):
            row = dict(zip(names, texts, strict=True))
            key = json.dumps(row, ensure_ascii=False, separators=(",", ":")) if names else ""
            yield Held(int(str(number)), key)


def _question(table: Table, columns: Sequence[str], types: Sequence[str]) -> sql.Composed:
    names = [sql.Identifier(f"v{place}") for place in range(len(columns))]
    # A type's name is its own SQL text, as the catalog prints it.
    matches = [
        sql.SQL("t.{} = CAST(s.{} AS {})").format(sql.Identifier(column), name, sql.SQL(kind))
        for column, name, kind in zip(columns, names, types, strict=True)
    ]
    return sql.SQL(
        "SELECT s.n{} FROM unnest($1::int8[]{}) AS s (n, {}) JOIN {}{} AS t ON {}"
    ).format(
        sql.Composed([_text(column) for column in table.key_columns]),
        sql.Composed([sql.SQL(f", ${place}::text[]") for place in range(2, len(columns) + 2)]),
        sql.SQL(", ").join(names),
        sql.SQL("" if table.partitioned else "ONLY "),
        sql.Identifier(table.schema, table.relation),
        sql.SQL(" AND ").join(matches),
    )


def _text(column: Column) -> sql.Composed:
    """The text that the column has in a key."""
    shown = "pg_catalog.trim_scale(t.{})" if column.family == "numeric" else "t.{}"
    value = sql.SQL(shown).format(sql.Identifier(column.name))
    return sql.SQL(", CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(value)
