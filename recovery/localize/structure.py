"""Damage of the structure itself: what is gone from it, and counters that will give numbers again.

Read off the two catalogs, no supposition has to be tried: an object is there or it is not. Whether
it was removed on purpose only a person can say, unless a step of the log tells of it. A counter
that stands behind the numbers already given is a fact, and a fault when it was not so in the
backup.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from diffing.model import Ledger, Schema, SchemaDivergence
from recovery.localize.testimony import points_at
from recovery.messages import message
from recovery.model import Alternative, Fault, FaultClass, Question, Sql, Step, StepLog

CLASSES = (FaultClass.DROPPED_OBJECT, FaultClass.SEQUENCE_BEHIND)
_NAMES_MAX = 10
EMPTIED_ROWS_MIN = 5  # a table of fewer rows may well have been emptied row by row

_EMPTIED = """
SELECT d."table", count(*) AS rows FROM divergence d
WHERE d.kind = 'missing'
  AND (d."table", d.key, '') NOT IN (SELECT ("table", key, "column") FROM damage)
  AND (d."table", d.key) NOT IN (SELECT ("table", key) FROM row WHERE NOT f)
GROUP BY d."table"
HAVING count(*) >= $least
   AND count(*) = (SELECT rows FROM sizes s WHERE s."table" = d."table")
ORDER BY d."table"
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """A counter that will give numbers that are there already."""

    sequence: str
    table: str
    column: str
    next: int
    highest: int


def gone(
    ledger: Ledger,
    log: StepLog,
    schema: Schema,
    *,
    first: int,
    taken: frozenset[str] = frozenset(),
) -> Iterator[Fault]:
    """What the backup's structure (`schema`) has and the current one has not, and no step removed:
    a fault for each table, for the columns of each table, and one for all else. Named from
    F`first`. A step in words that the customer suspects, and that is not `taken` by another fault,
    is what it is laid to."""
    lost = [one for one in ledger.schema if one.backup and not one.current]
    unsaid = [one for one in lost if not _told_of(one, log)]
    tables = [one.name for one in unsaid if one.kind == "table"]
    rest = [one for one in unsaid if one.kind != "table" and not _of(one, tables)]
    columns: dict[str, list[str]] = {}
    for one in rest:
        if one.kind == "column":
            table, _, column = one.name.rpartition(".")
            columns.setdefault(table, []).append(column)
    others = [f"{one.kind} {one.name}" for one in rest if one.kind != "column"]
    found: list[tuple[tuple[tuple[str, str], ...], str, Step | None]] = []
    suspects = [one for one in log.steps if one.suspect and one.id not in taken]
    for table in tables:
        told = message(
            "The table {table} is in the backup and not in the current data", table=table
        )
        step = _suspected(suspects, schema, table)
        found.append(((("table", table),), told, step))
    for table, names in columns.items():
        shown = ", ".join(names[:_NAMES_MAX])
        told = message(
            "Columns of {table} are in the backup and not in the current data: {columns}",
            table=table,
            columns=shown,
        )
        step = _suspected(suspects, schema, table, names)
        found.append(((("table", table), ("columns", shown)), told, step))
    if others:
        shown = ", ".join(others[:_NAMES_MAX])
        told = message(
            "{n} parts of the structure are in the backup and not in the current data, among"
            " them: {names}",
            n=len(others),
            names=shown,
        )
        found.append(((("objects", shown),), told, _suspected(suspects, schema)))
    for number, (parameters, told, step) in enumerate(found, first):
        yield Fault(
            f"F{number}",
            step.id if step else "",
            FaultClass.DROPPED_OBJECT,
            parameters,
            1.0,
            (told,),
            "",
            "user" if step and step.actor else "unknown",
        )


def behind(counters: Sequence[Behind], *, first: int) -> Iterator[Fault]:
    """A fault for each counter. Named from F`first`."""
    for number, one in enumerate(counters, first):
        yield Fault(
            f"F{number}",
            "",
            FaultClass.SEQUENCE_BEHIND,
            (
                ("sequence", one.sequence),
                ("next", str(one.next)),
                ("highest", str(one.highest)),
            ),
            1.0,
            (
                message(
                    "The counter {sequence} will give {next} next, but {table}.{column} holds"
                    " numbers up to {highest}; in the backup it was ahead of them",
                    sequence=one.sequence,
                    next=str(one.next),
                    table=one.table,
                    column=one.column,
                    highest=str(one.highest),
                ),
            ),
            "",
        )


