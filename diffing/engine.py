"""Two states in, a closed ledger out, and every divergence as a row of the case database.

Rows are compared as the database's own text. Equal texts are equal; different texts are judged
by `diffing.equality`. What could not be compared is said to be not compared: it never counts as
equal. Memory is bounded, the output is the same at any number of threads.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import duckdb
import psycopg

from diffing import queries
from diffing.layout import Layout, lay_out
from diffing.model import Ledger, Sides, State, Status, Table, TableDiff
from diffing.pairing import Comparison, Export, Found, Input, NotCompared, export, scratch
from diffing.schemas import compare_schemas


class Progress(Protocol):
    """Where a comparison tells how far it is. `total` 0 means unknown."""

    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class LedgerError(Exception):
    """A comparison whose sums do not add up is no comparison: a fault of this program."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to leave out and how much of the machine to use.

    ignore_columns: (table, column) pairs, or `table.column` as one string
    ignore_tables: table names as in `Table.name`; they are reported as not compared
    keys: columns that name the rows of a table that has no key of its own
    memory_bytes: bound of the comparing engine; beyond it, it spills into the workspace
    threads: 0 leaves the number to the engine
    """

    ignore_columns: frozenset[tuple[str, str] | str] = frozenset()
    ignore_tables: frozenset[str] = frozenset()
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    memory_bytes: int = 1 << 30
    threads: int = 0

    def ignored(self, table: Table) -> frozenset[str]:
        """The columns of this table that are left out."""
        return frozenset(
            column.name
            for column in table.columns
            if (table.name, column.name) in self.ignore_columns
            or f"{table.name}.{column.name}" in self.ignore_columns
        )


def compare(
    backup: State,
    current: State,
    facts: duckdb.DuckDBPyConnection,
    *,
    workspace: Path,
    options: Options,
    progress: Progress,
) -> Ledger:
    """Compare every table of either side once.

    `facts` has the relation `divergence`, whose rows are replaced, and no open transaction.
    `workspace` is an existing
    folder: what is put there is removed again, after errors too. A table that fails (server,
    disk, engine) is `not-compared` with the reason. Raises LedgerError when sums do not close, and
    duckdb.InterruptException when it is broken off.
    """
    facts.execute(queries.FORGET_DIVERGENCES)
    ours = {table.name: table for table in backup.schema.tables}
    theirs = {table.name: table for table in current.schema.tables}
    names = sorted(ours.keys() | theirs.keys())
    progress.stage("compare", total=len(names))
    entries: list[TableDiff] = []
    for name in names:
        pair = _Pair(
            name,
            Input(backup, ours[name]) if name in ours else None,
            Input(current, theirs[name]) if name in theirs else None,
        )
        entry = _compare_table(pair, facts, workspace, options)
        if not entry.closes():
            raise LedgerError(f"the ledger of {name} does not close: {entry}")
        if entry.status is Status.NOT_COMPARED:
            progress.note(f"{name}: not compared: {entry.why}")
        entries.append(entry)
        progress.advance()
    return Ledger(tuple(entries), compare_schemas(backup.schema, current.schema))


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    backup: Input | None
    current: Input | None


def _compare_table(
    pair: _Pair, facts: duckdb.DuckDBPyConnection, workspace: Path, options: Options
) -> TableDiff:
    tables = [side.table for side in (pair.backup, pair.current) if side is not None]
    ignored = frozenset[str]().union(*(options.ignored(table) for table in tables))
    layout = lay_out(
        pair.backup.table if pair.backup else None,
        pair.current.table if pair.current else None,
        ignored=ignored,
        declared=tuple(options.keys.get(pair.name, ())),
    )
    if pair.name in options.ignore_tables:
        return _not_compared(pair, layout, "ignored on request", Sides())
    unloaded = _unloaded(pair)
    if unloaded:
        return _not_compared(pair, layout, unloaded, Sides())
    try:
        folder = Path(tempfile.mkdtemp(prefix="compare-", dir=workspace))
    except OSError as error:
        return _not_compared(pair, layout, _reason(error), Sides())
    try:
        found = _find(export(folder, layout, pair.backup, pair.current), options)
        _keep(pair.name, found, facts)
    except NotCompared as refusal:
        return _not_compared(pair, layout, refusal.why, refusal.rows)
    except duckdb.InterruptException:  # somebody stops the program: nothing is wrong with the table
        raise
    except (psycopg.Error, duckdb.Error, OSError) as error:
        return _not_compared(pair, layout, _reason(error), Sides())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _entry(pair, layout, found, ignored)


def _find(exported: Export, options: Options) -> Found:
    if exported.same_bytes():
        return Found(rows=exported.rows, same=exported.rows.backup)
    with scratch(exported.folder, options.memory_bytes, options.threads) as connection:
        return Comparison(connection, exported, options.memory_bytes).run()


def _unloaded(pair: _Pair) -> str:
    """Why rows of a side could not be had, '' when they can be."""
    return "; ".join(
        f"{side}: {source.state.unloaded[pair.name]}"
        for side, source in (("backup", pair.backup), ("current", pair.current))
        if source is not None and pair.name in source.state.unloaded
    )


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"


def _not_compared(pair: _Pair, layout: Layout, why: str, rows: Sides) -> TableDiff:
    return TableDiff(
        table=pair.name,
        key=layout.key.columns,
        status=Status.NOT_COMPARED,
        why=why,
        rows=rows,
        unknown=rows,
        duplicates_scope=_scope(layout),
    )


def _keep(table: str, found: Found, facts: duckdb.DuckDBPyConnection) -> None:
    """Put the divergences into the case database: all of them, or none."""
    expected = sum(count for _, count in found.cells) + found.missing + found.extra
    kept = 0
    facts.begin()
    try:
        for files in found.result:
            names = [str(file) for file in files]
            row = facts.execute(queries.KEEP_RESULT, [table, names]).fetchone()
            kept += row[0] if row else 0
        if kept != expected:
            raise LedgerError(f"{table}: {expected} divergences were counted, {kept} were stored")
    except BaseException:
        facts.rollback()
        raise
    facts.commit()


def _entry(pair: _Pair, layout: Layout, found: Found, ignored: frozenset[str]) -> TableDiff:
    absent = pair.backup is None or pair.current is None
    differs = absent or found.changed or found.missing or found.extra
    return TableDiff(
        table=pair.name,
        key=layout.key.columns,
        status=Status.DIFFERENT if differs else Status.IDENTICAL,
        why="; ".join(_remarks(pair, layout, found, ignored)),
        rows=found.rows,
        same=found.same,
        changed=found.changed,
        missing=found.missing,
        extra=found.extra,
        cells=found.cells,
        representation_only=found.representation_only,
        duplicates=Sides(
            found.shared_keys.backup + found.null_keys.backup,
            found.shared_keys.current + found.null_keys.current,
        ),
        duplicates_scope=_scope(layout),
    )


def _scope(layout: Layout) -> Literal["all", "leftovers"]:
    return "leftovers" if layout.unique else "all"


def _remarks(pair: _Pair, layout: Layout, found: Found, ignored: frozenset[str]) -> list[str]:
    """What a reader must know to understand the numbers, as sentences."""
    said: list[str] = []
    if pair.backup is None:
        said.append("the table is not in the backup")
    if pair.current is None:
        said.append("the table is not in the current state")
    if not layout.key.columns:
        said.append("no key: rows compared as a multiset")
    for words, sides in (
        ("keys held by several rows", found.shared_keys),
        ("rows with NULL in the key", found.null_keys),
    ):
        if sides != Sides():
            said.append(f"{words}: {sides.backup} in the backup, {sides.current} in the current")
    if ignored:
        said.append("ignored columns: " + ", ".join(sorted(ignored)))
    one_sided = (*layout.backup_rest, *layout.current_rest)
    if one_sided:
        said.append("columns of one side only: " + ", ".join(one_sided))
    if found.derived:
        cells = ", ".join(f"{name} ({count})" for name, count in found.derived)
        said.append("derived columns that differ: " + cells)
    return said
