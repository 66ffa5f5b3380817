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
    forestalled: bool  # a part of the plan was done, so that nothing at all may be left to do


def edit_planned_row(
    connection: Connection,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    relations: tuple[Relation, ...],
) -> Edited | None:
    """Edits one planned row so that its guard cannot hold; None when no row could be edited
    (constraints forbid every edit that is tried)."""
    for group in groups:
        relation = next(item for item in relations if item.root == group.operation.table)
        for staged in _staged(group, facts):
            if not staged[0].startswith('{"#row":'):
                edited = _edit_row(connection, relation, *staged)
                if edited is not None:
                    return edited
    # Nothing could be changed: somebody else did a part of the plan already.
    for group in groups:
        relation = next(item for item in relations if item.root == group.operation.table)
        for key, column, seen, target in _staged(group, facts):
            if not column and target is not None and _insert(connection, relation, target):
                return Edited(relation.root, key, "inserted", forestalled=True)
            if target is None and seen is not None and _delete(connection, relation, seen):
                return Edited(relation.root, key, "deleted", forestalled=True)
    return None


def _edit_row(
    connection: Connection,
    relation: Relation,
    key: str,
    column: str,
    seen: str | None,
    target: str | None,
) -> Edited | None:
    names: Row = json.loads(key)
    row: Row = {column: seen} if column else json.loads(seen or target or "{}")
    if not column and target is not None and not _insert(connection, relation, target):
        return None
    for name, text in row.items():
        forbidden = (text, target if column else None)
        if name in names or name in relation.generated:
            continue
        if _edit(connection, relation, names, name, forbidden):
            return Edited(relation.root, key, name, forestalled=False)
    if not column and target is not None:
        _delete(connection, relation, target)
    return None


def row_text(connection: Connection, relation: Relation, key: str) -> str:
    """The row as it is now; '' when there is none."""
    if key.startswith('{"#row":'):
        return ""  # one of equal copies: counted with all rows of the table
    query = sql.SQL("SELECT (t.*)::text FROM {} AS t WHERE {}").format(
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


def _insert(connection: Connection, relation: Relation, text: str) -> bool:
    row: Row = json.loads(text)
    kept = {name: value for name, value in row.items() if name not in relation.generated}
    query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        name_of(relation),
        sql.SQL(", ").join(map(sql.Identifier, kept)),
        sql.SQL(", ").join(map(sql.Literal, kept.values())),
    )
    return _done(connection, query)


def _delete(connection: Connection, relation: Relation, text: str) -> bool:
    """One row with exactly these texts."""
    row: Row = json.loads(text)
    same = sql.SQL(" AND ").join(
        sql.SQL(
            "CASE WHEN {name} IS DISTINCT FROM NULL THEN pg_catalog.concat({name}) END "
            "IS NOT DISTINCT FROM {text}"
        ).format(name=sql.Identifier(name), text=sql.Literal(value))
        for name, value in row.items()
    )
    query = sql.SQL(
        "DELETE FROM {table} WHERE (tableoid, ctid) IN "
        "(SELECT tableoid, ctid FROM {table} WHERE {same} LIMIT 1)"
    ).format(table=name_of(relation), same=same)
    return _done(connection, query)


def _done(connection: Connection, query: sql.Composed) -> bool:
    try:
        with connection.transaction():
            return connection.execute(query).rowcount == 1
    except psycopg.Error:
        return False
