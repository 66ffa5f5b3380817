"""The staged rows of a group, read from the case database as wide rows, forwards or inverted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Literal, cast

import duckdb

from diffing.model import Column, Schema, Table
from recovery.model import EngineError, Exit, Group
from recovery.script.context import Landmarks

Op = Literal["set-cells", "insert-rows", "delete-rows"]
_INVERSE: dict[Op, Op] = {
    "set-cells": "set-cells",
    "insert-rows": "delete-rows",
    "delete-rows": "insert-rows",
}
_BATCH = 10_000

Cell = tuple[str, str, str | None, str | None]  # a row of the relation: key, column, seen, target


@dataclass(frozen=True, slots=True)
class Write:
    """One guarded write of a script: a group, or its inverse, on the staged relation `number`."""

    number: int
    group: str
    op: Op
    table: Table
    columns: tuple[Column, ...]  # written; of deletes the guarded ones
    rows: int
    disabled_triggers: tuple[str, ...]
    masked: bool  # set-cells: not every row writes every column
    inverse: bool
    parked: tuple[str, ...] = ()  # columns whose unique values swap rows within this write

    @property
    def keyed(self) -> bool:
        return bool(self.table.key.columns)

    @property
    def relation(self) -> str:
        return "dbmend_" + str(self.number)


@dataclass(frozen=True, slots=True)
class StagedRow:
    key: tuple[str | None, ...]  # of a row without key: the number of the copy
    seen: tuple[str | None, ...]
    target: tuple[str | None, ...]
    written: tuple[bool, ...]


def writes_of(
    groups: tuple[Group, ...], facts: duckdb.DuckDBPyConnection, schema: Schema, *, inverse: bool
) -> tuple[Write, ...]:
    """The writes in order; of the inverse in reverse order.

    Raises EngineError(REFUSED) for what no script can write, EngineError(BUG) when the staged rows
    are not those that the plan counted.
    """
    ordered = tuple(reversed(groups)) if inverse else groups
    return tuple(
        _write(number, group, facts, schema, inverse=inverse)
        for number, group in enumerate(ordered, start=1)
    )


def rows_of(
    write: Write, facts: duckdb.DuckDBPyConnection, landmarks: Landmarks | None
) -> Iterator[StagedRow]:
    """Every staged row of the write, in key order.

    Of a row without key the key is the number of the copy among all equal rows: the landmarks tell
    how many the evidence holds. Without landmarks it is the row's digest.
    """
    cells = _cells(write.group, facts)
    if not write.keyed:
        yield from _copies_of(write, cells, landmarks)
        return
    if write.op == "set-cells":
        yield from _cells_rows(write, cells)
        return
    last = None
    for key, _, seen, target in cells:
        if key == last:
            raise _bug(write.group, "a row is staged twice: " + key)
        yield _whole_row(write, key, seen, target)
        last = key


def _write(
    number: int, group: Group, facts: duckdb.DuckDBPyConnection, schema: Schema, *, inverse: bool
) -> Write:
    head = group.operation
    if not schema.has(head.table):
        raise _refused(group.id, "the current state has no table " + head.table)
    table = schema.table(head.table)
    op: Op = _INVERSE[head.op] if inverse else head.op
    rows, cells = _count(group.id, facts)
    if rows != head.rows:
        raise _bug(
            group.id, "the plan counts " + str(head.rows) + " rows, " + str(rows) + " staged"
        )
    columns = (
        _known(group.id, table, head.columns)
        if op == "set-cells"
        else _whole_columns(group.id, table, facts)
    )
    write = Write(
        number=number,
        group=group.id,
        op=op,
        table=table,
        columns=columns,
        rows=rows,
        disabled_triggers=head.disabled_triggers,
        masked=op == "set-cells" and cells != rows * len(columns),
        inverse=inverse,
    )
    _check(write)
    return replace(write, parked=_swapped(write, facts, schema)) if op == "set-cells" else write


def _swapped(write: Write, facts: duckdb.DuckDBPyConnection, schema: Schema) -> tuple[str, ...]:
    """Written columns of unique constraints where a target is what another row still holds."""
    unique = {
        name
        for constraint in schema.constraints
        if constraint.table == write.table.name and constraint.kind in ("unique", "exclusion")
        for name in constraint.columns
    }
    return tuple(
        column.name
        for column in write.columns
        if column.name in unique
        and facts.execute(
            'SELECT 1 FROM staged WHERE "group" = $1 AND "column" = $2 AND target IN '
            '(SELECT seen FROM staged WHERE "group" = $1 AND "column" = $2) LIMIT 1',
            [write.group, column.name],
        ).fetchone()
        is not None
    )


def _check(write: Write) -> None:
    if write.op == "set-cells" and not write.keyed:
        raise _refused(write.group, "cells of " + write.table.name + " cannot be set: no key")
    if write.op == "set-cells":
        for column in write.columns:
            if column.generated or column.identity == "always":
                raise _refused(write.group, "column " + column.name + " can only be generated")
            if column.name in write.table.key.columns:
                raise _refused(write.group, "column " + column.name + " is part of the key")


def _known(group: str, table: Table, names: tuple[str, ...]) -> tuple[Column, ...]:
    present = {column.name for column in table.columns}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise _refused(group, table.name + " has no column " + ", ".join(unknown))
    return tuple(table.column(name) for name in names)


def _whole_columns(
    group: str, table: Table, facts: duckdb.DuckDBPyConnection
) -> tuple[Column, ...]:
    found = facts.execute(
        'SELECT coalesce(target, seen) FROM staged WHERE "group" = ? LIMIT 1', [group]
    ).fetchone()
    if found is None:
        return ()
    names = tuple(_json(cast(str, found[0])))
    return tuple(column for column in _known(group, table, names) if not column.generated)


def _count(group: str, facts: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    found = facts.execute(
        'SELECT count(DISTINCT key), count(*) FROM staged WHERE "group" = ?', [group]
    ).fetchone()
    assert found is not None
    return cast(int, found[0]), cast(int, found[1])


def _cells(group: str, facts: duckdb.DuckDBPyConnection) -> Iterator[Cell]:
    # A cursor of its own: several groups may be read at the same time.
    cursor = facts.cursor()
    cursor.execute(
        'SELECT key, "column", seen, target FROM staged WHERE "group" = ? ORDER BY key, "column"',
        [group],
    )
    while batch := cursor.fetchmany(_BATCH):
        yield from cast("list[Cell]", batch)


def _cells_rows(write: Write, cells: Iterator[Cell]) -> Iterator[StagedRow]:
    places = {column.name: place for place, column in enumerate(write.columns)}
    nothing: list[str | None] = [None] * len(places)
    for key, row in groupby(cells, key=itemgetter(0)):
        seen, target, written = nothing.copy(), nothing.copy(), [False] * len(places)
        for _, column, old, new in row:
            place = places.get(column)
            if place is None or written[place]:
                raise _bug(write.group, "cells are staged that are not planned: " + column)
            seen[place], target[place] = (new, old) if write.inverse else (old, new)
            written[place] = True
        yield StagedRow(_key(write, key), tuple(seen), tuple(target), tuple(written))


def _whole_row(write: Write, key: str, seen: str | None, target: str | None) -> StagedRow:
    old, new = (target, seen) if write.inverse else (seen, target)
    text = new if write.op == "insert-rows" else old
    other = old if write.op == "insert-rows" else new
    if text is None or other is not None:
        raise _bug(write.group, "the staged row " + key + " does not fit " + write.op)
    row = _json(text)
    try:
        values = tuple(row[column.name] for column in write.columns)
    except KeyError as error:
        raise _bug(write.group, "the staged row " + key + " lacks " + str(error)) from error
    nothing = (None,) * len(values)
    whole = (True,) * len(values)
    if write.op == "insert-rows":
        return StagedRow(_key(write, key), nothing, values, whole)
    return StagedRow(_key(write, key), values, nothing, whole)


def _copies_of(
    write: Write, cells: Iterator[Cell], landmarks: Landmarks | None
) -> Iterator[StagedRow]:
    counts = {
        copies.digest: copies.count
        for copies in (landmarks.copies if landmarks else ())
        if copies.group == write.group
    }
    adds = (write.op == "insert-rows") is not write.inverse  # as planned, not as inverted
    for digest, copies in groupby(cells, key=lambda cell: str(_json(cell[0])["#row"])):
        rows = list(copies)  # copies of one and the same row
        if landmarks is not None and digest not in counts:
            raise _bug(write.group, "nobody counted the copies of row " + digest)
        first = counts.get(digest, 0) - (0 if adds else len(rows))
        if landmarks is not None and first < 0:
            raise _refused(write.group, "the current state has fewer copies of row " + digest)
        for number, (key, _, seen, target) in enumerate(rows, start=first + 1):
            row = _whole_row(write, key, seen, target)
            yield replace(row, key=(str(number) if landmarks is not None else digest,))


def _key(write: Write, text: str) -> tuple[str | None, ...]:
    if not write.keyed:
        return ()
    key = _json(text)
    if tuple(key) != write.table.key.columns:
        raise _bug(write.group, "the key " + text + " is not the key of " + write.table.name)
    return tuple(key.values())


def _json(text: str) -> dict[str, str | None]:
    return cast("dict[str, str | None]", json.loads(text))


def _refused(group: str, message: str) -> EngineError:
    return EngineError(
        Exit.REFUSED,
        "group " + group + ": " + message,
        where=group,
        hint="Reject this group, or plan again.",
    )


def _bug(group: str, message: str) -> EngineError:
    return EngineError(Exit.BUG, "group " + group + ": " + message, where=group)
