"""What is said about damage that crept in over several backups: how it grew, since when, and the
question whether it was wanted. About the relation `chosen`, the cells in question."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import duckdb

from recovery.localize.courses import BITS, CUT, ENCODED, REPLACED, ROUNDED, taken
from recovery.messages import marked, message
from recovery.model import Alternative, Fault, Question

_TOLD = {
    BITS: marked(
        "Rows of {table} with values that are wrong in a single bit, backup by backup: {course};"
        " today {today}"
    ),
    ENCODED: marked(
        "Rows of {table} with texts read in a wrong encoding, backup by backup: {course}; today"
        " {today}"
    ),
    REPLACED: marked(
        "Rows of {table} with characters lost, backup by backup: {course}; today {today}"
    ),
    ROUNDED: marked(
        "Rows of {table} with numbers rounded, backup by backup: {course}; today {today}"
    ),
    CUT: marked("Rows of {table} with texts cut off, backup by backup: {course}; today {today}"),
}
_COURSE = """
SELECT s.n, (SELECT count(DISTINCT key) FROM chosen WHERE began <= s.n) FROM state s ORDER BY s.n
"""
_STILL = """
SELECT count(*) FILTER (witness IN ('kept', 'learned')), count(*) FROM chosen
"""
_UNSURE = """
SELECT count(*), count(DISTINCT key) FROM damage WHERE fault = $fault AND grade <> 'consistent'
"""


def with_course(facts: duckdb.DuckDBPyConnection, fault: Fault, table: str, sort: str) -> Fault:
    """The fault with when it began and how it grew."""
    times = taken(facts)
    grown = {int(n): int(count) for n, count in facts.execute(_COURSE).fetchall()}
    began = min(n for n, count in grown.items() if count)
    after, before = times[began - 1], times[began]
    *backups, now = sorted(grown)
    told = message(
        _TOLD[sort],
        table=table,
        course=", ".join(f"{_day(times[n])}: {grown[n]}" for n in backups),
        today=grown[now],
    )
    parameters = (("table", table), ("sort", sort), ("after", after), ("before", before))
    known = {name for name, _ in fault.parameters}
    return replace(
        fault,
        parameters=(
            *fault.parameters,
            *((name, value) for name, value in parameters if value and name not in known),
        ),
        evidence=(*fault.evidence, told, _when(after, before), *_still(facts)),
    )


def _when(after: str, before: str) -> str:
    since = datetime.fromisoformat(after)
    if not before:
        return message("It began after {after}", after=since)
    until = datetime.fromisoformat(before)
    return message("It began after {after} and before {before}", after=since, before=until)


def _still(facts: duckdb.DuckDBPyConnection) -> Iterator[str]:
    row = facts.execute(_STILL).fetchone()
    assert row is not None
    still, cells = int(row[0]), int(row[1])
    if still:
        yield message(
            "Of {cells} of these values, {still} are in rows in which a column that every writer"
            " moves has stood still",
            cells=cells,
            still=still,
        )


def _day(moment: str) -> str:
    return moment[:16].replace("T", " ")


def asked(facts: duckdb.DuckDBPyConnection, fault: Fault, table: str) -> Iterator[Question]:
    """Was it wanted? Not asked where something shows that nobody wrote the values."""
    row = facts.execute(_UNSURE, {"fault": fault.id}).fetchone()
    assert row is not None
    cells, rows = int(row[0]), int(row[1])
    if cells:
        yield Question(
            f"{fault.id}-meant",
            message(
                "{n} values of {table} went bad from backup to backup, and nothing shows that"
                " nobody wrote them. Was that wanted?",
                n=cells,
                table=table,
            ),
            (
                Alternative(message("It was wanted"), message("They stay as they are"), 0),
                Alternative(
                    message("It was a mistake"),
                    message("{n} cells go back to the last good value that a backup has", n=cells),
                    rows,
                ),
            ),
            rows,
        )