def on_purpose(faults: Sequence[Fault]) -> Iterator[Question]:
    """Was it removed on purpose? Who suspects the step has said that it was not."""
    for fault in faults:
        if fault.fault_class is FaultClass.DROPPED_OBJECT and not fault.step:
            yield Question(
                f"{fault.id}-dropped",
                message(
                    "Was this removed on purpose: {names}?",
                    names=", ".join(value for _, value in fault.parameters),
                ),
                (
                    Alternative(message("Yes"), message("It stays removed"), 0),
                    Alternative(message("No"), message("It has to be made again"), 0),
                ),
                0,
            )


def emptied(facts: duckdb.DuckDBPyConnection, *, first: int) -> Iterator[tuple[Fault, Question]]:
    """Tables of which no row is left that should be there, and no fault explains it: as likely a
    mistake as not, so listed, not claimed, and asked about. Numbered from F`first`."""
    rows = facts.execute(_EMPTIED, {"least": EMPTIED_ROWS_MIN}).fetchall()
    for number, (table, count) in enumerate(rows):
        said = message(
            "{table} had {n} rows; none of them is there now, and no step says so. Was it"
            " emptied on purpose?",
            table=str(table),
            n=int(count),
        )
        fault = Fault(
            f"F{first + number}",
            "",
            FaultClass.TRUNCATED_TABLE,
            (("table", str(table)),),
            0.5,
            (message("None of the {n} rows of {table} is there", n=int(count), table=str(table)),),
            "",
            accepted=False,
        )
        yield fault, _emptied_on_purpose(f"E{number + 1}", said, int(count))


def _emptied_on_purpose(name: str, said: str, rows: int) -> Question:
    return Question(
        name,
        said,
        (
            Alternative(message("Yes"), message("It stays as it is"), 0),
            Alternative(
                message("No"),
                message("Write a complaint about one of its rows, and assess again"),
                rows,
            ),
        ),
        rows,
    )


def note_sizes(facts: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """The relation `sizes` (table, rows): how many rows the backup has."""
    facts.execute('CREATE OR REPLACE TEMP TABLE sizes ("table" VARCHAR, rows BIGINT)')
    for table in ledger:
        facts.execute("INSERT INTO sizes VALUES (?, ?)", [table.table, table.rows.backup])


def note_absent(facts: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """The relation `absent` ("table", "column", '' for the whole table): what the current state
    has no place for, so that nothing is there that could be as a step left it, or otherwise."""
    facts.execute("DELETE FROM absent")
    for one in ledger.schema:
        if one.current or one.kind not in ("table", "column"):
            continue
        table, _, column = one.name.rpartition(".")
        row = [one.name, ""] if one.kind == "table" else [table, column]
        facts.execute("INSERT INTO absent VALUES (?, ?)", row)


def _suspected(
    suspects: Sequence[Step], schema: Schema, table: str = "", columns: Sequence[str] = ()
) -> Step | None:
    """The suspected step in words that names it; else the only one that is suspected, when it
    names no table at all and may have been anything."""
    said = [step for step in suspects if step.action is None]
    for step in said:
        if table and points_at(step.what, schema, table, columns, None):
            return step
    if len(suspects) != 1 or not said:
        return None
    elsewhere = any(points_at(said[0].what, schema, one.name, (), None) for one in schema.tables)
    return None if elsewhere else said[0]


def _told_of(one: SchemaDivergence, log: StepLog) -> bool:
    """Does a step say that it removes something of this name?"""
    name = one.name.rpartition(".")[2]
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.I)
    return any(
        isinstance(step.action, Sql)
        and re.search(r"\bdrop\b", step.action.text, re.I)
        and word.search(step.action.text)
        for step in log.steps
    )


def _of(one: SchemaDivergence, tables: Sequence[str]) -> bool:
    """Is it a part of one of these tables, or does its definition need one of them?"""
    needed = [name.rpartition(".")[2] for name in tables]
    words = set(re.findall(r"\w+", one.backup))
    return any(one.name.startswith(f"{table}.") for table in tables) or not words.isdisjoint(needed)
