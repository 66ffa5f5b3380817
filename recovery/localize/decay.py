"""Slow corruption: values that went bad from backup to backup while nobody wrote them.

backup of 1 March: 0 rows, 2 March: 14, 3 March: 31, today: 52

Looked for in what each cell held (`courses`): single bits, texts read once more in a wrong
encoding, characters lost, numbers rounded and texts cut again and again, in at least two intervals
between backups. Ordinary work changes values as well. So a column that every writer moves
(`markers`) must have stood still, or the log hold everything; else there must be so many changes,
so alike and so unlike work, that nobody made them, and nothing is safe then. What a person may have
wanted (rounding, cutting) never is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from diffing.model import Schema
from recovery.localize.courses import (
    BITS,
    CUT,
    ENCODED,
    REPLACED,
    ROUNDED,
    lay_out_courses,
)
from recovery.localize.decay_told import asked, with_course
from recovery.localize.markers import kept_by_triggers, learn_markers
from recovery.model import Cause, Event, Fault, FaultClass, Question, StepLog

_ROWS_MIN = 3  # with a witness, or of what no work looks like
_ALIKE_MIN = 8  # without
_NIGHTS_MIN = 2  # intervals in which cells went bad for the first time
_MARKS_MIN = 3  # different bits: one bit alone is what makes a state of another
_SHARE = 0.9  # of all changes of these columns; work would have left others

_CLASS = {
    BITS: FaultClass.STORAGE,
    ENCODED: FaultClass.DOUBLE_ENCODING,
    REPLACED: FaultClass.MANGLED_VALUES,
    ROUNDED: FaultClass.MANGLED_VALUES,
    CUT: FaultClass.MANGLED_VALUES,
}
_NOBODY_WANTS = frozenset({BITS, ENCODED, REPLACED})
_EVIDENT = frozenset({ENCODED, REPLACED})
# Cells whose last changes all are of the sort, what they held before, and who could have seen a
# writer. What a step of the log wrote is not judged here.
_MEMBER = """
CREATE OR REPLACE TEMP TABLE member AS
WITH other AS (
    SELECT c."table", c.key, c."column", max(c.seen) AS last FROM change c
    ANTI JOIN (FROM decayed WHERE sort = $sort) d
      ON d."table" = c."table" AND d.key = c.key AND d."column" = c."column" AND d.seen = c.seen
    GROUP BY ALL),
by_log AS (
    FROM cell WHERE len(t_steps) > 0
        OR len(list_filter(f_steps, lambda one: NOT starts_with(one, '~'))) > 0),
tail AS (
    SELECT c.*, d.mark FROM decayed d JOIN change c USING ("table", key, "column", seen)
    LEFT JOIN other o USING ("table", key, "column")
    WHERE d.sort = $sort AND d."table" = $table AND d.seen > coalesce(o.last, 0)),
found AS (
    SELECT "table", key, "column", min(seen) AS began, arg_min(before, seen) AS good_at,
           arg_min(old, seen) AS good, arg_max(new, seen) AS current, list(seen) AS seens,
           list(mark) AS marks
    FROM tail
    ANTI JOIN by_log USING ("table", key, "column")
    ANTI JOIN unstable USING ("table", "column")
    GROUP BY "table", key, "column"),
moved AS (
    SELECT f."table", f.key, f."column",
           bool_or(list_contains($kept::VARCHAR[], m."column")) AS by_trigger,
           bool_or(list_contains(f.seens, m.seen)) AS meanwhile
    FROM found f JOIN change m ON m."table" = f."table" AND m.key = f.key AND m.seen > f.good_at
    WHERE list_contains($kept, m."column") OR (f."table", f."column", m."column") IN (
        SELECT ("table", "column", marker) FROM learned)
    GROUP BY ALL)
SELECT f.*, CASE
    WHEN m.meanwhile THEN 'moved'
    WHEN len($kept) > 0 AND NOT coalesce(m.by_trigger, false) THEN 'kept'
    WHEN m.key IS NULL AND ("table", "column") IN (SELECT ("table", "column") FROM learned)
        THEN 'learned'
    WHEN $covered AND f.good_at >= (SELECT n FROM state WHERE backup = 'backup') THEN 'log'
    ELSE '' END AS witness
FROM found f LEFT JOIN moved m USING ("table", key, "column")
"""
_COUNT = """
SELECT count(DISTINCT key), count(DISTINCT began),
       (SELECT count(DISTINCT mark) FROM (SELECT unnest(marks) AS mark FROM chosen)),
       count(*), count(*) FILTER (len(seens) > 1), coalesce(sum(len(seens)), 0),
       (SELECT count(*) FROM change WHERE "table" = $table
           AND "column" IN (SELECT "column" FROM chosen))
