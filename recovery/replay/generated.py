"""Values of generated columns. The server leaves them out of the row images that it decodes;
they are worked out from the other columns by the server itself, by the backup's own expressions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg
from psycopg import Connection, sql

from diffing.model import Schema, Table
from recovery.replay.images import Change, Image, Images

Row = dict[str, str | None]
_BATCH = 500  # changes worked on at a time


def filled(
    changes: Iterable[Change], schema: Schema, connection: Connection[tuple[object, ...]]
) -> Iterator[Change]:
    """The same changes, with whole rows in the order of the table's columns. Images whose values
    can no longer be worked out (a step changed the table) come as not `whole`."""
    tables = {
        table.name: table
        for table in schema.tables
        if any(column.generated for column in table.columns)
    }
    if not tables:
        yield from changes
        return
    waiting: list[Change] = []
    for change in changes:
        if isinstance(change, Images) and change.table in tables:
            waiting += change.each()
        else:
            waiting.append(change)
        if len(waiting) >= _BATCH:
            yield from _complete(waiting, tables, connection)
            waiting = []
    yield from _complete(waiting, tables, connection)


def _complete(
    changes: Sequence[Change],
    tables: Mapping[str, Table],
    connection: Connection[tuple[object, ...]],
) -> Iterator[Change]:
    rows: dict[str, list[Row]] = {}
    for change in changes:
        if isinstance(change, Image) and change.whole and change.table in tables:
            sides = (change.old, change.new)
            rows.setdefault(change.table, []).extend(side for side in sides if side is not None)
    done = {
        name: iter(_computed(tables[name], some, connection) or ()) for name, some in rows.items()
    }
    for change in changes:
        if not (isinstance(change, Image) and change.whole and change.table in tables):
            yield change
            continue
        old = None if change.before is None else next(done[change.table], None)
        new = None if change.after is None else next(done[change.table], None)
        lost = (old is None) != (change.before is None) or (new is None) != (change.after is None)
        yield replace(change, whole=False) if lost else Image.of(change.op, change.table, old, new)


def _computed(
    table: Table, rows: Sequence[Row], connection: Connection[tuple[object, ...]]
) -> list[Row] | None:
    given = [column for column in table.columns if not column.generated]
    wanted = [column for column in table.columns if column.generated]
    if any(row.keys() != {column.name for column in given} for row in rows):
        return None
    values = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(row[column.name]), sql.SQL(column.type))
                for column in given
            )
        )
        for row in rows
    )
    query = sql.SQL("SELECT {} FROM (VALUES {}) AS t ({})").format(
        sql.SQL(", ").join(
            sql.SQL(
                "CASE WHEN ({0})::{1} IS NOT NULL THEN pg_catalog.concat(({0})::{1}) END"
            ).format(sql.SQL(column.default), sql.SQL(column.type))
            for column in wanted
        ),
        values,
        sql.SQL(", ").join(sql.Identifier(column.name) for column in given),
    )
    try:
        found = connection.execute(query).fetchall()
    except psycopg.Error:
        if connection.closed:
            raise
        return None
    complete = []
    for row, extra in zip(rows, found, strict=True):
        texts = (None if value is None else str(value) for value in extra)
        told = row | dict(zip((column.name for column in wanted), texts, strict=True))
        complete.append({column.name: told[column.name] for column in table.columns})
    return complete
