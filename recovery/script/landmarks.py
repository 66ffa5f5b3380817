"""What the current evidence looked like where the repair does not write: read once from the
scratch copy of the current state, and carried by the script to recognise its target.
"""

import json
from collections.abc import Iterator
from typing import cast

import duckdb
import psycopg

from diffing.model import Schema, Table
from recovery.model import Group
from recovery.script.context import Copies, Landmarks, SampleRow, TableSample
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.guards import holds
from recovery.script.postgresql import PostgreSQL
from recovery.script.recognise import match_key, row_digest
from recovery.script.staged import Write, rows_of, writes_of
from recovery.script.staging import numbered, staging

SAMPLE_ROWS = 200  # of a touched table
_ELSEWHERE_ROWS = 50  # of another table, where the touched ones have too few untouched rows

Connection = psycopg.Connection[tuple[object, ...]]


def landmarks(
    connection: Connection,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
) -> Landmarks:
    """Samples of untouched rows, and how many copies of each staged row without key there are.

    `connection`: to the current state on scratch, in autocommit. Nothing of it is changed: the
    work happens in temporary tables of a transaction that is rolled back.
    """
    dialect = PostgreSQL()
    with connection.transaction(force_rollback=True):
        _run(connection, Fragment("SET LOCAL search_path = ''"))
        samples = tuple(_samples(connection, groups, facts, schema, dialect))
        copies = tuple(
            found
            for write in writes_of(groups, facts, schema, inverse=False)
            if not write.keyed
            for found in _copies(connection, write, facts, dialect)
        )
    return Landmarks(samples, copies)


def _samples(
    connection: Connection,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    dialect: Dialect,
) -> Iterator[TableSample]:
    touched = {group.operation.table for group in groups}
    total = 0
    for name in sorted(touched):
        table = schema.table(name)
        if table.key.columns:
            rows = _untouched(connection, table, groups, facts, dialect, SAMPLE_ROWS)
            total += len(rows)
            yield TableSample(name, rows)
    for table in _elsewhere(touched, schema):
        if total >= SAMPLE_ROWS:
            return
        rows = _untouched(connection, table, (), facts, dialect, _ELSEWHERE_ROWS)
        total += len(rows)
        yield TableSample(table.name, rows)


def _elsewhere(touched: set[str], schema: Schema) -> list[Table]:
    """Other tables with a key, those that foreign keys link to the touched ones first."""
    near = {key.parent for key in schema.foreign_keys if key.table in touched}
    near |= {key.table for key in schema.foreign_keys if key.parent in touched}
    others = (table for table in schema.tables if table.name not in touched and table.key.columns)
    return sorted(others, key=lambda table: (table.name not in near, table.name))


def _untouched(
    connection: Connection,
    table: Table,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    dialect: Dialect,
    limit: int,
) -> tuple[SampleRow, ...]:
    names = numbered("k", len(table.key.columns))
    _run(connection, Fragment("DROP TABLE IF EXISTS pg_temp.dbmend_staged_keys"))
    columns = join(", ", (fill("{k} pg_catalog.text", k=name) for name in names))
    _run(connection, fill("CREATE TEMPORARY TABLE dbmend_staged_keys ({c})", c=columns))
    with connection.cursor().copy("COPY pg_temp.dbmend_staged_keys FROM STDIN") as copy:
        for key in _staged_keys(table, groups, facts):
            copy.write_row(key)
    _run(connection, Fragment("ANALYZE pg_temp.dbmend_staged_keys"))
    keys = (
        dialect.text_of(fill("tgt.{c}", c=dialect.identifier(column.name)))
        for column in table.key_columns
    )
    found = _run(
        connection,
        fill(
            "SELECT {keys}, {digest} AS digest FROM {rows} AS tgt WHERE NOT EXISTS "
            "(SELECT FROM pg_temp.dbmend_staged_keys AS st WHERE {match}) "
            "ORDER BY digest LIMIT {limit}",
            keys=join(", ", keys),
            digest=row_digest(table.columns, dialect, Fragment("tgt")),
            rows=dialect.rows_of(table),
            match=match_key(table, dialect, Fragment("tgt"), Fragment("st")),
            limit=Fragment(str(limit)),
        ),
    )
    return tuple(SampleRow(cast("tuple[str, ...]", row[:-1]), str(row[-1])) for row in found)


def _staged_keys(
    table: Table, groups: tuple[Group, ...], facts: duckdb.DuckDBPyConnection
) -> Iterator[tuple[str | None, ...]]:
    for group in groups:
        if group.operation.table == table.name:
            found = facts.cursor().execute(
                'SELECT DISTINCT key FROM staged WHERE "group" = ?', [group.id]
            )
            while batch := found.fetchmany(10_000):
                for (key,) in batch:
                    yield tuple(json.loads(key).values())


def _copies(
    connection: Connection, write: Write, facts: duckdb.DuckDBPyConnection, dialect: Dialect
) -> Iterator[Copies]:
    for statement in staging(write, rows_of(write, facts, None), dialect):
        _run(connection, statement)
    found = _run(
        connection,
        fill(
            "SELECT st.k1, (SELECT pg_catalog.count(*) FROM {rows} AS tgt WHERE {same}) "
            "FROM (SELECT DISTINCT ON (k1) * FROM pg_temp.{st} ORDER BY k1) AS st",
            rows=dialect.rows_of(write.table),
            same=holds(write, dialect, "t" if write.op == "insert-rows" else "s"),
            st=Fragment(write.relation),
        ),
    )
    for digest, count in found:
        yield Copies(write.group, str(digest), int(str(count)))


def _run(connection: Connection, statement: Fragment) -> list[tuple[object, ...]]:
    # Fragments are quoted already; as bytes the driver looks for no placeholders in them.
    cursor = connection.execute(statement.encode())
    return cursor.fetchall() if cursor.description is not None else []
