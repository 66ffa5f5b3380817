"""time-shift: times were moved by a constant, as if read in another time zone; dates by a day.

was: created_at 2026-03-01 21:00   due 2026-03-02
is:  created_at 2026-03-02 00:00   due 2026-03-03

Work on purpose moves times too: all appointments are put off by a day. Nobody puts off the moment
at which a row was made, though, and nobody puts off by an hour more in summer. What has no such
sign is claimed only when people say that it is wrong.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from diffing.model import Column, Table
from recovery.localize.batches import candidates, cells_told, overlap, parameters, vouched
from recovery.localize.hypothesis import Candidate, Hypothesis, in_one_column
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.transforms import (
    ROWS_MIN,
    WORK_MIN,
    Batch,
    Change,
    batch,
    cell,
    is_time,
    look,
    typed,
    unsteady,
)
from recovery.messages import message
from recovery.model import FaultClass, Variant

_HOUR, _DAY = 3600, 86400
_FAR = 26 * _HOUR  # zones are not farther apart
_SEASON_MIN = 2  # rows that must speak for each of two seasons
_OFFSETS_MAX = 4
# Zones with a summer time, by their hours before UTC in winter. Where winter is UTC itself, only
# one difference is to be seen: that is no sign.
_ZONES = {
    0: ("Europe/London",),
    1: ("Europe/Berlin",),
    2: ("Europe/Helsinki",),
    3: ("Europe/Moscow",),
    5: ("Asia/Yekaterinburg",),
    10: ("Australia/Sydney",),
    -4: ("America/Halifax",),
    -5: ("America/New_York",),
    -6: ("America/Chicago",),
    -7: ("America/Denver",),
    -8: ("America/Los_Angeles",),
}
# Columns that a program fills in when a row is made, by their default or their name.
_FILLED_IN = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp)\(|\bcurrent_(date|time)"
    r"|\blocaltimestamp",
    re.IGNORECASE,
)
_RECORD = re.compile(r"creat|insert", re.IGNORECASE)

# Cells that have changed, and by how many seconds. What is unstable is in no residue.
_OFFSETS = """
WITH cells AS (
    SELECT "table", "column", predicted, current FROM residue WHERE kind = 'changed'
    UNION ALL
    SELECT d."table", d."column", d.backup, d.current FROM divergence d
    JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
    ANTI JOIN finals f ON f."table" = d."table" AND f.key = d.key AND f."column" = d."column"
    WHERE d.kind = 'changed'),
moments AS (
    SELECT "table", "column",
           try_cast(regexp_replace(current, '(:[0-9.]+)[+-][0-9:]+$', '\\1') AS TIMESTAMP) AS now,
           try_cast(regexp_replace(predicted, '(:[0-9.]+)[+-][0-9:]+$', '\\1')
                AS TIMESTAMP) AS former
    FROM cells),
moved AS (
    SELECT "table", "column", epoch_us(now)::HUGEINT - epoch_us(former)::HUGEINT AS away
    FROM moments WHERE isfinite(now) AND isfinite(former))
