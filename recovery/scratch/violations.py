"""Which rows violate a constraint or a unique index that could not be made.

The database itself says what the constraint means: it is made in a form that does not check (NOT
VALID, or an index that is not unique), read back from the catalogs, asked about, and taken back.
"""

import json
from dataclasses import dataclass
from typing import Final

import postgast
import psycopg
from postgast import pg_query_pb2 as tree
from psycopg import sql

from recovery.scratch.cluster import Connection

SHOWN: Final = 100  # rows per finding; all are counted


@dataclass(frozen=True, slots=True)
class Violations:
    """How many rows violate, and the first of them as JSON objects of their texts."""

    count: int
    rows: tuple[str, ...]


NONE: Final = Violations(0, ())

UNCHECKED: Final = """
SELECT fn.nspname, f.relname, o.confmatchtype = 'f',
       ARRAY(SELECT a.attname FROM unnest(o.conkey) WITH ORDINALITY k(number, place)
             JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number
             ORDER BY k.place),
       ARRAY(SELECT a.attname FROM unnest(o.confkey) WITH ORDINALITY k(number, place)
             JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number
             ORDER BY k.place),
       pg_get_expr(o.conbin, o.conrelid)
FROM pg_constraint o
LEFT JOIN pg_class f ON f.oid = o.confrelid LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
WHERE o.conrelid = to_regclass(%s) AND NOT o.convalidated AND o.contype IN ('f', 'c')
  AND o.conparentid = 0
ORDER BY o.oid DESC LIMIT 1
"""

NEWEST_INDEX: Final = """
SELECT ARRAY(SELECT pg_get_indexdef(i.indexrelid, place::int, false)
             FROM generate_series(1, i.indnkeyatts) place ORDER BY place),
       coalesce(pg_get_expr(i.indpred, i.indrelid), 'true')
FROM pg_index i WHERE i.indrelid = to_regclass(%s) ORDER BY i.indexrelid::bigint DESC LIMIT 1
"""


def violating_rows(connection: Connection, statement: str) -> Violations:
    """The rows because of which `statement` was refused; none when they cannot be told.

    The connection is in autocommit; nothing stays changed."""
    try:
        parsed = postgast.parse(statement)
        with connection.transaction(force_rollback=True):
            return _ask(connection, parsed)
    except postgast.PgQueryError:
        return NONE
    except (psycopg.DataError, psycopg.ProgrammingError, psycopg.IntegrityError):
        return NONE  # the constraint's own expression fails on some row


def _ask(connection: Connection, parsed: postgast.ParseResult) -> Violations:
    node = parsed.stmts[0].stmt
    if node.HasField("index_stmt"):
        index = node.index_stmt
        index.unique, index.concurrent = False, False
        connection.execute(postgast.deparse(parsed).encode())
        row = connection.execute(NEWEST_INDEX, (_shown(index.relation),)).fetchone()
        assert row is not None
        keys, predicate = row
        assert isinstance(keys, list)
        expressions = tuple(_as_written(str(key)) for key in keys)
        where = _as_written(str(predicate))
        equal = index.nulls_not_distinct
        return _repeated(connection, index.relation, expressions, where, nulls_equal=equal)
    if not node.HasField("alter_table_stmt"):
        return NONE
    table = node.alter_table_stmt.relation
    command = node.alter_table_stmt.cmds[0].alter_table_cmd
    if command.subtype == tree.AT_SetNotNull:
        return _rows(connection, table, _is_null(command.name))
    constraint = getattr(command, "def").constraint
    keys = tuple(sql.Identifier(key.string.sval) for key in constraint.keys)
    match constraint.contype:
        case tree.CONSTR_PRIMARY:
            nulls = sql.SQL(" OR ").join(_is_null(key.string.sval) for key in constraint.keys)
            found = _rows(connection, table, nulls)
            return (
                found if found.count else _repeated(connection, table, keys, ALL, nulls_equal=False)
            )
        case tree.CONSTR_UNIQUE:
            distinct = constraint.nulls_not_distinct
            return _repeated(connection, table, keys, ALL, nulls_equal=distinct)
        case tree.CONSTR_FOREIGN | tree.CONSTR_CHECK:
            constraint.skip_validation, constraint.initially_valid = True, False
            connection.execute(postgast.deparse(parsed).encode())
            return _unchecked(connection, table)
    return NONE


