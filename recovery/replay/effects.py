"""Captured row images as cell-level effects in the case database: one row per cell written, one
for the row itself when it comes or goes. Written through a file, because that is how DuckDB takes
rows in bulk; memory stays bounded by one row image.
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
from recovery.replay.capture import Change, Image, Marker, Truncated

Row = Mapping[str, str | None]
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
    """Per step: row images captured. And the tables whose rows were not captured."""

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
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
    """The key of a row image, as everywhere in dbmend: compact JSON in key order."""
    if table.key.columns:
        return _compact(
            {
                column.name: _key_text(column.family, row[column.name])
                for column in table.key_columns
            }
        )
    shown = {column.name: row[column.name] for column in table.columns if column.name in row}
    return _compact({"#row": hashlib.sha256(_compact(shown).encode()).hexdigest(), "#n": "1"})


def _lines(changes: Iterable[Change], run: str, schema: Schema, tally: Tally) -> Iterator[str]:
    step = ""
    ordinal = 0
    tables = {table.name: table for table in schema.tables}
    for change in changes:
        match change:
            case Marker(name):
                step = name
            case Truncated(names):
                tally.blind.update(names)
            case Image() as image:
                tally.images[step] = tally.images.get(step, 0) + 1
                table = tables.get(image.table)
                if table is None:  # made by the step itself: no row of the backup is concerned
                    continue
                for key, op, column, old, new in _cells(image, table):
                    ordinal += 1
                    yield _line(run, step, str(ordinal), table.name, key, op, column, old, new)


Cell = tuple[str, str, str, str | None, str | None]


def _cells(image: Image, table: Table) -> Iterator[Cell]:
    old, new = image.old, image.new
    if old and new and table.key.columns and key_of(table, old) == key_of(table, new):
        key = key_of(table, new)
        for name in new:
            if old[name] != new[name]:
                yield key, "update", name, old[name], new[name]
        return
    if old:
        key = key_of(table, old)
        yield key, "delete", "", _compact(dict(old)), None
        for name, value in old.items():
            yield key, "delete", name, value, None
    if new:
        key = key_of(table, new)
        yield key, "insert", "", None, _compact(dict(new))
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
