"""SQL about rows that are named by their keys, as everywhere (JSON texts): which they are, and what
their cells are set to.
"""

import json
from collections.abc import Sequence

from psycopg import sql

from diffing.model import Table


def among(table: Table, keys: Sequence[str]) -> sql.Composable:
    """Whether a row is one of these, named by their keys as everywhere (JSON texts)."""
    columns = table.key_columns
    rows = [json.loads(key) for key in keys]
    if not rows:
        return sql.SQL("false")
    listed = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(row[one.name]), sql.SQL(one.type))
                for one in columns
            )
        )
        for row in rows
    ]
    return sql.SQL("(({}) IN ({}))").format(
        sql.SQL(", ").join(sql.Identifier(one.name) for one in columns), sql.SQL(", ").join(listed)
    )


def set_cells(table: Table, column: str, cells: Sequence[tuple[str, str | None]]) -> str:
    """One UPDATE of many cells of a column, each by the key of its row."""
    keys = table.key_columns
    values = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(kind))
                for value, kind in [
                    *((json.loads(key)[one.name], one.type) for one in keys),
                    (text, table.column(column).type),
                ]
            )
        )
        for key, text in cells
    ]
    names = [sql.Identifier(f"k{place}") for place in range(len(keys))]
    return (
        sql.SQL("UPDATE {} AS t SET {} = v.value FROM (VALUES {}) AS v ({}, value) WHERE {}")
        .format(
            sql.Identifier(table.schema, table.relation),
            sql.Identifier(column),
            sql.SQL(", ").join(values),
            sql.SQL(", ").join(names),
            sql.SQL(" AND ").join(
                sql.SQL("t.{} = v.{}").format(sql.Identifier(one.name), name)
                for one, name in zip(keys, names, strict=True)
            ),
        )
        .as_string(None)
    )
