"""Rows that a step refers to and that the log does not make: taken from the current state, marked
as undocumented. Triggers stay silent: what they wrote then is in the current state already.
"""

import re
from collections.abc import Iterable, Mapping

import psycopg
from psycopg import Connection, sql

from diffing.model import ForeignKey, Schema, Table
from recovery.replay.identity import Feed
from recovery.replay.silence import silent

Row = Mapping[str, str | None]

UNDOCUMENTED = "~undocumented"  # the marker of rows borrowed from the current state
_BORROWED_MAX = 1000
_MISSING_PARENT = re.compile(r"^Key \((.+?)\)=\((.*)\) is not present in table \"(.+)\"", re.DOTALL)
_ALREADY_THERE = re.compile(r"^Key \((.+?)\)=\((.*)\) already exists", re.DOTALL)


class Borrower:
    """One per session of a replay. `extras` are per table the rows that only the current state
    has."""

    def __init__(
        self,
        connection: Connection[tuple[object, ...]],
        schema: Schema,
        extras: Mapping[str, tuple[Row, ...]],
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._extras = extras
        self._tried = 0
        self._rows: list[tuple[str, Row]] = []
        self._wanted: list[tuple[str, Row]] = []

    def borrow(self, error: psycopg.Error) -> bool:
        """Whether the row that a foreign key misses was in the current state and is here now."""
        found = _MISSING_PARENT.match(error.diag.message_detail or "")
        if error.sqlstate != "23503" or not found or self._tried >= _BORROWED_MAX:
            return False
        foreign = self._foreign_key(error.diag, found[1])
        if foreign is None:
            return False
        values = found[2].split(", ") if len(foreign.columns) > 1 else [found[2]]
        if len(values) != len(foreign.columns):
            return False
        wanted = dict(zip(foreign.parent_columns, values, strict=True))
        row = next(
            (
                extra
                for extra in self._extras.get(foreign.parent, ())
                if all(extra.get(name) == value for name, value in wanted.items())
            ),
            None,
        )
        # A row that is being borrowed already needs itself: nothing comes of it.
        if row is None or (foreign.parent, row) in self._wanted:
            return False
        return self._insert(self._schema.table(foreign.parent), row)

    def taken(
        self, error: psycopg.Error, feeds: Iterable[Feed], begun: Mapping[str, int]
    ) -> dict[str, int]:
        """Numbers that a sequence has to leave out, because a borrowed row has them."""
        found = _ALREADY_THERE.match(error.diag.message_detail or "")
        if error.sqlstate != "23505" or not found:
            return {}
        return {
            feed.label: int(found[2])
            for feed in feeds
            if found[1].strip('"') == feed.column
            and self._schema.table(feed.table).relation == error.diag.table_name
            and int(found[2]) > begun[feed.label]
            and any(
                table == feed.table and row.get(feed.column) == found[2]
                for table, row in self._rows
            )
        }

    def _foreign_key(self, diag: psycopg.errors.Diagnostic, columns: str) -> ForeignKey | None:
        """The one that complained; of a partition, that of the table it stands for."""
        named = [key for key in self._schema.foreign_keys if key.name == diag.constraint_name]
        exact = [
            key
            for key in named
            if self._schema.table(key.table).relation == diag.table_name
            and self._schema.table(key.table).schema == diag.schema_name
        ]
        fitting = exact or [
            key for key in named if ", ".join(key.columns) == columns.replace('"', "")
        ]
        return fitting[0] if fitting else None

    def _insert(self, table: Table, row: Row) -> bool:
        """First the rows that it refers to itself."""
        statement = _statement(table, row)
        self._wanted.append((table.name, row))
        try:
            while True:
                self._tried += 1
                try:
                    with self._connection.transaction():
                        self._connection.execute(
                            "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)",
                            (UNDOCUMENTED,),
                        )
                        with silent(self._connection, [table.name]):
                            self._connection.execute(statement)
                    self._rows.append((table.name, row))
                    return True
                except psycopg.Error as error:
                    if self._connection.closed:
                        raise
                    if not self.borrow(error):
                        return False
        finally:
            self._wanted.pop()


def _statement(table: Table, row: Row) -> sql.Composed:
    columns = [column for column in table.columns if not column.generated and column.name in row]
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table.schema, table.relation),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(row[column.name]), sql.SQL(column.type))
            for column in columns
        ),
    )
