"""Compare two versions of one table inside a DuckDB scratch database of its own.

The relational work is in `diffing.queries`; here is the order in which it is done, and the only
two moments when values pass through Python: texts of judged columns, each once, to learn their
canonical text.
"""

import csv
import filecmp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from diffing import queries
from diffing.duck import Setting, connect
from diffing.equality import Form, canonical
from diffing.layout import Layout
from diffing.model import Sides, State, Table
from diffing.queries import SIDES, Side

_LINE_BYTES = (8 << 20, 64 << 20, 512 << 20, 2 << 30)
_BATCH = 10_000
_NONE = Sides()
# Of the memory, the part that one share of the result may take: sorting takes several copies.
_SHARE = 16


class NotCompared(Exception):
    """Both sides could not be read exactly; `rows` is what each side said it had."""

    def __init__(self, why: str, rows: Sides) -> None:
        super().__init__(why)
        self.why = why
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Input:
    """A table on one side, and who can write its rows out."""

    state: State
    table: Table


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was counted; the divergences themselves are in the files of `result`."""

    rows: Sides
    same: int
    changed: int = 0
    missing: int = 0
    extra: int = 0
    representation_only: int = 0
    cells: tuple[tuple[str, int], ...] = ()
    derived: tuple[tuple[str, int], ...] = ()
    shared_keys: Sides = _NONE
    null_keys: Sides = _NONE
    result: tuple[tuple[Path, ...], ...] = ()  # Parquet files, in the order in which they belong


@dataclass(frozen=True, slots=True)
class Export:
    """The rows of both sides as files in `folder`. A side that is None has no such table."""

    folder: Path
    layout: Layout
    backup: Input | None
    current: Input | None
    rows: Sides

    def path(self, side: Side) -> Path:
        return self.folder / (side + ".csv")

    def same_bytes(self) -> bool:
        """Both sides wrote the same rows in the same order, and their keys need no counting.

        Equal texts are equal values of any type, so there is nothing left to find.
        """
        if self.backup is None or self.current is None:
            return False
        layout = self.layout
        if layout.backup_rest or layout.current_rest or self.rows.backup != self.rows.current:
            return False
        if layout.key.columns and not layout.unique:
            return False
        return filecmp.cmp(self.path("backup"), self.path("current"), shallow=False)


def export(folder: Path, layout: Layout, backup: Input | None, current: Input | None) -> Export:
    """Write both sides out. Raises whatever the states raise."""
    counts: dict[Side, int] = {}
    for side in SIDES:
        source = backup if side == "backup" else current
        columns = (*layout.names, *layout.rest(side))
        path = folder / (side + ".csv")
        counts[side] = source.state.export(source.table, columns, path) if source else 0
    return Export(folder, layout, backup, current, Sides(counts["backup"], counts["current"]))


@contextmanager
def scratch(folder: Path, memory_bytes: int, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that spills into `folder` beyond `memory_bytes`. It loads and fetches
    nothing."""
    settings: dict[str, Setting] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": str(memory_bytes) + "B",
        "temp_directory": str(folder / "spill"),
    }
    if threads:
        settings["threads"] = threads
    connection = connect(":memory:", settings)
    try:
        for statement in (*queries.SETTINGS, *queries.MACROS):
            connection.execute(statement)
        yield connection
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table pair, written out already, in a scratch database of its own."""

    connection: duckdb.DuckDBPyConnection
    export: Export
    memory_bytes: int

    def run(self) -> Found:
        """Compare, and leave the divergences in the files of `Found.result`.

        Raises NotCompared when what was read is not what was written, and whatever the states,
        DuckDB or the file system raise.
        """
        rows = self.export.rows
        self._read("backup", self.export.backup)
        self._read("current", self.export.current)
        self._check_counts(rows)
        self._canonical_keys()
        shared, nulls = self._duplicates()
        pairs = self._pairs()
        loose = self._loose()
        return Found(
            rows=rows,
            same=rows.backup - pairs.changed - pairs.missing - loose.missing,
            changed=pairs.changed,
            missing=pairs.missing + loose.missing,
            extra=pairs.extra + loose.extra,
            representation_only=pairs.representation_only + loose.representation_only,
            cells=pairs.cells,
            derived=pairs.derived,
            shared_keys=shared,
            null_keys=nulls,
            result=self._write(pairs, loose),
        )

    @property
    def layout(self) -> Layout:
        return self.export.layout

    def _read(self, side: Side, source: Input | None) -> None:
        if source is None:
            self.connection.execute(queries.no_rows(side))
            return
        path = self.export.path(side)
        self._read_file(side, len(self.layout.rest(side)), path)
        path.unlink()

    def _read_file(self, side: Side, rest: int, path: Path) -> None:
        common, key = len(self.layout.common), self.layout.key_positions
        for line_bytes_max in _LINE_BYTES:
            statement = queries.read_rows(side, common, rest, key, line_bytes_max)
            try:
                self.connection.execute(statement, [str(path)])
            except duckdb.InvalidInputException:
                # A row longer than the reader's line: again with a longer one, while there is
                # more in the file than this line could hold.
                if path.stat().st_size <= line_bytes_max or line_bytes_max == _LINE_BYTES[-1]:
                    raise
            else:
                return

    def _check_counts(self, rows: Sides) -> None:
        read = Sides(*(self._count(queries.COUNT_ROWS[side]) for side in SIDES))
        if read != rows:
            raise NotCompared(
                f"rows read back ({read.backup}, {read.current}) are not the rows written "
                f"({rows.backup}, {rows.current})",
                rows,
            )

    def _canonical_keys(self) -> None:
        forms = [self.layout.common[place].form for place in self.layout.key_positions]
        judged = [place for place, form in enumerate(forms) if not form.by_text]
        if not judged:
            return
        self.connection.execute(queries.CANON)
        for place in judged:
            self._fill_canon(queries.key_texts(place), forms, [])
        trimmed = [place for place in judged if forms[place].family == "numeric"]
        for side in SIDES:
            self.connection.execute(queries.canonical_keys(side, judged, trimmed, len(forms)))

    def _fill_canon(
        self, texts: str, forms: Sequence[Form], parameters: Sequence[list[int] | list[str]]
    ) -> None:
        """Learn the canonical text of every (position, text) that the query names."""
        path = self.export.folder / "canon.csv"
        longest = 0
        try:
            asked = self.connection.execute(texts, list(parameters))
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
                while batch := asked.fetchmany(_BATCH):
                    for place, text in batch:
                        value = canonical(forms[place], text)
                        if value != text:
                            writer.writerow((place, text, value))
                            longest = max(longest, len(text) + len(value))
            # Four bytes per character, doubled quotes, and the frame.
            line_bytes_max = max(_LINE_BYTES[0], 8 * longest + 64)
            self.connection.execute(queries.fill_canon(line_bytes_max), [str(path)])
        finally:
            path.unlink(missing_ok=True)

    def _duplicates(self) -> tuple[Sides, Sides]:
        self.connection.execute(queries.CROWD)
        if not self.layout.key.columns:
            return Sides(), Sides()
        backup, current = (self._one(queries.DUPLICATES[side]) for side in SIDES)
        return Sides(backup[0], current[0]), Sides(backup[1], current[1])

    def _pairs(self) -> "_Part":
        """Rows that their key names."""
        labels = [queries.label(name) for name in self.layout.key.columns]
        roles = [column.role for column in self.layout.common]
        self.connection.execute(queries.PAIR, [labels])
        if not self._count(queries.COUNT_PAIRS):
            return _Part()
        self.connection.execute(queries.CELL, [roles])
        self.connection.execute(queries.CANON)
        if "judged" in roles:
            forms = [column.form for column in self.layout.common]
            self._fill_canon(queries.CELL_TEXTS, forms, [])
        self.connection.execute(queries.JUDGED)
        missing, extra, changed, represented = self._one(queries.PAIR_COUNTS)
        cells, derived = self._cells("changed"), self._cells("derived")
        return _Part(missing, extra, changed, represented, cells, derived, compared=True)

    def _loose(self) -> "_Part":
        """Rows without a usable key, as a multiset."""
        if not any(self._count(queries.COUNT_LOOSE[side]) for side in SIDES):
            return _Part()
        places = list(self.layout.row_positions)
        ordinals = [place + 1 for place in places]
        self.connection.execute(queries.UNEVEN, [ordinals])
        for side in SIDES:
            self.connection.execute(queries.left_over(side), [ordinals])
        left = [self._count(queries.COUNT_LEFT[side]) for side in SIDES]
        represented = self._represented(places) if all(left) else 0
        return _Part(
            missing=left[0] - represented,
            extra=left[1] - represented,
            representation_only=represented,
            compared=True,
        )

    def _represented(self, places: list[int]) -> int:
        """Take away pairs of left rows that differ in representation only; how many."""
        roles = [str(self.layout.common[place].role) for place in places]
        if "judged" not in roles:
            return 0
        forms = [column.form for column in self.layout.common]
        self.connection.execute(queries.CANON)
        self._fill_canon(queries.LEFT_TEXTS, forms, [places, roles])
        for side in SIDES:
            self.connection.execute(queries.canonical_left(side), [places])
        self.connection.execute(queries.ALIKE)
        self.connection.execute(queries.REPRESENTED)
        for side in SIDES:
            self.connection.execute(queries.DROP_REPRESENTED[side])
        return self._count(queries.COUNT_REPRESENTED)

    def _cells(self, difference: str) -> tuple[tuple[str, int], ...]:
        counted = self.connection.execute(queries.CELL_COUNTS).fetchall()
        names = self.layout.names
        return tuple((names[place], count) for kind, place, count in counted if kind == difference)

    def _write(self, pairs: "_Part", loose: "_Part") -> tuple[tuple[Path, ...], ...]:
        if not (pairs.changed or pairs.missing or pairs.extra or loose.missing or loose.extra):
            return ()
        self.connection.execute(queries.RESULT)
        if pairs.compared:
            self.connection.execute(queries.RESULT_CHANGED, [list(self.layout.names)])
        for side in SIDES:
            source = self.export.backup if side == "backup" else self.export.current
            if source is None:
                continue
            whole = self._whole_row(side, source.table)
            self.connection.execute(queries.RESULT_ONE_SIDED[side], whole)
            if loose.compared:
                self.connection.execute(queries.result_left(side), whole)
        size = self._count(queries.RESULT_BYTES)
        share = max(1 << 20, self.memory_bytes // _SHARE)
        if size <= share:
            path = self.export.folder / "result.parquet"
            self.connection.execute(queries.WRITE_RESULT, [str(path)])
            return ((path,),)
        return self._write_shares(share)

    def _write_shares(self, share: int) -> tuple[tuple[Path, ...], ...]:
        folder = self.export.folder / "shares"
        self.connection.execute(queries.SHARES, [share])
        for setting in queries.SHARE_SETTINGS:
            self.connection.execute(setting)
        self.connection.execute(queries.WRITE_SHARES, [str(folder)])
        numbered = sorted(
            (int(place.name.removeprefix("share=")), place) for place in folder.iterdir()
        )
        return tuple(tuple(sorted(place.iterdir())) for _, place in numbered)

    def _whole_row(self, side: Side, table: Table) -> list[list[str] | list[int]]:
        """A row as a person wrote the table: labels in its own order, and where each value is."""
        places = {
            name: n for n, name in enumerate((*self.layout.names, *self.layout.rest(side)), 1)
        }
        names = [column.name for column in table.columns]
        return [[queries.label(name) for name in names], [places[name] for name in names]]

    def _one(self, statement: str) -> tuple[int, ...]:
        row = self.connection.execute(statement).fetchone()
        assert row is not None
        return tuple(int(value) for value in row)

    def _count(self, statement: str) -> int:
        return self._one(statement)[0]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one of the two ways of comparing found; not `compared`: there was nothing to it."""

    missing: int = 0
    extra: int = 0
    changed: int = 0
    representation_only: int = 0
    cells: tuple[tuple[str, int], ...] = ()
    derived: tuple[tuple[str, int], ...] = ()
    compared: bool = False