ALL: Final = sql.SQL("true")


def _repeated(
    connection: Connection,
    table: tree.RangeVar,
    keys: tuple[sql.Composable, ...],
    where: sql.Composable,
    *,
    nulls_equal: bool,
) -> Violations:
    listed = sql.SQL(", ").join(keys)
    present = sql.SQL(" AND ").join(sql.SQL("({}) IS NOT NULL").format(key) for key in keys)
    condition = sql.SQL(
        "t.ctid IN (SELECT r.ctid FROM (SELECT ctid, count(*) OVER (PARTITION BY {}) AS n"
        " FROM {} WHERE ({}) AND ({})) r WHERE r.n > 1)"
    ).format(listed, _identifier(table), where, ALL if nulls_equal else present)
    return _rows(connection, table, condition, order=listed + sql.SQL(", t.ctid"))


def _unchecked(connection: Connection, table: tree.RangeVar) -> Violations:
    row = connection.execute(UNCHECKED, (_shown(table),)).fetchone()
    assert row is not None
    schema, parent, full, columns, parent_columns, expression = row
    if expression is not None:
        return _rows(connection, table, sql.SQL("NOT ({})").format(_as_written(str(expression))))
    assert isinstance(columns, list) and isinstance(parent_columns, list)
    pairs = [
        sql.SQL("p.{} = t.{}").format(sql.Identifier(theirs), sql.Identifier(ours))
        for ours, theirs in zip(columns, parent_columns, strict=True)
    ]
    # MATCH SIMPLE passes when any column is NULL, MATCH FULL only when all are.
    word = sql.SQL(" OR " if full else " AND ")
    given = word.join(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(c)) for c in columns)
    condition = sql.SQL("({}) AND NOT EXISTS (SELECT FROM {} p WHERE {})").format(
        given, sql.Identifier(str(schema), str(parent)), sql.SQL(" AND ").join(pairs)
    )
    return _rows(connection, table, condition)


def _rows(
    connection: Connection,
    table: tree.RangeVar,
    condition: sql.Composable,
    *,
    order: sql.Composable | None = None,
) -> Violations:
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
            " AND NOT attisdropped ORDER BY attnum",
            (_shown(table),),
        )
    ]
    # concat prints as the output function does; a cast to text would print `true` for `t`.
    texts = sql.SQL(", ").join(
        sql.SQL("CASE WHEN t.{0} IS NOT NULL THEN pg_catalog.concat(t.{0}) END").format(
            sql.Identifier(name)
        )
        for name in names
    )
    question = sql.SQL(
        "SELECT count(*) OVER (), {} FROM {} AS t WHERE {} ORDER BY {} LIMIT {}"
    ).format(texts, _identifier(table), condition, order or sql.SQL("t.ctid"), sql.Literal(SHOWN))
    found = connection.execute(question).fetchall()
    rows = tuple(
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, separators=(",", ":"))
        for _, *row in found
    )
    count = found[0][0] if found else 0
    assert isinstance(count, int)
    return Violations(count, rows)


def _is_null(column: str) -> sql.Composable:
    return sql.SQL("t.{} IS NULL").format(sql.Identifier(column))


def _identifier(table: tree.RangeVar) -> sql.Identifier:
    parts = [part for part in (table.schemaname, table.relname) if part]
    return sql.Identifier(*parts)


def _shown(table: tree.RangeVar) -> str:
    return _identifier(table).as_string()


def _as_written(expression: str) -> sql.Composable:
    """An expression that the server itself printed out of its catalogs."""
    return _Printed(expression)


class _Printed(sql.Composable):
    def __init__(self, text: str) -> None:
        super().__init__(text)

    def as_bytes(self, context: object = None) -> bytes:
        return str(self._obj).encode()

    def as_string(self, context: object = None) -> str:
        return str(self._obj)
