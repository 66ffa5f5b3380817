"""Later work, seeded: one planned row of a copy is edited as a user would have edited it."""

import json
from dataclasses import dataclass
from typing import cast

import duckdb
import psycopg
from psycopg import sql

from recovery.model import Group
from recovery.rehearse.reader import Connection, Relation

Row = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Edited:
    table: str
    key: str
    how: str


def edit_planned_row(
    connection: Connection,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    relations: tuple[Relation, ...],
) -> Edited | None:
    """Edits one planned row so that its guard cannot hold; None when no row could be edited
    (constraints forbid every edit that is tried)."""
    for group in groups:
        table = group.operation.table
        relation = next(item for item in relations if item.root == table)
        for key, column, seen, target in _staged(group, facts):
            if key.startswith('{"#row":'):
                continue
            if seen is None and not column and target is not None:
                if not _insert(connection, relation, json.loads(target)):
                    continue
                columns = [name for name in json.loads(target) if name not in json.loads(key)]
                texts: Row = json.loads(target)
            elif column:
                columns, texts = [column], {column: seen}
            else:
                texts = json.loads(seen or "{}")
                columns = [name for name in texts if name not in json.loads(key)]
            for name in columns:
                forbidden = (texts[name], target if column else None)
                if name not in relation.generated and _edit(
                    connection, relation, json.loads(key), name, forbidden
                ):
                    return Edited(table, key, name)
            if _delete(connection, relation, json.loads(key)) and column:
                return Edited(table, key, "deleted")
    return None


def row_text(connection: Connection, relation: Relation, key: str) -> str:
    """The row as it is now; '' when there is none."""
    query = sql.SQL("SELECT t::text FROM {} AS t WHERE {}").format(
        name_of(relation), by_key(relation, json.loads(key))
    )
    return ", ".join(str(row[0]) for row in connection.execute(query).fetchall())


def last_row(groups: tuple[Group, ...], facts: duckdb.DuckDBPyConnection) -> tuple[str, Row] | None:
    """Table and key of a row that the script writes late: an existing row that can be locked."""
    for group in reversed(groups):
        if group.operation.op != "insert-rows":
            staged = _staged(group, facts)
            if staged and not staged[-1][0].startswith('{"#row":'):
                return group.operation.table, json.loads(staged[-1][0])
    return None


def by_key(relation: Relation, key: Row) -> sql.Composed:
    """WHERE: the key columns have these texts."""
    return sql.SQL(" AND ").join(
        sql.SQL("pg_catalog.concat({}) = {}").format(
            sql.SQL("pg_catalog.trim_scale({})").format(sql.Identifier(name))
            if name in relation.numeric
            else sql.Identifier(name),
            sql.Literal(text),
        )
        for name, text in key.items()
    )


def name_of(relation: Relation) -> sql.Composable:
    return sql.Identifier(relation.schema, relation.name)


def _staged(
    group: Group, facts: duckdb.DuckDBPyConnection
) -> list[tuple[str, str, str | None, str | None]]:
    """A few rows of the group: its first and its last."""
    rows = facts.cursor().execute(
        'SELECT key, "column", seen, target FROM (SELECT *, row_number() OVER (ORDER BY key, '
        '"column") AS up, row_number() OVER (ORDER BY key DESC, "column" DESC) AS down FROM staged '
        'WHERE "group" = ?) WHERE up <= 5 OR down = 1 ORDER BY up',
        [group.id],
    )
    return cast("list[tuple[str, str, str | None, str | None]]", rows.fetchall())


def _edit(
    connection: Connection,
    relation: Relation,
    key: Row,
    column: str,
    forbidden: tuple[str | None, str | None],
) -> bool:
    """Tries, in turn: a bit more, a longer text, a later day, the opposite, another row's value,
    nothing at all."""
    name = sql.Identifier(column)
    ways = (
        sql.SQL("{} + 1"),
        sql.SQL("{} || 'x'"),
        sql.SQL("{} + interval '1 day'"),
        sql.SQL("NOT {}"),
        sql.SQL("NULL"),
    )
    others = sql.SQL(
        "(SELECT o.{name} FROM {table} AS o WHERE pg_catalog.concat(o.{name}) NOT IN ({old}, {new})"
        " LIMIT 1)"
    ).format(
        name=name,
        table=name_of(relation),
        old=sql.Literal(forbidden[0] or ""),
        new=sql.Literal(forbidden[1] or ""),
    )
    tries = [way.format(name) for way in ways]
    return any(
        _changed(connection, relation, key, column, value, forbidden)
        for value in (*tries[:-1], others, tries[-1])
    )


def _changed(
    connection: Connection,
    relation: Relation,
    key: Row,
    column: str,
    value: sql.Composable,
    forbidden: tuple[str | None, str | None],
) -> bool:
    name = sql.Identifier(column)
    query = sql.SQL(
        "UPDATE {table} SET {name} = {value} WHERE {key} "
        "RETURNING CASE WHEN {name} IS DISTINCT FROM NULL THEN pg_catalog.concat({name}) END"
    ).format(table=name_of(relation), name=name, value=value, key=by_key(relation, key))
    try:
        with connection.transaction():
            found = connection.execute(query).fetchall()
            if len(found) != 1 or found[0][0] in forbidden:
                raise psycopg.Rollback()
    except psycopg.Error:
        return False  # another type, or a constraint: the next way is tried
    return len(found) == 1 and found[0][0] not in forbidden


def _insert(connection: Connection, relation: Relation, row: Row) -> bool:
    kept = {name: text for name, text in row.items() if name not in relation.generated}
    query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        name_of(relation),
        sql.SQL(", ").join(map(sql.Identifier, kept)),
        sql.SQL(", ").join(map(sql.Literal, kept.values())),
    )
    return _done(connection, query)


def _delete(connection: Connection, relation: Relation, key: Row) -> bool:
    query = sql.SQL("DELETE FROM {} WHERE {}").format(name_of(relation), by_key(relation, key))
    return _done(connection, query)


def _done(connection: Connection, query: sql.Composed) -> bool:
    try:
        with connection.transaction():
            return connection.execute(query).rowcount == 1
    except psycopg.Error:
        return False
