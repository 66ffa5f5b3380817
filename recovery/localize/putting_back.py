"""Rows as they were before certain acts, and the statements that put them back there."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from psycopg import sql

from diffing.model import Schema, Table
from recovery.localize.by_key import among, set_rows
from recovery.localize.clusters import insert_statement
from recovery.localize.scene import Scene
from recovery.localize.statement import Target

_ROWS_MAX = 20_000  # that are put back at once
_BATCH = 1000

# What the table was like before these acts, where they wrote.
_OLDER = """
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place)
SELECT e.key, e."column", first(e.op ORDER BY e.ordinal), last(e.op ORDER BY e.ordinal),
       first(e.old ORDER BY e.ordinal)
FROM effect e JOIN place p ON p.step = e.step
WHERE e.run = $run AND e."table" = $table AND p.place BETWEEN $first AND $last
GROUP BY e.key, e."column" ORDER BY length(e.key), e.key, e."column" LIMIT $most
"""


@dataclass(slots=True)
class Older:
    """How the rows of a table are put back: rows to go, rows to come, cells to be set by the keys
    of their rows; `stamped`: rows that are written as they are. `silent`: triggers sleep."""

    table: Table
    silent: bool
    going: list[str] = field(default_factory=list)
    coming: list[Mapping[str, str | None]] = field(default_factory=list)
    cells: dict[str, dict[str, str | None]] = field(default_factory=dict)
    stamped: list[str] = field(default_factory=list)

    def targets(self) -> Iterator[Target]:
        columns = frozenset(column for row in self.cells.values() for column in row)
        if columns:
            yield Target("update", self.table.name, columns)
        if self.going:
            yield Target("delete", self.table.name, frozenset())
        if self.coming:
            yield Target("insert", self.table.name, frozenset())


def older(
    scene: Scene, name: str, first: int, last: int, only: Collection[str] | None = None
) -> Older | None:
    """What putting back the rows of this table does (those of `only`, by their keys) to what they
    were before the acts from `first` to `last`; None where that is too much to say, or rows have no
    key. Triggers sleep, as they do when files are put back."""
    table = scene.schema.table(name)
    rows = scene.facts.execute(
        _OLDER,
        {
            "acts": [act.id for act in scene.history],
            "run": scene.base.run,
            "table": name,
            "first": first,
            "last": last,
            "most": _ROWS_MAX + 1,
        },
    ).fetchall()
    if len(rows) > _ROWS_MAX or not table.key.columns:
        return None
    if only is not None:
        rows = [row for row in rows if row[0] in only]
    silent = any(one.table == name and one.enabled for one in scene.schema.triggers)
    found = Older(table, silent)
    came = {key for key, column, first_op, _, _ in rows if column == "" and first_op == "insert"}
    gone = {key for key, column, _, last_op, _ in rows if column == "" and last_op == "delete"}
    for key, column, _, last_op, old in rows:
        if column == "":
            if key in came and last_op == "insert":
                found.going.append(str(key))
            elif key not in came and key in gone:
                found.coming.append(json.loads(old))
        elif key not in came and key not in gone and not table.column(column).generated:
            found.cells.setdefault(str(key), {})[str(column)] = old
    return found


def statements(tables: Sequence[Older]) -> Iterator[str]:
    """Each row is written once. Rows go before those they refer to, and come after them: tables
    come in the order of `in_order`."""
    switch = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
    names = [sql.Identifier(one.table.schema, one.table.relation) for one in tables]
    silent = [name for one, name in zip(tables, names, strict=True) if one.silent]
    for name in silent:
        yield switch.format(name, sql.SQL("DISABLE")).as_string(None)
    for one, name in zip(tables, names, strict=True):
        for keys in _parts(one.going):
            rows = among(one.table, keys)
            yield sql.SQL("DELETE FROM {} WHERE {}").format(name, rows).as_string(None)
    for one in reversed(tables):
        for start in range(0, len(one.coming), _BATCH):
            yield insert_statement(one.table, one.coming[start : start + _BATCH])
    for one, name in zip(tables, names, strict=True):
        yield from _updates(one)
        column = sql.Identifier(one.table.key.columns[0])
        for keys in _parts(one.stamped):
            yield (
                sql.SQL("UPDATE {0} SET {1} = {1} WHERE {2}")
                .format(name, column, among(one.table, keys))
                .as_string(None)
            )
    for name in silent:
        yield switch.format(name, sql.SQL("ENABLE")).as_string(None)


def _updates(one: Older) -> Iterator[str]:
    """Rows in which the same columns are set go together."""
    ordered = sorted(one.cells.items(), key=lambda row: (sorted(row[1]), len(row[0]), row[0]))
    for columns, rows in groupby(ordered, key=lambda row: sorted(row[1])):
        together = list(rows)
        for start in range(0, len(together), _BATCH):
            yield set_rows(one.table, columns, together[start : start + _BATCH])


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def in_order(schema: Schema, tables: Sequence[str]) -> Sequence[str]:
    """Tables before those they refer to."""
    ordered: list[str] = []
    waiting = sorted(tables)
    while waiting:
        free = [
            name
            for name in waiting
            if not any(
                key.parent == name and key.table in waiting and key.table != name
                for key in schema.foreign_keys
            )
        ]
        ordered += free or waiting[:1]
        waiting = [name for name in waiting if name not in ordered]
    return ordered
