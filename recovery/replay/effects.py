"""Captured row images as cell-level effects in the case database: one row per cell written, one
for the row itself when it comes or goes. Written through a file, because that is how DuckDB takes
rows in bulk; memory stays bounded by one row image, and a number for each row without a key.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from diffing.model import Schema, Table
from recovery.model import Variant
from recovery.replay.capture import Altered, Change, Image, Marker, Truncated

Row = Mapping[str, str | None]
_FIRST = ',"#n":"1"}'
_LOAD = """
INSERT INTO effect SELECT * FROM read_csv(?, header = false, auto_detect = false, delim = ',',
    quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false, parallel = false,
    max_line_size = 1073741824, buffer_size = 1073741824, columns = {
    'run': 'VARCHAR', 'step': 'VARCHAR', 'ordinal': 'BIGINT', 'table': 'VARCHAR', 'key': 'VARCHAR',
    'op': 'VARCHAR', 'column': 'VARCHAR', 'old': 'VARCHAR', 'new': 'VARCHAR'})
"""

_SKETCH = """
CREATE OR REPLACE TEMP TABLE sketch (
    variant VARCHAR, "table" VARCHAR, key VARCHAR, "column" VARCHAR, value VARCHAR)
"""
_LOAD_SKETCH = """
INSERT INTO sketch SELECT * FROM read_csv(?, header = false, auto_detect = false, delim = ',',
    quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false, parallel = false,
    max_line_size = 1073741824, buffer_size = 1073741824, columns = {
    'variant': 'VARCHAR', 'table': 'VARCHAR', 'key': 'VARCHAR', 'column': 'VARCHAR',
    'value': 'VARCHAR'})
"""


class Tally:
    """Per step and table: row images captured. Steps that did what capture cannot see whole, and
    the tables whose rows it missed."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, int]] = {}
        self.unseen: set[str] = set()
        self.blind: set[str] = set()


def store(
    facts: duckdb.DuckDBPyConnection,
    changes: Iterable[Change],
    run: str,
    schema: Schema,
    workspace: Path,
) -> Tally:
    """Replace the effects of `run` by these changes."""
    tally = Tally()
    path = workspace / "effects.csv"
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_lines(changes, run, schema, tally))
        facts.execute("DELETE FROM effect WHERE run = ?", [run])
        if path.stat().st_size:
            facts.execute(_LOAD, [str(path)])
    finally:
        path.unlink(missing_ok=True)
    return tally


class Sketch:
    """Writes the relation `sketch`: what variants would have written, cell by cell."""

    def __init__(self, facts: duckdb.DuckDBPyConnection, schema: Schema, workspace: Path) -> None:
        self._facts = facts
        self._schema = schema
        self._path = workspace / "sketch.csv"

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8", newline="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        try:
            if error is None:
                self._facts.execute(_SKETCH)
                if self._path.stat().st_size:
                    self._facts.execute(_LOAD_SKETCH, [str(self._path)])
        finally:
            self._path.unlink(missing_ok=True)

    def note(self, variant: Variant, rows: Sequence[tuple[object, ...]]) -> None:
        table = self._schema.table(variant.table)
        names = (*table.key.columns, *variant.columns)
        for row in rows:
            told = {
                name: None if value is None else str(value)
                for name, value in zip(names, row, strict=True)
            }
            key = key_of(table, told)
            for column in variant.columns or ("",):
                self._file.write(_line(variant.id, table.name, key, column, told.get(column)))


def key_of(table: Table, row: Row) -> str:
    """The key of a row image, as everywhere in dbmend: compact JSON in key order. Of equal rows
    without a key: that of the first."""
    if table.key.columns:
        return _compact(
            {
                column.name: _key_text(column.family, row[column.name])
                for column in table.key_columns
            }
        )
    shown = {column.name: row[column.name] for column in table.columns if column.name in row}
    return f'{{"#row":"{hashlib.sha256(_compact(shown).encode()).hexdigest()}"{_FIRST}'


def _lines(changes: Iterable[Change], run: str, schema: Schema, tally: Tally) -> Iterator[str]:
    step = ""
    ordinal = 0
    tables = {table.name: table for table in schema.tables}
    columns = {table.name: {column.name for column in table.columns} for table in schema.tables}
    copies = _Copies()
    for change in changes:
        match change:
            case Marker(name):
                step = name
            case Altered():
                tally.unseen.add(step)
            case Truncated(names):
                tally.unseen.add(step)
                tally.blind.update(name for name in names if name in tables)
            case Image() as image:
                counted = tally.images.setdefault(step, {})
                counted[image.table] = counted.get(image.table, 0) + 1
                table = tables.get(image.table)
                if table is None:  # made by the step itself: no row of the backup is concerned
                    continue
                if (
                    not image.whole
                    or not columns[table.name] <= (image.new or image.old or {}).keys()
                ):
                    tally.unseen.add(step)
                    tally.blind.add(table.name)
                    continue
                for key, op, column, old, new in _cells(image, table, copies):
                    ordinal += 1
                    yield _line(run, step, str(ordinal), table.name, key, op, column, old, new)


Cell = tuple[str, str, str, str | None, str | None]


class _Copies:
    """Which of several equal rows without a key is meant: the n-th that comes or goes, counted
    from the backup, so that one that went and came again is the same one. A small number is kept
    for every such row that the run has written and not put back."""

    def __init__(self) -> None:
        self._come: dict[str, int] = {}

    def gone(self, key: str) -> str:
        come = self._come.get(key, 0)
        return self._numbered(key, come - 1, come if come > 0 else 1 - come)

    def came(self, key: str) -> str:
        come = self._come.get(key, 0)
        return self._numbered(key, come + 1, -come if come < 0 else come + 1)

    def _numbered(self, key: str, come: int, number: int) -> str:
        if come:
            self._come[key] = come
        else:
            self._come.pop(key, None)
        return f'{key.removesuffix(_FIRST)},"#n":"{number}"}}'


def _cells(image: Image, table: Table, copies: _Copies) -> Iterator[Cell]:
    old, new = image.old, image.new
    if old == new:
        return
    keyed = bool(table.key.columns)
    if old is not None and new is not None and keyed and key_of(table, old) == key_of(table, new):
        key = key_of(table, new)
        for name in new:
            if old[name] != new[name]:
                yield key, "update", name, old[name], new[name]
        return
    if old is not None:
        key = key_of(table, old) if keyed else copies.gone(key_of(table, old))
        yield key, "delete", "", _compact(old), None
        for name, value in old.items():
            yield key, "delete", name, value, None
    if new is not None:
        key = key_of(table, new) if keyed else copies.came(key_of(table, new))
        yield key, "insert", "", None, _compact(new)
        for name, value in new.items():
            yield key, "insert", name, None, value


def _key_text(family: str, value: str | None) -> str | None:
    if family == "numeric" and value and "." in value:
        return value.rstrip("0").rstrip(".")
    return value


def _compact(value: Row) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _line(*fields: str | None) -> str:
    return (
        ",".join("" if field is None else '"' + field.replace('"', '""') + '"' for field in fields)
        + "\n"
    )
