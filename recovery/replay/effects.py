"""Captured row images as cell-level effects in the case database: one row per cell written, one
for the row itself when it comes or goes. Written through a file, because that is how DuckDB takes
rows in bulk; memory stays bounded by one row image, and a number for each row without a key.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from diffing.model import Schema, Table
from recovery.model import Variant
from recovery.replay.capture import Change, Image, Marker, Settled, Told, Truncated, Withheld

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
    """Per step and table: row images captured, and tables whose rows capture has missed; per
    step, how many rows were told in the place of images."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, int]] = {}
        self.told: dict[str, int] = {}
        self.missed: dict[str, set[str]] = {}

    @property
    def blind(self) -> set[str]:
        return {table for tables in self.missed.values() for table in tables}


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


def copy(facts: duckdb.DuckDBPyConnection, run: str, to: str) -> None:
    """Replace the effects of `to` by those of `run`."""
    if to != run:
        facts.execute("DELETE FROM effect WHERE run = ?", [to])
        facts.execute(
            "INSERT INTO effect SELECT $to AS run, * EXCLUDE (run) FROM effect WHERE run = $run"
            " ORDER BY effect.rowid",
            {"run": run, "to": to},
        )


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
    return _key(_shape(table), row)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a table is asked for every row. `key`: its columns, and whether they are numeric."""

    names: tuple[str, ...]
    known: frozenset[str]
    key: tuple[tuple[str, bool], ...]


def _shape(table: Table) -> _Shape:
    names = tuple(column.name for column in table.columns)
    key = tuple((column.name, column.family == "numeric") for column in table.key_columns)
    return _Shape(names, frozenset(names), key)


def _key(shape: _Shape, row: Row) -> str:
    if shape.key:
        return _compact(
            {name: _trimmed(row[name]) if numeric else row[name] for name, numeric in shape.key}
        )
    shown = {name: row[name] for name in shape.names if name in row}
    return f'{{"#row":"{hashlib.sha256(_compact(shown).encode()).hexdigest()}"{_FIRST}'


def _same_key(shape: _Shape, old: Row, new: Row) -> bool:
    return bool(shape.key) and all(
        old[name] == new[name] or (numeric and _trimmed(old[name]) == _trimmed(new[name]))
        for name, numeric in shape.key
    )


def _lines(changes: Iterable[Change], run: str, schema: Schema, tally: Tally) -> Iterator[str]:
    step = ""
    ordinal = 0
    shapes = {table.name: _shape(table) for table in schema.tables}
    copies = _Copies()
    withheld: set[str] = set()
    for change in changes:
        match change:
            case Marker(name):
                step = name
                withheld = set()
            case Withheld(name):
                withheld.add(name)
            case Settled():
                withheld = set()
            case Truncated(names):
                lost = {name for name in names if name in shapes} - withheld
                if lost:
                    tally.missed.setdefault(step, set()).update(lost)
            case Told(name, old, new):
                tally.told[step] = tally.told.get(step, 0) + 1
                told = Image("update", name, old, new)
                for cell in _cells(told, shapes[name], copies):
                    ordinal += 1
                    yield _effect(run, step, ordinal, name, cell)
            case Image() as image if image.table not in withheld:
                counted = tally.images.setdefault(step, {})
                counted[image.table] = counted.get(image.table, 0) + 1
                shape = shapes.get(image.table)
                if shape is None:  # made by the step itself: no row of the backup is concerned
                    continue
                if not image.whole or not shape.known <= (image.new or image.old or {}).keys():
                    tally.missed.setdefault(step, set()).add(image.table)
                    continue
                for cell in _cells(image, shape, copies):
                    ordinal += 1
                    yield _effect(run, step, ordinal, image.table, cell)


Cell = tuple[str, str, str, str | None, str | None]


def _effect(run: str, step: str, ordinal: int, table: str, cell: Cell) -> str:
    key, op, column, old, new = cell
    return _line(run, step, str(ordinal), table, key, op, column, old, new)


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


def _cells(image: Image, shape: _Shape, copies: _Copies) -> Iterator[Cell]:
    old, new = image.old, image.new
    if old == new:
        return
    if old is not None and new is not None and _same_key(shape, old, new):
        key = _key(shape, new)
        for name, value in new.items():
            if old[name] != value:
                yield key, "update", name, old[name], value
        return
    if old is not None:
        key = _key(shape, old) if shape.key else copies.gone(_key(shape, old))
        yield key, "delete", "", _compact(old), None
        for name, value in old.items():
            yield key, "delete", name, value, None
    if new is not None:
        key = _key(shape, new) if shape.key else copies.came(_key(shape, new))
        yield key, "insert", "", None, _compact(new)
        for name, value in new.items():
            yield key, "insert", name, None, value


def _trimmed(value: str | None) -> str | None:
    return value.rstrip("0").rstrip(".") if value and "." in value else value


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _line(*fields: str | None) -> str:
    return (
        ",".join("" if field is None else '"' + field.replace('"', '""') + '"' for field in fields)
        + "\n"
    )