FROM chosen
"""
_CHOSEN = "CREATE OR REPLACE TEMP TABLE chosen AS SELECT * FROM member WHERE {}"
_WITNESSED = "witness IN ('kept', 'learned', 'log')"
_FREE = "witness <> 'moved'"
_HEARD = """
SELECT count(*) FILTER (NOT fine), count(*) FILTER (fine) FROM complaint c
WHERE EXISTS (FROM chosen m WHERE m."table" = c."table" AND m.key = c.key
              AND c."column" IN ('', m."column"))
"""
_GRADE = """
CASE WHEN NOT $wanted AND (m.witness = 'kept' OR m.witness = 'log' AND $all_told) THEN 'consistent'
     WHEN m.witness NOT IN ('', 'moved') OR s.backup <> 'backup' THEN 'derived' ELSE 'stale' END
"""
_INSERT = f"""
INSERT INTO damage
SELECT m."table", m.key, m."column", $label, $fault, '', $cause,
       CASE WHEN d.key IS NOT NULL THEN d.backup WHEN x.key IS NULL THEN m.current END, m.good,
       m.current, m.good, {_GRADE}, ''
FROM chosen m JOIN state s ON s.n = m.good_at
LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = m."table" AND d.key = m.key
     AND d."column" = m."column"
LEFT JOIN divergence x ON x.kind = 'extra' AND x."table" = m."table" AND x.key = m.key
ANTI JOIN damage a ON a."table" = m."table" AND a.key = m.key AND a."column" IN ('', m."column")
"""
# A fault that has been graded took the newest backup for good that may have been bad already.
_CORRECT = f"""
UPDATE damage SET target = found.good, grade = found.grade FROM (
    SELECT m.*, {_GRADE} AS grade FROM chosen m JOIN state s ON s.n = m.good_at) found
WHERE damage.fault = $fault AND damage.grade IN ('derived', 'stale', 'undecided')
  AND damage."table" = found."table" AND damage.key = found.key
  AND damage."column" = found."column"
"""
_OWNERS = """
SELECT d.fault, count(*) FROM damage d JOIN member m USING ("table", key, "column")
GROUP BY d.fault ORDER BY count(*) DESC, d.fault
"""
# Divergences of a table that neither the history with its faults explains nor any damage is.
_ALL_TOLD = """
SELECT count(*) FROM divergence d
LEFT JOIN cell c USING ("table", key, "column")
LEFT JOIN row r ON r."table" = d."table" AND r.key = d.key
WHERE d."table" = $table
  AND ("table", "column") NOT IN (SELECT ("table", "column") FROM unstable)
  AND (d."table", d.key, d."column") NOT IN (SELECT ("table", key, "column") FROM damage)
  AND (d."table", d.key, d."column") NOT IN (SELECT ("table", key, "column") FROM chosen)
  AND CASE d.kind WHEN 'changed' THEN c.key IS NULL OR c.f IS DISTINCT FROM d.current
      WHEN 'missing' THEN r.key IS NULL OR r.f
      WHEN 'extra' THEN r.key IS NULL OR NOT r.f ELSE true END
"""


@dataclass(frozen=True, slots=True)
class Slow:
    """`faults`: those given, with what backups tell of them. `more`: found here."""

    faults: tuple[Fault, ...]
    more: tuple[Fault, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class _Counts:
    rows: int
    nights: int
    marks: int
    cells: int
    again: int  # cells that went worse more than once
    changes: int
    all_changes: int  # of the same columns


def find_slow(
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    log: StepLog,
    faults: Sequence[Fault],
    *,
    covered: frozenset[str],
    probability: float,
    first: int,
) -> Slow:
    """Add damage that crept in over several backups to `damage`, as faults from F`first` on. The
    target and faulty runs must lie side by side, and complaints be laid out. `covered`: tables of
    which the log says that it holds every change since the backup."""
    if not lay_out_courses(facts, schema):
        return Slow(tuple(faults))
    learn_markers(facts, schema)
    told = {fault.id: fault for fault in faults}
    more: list[Fault] = []
    questions: list[Question] = []
    for table, sort in _places(facts):
        names: dict[str, object] = {
            "table": table,
            "sort": sort,
            "kept": kept_by_triggers(schema, table),
            "covered": table in covered,
        }
        facts.execute(_MEMBER, names)
        owner = _owner(facts, told, sort)
        if _claimed(facts, log, table, sort):
            fault = told[owner] if owner else _fault(f"F{first + len(more)}", sort, probability)
            _put(facts, fault, table, sort)
            fault = with_course(facts, fault, table, sort)
            if owner:
                told[owner] = fault
                continue
            more.append(fault)
            questions += asked(facts, fault, table)
        elif owner and _began(facts, owner):
            told[owner] = with_course(facts, told[owner], table, sort)
            _correct(facts, owner, table, sort)
    return Slow(tuple(told.values()), tuple(more), tuple(questions))


def _places(facts: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Tables and sorts of decay in them: those that tell the most first, so that a cell is
    claimed once."""
    rows = facts.execute('SELECT DISTINCT "table", sort FROM decayed').fetchall()
    order = list(_CLASS)
    order.sort(key=lambda sort: sort not in _EVIDENT)
    return sorted(
        ((str(table), str(sort)) for table, sort in rows),
        key=lambda one: (one[0], order.index(one[1])),
    )


