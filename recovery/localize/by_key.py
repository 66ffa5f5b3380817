"""SQL about rows that are named by their keys, as everywhere (JSON texts): which they are, and what
their cells are set to.
"""

import json
from collections.abc import Mapping, Sequence

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
    return set_rows(table, (column,), [(key, {column: text}) for key, text in cells])


def set_rows(
    table: Table, columns: Sequence[str], rows: Sequence[tuple[str, Mapping[str, str | None]]]
) -> str:
    """One UPDATE of these columns of many rows, each by its key."""
    keys = table.key_columns
    typed = [*keys, *(table.column(name) for name in columns)]
    listed = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(column.type))
                for value, column in zip(
                    (
                        *(json.loads(key)[one.name] for one in keys),
                        *(values[name] for name in columns),
                    ),
                    typed,
                    strict=True,
                )
            )
        )
        for key, values in rows
    ]
    names = [sql.Identifier(f"v{place}") for place in range(len(typed))]
    return (
        sql.SQL("UPDATE {} AS t SET {} FROM (VALUES {}) AS v ({}) WHERE {}")
        .format(
            sql.Identifier(table.schema, table.relation),
            sql.SQL(", ").join(
                sql.SQL("{} = v.{}").format(sql.Identifier(column), name)
                for column, name in zip(columns, names[len(keys) :], strict=True)
            ),
            sql.SQL(", ").join(listed),
            sql.SQL(", ").join(names),
            sql.SQL(" AND ").join(
                sql.SQL("t.{} = v.{}").format(sql.Identifier(column.name), name)
                for column, name in zip(keys, names, strict=False)
            ),
        )
        .as_string(None)
    )
