"""Is this evidence what it is said to be? Warnings that every output repeats, and the refusal to
compare two different databases."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import duckdb

from diffing.model import Ledger, Schema
from recovery.case.folder import CaseFolder
from recovery.messages import message
from recovery.model import EngineError, Evidence, Exit, StepLog

_SAME_TABLES_SHARE = 0.5


def about_times(evidence: Sequence[Evidence], log: StepLog) -> tuple[str, ...]:
    """What the sources say of their own age, beside the step log."""
    taken = {one.role: one.taken_at for one in evidence if one.taken_at}
    warnings = []
    if "backup" in taken and "current" in taken and taken["backup"] > taken["current"]:
        warnings.append(
            message(
                "The backup was taken at {backup}, after the current data ({current}): are they"
                " swapped?",
                backup=taken["backup"],
                current=taken["current"],
            )
        )
    early = [
        step.id
        for step in log.steps
        if step.at and "backup" in taken and (step.until or step.at) < taken["backup"]
    ]
    if early:
        warnings.append(
            message(
                "Steps {steps} are older than the backup: what they did is in it already",
                steps=", ".join(early),
            )
        )
    return tuple(warnings)


def about_order(backup: Schema, current: Schema, ledger: Ledger) -> tuple[str, ...]:
    """Numbers that only grow: when none is ahead and some are behind, the two are swapped, or an
    older state was restored over a newer one."""
    now = {sequence.name: sequence.last_value for sequence in current.sequences}
    pairs = [
        (sequence.last_value, now[sequence.name])
        for sequence in backup.sequences
        if sequence.name in now
    ]
    warnings = []
    if any(then > later for then, later in pairs) and not any(
        then < later for then, later in pairs
    ):
        warnings.append(
            message(
                "The current data is behind the backup in every number that only grows: are the"
                " two swapped, or was an older copy restored?"
            )
        )
    kept = sum(table.same + table.changed for table in ledger)
    rows = sum(table.rows.backup for table in ledger)
    if rows >= 100 and kept * 10 < rows:
        warnings.append(
            message(
                "Fewer than one row in ten of the backup is in the current data: is it the same"
                " database?"
            )
        )
    return tuple(warnings)


def require_same_database(
    backup: Collection[str], current: Collection[str], path: Path | None
) -> None:
    """Raises EngineError(UNUSABLE) when the two have hardly a table (named here) in common."""
    ours, theirs = set(backup), set(current)
    if not ours or not theirs:
        side = "backup" if not ours else "current data"
        raise EngineError(
            Exit.UNUSABLE,
            f"the {side} has no tables",
            where=str(path or ""),
            hint="ask for the file again",
        )
    common = ours & theirs
    if len(common) < _SAME_TABLES_SHARE * min(len(ours), len(theirs)):
        raise EngineError(
            Exit.UNUSABLE,
            f"the current data is of another database: it has {len(theirs)} tables, the backup"
            f" has {len(ours)}, and {len(common)} have the same name",
            where=str(path or ""),
            hint="check which file belongs to which customer",
        )


def tables_that_differ(ledger: Ledger) -> frozenset[str]:
    """Tables whose columns are not the same on both sides."""
    names = {table.table for table in ledger}
    return frozenset(
        name
        for one in ledger.schema
        if one.kind in ("table", "column")
        for name in names
        if one.name == name or one.name.startswith(f"{name}.")
    )


def rows_only_in_current(
    facts: duckdb.DuckDBPyConnection,
) -> Mapping[str, tuple[Mapping[str, str | None], ...]]:
    """Per table, the rows that the backup does not have."""
    found: dict[str, list[Mapping[str, str | None]]] = {}
    rows = facts.execute(
        "SELECT \"table\", current FROM divergence WHERE kind = 'extra'"
        ' ORDER BY "table", length(key), key'
    )
    while some := rows.fetchmany(10_000):
        for table, row in some:
            found.setdefault(str(table), []).append(json.loads(row))
    return {table: tuple(extras) for table, extras in found.items()}


def write_damage(facts: duckdb.DuckDBPyConnection, case: CaseFolder) -> None:
    """damage.parquet, in a stable order."""
    with case.writing("damage.parquet") as path:
        facts.execute(
            "COPY (SELECT * FROM damage ORDER BY ALL) TO $path (FORMAT parquet)",
            {"path": str(path)},
        )
