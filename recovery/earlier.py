"""Other backups of the same database, beside the one that the step log starts from: where their
rows differ from it. They give last good values, and show damage that crept in over several backups.

The relations are described in `recovery/case/facts.py`. Only differences are kept, so that five
backups cost five comparisons and hardly any room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from diffing.documents import write_parquet
from diffing.engine import Options, compare
from diffing.model import Ledger, State, Status
from recovery.case.facts import open_facts
from recovery.case.result import Json
from recovery.model import Progress

_FORGET = ("earlier", "earlier_told", "earlier_backup")
_KEEP = """
INSERT INTO earlier SELECT ?, "table", key, "column", current, backup FROM read_parquet(?)
WHERE kind IN ('changed', 'missing', 'extra') AND list_contains(?::VARCHAR[], "table")
"""


@dataclass(frozen=True, slots=True)
class Other:
    """One backup, loaded. `name` as in the manifest: backup-2 and on."""

    name: str
    state: State
    taken_at: datetime | None


def compare_others(
    base: Other,
    others: tuple[Other, ...],
    facts: duckdb.DuckDBPyConnection,
    *,
    workspace: Path,
    progress: Progress,
) -> Mapping[str, Ledger]:
    """Fill `earlier`, `earlier_told` and `earlier_backup`; one ledger per other backup. A table
    that could not be compared is in the ledger with the reason, and not in `earlier_told`."""
    for relation in _FORGET:
        facts.execute(f"DELETE FROM {relation}")
    for one in (base, *others):
        when = one.taken_at.astimezone(UTC).isoformat() if one.taken_at else None
        facts.execute("INSERT INTO earlier_backup VALUES (?, ?)", [one.name, when])
    return {one.name: _compare(base, one, facts, workspace, progress) for one in others}


def _compare(
    base: Other, other: Other, facts: duckdb.DuckDBPyConnection, workspace: Path, progress: Progress
) -> Ledger:
    place, rows = workspace / f"{other.name}.duckdb", workspace / f"{other.name}.parquet"
    try:
        with open_facts(place) as own:
            ledger = compare(
                base.state,
                other.state,
                own,
                workspace=workspace,
                options=Options(),
                progress=progress,
            )
            write_parquet(own, rows)
        facts.execute(_KEEP, [other.name, str(rows), _common(base, other)])
    finally:
        place.unlink(missing_ok=True)
        rows.unlink(missing_ok=True)
    _keep_told(base, other, ledger, facts)
    return ledger


def _common(base: Other, other: Other) -> list[str]:
    """A table that one of them does not have was not there then: that tells of no row."""
    theirs = {table.name for table in other.state.schema.tables}
    return [table.name for table in base.state.schema.tables if table.name in theirs]


def _keep_told(base: Other, other: Other, ledger: Ledger, facts: duckdb.DuckDBPyConnection) -> None:
    columns = {
        table.name: {column.name for column in table.columns} for table in other.state.schema.tables
    }
    told_whole = (Status.IDENTICAL, Status.DIFFERENT)
    compared = {one.table for one in ledger if one.status in told_whole}
    for table in base.state.schema.tables:
        if table.name not in compared or table.name not in columns:
            continue
        there = columns[table.name]
        told = ["", *(column.name for column in table.columns if column.name in there)]
        facts.execute(
            "INSERT INTO earlier_told SELECT ?, ?, unnest(?::VARCHAR[])",
            [other.name, table.name, told],
        )


def earlier_json(others: tuple[Other, ...], ledgers: Mapping[str, Ledger]) -> Mapping[str, Json]:
    """Fields of earlier.json: counts and names, never values (it is kept when a case is closed)."""
    return {"backups": [_entry(other, ledgers[other.name]) for other in others]}


def _entry(other: Other, ledger: Ledger) -> Mapping[str, Json]:
    there = {table.name for table in other.state.schema.tables}
    return {
        "name": other.name,
        "tables": [
            {
                "table": table.table,
                "there": table.table in there,
                "status": str(table.status),
                "changed": table.changed,
                "missing": table.missing,
                "extra": table.extra,
            }
            for table in ledger
            if table.status is not Status.IDENTICAL
        ],
    }
