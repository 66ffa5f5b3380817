"""A damaged database and the groups that would repair it, made without the product's own diff:
rows are read as text before and after the damage, and what differs is staged.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import duckdb
from psycopg import sql

from diffing.model import Schema, Table
from recovery.case.facts import SCHEMA
from recovery.model import Grade, Group, OperationHead, Script
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster, Connection
from recovery.script.context import ScriptContext
from recovery.script.landmarks import landmarks
from recovery.script.render import render

Rows = dict[str, dict[str, str | None]]


@dataclass
class Damaged:
    cluster: Cluster
    database: str
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    groups: tuple[Group, ...]
    whole: dict[str, Rows]  # every table before the damage
    broken: dict[str, Rows]  # and after

    def context(self, **options) -> ScriptContext:
        with self.cluster.connect(self.database) as connection:
            marks = landmarks(connection, self.groups, self.facts, self.schema)
        return ScriptContext("demo", datetime(2026, 3, 1, tzinfo=UTC), landmarks=marks, **options)

    def scripts(self, **options) -> tuple[Script, Script]:
        return render(self.groups, self.facts, self.schema, self.context(**options))

    def dsn(self) -> str:
        return self.cluster.conninfo(self.database, "jail")

    def execute(self, text: str) -> None:
        with self.cluster.connect(self.database) as connection:
            connection.execute(text.encode())

    def now(self) -> dict[str, Rows]:
        with self.cluster.connect(self.database) as connection:
            return {table.name: read(connection, table) for table in self.schema.tables}


def damage(
    cluster: Cluster,
    database: str,
    setup: str,
    fault: str,
    *,
    parents_first: tuple[str, ...] = (),
    disabled: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> Damaged:
    """Groups for everything that `fault` did to the tables `only` (none: to all of them)."""
    with cluster.connect(database) as connection:
        connection.execute(setup.encode())
        tables = read_schema(connection).tables
        whole = {table.name: read(connection, table) for table in tables}
        connection.execute(fault.encode())
        schema = read_schema(connection)
        broken = {table.name: read(connection, table) for table in schema.tables}
    facts = duckdb.connect()
    facts.execute(SCHEMA)
    order = [*parents_first, *(t.name for t in tables if t.name not in parents_first)]
    wanted = [name for name in order if not only or name in only]
    groups = [
        *(_group(facts, schema, name, "delete-rows", whole, broken) for name in reversed(wanted)),
        *(_group(facts, schema, name, "insert-rows", whole, broken) for name in wanted),
        *(_group(facts, schema, name, "set-cells", whole, broken) for name in wanted),
    ]
    named = {trigger.name: trigger.table for trigger in schema.triggers if trigger.name in disabled}
    found = tuple(
        replace(
            group,
            operation=replace(
                group.operation,
                disabled_triggers=tuple(n for n in disabled if named[n] == group.operation.table),
            ),
        )
        for group in groups
        if group is not None
    )
    return Damaged(cluster, database, schema, facts, found, whole, broken)


def read(connection: Connection, table: Table) -> Rows:
    """Rows by key; of a table without key by the row and the number of the copy."""
    texts = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {c} IS DISTINCT FROM NULL THEN concat({c}) END").format(
            c=sql.Identifier(column.name)
        )
        for column in table.columns
    )
    only = sql.SQL("" if table.partitioned else "ONLY ")
    name = sql.Identifier(table.schema, table.relation)
    found: Rows = {}
    for values in connection.execute(sql.SQL("SELECT {} FROM {}{}").format(texts, only, name)):
        row = dict(zip((c.name for c in table.columns), map(_text, values), strict=True))
        key = compact({c: row[c] for c in table.key.columns})
        if not table.key.columns:
            number = 1
            while (key := compact({"#row": compact(row), "#n": str(number)})) in found:
                number += 1
        found[key] = row
    return found


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _group(facts, schema, name, op, whole, broken) -> Group | None:
    table, good, bad = schema.table(name), whole[name], broken[name]
    rows: list[tuple[str, str, str | None, str | None]] = []
    if op == "delete-rows":
        rows = [(key, "", compact(bad[key]), None) for key in bad if key not in good]
    elif op == "insert-rows":
        rows = [(key, "", None, compact(good[key])) for key in good if key not in bad]
    else:
        rows = [
            (key, column, bad[key][column], good[key][column])
            for key in good
            if key in bad
            for column in good[key]
            if good[key][column] != bad[key][column] and not table.column(column).generated
        ]
    if not rows:
        return None
    columns = [c.name for c in table.columns]
    if op == "set-cells":
        written = {column for _, column, _, _ in rows}
        columns = [column for column in columns if column in written]
    group = "F1-" + op + "-" + name
    facts.executemany(
        "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?)",
        [(group, name, *row) for row in rows],
    )
    head = OperationHead(
        op, name, tuple(columns) if op != "delete-rows" else (),
        len({key for key, _, _, _ in rows}), len(rows), "digest",
    )  # fmt: skip
    return Group(group, "F1", "row-values", Grade.PROVEN, head, (), "because")
