"""Takes away the one constraint that keeps damaged rows out, and says how to put it back.

Dumps declare checks, NOT NULL and sometimes keys within CREATE TABLE, so damaged rows meet them
while loading. They are put back after the data, one by one, where a violation becomes a finding.
"""

from typing import Final

import psycopg
from psycopg import sql

from recovery.scratch.cluster import Connection, about_the_server

# The constraint where it was declared: above the table that met it, when that inherited it.
CONSTRAINT: Final = """
WITH RECURSIVE up(oid, conrelid) AS (
    SELECT o.oid, o.conrelid FROM pg_constraint o
    WHERE o.conrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))
      AND o.conname = %(name)s
  UNION ALL
    SELECT o.oid, o.conrelid FROM up
    JOIN pg_inherits i ON i.inhrelid = up.conrelid
    JOIN pg_constraint o ON o.conrelid = i.inhparent AND o.conname = %(name)s
)
SELECT n.nspname, c.relname, pg_get_constraintdef(o.oid), o.conindid, o.contype IN ('p', 'u')
FROM up JOIN pg_constraint o USING (oid)
JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.coninhcount = 0 LIMIT 1
"""

DEPENDENT: Final = """
SELECT n.nspname, c.relname, o.conname, pg_get_constraintdef(o.oid)
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.conindid = %s AND o.contype = 'f' AND o.conparentid = 0
ORDER BY 1, 2, 3
"""

DOMAIN: Final = """
SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o
WHERE o.contypid = to_regtype(format('%%I.%%I', %s::text, %s::text)) AND o.conname = %s
"""


def loosen(connection: Connection, error: psycopg.IntegrityError) -> tuple[str, ...]:
    """The statements that put back what was taken away, in order; () when nothing could be."""
    diag = error.diag
    try:
        with connection.transaction():
            if diag.datatype_name and diag.schema_name:
                return _domain(connection, diag)
            if diag.table_name and diag.schema_name and diag.constraint_name:
                return _constraint(connection, diag)
            if diag.table_name and diag.schema_name and diag.column_name:
                return _not_null(connection, diag)
    except psycopg.Error as refused:
        if about_the_server(refused):
            raise
    return ()


def _constraint(connection: Connection, diag: psycopg.errors.Diagnostic) -> tuple[str, ...]:
    known = {"schema": diag.schema_name, "table": diag.table_name, "name": diag.constraint_name}
    row = connection.execute(CONSTRAINT, known).fetchone()
    if row is None:
        return _unique_index(connection, diag)
    schema, table, definition, index, is_key = row
    name = str(diag.constraint_name)
    back = [_add(str(schema), str(table), name, str(definition))]
    if is_key:
        for child_schema, child, foreign, text in connection.execute(DEPENDENT, (index,)):
            back.append(_add(str(child_schema), str(child), str(foreign), str(text)))
    connection.execute(
        sql.SQL("ALTER TABLE {} DROP CONSTRAINT {} CASCADE").format(
            sql.Identifier(str(schema), str(table)), sql.Identifier(name)
        )
    )
    return tuple(back)


def _unique_index(connection: Connection, diag: psycopg.errors.Diagnostic) -> tuple[str, ...]:
    index = sql.Identifier(str(diag.schema_name), str(diag.constraint_name))
    row = connection.execute(
        "SELECT pg_get_indexdef(to_regclass(%s)::oid)", (index.as_string(),)
    ).fetchone()
    if row is None or row[0] is None:
        return ()
    connection.execute(sql.SQL("DROP INDEX {}").format(index))
    return (str(row[0]),)


def _not_null(connection: Connection, diag: psycopg.errors.Diagnostic) -> tuple[str, ...]:
    column = sql.SQL("ALTER TABLE {} ALTER COLUMN {} ").format(
        sql.Identifier(str(diag.schema_name), str(diag.table_name)),
        sql.Identifier(str(diag.column_name)),
    )
    connection.execute(column + sql.SQL("DROP NOT NULL"))
    return ((column + sql.SQL("SET NOT NULL")).as_string(),)


def _domain(connection: Connection, diag: psycopg.errors.Diagnostic) -> tuple[str, ...]:
    domain = sql.SQL("ALTER DOMAIN {} ").format(
        sql.Identifier(str(diag.schema_name), str(diag.datatype_name))
    )
    if not diag.constraint_name:
        connection.execute(domain + sql.SQL("DROP NOT NULL"))
        return ((domain + sql.SQL("SET NOT NULL")).as_string(),)
    row = connection.execute(
        DOMAIN, (diag.schema_name, diag.datatype_name, diag.constraint_name)
    ).fetchone()
    if row is None:
        return ()
    name = sql.Identifier(diag.constraint_name)
    connection.execute(domain + sql.SQL("DROP CONSTRAINT {}").format(name))
    back = domain + sql.SQL("ADD CONSTRAINT {} ").format(name)
    return (back.as_string() + str(row[0]),)


def _add(schema: str, table: str, name: str, definition: str) -> str:
    head = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(
        sql.Identifier(schema, table), sql.Identifier(name)
    )
    return head.as_string() + definition
