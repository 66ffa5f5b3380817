"""Captured row images as cell-level effects in the case database: one row per cell written, one
for the row itself when it comes or goes. Written through a file, because that is how DuckDB takes
rows in bulk; memory stays bounded by some thousand row images, and a number for each row without
a key.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from diffing.model import Schema
from recovery.model import Variant
from recovery.replay.images import Change
from recovery.replay.lines import Book, Tally, key_in, key_of, line, shape_of

__all__ = ["Sketch", "Tally", "key_of", "store"]

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
        with path.open("wb") as file:
            file.writelines(Book(run, schema, tally).lines(changes))
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


def remove(facts: duckdb.DuckDBPyConnection, run: str) -> None:
    facts.execute("DELETE FROM effect WHERE run = ?", [run])


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
        shape = shape_of(table)
        for row in rows:
            told = {
                name: None if value is None else str(value)
                for name, value in zip(names, row, strict=True)
            }
            key = key_in(shape, told)
            for column in variant.columns or ("",):
                self._file.write(line(variant.id, table.name, key, column, told.get(column)))
