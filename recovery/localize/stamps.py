"""Moments that many rows bear and that no act of the history gave them: something that nobody wrote
down has written these rows, and a touched-at column kept its time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from recovery.localize.cells import TOLERANCE_SECONDS
from recovery.localize.scene import Scene

_ROWS_MIN = 3  # fewer could bear one moment for many reasons

# A moment to the microsecond that, up to the tolerance of the log's clock, no act wrote.
_STAMPS = """
WITH times AS (
    SELECT "table", "column", current, list(key ORDER BY length(key), key) AS keys,
           epoch_us(try_cast(split_part(current, '+', 1) AS TIMESTAMP)) AS moment
    FROM divergence
    WHERE kind = 'changed' AND list_contains($columns::VARCHAR[], "table" || chr(31) || "column")
      AND contains(current, '.')
    GROUP BY ALL HAVING count(*) >= $least)
SELECT "table", "column", current, keys FROM times t
WHERE moment IS NOT NULL AND NOT EXISTS (
    FROM effect e WHERE e.run = $run AND e."table" = t."table" AND e."column" = t."column"
     AND abs(epoch_us(try_cast(split_part(e.new, '+', 1) AS TIMESTAMP)) - t.moment) <= $tolerance)
ORDER BY len(keys) DESC, "table", "column", current
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """These rows (keys as everywhere) bear this moment in this column."""

    table: str
    column: str
    at: datetime
    keys: tuple[str, ...]


def stamps(scene: Scene) -> Iterator[Stamp]:
    """Those of the most rows first."""
    columns = [
        f"{table.name}\x1f{column.name}"
        for table in scene.schema.tables
        for column in table.columns
        if column.type.startswith("timestamp") and table.key.columns
    ]
    for table, column, moment, keys in scene.facts.execute(
        _STAMPS,
        {
            "columns": columns,
            "least": _ROWS_MIN,
            "run": scene.base.run,
            "tolerance": TOLERANCE_SECONDS * 1_000_000,
        },
    ).fetchall():
        try:
            at = datetime.fromisoformat(str(moment))
        except ValueError:
            continue
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        yield Stamp(str(table), str(column), at, tuple(str(key) for key in keys))
