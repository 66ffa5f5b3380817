"""Which tables the log holds every change of, by what it says and by what is there."""

from collections.abc import Mapping

import duckdb

from diffing.model import Schema
from recovery.model import Event, Outcome, Replay, StepLog

_UNEXPLAINED = """
SELECT d."table", d."column", count(*) FROM divergence d
LEFT JOIN cell c ON c."table" = d."table" AND c.key = d.key AND c."column" = d."column"
LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
LEFT JOIN row r ON r."table" = d."table" AND r.key = d.key
WHERE u."column" IS NULL AND CASE d.kind
    WHEN 'changed' THEN c.key IS NULL OR c.f IS DISTINCT FROM d.current
    WHEN 'missing' THEN r.key IS NULL OR r.f
    WHEN 'extra' THEN r.key IS NULL OR NOT r.f ELSE true END
GROUP BY ALL
"""


def covered(
    log: StepLog, base: Replay, schema: Schema, *, faults: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Tables for which the log says that it is complete; every step could be replayed and
    captured. A suspect step in prose is no gap when it is one of the `faults`: what should have
    been is without it, whatever it did."""
    outcomes = {outcome.step: outcome for outcome in base.outcomes}
    excepted: set[str] = set(base.blind)
    for step in log.steps:
        if isinstance(step.action, Event):
            excepted |= set(step.action.tables)
            continue
        told = outcomes[step.id]
        blamed = step.suspect and step.id in faults and step.action is None
        if not blamed and (told.outcome is Outcome.NOT_REPLAYED or not told.complete):
            return frozenset()
    return frozenset(
        table.name
        for table in schema.tables
        if log.covers(table.name) and table.name not in excepted
    )


def unexplained(facts: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Tables that hold something that no step of the log explains, the faults included."""
    return frozenset(table for table, _ in unexplained_cells(facts))


def unexplained_cells(facts: duckdb.DuckDBPyConnection) -> Mapping[tuple[str, str], int]:
    """How many cells of each table and column no step explains, the faults included; rows count
    under the column ''."""
    rows = facts.execute(_UNEXPLAINED).fetchall()
    return {(str(table), str(column)): int(count) for table, column, count in rows}


def held_whole(
    log: StepLog,
    base: Replay,
    schema: Schema,
    facts: duckdb.DuckDBPyConnection,
    *,
    faults: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """Covered tables, as far as nothing in the current state contradicts that."""
    return covered(log, base, schema, faults=faults) - unexplained(facts)
