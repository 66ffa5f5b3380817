"""Tables put back from another source, as people do it with `pg_restore --clean --table` or with
TRUNCATE and `pg_restore --data-only --disable-triggers`: the rows are replaced, no trigger fires,
foreign keys neither act nor forbid, and rows elsewhere that referred to them may be left alone.
Sequences stay where they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from diffing.model import Schema, Table
from recovery.model import Act, Restore, Supply


@dataclass(frozen=True, slots=True)
class Restored:
    """Another source, loaded. `unloaded`: tables whose rows are not all there, and why."""

    database: str
    schema: Schema
    unloaded: Mapping[str, str]


def restore(name: str, given: Restore, schema: Schema, known: Restored | None, at: datetime) -> Act:
    """The act, or why there is none."""
    why = _why_not(given, schema, known)
    if why or known is None:
        return Act(name, (), at, why=why)
    tables = tuple(schema.table(table) for table in given.tables)
    supplies = tuple(_supply(table, known) for table in tables)
    return Act(name, tuple(_statements(tables, schema, known)), at, supplies=supplies)


def _why_not(given: Restore, schema: Schema, known: Restored | None) -> str:
    if known is None:
        return f"{given.source} is not loaded"
    for table in given.tables:
        if not schema.has(table):
            return f"the backup has no table {table}"
        if not known.schema.has(table):
            return f"{given.source.name} has no table {table}"
        if table in known.unloaded:
            return f"{given.source.name}: {table}: {known.unloaded[table]}"
        if not _columns(schema.table(table), known):
            return f"{given.source.name}: {table} has no column of the backup's"
    return ""


def _statements(tables: tuple[Table, ...], schema: Schema, known: Restored) -> Iterator[str]:
    names = {table.name for table in tables}
    keys = [key for key in schema.foreign_keys if key.table in names or key.parent in names]
    for key in keys:
        yield _text(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", schema.table(key.table), key.name
        )
    for table in tables:
        yield _text("ALTER TABLE {} DISABLE TRIGGER USER", table)
    listed = (sql.SQL("{}{}").format(_only(table), _relation(table)) for table in tables)
    yield sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(listed)).as_string(None)
    for table in tables:
        yield _copying(table, known).as_string(None)
    for table in tables:
        yield _text("ALTER TABLE {} ENABLE TRIGGER USER", table)
        for trigger in schema.triggers:
            if trigger.table == table.name and not trigger.enabled:
                yield _text("ALTER TABLE {} DISABLE TRIGGER {}", table, trigger.name)
    for key in keys:
        child = schema.table(key.table)
        for constraint in schema.constraints:
            if (constraint.kind, constraint.table, constraint.name) == (
                "foreign",
                key.table,
                key.name,
            ):
                yield _key(child, constraint.name, constraint.definition)


def _key(child: Table, name: str, definition: str) -> str:
    """Rows that refer to nothing may be left: a key that is checked for new rows only. Servers
    know none such on partitioned tables."""
    text = _text("ALTER TABLE {} ADD CONSTRAINT {} ", child, name) + definition
    loose = child.partitioned or definition.endswith("NOT VALID")
    return text if loose else f"{text} NOT VALID"


def _copying(table: Table, known: Restored) -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier(name) for name in _columns(table, known))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(_relation(table), names)


def _supply(table: Table, known: Restored) -> Supply:
    theirs = known.schema.table(table.name)
    names = sql.SQL(", ").join(sql.Identifier(name) for name in _columns(table, known))
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(
        names, _only(theirs), _relation(theirs)
    )
    return Supply(table.name, None, known.database, query.as_string(None))


def _columns(table: Table, known: Restored) -> list[str]:
    theirs = {column.name for column in known.schema.table(table.name).columns}
    return [c.name for c in table.columns if c.name in theirs and not c.generated]


def _relation(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.relation)


def _only(table: Table) -> sql.SQL:
    return sql.SQL("" if table.partitioned else "ONLY ")


def _text(pattern: LiteralString, table: Table, *names: str) -> str:
    shown = (sql.Identifier(name) for name in names)
    return sql.SQL(pattern).format(_relation(table), *shown).as_string(None)