def _owner(facts: duckdb.DuckDBPyConnection, faults: dict[str, Fault], sort: str) -> str:
    """The accepted fault of the same class that has some of these cells."""
    for name, _ in facts.execute(_OWNERS).fetchall():
        fault = faults.get(str(name))
        if fault is not None and fault.accepted and fault.fault_class is _CLASS[sort]:
            return fault.id
    return ""


def _claimed(facts: duckdb.DuckDBPyConnection, log: StepLog, table: str, sort: str) -> bool:
    """Is it more than work? Then `chosen` are the cells."""
    facts.execute(_CHOSEN.format("true"))
    wrong, fine = _two(facts, _HEARD, {})
    if fine > wrong:
        return False
    if sort in _EVIDENT and _enough(_counts(facts, table), _ROWS_MIN):
        return True
    facts.execute(_CHOSEN.format(_FREE))
    free = _counts(facts, table)
    event = sort == BITS and any(
        isinstance(step.action, Event)
        and step.action.kind != "other"
        and (not step.action.tables or table in step.action.tables)
        for step in log.steps
    )
    vouched = wrong > 0 or event
    alike = free.changes >= _SHARE * free.all_changes and (
        free.marks > _MARKS_MIN if sort == BITS else free.again * 2 >= free.cells
    )
    if vouched and _enough(free, _ROWS_MIN) and _varied(free, sort):
        return True
    if alike and _enough(free, _ALIKE_MIN):
        return True
    facts.execute(_CHOSEN.format(_WITNESSED))
    seen = _counts(facts, table)
    return _enough(seen, _ROWS_MIN) and _varied(seen, sort)


def _enough(counts: _Counts, rows: int) -> bool:
    return counts.rows >= rows and counts.nights >= _NIGHTS_MIN


def _varied(counts: _Counts, sort: str) -> bool:
    return sort != BITS or counts.marks >= _MARKS_MIN


def _began(facts: duckdb.DuckDBPyConnection, fault: str) -> bool:
    """Choose the cells of a fault found before; are there any?"""
    facts.execute(
        _CHOSEN.format(
            '("table", key, "column") IN (SELECT ("table", key, "column") FROM damage'
            " WHERE fault = $fault)"
        ),
        {"fault": fault},
    )
    row = facts.execute("SELECT count(*) FROM chosen").fetchone()
    return row is not None and bool(row[0])


def _counts(facts: duckdb.DuckDBPyConnection, table: str) -> _Counts:
    row = facts.execute(_COUNT, {"table": table}).fetchone()
    assert row is not None
    return _Counts(*(int(number) for number in row))


def _two(facts: duckdb.DuckDBPyConnection, query: str, names: dict[str, object]) -> tuple[int, int]:
    row = facts.execute(query, names).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _fault(name: str, sort: str, probability: float) -> Fault:
    cause: Cause = "hardware" if _CLASS[sort] is FaultClass.STORAGE else "unknown"
    return Fault(name, "", _CLASS[sort], (), probability, (), "", cause)


def _put(facts: duckdb.DuckDBPyConnection, fault: Fault, table: str, sort: str) -> None:
    shared = _judgement(facts, table, sort)
    label = "storage" if fault.fault_class is FaultClass.STORAGE else "direct"
    facts.execute(_INSERT, shared | {"fault": fault.id, "label": label, "cause": fault.cause})
    _correct(facts, fault.id, table, sort)


def _correct(facts: duckdb.DuckDBPyConnection, fault: str, table: str, sort: str) -> None:
    facts.execute(_CORRECT, _judgement(facts, table, sort) | {"fault": fault})


def _judgement(facts: duckdb.DuckDBPyConnection, table: str, sort: str) -> dict[str, object]:
    row = facts.execute(_ALL_TOLD, {"table": table}).fetchone()
    return {"wanted": sort not in _NOBODY_WANTS, "all_told": row == (0,)}