SELECT "table", "column", (away // 1000000)::BIGINT AS seconds, count(*) FROM moved
WHERE away <> 0 AND away % 1800000000 = 0 AND abs(away) <= $far::BIGINT * 1000000
GROUP BY ALL ORDER BY count(*) DESC, "table", "column", seconds
"""


@dataclass(frozen=True, slots=True)
class Shift:
    """By so many seconds; with a zone, by the hours that it is away from UTC in each season:
    `seconds` is 1 from UTC to its time, -1 from its time to UTC."""

    seconds: int
    zone: str = ""

    def __str__(self) -> str:
        if self.zone:
            return f"UTC → {self.zone}" if self.seconds > 0 else f"{self.zone} → UTC"
        hours, minutes = divmod(abs(self.seconds) // 60, 60)
        return f"{'+' if self.seconds > 0 else '-'}{hours:02}:{minutes:02}"

    @property
    def whole_days(self) -> bool:
        return not self.zone and self.seconds % _DAY == 0

    def expression(self, column: Column) -> sql.Composable:
        value = cell(column)
        if column.type == "date":
            days = self.seconds // _DAY or (1 if self.seconds > 0 else -1)
            return sql.SQL("{} + {}").format(value, sql.Literal(days))
        if not self.zone:
            interval = sql.Literal(f"{self.seconds} seconds")
            return sql.SQL("{} + interval {}").format(value, interval)
        # A moment goes by way of the clock of one place, a clock's time by way of the moment.
        places = [sql.Literal("UTC"), sql.Literal(self.zone)]
        if (self.seconds > 0) == (column.family == "timestamptz"):
            places.reverse()
        return sql.SQL("({} AT TIME ZONE {}) AT TIME ZONE {}").format(value, *places)


def ask(scene: Scene) -> Iterator[Variant]:
    for change, _ in _changes(scene):
        yield look(change)


def propose(scene: Scene) -> Iterator[Candidate]:
    by_shift: dict[Shift, list[Batch]] = {}
    for change, shift in _changes(scene):
        found = batch(scene, change)
        if found is not None:
            by_shift.setdefault(shift, []).append(found)
    for shift, batches in _likeliest_first(by_shift):
        chosen = _claimed(scene, shift, batches)
        if chosen:
            known = frozenset(one.change.column.name for one in chosen)
            told_there = parameters(chosen)
            yield from candidates(scene, FaultClass.TIME_SHIFT, chosen, told_there, known)


def told(candidate: Candidate, score: Score) -> str:
    how = {
        value.partition(";")[0]
        for name, value in candidate.parameters
        if name not in ("rows", "cells")
    }
    return message(
        "{hits} times are moved by the same difference ({how}), over a whole batch of rows",
        hits=cells_told(candidate),
        how=", ".join(sorted(one for one in how if ":" in one or "UTC" in one)),
    )


def _changes(scene: Scene) -> Iterator[tuple[Change, Shift]]:
    offsets: dict[tuple[str, str], dict[int, int]] = {}
    for name, label, seconds, count in scene.facts.execute(_OFFSETS, {"far": _FAR}).fetchall():
        offsets.setdefault((str(name), str(label)), {})[int(seconds)] = int(count)
    common = _common(offsets)
    for (name, label), counts in sorted(offsets.items()):
        table = scene.schema.table(name)
        column = table.column(label)
        if not table.key.columns or column.generated or not is_time(column):
            continue
        for shift in _shifts(column, counts, common):
            value = typed(column, shift.expression(column))
            yield Change(table, column, str(shift), value, unsteady(scene, table)), shift


def _common(offsets: dict[tuple[str, str], dict[int, int]]) -> Sequence[int]:
    """Differences that occur most, over all columns."""
    total: dict[int, int] = {}
    for counts in offsets.values():
        for seconds, count in counts.items():
            total[seconds] = total.get(seconds, 0) + count
    ranked = sorted(total, key=lambda seconds: (-total[seconds], seconds))
    return [seconds for seconds in ranked if total[seconds] >= ROWS_MIN][:_OFFSETS_MAX]


def _shifts(column: Column, counts: dict[int, int], common: Sequence[int]) -> Iterator[Shift]:
    if column.type == "date":
        # A day may be what hours make of a date that begins at midnight.
        for seconds in common:
            days = seconds if seconds % _DAY == 0 else _DAY if seconds > 0 else -_DAY
            if counts.get(days, 0) >= ROWS_MIN:
                yield Shift(seconds)
        return
    for seconds in common:
        if counts.get(seconds, 0) >= ROWS_MIN:
            yield Shift(seconds)
    for winter, zones in _ZONES.items():
        for sign in (1, -1):
            both = (sign * winter * _HOUR, sign * (winter + 1) * _HOUR)
            seen = [counts.get(seconds, 0) for seconds in both if seconds]
            if min(seen) >= _SEASON_MIN:
                yield from (Shift(sign, zone) for zone in zones)


def _likeliest_first(
    by_shift: dict[Shift, list[Batch]],
) -> Sequence[tuple[Shift, Sequence[Batch]]]:
    return sorted(
        by_shift.items(), key=lambda one: (-sum(found.hits for found in one[1]), str(one[0]))
    )


def _claimed(scene: Scene, shift: Shift, batches: Sequence[Batch]) -> Sequence[Batch]:
    """What people speak of, and what bears the sign of a shift that nobody wanted, with what was
    moved along with it."""
    said = [one for one in batches if vouched(scene, [one.change])]
    signs = [one for one in batches if _sign(one, shift)]
    if shift.whole_days and len(signs) == len(batches) == 1:
        signs = []
    sure = [one for one in batches if one in said or one in signs]
    return [one for one in batches if one in sure or _along(scene, one, sure)]


def _sign(one: Batch, shift: Shift) -> bool:
    if shift.zone:
        return one.hits >= WORK_MIN and shift.zone not in _ZONES[0]
    return one.described and one.hits >= WORK_MIN and nobody_edits(one.change.column)


def nobody_edits(column: Column) -> bool:
    """A program fills it in when the row is made."""
    return bool(_FILLED_IN.search(column.default) or _RECORD.search(column.name))


def _along(scene: Scene, one: Batch, sure: Sequence[Batch]) -> bool:
    """The same rows of the same table, or all rows of another."""
    table: Table = one.change.table
    beside = [other for other in sure if other.change.table == table]
    if beside:
        return any(overlap(scene, one.change, other.change) > 0.5 for other in beside)
    return bool(sure) and one.rows == "all" and one.hits >= WORK_MIN


HYPOTHESIS = Hypothesis(FaultClass.TIME_SHIFT, propose, told, ask, on_purpose=in_one_column)
